//! Progress reports: what a caller is told while a call for many is under way, and when.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt as _,
    future::{Fuse, FusedFuture as _},
};
use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBool, PyDict},
};
use pyo3_async_runtimes::{TaskLocals, into_future_with_locals};
use tokio::{sync::oneshot, time};

use super::exit;
use crate::client::{self, Call};

/// The time between two reports. Eight in a second, and the first and the last come on top.
const INTERVAL: Duration = Duration::from_millis(125);

const ENDED_BY_CALLBACK: &str = "stopped by its progress callback";

/// Tells a callback of the caller how far a call is: in the caller's own thread or in its event loop, and in its
/// `contextvars` context.
pub struct ProgressReporter {
    callback: Py<PyAny>,
    work: Work,
    /// When the last report was.
    reported: Mutex<Instant>,
    /// What the callback raised: it is not called again.
    raised: Mutex<Option<PyErr>>,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Deleting,
    LookingUp,
    Restoring,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Deleting => "deleting",
            Self::LookingUp => "looking up",
            Self::Restoring => "restoring",
        }
    }
}

impl ProgressReporter {
    /// Reads the parameter `progress`. `None` where nobody wants to be told.
    ///
    /// # Errors
    /// A `TypeError` where it is neither a bool nor a callable.
    pub fn new(progress: &Bound<'_, PyAny>, work: Work) -> PyResult<Option<Self>> {
        let py = progress.py();
        let callback = match progress.cast::<PyBool>() {
            Ok(wanted) if wanted.is_true() => {
                py.import("clarifai_annotations.progress")?.call_method1("bar_or_none", (work.name(),))?
            }
            Ok(_) => return Ok(None),
            Err(_) => progress.clone(),
        };
        if callback.is_none() {
            return Ok(None);
        }
        if !callback.is_callable() {
            let message = format!(
                "progress is {}: give True for a bar, or a callable that takes a Progress. Nothing was sent",
                callback.repr()?
            );
            return Err(PyTypeError::new_err(message));
        }
        Ok(Some(Self {
            callback: callback.unbind(),
            work,
            reported: Mutex::new(Instant::now()),
            raised: Mutex::new(None),
        }))
    }

    /// Reports in this thread that a call is about to begin.
    ///
    /// # Errors
    /// What the callback raises; a `TypeError` where it has to be awaited.
    pub fn begin(&self, py: Python<'_>, call: &Call) -> PyResult<()> {
        self.call_back(py, call, false)
    }

    /// Reports in this thread, if it is time. What the callback raises ends the call.
    pub fn report(&self, py: Python<'_>, call: &Call) {
        let is_time = {
            let mut reported = lock(&self.reported);
            let is_time = reported.elapsed() >= INTERVAL;
            if is_time {
                *reported = Instant::now();
            }
            is_time
        };
        if is_time
            && lock(&self.raised).is_none()
            && let Err(raised) = self.call_back(py, call, false)
        {
            call.end(ENDED_BY_CALLBACK);
            *lock(&self.raised) = Some(raised);
        }
    }

    /// Reports in this thread that the call has ended. Gives what the callback raised, now or before.
    pub fn finish(&self, py: Python<'_>, call: &Call) -> Option<PyErr> {
        let raised = lock(&self.raised).take();
        raised.or_else(|| self.call_back(py, call, true).err())
    }

    fn call_back(&self, py: Python<'_>, call: &Call, finished: bool) -> PyResult<()> {
        let answer = self.callback.bind(py).call1((Progress::new(call.progress(), self.work, finished),))?;
        if !answer.hasattr(intern!(py, "__await__"))? {
            return Ok(());
        }
        // A coroutine that is not closed warns that it was never awaited.
        if let Some(close) = answer.getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        Err(PyTypeError::new_err(
            "progress is a coroutine function, which this call cannot await: give a plain function, or await the \
             function of the same name that ends in _async",
        ))
    }

