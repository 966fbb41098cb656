//! The way of a deletion, from named IDs to their outcomes:
//! targets → batches → permit → (list → backup → permit →) request in flight → answer → outcomes → report.

use std::{
    collections::{HashMap, HashSet},
    iter,
    sync::{Arc, MutexGuard},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time;

use super::{
    Client,
    call::{Call, Stopped},
    channel::SendPermit,
    inputs,
    lists::{self, Parts, Unlisted},
    precautions, reconcile,
    request::Deletion,
    retry::{self, Verdict},
};
use crate::{
    LOGGER,
    backup::Backup,
    config::{Limits, Rate},
    error::{Error, Kind},
    report::{Ledger, Outcome, Report, Warning},
    wire::{
        Listed, ME,
        api::{DeleteAnnotationRequest, PostAnnotationsRequest},
        is_same_user, may_be_same_user,
    },
};

/// How many batches are announced to the journal ahead of their permit: as many as leave while a disk writes. They share a
/// sync, and are looked up by the next run where this one is killed.
fn announced_ahead(limits: &Limits) -> usize {
    const MOST: usize = 32;
    const SECONDS_OF_A_SYNC: f64 = 0.1;
    match limits.requests_per_second {
        Rate::PerSecond(rate) => ((rate * SECONDS_OF_A_SYNC) as usize).clamp(1, MOST),
        Rate::Auto | Rate::Unlimited => MOST,
    }
}

/// Deletes what a call names.
pub(super) async fn run(client: &Client, call: &Call) -> Result<Report, Error> {
    // Opening waits for a disk, which may be slow or gone: the call's timeout and its cancellation end that too.
    let opened = call.drive(precautions::open(client, call)).await;
    if !matches!(opened, Some(Ok(_))) {
        // Its part of the journal is free for the next try.
        call.end_journal().await;
    }
    let Some(opened) = opened else { return Ok(call.close()) };
    let backup = opened?;
    let run = Run { client, call, form: Form::Many, backup: backup.as_ref() };
    let work = async {
        match call.precautions().max_deletions {
            Some(most) if !call.targets().are_pairs() => inputs::delete_at_most(&run, most).await,
            _ => {
                run.all().await;
                Ok(())
            }
        }
    };
    let done = call.drive(work).await;
    // What has come to its outcome keeps it, whether the files can be completed in time or not.
    if let Some(backup) = &backup
        && call.within_time(backup.end()).await.is_none()
    {
        backup.abandon_fold();
    }
    call.end_journal().await;
    done.unwrap_or(Ok(()))?;
    let report = call.close();
    log_summary(&report);
    Ok(report)
}

/// Deletes the pairs of a call that go in one request; a single one by the method for one.
pub(super) async fn run_at_once(client: &Client, call: &Call, permit: SendPermit) {
    let ids: Vec<_> = (0..call.targets().len() as u32).collect();
    let form = if ids.len() == 1 { Form::One } else { Form::Many };
    let run = Run { client, call, form, backup: None };
    call.drive(run.settle(Batch { ids, in_doubt: false }, permit)).await;
}

/// IDs that go together.
pub(super) struct Batch {
    /// Their places among the targets.
    pub ids: Vec<u32>,
    /// An earlier run of the call was ended while they were under way.
    pub in_doubt: bool,
}

/// The batches of a call are sent one by one, each with a permit, until the call is stopped.
pub(super) fn departures(client: &Client, call: &Call) -> impl Stream<Item = (Batch, SendPermit)> {
    permitted(client, call, stream::iter(batches(call, client.settings.limits.batch_size)))
}

/// Each of some requests with its permit, which is acquired when all that comes before it is done.
pub(super) fn permitted<T>(
    client: &Client,
    call: &Call,
    requests: impl Stream<Item = T>,
) -> impl Stream<Item = (T, SendPermit)> {
    requests.scan((), move |(), request| async move {
        let permit = call.unless_stopped(client.acquire()).await.ok()?;
        Some((request, permit))
    })
}

/// What a call has to do: what is in doubt from an earlier run of it, then what that did not do.
pub(super) fn batches(call: &Call, size: usize) -> impl Iterator<Item = Batch> {
    let of = move |in_doubt: bool| {
        let is_open = move |id: &u32| match call.past(*id) {
            Outcome::Unknown => in_doubt,
            Outcome::Failed | Outcome::Unsent => !in_doubt,
            Outcome::Deleted | Outcome::Absent => false,
        };
        // Nothing is in doubt where there was no earlier run: then the IDs are gone through once.
        let count = if in_doubt && !call.goes_on() { 0 } else { call.targets().len() };
        let mut ids = (0..count as u32).filter(is_open);
        iter::from_fn(move || {
            let ids: Vec<_> = ids.by_ref().take(size).collect();
            (!ids.is_empty()).then_some(Batch { ids, in_doubt })
        })
    };
    of(true).chain(of(false))
}

pub(super) fn log_summary(report: &Report) {
    match report.stopped_by() {
        Some(cause) => log::info!(target: LOGGER, "{}: {cause}", report.summary()),
        None => log::info!(target: LOGGER, "{}", report.summary()),
    }
}

/// Which request carries the work.
pub(super) enum Form {
    /// `DeleteAnnotation`: a single pair.
    One,
    /// `DeleteAnnotations`: up to 128 pairs or inputs.
    Many,
    /// `PostAnnotations`: up to 128 annotations, by the places of their pairs.
    Post(HashMap<u32, Bytes>),
}

/// One call on its way.
pub(super) struct Run<'a> {
    pub client: &'a Client,
    pub call: &'a Call,
    pub form: Form,
    /// Where annotations are saved before they are deleted.
    pub backup: Option<&'a Backup>,
}

