//! How a Python call waits for the core: in place with the GIL released, or as an awaitable. The only difference
//! between a function and its `_async` twin.

use std::{panic, sync::Arc, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    bridge,
    progress::Watcher,
    runtime::{Waited, Work, runtime},
};
use crate::{client::Call, process};

/// How often a blocked call looks whether Ctrl-C was pressed.
pub const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// How a call waits.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// The calling thread blocks. It needs no event loop, and a running one does not mind.
    Blocking,
    /// The running event loop gets a future.
    Awaited,
}

/// How many tasks the runtime of this process has: for tests that look for leaked ones.
#[pyfunction]
pub fn live_tasks() -> usize {
    runtime().live_tasks()
}

impl Wait {
    /// Brings the `work` of a call to its end and gives its result: the value itself, or an awaitable of it.
    ///
    /// What the work ends with makes the result, where Python objects may be made: on the thread of the caller, or
    /// of the event loop. Ctrl-C, a cancellation and an exception of the `watcher` end the call, and are raised
    /// once the answers that were on their way are in.
    ///
    /// # Errors
    /// Those of the result, of a signal handler and of the watcher; for [`Wait::Awaited`] they come out of the
    /// awaitable, and a `RuntimeError` comes here when no event loop is running.
    pub fn on<'py, Finish>(
        self,
        py: Python<'py>,
        call: Arc<Call>,
        watcher: Option<Watcher>,
        work: impl Future<Output = Finish> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let work: Work<Finish> = Box::pin(work);
        match self {
            Self::Blocking => block(py, &call, watcher, work),
            Self::Awaited => bridge::future(py, call, watcher, work),
        }
    }
}

fn block<'py, Finish>(
    py: Python<'py>,
    call: &Call,
    watcher: Option<Watcher>,
    work: Work<Finish>,
) -> PyResult<Bound<'py, PyAny>>
where
    Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    let generation = process::generation();
    let mut waited = py.detach(|| runtime().start_and_wait(work, SIGNAL_INTERVAL));
    let mut interrupted = None;
    let finish = loop {
        // It goes on by itself while signal handlers and the watcher run here: they may take their time, and make
        // calls of their own that wait for their turn behind this one.
        let task = match waited {
            Waited::Done(Ok(finish)) => break finish,
            Waited::Done(Err(panicked)) => panic::resume_unwind(panicked.into_panic()),
            Waited::Running(task) => task,
        };
        if let Err(raised) = py.check_signals() {
            if interrupted.is_some() {
                // Whoever insists need not wait for the answers that are on their way.
                task.abort();
                return Err(raised);
            }
            call.end("interrupted");
            interrupted = Some(raised);
        }
        if let Some(watcher) = &watcher {
            watcher.look(py, call);
        }
        if process::generation() != generation {
            // It belongs to the parent, as the runtime does.
            std::mem::forget(task);
            let message = "the process was forked in a callback of this call: it goes on in the parent alone";
            return Err(PyRuntimeError::new_err(message));
        }
        waited = py.detach(|| task.wait(SIGNAL_INTERVAL));
    };
    let result = finish(py);
    let raised = interrupted.or_else(|| watcher.and_then(|watcher| watcher.finish(py, call)));
    result_or(py, raised, result).map(|value| value.into_bound(py))
}

/// What ended the call goes before what came of it, and takes the report along.
pub fn result_or(py: Python<'_>, raised: Option<PyErr>, result: PyResult<Py<PyAny>>) -> PyResult<Py<PyAny>> {
    let Some(raised) = raised else { return result };
    let report = match &result {
        Ok(report) => Ok(report.clone_ref(py)),
        Err(error) => error.value(py).getattr("report").map(Bound::unbind),
    };
    // An exception may take no attributes, and a single deletion has no report.
    let _ = report.and_then(|report| raised.value(py).setattr("report", report));
    Err(raised)
}
