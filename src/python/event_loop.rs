//! Event loops: the future that a coroutine function of the package awaits, and the way of its result into the loop.
//!
//! `TaskLocals` of pyo3-async-runtimes carry the caller's loop and `contextvars` context, and its
//! `into_future_with_locals` awaits the caller's coroutines (see [`progress`](super::progress)). Results go their own
//! way, for three reasons. `future_into_py` of that crate wakes the loop once a result, about 60 µs each; here one
//! wake-up serves all results that have arrived. It drops the work of a cancelled future, and with it the outcome;
//! here a cancelled call first waits for responses in flight. And a result of it is lost when a signal handler raises
//! while the loop takes it; here the loop is woken again until the task has run.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyStopIteration},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::PyWeakrefReference,
};
use pyo3_async_runtimes::TaskLocals;
use tokio::time;

use super::{
    exit, logging,
    progress::ProgressReporter,
    runtime::{Work, runtime},
    wait::{caught, caught_here, result_or},
};
use crate::client::Call;

/// How long a loop may take to run the tasks that were woken before it is woken again.
const REWAKE_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is woken again: a loop that does not run for so long may never do so.
const MOST_REWAKES: usize = 100;

/// Starts a call, and gives a future of the running event loop that gets its result.
///
/// # Errors
/// A `RuntimeError` when no event loop runs in this thread.
pub fn future<'py, Finish>(
    py: Python<'py>,
    call: Arc<Call>,
    reporter: Option<ProgressReporter>,
    work: Work<Finish>,
) -> PyResult<Bound<'py, PyAny>>
where
    Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    let event_loop = pyo3_async_runtimes::get_running_loop(py)?;
    let completions = CompletionQueue::of_loop(&event_loop)?;
    let future = Py::new(py, CallFuture::new(Arc::clone(&call), event_loop.clone().unbind()))?;
    let completed = future.clone_ref(py);
    let locals = reporter.as_ref().map(|_| TaskLocals::new(event_loop).copy_context(py)).transpose()?;
    let reporter = reporter.map(Arc::new).zip(locals);
    let log = logging::Flush::of_this_thread();
    runtime().spawn(async move {
        let work = caught(work);
        let (finish, raised) = match &reporter {
            None => (work.await, None),
            // Boxed: most calls have none, and need not carry what it takes.
            Some((reporter, locals)) => Box::pin(reporter.report_while(locals, &call, work)).await,
        };
        log.flush().await;
        let finish = move |py: Python<'_>| result_or(py, raised, finish.and_then(|finish| finish(py)));
        completions.push(Completion { future: completed, finish: Box::new(finish) });
    });
    Ok(future.into_bound(py).into_any())
}

/// The result of a call under way, for the task that awaits it. asyncio takes it for a future of its own, because it
/// has the [attributes](https://docs.python.org/3/library/asyncio-future.html#asyncio.isfuture) of one.
///
/// It is cancelled in two steps: nothing more is sent at once, and `CancelledError` comes when the responses in flight
/// are in, or the grace is over.
#[pyclass(frozen)]
pub struct CallFuture {
    call: Arc<Call>,
    state: Mutex<FutureState>,
}

struct FutureState {
    /// `None` once the result is taken.
    event_loop: Option<Py<PyAny>>,
    result: Option<PyResult<Py<PyAny>>>,
    /// The message of the cancellation, if it was cancelled.
    cancelled: Option<Option<Py<PyAny>>>,
    /// What wakes the task that waits, and the context to do it in.
    waiter: Option<(Py<PyAny>, Py<PyAny>)>,
    is_blocking: bool,
}

