//! Parameters that several functions take, as Python gives them: what each may be, and what is said where it is not.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    client::{Call, Client, Precautions},
    config,
    ids::Targets,
    journal::Place,
};

/// What every deletion of many takes.
pub struct Options<'a, 'py> {
    pub on_failure: &'a str,
    pub progress: &'a Bound<'py, PyAny>,
    pub timeout: Option<f64>,
    pub precautions: Precautions,
}

/// A call of this client, that names these.
///
/// # Errors
/// Those of [`timeout_of`].
pub fn new_call(client: &Client, targets: impl Into<Arc<Targets>>, timeout: Option<f64>) -> PyResult<Call> {
    let call = Call::new(targets, timeout_of(timeout)?);
    Ok(call.with_cancel_grace(client.settings().limits.cancel_grace))
}

/// The parameter `journal`: a path, or one and which of the calls that share it. The command line adds how many IDs its
/// run names in all, and folds the logs of all calls at its end.
#[derive(FromPyObject)]
pub enum JournalPlace {
    Path(PathBuf),
    Part(PathBuf, u32),
    PartOfRun(PathBuf, u32, u64),
}

/// The parameter `backup`: a path, or one and whether the call completes the file: the command line makes many calls with
/// one backup, and has it completed after the last.
#[derive(FromPyObject)]
pub enum BackupPath {
    Path(PathBuf),
    OfSeveral(PathBuf, bool),
}

/// A path as it is now, whatever folder the program changes to.
///
/// # Errors
/// A `ValueError` when it is empty.
pub fn absolute(parameter: &str, path: PathBuf) -> PyResult<PathBuf> {
    let refused = |error| PyValueError::new_err(format!("{parameter} is no path: {error}. Nothing was sent"));
    std::path::absolute(path).map_err(refused)
}

/// The parameters `backup`, `journal`, `max_deletions` and `look_first`.
///
/// # Errors
/// A `ValueError` when a path is empty, or a number is below 0.
pub fn precautions(
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    look_first: bool,
) -> PyResult<Precautions> {
    let journal = journal.map(|place| {
        let (path, part, run_requested) = match place {
            JournalPlace::Path(path) => (path, 0, None),
            JournalPlace::Part(path, part) => (path, part, None),
            JournalPlace::PartOfRun(path, part, requested) => (path, part, Some(requested)),
        };
        // The program may change its folder while the call waits. What has no absolute form is refused when it is opened.
        let path = std::path::absolute(&path).unwrap_or(path);
        Place { path, part, run_requested }
    });
    let max_deletions = max_deletions.map(|most| {
        let text =
            format!("max_deletions is {most}: give a number of annotations from 0, or None for no limit");
        usize::try_from(most).map_err(|_| PyValueError::new_err(format!("{text}. Nothing was sent")))
    });
    let (backup, is_completed) = match backup {
        None => (None, true),
        Some(BackupPath::Path(path)) => (Some(absolute("backup", path)?), true),
        Some(BackupPath::OfSeveral(path, is_completed)) => (Some(absolute("backup", path)?), is_completed),
    };
    Ok(Precautions {
        backup,
        is_backup_folded_later: !is_completed,
        journal,
        max_deletions: max_deletions.transpose()?,
        look_first,
    })
}

/// The parameter `on_failure`: whether to raise.
///
/// # Errors
/// A `ValueError` when it is something else.
pub fn raises(on_failure: &str) -> PyResult<bool> {
    match on_failure {
        "raise" => Ok(true),
        "report" => Ok(false),
        other => {
            let text = format!("on_failure is {other:?}: give \"raise\" or \"report\". Nothing was sent");
            Err(PyValueError::new_err(text))
        }
    }
}

/// The parameter `timeout`.
///
/// # Errors
/// A `ValueError` when it is no number of seconds, or longer than a year.
pub fn timeout_of(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        None => Ok(None),
        Some(f64::INFINITY) => Ok(None),
        Some(seconds) => config::seconds("timeout", seconds)
            .map(Some)
            .map_err(|error| PyValueError::new_err(format!("{error}. Nothing was sent"))),
    }
}
