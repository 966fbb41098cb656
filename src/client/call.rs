//! A call under way, as its caller sees it: how far it is, and the means to end it.

use std::{
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use crate::{
    config::DEFAULT_CANCEL_GRACE,
    error::Error,
    ids::Targets,
    journal::{self, Journal, Opened},
    report::{Ledger, Outcome, Report, Requests},
};

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
    targets: OnceLock<Arc<Targets>>,
    timeout: Option<Duration>,
    cancel_grace: Duration,
    precautions: Precautions,
    started: Instant,
    ledger: Mutex<Ledger>,
    /// `None` where it was finished by an earlier run.
    journal: OnceLock<(Option<Journal>, Vec<Outcome>)>,
    /// IDs that were looked up, by a call that only looks.
    looked_up: AtomicUsize,
    /// Whether it was told that the service refuses something.
    told_of_refusal: AtomicBool,
    state: Arc<Progression>,
    /// Where it carries single deletions: the call of each, in the order of the targets.
    callers: Vec<Caller>,
    /// Where it is a single deletion that waited to be carried.
    departure: OnceLock<Departure>,
}

/// A single deletion that another call carries. Several may name the same pair.
pub(super) struct Caller {
    /// The place of its pair among the targets.
    pub id: u32,
    /// Its own call.
    pub call: Arc<Call>,
}

/// What became of a single deletion that waited: the first of the two that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    /// A request carries it.
    Departed,
    /// It was taken back.
    Left,
}

/// What a caller does against deleting the wrong thing.
#[derive(Debug, Clone, Default)]
pub struct Precautions {
    /// Where annotations are saved before they are deleted.
    pub backup: Option<PathBuf>,
    /// Whether the backup's logs are left for [`fold_backup`](crate::backup::fold_backup), because more calls follow.
    pub is_backup_folded_later: bool,
    /// Where outcomes are taken down, so that the call can go on after its process was ended.
    pub journal: Option<journal::Place>,
    /// The most annotations that the call may delete.
    pub max_deletions: Option<usize>,
    /// Whether everything is listed before it is deleted, so that what is not there is told from what is deleted.
    pub look_first: bool,
}

/// A state that rises, and wakes who waits for it. A `watch` channel would take half a kilobyte for each of thousands of
/// deletions that wait.
struct Progression {
    current: AtomicU8,
    raised: Notify,
}

