//! A window as its clients in this process see it: one for each user at a service, in the file that other processes share
//! where that can be used.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Uri;
use tokio::{
    sync::{Notify, Semaphore},
    time::{self, Instant},
};

use super::{
    clock::Clock,
    round_trip::RoundTrip,
    store::{Change, Place, Store},
    window::{Knowledge, Member, PermitId},
};
use crate::{
    LOGGER,
    config::{Rate, Settings},
    machine,
    process::PerProcess,
    wire::folded_user_id,
};

/// The longest sleep of a request that waits: what changes meanwhile, in another process say, is seen then.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// The window of a user that nobody sent for in so long is forgotten.
const UNUSED: Duration = Duration::from_secs(60);

/// The windows of this process, by service and user.
#[derive(Default)]
struct Windows(HashMap<(String, String), Arc<Window>>);

/// The window that all clients of a user at a service share in this process. It is shared with other processes as soon as one
/// of the clients wants that.
pub fn shared_by_process(settings: &Settings) -> Arc<Window> {
    static WINDOWS: PerProcess<Mutex<Windows>> = PerProcess::new();
    // User IDs are not case-sensitive.
    let (service, user_id) = (service(&settings.base_url), folded_user_id(&settings.user_id));
    let mut windows = WINDOWS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    windows.0.retain(|_, window| Arc::strong_count(window) > 1 || !window.lock().is_unused());
    let window = windows.0.entry((service.clone(), user_id.clone()));
    let window = window.or_insert_with(|| Arc::new(Window::new(None, Clock::machine())));
    if settings.limits.shared_rate_limit {
        window.lock().store.share_in(|| {
            let folder =
                machine::runtime_folder(settings.runtime_dir.as_deref(), settings.xdg_runtime_dir.as_deref());
            Place { folder, service, user_id }
        });
    }
    Arc::clone(window)
}

/// One name for a service, however its URL is written.
fn service(base_url: &str) -> String {
    let Ok(uri) = base_url.parse::<Uri>() else { return base_url.to_owned() };
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    format!("{scheme}://{host}:{port}")
}

/// A client's part in a window: its rate counts as long as it is there.
pub struct Registration {
    /// The window.
    pub window: Arc<Window>,
    rate: (f64, bool),
    has_ended: AtomicBool,
}

impl Registration {
    /// Takes part with this rate, which may be a part of one that is divided among several clients.
    pub fn new(window: Arc<Window>, rate: Rate, is_part: bool) -> Self {
        let rate = match rate {
            Rate::PerSecond(rate) => rate,
            Rate::Auto | Rate::Unlimited => f64::INFINITY,
        };
        window.lock().rates.push((rate, is_part));
        Self { window, rate: (rate, is_part), has_ended: AtomicBool::new(false) }
    }

