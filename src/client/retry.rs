//! Which failures are worth another try, and when.

use std::time::Duration;

use crate::{
    config::Limits,
    error::{Error, Kind, Reach, Status},
    wire::{self, StatusCode},
};

/// What a failed request tells about the work it carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Turned away before anything was done: the same request may be sent again.
    TurnedAway,
    /// Perhaps done, perhaps not: look before sending again.
    Unanswered,
    /// Done in part.
    Mixed,
    /// Understood and refused.
    Refused,
    /// Refused for a reason that every other request would meet as well.
    Hopeless,
}

impl Verdict {
    /// What this failure tells.
    pub fn on(error: &Error) -> Self {
        match error {
            Error::Api(status) => Self::on_status(status),
            Error::Transport { reach: Reach::Unsent, .. } => Self::TurnedAway,
            Error::Transport { reach: Reach::Sent, .. } | Error::Deadline { .. } => Self::Unanswered,
            // The service means what it lists: to ask the same again would bring the same.
            Error::Listing { .. } | Error::TooLarge { .. } => Self::Refused,
            Error::Transport { reach: Reach::Barred, .. }
            | Error::Closed
            | Error::Ended { .. }
            | Error::Backup { .. }
            | Error::Journal { .. }
            | Error::Limit { .. } => Self::Hopeless,
        }
    }

    fn on_status(status: &Status) -> Self {
        use StatusCode::{
            ConnInsufficientScopes, InputWritesDisabledForMaintenance, MixedStatus,
            RequestDisabledForMaintenance, Zero,
        };
        match (StatusCode::try_from(status.code), status.kind()) {
            (
                Ok(
                    ConnInsufficientScopes
                    | RequestDisabledForMaintenance
                    | InputWritesDisabledForMaintenance,
                ),
                _,
            )
            | (_, Kind::Authentication | Kind::Exhausted) => Self::Hopeless,
            // ZERO: an answer without a status tells nothing.
            (Ok(Zero), _) => Self::Unanswered,
            (Ok(MixedStatus), _) => Self::Mixed,
            (_, Kind::Throttled) => Self::TurnedAway,
            _ if wire::is_temporary(status.code) => Self::Unanswered,
            _ => Self::Refused,
        }
    }
}

/// How long everything waits once the hourly limit of the account is used up, before one more attempt tells whether it has
/// been counted anew. Half of the `request_timeout`: 15 s by default, as Clarifai's page on rate limits advises.
pub fn hourly_hold(error: &Error, limits: &Limits) -> Option<Duration> {
    let is_hourly = error.code() == Some(StatusCode::ConnExceedHourlyLimit as i32);
    is_hourly.then(|| limits.request_timeout / 2)
}

/// The wait before attempt number `attempt` (from 2), exponential with full jitter: any time up to a bound that
/// doubles, so that clients which failed together do not come back together. After a throttled answer it is
/// the quota that everyone waits for.
pub fn backoff(attempt: u32, error: &Error) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(15);
    let bound = FIRST.saturating_mul(1 << attempt.saturating_sub(2).min(16)).min(LONGEST);
    match error.kind() {
        Some(Kind::Throttled) => Duration::ZERO,
        _ => bound.mul_f64(fastrand::f64()),
    }
}
