//! What became of every ID of a call.

use std::{fmt, ops::AddAssign, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Status};

/// What became of one ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Outcome {
    /// The service confirmed it; or the request carrying it may have been carried out (it went unanswered, or was answered
    /// MIXED_STATUS, a failure that tells nothing, or a temporary one), and a list shows it gone. Whether it was there
    /// before, a confirmation alone does not tell: the service may confirm what had nothing to do.
    Deleted,
    /// A list shows that it is not there; before the deletion, or after the service refused the request carrying it.
    Absent,
    /// It is there still, and the service refuses; or it is listed in another spelling, and was not sent.
    Failed,
    /// Sent, and what became of it could not be found out.
    Unknown,
    /// Never sent: the run was stopped first, or a list did not tell whether it is there.
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

impl AddAssign for Requests {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.retries += other.retries;
        self.throttled += other.throttled;
    }
}

/// What the caller should know of a run, although it is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Warning {
    /// The service answered requests with a code of success that says more than SUCCESS.
    OtherSuccess {
        /// The latest answer with this code.
        status: Status,
        /// How many requests were answered so.
        requests: u64,
    },
    /// The run was stopped when everything was deleted or absent: a journal that could not be completed, for example.
    StoppedAtItsEnd {
        /// What stopped it.
        cause: String,
    },
    /// Annotations that a model or a workflow made were listed without data, where a copy was to be kept: the copy may be
    /// less than what was deleted.
    SavedWithoutData {
        /// How many.
        annotations: u64,
        /// The first of them: the ID of its input, and its own.
        first: (String, String),
    },
}

impl Warning {
    /// Counts another warning in, if it is of the same kind.
    fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::OtherSuccess { status, requests },
                Self::OtherSuccess { status: latest, requests: more },
            ) if status.code == latest.code => {
                *requests += more;
                true
            }
            (
                Self::SavedWithoutData { annotations, .. },
                Self::SavedWithoutData { annotations: more, .. },
            ) => {
                *annotations += more;
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSuccess { status, requests } => {
                write!(f, "{requests} requests were answered {status}, which counts as success")
            }
            Self::StoppedAtItsEnd { cause } => {
                write!(f, "everything is deleted or absent, and then the run was stopped: {cause}")
            }
            Self::SavedWithoutData { annotations, first: (input_id, id) } => write!(
                f,
                "{annotations} annotations that a model or a workflow made were listed without data (the first is {id:?} of \
                 input {input_id:?}): if they had any, the backup does not hold it"
            ),
        }
    }
}

/// The outcomes while a run is under way. Each ID has exactly one at every moment: [`Outcome::Unsent`] at
/// first, [`Outcome::Unknown`] from when it is sent until its answer is understood.
///
/// It takes a byte for each ID, and four more once there was an error.
#[derive(Debug)]
pub struct Ledger {
    outcomes: Vec<Outcome>,
    counts: [usize; Outcome::ALL.len()],
    errors: Errors,
    stopped_by: Option<Arc<Error>>,
    from_journal: usize,
    finished_at: Option<String>,
    warnings: Vec<Warning>,
    /// Requests of the run so far.
    pub requests: Requests,
}

/// The latest error of each ID.
#[derive(Debug, Clone, Default)]
struct Errors {
    /// For each ID 0, or the place of its error in `kept`, from 1; empty before the first error.
    of: Vec<u32>,
    kept: Vec<Arc<Error>>,
}

impl Errors {
    fn note(&mut self, ids: &[u32], count: usize, error: &Arc<Error>) {
        if self.of.is_empty() {
            self.of = vec![0; count];
        }
        if !self.kept.last().is_some_and(|last| Arc::ptr_eq(last, error)) {
            self.kept.push(Arc::clone(error));
        }
        for &id in ids {
            self.of[id as usize] = self.kept.len() as u32;
        }
    }

    fn get(&self, id: usize) -> Option<&Arc<Error>> {
        let place = self.of.get(id)?.checked_sub(1)?;
        self.kept.get(place as usize)
    }
}

impl Ledger {
    /// A ledger for `count` IDs, none of them sent.
    pub fn new(count: usize) -> Self {
        let mut counts = [0; Outcome::ALL.len()];
        counts[Outcome::Unsent as usize] = count;
        Self {
            outcomes: vec![Outcome::Unsent; count],
            counts,
            errors: Errors::default(),
            stopped_by: None,
            from_journal: 0,
            finished_at: None,
            warnings: Vec::new(),
            requests: Requests::default(),
        }
    }

    /// A request leaves that deletes these IDs, none if it is a list. From here on their fate is unknown until
    /// it is settled.
    pub fn sent(&mut self, ids: &[u32]) {
        self.requests.sent += 1;
        self.settle(ids, Outcome::Unknown, None);
    }