/// What a pair is that is not there, and that an earlier run of the call may have deleted or did not come to.
fn outcome_of_missing(in_doubt: bool) -> Outcome {
    if in_doubt { Outcome::Deleted } else { Outcome::Absent }
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
    /// Whether what is there is what should be: for a restoration.
    pub fn wants_it_there(&self) -> bool {
        matches!(self.form, Form::Post(_))
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.call.ledger()
    }

    /// Waits for the permit of a request, unless the run is stopped.
    pub async fn acquire(&self) -> Result<SendPermit, Stopped> {
        self.call.unless_stopped(self.client.acquire()).await
    }

    /// Whose the credential is, where that is another than the owner of the app: a collaborator. Asked for once a client.
    pub async fn collaborator(&self) -> Option<String> {
        let Client { channel, caller_id, settings, .. } = self.client;
        // Nobody can be another than "me".
        if is_same_user(&settings.user_id, ME) {
            return None;
        }
        let ask = async {
            let permit = self.acquire().await?;
            self.ledger().sent(&[]);
            match channel.caller_id(permit).await {
                Ok(caller_id) => Ok(caller_id),
                // The service may not tell everybody.
                Err(Error::Api(_)) => Ok(None),
                Err(error) => Err(Setback::from(error)),
            }
        };
        let caller_id = caller_id.get_or_try_init(|| ask).await.ok()?.as_deref()?;
        (!may_be_same_user(caller_id, &settings.user_id)).then(|| caller_id.to_owned())
    }

    /// Settles every batch; up to `max_in_flight` of them side by side, and none waits for another's fate.
    pub async fn all(&self) {
        let limits = &self.client.settings.limits;
        let batches = stream::iter(batches(self.call, limits.batch_size));
        // A stopped call has no more turns, so what stopped it is not told here.
        let announced = batches.map(|batch| async {
            if !self.looks_first(&batch) {
                let _ = self.call.announce(&batch.ids).await;
            }
            batch
        });
        let departures = permitted(self.client, self.call, announced.buffered(announced_ahead(limits)));
        departures
            .for_each_concurrent(limits.max_in_flight, |(batch, permit)| self.settle(batch, permit))
            .await;
    }

    /// Whether a batch is listed before anything of it is sent.
    fn looks_first(&self, batch: &Batch) -> bool {
        let is_wanted = self.backup.is_some() || self.call.precautions().look_first;
        is_wanted || (batch.in_doubt && self.call.targets().are_pairs())
    }

    /// Brings every ID of a batch to its outcome.
    async fn settle(&self, batch: Batch, permit: SendPermit) {
        if !self.looks_first(&batch) {
            return self.carry_out(batch.ids, permit).await;
        }
        if !self.call.targets().are_pairs() {
            return inputs::delete(self, batch, permit).await;
        }
        let there = self.look_and_save(batch, permit).await;
        if !there.is_empty()
            && self.call.announce(&there).await.is_ok()
            && let Ok(permit) = self.acquire().await
        {
            self.carry_out(there, permit).await;
        }
    }

    /// Sends what is to be done, and finds out what became of it.
    pub async fn carry_out(&self, ids: Vec<u32>, permit: SendPermit) {
        if let Err(Setback::Failed(error)) = self.send(&ids, permit).await {
            reconcile::resolve(self, ids, error).await;
        }
    }

    /// Which of these pairs are there and, with a backup, saved: only they may be deleted. The others are settled.
    async fn look_and_save(&self, batch: Batch, permit: SendPermit) -> Vec<u32> {
        let parts = Parts::new(batch.ids, permit);
        let (mut there, mut gone) = self.listed_and_saved(parts, batch.in_doubt, &[]).await;
        // A list may be late, and not show yet what was added just before.
        if !batch.in_doubt && !gone.is_empty() && self.wait_for_lists().await.is_ok() {
            let again = self.listed_and_saved(Parts::without_permit(gone), false, &there).await;
            there.extend(again.0);
            gone = again.1;
        }
        self.call.settle(&gone, outcome_of_missing(batch.in_doubt), None);
        there
    }

    /// Which of these pairs lists show, saved if there is a backup, and which they do not show. What they do not tell about
    /// is settled. Those that were `found` before are no other spelling of these.
    async fn listed_and_saved(
        &self,
        mut parts: Parts,
        in_doubt: bool,
        found: &[u32],
    ) -> (Vec<u32>, Vec<u32>) {
        let targets = self.call.targets();
        let found: HashSet<_> = found.iter().map(|&id| targets.get(id as usize).pair()).collect();
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        while let Some((ids, permit)) = parts.next(self).await {
            let mut listed = match lists::pairs(self, &ids, permit).await {
                Ok(listed) => listed,
                Err(setback) => {
                    match parts.failed(self, ids, setback).await {
                        // That is no list which may be late.
                        Some(Unlisted::NoInput(ids, error)) => {
                            self.call.settle(&ids, outcome_of_missing(in_doubt), Some(&error));
                        }
                        Some(Unlisted::Failed(ids, error)) => self.cannot_look(&ids, &error, in_doubt),
                        None => {}
                    }
                    continue;
                }
            };
            listed.respelled.retain(|(_, it)| !found.contains(&it.pair()));
            let unclear = self.settle_unclear(&listed, in_doubt);
            let _memory = listed.memory();
            let (places, annotations): (Vec<u32>, Vec<_>) = listed.there.into_iter().unzip();
            if self.save(annotations).await.is_err() {
                continue;
            }
            let is_told = |id: &u32| !unclear.contains(id) && !places.contains(id);
            gone.extend(ids.into_iter().filter(is_told));
            there.extend(places);
        }
        (there, gone)
    }

    /// Waits for as long as a list may be late.
    pub async fn wait_for_lists(&self) -> Result<(), Stopped> {
        /// As a share of `request_timeout`.
        const LATE: f64 = 0.03;
        let pause = self.client.settings.limits.request_timeout.mul_f64(LATE);
        self.call.unless_stopped(time::sleep(pause)).await
    }

    /// Saves what will be deleted. When that fails, nothing more is deleted.
    pub async fn save(&self, annotations: Vec<Listed>) -> Result<(), Stopped> {
        let Some(backup) = self.backup else { return Ok(()) };
        self.warn_of_missing_data(&annotations);
        self.call.unless_stopped(backup.save(annotations)).await?.map_err(|error| {
            self.call.stop(Arc::new(error));
            Stopped
        })
    }

    /// A model's annotations may be listed without what the model found.
    fn warn_of_missing_data(&self, annotations: &[Listed]) {
        let mut without = annotations.iter().filter(|it| it.is_made_by_model() && !it.has_data());
        let Some(Listed { annotation, .. }) = without.next() else { return };
        self.warn(Warning::SavedWithoutData {
            annotations: 1 + without.count() as u64,
            first: (annotation.input_id.clone(), annotation.id.clone()),
        });
    }

    /// Adds a warning to the report. The first of each kind goes to the log at once.
    fn warn(&self, warning: Warning) {
        if self.ledger().warn(warning.clone()) {
            log::warn!(target: LOGGER, "{warning}");
        }
    }

    /// Settles those of which a list does not tell whether they are there, before anything is done with them, and
    /// gives them.
    pub fn settle_unclear(&self, listed: &lists::Pairs, in_doubt: bool) -> HashSet<u32> {
        let mut unclear = HashSet::new();
        for (id, error) in listed.unclear() {
            let is_respelled = listed.respelled.iter().any(|(respelled, _)| *respelled == id);
            let outcome = match is_respelled {
                _ if in_doubt => Outcome::Unknown,
                true => Outcome::Failed,
                false => Outcome::Unsent,
            };
            self.call.settle(&[id], outcome, Some(&error));
            unclear.insert(id);
        }
        unclear
    }

    /// These were not listed, so nothing may be done with them; nor with others, where every list would fail.
    pub fn cannot_look(&self, ids: &[u32], error: &Arc<Error>, in_doubt: bool) {
        let verdict = Verdict::on(error);
        let outcome = match verdict {
            _ if in_doubt => Outcome::Unknown,
            // The service refused nothing.
            _ if matches!(**error, Error::Listing { .. } | Error::TooLarge { .. }) => Outcome::Unsent,
            Verdict::Refused => Outcome::Failed,
            _ => Outcome::Unsent,
        };
        self.call.settle(ids, outcome, Some(error));
        // Not the annotations but their app is not there.
        let has_no_app = error.kind() == Some(Kind::NotFound);
        let is_unreachable = matches!(**error, Error::Transport { .. });
        if has_no_app || is_unreachable || verdict == Verdict::Hopeless {
            self.call.stop(Arc::clone(error));
        }
    }

    /// Sends one request, again as long as it is turned away, and settles its IDs when it succeeds.
    pub async fn send(&self, ids: &[u32], permit: SendPermit) -> Result<(), Setback> {
        let attempt = |permit| async move {
            self.call.announce(ids).await?;
            let doubtful = self.doubtful(ids);
            let ids = self.call.sends(ids);
            if ids.is_empty() {
                return Err(Setback::Stopped);
            }
            let channel = &self.client.channel;
            let result = match &self.form {
                Form::One => channel.delete_annotation(permit, self.single_request(ids[0])).await,
                Form::Many => channel.delete_annotations(permit, self.request(ids.clone())).await,
                Form::Post(annotations) => {
                    channel.post_annotations(permit, self.post(annotations, &ids)).await
                }
            };
            match &result {
                Ok(accepted) => {
                    self.call.deleted(&ids);
                    if let Some(status) = accepted {
                        self.warn(Warning::OtherSuccess { status: status.clone(), requests: 1 });
                    }
                }
                Err(error) if matches!(Verdict::on(error), Verdict::TurnedAway | Verdict::Hopeless) => {
                    let ids: Vec<_> = ids.into_iter().filter(|id| !doubtful.contains(id)).collect();
                    self.turned_away(&ids, error);
                }
                Err(_) => {}
            }
            result?;
            Ok(())
        };
        self.persist(permit, attempt, |verdict| verdict == Verdict::TurnedAway).await
    }

    /// Sends a request, and again with a later permit as long as its failure is `worth` that.
    pub async fn persist<T, Attempt: Future<Output = Result<T, Setback>>>(
        &self,
        mut permit: SendPermit,
        attempt: impl Fn(SendPermit) -> Attempt,
        worth: fn(Verdict) -> bool,
    ) -> Result<T, Setback> {
        let (mut tried, mut held) = (0, false);
        loop {
            tried += 1;
            let error = match attempt(permit).await {
                Err(Setback::Failed(error)) => error,
                other => return other,
            };
            self.ledger().requests.throttled += u64::from(error.kind() == Some(Kind::Throttled));
            let limits = &self.client.settings.limits;
            let pause = match retry::hourly_hold(&error, limits) {
                Some(hold) if !held && tried < limits.max_attempts => {
                    held = true;
                    Some(hold)
                }
                _ if tried < limits.max_attempts && worth(Verdict::on(&error)) => {
                    Some(retry::backoff(tried + 1, &error))
                }
                _ => None,
            };
            let Some(pause) = pause else {
                log::debug!(target: LOGGER, "a request failed: {error}");
                return Err(Setback::Failed(error));
            };
            log::debug!(target: LOGGER, "attempt {tried} of a request failed and is retried: {error}");
            // All attempts take half a minute; whoever mistyped an address need not wait for it in silence.
            if matches!(*error, Error::Transport { .. }) && self.client.channel.first_failure() {
                let more = limits.max_attempts - tried;
                log::warn!(target: LOGGER, "{error}. Trying again, {more} more times at most");
            }
            self.call.unless_stopped(time::sleep(pause)).await?;
            permit = self.acquire().await?;
            self.ledger().requests.retries += 1;
        }
    }

    /// What became of these is not known: a request that carried them before may have been carried out.
    fn doubtful(&self, ids: &[u32]) -> HashSet<u32> {
        let ledger = self.ledger();
        ids.iter().copied().filter(|&id| ledger.outcome(id) == Outcome::Unknown).collect()
    }

    /// Nothing was done with these, whatever comes next.
    fn turned_away(&self, ids: &[u32], error: &Error) {
        let outcome = match error {
            Error::Transport { .. } => Outcome::Unsent,
            _ => Outcome::Failed,
        };
        self.call.settle(ids, outcome, Some(&Arc::new(error.clone())));
    }

    fn single_request(&self, id: u32) -> DeleteAnnotationRequest {
        let target = self.call.targets().get(id as usize);
        DeleteAnnotationRequest {
            user_app_id: Some(self.client.user_app_id()),
            input_id: target.input_id.into(),
            annotation_id: target.annotation_id.unwrap_or_default().into(),
        }
    }

    fn post(&self, annotations: &HashMap<u32, Bytes>, ids: &[u32]) -> PostAnnotationsRequest {
        PostAnnotationsRequest {
            user_app_id: Some(self.client.user_app_id()),
            annotations: ids.iter().filter_map(|id| annotations.get(id).cloned()).collect(),
        }
    }

    /// How many bytes an annotation that is to be posted has.
    pub fn size_of_post(&self, id: u32) -> usize {
        match &self.form {
            Form::Post(annotations) => annotations.get(&id).map_or(0, Bytes::len),
            Form::One | Form::Many => 0,
        }
    }

    fn request(&self, ids: Vec<u32>) -> Deletion {
        Deletion::new(self.client.user_app_id(), Arc::clone(self.call.targets()), ids)
    }
}