impl CallFuture {
    fn new(call: Arc<Call>, event_loop: Py<PyAny>) -> Self {
        let state = FutureState {
            event_loop: Some(event_loop),
            result: None,
            cancelled: None,
            waiter: None,
            is_blocking: false,
        };
        Self { call, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, FutureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the result. The task does not run before [`wake`](Self::wake).
    fn set_result(&self, py: Python<'_>, result: PyResult<Py<PyAny>>) {
        let message = |message: &Option<Py<PyAny>>| message.as_ref().map(|message| message.clone_ref(py));
        let cancelled = self.state().cancelled.as_ref().map(message);
        // Made without the lock: it may import a module.
        let error = cancelled.map(|message| cancelled_error(py, message));
        let mut state = self.state();
        if error.is_none() && state.cancelled.is_some() {
            // It was cancelled just now, and the task was told that it is.
            drop(state);
            return self.set_result(py, result);
        }
        state.result = Some(error.map_or(result, Err));
    }

    /// Runs the task that waits, up to its next `await`. Called in its loop.
    fn wake(this: &Bound<'_, Self>) -> PyResult<()> {
        let waiter = this.get().state().waiter.take();
        let Some((wake, context)) = waiter else { return Ok(()) };
        context.call_method1(this.py(), intern!(this.py(), "run"), (wake, this))?;
        Ok(())
    }
}

#[pymethods]
impl CallFuture {
    /// Whether the task is about to wait for it: how asyncio tells a future from anything else that is yielded.
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.state().is_blocking
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, is_blocking: bool) {
        self.state().is_blocking = is_blocking;
    }

    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(this: &Bound<'_, Self>) -> PyResult<Option<Py<Self>>> {
        let py = this.py();
        if !this.get().done() {
            this.get().set_blocking(true);
            return Ok(Some(this.clone().unbind()));
        }
        let result = this.get().result(py)?;
        // An iterator that just ends gives `None`; an exception that says so costs a microsecond.
        if result.is_none(py) { Ok(None) } else { Err(PyStopIteration::new_err((result,))) }
    }

    /// Ends the call: the coroutine that awaited it was closed, so nobody takes the result.
    fn close(&self) {
        self.call.end("closed");
    }

    fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().event_loop.as_ref().map(|event_loop| event_loop.clone_ref(py))
    }

    fn done(&self) -> bool {
        self.state().result.is_some()
    }

    fn cancelled(&self) -> bool {
        let state = self.state();
        state.result.is_some() && state.cancelled.is_some()
    }

    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut state = self.state();
        if state.result.is_some() {
            // The queue may have this for a moment longer, and must not keep a loop that is gone.
            state.event_loop = None;
        }
        match &state.result {
            Some(Ok(value)) => Ok(value.clone_ref(py)),
            Some(Err(error)) => Err(error.clone_ref(py)),
            None => Err(PyRuntimeError::new_err("the call has no result yet")),
        }
    }

    /// Ends the call. Tells whether it was still under way.
    #[pyo3(signature = (msg=None))]
    fn cancel(&self, msg: Option<Py<PyAny>>) -> bool {
        {
            let mut state = self.state();
            if state.result.is_some() {
                return false;
            }
            if state.cancelled.is_some() {
                return true;
            }
            state.cancelled = Some(msg);
        }
        self.call.end("cancelled");
        true
    }

    /// Takes what wakes the task that waits. The loop has it called after the result has come.
    #[pyo3(signature = (callback, *, context))]
    fn add_done_callback(&self, callback: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        let mut state = self.state();
        if state.waiter.is_some() {
            return Err(PyRuntimeError::new_err("another task awaits this call already"));
        }
        state.waiter = Some((callback, context));
        Ok(())
    }

    fn __repr__(&self) -> &'static str {
        if self.done() { "<CallFuture done>" } else { "<CallFuture pending>" }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Another thread may hold it for a moment: then nothing here is garbage.
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        visit.call(&state.event_loop)?;
        if let Some((wake, context)) = &state.waiter {
            visit.call(wake)?;
            visit.call(context)?;
        }
        if let Some(Ok(value)) = &state.result {
            visit.call(value)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let mut state = self.state();
        let cleared = (state.event_loop.take(), state.waiter.take(), state.result.take());
        drop(state);
        drop(cleared);
    }
}

fn cancelled_error(py: Python<'_>, message: Option<Py<PyAny>>) -> PyErr {
    static CANCELLED_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let error = CANCELLED_ERROR.import(py, "asyncio", "CancelledError").and_then(|class| match message {
        Some(message) => class.call1((message,)),
        None => class.call0(),
    });
    error.map_or_else(|failed| failed, PyErr::from_value)
}

/// The result of a call, and the future that gets it.
struct Completion {
    future: Py<CallFuture>,
    finish: Box<Finish>,
}

/// Makes the result of a call, where Python objects may be made.
type Finish = dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send;

/// Results on their way to an event loop, from any thread.
#[pyclass(frozen)]
#[derive(Default)]
pub struct CompletionQueue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    arrived: Vec<Completion>,
    /// Those that have their results, and whose tasks have not run since.
    completed: VecDeque<Py<CallFuture>>,
    /// Whether the loop is woken again until they have.
    is_watched: bool,
}

/// The end of a queue where results come in.
#[derive(Clone)]
struct Completions(Arc<Py<CompletionQueue>>);

