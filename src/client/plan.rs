//! What a deletion would do: lists of all that a call names, and nothing else.

use std::{collections::HashMap, pin::pin, sync::Arc};

use futures_util::StreamExt as _;

use super::{
    Client,
    call::{Call, Progress},
    dispatch::{Batch, Form, Run, Setback, departures},
    inputs::is_no_input,
    lists::{self, Pages, Parts},
    precautions::over_the_limit,
    quota::Turn,
};
use crate::{
    error::Error,
    plan::{Plan, PlanBuilder},
    wire::Listed,
};

/// A part of a call and what is there of it.
type Looked = (Vec<u32>, Vec<Listed>);

/// Looks up what a call names.
pub(super) async fn run(client: &Client, call: &Call) -> Result<Plan, Error> {
    match call.drive(looked_up(client, call)).await {
        Some(Ok(plan)) => {
            let Progress { requests, elapsed, .. } = call.progress();
            let plan = plan.finish(call.targets(), requests.sent, elapsed);
            plan.map_err(|error| client.channel.unreadable(&error.to_string()))
        }
        Some(Err(error)) => Err(Error::clone(&error)),
        None => Err(stopped_by(call)),
    }
}

async fn looked_up(client: &Client, call: &Call) -> Result<PlanBuilder, Arc<Error>> {
    let run = Run { client, call, form: Form::Many, backup: None };
    let run = &run;
    let parts = departures(client, call).map(|(batch, turn)| look_up(run, batch, turn));
    let mut parts = pin!(parts.buffered(client.settings.limits.max_in_flight));
    let mut plan = PlanBuilder::default();
    while let Some(looked) = parts.next().await {
        for (ids, listed) in looked? {
            enter(&mut plan, call, &ids, &listed);
            call.has_looked_up(ids.len());
        }
        if let Some(most) = call.precautions().max_deletions
            && plan.deletions() > most
        {
            let found = format!("more than {most} annotations would be deleted");
            return Err(Arc::new(over_the_limit(&found, most)));
        }
    }
    if call.ledger().stopped_by().is_some() { Err(Arc::new(stopped_by(call))) } else { Ok(plan) }
}

/// What stopped a call that has no outcomes.
pub(super) fn stopped_by(call: &Call) -> Error {
    let cause = call.ledger().stopped_by().map(|cause| Error::clone(cause));
    cause.unwrap_or(Error::Ended { how: "abandoned".into() })
}

async fn look_up(run: &Run<'_>, batch: Batch, turn: Turn) -> Result<Vec<Looked>, Arc<Error>> {
    let (mut looked, mut parts) = (Vec::new(), Parts::new(batch.ids, turn));
    while let Some((ids, turn)) = parts.next(run).await {
        let listed = match run.call.targets().are_pairs() {
            true => {
                lists::pairs(run, &ids, turn).await.map(|pairs| pairs.into_iter().map(|(_, it)| it).collect())
            }
            false => all_pages(run, &ids, turn).await,
        };
        match listed {
            Ok(listed) => looked.push((ids, listed)),
            Err(setback) => match parts.failed(ids, setback) {
                Some((ids, error)) if is_no_input(&error) => looked.push((ids, Vec::new())),
                Some((_, error)) => return Err(error),
                None => {}
            },
        }
    }
    Ok(looked)
}

async fn all_pages(run: &Run<'_>, ids: &[u32], turn: Turn) -> Result<Vec<Listed>, Setback> {
    let (mut all, mut pages) = (Vec::new(), Pages::new(ids, turn));
    while let Some(page) = pages.next(run).await? {
        all.extend(page);
    }
    Ok(all)
}

/// Enters what is there of some IDs, in their order, and what is not.
fn enter(plan: &mut PlanBuilder, call: &Call, ids: &[u32], listed: &[Listed]) {
    let targets = call.targets();
    let mut there: HashMap<(&str, Option<&str>), Vec<&Listed>> = HashMap::new();
    for one in listed {
        let annotation_id = targets.are_pairs().then_some(one.annotation.id.as_str());
        there.entry((&one.annotation.input_id, annotation_id)).or_default().push(one);
    }
    for target in ids.iter().map(|&id| targets.get(id as usize)) {
        match there.get(&(target.input_id, target.annotation_id)) {
            Some(found) => found.iter().for_each(|listed| plan.push_listed(listed)),
            None => plan.push_absent(target.input_id, target.annotation_id),
        }
    }
}
