//! How a Python call waits for the core: in place with the GIL released, or as a future of the event loop. The only difference
//! between a function and its `_async` twin.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt as _;
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use super::{
    event_loop, logging,
    progress::ProgressReporter,
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
    /// The coroutine function that calls gets a future to await in its event loop.
    Awaited,
}

/// Makes a function of the module and its awaited twin of a body that takes a client, the parameters, and how to wait.
/// With `options` behind them, both also take the parameters of every deletion of many, and the body gets these as
/// [`Options`](super::parameters::Options).
macro_rules! twins {
    ($body:path => $function:ident, $twin:ident $parameters:tt $($options:ident)?) => {
        $crate::python::wait::function!($function, $body, Wait::Blocking, $parameters $($options)?);
        $crate::python::wait::function!($twin, $body, Wait::Awaited, $parameters $($options)?);
    };
}
pub(super) use twins;

/// One of the twins.
macro_rules! function {
    ($function:ident, $body:path, $wait:expr, ($($parameter:ident: $kind:ty),* $(,)?)) => {
        #[pyfunction]
        pub fn $function<'py>(
            client: &Bound<'py, NativeClient>, $($parameter: $kind),*
        ) -> PyResult<Bound<'py, PyAny>> {
            $body(client, $($parameter,)* $wait)
        }
    };
    ($function:ident, $body:path, $wait:expr, ($($parameter:ident: $kind:ty),* $(,)?) options) => {
        #[pyfunction]
        #[allow(clippy::too_many_arguments)]
        pub fn $function<'py>(
            client: &Bound<'py, NativeClient>,
            $($parameter: $kind,)*
            on_failure: &str,
            progress: &Bound<'py, PyAny>,
            timeout: Option<f64>,
            backup: Option<BackupPath>,
            journal: Option<JournalPlace>,
            max_deletions: Option<i64>,
            look_first: bool,
        ) -> PyResult<Bound<'py, PyAny>> {
            let precautions = precautions(backup, journal, max_deletions, look_first)?;
            let options = Options { on_failure, progress, timeout, precautions };
            $body(client, $($parameter,)* options, $wait)
        }
    };
}
pub(super) use function;

/// How many tasks the runtime of this process has: for tests that look for leaked ones.
#[pyfunction]
pub fn live_tasks() -> usize {
    runtime().live_tasks()
}

impl Wait {
    /// Brings the `work` of a call to its end and gives its result: the value itself, or a future of it.
    ///
    /// What the work ends with makes the result, where Python objects may be made. Ctrl-C, a cancellation and an
    /// exception of the progress callback end the call, and are raised once the responses in flight are in.
    ///
    /// # Errors
    /// Those of the result, of a signal handler and of the callback; for [`Wait::Awaited`] they come out of the
    /// future, and a `RuntimeError` comes here when no event loop is running.
    pub fn complete<'py, Finish>(
        self,
        py: Python<'py>,
        call: Arc<Call>,
        reporter: Option<ProgressReporter>,
        work: impl Future<Output = Finish> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        match self {
            Self::Blocking => block(py, &call, reporter, Box::pin(work)),
            Self::Awaited => event_loop::future(py, call, reporter, Box::pin(work)),
        }
    }
}

fn block<'py, Finish>(
    py: Python<'py>,
    call: &Call,
    reporter: Option<ProgressReporter>,
    work: Work<Finish>,
) -> PyResult<Bound<'py, PyAny>>
where
    Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    if let Some(reporter) = &reporter {
        reporter.begin(py, call)?;
    }
    let log = logging::Flush::of_this_thread();
    let work: Work<PyResult<Finish>> = Box::pin(async move {
        let finish = caught(work).await;
        log.flush().await;
        finish
    });
    let generation = process::generation();
    let mut waited = py.detach(|| runtime().start_and_wait(work, SIGNAL_INTERVAL));
    let mut interrupted = None;
    let finish = loop {
        // It goes on by itself while signal handlers and the callback run here: they may take their time, and make
        // calls of their own that wait for their turn behind this one.
        let task = match waited {
            Waited::Done(Ok(finish)) => break finish,
            Waited::Done(Err(panicked)) => panic::resume_unwind(panicked.into_panic()),
            Waited::Running(task) => task,
        };
        if let Err(raised) = py.check_signals() {
            if interrupted.is_some() {
                // A second Ctrl-C does not wait for responses in flight.
                task.abort();
                return Err(raised);
            }
            call.end("interrupted");
            interrupted = Some(raised);
        }
        if let Some(reporter) = &reporter {
            reporter.report(py, call);
        }
        if process::generation() != generation {
            // It belongs to the parent, as the runtime does.
            std::mem::forget(task);
            let message = "the process was forked in a callback of this call: it goes on in the parent alone";
            return Err(PyRuntimeError::new_err(message));
        }
        waited = py.detach(|| task.wait(SIGNAL_INTERVAL));
    };
    let result = finish.and_then(|finish| finish(py));
    let raised = interrupted.or_else(|| reporter.and_then(|reporter| reporter.finish(py, call)));
    result_or(py, raised, result).map(|value| value.into_bound(py))
}

/// Brings work to its end, also where it panics: nobody would ever answer the call then.
///
/// # Errors
/// A `RuntimeError` with what it panicked with.
pub async fn caught<T>(work: impl Future<Output = T>) -> PyResult<T> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panicked| PyRuntimeError::new_err(bug(&*panicked)))
}

/// Like [`caught`], of what is done at once.
///
/// # Errors
/// A `RuntimeError` with what it panicked with.
pub fn caught_here<T>(work: impl FnOnce() -> T) -> PyResult<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panicked| PyRuntimeError::new_err(bug(&*panicked)))
}

fn bug(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panicked.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
    format!(
        "this is a bug in clarifai_annotations: {text}. Some of what the call named may be deleted: look it up with \
         plan_deletion()"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_by_its_text() {
        let panicked = panic::catch_unwind(|| panic!("seven is not {}", 8)).unwrap_err();
        assert!(bug(&*panicked).contains("a bug in clarifai_annotations: seven is not 8. Some of what"));
    }
}
