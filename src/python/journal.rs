//! How far the calls of a journal are, for the command line.

use std::path::PathBuf;

use pyo3::{exceptions::PyValueError, prelude::*};

use super::errors;
use crate::journal::status;

/// Tell how far the calls of a journal are, as a JSON array of an object a part.
///
/// It can be called at any time: while the calls run, after they were killed, and from any process.
///
/// Args:
///     path: The journal.
///
/// Returns:
///     JSON: for each part ``part``, ``operation``, ``user_id``, ``app_id``, ``base_url``, ``requested``,
///     ``run_requested``, the counts of the outcomes, ``started_at``, ``finished_at``, ``is_running`` and ``restored_at``.
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
