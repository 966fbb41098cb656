//! Finds out what became of a batch that was not simply confirmed, and goes on with the rest of it.
//!
//! What the service does with a batch of which one pair is missing is not documented: it may refuse it whole,
//! do the rest, or do the rest and still answer with a failure. So nothing is concluded from the answer alone.
//! ONE list tells which pairs are there still; these are sent again on their own; when they are refused once
//! more, they are halved until the culprits stand alone, and one last list confirms that those are there.
//!
//! Nor is it documented whether a list shows a deletion at once. Where a list and an answer contradict each other,
//! the list may be late: it is asked again, with growing pauses, before anything is called failed.

use std::{collections::HashSet, iter::zip, sync::Arc};

use tokio::time;

use super::{
    dispatch::{Run, Setback},
    retry::{self, Verdict},
};
use crate::{
    LOGGER,
    error::{Error, Kind},
    ids::Target,
    report::Outcome,
    wire::{
        StatusCode,
        api::{Annotation, ListAnnotationsRequest},
    },
};

/// A part of a batch whose last request failed.
struct Part {
    ids: Vec<u32>,
    error: Arc<Error>,
    /// A request that carried it may have been carried out: what is gone was deleted by us.
    doubt: bool,
    /// A request that carried it failed for a reason that tells nothing, perhaps after it was carried out.
    suspect: bool,
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
    let mut open = vec![Part::new(ids, error)];
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

        part.suspect |= part.is_vague();

