//! Finds out what became of a batch that was not simply confirmed, and goes on with the rest of it. What is said here
//! of deletions holds for restorations the other way round: there an annotation is done with when it is there.
//!
//! What the service does with a batch of which one pair is missing is not documented: it may refuse it whole,
//! do the rest, or do the rest and still answer with a failure. So nothing is concluded from the answer alone.
//! ONE list tells which pairs are there still; these are sent again on their own; when they are refused once
//! more, they are sent in smaller parts until the refused ones stand alone, and one last list confirms that those are there.
//!
//! A part that is refused is halved; after a single refused annotation comes a single one, and each success doubles the next
//! part. So one refused pair among many costs a logarithm of requests, and a run of them one request each; one in all, where
//! the caller is a collaborator and the list shows that others made them.
//!
//! Nor is it documented whether a list shows a deletion at once. Where a list and an answer contradict each other,
//! the list may be late: it is asked again, with growing pauses, before anything is called failed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::time;

use super::{
    dispatch::{Run, Setback},
    lists::{self, Pages, Parts, Unlisted},
    retry::{self, Verdict},
    spelling::respelled_input,
};
use crate::{
    LOGGER,
    error::{Error, Kind},
    report::Outcome,
    wire::{StatusCode, is_same_user},
};

/// A part of a batch whose last request failed.
struct Part {
    ids: Vec<u32>,
    error: Arc<Error>,
    /// Whether it should be gone in the end, rather than there.
    deletes: bool,
    /// A request that carried it may have been carried out: what is gone was deleted by us.
    doubt: bool,
    /// A request that carried it failed for a reason that tells nothing, perhaps after it was carried out.
    suspect: bool,
    /// So did one that carried several: it may have been carried out but for some of them.
    suspect_together: bool,
    /// A request that carried it was answered with a failure since a list last showed it: some of it may be done.
    unseen: bool,
    looked_at: LookedAt,
    /// How often it went unanswered.
    unanswered: u32,
    /// How many lists it was looked up in.
    looks: u32,
    /// It failed alone, for a reason that tells nothing, and was sent once more.
    tried_alone: bool,
    /// It was split off and not sent since.
    is_waiting: bool,
    /// It was refused as a whole, or is what is left of such a part of which the rest was not: something in it is refused.
    holds_culprit: bool,
    /// A list does not show it, and the service denied permission: it may be there, where the caller may not see it.
    is_unlisted: bool,
}

/// How often a list is asked that may be late, in all; and how long, as a share of `request_timeout`, the first
/// pause is. Each further one is twice as long: a tenth of `request_timeout` in all.
const LOOKS: u32 = 6;
const FIRST_PAUSE: f64 = 0.1 / 31.0;

/// When a list last showed a part to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookedAt {
    /// Not yet, or something may have been deleted since.
    Never,
    BeforeItsLastRequest,
    SinceItsLastRequest,
}

/// What has to be settled of a batch.
struct Resolution {
    /// The last is next.
    open: Vec<Part>,
    /// Refused alone.
    culprits: Vec<Part>,
    /// How many are sent together of what was split.
    size: usize,
    /// Which users made what lists showed.
    makers: HashMap<u32, String>,
}

