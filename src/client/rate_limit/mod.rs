//! The rate limit: how many requests may be in flight, and when the next may be sent. Whatever is sent, is sent by a
//! [`Permit`] from here: calls, threads, event loops, retries and lists alike.
//!
//! The quota belongs to a user, whoever sends for them. So all clients of a user at a service share one sliding window: in a
//! process by [`shared_by_process`], on a machine by a [file](shared_file). Those of other machines cannot be asked; what the
//! service throttles tells of them ([`adaptive`]).
//!
//! A request counts from when it may have arrived at the service until when it must have: while it is out, and from then on
//! for a second. So a connection that takes long to open, or a network that stands still for a while, does not turn into
//! more requests within a second than the quota allows.

mod adaptive;
mod clock;
mod codec;
mod round_trip;
mod shared_file;
mod window;

#[cfg(test)]
mod simulation;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{self, Instant},
};

use self::{
    clock::Clock,
    round_trip::RoundTrip,
    shared_file::{SharedFile, Unavailable},
    window::{Knowledge, Member, PermitId, SlidingWindow},
};
use crate::{
    LOGGER,
    config::{Rate, Settings},
    machine,
    process::PerProcess,
};

/// Higher rates are not shared with other processes: the file would have too many requests to be read for each.
const MAX_SHARED_RATE: f64 = 1000.0;

/// A file that could not be used is tried again after this time.
const RETRY_FILE: Duration = Duration::from_secs(10);

/// Another process holds a file's lock for microseconds. One that was stopped meanwhile is not waited for any longer.
const LONGEST_LOCK: Duration = Duration::from_secs(1);

/// The longest sleep of a request that waits: what changes meanwhile, in another process say, is seen then.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The window of a user that nobody sent for in so long is forgotten.
const UNUSED: Duration = Duration::from_secs(60);

/// Hands out permits, in the order of the calls.
pub struct RateLimiter {
    /// Requests that may be in flight.
    in_flight: Arc<Semaphore>,
    /// `None` where there is no limit.
    window: Option<Registration>,
}

/// The right to send one request. Its end without [`release`](Self::release) says that there was no response.
#[must_use]
#[derive(Debug)]
pub struct Permit {
    window: Option<(PermitId, Arc<Window>)>,
    _in_flight: OwnedSemaphorePermit,
}

impl RateLimiter {
    /// The limiter of a client with these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = &settings.limits;
        let window = match limits.requests_per_second {
            Rate::Unlimited => None,
            rate => Some(Registration::new(shared_by_process(settings), rate, limits.is_part_of_rate)),
        };
        Self { in_flight: Arc::new(Semaphore::new(limits.max_in_flight)), window }
    }

    /// A limiter with this window.
    #[cfg(test)]
    fn of_window(window: Window, rate: Rate, max_in_flight: usize) -> Self {
        let window = Some(Registration::new(Arc::new(window), rate, false));
        Self { in_flight: Arc::new(Semaphore::new(max_in_flight)), window }
    }

    /// Waits until a request may be sent. It must be sent at once. Cancelling this does not consume a permit.
    pub async fn acquire(&self) -> Permit {
        let in_flight = Arc::clone(&self.in_flight).acquire_owned().await;
        let Ok(in_flight) = in_flight else { unreachable!("it is never closed") };
        let window = match &self.window {
            None => None,
            Some(Registration { window, .. }) => Some((window.acquire().await, Arc::clone(window))),
        };
        Permit { window, _in_flight: in_flight }
    }

    /// A permit, if nothing has to be waited for.
    pub fn try_acquire(&self) -> Option<Permit> {
        let in_flight = Arc::clone(&self.in_flight).try_acquire_owned().ok()?;
        let window = match &self.window {
            None => None,
            Some(Registration { window, .. }) => Some((window.try_acquire()?, Arc::clone(window))),
        };
        Some(Permit { window, _in_flight: in_flight })
    }
}