    /// What became of these IDs, and the error behind it, if any. A ledger that is closed takes no more.
    pub fn settle(&mut self, ids: &[u32], outcome: Outcome, error: Option<&Arc<Error>>) {
        if self.outcomes.is_empty() {
            return;
        }
        for &id in ids {
            let before = std::mem::replace(&mut self.outcomes[id as usize], outcome);
            self.counts[before as usize] -= 1;
        }
        self.counts[outcome as usize] += ids.len();
        if let Some(error) = error {
            self.errors.note(ids, self.outcomes.len(), error);
        }
    }

    /// Takes over the outcomes of an earlier run of the same call, and when that was finished, if it was.
    pub fn take_over(&mut self, outcomes: &[Outcome], finished_at: Option<String>) {
        for (id, outcome) in (0..).zip(outcomes) {
            self.settle(&[id], *outcome, None);
        }
        self.from_journal = self.count(Outcome::Deleted) + self.count(Outcome::Absent);
        self.finished_at = finished_at;
    }

    /// Adds a warning to those of the run; true when it is the first of its kind.
    pub fn warn(&mut self, warning: Warning) -> bool {
        let is_new = !self.warnings.iter_mut().any(|known| known.absorb(&warning));
        if is_new {
            self.warnings.push(warning);
        }
        is_new
    }

    /// The warnings so far.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The outcome of an ID by now.
    pub fn outcome(&self, id: u32) -> Outcome {
        self.outcomes.get(id as usize).copied().unwrap_or(Outcome::Unsent)
    }

    /// The latest error of an ID.
    pub fn error(&self, id: u32) -> Option<&Arc<Error>> {
        self.errors.get(id as usize)
    }

    /// How many IDs have this outcome by now.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.counts[outcome as usize]
    }

    /// The run ends here: nothing more may be sent. The first cause stands.
    pub fn stop(&mut self, cause: Arc<Error>) {
        self.stopped_by.get_or_insert(cause);
    }

    /// What stopped the run, if anything did.
    pub fn stopped_by(&self) -> Option<&Arc<Error>> {
        self.stopped_by.as_ref()
    }

    /// Closes the ledger; its counts can still be read.
    pub fn close(&mut self, elapsed: Duration) -> Report {
        let done = self.count(Outcome::Deleted) + self.count(Outcome::Absent);
        if let Some(cause) = &self.stopped_by
            && done == self.outcomes.len()
            && done > 0
        {
            let cause = cause.to_string();
            self.warn(Warning::StoppedAtItsEnd { cause });
        }
        let mut before = 0;
        let ranks = self.outcomes.chunks(BLOCK).map(|block| {
            let rank = before;
            before += block.iter().filter(|outcome| **outcome != Outcome::Deleted).count() as u32;
            rank
        });
        Report {
            ranks: ranks.collect(),
            outcomes: std::mem::take(&mut self.outcomes),
            counts: self.counts,
            errors: std::mem::take(&mut self.errors),
            stopped_by: self.stopped_by.clone(),
            from_journal: self.from_journal,
            finished_at: self.finished_at.clone(),
            warnings: self.warnings.clone(),
            requests: self.requests,
            elapsed,
        }
    }
}

/// The outcomes of a run that has ended. IDs go by their place among the different ones that the call named.
#[derive(Debug, Clone)]
pub struct Report {
    outcomes: Vec<Outcome>,
    counts: [usize; Outcome::ALL.len()],
    /// How many failures come before each block of outcomes.
    ranks: Vec<u32>,
    errors: Errors,
    stopped_by: Option<Arc<Error>>,
    /// IDs that an earlier run of the same call deleted or found absent: nothing was sent for them.
    pub from_journal: usize,
    /// When an earlier run finished the call, in ISO 8601: nothing was sent.
    pub finished_at: Option<String>,
    /// What the caller should know, although it is no failure; each kind once.
    pub warnings: Vec<Warning>,
    /// Requests of the run.
    pub requests: Requests,
    /// From the first step of the run to its last.
    pub elapsed: Duration,
}

/// Outcomes between two ranks: so many are looked through for one failure.
const BLOCK: usize = 256;

impl Report {
    /// How many different IDs the call named. The counts of all outcomes add up to it.
    pub fn requested(&self) -> usize {
        self.outcomes.len()
    }