/// Settles every ID of a batch whose request ended with `error`.
pub(super) async fn resolve(run: &Run<'_>, ids: Vec<u32>, error: Arc<Error>) {
    let first = Part::new(run, ids, error);
    let mut all =
        Resolution { open: vec![first], culprits: Vec::new(), size: usize::MAX, makers: HashMap::new() };
    while let Some(mut part) = all.open.pop() {
        if part.is_waiting {
            all.send_some(run, part).await;
            continue;
        }
        let verdict = Verdict::on(&part.error);
        match verdict {
            Verdict::TurnedAway | Verdict::Hopeless => {
                give_up(run, &part, verdict);
                continue;
            }
            Verdict::Unanswered => {
                (part.doubt, part.looked_at) = (true, LookedAt::Never);
                part.unanswered += 1;
                let pause = time::sleep(retry::backoff(part.unanswered + 1, &part.error));
                if run.call.unless_stopped(pause).await.is_err() {
                    continue;
                }
            }
            Verdict::Mixed => (part.doubt, part.looked_at) = (true, LookedAt::Never),
            // A post may have been carried out whose answer was too large.
            Verdict::Refused => part.doubt |= part.error.is_too_large(),
        }

        part.unseen = true;
        part.suspect |= part.is_vague();
        part.suspect_together |= part.is_vague() && part.ids.len() > 1;

        let carried = part.ids.len();
        if part.is_unlisted && part.is_denied() {
            match carried {
                1 => all.refused_alone(run, part),
                _ => all.split(run, part).await,
            }
            continue;
        }
        let look_again = part.looks < LOOKS && part.is_said_to_be_done();
        let must_look = part.looked_at == LookedAt::Never || look_again;
        if must_look && run.call.targets().are_pairs() && !all.sift(run, &mut part).await {
            continue;
        }
        if !run.call.targets().are_pairs() && carried > 1 && !may_have_app(run, &part).await {
            continue;
        }
        if verdict == Verdict::Unanswered {
            if part.unanswered < run.client.settings.limits.max_attempts {
                all.open.extend(send_again(run, part).await);
            } else {
                run.call.settle(&part.ids, Outcome::Unknown, Some(&part.error));
            }
        } else if part.ids.len() < carried {
            all.open.extend(send_again(run, part).await);
        } else if look_again && run.call.targets().are_pairs() {
            all.open.push(part);
        } else if carried == 1 && part.is_vague() && !part.tried_alone {
            part.tried_alone = true;
            all.open.extend(send_again(run, part).await);
        } else if carried == 1 {
            all.refused_alone(run, part);
        } else {
            all.split(run, part).await;
        }
    }
    confirm(run, all.culprits).await;
}

impl Resolution {
    /// Sends the first few of what was split, and leaves the rest for later.
    async fn send_some(&mut self, run: &Run<'_>, mut part: Part) {
        let holds_culprit = std::mem::take(&mut part.holds_culprit);
        let size = if holds_culprit { (part.ids.len() / 2).max(1) } else { self.size };
        let rest = part.split_off(size);
        part.is_waiting = false;
        match send_again(run, part).await {
            Some(failed) => self.open.extend(rest.into_iter().chain([failed])),
            None => {
                self.size = self.size.saturating_mul(2);
                self.open.extend(rest.map(|rest| Part { holds_culprit, ..rest }));
            }
        }
    }

    /// A part that was refused goes on in smaller ones.
    async fn split(&mut self, run: &Run<'_>, mut part: Part) {
        let carried = part.ids.len();
        log::debug!(target: LOGGER, "a refused batch of {carried} is split");
        if part.is_denied() && !part.is_unlisted && self.split_by_maker(run, &mut part).await {
            return;
        }
        self.open.push(Part { is_waiting: true, holds_culprit: true, ..part });
    }

    /// A collaborator may change only what they made themselves (Clarifai's documentation): what a list shows to be made by
    /// others goes in one request, and when that is denied nothing of it is tried alone. False where this does not help.
    async fn split_by_maker(&mut self, run: &Run<'_>, part: &mut Part) -> bool {
        if !part.ids.iter().any(|id| self.makers.contains_key(id)) {
            return false;
        }
        let Some(collaborator) = run.collaborator().await else { return false };
        let (makers, collaborator) = (&self.makers, &collaborator);
        let is_foreign = |id: &u32| makers.get(id).is_some_and(|maker| !is_same_user(maker, collaborator));
        let (foreign, own): (Vec<u32>, Vec<u32>) = part.ids.iter().partition(|id| is_foreign(id));
        let part_of = |ids| Part { ids, error: Arc::clone(&part.error), is_waiting: true, ..*part };
        if foreign.is_empty() {
            return false;
        }
        if !own.is_empty() {
            self.size = usize::MAX;
            let parts = [part_of(foreign), part_of(own)];
            self.open.extend(parts);
            return true;
        }
        let error = part.error_of_each();
        for id in foreign {
            self.refused_alone(run, Part { ids: vec![id], error: Arc::clone(&error), ..*part });
        }
        true
    }

    /// This stands alone, and was refused. It is told now, and confirmed when the whole batch is through.
    fn refused_alone(&mut self, run: &Run<'_>, part: Part) {
        self.size = 1;
        // A list would not show it either way.
        let is_final = part.is_unlisted && part.is_denied();
        let outcome = if is_final { Outcome::Failed } else { part.outcome_if_open(part.looks) };
        run.call.settle(&part.ids, outcome, Some(&part.error));
        if run.call.is_first_refusal() {
            let target = run.call.targets().get(part.ids[0] as usize);
            let which = match target.annotation_id {
                Some(annotation_id) => format!("annotation {annotation_id:?} of input {:?}", target.input_id),
                None => format!("input {:?}", target.input_id),
            };
            log::info!(target: LOGGER, "the service refuses {which}: {}. Going on with the others", part.error);
        }
        if !is_final {
            self.culprits.push(part);
        }
    }

