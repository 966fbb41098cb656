//! Deletions taken back: annotations of a backup posted again, save those that are there.

use std::{
    collections::HashSet,
    iter::zip,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use prost::DecodeError;
use tokio::{sync::mpsc, task, time};

use super::{
    Client,
    call::Call,
    channel::SendPermit,
    dispatch::{Form, Run, batches, log_summary, permitted},
    lists::{self, Parts, Unlisted},
    plan::stopped_by,
    precautions,
};
use crate::{
    LOGGER,
    backup::{BackupReader, Copies},
    error::Error,
    journal,
    report::{Outcome, Report},
    wire::{Listed, MAX_REQUEST_BYTES, SET_BY_SERVICE, USER_ID, WORKER, without_fields},
};

/// For so long a list may show what is deleted, as a share of `request_timeout`: as long as for a deletion.
const LATE: f64 = 0.1;

/// The most bytes of annotations in one post: the service takes requests of 10 MiB (`MAX_REQUEST_BYTES`), which have some
/// bytes around each annotation.
const MOST_POSTED_BYTES: usize = 8 << 20;
const _: () = assert!(MOST_POSTED_BYTES < MAX_REQUEST_BYTES);

/// Batches that are read ahead.
const READ_AHEAD: usize = 4;

/// Posts what a backup holds of the client's app. Tells too how many of its rows a later one replaces.
pub(super) async fn run(
    client: &Client,
    call: &Call,
    backup: PathBuf,
    input_ids: Option<HashSet<String>>,
    as_caller: bool,
) -> Result<(Report, usize), Error> {
    let settings = Arc::clone(&client.settings);
    let find = move || {
        let reader = BackupReader::open(&backup)?;
        Copies::find(reader, &settings.user_id, &settings.app_id, input_ids.as_ref())
    };
    // Reading waits for a disk, which may be slow or gone: the call's timeout and its cancellation end that too.
    let Some(copies) = call.drive(precautions::blocking(find)).await else { return Err(stopped_by(call)) };
    let copies = copies?;
    let superseded = copies.superseded;
    let journals = copies.reader().journals().to_vec();
    let path = copies.reader().path().to_owned();
    call.name(Arc::clone(&copies.targets));
    let limits = &client.settings.limits;
    let mut messages = read(copies, limits.batch_size, as_caller);
    let messages = stream::poll_fn(|context| messages.poll_recv(context));
    let batches = stream::iter(batches(call, limits.batch_size)).zip(messages);
    let all = permitted(client, call, batches);
    let all = all.for_each_concurrent(limits.max_in_flight, |((batch, messages), permit)| async {
        match messages {
            Ok(messages) => {
                let annotations = zip(batch.ids.iter().copied(), messages).collect();
                let run = Run { client, call, form: Form::Post(annotations), backup: None };
                post_missing(&run, batch.ids, permit).await;
            }
            Err(error) => call.stop(Arc::new(error)),
        }
    });
    call.drive(all).await;
    let report = call.close();
    let restored = report.count(Outcome::Deleted);
    let note = move || note_restoration(&journals, &path, restored);
    call.within_time(precautions::blocking(note)).await;
    log_summary(&report);
    Ok((report, superseded))
}

/// Notes in the journals of the deletions that their annotations are there again.
fn note_restoration(journals: &[PathBuf], backup: &Path, restored: usize) -> Result<(), Error> {
    for journal in journals {
        if let Err(error) = journal::note_restoration(journal, backup, restored) {
            log::warn!(target: LOGGER, "{error}");
        }
    }
    Ok(())
}

/// Reads annotations on a thread that may wait for a disk, a batch at a time, in their order.
fn read(copies: Copies, batch_size: usize, as_caller: bool) -> mpsc::Receiver<Result<Vec<Bytes>, Error>> {
    let (sender, messages) = mpsc::channel(READ_AHEAD);
    task::spawn_blocking(move || {
        let mut all = match copies.messages() {
            Ok(all) => all.peekable(),
            Err(error) => return drop(sender.blocking_send(Err(error))),
        };
        while all.peek().is_some() {
            let batch = all.by_ref().take(batch_size).map(|message| postable(&message?, as_caller)).collect();
            // When nobody reads any more, the run was stopped.
            if sender.blocking_send(batch).is_err() {
                break;
            }
        }
    });
    messages
}

/// An annotation as it may be posted: without what the service sets itself and, as the caller's own, without the name of a
/// user. What a model made stays the model's.
fn postable(message: &Bytes, as_caller: bool) -> Result<Bytes, Error> {
    let posted = || {
        let left_out = match as_caller {
            false => SET_BY_SERVICE.to_vec(),
            true if Listed::parse(message.clone())?.is_made_by_model() => {
                [&SET_BY_SERVICE[..], &[USER_ID]].concat()
            }
            true => [&SET_BY_SERVICE[..], &[USER_ID, WORKER]].concat(),
        };
        without_fields(message, &left_out)
    };
    posted().map_err(|error: DecodeError| Error::Backup {
        message: format!("the backup holds something that is no annotation: {error}"),
    })
}

/// Posts those of a batch that are not there.
async fn post_missing(run: &Run<'_>, ids: Vec<u32>, permit: SendPermit) {
    let (missing, present) = listed(run, ids, permit).await;
    run.call.settle(&present, Outcome::Absent, None);
    post(run, missing).await;
    if present.is_empty() {
        return;
    }
    // Lists may be late, and still show what was deleted just before.
    let pause = run.client.settings.limits.request_timeout.mul_f64(LATE);
    if run.call.unless_stopped(time::sleep(pause)).await.is_ok()
        && let Ok(permit) = run.acquire().await
    {
        let (missing, _) = listed(run, present, permit).await;
        post(run, missing).await;
    }
}

/// Posts these, in as many requests as their size asks for.
async fn post(run: &Run<'_>, ids: Vec<u32>) {
    for ids in requests_of(ids, |id| run.size_of_post(id)) {
        if let Ok(permit) = run.acquire().await {
            run.carry_out(ids, permit).await;
        }
    }
}

/// Annotations in as many requests as it takes for none to be larger than [`MOST_POSTED_BYTES`], unless a single annotation
/// is.
fn requests_of(ids: Vec<u32>, size: impl Fn(u32) -> usize) -> Vec<Vec<u32>> {
    let mut requests: Vec<Vec<u32>> = Vec::new();
    let mut bytes = usize::MAX;
    for id in ids {
        let more = size(id);
        match requests.last_mut() {
            Some(request) if bytes.saturating_add(more) <= MOST_POSTED_BYTES => {
                request.push(id);
                bytes += more;
            }
            _ => {
                requests.push(vec![id]);
                bytes = more;
            }
        }
    }
    requests
}

/// Which annotations of a batch lists do not show, and which they show. What cannot be listed is settled.
async fn listed(run: &Run<'_>, ids: Vec<u32>, permit: SendPermit) -> (Vec<u32>, Vec<u32>) {
    let (mut missing, mut present, mut parts) = (Vec::new(), Vec::new(), Parts::new(ids, permit));
    while let Some((ids, permit)) = parts.next(run).await {
        match lists::pairs(run, &ids, permit).await {
            Ok(listed) => {
                let unclear = run.settle_unclear(&listed, false);
                let there: HashSet<u32> = listed.there.into_iter().map(|(id, _)| id).collect();
                let told = ids.iter().filter(|id| !unclear.contains(id));
                let (shown, others): (Vec<u32>, Vec<u32>) = told.partition(|id| there.contains(id));
                present.extend(shown);
                missing.extend(others);
            }
            Err(setback) => match parts.failed(run, ids, setback).await {
                // Nothing can be posted to an input that is not there.
                Some(Unlisted::NoInput(ids, error)) => {
                    run.call.settle(&ids, Outcome::Failed, Some(&error));
                }
                Some(Unlisted::Failed(ids, error)) => run.cannot_look(&ids, &error, false),
                None => {}
            },
        }
    }
    (missing, present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_go_in_one_request_as_long_as_they_fit() {
        let sizes = [3, 3, 3, 1, 9, 1].map(|megabytes| megabytes << 20);
        let requests = requests_of((0..6).collect(), |id| sizes[id as usize]);
        assert_eq!(requests, [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
    }
}