    /// How many IDs have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.counts[outcome as usize]
    }

    /// The outcome of one ID.
    ///
    /// # Panics
    /// When `id` is not below [`requested`](Self::requested).
    pub fn outcome(&self, id: usize) -> Outcome {
        self.outcomes[id]
    }

    /// How many IDs are not deleted.
    pub fn failures(&self) -> usize {
        self.requested() - self.count(Outcome::Deleted)
    }

    /// The `index`-th ID that is not deleted, in the call's order.
    pub fn failure(&self, index: usize) -> Option<usize> {
        let block = self.ranks.partition_point(|&rank| rank as usize <= index).checked_sub(1)?;
        let failed = |id: &usize| self.outcomes[*id] != Outcome::Deleted;
        (block * BLOCK..self.requested()).filter(failed).nth(index - self.ranks[block] as usize)
    }

    /// The error that decided an ID's outcome; for one that was never sent, what stopped the run.
    pub fn error(&self, id: usize) -> Option<&Arc<Error>> {
        if self.outcomes[id] == Outcome::Deleted {
            return None;
        }
        self.errors.get(id).or(self.stopped_by.as_ref())
    }

    /// What ended the run before all was sent, if anything did.
    pub fn stopped_by(&self) -> Option<&Arc<Error>> {
        self.stopped_by.as_ref()
    }

    /// The counts in a line: every outcome there is, then the requests.
    pub fn summary(&self) -> String {
        let named = Outcome::ALL.iter().filter(|outcome| self.count(**outcome) > 0);
        let mut counts: Vec<_> =
            named.map(|outcome| format!("{} {}", self.count(*outcome), outcome.name())).collect();
        if counts.is_empty() {
            counts.push("nothing to delete".into());
        }
        let Requests { sent, retries, throttled } = self.requests;
        format!(
            "{} ({sent} requests, {retries} retries, {throttled} throttled) in {:.2} s",
            counts.join(", "),
            self.elapsed.as_secs_f64()
        )
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
        let report = ledger.close(Duration::ZERO);
        assert_eq!(Outcome::ALL.map(|outcome| report.count(outcome)), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn the_latest_error_of_an_id_is_the_one_reported() {
        let latest = Arc::new(Error::Deadline { message: "late".into() });
        let mut ledger = Ledger::new(1);
        ledger.settle(&[0], Outcome::Failed, Some(&closed()));
        ledger.settle(&[0], Outcome::Failed, Some(&latest));
        assert_eq!(ledger.close(Duration::ZERO).error(0), Some(&latest));
    }

    #[test]
    fn an_id_that_was_never_sent_has_the_error_that_stopped_the_run() {
        let mut ledger = Ledger::new(1);
        ledger.stop(closed());
        assert_eq!(ledger.close(Duration::ZERO).error(0), Some(&closed()));
    }

    #[test]
    fn failures_are_found_by_their_rank_wherever_they_stand() {
        let failed: Vec<u32> = (0..2000).filter(|id| id % 7 == 0 || (500..900).contains(id)).collect();
        let mut ledger = Ledger::new(2000);
        ledger.settle(&(0..2000).collect::<Vec<_>>(), Outcome::Deleted, None);
        ledger.settle(&failed, Outcome::Failed, Some(&closed()));
        let report = ledger.close(Duration::ZERO);
        let found: Vec<_> = (0..=report.failures()).map_while(|index| report.failure(index)).collect();
        assert_eq!(found, failed.iter().map(|&id| id as usize).collect::<Vec<_>>());
    }

    #[test]
    fn a_summary_names_what_there_is_and_the_requests() {
        let mut ledger = Ledger::new(3);
        ledger.settle(&[0, 1], Outcome::Deleted, None);
        ledger.requests.sent = 1;
        let summary = ledger.close(Duration::from_millis(1500)).summary();
        assert_eq!(summary, "2 deleted, 1 unsent (1 requests, 0 retries, 0 throttled) in 1.50 s");
    }

    #[test]
    fn a_run_that_is_stopped_when_all_is_deleted_says_so_in_a_warning() {
        let mut ledger = Ledger::new(1);
        ledger.settle(&[0], Outcome::Deleted, None);
        ledger.stop(closed());
        let [warning] = &ledger.close(Duration::ZERO).warnings[..] else { panic!("no warning") };
        assert!(warning.to_string().ends_with("and then the run was stopped: this client is closed: make a new Client, or keep the calls inside its `with` block"));
    }

    #[test]
    fn a_run_that_is_stopped_before_all_is_deleted_has_no_warning_of_it() {
        let mut ledger = Ledger::new(2);
        ledger.settle(&[0], Outcome::Deleted, None);
        ledger.stop(closed());
        assert_eq!(ledger.close(Duration::ZERO).warnings, []);
    }

    #[test]
    fn what_comes_after_a_ledger_is_closed_changes_nothing() {
        let mut ledger = Ledger::new(1);
        ledger.close(Duration::ZERO);
        ledger.settle(&[0], Outcome::Deleted, None);
        assert_eq!((ledger.count(Outcome::Unsent), ledger.count(Outcome::Deleted)), (1, 0));
    }

    #[test]
    fn a_deleted_id_has_no_error_whatever_came_before() {
        let mut ledger = Ledger::new(1);
        ledger.settle(&[0], Outcome::Unknown, Some(&closed()));
        ledger.settle(&[0], Outcome::Deleted, None);
        assert_eq!(ledger.close(Duration::ZERO).error(0), None);
    }
}