    /// Settles with one list what is gone of a part of pairs, and keeps the rest. False when nothing is left
    /// to do for it.
    async fn sift(&mut self, run: &Run<'_>, part: &mut Part) -> bool {
        pause_before_look(run, part.looks).await;
        let Some(Looked { there, unclear, makers }) = look(run, part).await else {
            return false;
        };
        self.makers.extend(makers);
        let error = part.error_of_each();
        for (id, error) in &unclear {
            part.settle_unclear(run, *id, error);
        }
        part.ids.retain(|id| !unclear.contains_key(id));
        let is_done = |id: u32| there.contains(&id) == run.wants_it_there();
        let (done, open): (Vec<u32>, Vec<u32>) = part.ids.iter().partition(|&&id| is_done(id));
        if part.is_denied() && !done.is_empty() {
            // Each of them is asked for on its own, whether it is denied.
            run.call.settle(&done, Outcome::Failed, Some(&error));
            let looked_at = LookedAt::SinceItsLastRequest;
            let error = Arc::clone(&part.error);
            let unlisted = Part { ids: done, error, looked_at, is_unlisted: true, ..*part };
            if part.ids.len() == 1 {
                self.refused_alone(run, unlisted);
            } else {
                self.size = usize::MAX;
                self.open.push(Part { is_waiting: true, ..unlisted });
            }
        } else {
            run.call.settle(&done, part.outcome_if_done(), Some(&error));
        }
        // Should the run be stopped before it is sent again, this stands.
        run.call.settle(&open, part.outcome_if_open(part.looks), Some(&error));
        part.looks += 1;
        (part.unseen, part.looked_at) = (false, LookedAt::SinceItsLastRequest);
        part.ids = open;
        !part.ids.is_empty()
    }
}

/// Sends a part on its own. Comes back with it when that fails too.
async fn send_again(run: &Run<'_>, mut part: Part) -> Option<Part> {
    run.call.announce(&part.ids).await.ok()?;
    let permit = run.acquire().await.ok()?;
    run.ledger().requests.retries += 1;
    if part.looked_at == LookedAt::SinceItsLastRequest {
        part.looked_at = LookedAt::BeforeItsLastRequest;
    }
    match run.send(&part.ids, permit).await {
        Ok(()) => {
            if part.is_unlisted {
                run.call.settle(&part.ids, Outcome::Absent, Some(&part.error_of_each()));
            }
            None
        }
        Err(Setback::Stopped) => None,
        Err(Setback::Failed(error)) => {
            part.error = error;
            Some(part)
        }
    }
}

/// The culprits stand alone: one list tells which of them are there still; more, where it may be late.
async fn confirm(run: &Run<'_>, culprits: Vec<Part>) {
    if !run.call.targets().are_pairs() {
        for part in culprits {
            confirm_input(run, &part).await;
        }
        return;
    }
    let looked_at = |part: &Part| part.looked_at == LookedAt::SinceItsLastRequest;
    let mut open = culprits;
    open.retain(|part| !looked_at(part) || part.is_contradicted());
    let first_look = u32::from(open.iter().all(looked_at));
    for looks in first_look..LOOKS {
        let Some(first) = open.first() else { return };
        let ids = open.iter().flat_map(|part| part.ids.iter().copied()).collect();
        let together = Part { ids, error: Arc::clone(&first.error), ..*first };
        pause_before_look(run, looks).await;
        let Some(Looked { there, unclear, .. }) = look(run, &together).await else {
            return;
        };
        open.retain(|part| match unclear.get(&part.ids[0]) {
            Some(error) => part.settle_unclear(run, part.ids[0], error),
            None => true,
        });
        let is_done = |part: &Part| there.contains(&part.ids[0]) == run.wants_it_there();
        for part in &open {
            let outcome = if is_done(part) { part.outcome_if_done() } else { part.outcome_if_open(looks) };
            run.call.settle(&part.ids, outcome, Some(&part.error));
        }
        open.retain(|part| !is_done(part) && part.is_contradicted());
    }
}

