//! What a deletion would do: lists of all that a call names, and nothing else.

use std::{collections::HashMap, pin::pin, sync::Arc};

use futures_util::StreamExt as _;

use super::{
    Client,
    call::{Call, Progress},
    channel::SendPermit,
    dispatch::{Batch, Form, Run, Setback, departures},
    lists::{self, Pages, Parts, Unlisted},
    precautions::over_the_limit,
    spelling::respelled_input,
};
use crate::{
    LOGGER,
    error::Error,
    plan::{Plan, PlanBuilder, Rows},
    wire::Listed,
};

/// A part of a call, and what lists show of it.
#[derive(Default)]
struct Looked {
    ids: Vec<u32>,
    /// What is listed.
    rows: Rows,
    /// What is there: the place of its pair, or of its input, among the targets, and its row.
    there: Vec<(u32, u32)>,
    /// What is there in another spelling alone; for a pair with its row.
    respelled: HashMap<u32, Option<u32>>,
}

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
    let parts = departures(client, call).map(|(batch, permit)| look_up(run, batch, permit));
    let mut parts = pin!(parts.buffered(client.settings.limits.max_in_flight));
    let mut plan = PlanBuilder::default();
    while let Some(looked) = parts.next().await {
        for part in looked? {
            call.has_looked_up(part.ids.len());
            enter(&mut plan, call, &part);
        }
        let check = plan.check_size();
        check.map_err(|error| Arc::new(Error::Limit { message: format!("{error}. Nothing was deleted") }))?;
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

async fn look_up(run: &Run<'_>, batch: Batch, permit: SendPermit) -> Result<Vec<Looked>, Arc<Error>> {
    let (mut looked, mut parts) = (Vec::new(), Parts::new(batch.ids, permit));
    while let Some((ids, permit)) = parts.next(run).await {
        let listed = match run.call.targets().are_pairs() {
            true => all_pairs(run, ids.clone(), permit).await,
            false => all_pages(run, ids.clone(), permit).await,
        };
        match listed {
            Ok(part) => looked.push(part),
            Err(setback) => match parts.failed(run, ids, setback).await {
                Some(Unlisted::NoInput(ids, _)) => looked.push(Looked { ids, ..Looked::default() }),
                Some(Unlisted::Failed(ids, error)) => return Err(about(run, &ids, error)),
                None => {}
            },
        }
    }
    Ok(looked)
}

/// A list that tells nothing of an ID ends the plan, which names it.
fn about(run: &Run<'_>, ids: &[u32], error: Arc<Error>) -> Arc<Error> {
    match (&*error, ids) {
        (Error::Listing { message }, [id]) => {
            let target = run.call.targets().get(*id as usize);
            let which = match target.annotation_id {
                Some(annotation_id) => format!("annotation {annotation_id:?} of input {:?}", target.input_id),
                None => format!("input {:?}", target.input_id),
            };
            Arc::new(Error::Listing { message: format!("{which} cannot be planned: {message}") })
        }
        _ => error,
    }
}

async fn all_pairs(run: &Run<'_>, ids: Vec<u32>, permit: SendPermit) -> Result<Looked, Setback> {
    let listed = lists::pairs(run, &ids, permit).await?;
    let untold = |(id, error)| listed.untold.contains(&id).then_some(error);
    if let Some(error) = listed.unclear().find_map(untold) {
        return Err(Setback::Failed(error));
    }
    if let Some((_, error)) = listed.unclear().next() {
        log::warn!(target: LOGGER, "{}{error}", many(listed.respelled.len()));
    }
    let mut part = Looked { ids, ..Looked::default() };
    for (id, listed) in &listed.there {
        part.enter(*id, listed);
    }
    for (id, listed) in &listed.respelled {
        part.respelled.insert(*id, Some(part.rows.len() as u32));
        part.rows.push(listed);
    }
    Ok(part)
}

async fn all_pages(run: &Run<'_>, ids: Vec<u32>, permit: SendPermit) -> Result<Looked, Setback> {
    let (mut part, mut pages) = (Looked::default(), Pages::new(&ids, permit));
    while let Some(page) = pages.next(run).await? {
        for (id, listed) in &page.annotations {
            part.enter(*id, listed);
        }
    }
    part.respelled = pages.respelled().map(|(id, _)| (id, None)).collect();
    if let Some((_, spelling)) = pages.respelled().next() {
        log::warn!(target: LOGGER, "{}{}", many(part.respelled.len()), respelled_input(spelling));
    }
    // In the order of the call, and those of one input as they were listed.
    part.there.sort_unstable();
    Ok(Looked { ids, ..part })
}

impl Looked {
    fn enter(&mut self, id: u32, listed: &Listed) {
        self.there.push((id, self.rows.len() as u32));
        self.rows.push(listed);
    }
}

/// What a warning about so many IDs begins with, of which it tells one.
fn many(count: usize) -> String {
    if count == 1 { String::new() } else { format!("one of {count} IDs of a plan: ") }
}

/// Enters what is there of some IDs, in their order, and what is not.
fn enter(plan: &mut PlanBuilder, call: &Call, part: &Looked) {
    let mut there = part.there.as_slice();
    for (id, target) in part.ids.iter().map(|&id| (id, call.targets().get(id as usize))) {
        let (own, others) = there.split_at(there.partition_point(|(of, _)| *of <= id));
        there = others;
        for (_, row) in own {
            plan.push_listed(target.input_id, &part.rows.get(*row as usize));
        }
        match part.respelled.get(&id) {
            _ if !own.is_empty() => {}
            Some(row) => {
                let row = row.map(|row| part.rows.get(row as usize));
                plan.push_respelled(target.input_id, target.annotation_id, row.as_ref());
            }
            None => plan.push_absent(target.input_id, target.annotation_id),
        }
    }
}
