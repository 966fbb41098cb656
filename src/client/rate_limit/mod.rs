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
            rate => Some(Registration::new(shared_by_process(settings), rate)),
        };
        Self { in_flight: Arc::new(Semaphore::new(limits.max_in_flight)), window }
    }

    /// A limiter with this window.
    #[cfg(test)]
    fn of_window(window: Window, rate: Rate, max_in_flight: usize) -> Self {
        let window = Some(Registration::new(Arc::new(window), rate));
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
    rate: f64,
}

impl Registration {
    fn new(window: Arc<Window>, rate: Rate) -> Self {
        let rate = match rate {
            Rate::PerSecond(rate) => rate,
            Rate::Auto | Rate::Unlimited => f64::INFINITY,
        };
        window.lock().rates.push(rate);
        Self { window, rate }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.window.lock();
        if let Some(place) = state.rates.iter().position(|rate| rate.to_bits() == self.rate.to_bits()) {
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
        shared_file::runtime_folder(settings.runtime_dir.as_deref(), settings.xdg_runtime_dir.as_deref())
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
    /// Requests a second of each client.
    rates: Vec<f64>,
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
    Accepted { sent: Duration, rate: f64, now: Duration },
    Throttled { id: PermitId, sent: Duration, rate: f64, now: Duration },
}

impl Change {
    fn apply(self, window: &mut SlidingWindow) {
        match self {
            Self::Cancelled(id) => window.cancel(id),
            Self::Written(id, at) => window.sent(id, at),
            Self::Arrived(id, at) => window.arrived(id, at),
            Self::Accepted { sent, rate, now } => window.accepted(sent, rate, now),
            Self::Throttled { id, sent, rate, now } => window.throttled(id, sent, rate, now),
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

    fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(f64::INFINITY, f64::min)
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
        let member = Member {
            id: self.member,
            process: std::process::id(),
            rate: self.rate(),
            seen: now,
            asks_again_at: None,
        };
        let timeout = self.round_trip.timeout();
        let acquired = self.with_window(now, |window| {
            let by = Knowledge { member, timeout, is_alive: &shared_file::is_alive };
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
        let rate = self.rate();
        changes.push(match is_throttled {
            false => Change::Accepted { sent: own.at, rate, now },
            true => Change::Throttled { id, sent: own.at, rate, now },
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
        if self.file.is_some() || now < self.file_at || self.rate() > MAX_SHARED_RATE && self.rate().is_finite() {
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
        let limit = self.window.limit(self.rate()).requests;
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