    /// Brings the work of a call to its end while the event loop of the caller is told how far it is. Gives what the
    /// callback raised, too. Work begins after the first report, and not at all when that raises.
    pub async fn report_while<T>(
        self: &Arc<Self>,
        locals: &TaskLocals,
        call: &Call,
        work: impl Future<Output = T>,
    ) -> (T, Option<PyErr>) {
        // A callback that lasts longer than the grace of a call that was cancelled is not awaited, nor called again.
        let first = call.within_time(self.report_in_loop(locals, call, false)).await;
        let is_over = first.is_none();
        let mut raised = first.and_then(Result::err);
        if raised.is_some() {
            call.end(ENDED_BY_CALLBACK);
        }
        let mut work = pin!(work);
        let mut report = pin!(Fuse::terminated());
        let mut ticks = time::interval_at(time::Instant::now() + INTERVAL, INTERVAL);
        // A loop that is busy is told once when it has time.
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                reported = &mut report => {
                    if let Err(error) = reported {
                        call.end(ENDED_BY_CALLBACK);
                        raised = Some(error);
                    }
                }
                _ = ticks.tick(), if report.is_terminated() && !is_over && raised.is_none() => {
                    report.set(self.report_in_loop(locals, call, false).fuse());
                }
            }
        };
        let last = async {
            if !report.is_terminated() {
                report.await?;
            }
            self.report_in_loop(locals, call, true).await
        };
        if raised.is_none() && !is_over {
            raised = call.within_time(last).await.and_then(Result::err);
        }
        (done, raised)
    }

    /// Calls the callback in the event loop of the caller and in its context, and awaits it where it is a coroutine
    /// function. Does nothing where the loop is closed.
    async fn report_in_loop(
        self: &Arc<Self>,
        locals: &TaskLocals,
        call: &Call,
        finished: bool,
    ) -> PyResult<()> {
        let (sender, answer) = oneshot::channel();
        let report = Report {
            reporter: Arc::clone(self),
            state: Mutex::new(Some((Progress::new(call.progress(), self.work, finished), sender))),
        };
        let of_caller = locals.clone();
        let schedule = move |py: Python<'_>| {
            let keywords = PyDict::new(py);
            keywords.set_item(intern!(py, "context"), of_caller.context(py))?;
            let event_loop = of_caller.event_loop(py);
            // It fails where the loop is closed; then the answer does not come.
            let _ = event_loop.call_method(intern!(py, "call_soon_threadsafe"), (report,), Some(&keywords));
            Ok(())
        };
        exit::attach_from_task(schedule).await?;
        let Ok(answer) = answer.await else { return Ok(()) };
        let Some(awaitable) = answer? else { return Ok(()) };
        let of_caller = locals.clone();
        let awaited =
            exit::attach_from_task(move |py| into_future_with_locals(&of_caller, awaitable.into_bound(py)));
        match awaited.await? {
            Some(awaited) => awaited.await.map(drop),
            None => Ok(()),
        }
    }
}

/// What a report is answered with: what is to be awaited, if the callback is a coroutine function.
type Answer = PyResult<Option<Py<PyAny>>>;

/// A report to a callback; for the event loop to call.
#[pyclass(frozen)]
struct Report {
    reporter: Arc<ProgressReporter>,
    state: Mutex<Option<(Progress, oneshot::Sender<Answer>)>>,
}

#[pymethods]
impl Report {
    fn __call__(&self, py: Python<'_>) {
        let Some((progress, sender)) = lock(&self.state).take() else { return };
        let answer = self
            .reporter
            .callback
            .bind(py)
            .call1((progress,))
            .and_then(|answer| Ok(answer.hasattr(intern!(py, "__await__"))?.then(|| answer.unbind())));
        // Nobody waits for it any more where the call has ended.
        let _ = sender.send(answer);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a call for many is.
///
/// ``deleted``, ``absent``, ``restored``, ``present``, ``failed``, ``unknown`` and ``unsent`` add up to
/// ``requested``. What was turned away and is tried again may count as failed or unsent for a while; a
/// plan sends nothing that deletes, so that all stays unsent while ``done`` grows.
#[pyclass(module = "clarifai_annotations", frozen, get_all)]
pub struct Progress {
    /// Different IDs that the call named: pairs, or inputs.
    requested: usize,
    /// IDs with an outcome: deleted, absent, restored, present or failed; of a plan those looked up.
    done: usize,
    /// Deleted so far.
    deleted: usize,
    /// Not there.
    absent: usize,
    /// Posted back so far, by a restoration.
    restored: usize,
    /// There already, and left alone by a restoration.
    present: usize,
    /// Refused so far.
    failed: usize,
    /// Under way, or without a clear answer yet.
    unknown: usize,
    /// Not sent yet.
    unsent: usize,
    /// Requests so far.
    requests: u64,
    /// Of these, the ones that repeat something that failed.
    retries: u64,
    /// Of these, the ones that the service answered with "too many requests".
    throttled: u64,
    /// Seconds since the call began.
    elapsed: f64,
    /// IDs done in a second, on average.
    rate: f64,
    /// Seconds that the rest will take at this rate; ``None`` before anything is done.
    time_left: Option<f64>,
    /// Whether the call has ended: then this is the last.
    finished: bool,
}

impl Progress {
    fn new(progress: client::Progress, work: Work, finished: bool) -> Self {
        let client::Progress { requested, deleted, absent, failed, unknown, unsent, looked_up, .. } =
            progress;
        let client::Progress { requests, elapsed, .. } = progress;
        let done = deleted + absent + failed + looked_up;
        let (deleted, absent, restored, present) = match work {
            Work::Restoring => (0, 0, deleted, absent),
            Work::Deleting | Work::LookingUp => (deleted, absent, 0, 0),
        };
        let elapsed = elapsed.as_secs_f64();
        let rate = if elapsed > 0.0 { done as f64 / elapsed } else { 0.0 };
        let time_left = (rate > 0.0).then(|| (requested - done) as f64 / rate);
        Self {
            requested,
            done,
            deleted,
            absent,
            restored,
            present,
            failed,
            unknown,
            unsent,
            requests: requests.sent,
            retries: requests.retries,
            throttled: requests.throttled,
            elapsed,
            rate,
            time_left,
            finished,
        }
    }
}

#[pymethods]
impl Progress {
    fn __repr__(&self) -> String {
        let Self { requested, done, rate, throttled, elapsed, .. } = self;
        format!(
            "Progress(done={done}, requested={requested}, rate={rate:.0}, throttled={throttled}, \
             elapsed={elapsed:.1})"
        )
    }
}