impl CompletionQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of a loop, made at its first call. It goes with the loop.
    fn of_loop(event_loop: &Bound<'_, PyAny>) -> PyResult<Completions> {
        static QUEUES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        /// A weak reference to the loop of the last call, and its queue: most programs have one loop, and to find it in the
        /// dictionary costs a microsecond of the ten that an awaited deletion takes.
        static LATEST: Mutex<Option<(Py<PyWeakrefReference>, Py<CompletionQueue>)>> = Mutex::new(None);
        let py = event_loop.py();
        let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((weak, queue)) = &*latest
            && weak.bind(py).upgrade().is_some_and(|of_latest| of_latest.is(event_loop))
        {
            return Ok(Completions(Arc::new(queue.clone_ref(py))));
        }
        drop(latest);
        let make_queues = || py.import("weakref")?.getattr("WeakKeyDictionary")?.call0().map(Bound::unbind);
        let queues = QUEUES.get_or_try_init(py, make_queues)?.bind(py);
        let found = queues.call_method1(intern!(py, "get"), (event_loop,))?;
        let queue = if found.is_none() {
            let queue = Py::new(py, Self::default())?;
            queues.set_item(event_loop, &queue)?;
            queue
        } else {
            found.cast_into::<Self>()?.unbind()
        };
        let weak = PyWeakrefReference::new(event_loop)?.unbind();
        let latest = (weak, queue.clone_ref(py));
        let replaced = LATEST.lock().unwrap_or_else(PoisonError::into_inner).replace(latest);
        drop(replaced);
        Ok(Completions(Arc::new(queue)))
    }
}

#[pymethods]
impl CompletionQueue {
    /// Runs the tasks whose calls are done; for the event loop to call.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        // One by one: a task may run the loop in itself (nest_asyncio), or raise what a signal handler raised. The others
        // are here then, and the loop is woken again for them.
        loop {
            let Some(future) = self.lock().completed.pop_front() else { return Ok(()) };
            CallFuture::wake(future.bind(py))?;
        }
    }
}

impl Completions {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.0.get().lock()
    }

    fn push(&self, completion: Completion) {
        let mut state = self.lock();
        state.arrived.push(completion);
        let is_first = state.arrived.len() == 1;
        drop(state);
        if is_first {
            // On a thread of its own: whoever keeps the GIL must not keep the network waiting. And not in the loop, where
            // signal handlers run: what they raise would take the place of a result.
            let completions = self.clone();
            runtime().spawn_blocking(move || exit::attach(|py| completions.complete(py)));
        }
    }

    /// Gives the futures their results, and wakes the loop.
    fn complete(&self, py: Python<'_>) {
        let arrived = mem::take(&mut self.lock().arrived);
        let mut completed = Vec::with_capacity(arrived.len());
        for Completion { future, finish } in arrived {
            let result = caught_here(|| finish(py)).flatten();
            future.get().set_result(py, result);
            completed.push(future);
        }
        let mut state = self.lock();
        state.completed.extend(completed);
        let is_watched = mem::replace(&mut state.is_watched, true);
        drop(state);
        self.wake(py);
        if !is_watched {
            runtime().spawn(self.clone().watch());
        }
    }

    /// Wakes the loop again as long as there are tasks that have not run, whatever was raised in it meanwhile.
    async fn watch(self) {
        for _ in 0..MOST_REWAKES {
            time::sleep(REWAKE_INTERVAL).await;
            if !self.has_waiting() {
                return;
            }
            let completions = self.clone();
            runtime().spawn_blocking(move || exit::attach(|py| completions.wake(py)));
        }
        self.lock().is_watched = false;
    }

    /// Whether tasks have not run yet. If there are none, they are not watched any more.
    fn has_waiting(&self) -> bool {
        let mut state = self.lock();
        state.is_watched = !state.completed.is_empty();
        state.is_watched
    }

    fn wake(&self, py: Python<'_>) {
        let event_loop = self.lock().completed.iter().find_map(|future| future.get().get_loop(py));
        let Some(event_loop) = event_loop else { return };
        let drain = self.0.getattr(py, intern!(py, "drain"));
        let woken = drain
            .and_then(|drain| event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (drain,)));
        if woken.is_err() {
            // The loop is closed, and nobody is left who waits. The futures hold it, and their tasks.
            let completed = mem::take(&mut self.lock().completed);
            drop(completed);
        }
    }
}
