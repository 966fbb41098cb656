//! The way of a deletion, from named IDs to their outcomes:
//! targets → batches → pace → request in flight → answer → outcomes → report.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use super::{
    Client, reconcile,
    retry::{self, Verdict},
};
use crate::{
    error::{Error, Kind},
    ids::Targets,
    report::{Ledger, Outcome, Report},
    wire::api::{DeleteAnnotationRequest, DeleteAnnotationsRequest},
};

/// Which request carries a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `DeleteAnnotation`: a single pair.
    One,
    /// `DeleteAnnotations`: up to 128 pairs or inputs.
    Many,
}

/// When the time of a call is over, answers that are on their way are awaited for so long: their outcomes are
/// true then, instead of unknown.
const GRACE: Duration = Duration::from_secs(2);

/// Deletes what `targets` names. Batches go out side by side, up to `max_in_flight`, and none waits for
/// another's fate. When `timeout` is over, nothing more is sent.
pub(super) async fn run(client: &Client, targets: &Targets, form: Form, timeout: Option<Duration>) -> Report {
    let started = Instant::now();
    let ledger = Mutex::new(Ledger::new(targets.len()));
    let run = Run { client, targets, form, ledger, stopped: watch::Sender::new(false) };
    let limits = &client.settings.limits;

    let batches = stream::iter(batches(targets.len(), limits.batch_size));
    let all = batches.for_each_concurrent(limits.max_in_flight, |batch| run.settle(batch));
    match timeout {
        None => all.await,
        Some(timeout) => run.within(timeout, all).await,
    }
    let ledger = run.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    ledger.into_report(started.elapsed())
}

fn batches(count: usize, size: usize) -> impl Iterator<Item = Vec<u32>> {
    (0..count).step_by(size).map(move |start| (start as u32..count.min(start + size) as u32).collect())
}

/// One call under way.
pub(super) struct Run<'a> {
    pub client: &'a Client,
    pub targets: &'a Targets,
    form: Form,
    ledger: Mutex<Ledger>,
    /// Becomes true when nothing more may be sent.
    stopped: watch::Sender<bool>,
}

/// Why a request brought no success.
pub(super) enum Setback {
    /// The run had been stopped; the request was not sent.
    Stopped,
    /// It failed for good.
    Failed(Arc<Error>),
}

impl Run<'_> {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the work go on until `timeout` is over; then nothing more is sent, and what is on its way may arrive.
    async fn within(&self, timeout: Duration, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        if time::timeout(timeout, &mut work).await.is_err() {
            let message = format!("the call was not done within {} s (timeout)", timeout.as_secs_f64());
            self.stop(Arc::new(Error::Deadline { message }));
            // What is still open after that stays as the ledger has it.
            let _ = time::timeout(GRACE, work).await;
        }
    }

    /// Ends the run: nothing more is sent, and nobody waits for a turn or a pause any longer.
    pub fn stop(&self, cause: Arc<Error>) {
        self.ledger().stop(cause);
        self.stopped.send_replace(true);
    }

    /// Waits for something that comes before a request, unless the run is stopped.
    pub async fn unless_stopped(&self, wait: impl Future<Output = ()>) -> Result<(), Setback> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Err(Setback::Stopped),
            () = wait => Ok(()),
        }
    }

    /// Brings every ID of a batch to its outcome.
    async fn settle(&self, batch: Vec<u32>) {
        if let Err(Setback::Failed(error)) = self.delete(&batch).await {
            reconcile::resolve(self, batch, error).await;
        }
    }

    /// Sends one deletion, again as long as it is turned away, and settles its IDs when it succeeds.
    pub async fn delete(&self, ids: &[u32]) -> Result<(), Setback> {
        let attempt = || async {
            self.ledger().sent(ids);
            let result = match self.form {
                Form::One => self.client.channel.delete_annotation(self.single_request(ids[0])).await,
                Form::Many => self.client.channel.delete_annotations(self.request(ids)).await,
            };
            match &result {
                Ok(()) => self.ledger().settle(ids, Outcome::Deleted, None),
                Err(error) if Verdict::on(error) == Verdict::TurnedAway => self.turned_away(ids, error),
                Err(_) => {}
            }
            result
        };
        self.persist(attempt, |verdict| verdict == Verdict::TurnedAway).await
    }

    /// Sends a request in its turn, and again after a pause as long as its failure is `worth` that.
    pub async fn persist<T, Attempt: Future<Output = Result<T, Error>>>(
        &self,
        attempt: impl Fn() -> Attempt,
        worth: fn(Verdict) -> bool,
    ) -> Result<T, Setback> {
        let mut tried = 0;
        loop {
            self.unless_stopped(self.client.quota.turn()).await?;
            tried += 1;
            self.ledger().requests.sent += 1;
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.ledger().requests.throttled += u64::from(error.kind() == Some(Kind::Throttled));
            if tried >= self.client.settings.limits.max_attempts || !worth(Verdict::on(&error)) {
                return Err(Setback::Failed(Arc::new(error)));
            }
            self.unless_stopped(time::sleep(retry::backoff(tried + 1, &error))).await?;
            self.ledger().requests.retries += 1;
        }
    }

    /// Nothing was done with these, whatever comes next.
    fn turned_away(&self, ids: &[u32], error: &Error) {
        let outcome = match error {
            Error::Transport { .. } => Outcome::Unsent,
            _ => Outcome::Failed,
        };
        self.ledger().settle(ids, outcome, Some(&Arc::new(error.clone())));
    }

    fn single_request(&self, id: u32) -> DeleteAnnotationRequest {
        let target = self.targets.get(id as usize);
        DeleteAnnotationRequest {
            user_app_id: Some(self.client.user_app_id()),
            input_id: target.input_id.into(),
            annotation_id: target.annotation_id.unwrap_or_default().into(),
        }
    }

    /// Pairs go as two lists of one length, whole inputs without `ids`. Which of the two is decided by what
    /// the caller named and by nothing else: `ids` is never empty because there happens to be none.
    fn request(&self, ids: &[u32]) -> DeleteAnnotationsRequest {
        let (ids, input_ids) = self.named(ids);
        DeleteAnnotationsRequest { user_app_id: Some(self.client.user_app_id()), ids, input_ids }
    }

    /// The annotation IDs and the input IDs that stand for these, pair by pair; of whole inputs the latter alone.
    pub fn named(&self, ids: &[u32]) -> (Vec<String>, Vec<String>) {
        let targets = || ids.iter().map(|&id| self.targets.get(id as usize));
        (
            targets().filter_map(|target| target.annotation_id).map(Into::into).collect(),
            targets().map(|target| target.input_id.into()).collect(),
        )
    }
}
