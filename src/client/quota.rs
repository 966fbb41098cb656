//! The quota: how many requests may be under way, and when the next may leave. Whoever sends, sends by a
//! [`Turn`] from here: calls, threads, event loops, retries and lists alike.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{self, Instant},
};

use crate::LOGGER;

/// A window is this much longer than the quota asks for, so that requests which the network bunches up on their
/// way still arrive within it.
const MARGIN: Duration = Duration::from_millis(20);

/// After a throttled answer the pace is raised by one request a window when so long has passed without another;
/// twice as long, up to the most, whenever the raise was what was throttled.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Where nothing comes through at all, everyone waits twice as long each time, up to what the service advises.
const LONGEST_HOLD: Duration = Duration::from_secs(15);

/// Hands out turns, in the order of the calls.
pub struct Quota {
    /// Requests that may be under way.
    slots: Arc<Semaphore>,
    /// The one who waits for the next departure; the others queue behind it.
    gate: Semaphore,
    pace: Arc<Mutex<Pace>>,
}

/// The right to send one request. It ends with the answer.
#[must_use]
#[derive(Debug)]
pub struct Turn {
    departure: u64,
    pace: Arc<Mutex<Pace>>,
    _slot: OwnedSemaphorePermit,
}

impl Quota {
    /// A quota of so many requests in any second, `None` for no limit, and of so many under way at once.
    pub fn new(requests_per_second: Option<f64>, max_in_flight: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max_in_flight)),
            gate: Semaphore::new(1),
            pace: Arc::new(Mutex::new(Pace::new(requests_per_second, Instant::now()))),
        }
    }

    /// Waits for this request's turn.
    pub async fn turn(&self) -> Turn {
        let gate = self.gate.acquire().await;
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let (Ok(_gate), Ok(slot)) = (gate, slot) else { unreachable!("neither is ever closed") };
        loop {
            let departure = lock(&self.pace).depart(Instant::now());
            match departure {
                Ok(departure) => return self.departing(departure, slot),
                // A throttled answer may put it off meanwhile.
                Err(at) => time::sleep_until(at).await,
            }
        }
    }

    /// This request's turn, if nobody has to wait for one.
    pub fn turn_now(&self) -> Option<Turn> {
        let _gate = self.gate.try_acquire().ok()?;
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let departure = lock(&self.pace).depart(Instant::now());
        Some(self.departing(departure.ok()?, slot))
    }

    fn departing(&self, (number, change): (u64, Option<Change>), slot: OwnedSemaphorePermit) -> Turn {
        match change {
            Some(Change { from, to }) if to < from => {
                log::warn!(target: LOGGER, "pace lowered from {from} to {to} requests at a time");
            }
            Some(Change { to, .. }) => {
                log::debug!(target: LOGGER, "pace raised to {to} requests at a time");
            }
            None => {}
        }
        Turn { departure: number, pace: Arc::clone(&self.pace), _slot: slot }
    }
}

impl Turn {
    /// The answer is here. A throttled one slows the pace of everyone.
    pub fn answered(self, throttled: bool) {
        let held = lock(&self.pace).answered(self.departure, throttled, Instant::now());
        if let Some(held) = held {
            let seconds = held.as_secs_f64();
            log::warn!(target: LOGGER, "the service throttles: nothing is sent for {seconds:.1} s");
        }
    }
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When requests may leave: at most so many within any window, wherever it begins.
///
/// A token bucket would not do: full, it lets a burst through and then its steady rate on top, which is nearly
/// twice the quota within one rolling second. So each request waits until one window has passed since the
/// request `allowed` places before it.
#[derive(Debug)]
struct Pace {
    /// Requests a window, as configured; `None` for no limit.
    quota: Option<usize>,
    /// Requests a window, as the service lets them through; and as it was at the last departure.
    allowed: usize,
    announced: usize,
    window: Duration,
    /// The latest departures; the first of them is number `forgotten`.
    departures: VecDeque<Departure>,
    forgotten: u64,
    /// Nothing leaves before.
    held_until: Instant,
    /// When the latest throttled answer came, and how many came since anything was let through.
    throttled_at: Option<Instant>,
    in_vain: u32,
    /// When `allowed` was changed, and whether it was raised.
    changed_at: Instant,
    was_raised: bool,
    patience: Duration,
}

#[derive(Debug)]
struct Departure {
    at: Instant,
    throttled: bool,
}

/// How many requests may leave in a window, before and after.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    from: usize,
    to: usize,
}

