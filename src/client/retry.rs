//! Which failures are worth another try, and when.

use std::time::Duration;

use crate::{
    error::{Error, Kind, Reach, Status},
    wire::StatusCode,
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
        match (StatusCode::try_from(status.code), status.kind()) {
            (Ok(StatusCode::ConnInsufficientScopes | StatusCode::ConnExceedMonthlyLimit), _) => {
                Self::Hopeless
            }
            // ZERO: an answer without a status tells nothing.
            (Ok(StatusCode::Zero | StatusCode::TryAgain), _) => Self::Unanswered,
            (Ok(StatusCode::MixedStatus), _) => Self::Mixed,
            (_, Kind::Authentication) => Self::Hopeless,
            (_, Kind::Throttled) => Self::TurnedAway,
            _ => Self::Refused,
        }
    }
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
