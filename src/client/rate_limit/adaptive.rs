//! How many requests a window may have, where somebody who cannot be asked sends as well, or where the quota is not known.

use std::time::Duration;

use super::{codec::{put_time, time}, window::MARGIN};

/// What a window may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// So many requests…
    pub requests: usize,
    /// …within so long.
    pub window: Duration,
    /// The requests are spread over this share of the window.
    pub spread: f64,
}

/// Additive increase, multiplicative decrease.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Adaptive {
    /// Nothing is sent before.
    pub held_until: Duration,
}

impl Adaptive {
    /// What a window may have now. `rate` is the strictest of the members, infinite where it is to be found out.
    pub fn limit(&self, rate: f64) -> Limit {
        // Less than one request a second is one in a longer window.
        let requests = rate.max(1.0).floor();
        let window = Duration::from_secs_f64(requests / rate) + MARGIN;
        Limit { requests: requests as usize, window, spread: 0.15 }
    }

    /// How long after a request the next may be sent.
    pub fn spacing(&self, limit: &Limit) -> Duration {
        limit.window.mul_f64(limit.spread / limit.requests as f64)
    }

    /// The longest window that there can be.
    pub fn longest_window(&self) -> Duration {
        Duration::from_secs(3)
    }

    /// Writes it for other processes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        put_time(bytes, self.held_until);
    }

    /// Reads it.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { held_until: time(bytes)? })
    }

    pub fn advance(&mut self, _rate: f64, _now: Duration) {}
    pub fn accepted(&mut self, _now: Duration) {}
    pub fn throttled(&mut self, _accepted: usize, _sent: Duration, _rate: f64, now: Duration) {
        self.held_until = now + Duration::from_secs(1);
    }
    pub fn clear(&mut self, now: Duration) {
        self.held_until = now;
    }
}