/// A single refused input: is anything left on it that a deletion would have taken?
async fn confirm_input(run: &Run<'_>, part: &Part) {
    for look in 0..LOOKS {
        pause_before_look(run, look).await;
        match is_cleared(run, part.ids[0]).await {
            Err(setback) => return undecided(run, part, setback),
            // There may be something that the caller may not see.
            Ok(true) if part.is_denied() => {
                return run.call.settle(&part.ids, Outcome::Failed, Some(&part.error));
            }
            Ok(true) => return run.call.settle(&part.ids, part.outcome_if_done(), Some(&part.error)),
            Ok(false) => run.call.settle(&part.ids, part.outcome_if_open(look), Some(&part.error)),
        }
        if !part.is_contradicted() {
            return;
        }
    }
}

/// Whether lists show nothing on an input but its input-level annotation.
async fn is_cleared(run: &Run<'_>, id: u32) -> Result<bool, Setback> {
    let ids = [id];
    let mut pages = Pages::new(&ids, run.acquire().await?);
    loop {
        let page = match pages.next(run).await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(Setback::Failed(error)) if error.kind() == Some(Kind::NotFound) => {
                let is_input = lists::is_about_an_input(run, &error).await?;
                return if is_input { Ok(true) } else { Err(Setback::Failed(error)) };
            }
            Err(setback) => return Err(setback),
        };
        if page.annotations.iter().any(|(_, listed)| !listed.annotation.input_level) {
            return Ok(false);
        }
    }
    match pages.respelled().next() {
        Some((_, spelling)) => Err(Setback::Failed(respelled_input(spelling))),
        None => Ok(true),
    }
}

async fn pause_before_look(run: &Run<'_>, looks: u32) {
    if looks > 0 {
        let first = run.client.settings.limits.request_timeout.mul_f64(FIRST_PAUSE);
        // When the run is stopped meanwhile, the list will not be sent either.
        let _ = run.call.unless_stopped(time::sleep(first * (1 << (looks - 1).min(LOOKS)))).await;
    }
}

/// What one list shows of a part.
#[derive(Default)]
struct Looked {
    there: HashSet<u32>,
    /// Which users made those that are there, as far as it is known.
    makers: HashMap<u32, String>,
    /// Those of which it does not tell whether they are there, and why.
    unclear: HashMap<u32, Arc<Error>>,
}

/// Which pairs of a part are there, by one list; by several, where one is refused. `None` when that cannot be found
/// out; then it is settled.
async fn look(run: &Run<'_>, part: &Part) -> Option<Looked> {
    let (mut looked, mut parts) = (Looked::default(), Parts::without_permit(part.ids.clone()));
    // What is left when there is no next part, the run was stopped before.
    let mut left: HashSet<u32> = part.ids.iter().copied().collect();
    while let Some((ids, permit)) = parts.next(run).await {
        match lists::pairs(run, &ids, permit).await {
            Ok(listed) => {
                looked.unclear.extend(listed.unclear());
                for (id, listed) in &listed.there {
                    looked.there.insert(*id);
                    // Whose a model's annotation is, its maker does not tell.
                    let maker = listed.creator().filter(|_| !listed.is_made_by_model());
                    looked.makers.extend(maker.map(|maker| (*id, maker.to_owned())));
                }
                ids.iter().for_each(|id| _ = left.remove(id));
            }
            Err(setback) => match parts.failed(run, ids, setback).await {
                Some(Unlisted::NoInput(ids, _)) => ids.iter().for_each(|id| _ = left.remove(id)),
                Some(Unlisted::Failed(_, error)) => {
                    undecided(run, part, Setback::Failed(error));
                    return None;
                }
                None => {}
            },
        }
    }
    if !left.is_empty() {
        undecided(run, part, Setback::Stopped);
        return None;
    }
    Some(looked)
}

/// The list failed, so what became of the part stays unknown: because its own request went unanswered, or, where
/// that was refused, because of the list. A list that finds no such app, is not let in, or meets a limit of the account tells
/// that the rest of the run cannot succeed either.
fn undecided(run: &Run<'_>, part: &Part, setback: Setback) {
    match setback {
        Setback::Stopped => run.call.settle(&part.ids, Outcome::Unknown, Some(&part.error)),
        Setback::Failed(error) => {
            let cause = if part.doubt { &part.error } else { &error };
            run.call.settle(&part.ids, Outcome::Unknown, Some(cause));
            // A key that may not list may delete all the same.
            let is_hopeless =
                Verdict::on(&error) == Verdict::Hopeless && error.kind() != Some(Kind::PermissionDenied);
            if is_hopeless || error.kind() == Some(Kind::NotFound) {
                run.call.stop(error);
            }
        }
    }
}

