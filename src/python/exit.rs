//! The end of the interpreter. CPython (up to 3.13) ends a thread that asks for the GIL while it is finalized, in the
//! middle of whatever Rust code that is in, and so aborts the process. So threads of ours use Python through a gate
//! that is closed before that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tokio::task;

use super::logging;
use crate::process::PerProcess;

static GATE: PerProcess<Gate> = PerProcess::new();

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Threads that use Python, or wait for the GIL.
    inside: usize,
}

impl Gate {
    fn here() -> &'static Self {
        GATE.get_or_init(Self::default)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread inside the gate.
pub struct Inside;

impl Inside {
    /// Lets this thread in, unless the gate is closed.
    pub fn enter() -> Option<Self> {
        let mut state = Gate::here().state();
        if state.closed {
            return None;
        }
        state.inside += 1;
        Some(Self)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        Gate::here().state().inside -= 1;
        Gate::here().left.notify_all();
    }
}

/// Uses Python from a thread of ours, if there still is one.
pub fn attach(work: impl FnOnce(Python<'_>)) {
    // Once the gate is closed two kinds of work come here: what an exit handler of the caller's still waits for, which
    // keeps the interpreter from being finalized, and what nobody waits for, which may find it gone.
    let _inside = Inside::enter();
    let _ = Python::try_attach(work);
}

/// Uses Python from a task, on a thread that may wait for the GIL. `None` where there is no interpreter any more.
///
/// # Errors
/// Those of the work.
pub async fn attach_from_task<T: Send + 'static>(
    work: impl FnOnce(Python<'_>) -> PyResult<T> + Send + 'static,
) -> PyResult<Option<T>> {
    let attached = task::spawn_blocking(move || {
        let mut result = None;
        attach(|py| result = Some(work(py)));
        result
    });
    attached.await.ok().flatten().transpose()
}

/// Lets nobody in any more, and waits until all are out.
#[pyfunction]
pub fn at_exit(py: Python<'_>) {
    py.detach(|| {
        logging::flush_at_exit();
        let mut state = Gate::here().state();
        state.closed = true;
        let nobody = Gate::here().left.wait_while(state, |state| state.inside > 0);
        drop(nobody.unwrap_or_else(PoisonError::into_inner));
    });
}
