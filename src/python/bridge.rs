//! The bridge to event loops: results come back many at a time, with one wake-up of the loop for all that have
//! arrived; and a cancellation waits for the answers that are on their way.
//!
//! pyo3-async-runtimes would do for neither: its `future_into_py` wakes the loop once for each result, about 60 µs, and
//! drops the work when the future is cancelled, so that its outcome is lost. Nor does its runtime survive a fork.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use pyo3::{intern, prelude::*, sync::PyOnceLock};
use tokio::time;

use super::{
    exit,
    progress::{self, Watcher},
    runtime::{Work, runtime},
    wait::result_or,
};
use crate::{LOGGER, client::Call, process::PerProcess};

/// How many awaitables have no result yet, or never will, for their event loop ended first.
static OPEN: PerProcess<AtomicUsize> = PerProcess::new();

fn open() -> &'static AtomicUsize {
    OPEN.get_or_init(AtomicUsize::default)
}

/// Says at the end of the program that something was not awaited: nothing else does, where an `await` is forgotten.
pub fn tell_what_is_open() {
    let open = open().load(Ordering::Relaxed);
    if open > 0 {
        log::warn!(
            target: LOGGER,
            "the program ends, and {open} awaitable(s) of functions that end in _async have no result: what they \
             deleted is not known. Is an `await` forgotten?"
        );
    }
}

/// A future of the running event loop that gets the result of `work`.
///
/// # Errors
/// A `RuntimeError` when no event loop is running.
pub fn future<'py, Finish>(
    py: Python<'py>,
    call: Arc<Call>,
    watcher: Option<Watcher>,
    work: Work<Finish>,
) -> PyResult<Bound<'py, PyAny>>
where
    Finish: FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    static PENDING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let pending = PENDING.import(py, "clarifai_annotations._futures", "pending")?;
    let (future, inbox): (Bound<'py, PyAny>, Py<Inbox>) =
        pending.call1((End(Arc::clone(&call)),))?.extract()?;
    let settled = future.clone().unbind();
    let inbox =
        Arc::new(Address { inbox, event_loop: future.call_method0(intern!(py, "get_loop"))?.unbind() });
    let open = open();
    open.fetch_add(1, Ordering::Relaxed);
    runtime().spawn(async move {
        let watcher = watcher.map(Arc::new);
        let finish = match &watcher {
            None => work.await,
            Some(watcher) => watched(&inbox, &call, watcher, work).await,
        };
        inbox.put(move |py| {
            open.fetch_sub(1, Ordering::Relaxed);
            let result = finish(py);
            let raised = watcher.and_then(|watcher| watcher.finish(py, &call));
            let result = result_or(py, raised, result);
            // It fails only if the future was settled by someone else, and then there is nobody to tell.
            let _ = match result {
                Ok(value) => settled.call_method1(py, "settle", (value, py.None())),
                Err(error) => settled.call_method1(py, "settle", (py.None(), error)),
            };
        });
    });
    Ok(future)
}

/// A future of the running event loop that has its result already.
///
/// # Errors
/// A `RuntimeError` when no event loop is running.
pub fn done<'py>(py: Python<'py>, value: impl IntoPyObject<'py>) -> PyResult<Bound<'py, PyAny>> {
    py.import("clarifai_annotations._futures")?.getattr("done")?.call1((value,))
}

/// Brings work to its end while its watcher is told, in the event loop, how far it is.
async fn watched<T>(
    inbox: &Arc<Address>,
    call: &Arc<Call>,
    watcher: &Arc<Watcher>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    let is_told = Arc::new(AtomicBool::new(true));
    loop {
        if let Ok(done) = time::timeout(progress::INTERVAL, &mut work).await {
            return done;
        }
        // A loop that is busy is told once when it has time.
        if is_told.swap(false, Ordering::AcqRel) {
            let (watcher, call, is_told) = (Arc::clone(watcher), Arc::clone(call), Arc::clone(&is_told));
            inbox.put(move |py| {
                watcher.look(py, &call);
                is_told.store(true, Ordering::Release);
            });
        }
    }
}

/// Ends a call that is cancelled.
#[pyclass(frozen)]
struct End(Arc<Call>);

#[pymethods]
impl End {
    fn __call__(&self) {
        self.0.end("cancelled");
    }
}

type Letter = Box<dyn FnOnce(Python<'_>) + Send>;

/// What has arrived for an event loop, from any thread. It must not hold the loop, which holds it.
#[pyclass(frozen)]
#[derive(Default)]
pub struct Inbox(Mutex<Vec<Letter>>);

#[pymethods]
impl Inbox {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Hand over all that has arrived; for the event loop to call.
    fn deliver(&self, py: Python<'_>) {
        for letter in std::mem::take(&mut *self.letters()) {
            letter(py);
        }
    }
}

impl Inbox {
    fn letters(&self) -> MutexGuard<'_, Vec<Letter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An inbox, and the loop that looks into it.
struct Address {
    inbox: Py<Inbox>,
    event_loop: Py<PyAny>,
}

impl Address {
    fn put(self: &Arc<Self>, letter: impl FnOnce(Python<'_>) + Send + 'static) {
        let mut letters = self.inbox.get().letters();
        letters.push(Box::new(letter));
        let is_first = letters.len() == 1;
        drop(letters);
        if is_first {
            // On a thread of its own: whoever keeps the GIL must not keep the network waiting.
            let address = Arc::clone(self);
            runtime().spawn_blocking(move || exit::attach(|py| address.wake(py)));
        }
    }

    fn wake(&self, py: Python<'_>) {
        let deliver = self.inbox.getattr(py, intern!(py, "deliver"));
        let told = deliver.and_then(|deliver| {
            self.event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (deliver,))
        });
        if told.is_err() {
            // The loop is closed and nobody is left who waits. The letters hold futures, and these the loop.
            drop(std::mem::take(&mut *self.inbox.get().letters()));
        }
    }
}
