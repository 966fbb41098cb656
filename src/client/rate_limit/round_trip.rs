//! How long requests take from their writing to their response: the least, the usual, and what is far too long.

use std::time::Duration;

/// The minimum is that of the latest one to two spans of this length, so that a route that became longer is learned.
const SPAN: Duration = Duration::from_secs(10);

/// The least that the timeout is above the smoothed time: below it, timers and busy processors are what is measured.
const SLACK: Duration = Duration::from_millis(50);

/// Before so many samples, the minimum that was measured may be above the one that there is…
const ENOUGH_SAMPLES: u32 = 8;

/// …by so much: what a busy machine takes longer over the first requests.
const FIRST_DELAY: Duration = Duration::from_millis(30);

/// Round trip times of one service, as TCP keeps them (RFC 6298), and their minimum, as BBR keeps it.
#[derive(Debug, Clone, Default)]
pub struct RoundTrip {
    /// Smoothed, and its mean deviation.
    smoothed: Option<(Duration, Duration)>,
    /// The minimum of the current span and of the one before it; when the current one began.
    minima: [Option<Duration>; 2],
    since: Duration,
    samples: u32,
    /// When the timeout was raised by a request that took longer.
    raised_at: Duration,
}

impl RoundTrip {
    /// Takes a measured round trip into account.
    pub fn sample(&mut self, time: Duration, now: Duration) {
        if now.saturating_sub(self.since) >= SPAN {
            self.minima = [None, self.minima[0]];
            self.since = now;
        }
        self.samples = self.samples.saturating_add(1);
        self.minima[0] = Some(self.minima[0].map_or(time, |least| least.min(time)));
        self.smooth(time, now);
    }

    /// Of requests that were stuck, one in a timeout counts, and as no longer than the timeout: when the network moves again
    /// their responses all come at once, and say nothing of how long others take.
    fn smooth(&mut self, mut time: Duration, now: Duration) {
        if let Some(timeout) = self.timeout()
            && time > timeout
        {
            if now < self.raised_at + timeout {
                return;
            }
            (time, self.raised_at) = (timeout, now);
        }
        self.smoothed = Some(match self.smoothed {
            None => (time, time / 2),
            Some((smoothed, deviation)) => {
                let difference = smoothed.abs_diff(time);
                ((smoothed * 7 + time) / 8, (deviation * 3 + difference) / 4)
            }
        });
    }

    /// The least that a round trip takes; zero where none was measured.
    pub fn least(&self) -> Duration {
        let measured = self.minima.into_iter().flatten().min().unwrap_or_default();
        if self.samples < ENOUGH_SAMPLES { measured - FIRST_DELAY.min(measured / 2) } else { measured }
    }

    /// A request that is out for longer than this is stuck. `None` where no round trip was measured.
    pub fn timeout(&self) -> Option<Duration> {
        self.smoothed.map(|(smoothed, deviation)| smoothed + (deviation * 4).max(SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_least_follows_a_route_that_became_longer() {
        let mut round_trip = RoundTrip::default();
        round_trip.sample(20 * MS, Duration::ZERO);
        assert_eq!(round_trip.least(), 10 * MS);
        (0..8).for_each(|_| round_trip.sample(120 * MS, 1000 * MS));
        assert_eq!(round_trip.least(), 20 * MS);
        for second in 10..=25 {
            round_trip.sample(120 * MS, second * 1000 * MS);
        }
        assert_eq!(round_trip.least(), 120 * MS);
    }

    #[test]
    fn the_timeout_is_far_above_steady_times_and_further_above_varying_ones() {
        let timeout = |times: [u32; 4]| {
            let mut round_trip = RoundTrip::default();
            let samples = (0..).zip(times.iter().cycle()).take(40);
            samples.for_each(|(second, time)| round_trip.sample(*time * MS, second * 1000 * MS));
            round_trip.timeout().unwrap()
        };
        assert_eq!(RoundTrip::default().timeout(), None);
        assert!((70 * MS..75 * MS).contains(&timeout([20; 4])), "{:?}", timeout([20; 4]));
        assert!(timeout([20, 20, 20, 400]) > 400 * MS);
    }

    #[test]
    fn stuck_requests_do_not_make_the_others_pass_for_slow() {
        let mut round_trip = RoundTrip::default();
        (0..20).for_each(|_| round_trip.sample(20 * MS, Duration::ZERO));
        (0..20).for_each(|_| round_trip.sample(1500 * MS, 2000 * MS));
        assert!(round_trip.timeout().unwrap() < 150 * MS);
    }
}
