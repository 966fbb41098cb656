//! The pace: at most so many requests in any rolling second, whoever sends them.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{self, Instant};

/// Requests leave with this much more room between them than the quota asks for, so that those which the
/// network bunches up on their way still arrive within it.
const MARGIN: Duration = Duration::from_millis(20);

/// Hands out the moments at which requests may leave.
///
/// A token bucket would not do: full, it lets a burst through and then its steady rate on top, which is nearly
/// twice the quota within one rolling second. So each request waits until one window has passed since the
/// request `burst` places before it.
pub struct Quota {
    pace: Option<Pace>,
}

struct Pace {
    burst: usize,
    window: Duration,
    /// When the last `burst` requests leave, in order; some of these moments may be in the future.
    departures: Mutex<VecDeque<Instant>>,
}

impl Quota {
    /// A quota of so many requests in any second; `None` lets everything leave at once.
    pub fn new(requests_per_second: Option<f64>) -> Self {
        let pace = requests_per_second.map(|rate| {
            let burst = rate.max(1.0).floor();
            Pace {
                burst: burst as usize,
                window: Duration::from_secs_f64(burst / rate) + MARGIN,
                departures: Mutex::new(VecDeque::new()),
            }
        });
        Self { pace }
    }

    /// Waits for this request's turn. Turns are given in the order of the calls.
    pub async fn turn(&self) {
        if let Some(pace) = &self.pace {
            let departure = pace.reserve(Instant::now());
            time::sleep_until(departure).await;
        }
    }
}

impl Pace {
    fn reserve(&self, now: Instant) -> Instant {
        let mut departures = self.departures.lock().unwrap_or_else(PoisonError::into_inner);
        let departure = if departures.len() < self.burst {
            now
        } else {
            departures.pop_front().map_or(now, |earlier| now.max(earlier + self.window))
        };
        departures.push_back(departure);
        departure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments at which `count` requests leave that all come at once, in seconds.
    async fn departures(requests_per_second: f64, count: usize) -> Vec<f64> {
        let quota = Quota::new(Some(requests_per_second));
        let start = Instant::now();
        let mut moments = Vec::new();
        for _ in 0..count {
            quota.turn().await;
            moments.push(start.elapsed().as_secs_f64());
        }
        moments
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
}
