//! Finds out what became of a batch that was not simply confirmed, and goes on with the rest of it.
//!
//! What the service does with a batch of which one pair is missing is not documented: it may refuse it whole,
//! do the rest, or do the rest and still answer with a failure. So nothing is concluded from the answer alone.
//! ONE list tells which pairs are there still; these are sent again on their own; when they are refused once
//! more, they are halved until the culprits stand alone, and one last list confirms that those are there.

use std::{collections::HashSet, sync::Arc};

use tokio::time;

use super::{
    dispatch::{Run, Setback},
    retry::{self, Verdict},
};
use crate::{
    error::{Error, Kind},
    ids::Target,
    report::Outcome,
    wire::api::{Annotation, ListAnnotationsRequest},
};

/// A part of a batch whose last request failed.
struct Part {
    ids: Vec<u32>,
    error: Arc<Error>,
    /// A request that carried it may have been carried out: what is gone was deleted by us.
    doubt: bool,
    looked_at: LookedAt,
    /// How often it went unanswered.
    unanswered: u32,
}

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
    let mut open = vec![Part { ids, error, doubt: false, looked_at: LookedAt::Never, unanswered: 0 }];
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
                time::sleep(retry::backoff(part.unanswered + 1, &part.error)).await;
            }
            Verdict::Mixed => (part.doubt, part.looked_at) = (true, LookedAt::Never),
            Verdict::Refused => {}
        }

        let carried = part.ids.len();
        if part.looked_at == LookedAt::Never && run.targets.are_pairs() && !sift(run, &mut part).await {
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
        } else if carried == 1 {
            if part.looked_at != LookedAt::SinceItsLastRequest {
                culprits.push(part);
            }
        } else {
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
    run.ledger().requests.retries += 1;
    if part.looked_at == LookedAt::SinceItsLastRequest {
        part.looked_at = LookedAt::BeforeItsLastRequest;
    }
    match run.delete(&part.ids).await {
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
    let Some(there) = look(run, part).await else {
        return false;
    };
    let (there, gone): (Vec<u32>, Vec<u32>) = part.ids.iter().partition(|&&id| there.contains(&id));
    run.ledger().settle(&gone, outcome_of_gone(part), Some(&part.error));
    // True until it is sent again; should the run be stopped before that, it stands.
    run.ledger().settle(&there, Outcome::Failed, Some(&part.error));
    part.looked_at = LookedAt::SinceItsLastRequest;
    part.ids = there;
    !part.ids.is_empty()
}

/// The culprits stand alone: one list tells which of them are there still.
async fn confirm(run: &Run<'_>, culprits: Vec<Part>) {
    if !run.targets.are_pairs() {
        for part in culprits {
            confirm_input(run, &part).await;
        }
        return;
    }
    let Some(first) = culprits.first() else { return };
    let ids = culprits.iter().flat_map(|part| part.ids.iter().copied()).collect();
    let together = Part { ids, error: Arc::clone(&first.error), ..*first };
    let Some(there) = look(run, &together).await else {
        return;
    };
    for part in &culprits {
        let outcome = if there.contains(&part.ids[0]) { Outcome::Failed } else { outcome_of_gone(part) };
        run.ledger().settle(&part.ids, outcome, Some(&part.error));
    }
}

/// A single refused input: is anything left on it that a deletion would have taken?
async fn confirm_input(run: &Run<'_>, part: &Part) {
    let id = part.ids[0];
    let input_id = run.targets.get(id as usize).input_id;
    for page in 1.. {
        const PER_PAGE: u32 = 1000;
        let request = ListAnnotationsRequest {
            user_app_id: Some(run.client.user_app_id()),
            input_ids: vec![input_id.into()],
            list_all_annotations: true,
            page,
            per_page: PER_PAGE,
            ..Default::default()
        };
        let listed = match list(run, request).await {
            Ok(listed) => listed,
            Err(setback) => return undecided(run, part, setback),
        };
        let outcome = if listed.iter().any(|annotation| !annotation.input_level) {
            Outcome::Failed
        } else if listed.len() < PER_PAGE as usize {
            outcome_of_gone(part)
        } else {
            continue;
        };
        return run.ledger().settle(&part.ids, outcome, Some(&part.error));
    }
}

/// Which pairs of a part are there, by one list. `None` when that cannot be found out; then it is settled.
async fn look(run: &Run<'_>, part: &Part) -> Option<HashSet<u32>> {
    let targets = || part.ids.iter().map(|&id| (id, run.targets.get(id as usize)));
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
    let attempt = || run.client.channel.list_annotations(request.clone());
    run.persist(attempt, |verdict| matches!(verdict, Verdict::TurnedAway | Verdict::Unanswered)).await
}

/// The list failed, so what became of the part stays unknown: because its own request went unanswered, or, where
/// that was refused, because of the list. A list that finds no such app or is not let in tells that the rest of
/// the run cannot succeed either.
fn undecided(run: &Run<'_>, part: &Part, setback: Setback) {
    let mut ledger = run.ledger();
    match setback {
        Setback::Stopped => ledger.settle(&part.ids, Outcome::Unknown, Some(&part.error)),
        Setback::Failed(error) => {
            let cause = if part.doubt { &part.error } else { &error };
            ledger.settle(&part.ids, Outcome::Unknown, Some(cause));
            if let Error::Api(status) = &*error
                && matches!(status.kind(), Kind::Authentication | Kind::NotFound)
            {
                ledger.stop(error);
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
    let mut ledger = run.ledger();
    ledger.settle(&part.ids, outcome, Some(&part.error));
    let unreachable = matches!(*part.error, Error::Transport { .. });
    if verdict == Verdict::Hopeless || unreachable {
        ledger.stop(Arc::clone(&part.error));
    }
}

fn outcome_of_gone(part: &Part) -> Outcome {
    if part.doubt { Outcome::Deleted } else { Outcome::Absent }
}
