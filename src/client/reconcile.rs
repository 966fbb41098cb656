//! Finds out what became of a batch that was not simply confirmed, and goes on with the rest of it. What is said here
//! of deletions holds for restorations the other way round: there an annotation is done with when it is there.
//!
//! What the service does with a batch of which one pair is missing is not documented: it may refuse it whole,
//! do the rest, or do the rest and still answer with a failure. So nothing is concluded from the answer alone.
//! ONE list tells which pairs are there still; these are sent again on their own; when they are refused once
//! more, they are halved until the culprits stand alone, and one last list confirms that those are there.
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
    lists::{self, Pages},
    retry::{self, Verdict},
    spelling::respelled_input,
};
use crate::{
    LOGGER,
    error::{Error, Kind},
    report::Outcome,
    wire::StatusCode,
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
    /// A request that carried it was answered with a failure since a list last showed it: some of it may be done.
    unseen: bool,
    looked_at: LookedAt,
    /// How often it went unanswered.
    unanswered: u32,
    /// How many lists it was looked up in.
    looks: u32,
    /// It failed alone, for a reason that tells nothing, and was sent once more.
    tried_alone: bool,
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

/// Settles every ID of a batch whose request ended with `error`.
pub(super) async fn resolve(run: &Run<'_>, ids: Vec<u32>, error: Arc<Error>) {
    let mut open = vec![Part::new(run, ids, error)];
    let mut culprits = Vec::new();
    while let Some(mut part) = open.pop() {
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
            Verdict::Refused => {}
        }

        part.unseen = true;
        part.suspect |= part.is_vague();

        let carried = part.ids.len();
        let look_again = part.looks < LOOKS && part.is_said_to_be_done();
        let must_look = part.looked_at == LookedAt::Never || look_again;
        if must_look && run.call.targets().are_pairs() && !sift(run, &mut part).await {
            continue;
        }
        if verdict == Verdict::Unanswered {
            if part.unanswered < run.client.settings.limits.max_attempts {
                open.extend(send_again(run, part).await);
            } else {
                run.call.settle(&part.ids, Outcome::Unknown, Some(&part.error));
            }
        } else if part.ids.len() < carried {
            open.extend(send_again(run, part).await);
        } else if look_again && run.call.targets().are_pairs() {
            open.push(part);
        } else if carried == 1 && part.is_vague() && !part.tried_alone {
            part.tried_alone = true;
            open.extend(send_again(run, part).await);
        } else if carried == 1 {
            culprits.push(part);
        } else {
            log::debug!(target: LOGGER, "a refused batch of {carried} is split in halves");
            let (first, second) = part.ids.split_at(carried / 2);
            for half in [first, second] {
                let half = Part { ids: half.to_vec(), error: Arc::clone(&part.error), ..part };
                open.extend(send_again(run, half).await);
            }
        }
    }
    confirm(run, culprits).await;
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
        Ok(()) | Err(Setback::Stopped) => None,
        Err(Setback::Failed(error)) => {
            part.error = error;
            Some(part)
        }
    }
}

/// Settles with one list what is gone of a part of pairs, and keeps the rest. False when nothing is left
/// to do for it.
async fn sift(run: &Run<'_>, part: &mut Part) -> bool {
    pause_before_look(run, part.looks).await;
    let Some(Looked { there, unclear }) = look(run, part).await else {
        return false;
    };
    for (id, error) in &unclear {
        part.settle_unclear(run, *id, error);
    }
    part.ids.retain(|id| !unclear.contains_key(id));
    let is_done = |id: u32| there.contains(&id) == run.wants_it_there();
    let (done, open): (Vec<u32>, Vec<u32>) = part.ids.iter().partition(|&&id| is_done(id));
    run.call.settle(&done, part.outcome_if_done(), Some(&part.error));
    // Should the run be stopped before it is sent again, this stands.
    run.call.settle(&open, part.outcome_if_open(part.looks), Some(&part.error));
    part.looks += 1;
    (part.unseen, part.looked_at) = (false, LookedAt::SinceItsLastRequest);
    part.ids = open;
    !part.ids.is_empty()
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
        let Some(Looked { there, unclear }) = look(run, &together).await else {
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
    while let Some(page) = pages.next(run).await? {
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
struct Looked {
    there: HashSet<u32>,
    /// Those of which it does not tell whether they are there, and why.
    unclear: HashMap<u32, Arc<Error>>,
}

/// Which pairs of a part are there, by one list; by several, where one is too large. `None` when that cannot be found
/// out; then it is settled.
async fn look(run: &Run<'_>, part: &Part) -> Option<Looked> {
    let mut looked = Looked { there: HashSet::new(), unclear: HashMap::new() };
    let mut open = vec![part.ids.clone()];
    while let Some(ids) = open.pop() {
        let listed = async { lists::pairs(run, &ids, run.acquire().await?).await };
        match listed.await {
            Ok(listed) => {
                looked.unclear.extend(listed.unclear());
                looked.there.extend(listed.there.iter().map(|(id, _)| *id));
            }
            Err(Setback::Failed(error)) if error.is_too_large() && ids.len() > 1 => {
                let (first, second) = ids.split_at(ids.len() / 2);
                open.extend([first.to_vec(), second.to_vec()]);
            }
            Err(setback) => {
                undecided(run, part, setback);
                return None;
            }
        }
    }
    Some(looked)
}

/// The list failed, so what became of the part stays unknown: because its own request went unanswered, or, where
/// that was refused, because of the list. A list that finds no such app or is not let in tells that the rest of
/// the run cannot succeed either.
fn undecided(run: &Run<'_>, part: &Part, setback: Setback) {
    match setback {
        Setback::Stopped => run.call.settle(&part.ids, Outcome::Unknown, Some(&part.error)),
        Setback::Failed(error) => {
            let cause = if part.doubt { &part.error } else { &error };
            run.call.settle(&part.ids, Outcome::Unknown, Some(cause));
            if matches!(error.kind(), Some(Kind::Authentication | Kind::NotFound)) {
                run.call.stop(error);
            }
        }
    }
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
            unseen: false,
            looked_at: LookedAt::Never,
            unanswered: 0,
            looks: 0,
            tried_alone: false,
        }
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
        const CLEAR: [i32; 4] = [
            StatusCode::ConnBadRequestFormat as i32,
            StatusCode::ConnInvalidRequest as i32,
            StatusCode::AnnotationInvalidArgument as i32,
            StatusCode::InputInvalidArgument as i32,
        ];
        matches!(&*self.error, Error::Api(status) if status.kind() == Kind::Other && !CLEAR.contains(&status.code))
    }

    /// Whether a list that shows it may be late.
    fn is_contradicted(&self) -> bool {
        self.is_said_to_be_done() || self.doubt || self.suspect
    }

    /// The outcome of what a list shows to be as it should.
    fn outcome_if_done(&self) -> Outcome {
        if self.doubt { Outcome::Deleted } else { Outcome::Absent }
    }

    /// The outcome of what the list after so many others shows not to be so. While that may be late it is unknown; and for
    /// good where the service says that it is not there.
    fn outcome_if_open(&self, looks: u32) -> Outcome {
        let late = self.is_contradicted() && looks + 1 < LOOKS;
        if late || self.is_said_to_be_done() { Outcome::Unknown } else { Outcome::Failed }
    }
}
