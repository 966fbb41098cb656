//! Journals, for the command line: how far a run is, and the end of a run of several calls.

use std::{path::PathBuf, sync::atomic::AtomicBool};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::errors;
use crate::journal::{fold_leftovers, status};

/// Tell how far the calls of a journal are, as a JSON array of an object a part.
///
/// It can be called at any time: while the calls run, after they were killed, and from any process.
///
/// Args:
///     path: The journal.
///
/// Returns:
///     JSON: for each part ``part``, ``operation``, ``user_id``, ``app_id``, ``base_url``, ``requested``, the counts of
///     the outcomes, ``started_at``, ``finished_at``, ``is_running`` and ``restored_at``.
///
/// Raises:
///     JournalError: There is no such journal, or it cannot be read.
///
/// Example:
///     >>> parts = json.loads(journal_status("run.journal"))
#[pyfunction]
pub fn journal_status(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let parts = py.detach(|| status(&path)).map_err(|error| errors::without_settings(py, &error))?;
    serde_json::to_string(&parts).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Fold the logs of calls that were made with ``journal=(path, part, False)``, or were killed, into their journal.
///
/// Args:
///     path: The journal.
///
/// Raises:
///     JournalError: The journal cannot be replaced. The logs are there then, for the next call.
///
/// Example:
///     >>> fold_journal("run.journal")
#[pyfunction]
pub fn fold_journal(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    let fold = || fold_leftovers(&path, &AtomicBool::new(false));
    py.detach(fold).map_err(|error| errors::without_settings(py, &error))
}
