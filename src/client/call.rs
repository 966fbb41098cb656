//! A call under way, as its caller sees it: how far it is, and the means to end it.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{
    error::Error,
    ids::Targets,
    report::{Ledger, Outcome, Report, Requests},
};

/// When a call is ended early, answers that are on their way are awaited for so long: their outcomes are true
/// then, instead of unknown.
pub const GRACE: Duration = Duration::from_secs(2);

/// What one call names, how long it may take, and what became of it so far. Shared by the call itself and by
/// whoever watches or ends it.
///
/// ```
/// use clarifai_annotations::{client::Call, ids::{ColumnBuilder, Targets}};
///
/// let mut input_ids = ColumnBuilder::new("input_ids");
/// input_ids.push("photo-1")?;
/// let call = Call::new(Targets::inputs(input_ids.finish())?, None);
/// assert_eq!(call.progress().unsent, 1);
/// # Ok::<(), clarifai_annotations::ids::IdError>(())
/// ```
pub struct Call {
    targets: Arc<Targets>,
    timeout: Option<Duration>,
    started: Instant,
    ledger: Mutex<Ledger>,
    state: watch::Sender<State>,
    /// Where it carries single deletions of several callers: the call of each, in the order of the targets.
    singles: Vec<Arc<Call>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum State {
    Going,
    /// Nothing more is sent; the answers that are on their way are awaited as long as any.
    Stopped,
    /// Nothing more is sent, and the caller will not wait longer than [`GRACE`].
    Ended,
    /// It was carried by another call, which has its answer.
    Done,
}

/// The call was stopped: nothing more may be sent.
pub(super) struct Stopped;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Different IDs that the call named. The five counts below add up to it.
    pub requested: usize,
    /// Confirmed so far.
    pub deleted: usize,
    /// Not there.
    pub absent: usize,
    /// Refused so far.
    pub failed: usize,
    /// Under way, or without a clear answer yet.
    pub unknown: usize,
    /// Not sent yet.
    pub unsent: usize,
    /// Requests so far.
    pub requests: Requests,
    /// Since the call began.
    pub elapsed: Duration,
}

impl Call {
    /// A call that deletes these, within `timeout` if there is one.
    pub fn new(targets: impl Into<Arc<Targets>>, timeout: Option<Duration>) -> Self {
        let targets = targets.into();
        Self {
            timeout,
            started: Instant::now(),
            ledger: Mutex::new(Ledger::new(targets.len())),
            state: watch::Sender::new(State::Going),
            singles: Vec::new(),
            targets,
        }
    }

    /// A call that carries single ones; `targets` are theirs, in the same order.
    pub(super) fn carrying(targets: Targets, singles: Vec<Arc<Self>>) -> Self {
        Self { singles, ..Self::new(targets, None) }
    }

    /// The single calls that it carries.
    pub(super) fn singles(&self) -> &[Arc<Self>] {
        &self.singles
    }

    /// What the call names.
    pub fn targets(&self) -> &Arc<Targets> {
        &self.targets
    }

    /// How far the call is.
    pub fn progress(&self) -> Progress {
        let ledger = self.ledger();
        Progress {
            requested: self.targets.len(),
            deleted: ledger.count(Outcome::Deleted),
            absent: ledger.count(Outcome::Absent),
            failed: ledger.count(Outcome::Failed),
            unknown: ledger.count(Outcome::Unknown),
            unsent: ledger.count(Outcome::Unsent),
            requests: ledger.requests,
            elapsed: self.started.elapsed(),
        }
    }

    /// Ends the call from outside: nothing more is sent, and answers that are on their way are awaited for at
    /// most two seconds. `how` names it, for example `cancelled`.
    pub fn end(&self, how: &str) {
        self.end_by(Error::Ended { how: how.into() });
    }

    fn end_by(&self, cause: Error) {
        self.ledger().stop(Arc::new(cause));
        self.raise_to(State::Ended);
    }

    /// Stops the call from within: nothing more is sent, for it could not succeed.
    pub(super) fn stop(&self, cause: Arc<Error>) {
        self.ledger().stop(cause);
        self.raise_to(State::Stopped);
    }

    fn raise_to(&self, state: State) {
        self.state.send_if_modified(|current| {
            let rises = *current < state;
            if rises {
                *current = state;
            }
            rises
        });
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These of a request that leaves now are still wanted. Their fate is unknown until they are settled.
    pub(super) fn sends(&self, ids: &[u32]) -> Vec<u32> {
        let wanted =
            |id: &u32| self.singles.get(*id as usize).is_none_or(|single| !single.is_at(State::Ended));
        let ids: Vec<_> = ids.iter().copied().filter(wanted).collect();
        if !ids.is_empty() {
            self.ledger().sent(&ids);
        }
        for single in ids.iter().filter_map(|&id| self.singles.get(id as usize)) {
            single.ledger().sent(&[0]);
        }
        ids
    }

    /// These are deleted. Callers of single ones need not wait for the others.
    pub(super) fn deleted(&self, ids: &[u32]) {
        self.ledger().settle(ids, Outcome::Deleted, None);
        for single in ids.iter().filter_map(|&id| self.singles.get(id as usize)) {
            single.answer(Outcome::Deleted, None);
        }
    }

    /// The call that carries this one has its answer.
    pub(super) fn answer(&self, outcome: Outcome, error: Option<&Arc<Error>>) {
        if !self.is_at(State::Done) {
            self.ledger().settle(&[0], outcome, error);
            self.raise_to(State::Done);
        }
    }

    /// Nobody will carry this call.
    pub(super) fn abandon(&self) {
        self.end("abandoned");
        self.raise_to(State::Done);
    }

    /// Whether everybody whose deletion it carries has given up.
    fn is_given_up(&self) -> bool {
        !self.singles.is_empty() && self.singles.iter().all(|single| single.is_at(State::Ended))
    }

    fn is_at(&self, state: State) -> bool {
        *self.state.borrow() >= state
    }

    /// Waits for something that comes before a request, unless the call is stopped.
    pub(super) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.reaches(State::Stopped) => Err(Stopped),
            waited = wait => if self.is_given_up() { Err(Stopped) } else { Ok(waited) },
        }
    }

    /// Lets `work` go on until it is done; once the call is over its time or ended, for [`GRACE`] more. `None`
    /// when it was not done by then.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = self.until_ended() => {}
        }
        time::timeout(GRACE, work).await.ok()
    }

    /// Waits until the call that carries this one has its answer.
    pub(super) async fn until_done(&self) {
        self.reaches(State::Done).await;
    }

    /// Waits until the call is ended from outside, or ends it when its time is over.
    pub(super) async fn until_ended(&self) {
        let ended = self.reaches(State::Ended);
        let Some(timeout) = self.timeout else { return ended.await };
        if time::timeout(timeout, ended).await.is_err() {
            let message = format!("the call was not done within {} s (timeout)", timeout.as_secs_f64());
            self.end_by(Error::Deadline { message });
        }
    }

    async fn reaches(&self, state: State) {
        // It cannot be closed as long as there is a call.
        let _ = self.state.subscribe().wait_for(|current| *current >= state).await;
    }

    /// The outcomes as they stand. What is still open stays as the ledger has it.
    pub(super) fn close(&self) -> Report {
        self.ledger().close(self.started.elapsed())
    }
}
