//! How many requests a user may send. How Clarifai counts its second is not documented, so there are three ways.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// How a second is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counting {
    /// No more than the quota in any second, wherever it begins.
    #[default]
    Rolling,
    /// A count that starts again when the second is over that its first request began.
    Fixed,
    /// Tokens that come back evenly, as many as the quota at most: after a pause nearly twice the quota passes
    /// within a second.
    Bucket,
}

/// What a user may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests in a second.
    pub requests_per_second: u32,
    /// How the second is counted.
    pub counting: Counting,
    /// Once the quota was exceeded, everything is refused for so long.
    pub halt: Duration,
}

/// The counts of all users.
#[derive(Default)]
pub struct Meters(HashMap<String, Meter>);

impl Meters {
    /// Whether a request of this user may pass that came at this time. One that may not does not count.
    pub fn admit(&mut self, quota: &Quota, user_id: &str, now: Instant) -> bool {
        if !self.0.contains_key(user_id) {
            self.0.insert(user_id.to_owned(), Meter::new(quota, now));
        }
        self.0.get_mut(user_id).is_some_and(|meter| meter.admit(quota, now))
    }
}

struct Meter {
    /// When the requests that still count came, the earliest first.
    passed: VecDeque<Instant>,
    tokens: f64,
    refilled: Instant,
    halted_until: Instant,
    /// When the latest of all requests came.
    latest: Instant,
}

impl Meter {
    fn new(quota: &Quota, now: Instant) -> Self {
        let tokens = f64::from(quota.requests_per_second);
        Self { passed: VecDeque::new(), tokens, refilled: now, halted_until: now, latest: now }
    }

    fn admit(&mut self, quota: &Quota, now: Instant) -> bool {
        // Those that came at nearly the same time may be counted in another order.
        self.latest = self.latest.max(now);
        let now = self.latest;
        if now < self.halted_until {
            return false;
        }
        let admitted = match quota.counting {
            Counting::Bucket => self.take_token(quota, now),
            Counting::Rolling | Counting::Fixed => self.count(quota, now),
        };
        if !admitted {
            self.halted_until = now + quota.halt;
        }
        admitted
    }

    fn count(&mut self, quota: &Quota, now: Instant) -> bool {
        const SECOND: Duration = Duration::from_secs(1);
        let over = |came: Instant| now.duration_since(came) >= SECOND;
        match quota.counting {
            Counting::Fixed if self.passed.front().is_some_and(|&first| over(first)) => self.passed.clear(),
            Counting::Fixed => {}
            _ => while self.passed.pop_front_if(|came| over(*came)).is_some() {},
        }
        let admitted = self.passed.len() < quota.requests_per_second as usize;
        if admitted {
            self.passed.push_back(now);
        }
        admitted
    }

    fn take_token(&mut self, quota: &Quota, now: Instant) -> bool {
        let full = f64::from(quota.requests_per_second);
        self.tokens = (self.tokens + now.duration_since(self.refilled).as_secs_f64() * full).min(full);
        self.refilled = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the requests at these moments, in milliseconds, pass a quota of two a second.
    fn passing(counting: Counting, halt: u64, moments: &[u64]) -> Vec<bool> {
        let quota = Quota { requests_per_second: 2, counting, halt: Duration::from_millis(halt) };
        let (mut meters, start) = (Meters::default(), Instant::now());
        let at = |moment: &u64| start + Duration::from_millis(*moment);
        moments.iter().map(|moment| meters.admit(&quota, "me", at(moment))).collect()
    }

    #[test]
    fn a_rolling_second_begins_anywhere() {
        let passed = passing(Counting::Rolling, 0, &[0, 900, 999, 1000, 1100, 1900]);
        assert_eq!(passed, [true, true, false, true, false, true]);
    }

    #[test]
    fn a_fixed_window_begins_anew_when_it_is_over() {
        let passed = passing(Counting::Fixed, 0, &[0, 900, 999, 1000, 1100, 1200]);
        assert_eq!(passed, [true, true, false, true, true, false]);
    }

    #[test]
    fn a_bucket_refills_evenly() {
        let passed = passing(Counting::Bucket, 0, &[0, 0, 0, 500, 501, 1000]);
        assert_eq!(passed, [true, true, false, true, false, true]);
    }

    #[test]
    fn a_halt_refuses_everything_for_its_time() {
        let passed = passing(Counting::Rolling, 3000, &[0, 0, 500, 2000, 3499, 3500]);
        assert_eq!(passed, [true, true, false, false, false, true]);
    }

    #[test]
    fn requests_that_are_counted_in_another_order_than_they_came_pass() {
        for counting in [Counting::Rolling, Counting::Fixed, Counting::Bucket] {
            assert_eq!(passing(counting, 1000, &[5, 3]), [true, true]);
        }
    }

    #[test]
    fn users_are_counted_apart() {
        let quota = Quota { requests_per_second: 1, counting: Counting::Rolling, halt: Duration::ZERO };
        let (mut meters, now) = (Meters::default(), Instant::now());
        assert!(meters.admit(&quota, "me", now) && meters.admit(&quota, "you", now));
        assert!(!meters.admit(&quota, "me", now));
    }
}
