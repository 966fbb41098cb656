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
mod process_window;
mod round_trip;
mod shared_file;
mod store;
mod window;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    process_window::{Registration, Window, shared_by_process},
    window::PermitId,
};
use crate::config::{Rate, Settings};

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

    /// The client sends nothing more: its rate does not hold others down.
    pub fn close(&self) {
        if let Some(registration) = &self.window {
            registration.end();
        }
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
        Some(SendMark { id: *id, window: Arc::clone(window), connection })
    }

    /// The response is here. A throttled one slows down everyone.
    pub fn release(mut self, is_throttled: bool) {
        if let Some((id, window)) = self.window.take() {
            window.release(|state| state.answered(id, is_throttled));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((id, window)) = self.window.take() {
            window.release(|state| state.abandoned(id));
        }
    }
}

/// Marks the time at which a request is written to its connection.
pub struct SendMark {
    id: PermitId,
    window: Arc<Window>,
    connection: u64,
}

impl SendMark {
    /// The request is written now.
    pub fn mark(self) {
        self.window.update(|state| state.written(self.id, self.connection));
    }
}
