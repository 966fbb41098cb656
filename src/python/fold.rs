//! The end of a run of several calls: what is in the logs of its backup and its journal becomes part of the files.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    errors,
    parameters::{absolute, timeout_of},
    wait::SIGNAL_INTERVAL,
};
use crate::{backup, config::DEFAULT_CANCEL_GRACE, error::Error, journal};

/// Fold the logs that calls with ``backup=(path, False)`` left, or that were killed, into the file of their backup.
///
/// Args:
///     path: The backup. Nothing happens where there are no logs.
///     timeout: Seconds after which it is given up; ``None`` for no limit.
///
/// Raises:
///     BackupError: The file cannot be written, a call is writing it, or ``timeout`` is over. What was saved stays in the logs.
///     DeadlineError: The disk does not answer either.
///     KeyboardInterrupt: Ctrl-C. The logs are there then.
///
/// Example:
///     >>> fold_backup("doubtful.parquet")
#[pyfunction]
#[pyo3(signature = (path, *, timeout=None))]
pub fn fold_backup(py: Python<'_>, path: PathBuf, timeout: Option<f64>) -> PyResult<()> {
    let path = absolute("path", path)?;
    fold(py, timeout, move |is_abandoned| backup::fold_backup(&path, is_abandoned))
}

/// Fold the logs of calls that were made with ``journal=(path, part, run_requested)``, or were killed, into their journal.
///
/// Args:
///     path: The journal.
///     timeout: Seconds after which it is given up; ``None`` for no limit.
///
/// Raises:
///     JournalError: The journal cannot be replaced, or ``timeout`` is over. The logs are there then, for the next call.
///     DeadlineError: The disk does not answer either.
///     KeyboardInterrupt: Ctrl-C. So they are then.
///
/// Example:
///     >>> fold_journal("run.journal")
#[pyfunction]
#[pyo3(signature = (path, *, timeout=None))]
pub fn fold_journal(py: Python<'_>, path: PathBuf, timeout: Option<f64>) -> PyResult<()> {
    let path = absolute("path", path)?;
    fold(py, timeout, move |is_abandoned| journal::fold_leftovers(&path, is_abandoned))
}

/// Folds on another thread, until it is done or given up.
fn fold(
    py: Python<'_>,
    timeout: Option<f64>,
    work: impl FnOnce(&AtomicBool) -> Result<(), Error> + Send + 'static,
) -> PyResult<()> {
    let timeout = timeout_of(timeout)?;
    let begin = Instant::now();
    let abandoned = Arc::new(AtomicBool::new(false));
    let is_abandoned = Arc::clone(&abandoned);
    let (done, mut result) = mpsc::channel();
    let work = move || done.send(work(&is_abandoned));
    thread::Builder::new().name("clarifai-fold".into()).spawn(work)?;
    let mut given_up: Option<(Instant, Option<PyErr>)> = None;
    loop {
        // A receiver may not be shared between threads, so it is lent.
        let folded;
        (folded, result) = py.detach(move || (result.recv_timeout(SIGNAL_INTERVAL), result));
        match (folded, given_up) {
            (Ok(_), Some((_, Some(raised)))) => return Err(raised),
            (Ok(folded), _) => return folded.map_err(|error| errors::without_settings(py, &error)),
            (Err(RecvTimeoutError::Disconnected), _) => {
                return Err(PyRuntimeError::new_err("a fold was broken off"));
            }
            (Err(RecvTimeoutError::Timeout), None) => {
                let raised = py.check_signals().err();
                let is_late = timeout.is_some_and(|timeout| begin.elapsed() >= timeout);
                given_up = (raised.is_some() || is_late).then(|| (Instant::now(), raised));
                abandoned.store(given_up.is_some(), Ordering::Relaxed);
            }
            // A disk that does not answer is not waited for.
            (Err(RecvTimeoutError::Timeout), Some((since, raised)))
                if since.elapsed() >= DEFAULT_CANCEL_GRACE =>
            {
                let message = "the disk does not answer: what was written is in the logs".into();
                let late = || errors::without_settings(py, &Error::Deadline { message });
                return Err(raised.unwrap_or_else(late));
            }
            (Err(RecvTimeoutError::Timeout), waiting) => given_up = waiting,
        }
    }
}