        let carried = part.ids.len();
        let look_again = part.looks < LOOKS && part.is_said_to_be_gone();
        let must_look = part.looked_at == LookedAt::Never || look_again;
        if must_look && run.call.targets().are_pairs() && !sift(run, &mut part).await {
            continue;
        }
        if verdict == Verdict::Unanswered {
            if part.unanswered < run.client.settings.limits.max_attempts {
                open.extend(send_again(run, part).await);
            } else {
                run.ledger().settle(&part.ids, Outcome::Unknown, Some(&part.error));
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
    let turn = run.turn().await.ok()?;
    run.ledger().requests.retries += 1;
    if part.looked_at == LookedAt::SinceItsLastRequest {
        part.looked_at = LookedAt::BeforeItsLastRequest;
    }
    match run.delete(&part.ids, turn).await {
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
    let Some(there) = look(run, part).await else {
        return false;
    };
    let (there, gone): (Vec<u32>, Vec<u32>) = part.ids.iter().partition(|&&id| there.contains(&id));
    run.ledger().settle(&gone, part.outcome_if_gone(), Some(&part.error));
    // Should the run be stopped before it is sent again, this stands.
    run.ledger().settle(&there, part.outcome_if_there(part.looks), Some(&part.error));
    part.looks += 1;
    part.looked_at = LookedAt::SinceItsLastRequest;
    part.ids = there;
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
        let Some(there) = look(run, &together).await else {
            return;
        };
        for part in &open {
            let is_there = there.contains(&part.ids[0]);
            let outcome = if is_there { part.outcome_if_there(looks) } else { part.outcome_if_gone() };
            run.ledger().settle(&part.ids, outcome, Some(&part.error));
        }
        open.retain(|part| there.contains(&part.ids[0]) && part.is_contradicted());
    }
}

/// A single refused input: is anything left on it that a deletion would have taken?
async fn confirm_input(run: &Run<'_>, part: &Part) {
    for look in 0..LOOKS {
        pause_before_look(run, look).await;
        match is_cleared(run, part.ids[0]).await {
            Err(setback) => return undecided(run, part, setback),
            Ok(true) => return run.ledger().settle(&part.ids, part.outcome_if_gone(), Some(&part.error)),
            Ok(false) => run.ledger().settle(&part.ids, part.outcome_if_there(look), Some(&part.error)),
        }
        if !part.is_contradicted() {
            return;
        }
    }
}

/// Whether lists show nothing on an input but its input-level annotation.
async fn is_cleared(run: &Run<'_>, id: u32) -> Result<bool, Setback> {
    const PER_PAGE: u32 = 1000;
    // An input has few annotations of its own level.
    const MOST_PAGES: u32 = 10;
    for page in 1..=MOST_PAGES {
        let request = ListAnnotationsRequest {
            user_app_id: Some(run.client.user_app_id()),
            input_ids: vec![run.call.targets().get(id as usize).input_id.into()],
            list_all_annotations: true,
            page,
            per_page: PER_PAGE,
            ..Default::default()
        };
        let listed = list(run, request).await?;
        if listed.iter().any(|annotation| !annotation.input_level) {
            return Ok(false);
        }
        if listed.len() < PER_PAGE as usize {
            return Ok(true);
        }
    }
    Err(run.client.channel.unreadable("the list of an input's annotations has no end").into())
}

async fn pause_before_look(run: &Run<'_>, looks: u32) {
    if looks > 0 {
        let first = run.client.settings.limits.request_timeout.mul_f64(FIRST_PAUSE);
        // When the run is stopped meanwhile, the list will not be sent either.
        let _ = run.call.unless_stopped(time::sleep(first * (1 << (looks - 1).min(LOOKS)))).await;
    }
}

/// Which pairs of a part are there, by one list. `None` when that cannot be found out; then it is settled.
async fn look(run: &Run<'_>, part: &Part) -> Option<HashSet<u32>> {
    let targets = || part.ids.iter().map(|&id| (id, run.call.targets().get(id as usize)));
    let request = ListAnnotationsRequest {
        user_app_id: Some(run.client.user_app_id()),
        ids: targets().filter_map(|(_, target)| target.annotation_id).map(Into::into).collect(),
        input_ids: targets().map(|(_, target)| target.input_id.into()).collect(),
        list_all_annotations: true,
        page: 1,
        per_page: part.ids.len() as u32,
        ..Default::default()
    };
    match list(run, request).await {
        Ok(listed) => {
            let listed: HashSet<_> = listed.iter().map(|it| (it.input_id.as_str(), it.id.as_str())).collect();
            let there = |(_, target): &(u32, Target<'_>)| {
                listed.contains(&(target.input_id, target.annotation_id.unwrap_or_default()))
            };
            Some(targets().filter(there).map(|(id, _)| id).collect())
        }
        Err(setback) => {
            undecided(run, part, setback);
            None
        }
    }
}

async fn list(run: &Run<'_>, request: ListAnnotationsRequest) -> Result<Vec<Annotation>, Setback> {
    let turn = run.turn().await?;
    let attempt = |turn| async {
        run.ledger().sent(&[]);
        let listed = run.client.channel.list_annotations(turn, request.clone()).await?;
        if is_of(&request, &listed) { Ok(listed) } else { Err(run.client.channel.unreadable(OTHERS).into()) }
    };
    run.persist(turn, attempt, |verdict| matches!(verdict, Verdict::TurnedAway | Verdict::Unanswered)).await
}

const OTHERS: &str = "a list named other annotations than it was asked for";

/// Whether a list tells about what it was asked for. Where it names others, or one twice, what it does not name may
/// be there all the same: only a page with room left that pairs the named IDs otherwise has told all it had to.
fn is_of(request: &ListAnnotationsRequest, listed: &[Annotation]) -> bool {
    let all: HashSet<_> = listed.iter().map(|it| (it.input_id.as_str(), it.id.as_str())).collect();
    let asked: HashSet<_> =
        zip(&request.input_ids, &request.ids).map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let [input_ids, ids] =
        [&request.input_ids, &request.ids].map(|ids| ids.iter().map(String::as_str).collect::<HashSet<_>>());
    let has_room = ids.is_empty() || all.len() < request.per_page as usize || all.is_subset(&asked);
    let is_named =
        |&(input_id, id): &(&str, &str)| input_ids.contains(input_id) && (ids.is_empty() || ids.contains(id));
    all.len() == listed.len() && has_room && all.iter().all(is_named)
}

/// The list failed, so what became of the part stays unknown: because its own request went unanswered, or, where
/// that was refused, because of the list. A list that finds no such app or is not let in tells that the rest of
/// the run cannot succeed either.
fn undecided(run: &Run<'_>, part: &Part, setback: Setback) {
    match setback {
        Setback::Stopped => run.ledger().settle(&part.ids, Outcome::Unknown, Some(&part.error)),
        Setback::Failed(error) => {
            let cause = if part.doubt { &part.error } else { &error };
            run.ledger().settle(&part.ids, Outcome::Unknown, Some(cause));
            if matches!(error.kind(), Some(Kind::Authentication | Kind::NotFound)) {
                run.call.stop(error);
            }
        }
    }
}

/// No later request can help this part, nor, if hopeless, any other.
fn give_up(run: &Run<'_>, part: &Part, verdict: Verdict) {
    let outcome = match &*part.error {
        Error::Transport { .. } | Error::Closed if !part.doubt => Outcome::Unsent,
        _ if part.doubt && part.looked_at == LookedAt::Never => Outcome::Unknown,
        _ => Outcome::Failed,
    };
    run.ledger().settle(&part.ids, outcome, Some(&part.error));
    let unreachable = matches!(*part.error, Error::Transport { .. });
    if verdict == Verdict::Hopeless || unreachable {
        run.call.stop(Arc::clone(&part.error));
    }
}

impl Part {
    fn new(ids: Vec<u32>, error: Arc<Error>) -> Self {
        Self {
            ids,
            error,
            doubt: false,
            suspect: false,
            looked_at: LookedAt::Never,
            unanswered: 0,
            looks: 0,
            tried_alone: false,
        }
    }

    /// Whether the service says of something in it that it is not there.
    fn is_said_to_be_gone(&self) -> bool {
        self.error.kind() == Some(Kind::NotFound)
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
        self.is_said_to_be_gone() || self.doubt || self.suspect
    }

    /// The outcome of what a list does not show.
    fn outcome_if_gone(&self) -> Outcome {
        if self.doubt { Outcome::Deleted } else { Outcome::Absent }
    }

    /// The outcome of what the list after so many others shows. While that may be late it is unknown; and for
    /// good where the service says that it is not there.
    fn outcome_if_there(&self, looks: u32) -> Outcome {
        let late = self.is_contradicted() && looks + 1 < LOOKS;
        if late || self.is_said_to_be_gone() { Outcome::Unknown } else { Outcome::Failed }
    }
}