impl Permit {
    /// The request is handed to this connection. Gives what marks when it is written.
    pub fn send(&self, connection: u64) -> Option<SendMark> {
        let (id, window) = self.window.as_ref()?;
        window.lock().sent(*id, connection);
        Some(SendMark(*id, Arc::clone(window)))
    }

    /// The response is here. A throttled one slows down everyone.
    pub fn release(mut self, is_throttled: bool) {
        if let Some((id, window)) = self.window.take() {
            window.update(|state| state.answered(id, is_throttled));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((id, window)) = self.window.take() {
            window.update(|state| state.abandoned(id));
        }
    }
}

/// Marks the time at which a request is written to its connection.
pub struct SendMark(PermitId, Arc<Window>);

impl SendMark {
    /// The request is written now.
    pub fn mark(self) {
        self.1.lock().written(self.0);
    }
}

/// A client's part in a window: its rate counts as long as it is there.
struct Registration {
    window: Arc<Window>,
    rate: (f64, bool),
}

impl Registration {
    fn new(window: Arc<Window>, rate: Rate, is_part: bool) -> Self {
        let rate = match rate {
            Rate::PerSecond(rate) => rate,
            Rate::Auto | Rate::Unlimited => f64::INFINITY,
        };
        window.lock().rates.push((rate, is_part));
        Self { window, rate: (rate, is_part) }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.window.lock();
        if let Some(place) = state.rates.iter().position(|rate| *rate == self.rate) {
            state.rates.swap_remove(place);
        }
    }
}

/// The windows of this process, by whose quota it is.
#[derive(Default)]
struct Windows(HashMap<(String, String, Option<PathBuf>), Arc<Window>>);

/// The window that all clients of a user at a service share in this process.
fn shared_by_process(settings: &Settings) -> Arc<Window> {
    static WINDOWS: PerProcess<Mutex<Windows>> = PerProcess::new();
    let user_id = settings.user_id.to_lowercase();
    let folder = settings.limits.shared_rate_limit.then(|| {
        machine::runtime_folder(settings.runtime_dir.as_deref(), settings.xdg_runtime_dir.as_deref())
    });
    let key = (settings.base_url.clone(), user_id, folder);
    let mut windows = WINDOWS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    windows.0.retain(|_, window| Arc::strong_count(window) > 1 || !window.lock().is_unused());
    let (base_url, user_id, folder) = &key;
    let make = || {
        let place = folder.clone().map(|folder| Place {
            folder,
            base_url: base_url.clone(),
            user_id: user_id.clone(),
        });
        Arc::new(Window::new(place, Clock::machine()))
    };
    Arc::clone(windows.0.entry(key.clone()).or_insert_with(make))
}

/// Whose file it is, and where.
#[derive(Debug, Clone)]
struct Place {
    folder: PathBuf,
    base_url: String,
    user_id: String,
}

/// A window, as its clients in this process see it.
struct Window {
    /// The request that waits for the window; the others queue behind it.
    gate: Semaphore,
    state: Mutex<State>,
    /// A response came, and a request that counted does so no more.
    released: Notify,
}

impl fmt::Debug for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Window")
    }
}

struct State {
    window: SlidingWindow,
    clock: Clock,
    /// `None` where other processes have no part in it.
    place: Option<Place>,
    file: Option<SharedFile>,
    /// When a file is tried to be opened, or its lock to be held since.
    file_at: Duration,
    busy_since: Option<Duration>,
    has_told: bool,
    /// What was not written to the file yet, because its lock was held.
    pending: Vec<Change>,
    member: u32,
    count: u32,
    /// Requests a second of each client, and whether that is its part of a rate.
    rates: Vec<(f64, bool)>,
    sent: BTreeMap<PermitId, Sent>,
    round_trip: RoundTrip,
    /// What the log said last: the limit, and whether others are known to share the quota.
    told_limit: Option<(usize, bool)>,
    used_at: Duration,
}

/// A request of this process that is in flight.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    connection: u64,
    /// Without it the request never left.
    is_written: bool,
    /// A later one on the same connection was answered, so this arrived before.
    has_arrived: bool,
}

