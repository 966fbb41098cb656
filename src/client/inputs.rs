//! The annotations of whole inputs, listed first and then deleted pair by pair: where a backup is kept, so that nothing
//! goes that is not in it, and where there is a cap, so that nothing goes that was not counted.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::{
    call::Call,
    channel::SendPermit,
    dispatch::{Batch, Form, Run, Setback, departures},
    lists::{self, Pages, Parts, Unlisted},
    precautions::over_the_limit,
    spelling::respelled_input,
};
use crate::{
    backup::Backup,
    error::Error,
    ids::{ColumnBuilder, IdError, Targets, Text},
    report::Outcome,
};

/// What lists show of some inputs.
#[derive(Default)]
struct Found {
    /// For each input of which anything was listed, the annotations that go: all but the input-level ones.
    annotations: HashMap<u32, Text>,
}

/// Lists a batch of inputs, saves what is on them, and deletes that.
pub(super) fn delete<'a>(
    run: &'a Run<'_>,
    batch: Batch,
    permit: SendPermit,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    // Boxed: it runs the whole way of a deletion once more, for the pairs.
    Box::pin(async move {
        for (inputs, found) in survey(run, batch, permit).await {
            delete_found(run, &inputs, &found, None).await;
        }
    })
}

/// Lists all inputs and, when no more than `most` annotations are on them, deletes these.
pub(super) async fn delete_at_most(run: &Run<'_>, most: usize) -> Result<(), Error> {
    // What is counted is not saved yet: when it is deleted, it is listed again.
    let counting = Run { backup: None, form: Form::Many, ..*run };
    let counting = &counting;
    let surveys = departures(run.client, run.call).map(|(batch, permit)| survey(counting, batch, permit));
    let mut surveys = pin!(surveys.buffered(run.client.settings.limits.max_in_flight));
    let (mut inputs, mut all, mut count) = (Vec::new(), Found::default(), 0);
    while let Some(parts) = surveys.next().await {
        for (ids, found) in parts {
            count += found.annotations.values().map(Text::len).sum::<usize>();
            if count > most {
                return Err(over_the_limit(
                    &format!("more than {most} annotations are on these inputs"),
                    most,
                ));
            }
            inputs.extend(ids);
            all.annotations.extend(found.annotations);
        }
    }
    let parts = stream::iter(inputs.chunks(run.client.settings.limits.batch_size));
    let at_once = run.client.settings.limits.max_in_flight;
    parts.for_each_concurrent(at_once, |inputs| delete_found(run, inputs, &all, run.backup)).await;
    Ok(())
}

/// What is on the inputs of a batch: saved, if there is a backup. Inputs of which that cannot be found out are
/// settled and left out.
async fn survey(run: &Run<'_>, batch: Batch, permit: SendPermit) -> Vec<(Vec<u32>, Found)> {
    let mut surveyed = surveyed_once(run, Parts::new(batch.ids, permit), batch.in_doubt).await;
    // Every input has at least an annotation of its own level. A list may be late, and not show yet what was added just before.
    let mut missing = Vec::new();
    for (inputs, found) in &mut surveyed {
        missing.extend(inputs.extract_if(.., |id| !found.annotations.contains_key(id)));
    }
    if !missing.is_empty() && run.wait_for_lists().await.is_ok() {
        surveyed.extend(surveyed_once(run, Parts::without_permit(missing), batch.in_doubt).await);
    }
    surveyed
}

async fn surveyed_once(run: &Run<'_>, mut parts: Parts, in_doubt: bool) -> Vec<(Vec<u32>, Found)> {
    let mut surveyed = Vec::new();
    while let Some((mut inputs, permit)) = parts.next(run).await {
        match all_pages(run, &mut inputs, permit, in_doubt).await {
            Ok(found) => surveyed.push((inputs, found)),
            Err(setback) => match parts.failed(run, inputs, setback).await {
                // That is no list which may be late.
                Some(Unlisted::NoInput(inputs, error)) => {
                    run.call.settle(&inputs, Outcome::Absent, Some(&error));
                }
                Some(Unlisted::Failed(inputs, error)) => run.cannot_look(&inputs, &error, in_doubt),
                None => {}
            },
        }
    }
    surveyed
}