impl Pace {
    fn new(requests_per_second: Option<f64>, now: Instant) -> Self {
        // Less than one request a second is one in a longer window.
        let quota = requests_per_second.map(|rate| rate.max(1.0).floor());
        let second = match (quota, requests_per_second) {
            (Some(quota), Some(rate)) => Duration::from_secs_f64(quota / rate),
            _ => Duration::from_secs(1),
        };
        let quota = quota.map(|quota| quota as usize);
        let allowed = quota.unwrap_or(usize::MAX);
        Self {
            quota,
            allowed,
            announced: allowed,
            window: second + MARGIN,
            departures: VecDeque::new(),
            forgotten: 0,
            held_until: now,
            throttled_at: None,
            in_vain: 0,
            changed_at: now,
            was_raised: false,
            patience: FIRST_PATIENCE,
        }
    }

    /// Lets a request leave: gives its number and, where the pace is another than at the last departure, the
    /// change. Or tells when to ask again.
    fn depart(&mut self, now: Instant) -> Result<(u64, Option<Change>), Instant> {
        self.recover(now);
        let at = self.next_departure(now);
        if at > now {
            return Err(at);
        }
        let number = self.forgotten + self.departures.len() as u64;
        if let Some(quota) = self.quota {
            self.departures.push_back(Departure { at: now, throttled: false });
            // Enough to judge a throttled answer by the windows around its request.
            if self.departures.len() > 3 * quota {
                self.departures.pop_front();
                self.forgotten += 1;
            }
        }
        let from = std::mem::replace(&mut self.announced, self.allowed);
        let change = (from != self.allowed).then_some(Change { from, to: self.allowed });
        Ok((number, change))
    }

    fn next_departure(&self, now: Instant) -> Instant {
        let before = self.departures.len().checked_sub(self.allowed).map(|place| &self.departures[place]);
        now.max(self.held_until).max(before.map_or(now, |departure| departure.at + self.window))
    }

    /// One step back towards the quota, when the pace has been kept long enough.
    fn recover(&mut self, now: Instant) {
        let lowered = self.quota.is_some_and(|quota| self.allowed < quota);
        if lowered && now.duration_since(self.changed_at) >= self.patience {
            if self.was_raised {
                // The raise before this one was borne.
                self.patience = (self.patience / 2).max(FIRST_PATIENCE);
            }
            (self.allowed, self.changed_at, self.was_raised) = (self.allowed + 1, now, true);
        }
    }

    /// Notes an answer. Tells for how long nothing is sent, when it is the first throttled one of its window.
    fn answered(&mut self, departure: u64, throttled: bool, now: Instant) -> Option<Duration> {
        if !throttled {
            self.in_vain = 0;
            return None;
        }
        let place = departure.checked_sub(self.forgotten).map(|place| place as usize);
        let place = place.filter(|place| *place < self.departures.len());
        // Of requests that left together many may be throttled; that is one and the same news.
        let is_news = self.throttled_at.is_none_or(|known| match place {
            Some(place) => self.departures[place].at >= known,
            None => now >= known + self.window,
        });
        if let Some(place) = place {
            self.departures[place].throttled = true;
            self.lower(self.let_through_around(place).max(1), is_news, now);
        }
        if !is_news {
            return None;
        }
        let longest = LONGEST_HOLD.max(self.window);
        let hold = self.window.saturating_mul(1 << self.in_vain.min(4)).min(longest);
        self.held_until = self.held_until.max(now + hold);
        self.throttled_at = Some(now);
        self.in_vain += 1;
        Some(hold)
    }

    fn lower(&mut self, let_through: usize, is_news: bool, now: Instant) {
        if let_through >= self.allowed {
            return;
        }
        if is_news && self.was_raised {
            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        }
        (self.allowed, self.changed_at, self.was_raised) = (let_through, now, false);
    }

