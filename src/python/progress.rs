//! Progress: what a caller is told while a call for many is under way, and when.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyBool};

use crate::client::{self, Call};

/// The time between two looks. Eight in a second, and the first and the last come on top.
pub const INTERVAL: Duration = Duration::from_millis(125);

/// Whoever wants to know how far a call is. It is told on the caller's own thread or in its event loop, never on
/// another one.
pub struct Watcher {
    callback: Py<PyAny>,
    work: Work,
    state: Mutex<State>,
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

struct State {
    told: Instant,
    /// What the callback raised: it is not called again.
    raised: Option<PyErr>,
}

impl Watcher {
    /// Reads the parameter `progress`, and tells the watcher that the call is about to begin.
    ///
    /// # Errors
    /// A `TypeError` where it is neither a bool nor a callable; and what the callback raises.
    pub fn new(progress: &Bound<'_, PyAny>, call: &Call, work: Work) -> PyResult<Option<Self>> {
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
        let state = Mutex::new(State { told: Instant::now(), raised: None });
        let watcher = Self { callback: callback.unbind(), work, state };
        watcher.tell(py, call, false)?;
        Ok(Some(watcher))
    }

    /// Tells how far the call is, if it is time. What the callback raises ends the call.
    pub fn look(&self, py: Python<'_>, call: &Call) {
        let is_time = self.with_state(|state| {
            let is_time = state.raised.is_none() && state.told.elapsed() >= INTERVAL;
            if is_time {
                state.told = Instant::now();
            }
            is_time
        });
        if is_time && let Err(raised) = self.tell(py, call, false) {
            call.end("stopped by its progress callback");
            self.with_state(|state| state.raised = Some(raised));
        }
    }

    /// Tells that the call has ended. Gives what the callback raised, now or before.
    pub fn finish(&self, py: Python<'_>, call: &Call) -> Option<PyErr> {
        let raised = self.with_state(|state| state.raised.take());
        raised.or_else(|| self.tell(py, call, true).err())
    }

    fn tell(&self, py: Python<'_>, call: &Call, finished: bool) -> PyResult<()> {
        let answer = self.callback.bind(py).call1((Progress::new(call.progress(), self.work, finished),))?;
        if answer.hasattr("__await__")? {
            let message = "the progress callback is a coroutine function: give a plain one";
            return Err(PyTypeError::new_err(message));
        }
        Ok(())
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
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
