//! What became of every ID of a call.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What became of one ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Outcome {
    /// The service confirmed it; or the request carrying it went unanswered or was answered MIXED_STATUS,
    /// and a list shows it gone.
    Deleted,
    /// The service refused the request carrying it, and a list shows that it is not there.
    Absent,
    /// It is there still, and the service refuses.
    Failed,
    /// Sent, and what became of it could not be found out.
    Unknown,
    /// Never sent: the run was stopped first.
    Unsent,
}

impl Outcome {
    /// All outcomes, in the order of a report.
    pub const ALL: [Self; 5] = [Self::Deleted, Self::Absent, Self::Failed, Self::Unknown, Self::Unsent];

    /// The outcome's name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Unsent => "unsent",
        }
    }
}

/// Requests of a run, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// All that were sent: deletions and lists, first attempts and later ones.
    pub sent: u64,
    /// Of these, the ones that repeat an earlier one that failed.
    pub retries: u64,
    /// Of these, the ones that the service answered with "too many requests".
    pub throttled: u64,
}

/// The outcomes while a run is under way. Each ID has exactly one at every moment: [`Outcome::Unsent`] at
/// first, [`Outcome::Unknown`] from when it is sent until its answer is understood.
#[derive(Debug)]
pub struct Ledger {
    outcomes: Vec<Outcome>,
    errors: Vec<(u32, Arc<Error>)>,
    stopped_by: Option<Arc<Error>>,
    /// Requests of the run so far.
    pub requests: Requests,
}

impl Ledger {
    /// A ledger for `count` IDs, none of them sent.
    pub fn new(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Unsent; count],
            errors: Vec::new(),
            stopped_by: None,
            requests: Requests::default(),
        }
    }

    /// These IDs are about to leave. From here on their fate is unknown until it is settled.
    pub fn sent(&mut self, ids: &[u32]) {
        self.settle(ids, Outcome::Unknown, None);
    }

    /// What became of these IDs, and the error behind it, if any.
    pub fn settle(&mut self, ids: &[u32], outcome: Outcome, error: Option<&Arc<Error>>) {
        for &id in ids {
            self.outcomes[id as usize] = outcome;
            if let Some(error) = error {
                self.errors.push((id, Arc::clone(error)));
            }
        }
    }

    /// The run ends here: nothing more may be sent. The first cause stands.
    pub fn stop(&mut self, cause: Arc<Error>) {
        self.stopped_by.get_or_insert(cause);
    }

    /// What stopped the run, if anything did.
    pub fn stopped_by(&self) -> Option<&Arc<Error>> {
        self.stopped_by.as_ref()
    }

    /// Closes the ledger.
    pub fn into_report(mut self, elapsed: Duration) -> Report {
        // The latest error of an ID is the one that decided its outcome.
        self.errors.reverse();
        self.errors.sort_by_key(|(id, _)| *id);
        self.errors.dedup_by_key(|(id, _)| *id);
        let failures = self.outcomes.iter().enumerate().filter(|(_, outcome)| **outcome != Outcome::Deleted);
        Report {
            failures: failures.map(|(id, _)| id as u32).collect(),
            outcomes: self.outcomes,
            errors: self.errors,
            stopped_by: self.stopped_by,
            requests: self.requests,
            elapsed,
        }
    }
}

/// The outcomes of a run that has ended. IDs go by their place among the different ones that the call named.
#[derive(Debug, Clone)]
pub struct Report {
    outcomes: Vec<Outcome>,
    failures: Vec<u32>,
    errors: Vec<(u32, Arc<Error>)>,
    stopped_by: Option<Arc<Error>>,
    /// Requests of the run.
    pub requests: Requests,
    /// From the first step of the run to its last.
    pub elapsed: Duration,
}

impl Report {
    /// How many different IDs the call named. The counts of all outcomes add up to it.
    pub fn requested(&self) -> usize {
        self.outcomes.len()
    }

    /// How many IDs have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Deleted => self.outcomes.len() - self.failures.len(),
            other => self.failures.iter().filter(|&&id| self.outcomes[id as usize] == other).count(),
        }
    }

    /// The outcome of one ID.
    ///
    /// # Panics
    /// When `id` is not below [`requested`](Self::requested).
    pub fn outcome(&self, id: usize) -> Outcome {
        self.outcomes[id]
    }

    /// Every ID that is not deleted, in the call's order.
    pub fn failures(&self) -> &[u32] {
        &self.failures
    }

    /// The error that decided an ID's outcome; for one that was never sent, what stopped the run.
    pub fn error(&self, id: usize) -> Option<&Arc<Error>> {
        if self.outcomes[id] == Outcome::Deleted {
            return None;
        }
        match self.errors.binary_search_by_key(&(id as u32), |(id, _)| *id) {
            Ok(found) => Some(&self.errors[found].1),
            Err(_) => self.stopped_by.as_ref(),
        }
    }

    /// What ended the run before all was sent, if anything did.
    pub fn stopped_by(&self) -> Option<&Arc<Error>> {
        self.stopped_by.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> Arc<Error> {
        Arc::new(Error::Closed)
    }

    #[test]
    fn an_id_that_was_sent_and_never_answered_is_unknown() {
        let mut ledger = Ledger::new(3);
        ledger.sent(&[0, 1]);
        ledger.settle(&[0], Outcome::Deleted, None);
        let report = ledger.into_report(Duration::ZERO);
        assert_eq!(Outcome::ALL.map(|outcome| report.count(outcome)), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn the_latest_error_of_an_id_is_the_one_reported() {
        let latest = Arc::new(Error::Deadline { message: "late".into() });
        let mut ledger = Ledger::new(1);
        ledger.settle(&[0], Outcome::Failed, Some(&closed()));
        ledger.settle(&[0], Outcome::Failed, Some(&latest));
        assert_eq!(ledger.into_report(Duration::ZERO).error(0), Some(&latest));
    }

    #[test]
    fn an_id_that_was_never_sent_has_the_error_that_stopped_the_run() {
        let mut ledger = Ledger::new(1);
        ledger.stop(closed());
        assert_eq!(ledger.into_report(Duration::ZERO).error(0), Some(&closed()));
    }

    #[test]
    fn a_deleted_id_has_no_error_whatever_came_before() {
        let mut ledger = Ledger::new(1);
        ledger.settle(&[0], Outcome::Unknown, Some(&closed()));
        ledger.settle(&[0], Outcome::Deleted, None);
        assert_eq!(ledger.into_report(Duration::ZERO).error(0), None);
    }
}