/// What is on some inputs. Those that are listed in another spelling are settled and taken out of `inputs`.
async fn all_pages(
    run: &Run<'_>,
    inputs: &mut Vec<u32>,
    permit: SendPermit,
    in_doubt: bool,
) -> Result<Found, Setback> {
    let listed = inputs.clone();
    let (mut found, mut pages) = (Found::default(), Pages::new(&listed, permit));
    while let Some(page) = pages.next(run).await? {
        let lists::Page { annotations, memory: _memory } = page;
        let (own, others): (Vec<_>, Vec<_>) =
            annotations.into_iter().partition(|(_, listed)| listed.annotation.input_level);
        for (input, _) in own {
            found.annotations.entry(input).or_default();
        }
        for (input, listed) in &others {
            found.annotations.entry(*input).or_default().push(&listed.annotation.id);
        }
        run.save(others.into_iter().map(|(_, listed)| listed).collect()).await?;
    }
    for (input, spelling) in pages.respelled() {
        let outcome = if in_doubt { Outcome::Unknown } else { Outcome::Failed };
        run.call.settle(&[input], outcome, Some(&respelled_input(spelling)));
        inputs.retain(|&id| id != input);
    }
    Ok(found)
}

/// Deletes what was found on some inputs, pair by pair, and settles the inputs.
async fn delete_found(run: &Run<'_>, inputs: &[u32], found: &Found, backup: Option<&Backup>) {
    let is_known = |id: &u32| found.annotations.contains_key(id);
    let (known, missing): (Vec<u32>, Vec<u32>) = inputs.iter().partition(|id| is_known(id));
    run.call.settle(&missing, Outcome::Absent, None);
    let (bare, busy): (Vec<u32>, Vec<u32>) = known.iter().partition(|id| found.annotations[id].is_empty());
    run.call.settle(&bare, Outcome::Deleted, None);
    if busy.is_empty() {
        return;
    }
    let targets = match pairs(run, &busy, found) {
        Ok(targets) => targets,
        Err(error) => {
            let error =
                run.client.channel.unreadable(&format!("a list named something that is no ID: {error}"));
            return run.call.settle(&busy, Outcome::Unsent, Some(&Arc::new(error)));
        }
    };
    if run.call.announce(&busy).await.is_err() {
        return;
    }
    run.ledger().settle(&busy, Outcome::Unknown, None);
    let part = Call::part_of(run.call, targets);
    Run { call: &part, form: Form::Many, backup, ..*run }.all().await;
    run.call.add(&part);
    settle_by_pairs(run, &busy, &part);
}

fn pairs(run: &Run<'_>, inputs: &[u32], found: &Found) -> Result<Targets, IdError> {
    let [mut input_ids, mut annotation_ids] = ["input_ids", "annotation_ids"].map(ColumnBuilder::new);
    for id in inputs {
        for annotation_id in found.annotations[id].iter() {
            input_ids.push(run.call.targets().get(*id as usize).input_id)?;
            annotation_ids.push(annotation_id)?;
        }
    }
    Targets::pairs(input_ids.finish(), annotation_ids.finish())
}

/// An input is deleted when each of its pairs is gone.
fn settle_by_pairs(run: &Run<'_>, inputs: &[u32], part: &Call) {
    let places: HashMap<_, _> =
        inputs.iter().map(|&id| (run.call.targets().get(id as usize).input_id, id)).collect();
    let mut by_input: HashMap<u32, Vec<u32>> = HashMap::new();
    for pair in 0..part.targets().len() {
        let input = places[part.targets().get(pair).input_id];
        by_input.entry(input).or_default().push(pair as u32);
    }
    for (input, pairs) in by_input {
        let ledger = part.ledger();
        let with = |outcome: Outcome| pairs.iter().copied().find(|&pair| ledger.outcome(pair) == outcome);
        // Each was there when it was listed. One that is absent now went with a batch that was refused.
        let any_gone = with(Outcome::Deleted).or(with(Outcome::Absent)).is_some();
        let (outcome, pair) = match (with(Outcome::Unknown), with(Outcome::Failed), with(Outcome::Unsent)) {
            (Some(pair), ..) => (Outcome::Unknown, pair),
            (_, Some(pair), _) => (Outcome::Failed, pair),
            // Some went, and the run was stopped before the others.
            (_, _, Some(pair)) if any_gone => (Outcome::Unknown, pair),
            (_, _, Some(pair)) => (Outcome::Unsent, pair),
            _ => (Outcome::Deleted, pairs[0]),
        };
        let error = (outcome != Outcome::Deleted).then(|| ledger.error(pair).cloned()).flatten();
        drop(ledger);
        run.call.settle(&[input], outcome, error.as_ref());
    }
}