/// What becomes of a request in the window.
#[derive(Debug, Clone, Copy)]
enum Change {
    Cancelled(PermitId),
    Written(PermitId, Duration),
    Arrived(PermitId, Duration),
    Accepted { sent: Duration, now: Duration },
    Throttled { id: PermitId, sent: Duration, now: Duration },
}

impl Change {
    fn apply(self, window: &mut SlidingWindow) {
        match self {
            Self::Cancelled(id) => window.cancel(id),
            Self::Written(id, at) => window.sent(id, at),
            Self::Arrived(id, at) => window.arrived(id, at),
            Self::Accepted { sent, now } => window.accepted(sent, now),
            Self::Throttled { id, sent, now } => window.throttled(id, sent, now),
        }
    }
}

impl Window {
    fn new(place: Option<Place>, clock: Clock) -> Self {
        static MEMBERS: AtomicU32 = AtomicU32::new(0);
        // Drawn anew in a forked child, whose random numbers would be its parent's.
        let seed = u64::from(std::process::id()) << 32 | u64::from(MEMBERS.fetch_add(1, Ordering::Relaxed));
        let mut chance = fastrand::Rng::with_seed(seed ^ fastrand::u64(..));
        Self {
            gate: Semaphore::new(1),
            released: Notify::new(),
            state: Mutex::new(State {
                window: SlidingWindow::default(),
                clock,
                place,
                file: None,
                file_at: Duration::ZERO,
                busy_since: None,
                has_told: false,
                pending: Vec::new(),
                member: chance.u32(1..),
                count: 0,
                rates: Vec::new(),
                sent: BTreeMap::new(),
                round_trip: RoundTrip::default(),
                told_limit: None,
                used_at: Duration::ZERO,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn acquire(&self) -> PermitId {
        let Ok(_gate) = self.gate.acquire().await else { unreachable!("it is never closed") };
        loop {
            let released = self.released.notified();
            let wait = match self.lock().try_acquire() {
                Ok(id) => return id,
                Err(wait) => wait,
            };
            let until = Instant::now() + wait.min(LONGEST_SLEEP);
            let _ = time::timeout_at(until, released).await;
        }
    }

    fn try_acquire(&self) -> Option<PermitId> {
        let _gate = self.gate.try_acquire().ok()?;
        self.lock().try_acquire().ok()
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.released.notify_one();
    }
}

impl State {
    fn now(&mut self) -> Duration {
        let (now, jumped) = self.clock.read();
        if jumped {
            log::debug!(target: LOGGER, "the clock jumped, or the machine slept: the rate limit starts anew");
            self.window.clear(now);
            self.pending.clear();
            for sent in self.sent.values_mut() {
                sent.has_arrived = true;
            }
            // Of the other processes each finds out for itself.
            let _ = self.with_window(now, |window| window.clear(now));
        }
        self.used_at = now;
        now
    }

    /// The strictest rate of its clients, and the parts of a rate that they have together.
    fn rates(&self) -> (f64, f64) {
        let rates = |are_parts| self.rates.iter().filter(move |it| it.1 == are_parts).map(|it| it.0);
        (rates(false).fold(f64::INFINITY, f64::min), rates(true).sum())
    }

    fn is_unused(&mut self) -> bool {
        let (now, _) = self.clock.read();
        now.saturating_sub(self.used_at) > UNUSED
    }

    /// A permit, or how long to wait before asking again.
    fn try_acquire(&mut self) -> Result<PermitId, Duration> {
        let now = self.now();
        self.count = self.count.wrapping_add(1);
        let id = PermitId::from(self.member) << 32 | PermitId::from(self.count);
        let (rate, parts) = self.rates();
        let member = Member {
            id: self.member,
            process: std::process::id(),
            rate,
            parts,
            seen: now,
            asks_again_at: None,
        };
        let timeout = self.round_trip.timeout();
        let acquired = self.with_window(now, |window| {
            let by = Knowledge { member, timeout, is_alive: &machine::is_alive };
            window.try_acquire(id, &by, now)
        });
        match acquired {
            // Another process is about to unlock the file.
            None => Err(Duration::from_millis(1)),
            Some(Err(at)) => Err(at.saturating_sub(now)),
            Some(Ok(())) => {
                self.sent.insert(id, Sent { at: now, connection: 0, is_written: false, has_arrived: false });
                self.tell_limit();
                Ok(id)
            }
        }
    }

    /// A request is handed to a connection.
    fn sent(&mut self, id: PermitId, connection: u64) {
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.connection = connection;
        }
    }

    /// A request is written to its connection, perhaps later than it was handed to it: it had to be made first.
    fn written(&mut self, id: PermitId) {
        let now = self.now();
        let Some(sent) = self.sent.get_mut(&id) else { return };
        let is_late = now.saturating_sub(sent.at) > Duration::from_millis(1);
        (sent.at, sent.is_written) = (now, true);
        if is_late {
            self.change(now, [Change::Written(id, now)]);
        }
    }

    fn answered(&mut self, id: PermitId, is_throttled: bool) {
        let now = self.now();
        let Some(own) = self.sent.remove(&id) else { return };
        self.round_trip.sample(now.saturating_sub(own.at), now);
        // A request that is sent at this time arrives after this one did.
        let at = now.saturating_sub(self.round_trip.least());
        let mut changes = Vec::new();
        if !own.has_arrived {
            changes.push(Change::Arrived(id, at));
        }
        // What was written before on the same connection arrived before.
        for (&other, sent) in &mut self.sent {
            if sent.at > own.at {
                break;
            }
            if sent.connection == own.connection && !sent.has_arrived {
                sent.has_arrived = true;
                changes.push(Change::Arrived(other, at));
            }
        }
        changes.push(match is_throttled {
            false => Change::Accepted { sent: own.at, now },
            true => Change::Throttled { id, sent: own.at, now },
        });
        self.change(now, changes);
        if is_throttled {
            let seconds = self.window.adaptive.next_at().saturating_sub(now).as_secs_f64();
            log::debug!(target: LOGGER, "the service throttles: nothing is sent for {seconds:.2} s");
        }
    }

    /// There will be no response to a request.
    fn abandoned(&mut self, id: PermitId) {
        let now = self.now();
        let Some(own) = self.sent.remove(&id) else { return };
        if !own.has_arrived {
            self.change(now, [if own.is_written { Change::Arrived(id, now) } else { Change::Cancelled(id) }]);
        }
    }

    fn change(&mut self, now: Duration, changes: impl IntoIterator<Item = Change>) {
        self.pending.extend(changes);
        // Where it cannot be written now, the next request writes it.
        let _ = self.with_window(now, |_| ());
    }

    /// Lets `work` on the window, the shared one where it is shared. `None`: another process holds its lock.
    fn with_window<T>(&mut self, now: Duration, work: impl FnOnce(&mut SlidingWindow) -> T) -> Option<T> {
        self.open_file(now);
        let Self { window, file, pending, .. } = self;
        let changes = std::mem::take(pending);
        let all = |window: &mut SlidingWindow| {
            changes.iter().for_each(|change| change.apply(window));
            work(window)
        };
        let Some(shared) = file else { return Some(all(window)) };
        // Where the file fails, there is no telling whether the work was done: it is done again on what was read last.
        let mut copy = window.clone();
        match shared.update(&mut copy, now, all) {
            Ok(done) => {
                *window = copy;
                self.busy_since = None;
                Some(done)
            }
            Err(error) => {
                self.pending = changes;
                self.file_failed(&error, now);
                None
            }
        }
    }

    fn open_file(&mut self, now: Duration) {
        let Some(place) = &self.place else { return };
        if self.file.is_some()
            || now < self.file_at
            || (MAX_SHARED_RATE..f64::INFINITY).contains(&self.rates().0)
        {
            return;
        }
        match SharedFile::open(&place.folder, &place.base_url, &place.user_id) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                let folder = place.folder.display().to_string();
                self.tell_unshared(&folder, &error);
                self.file_at = now + RETRY_FILE;
            }
        }
    }

    fn file_failed(&mut self, error: &Unavailable, now: Duration) {
        let is_over = match error {
            Unavailable::Busy => now.saturating_sub(*self.busy_since.get_or_insert(now)) > LONGEST_LOCK,
            Unavailable::Io(_) => true,
        };
        if !is_over {
            return;
        }
        self.busy_since = None;
        if let Some(file) = self.file.take() {
            self.tell_unshared(&file.path().display().to_string(), error);
        }
        self.file_at = now + RETRY_FILE;
    }

    fn tell_unshared(&mut self, place: &str, error: &dyn fmt::Display) {
        if !std::mem::replace(&mut self.has_told, true) {
            log::debug!(
                target: LOGGER,
                "the rate limit is not shared with other processes, because {place} cannot be used: {error}"
            );
        }
    }

    fn tell_limit(&mut self) {
        let limit = self.window.limit().requests;
        let is_shared = self.window.adaptive.is_shared();
        match self.told_limit.replace((limit, is_shared)) {
            Some((before, false)) if is_shared => log::warn!(
                target: LOGGER,
                "the service throttles: somebody else uses the same quota. The rate limit is lowered from {before} to {limit} \
                 requests at a time, and is raised as far as the service lets it"
            ),
            Some((before, _)) if limit != before => {
                log::debug!(target: LOGGER, "rate limit changed from {before} to {limit} requests at a time");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A limiter of a process that shares nothing.
    fn limiter(rate: Rate, max_in_flight: usize) -> RateLimiter {
        let clock = Clock::Process { start: Instant::now() };
        RateLimiter::of_window(Window::new(None, clock), rate, max_in_flight)
    }

    /// A limiter of one of several processes, which share a file in this folder.
    fn sharing(folder: &Path, rate: f64, start: Instant) -> RateLimiter {
        let place =
            Place { folder: folder.into(), base_url: "http://localhost".into(), user_id: "me".into() };
        let window = Window::new(Some(place), Clock::Process { start });
        RateLimiter::of_window(window, Rate::PerSecond(rate), 32)
    }

    /// Sends a request that is answered at once.
    async fn send(limiter: &RateLimiter) {
        let permit = limiter.acquire().await;
        permit.send(0).unwrap().mark();
        permit.release(false);
    }

    /// The moments at which `count` requests are sent that all come at once, in seconds.
    async fn moments(limiter: &RateLimiter, count: usize) -> Vec<f64> {
        let start = Instant::now();
        let mut moments = Vec::new();
        for _ in 0..count {
            send(limiter).await;
            moments.push(start.elapsed().as_secs_f64());
        }
        moments
    }

    fn file_in(folder: &Path) -> PathBuf {
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_client_may_send_a_whole_second_of_requests_in_a_fifth_of_it() {
        assert!(moments(&limiter(Rate::PerSecond(15.0), 32), 15).await[14] < 0.21);
    }

    #[tokio::test(start_paused = true)]
    async fn no_rolling_second_sees_more_than_the_quota() {
        let moments = moments(&limiter(Rate::PerSecond(15.0), 32), 100).await;
        assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_one_request_a_second_is_a_longer_wait() {
        assert!(moments(&limiter(Rate::PerSecond(0.5), 32), 2).await[1] > 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let limiter = RateLimiter { in_flight: Arc::new(Semaphore::new(1)), window: None };
        let start = Instant::now();
        for _ in 0..1000 {
            limiter.acquire().await.release(false);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_in_flight_than_may_be() {
        let limiter = limiter(Rate::PerSecond(1000.0), 2);
        let (_one, _two) = (limiter.acquire().await, limiter.acquire().await);
        assert!(time::timeout(Duration::from_secs(60), limiter.acquire()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_an_acquire_does_not_consume_a_permit() {
        let limiter = limiter(Rate::PerSecond(1.0), 32);
        send(&limiter).await;
        assert!(time::timeout(Duration::from_millis(500), limiter.acquire()).await.is_err());
        let start = Instant::now();
        send(&limiter).await;
        assert!(start.elapsed() < Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_whose_request_was_never_written_is_free_at_once() {
        let limiter = limiter(Rate::PerSecond(1.0), 32);
        let permit = limiter.acquire().await;
        let _never_marked = permit.send(0);
        drop(permit);
        let start = Instant::now();
        time::sleep(Duration::from_millis(250)).await;
        send(&limiter).await;
        assert!(start.elapsed() < Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_counts_from_when_it_is_written_however_long_its_connection_took() {
        let limiter = limiter(Rate::PerSecond(1.0), 32);
        let start = Instant::now();
        let permit = limiter.acquire().await;
        let mark = permit.send(0).unwrap();
        time::sleep(Duration::from_secs(3)).await;
        mark.mark();
        permit.release(false);
        send(&limiter).await;
        assert!(start.elapsed() > Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_response_counts_until_it_is_given_up_and_a_second_longer() {
        let limiter = limiter(Rate::PerSecond(1.0), 32);
        let start = Instant::now();
        let permit = limiter.acquire().await;
        permit.send(0).unwrap().mark();
        assert!(time::timeout(Duration::from_secs(30), limiter.acquire()).await.is_err());
        drop(permit);
        send(&limiter).await;
        assert!(start.elapsed() > Duration::from_secs(31));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_proves_that_what_was_sent_before_on_its_connection_has_arrived() {
        let limiter = limiter(Rate::PerSecond(2.0), 32);
        for connection in [0, 0, 1] {
            let start = Instant::now();
            let slow = limiter.acquire().await;
            slow.send(connection).unwrap().mark();
            let fast = limiter.acquire().await;
            fast.send(0).unwrap().mark();
            fast.release(false);
            let both = time::timeout(Duration::from_secs(2), async {
                for _ in 0..2 {
                    send(&limiter).await;
                }
            });
            assert_eq!(both.await.is_ok(), connection == 0, "{:?}", start.elapsed());
            drop(slow);
            time::sleep(Duration::from_secs(3)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_throttled_response_is_not_the_quota() {
        let limiter = limiter(Rate::PerSecond(15.0), 32);
        moments(&limiter, 20).await;
        let permit = limiter.acquire().await;
        permit.send(0).unwrap().mark();
        permit.release(true);
        let start = Instant::now();
        moments(&limiter, 150).await;
        assert!(start.elapsed() < Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn processes_share_the_rate_and_the_strictest_holds() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (one, other) = (sharing(folder.path(), 10.0, start), sharing(folder.path(), 2.0, start));
        send(&other).await;
        let begun = Instant::now();
        for _ in 0..2 {
            send(&one).await;
            send(&other).await;
        }
        assert!(begun.elapsed() > Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn parts_of_a_rate_are_put_together_on_a_machine() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let parts = [3.9999999, 4.0, 7.0].map(|rate| {
            let limiter = sharing(folder.path(), rate, start);
            limiter.window.as_ref().unwrap().window.lock().rates = vec![(rate, true)];
            limiter
        });
        // What two of them do not use, the third may, as long as they are there.
        let waiting = parts[1..].iter().map(|limiter| async {
            loop {
                send(limiter).await;
                time::sleep(Duration::from_millis(900)).await;
            }
        });
        let waiting = futures_util::future::join_all(waiting);
        tokio::select! {
            moments = moments(&parts[0], 100) => assert!((6.0..10.0).contains(&moments[99]), "{}", moments[99]),
            _ = waiting => unreachable!("they go on"),
        }
        let alone = moments(&parts[0], 40).await;
        assert!(alone[39] > 8.0, "{}", alone[39]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_ended_leaves_its_slots_to_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (one, other) = (sharing(folder.path(), 2.0, start), sharing(folder.path(), 2.0, start));
        // No process has this number.
        let member = other.window.as_ref().unwrap().window.lock().member;
        let killed = other.acquire().await;
        killed.send(7).unwrap().mark();
        let path = file_in(folder.path());
        let mut window = codec::decode(&fs::read(&path).unwrap()).unwrap();
        window.members.iter_mut().find(|it| it.id == member).unwrap().process = i32::MAX as u32;
        fs::write(&path, codec::encode(&window)).unwrap();
        std::mem::forget(killed);
        let begun = Instant::now();
        moments(&one, 21).await;
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_processes_one_with_much_to_send_does_not_keep_the_others_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (busy, other) = (sharing(folder.path(), 10.0, start), sharing(folder.path(), 10.0, start));
        let all = async {
            moments(&busy, 200).await;
        };
        let few = async {
            let mut waits = Vec::new();
            for _ in 0..10 {
                time::sleep(Duration::from_millis(700)).await;
                let begun = Instant::now();
                send(&other).await;
                waits.push(begun.elapsed());
            }
            waits
        };
        tokio::pin!(all, few);
        let waits = tokio::select! {
            waits = &mut few => waits,
            () = all => unreachable!("it has more to send"),
        };
        assert!(waits.iter().all(|wait| *wait < Duration::from_millis(1100)), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let limiter = sharing(folder.path(), 15.0, Instant::now());
        send(&limiter).await;
        let path = file_in(folder.path());
        for damage in [&b"garbage"[..], &[0; 100], &[255; 5000]] {
            fs::write(&path, damage).unwrap();
            send(&limiter).await;
            assert!(codec::decode(&fs::read(&path).unwrap()).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_of_another_clock_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let limiter = sharing(folder.path(), 1.0, Instant::now());
        send(&limiter).await;
        let path = file_in(folder.path());
        let mut window = codec::decode(&fs::read(&path).unwrap()).unwrap();
        window.answered.back_mut().unwrap().at += Duration::from_secs(3600);
        fs::write(&path, codec::encode(&window)).unwrap();
        let begun = Instant::now();
        send(&limiter).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_was_removed_or_cannot_be_made_costs_the_sharing_alone() {
        let folder = tempfile::tempdir().unwrap();
        let removed = sharing(folder.path(), 15.0, Instant::now());
        send(&removed).await;
        fs::remove_file(file_in(folder.path())).unwrap();
        let no_folder = sharing(Path::new("/dev/null/folder"), 15.0, Instant::now());
        for limiter in [removed, no_folder] {
            let moments = moments(&limiter, 100).await;
            assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
            assert!(moments[99] < 8.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_file_is_made_again_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let limiter = sharing(folder.path(), 15.0, Instant::now());
        send(&limiter).await;
        fs::remove_file(file_in(folder.path())).unwrap();
        for _ in 0..30 {
            time::sleep(Duration::from_secs(1)).await;
            send(&limiter).await;
        }
        assert!(file_in(folder.path()).exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stopped_while_it_held_the_lock_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let limiter = sharing(folder.path(), 15.0, Instant::now());
        send(&limiter).await;
        let held = fs::File::open(file_in(folder.path())).unwrap();
        held.lock().unwrap();
        let moments = moments(&limiter, 30).await;
        assert!((1.0..5.0).contains(&moments[29]), "{moments:?}");
    }

    #[test]
    fn the_file_holds_and_its_name_shows_no_id() {
        let folder = tempfile::tempdir().unwrap();
        let file = SharedFile::open(folder.path(), "http://localhost", "Somebody").unwrap();
        assert!(!file.path().to_string_lossy().to_lowercase().contains("somebody"));
        let same = SharedFile::open(folder.path(), "http://localhost", "somebody").unwrap();
        let other = SharedFile::open(folder.path(), "http://localhost", "nobody").unwrap();
        assert_eq!((file.path() == same.path(), file.path() == other.path()), (true, false));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_may_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(SharedFile::open(folder.path(), "http://localhost", "me").is_err());
        let made = folder.path().join("made/below");
        SharedFile::open(&made, "http://localhost", "me").unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
