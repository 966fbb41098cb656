//! How far the calls of a journal are: read at any time, also while they run and after they were killed.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use serde::Serialize;

use super::{
    database::{self, Database},
    fault::Fault,
    fold::lock_path,
    record::{self, CallRow, Content, Found, Outcomes},
    refuse,
};
use crate::{
    error::Error,
    files::{self, FileLock, logs_of, open_existing},
    report::Outcome,
};

/// How far the call of a part is.
#[derive(Debug, Clone, Serialize)]
pub struct PartStatus {
    /// The part.
    pub part: u32,
    /// The function.
    pub operation: String,
    /// Owner of the app.
    pub user_id: String,
    /// The app.
    pub app_id: String,
    /// The service.
    pub base_url: String,
    /// Different IDs that the call names. The five counts add up to it.
    pub requested: u64,
    /// How many IDs the run names of which the call is a part; `None` for a call that is not a part of one.
    pub run_requested: Option<u64>,
    /// Confirmed.
    pub deleted: u64,
    /// Not there.
    pub absent: u64,
    /// Refused.
    pub failed: u64,
    /// Sent, without a clear answer by now.
    pub unknown: u64,
    /// Not sent yet.
    pub unsent: u64,
    /// When its latest run began, in ISO 8601.
    pub started_at: String,
    /// When it was finished, if it was.
    pub finished_at: Option<String>,
    /// Whether a call writes to it now.
    pub is_running: bool,
    /// When annotations that it may have deleted were restored, if they were.
    pub restored_at: Option<String>,
}

/// Tells how far each part of a journal is. Changes nothing, and waits for nobody. Blocks.
///
/// # Errors
/// [`Error::Journal`] when there is none, or it cannot be read.
pub fn status(journal: &Path) -> Result<Vec<PartStatus>, Error> {
    read(journal).map_err(|fault| refuse(journal, fault))
}

fn read(journal: &Path) -> Result<Vec<PartStatus>, Fault> {
    let path = files::target(journal)?;
    let mut logs = BTreeMap::new();
    // Opened before the journal is: what is folded meanwhile is then in both, and not in neither.
    for (part, log) in logs_of(&path)? {
        logs.extend(open_existing(&log, OpenOptions::new().read(true))?.map(|file| (part, file)));
    }
    let database = database::open(&path)?;
    let mut calls =
        database.as_ref().map_or(Ok(Vec::new()), Database::calls)?.into_iter().collect::<BTreeMap<_, _>>();
    let mut parts = Vec::new();
    for (part, file) in &logs {
        if let Some(content) = content_of(file)? {
            let Content { call, outcomes } = *content;
            calls.insert(*part, call);
            parts.push((*part, outcomes));
        }
    }
    if calls.is_empty() && database.is_none() {
        return Err(Fault::Io(io::Error::new(io::ErrorKind::NotFound, "there is no such journal")));
    }
    let mut by_part: BTreeMap<u32, Outcomes> = parts.into_iter().collect();
    let mut all = Vec::new();
    for (part, call) in calls {
        let outcomes = by_part.remove(&part).unwrap_or_default();
        let counts = counts(database.as_ref(), part, &outcomes)?;
        let is_running = FileLock::is_held(&lock_path(&path, part))?;
        let restored_at = restored_at(database.as_ref(), &call)?;
        all.push(part_status(part, call, counts, is_running, restored_at));
    }
    Ok(all)
}

fn content_of(file: &File) -> Result<Option<Box<Content>>, Fault> {
    Ok(match record::read(file)? {
        Found::Log(content) => Some(content),
        Found::Nothing | Found::Foreign => None,
    })
}

/// What the journal has, save for what the log says anew.
fn counts(
    database: Option<&Database>,
    part: u32,
    log: &Outcomes,
) -> Result<[usize; Outcome::ALL.len()], Fault> {
    let mut counts = log.counts();
    if let Some(database) = database {
        database.each_run(part, |run| {
            let positions = run.first..run.first.saturating_add(run.length);
            counts[run.outcome as usize] += positions.filter(|&position| log.get(position).is_none()).count();
        })?;
    }
    Ok(counts)
}

fn restored_at(database: Option<&Database>, call: &CallRow) -> Result<Option<String>, Fault> {
    let Some(database) = database else { return Ok(None) };
    if database.restorations()? <= call.restorations_before {
        return Ok(None);
    }
    Ok(database.last_restoration()?.map(|restoration| restoration.restored_at))
}

fn part_status(
    part: u32,
    call: CallRow,
    counts: [usize; Outcome::ALL.len()],
    is_running: bool,
    restored_at: Option<String>,
) -> PartStatus {
    let count = |outcome: Outcome| counts[outcome as usize] as u64;
    let settled = [Outcome::Deleted, Outcome::Absent, Outcome::Failed, Outcome::Unknown].map(count);
    PartStatus {
        part,
        operation: call.operation,
        user_id: call.user_id,
        app_id: call.app_id,
        base_url: call.base_url,
        requested: call.requested,
        run_requested: call.run_requested,
        deleted: count(Outcome::Deleted),
        absent: count(Outcome::Absent),
        failed: count(Outcome::Failed),
        unknown: count(Outcome::Unknown),
        unsent: call.requested.saturating_sub(settled.iter().sum()),
        started_at: call.started_at,
        finished_at: call.finished_at,
        is_running,
        restored_at,
    }
}