/// Whether a refused part of inputs may be sent in smaller ones: not where its app does not exist, for which the service has
/// the same code as for an input. Otherwise the part is settled, and the run stopped.
async fn may_have_app(run: &Run<'_>, part: &Part) -> bool {
    if !part.is_said_to_be_done() {
        return true;
    }
    let setback = match lists::is_about_an_input(run, &part.error).await {
        Ok(false) => Setback::Failed(Arc::clone(&part.error)),
        Err(Setback::Stopped) => Setback::Stopped,
        Ok(true) | Err(Setback::Failed(_)) => return true,
    };
    undecided(run, part, setback);
    false
}

/// No later request can help this part, nor, if hopeless, any other.
fn give_up(run: &Run<'_>, part: &Part, verdict: Verdict) {
    let outcome = match &*part.error {
        _ if part.unseen => Outcome::Unknown,
        Error::Transport { .. } | Error::Closed if !part.doubt => Outcome::Unsent,
        _ => Outcome::Failed,
    };
    run.call.settle(&part.ids, outcome, Some(&part.error));
    let unreachable = matches!(*part.error, Error::Transport { .. });
    if verdict == Verdict::Hopeless || unreachable {
        run.call.stop(Arc::clone(&part.error));
    }
}

impl Part {
    fn new(run: &Run<'_>, ids: Vec<u32>, error: Arc<Error>) -> Self {
        Self {
            ids,
            error,
            deletes: !run.wants_it_there(),
            doubt: false,
            suspect: false,
            suspect_together: false,
            unseen: false,
            looked_at: LookedAt::Never,
            unanswered: 0,
            looks: 0,
            tried_alone: false,
            is_waiting: false,
            holds_culprit: false,
            is_unlisted: false,
        }
    }

    /// Cuts it after so many IDs; the rest, if there is any, as it stands.
    fn split_off(&mut self, count: usize) -> Option<Self> {
        let rest = self.ids.split_off(count.min(self.ids.len()));
        (!rest.is_empty()).then(|| Self { ids: rest, error: Arc::clone(&self.error), ..*self })
    }

    /// The error as it may stand beside each of its IDs.
    fn error_of_each(&self) -> Arc<Error> {
        match &*self.error {
            Error::Api(status) if self.ids.len() > 1 => {
                Arc::new(Error::Api(status.of_one_among(self.ids.len())))
            }
            _ => Arc::clone(&self.error),
        }
    }

    /// Whether the service says that the caller may not do it, so that what a list does not show may be there all the same.
    fn is_denied(&self) -> bool {
        self.deletes && !self.doubt && self.error.kind() == Some(Kind::PermissionDenied)
    }

    /// A list does not tell whether this is there, in the spelling that was asked for. Nothing more is done with it.
    fn settle_unclear(&self, run: &Run<'_>, id: u32, why: &Arc<Error>) -> bool {
        run.call.settle(&[id], Outcome::Unknown, Some(why));
        false
    }

    /// Whether the service says of something in it that it is not there, as it should be. When something is posted it
    /// says so of the input.
    fn is_said_to_be_done(&self) -> bool {
        self.deletes && self.error.kind() == Some(Kind::NotFound)
    }

    /// Whether it failed for a reason that tells nothing of what was done before.
    fn is_vague(&self) -> bool {
        const CLEAR: [i32; 5] = [
            StatusCode::ConnBadRequestFormat as i32,
            StatusCode::ConnInvalidRequest as i32,
            StatusCode::AnnotationInvalidArgument as i32,
            StatusCode::InputInvalidArgument as i32,
            StatusCode::DatabaseDuplicateKey as i32,
        ];
        let Error::Api(status) = &*self.error else { return false };
        status.kind() == Kind::Other && !self.error.is_too_large() && !CLEAR.contains(&status.code)
    }

    /// Whether a list that shows it may be late.
    fn is_contradicted(&self) -> bool {
        self.is_said_to_be_done() || self.doubt || self.suspect
    }

    /// The outcome of what a list shows to be as it should.
    fn outcome_if_done(&self) -> Outcome {
        if self.doubt || self.suspect_together { Outcome::Deleted } else { Outcome::Absent }
    }

    /// The outcome of what the list after so many others shows not to be so. While that may be late it is unknown; and for
    /// good where the service says that it is not there.
    fn outcome_if_open(&self, looks: u32) -> Outcome {
        let late = self.is_contradicted() && looks + 1 < LOOKS;
        if late || self.is_said_to_be_done() { Outcome::Unknown } else { Outcome::Failed }
    }
}
