//! Journals, for the command line: how far a run is, and the end of a run of several calls.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};

use super::errors;
use crate::journal::{fold_leftovers, status};

/// How often a fold looks whether Ctrl-C was pressed.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

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

/// Fold the logs of calls that were made with ``journal=(path, part, run_requested)``, or were killed, into their journal.
///
/// Args:
///     path: The journal.
///
/// Raises:
///     JournalError: The journal cannot be replaced. The logs are there then, for the next call.
///     KeyboardInterrupt: Ctrl-C. So they are then.
///
/// Example:
///     >>> fold_journal("run.journal")
#[pyfunction]
pub fn fold_journal(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    let abandoned = Arc::new(AtomicBool::new(false));
    let is_abandoned = Arc::clone(&abandoned);
    let (done, mut result) = mpsc::channel();
    let fold = move || done.send(fold_leftovers(&path, &is_abandoned));
    thread::Builder::new().name("clarifai-journal".into()).spawn(fold)?;
    let mut interrupted = None;
    loop {
        // A receiver may not be shared between threads, so it is lent.
        let folded;
        (folded, result) = py.detach(move || (result.recv_timeout(SIGNAL_INTERVAL), result));
        match (folded, interrupted) {
            (Err(RecvTimeoutError::Timeout), earlier) => interrupted = earlier.or(py.check_signals().err()),
            (_, Some(raised)) => return Err(raised),
            (Ok(folded), None) => return folded.map_err(|error| errors::without_settings(py, &error)),
            (Err(RecvTimeoutError::Disconnected), None) => {
                return Err(PyRuntimeError::new_err("the fold of a journal was broken off"));
            }
        }
        if interrupted.is_some() {
            abandoned.store(true, Ordering::Relaxed);
        }
    }
}