    /// The most requests that were let through in any window with this departure, as far as is known by now.
    fn let_through_around(&self, place: usize) -> usize {
        let (mut end, mut inside, mut most) = (0, 0, 0);
        // A window that is slid from departure to departure, as long as this one may be in it.
        for first in 0..=place {
            let until = self.departures[first].at + self.window;
            while self.departures.get(end).is_some_and(|departure| departure.at < until) {
                inside += usize::from(!self.departures[end].throttled);
                end += 1;
            }
            if end > place {
                most = most.max(inside);
            }
            inside -= usize::from(!self.departures[first].throttled);
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments at which `count` requests leave that all come at once, in seconds.
    async fn departures(requests_per_second: f64, count: usize) -> Vec<f64> {
        let quota = Quota::new(Some(requests_per_second), usize::MAX >> 4);
        let start = Instant::now();
        let mut moments = Vec::new();
        for _ in 0..count {
            quota.turn().await.answered(false);
            moments.push(start.elapsed().as_secs_f64());
        }
        moments
    }

    /// Sends requests for so many seconds to a service that lets `share` of them through in each rolling second,
    /// as fast as the quota hands out turns. Gives when they left and whether they were let through.
    async fn sent_to_a_service(share: impl Fn(f64) -> usize, seconds: f64) -> Vec<(f64, bool)> {
        let quota = Quota::new(Some(15.0), 32);
        let start = Instant::now();
        let mut sent: Vec<(f64, bool)> = Vec::new();
        while start.elapsed().as_secs_f64() < seconds {
            let turn = quota.turn().await;
            let now = start.elapsed().as_secs_f64();
            let passed = sent.iter().filter(|(at, passed)| *passed && now - at < 1.0).count();
            let passes = passed < share(now);
            sent.push((now, passes));
            turn.answered(!passes);
        }
        sent
    }

    fn rate(sent: &[(f64, bool)], from: f64, to: f64) -> f64 {
        sent.iter().filter(|(at, passed)| *passed && (from..to).contains(at)).count() as f64 / (to - from)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_client_may_send_a_whole_second_of_requests_at_once() {
        assert!(departures(15.0, 15).await[14] < 0.001);
    }

    #[tokio::test(start_paused = true)]
    async fn no_rolling_second_sees_more_than_the_quota() {
        let moments = departures(15.0, 100).await;
        assert!(moments.windows(16).all(|window| window[15] - window[0] > 1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn less_than_one_request_a_second_is_a_longer_wait() {
        assert!(departures(0.5, 2).await[1] > 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_quota_nothing_waits() {
        let quota = Quota::new(None, 1);
        let start = Instant::now();
        for _ in 0..1000 {
            quota.turn().await.answered(false);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_under_way_than_may_be() {
        let quota = Quota::new(None, 2);
        let (_one, _two) = (quota.turn().await, quota.turn().await);
        assert!(time::timeout(Duration::from_secs(60), quota.turn()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_waits_for_any_more_is_not_lost() {
        let quota = Quota::new(Some(1.0), 32);
        quota.turn().await.answered(false);
        assert!(time::timeout(Duration::from_millis(500), quota.turn()).await.is_err());
        let start = Instant::now();
        quota.turn().await.answered(false);
        assert!(start.elapsed() < Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_answer_holds_everyone_back_for_a_window() {
        let quota = Quota::new(Some(15.0), 32);
        let start = Instant::now();
        quota.turn().await.answered(true);
        quota.turn().await.answered(false);
        assert!(start.elapsed() > Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_comes_through_the_waits_grow_to_what_the_service_advises() {
        let sent = sent_to_a_service(|_| 0, 120.0).await;
        let waits: Vec<_> = sent.windows(2).map(|pair| (pair[1].0 - pair[0].0).round()).collect();
        assert_eq!(waits[..6], [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_settles_at_what_another_client_leaves() {
        let sent = sent_to_a_service(|_| 10, 60.0).await;
        assert!(rate(&sent, 0.0, 60.0) > 9.0, "{}", rate(&sent, 0.0, 60.0));
        let throttled = sent.iter().filter(|(_, passed)| !passed).count();
        assert!(throttled < 12, "{throttled}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_recovers_step_by_step_when_the_other_client_is_gone() {
        let sent = sent_to_a_service(|now| if now < 5.0 { 10 } else { 15 }, 60.0).await;
        assert!(rate(&sent, 40.0, 60.0) > 14.0, "{}", rate(&sent, 40.0, 60.0));
    }
}