    /// The client sends nothing more: its rate does not hold the others down.
    pub fn end(&self) {
        if self.has_ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.window.lock();
        if let Some(place) = state.rates.iter().position(|rate| *rate == self.rate) {
            state.rates.swap_remove(place);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}

/// A window, as its clients in this process see it.
pub struct Window {
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

/// What is known of a window, and of the requests of this process in it.
pub struct State {
    store: Store,
    clock: Clock,
    member: u32,
    count: u32,
    /// Requests a second of each client, and whether that is its part of a rate.
    pub(super) rates: Vec<(f64, bool)>,
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
    /// Which connection it was written to. Without it the request never left.
    connection: Option<u64>,
    /// A later one on the same connection was answered, so this arrived before.
    has_arrived: bool,
}

impl Window {
    /// A window by this clock, in a file if it has a place.
    pub fn new(place: Option<Place>, clock: Clock) -> Self {
        static MEMBERS: AtomicU32 = AtomicU32::new(0);
        // Drawn anew in a forked child, whose random numbers would be its parent's.
        let seed = u64::from(std::process::id()) << 32 | u64::from(MEMBERS.fetch_add(1, Ordering::Relaxed));
        let member = fastrand::Rng::with_seed(seed ^ fastrand::u64(..)).u32(1..);
        Self {
            gate: Semaphore::new(1),
            released: Notify::new(),
            state: Mutex::new(State {
                store: Store::new(place, member),
                clock,
                member,
                count: 0,
                rates: Vec::new(),
                sent: BTreeMap::new(),
                round_trip: RoundTrip::default(),
                told_limit: None,
                used_at: Duration::ZERO,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be sent.
    pub async fn acquire(&self) -> PermitId {
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

    /// Whether a request may be sent now.
    pub fn try_acquire(&self) -> Option<PermitId> {
        let _gate = self.gate.try_acquire().ok()?;
        self.lock().try_acquire().ok()
    }

    /// Changes the state.
    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
    }

    /// Changes the state so that a request that waits may be sent.
    pub fn release(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.released.notify_one();
    }
}

impl State {
    /// The time, at which the window is used.
    fn now(&mut self) -> Duration {
        self.used_at = self.read_clock();
        self.used_at
    }

    fn read_clock(&mut self) -> Duration {
        let (now, jumped) = self.clock.read();
        if jumped {
            log::debug!(target: LOGGER, "the clock jumped, or the machine slept: the rate limit starts anew");
            for sent in self.sent.values_mut() {
                sent.has_arrived = true;
            }
            // Of the other processes each finds out for itself.
            let rate = self.rates().0;
            self.store.clear(rate, now);
        }
        now
    }

    /// The strictest rate of its clients, and the parts of a rate that they have together.
    fn rates(&self) -> (f64, f64) {
        let rates = |are_parts| self.rates.iter().filter(move |it| it.1 == are_parts).map(|it| it.0);
        (rates(false).fold(f64::INFINITY, f64::min), rates(true).sum())
    }

    fn is_unused(&mut self) -> bool {
        self.read_clock().saturating_sub(self.used_at) > UNUSED.max(self.store.window().memory())
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
        let acquired = self.store.update(rate, now, |window| {
            let by = Knowledge { member, timeout, is_alive: &machine::is_alive };
            window.try_acquire(id, &by, now)
        });
        match acquired {
            // Another process is about to unlock the file.
            None => Err(Duration::from_millis(1)),
            Some(Err(at)) => Err(at.saturating_sub(now)),
            Some(Ok(())) => {
                self.sent.insert(id, Sent { at: now, connection: None, has_arrived: false });
                self.tell_limit();
                Ok(id)
            }
        }
    }

    /// A request is written to its connection, perhaps later than it was handed to it: it had to be made first.
    pub fn written(&mut self, id: PermitId, connection: u64) {
        let now = self.now();
        let Some(sent) = self.sent.get_mut(&id) else { return };
        let is_late = now.saturating_sub(sent.at) > Duration::from_millis(1);
        (sent.at, sent.connection) = (now, Some(connection));
        if is_late {
            self.change(now, [Change::Written(id, now)]);
        }
    }

    /// The response to a request is here.
    pub fn answered(&mut self, id: PermitId, is_throttled: bool) {
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
            let seconds = self.store.window().adaptive.next_at().saturating_sub(now).as_secs_f64();
            log::debug!(target: LOGGER, "the service throttles: nothing is sent for {seconds:.2} s");
        }
    }

    /// There will be no response to a request.
    pub fn abandoned(&mut self, id: PermitId) {
        let now = self.now();
        let Some(own) = self.sent.remove(&id) else { return };
        if !own.has_arrived {
            self.change(
                now,
                [if own.connection.is_some() { Change::Arrived(id, now) } else { Change::Cancelled(id) }],
            );
        }
    }

    /// Applies changes. Those that cannot be written to the file now are written with the next request.
    fn change(&mut self, now: Duration, changes: impl IntoIterator<Item = Change>) {
        let rate = self.rates().0;
        self.store.change(changes, rate, now);
    }

    fn tell_limit(&mut self) {
        let limit = self.store.window().limit().requests;
        let is_shared = self.store.window().adaptive.is_shared();
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