impl Default for Progression {
    fn default() -> Self {
        Self { current: AtomicU8::new(State::Going as u8), raised: Notify::new() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Going,
    /// Nothing more is sent; the answers that are on their way are awaited as long as any.
    Stopped,
    /// Nothing more is sent, and the caller will not wait longer than its grace.
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
    /// IDs that were looked up, by a call that only looks; they stay unsent.
    pub looked_up: usize,
    /// Requests so far.
    pub requests: Requests,
    /// Since the call began.
    pub elapsed: Duration,
}

impl Call {
    /// A call that deletes these, within `timeout` if there is one.
    pub fn new(targets: impl Into<Arc<Targets>>, timeout: Option<Duration>) -> Self {
        let call = Self::unread(timeout);
        call.name(targets.into());
        call
    }

    /// A call that restores a backup, within `timeout` if there is one. What it names is read when it begins.
    pub fn unread(timeout: Option<Duration>) -> Self {
        Self {
            targets: OnceLock::new(),
            timeout,
            cancel_grace: DEFAULT_CANCEL_GRACE,
            precautions: Precautions::default(),
            started: Instant::now(),
            ledger: Mutex::new(Ledger::new(0)),
            journal: OnceLock::new(),
            looked_up: AtomicUsize::new(0),
            told_of_refusal: AtomicBool::new(false),
            state: Arc::default(),
            callers: Vec::new(),
            departure: OnceLock::new(),
        }
    }

    /// This is what the call names.
    pub(super) fn name(&self, targets: Arc<Targets>) {
        let stopped_by = self.ledger().stopped_by().cloned();
        let mut ledger = Ledger::new(targets.len());
        if let Some(cause) = stopped_by {
            ledger.stop(cause);
        }
        *self.ledger() = ledger;
        let _ = self.targets.set(targets);
    }

    /// The call with these precautions.
    pub fn with(self, precautions: Precautions) -> Self {
        Self { precautions, ..self }
    }

    /// The call with another time to wait for responses in flight when it is ended early, instead of 2 s.
    pub fn with_cancel_grace(self, cancel_grace: Duration) -> Self {
        Self { cancel_grace, ..self }
    }

    /// How long it waits for responses in flight when it is ended early: their outcomes are known then.
    pub(super) fn cancel_grace(&self) -> Duration {
        self.cancel_grace
    }

    /// A part of `whole`, with targets of its own. What stops one of the two stops the other.
    pub(super) fn part_of(whole: &Self, targets: Targets) -> Self {
        Self { state: Arc::clone(&whole.state), ..Self::new(targets, None) }
    }

    /// A call that carries single ones, which are in the order of the targets.
    pub(super) fn carrying(targets: Targets, callers: Vec<Caller>) -> Self {
        Self { callers, ..Self::new(targets, None) }
    }

    /// The single calls that it carries.
    pub(super) fn callers(&self) -> &[Caller] {
        &self.callers
    }

    /// Those of one target.
    fn callers_of(&self, id: u32) -> &[Caller] {
        let first = self.callers.partition_point(|caller| caller.id < id);
        let count = self.callers[first..].partition_point(|caller| caller.id == id);
        &self.callers[first..first + count]
    }

    /// A request carries it from now on. `false`: it was taken back before.
    pub(super) fn depart(&self) -> bool {
        self.departure.set(Departure::Departed).is_ok()
    }

    /// Takes it back. `false`: a request carries it.
    pub(super) fn leave(&self) -> bool {
        self.departure.set(Departure::Left).is_ok()
    }

    /// Whether it was taken back.
    pub(super) fn has_left(&self) -> bool {
        self.departure.get() == Some(&Departure::Left)
    }

    pub(super) fn precautions(&self) -> &Precautions {
        &self.precautions
    }

    /// From here on outcomes are written to a journal. Those of an earlier run are taken over.
    pub(super) fn attach_journal(&self, opened: Opened) {
        let Opened { journal, past, finished_at } = opened;
        self.ledger().take_over(&past, finished_at);
        let _ = self.journal.set((journal, past));
    }

    /// Whether there may have been an earlier run of the same call.
    pub(super) fn goes_on(&self) -> bool {
        self.journal.get().is_some()
    }

    /// What became of an ID in an earlier run of the same call.
    pub(super) fn past(&self, id: u32) -> Outcome {
        let past = self.journal.get().and_then(|(_, past)| past.get(id as usize));
        past.copied().unwrap_or(Outcome::Unsent)
    }

    fn journal(&self) -> Option<&Journal> {
        self.journal.get()?.0.as_ref()
    }

    /// What the call names; nothing as long as that is not read.
    pub fn targets(&self) -> &Arc<Targets> {
        static NOTHING: LazyLock<Arc<Targets>> = LazyLock::new(|| Arc::new(Targets::joined([])));
        self.targets.get().unwrap_or(&NOTHING)
    }

    /// How far the call is.
    pub fn progress(&self) -> Progress {
        let ledger = self.ledger();
        Progress {
            requested: self.targets().len(),
            deleted: ledger.count(Outcome::Deleted),
            absent: ledger.count(Outcome::Absent),
            failed: ledger.count(Outcome::Failed),
            unknown: ledger.count(Outcome::Unknown),
            unsent: ledger.count(Outcome::Unsent),
            looked_up: self.looked_up.load(Ordering::Relaxed),
            requests: ledger.requests,
            elapsed: self.started.elapsed(),
        }
    }

    /// Ends the call from outside: nothing more is sent, and responses in flight are awaited for its
    /// grace. `how` names it, for example `cancelled`.
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
        if self.state.current.fetch_max(state as u8, Ordering::AcqRel) < state as u8 {
            self.state.raised.notify_waiters();
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These of a request that leaves now are still wanted. Their fate is unknown until they are settled.
    pub(super) fn sends(&self, ids: &[u32]) -> Vec<u32> {
        let wanted = |id: &u32| {
            let callers = self.callers_of(*id);
            callers.is_empty() || callers.iter().any(|caller| !caller.call.is_at(State::Ended))
        };
        let ids: Vec<_> = ids.iter().copied().filter(wanted).collect();
        if !ids.is_empty() {
            self.ledger().sent(&ids);
        }
        for caller in ids.iter().flat_map(|&id| self.callers_of(id)) {
            caller.call.ledger().sent(&[0]);
        }
        ids
    }

    /// These will be sent. When this succeeds the journal, if there is one, says so whatever happens next.
    pub(super) async fn announce(&self, ids: &[u32]) -> Result<(), Stopped> {
        let Some(journal) = self.journal() else { return Ok(()) };
        self.unless_stopped(journal.announce(ids)).await?.map_err(|error| {
            self.stop(Arc::new(error));
            Stopped
        })
    }

    /// What became of these, and the error behind it, if any.
    pub(super) fn settle(&self, ids: &[u32], outcome: Outcome, error: Option<&Arc<Error>>) {
        self.ledger().settle(ids, outcome, error);
        if let Some(journal) = self.journal() {
            journal.record(ids, outcome, error);
        }
    }

    /// Whether the service refuses something for the first time.
    pub(super) fn is_first_refusal(&self) -> bool {
        !self.told_of_refusal.swap(true, Ordering::Relaxed)
    }

    /// So many more were looked up.
    pub(super) fn has_looked_up(&self, count: usize) {
        self.looked_up.fetch_add(count, Ordering::Relaxed);
    }

    /// The requests of a part of this call, and what stopped it, count for the whole.
    pub(super) fn add(&self, part: &Self) {
        let part = part.ledger();
        let mut ledger = self.ledger();
        ledger.requests += part.requests;
        for warning in part.warnings() {
            ledger.warn(warning.clone());
        }
        if let Some(cause) = part.stopped_by() {
            ledger.stop(Arc::clone(cause));
        }
    }

    /// These are deleted. Callers of single ones need not wait for the others.
    pub(super) fn deleted(&self, ids: &[u32]) {
        self.settle(ids, Outcome::Deleted, None);
        for caller in ids.iter().flat_map(|&id| self.callers_of(id)) {
            caller.call.answer(Outcome::Deleted, None);
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
        !self.callers.is_empty() && self.callers.iter().all(|caller| caller.call.is_at(State::Ended))
    }

    fn is_at(&self, state: State) -> bool {
        self.state.current.load(Ordering::Acquire) >= state as u8
    }

    /// Waits for something that comes before a request, unless the call is stopped.
    pub(super) async fn unless_stopped<T>(&self, wait: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.reaches(State::Stopped) => Err(Stopped),
            waited = wait => if self.is_given_up() { Err(Stopped) } else { Ok(waited) },
        }
    }

    /// Lets `work` go on until it is done; once the call is over its time or ended, for its grace more. `None`
    /// when it was not done by then.
    pub(super) async fn drive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        with_grace(work, self.until_ended(), self.cancel_grace).await
    }

    /// Lets `work` that no outcome depends on go on as [`drive`](Self::drive) does, without stopping the call for it.
    pub async fn within_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        with_grace(work, async { _ = self.until_over().await }, self.cancel_grace).await
    }

    /// Whether the call that carries this one has its answer.
    pub(super) fn is_done(&self) -> bool {
        self.is_at(State::Done)
    }

    /// Waits until the call that carries this one has its answer.
    pub(super) async fn until_done(&self) {
        self.reaches(State::Done).await;
    }

    /// Waits until the call is ended from outside or done, or ends it when its time is over.
    pub(super) async fn until_ended(&self) {
        if let Some(timeout) = self.until_over().await {
            let message = format!("the call was not done within {} s (timeout)", timeout.as_secs_f64());
            self.end_by(Error::Deadline { message });
        }
    }

    /// Waits until the call is ended from outside, or its time is over; then gives its timeout.
    async fn until_over(&self) -> Option<Duration> {
        let ended = self.reaches(State::Ended);
        let Some(timeout) = self.timeout else {
            ended.await;
            return None;
        };
        // Boxed: thousands may wait that have no timeout.
        Box::pin(time::timeout_at(self.started + timeout, ended)).await.is_err().then_some(timeout)
    }

    async fn reaches(&self, state: State) {
        loop {
            let mut raised = pin!(self.state.raised.notified());
            // From here on nothing is missed, whether it is polled by then or not.
            raised.as_mut().enable();
            if self.is_at(state) {
                return;
            }
            raised.await;
        }
    }

    /// Waits until all outcomes are on the disk, and the journal is closed. Once the call is over its time or ended, it is
    /// brought up to date for its grace more; then that is left to the next call.
    pub(super) async fn end_journal(&self) {
        let Some(journal) = self.journal() else { return };
        let end = async {
            journal.withdraw_unless(|id| self.ledger().outcome(id) == Outcome::Unknown);
            if let Err(error) = journal.flush().await {
                self.stop(Arc::new(error));
            }
            let is_open = |outcome| self.ledger().count(outcome) > 0;
            journal.end(!is_open(Outcome::Unsent) && !is_open(Outcome::Unknown)).await;
        };
        if self.within_time(end).await.is_none() {
            journal.abandon_fold();
        }
    }

    /// The outcomes as they stand. What is still open stays as the ledger has it.
    pub(super) fn close(&self) -> Report {
        self.ledger().close(self.started.elapsed())
    }
}

/// Lets `work` go on until it is done; once it is `over`, for `grace` more.
async fn with_grace<T>(
    work: impl Future<Output = T>,
    over: impl Future<Output = ()>,
    grace: Duration,
) -> Option<T> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return Some(done),
        () = over => {}
    }
    time::timeout(grace, work).await.ok()
}
