//! The way of a deletion, from named IDs to their outcomes:
//! targets → batches → turn → request in flight → answer → outcomes → report.

use std::sync::{Arc, MutexGuard};

use futures_util::{StreamExt as _, stream};
use tokio::time;

use super::{
    Client,
    call::{Call, Stopped},
    quota::Turn,
    reconcile,
    request::Deletion,
    retry::{self, Verdict},
};
use crate::{
    LOGGER,
    error::{Error, Kind},
    report::{Ledger, Outcome, Report},
    wire::api::DeleteAnnotationRequest,
};

/// Deletes what a call names. Batches leave one by one, each in its turn; up to `max_in_flight` of them are then
/// settled side by side, and none waits for another's fate.
pub(super) async fn run(client: &Client, call: &Call) -> Report {
    let run = Run { client, call, form: Form::Many };
    let limits = &client.settings.limits;
    let batches = batches(call.targets().len(), limits.batch_size);
    let departures = stream::unfold(batches, |mut batches| async {
        let batch = batches.next()?;
        let turn = run.turn().await.ok()?;
        Some(((batch, turn), batches))
    });
    let all = departures.for_each_concurrent(limits.max_in_flight, |(batch, turn)| run.settle(batch, turn));
    call.drive(all).await;
    let report = call.close();
    log_summary(&report);
    report
}

/// Deletes the pairs of a call that go in one request; a single one by the method for one.
pub(super) async fn run_at_once(client: &Client, call: &Call, turn: Turn) {
    let count = call.targets().len() as u32;
    let run = Run { client, call, form: if count == 1 { Form::One } else { Form::Many } };
    call.drive(run.settle((0..count).collect(), turn)).await;
}

fn batches(count: usize, size: usize) -> impl Iterator<Item = Vec<u32>> {
    (0..count).step_by(size).map(move |start| (start as u32..count.min(start + size) as u32).collect())
}

fn log_summary(report: &Report) {
    match report.stopped_by() {
        Some(cause) => log::info!(target: LOGGER, "{}: {cause}", report.summary()),
        None => log::info!(target: LOGGER, "{}", report.summary()),
    }
}

/// Which request carries a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `DeleteAnnotation`: a single pair.
    One,
    /// `DeleteAnnotations`: up to 128 pairs or inputs.
    Many,
}

/// One call on its way.
pub(super) struct Run<'a> {
    pub client: &'a Client,
    pub call: &'a Call,
    form: Form,
}

/// Why a request brought no success.
pub(super) enum Setback {
    /// The run had been stopped; the request was not sent.
    Stopped,
    /// It failed for good.
    Failed(Arc<Error>),
}

impl From<Stopped> for Setback {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl Run<'_> {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.call.ledger()
    }

    /// Waits for the turn of a request, unless the run is stopped.
    pub async fn turn(&self) -> Result<Turn, Stopped> {
        self.call.unless_stopped(self.client.quota().turn()).await
    }

    /// Brings every ID of a batch to its outcome.
    async fn settle(&self, batch: Vec<u32>, turn: Turn) {
        if let Err(Setback::Failed(error)) = self.delete(&batch, turn).await {
            reconcile::resolve(self, batch, error).await;
        }
    }

    /// Sends one deletion, again as long as it is turned away, and settles its IDs when it succeeds.
    pub async fn delete(&self, ids: &[u32], turn: Turn) -> Result<(), Setback> {
        let attempt = |turn| async move {
            let ids = self.call.sends(ids);
            if ids.is_empty() {
                return Err(Setback::Stopped);
            }
            let channel = &self.client.channel;
            let result = match self.form {
                Form::One => channel.delete_annotation(turn, self.single_request(ids[0])).await,
                Form::Many => channel.delete_annotations(turn, self.request(ids.clone())).await,
            };
            match &result {
                Ok(()) => self.call.deleted(&ids),
                Err(error) if Verdict::on(error) == Verdict::TurnedAway => self.turned_away(&ids, error),
                Err(_) => {}
            }
            Ok(result?)
        };
        self.persist(turn, attempt, |verdict| verdict == Verdict::TurnedAway).await
    }

    /// Sends a request, and again in a later turn as long as its failure is `worth` that.
    pub async fn persist<T, Attempt: Future<Output = Result<T, Setback>>>(
        &self,
        mut turn: Turn,
        attempt: impl Fn(Turn) -> Attempt,
        worth: fn(Verdict) -> bool,
    ) -> Result<T, Setback> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match attempt(turn).await {
                Err(Setback::Failed(error)) => error,
                other => return other,
            };
            self.ledger().requests.throttled += u64::from(error.kind() == Some(Kind::Throttled));
            if tried >= self.client.settings.limits.max_attempts || !worth(Verdict::on(&error)) {
                log::debug!(target: LOGGER, "a request failed: {error}");
                return Err(Setback::Failed(error));
            }
            log::debug!(target: LOGGER, "attempt {tried} of a request failed and is retried: {error}");
            self.call.unless_stopped(time::sleep(retry::backoff(tried + 1, &error))).await?;
            turn = self.turn().await?;
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
        let target = self.call.targets().get(id as usize);
        DeleteAnnotationRequest {
            user_app_id: Some(self.client.user_app_id()),
            input_id: target.input_id.into(),
            annotation_id: target.annotation_id.unwrap_or_default().into(),
        }
    }

    fn request(&self, ids: Vec<u32>) -> Deletion {
        Deletion::new(self.client.user_app_id(), Arc::clone(self.call.targets()), ids)
    }
}
