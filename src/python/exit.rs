//! The end of the interpreter. CPython (up to 3.13) ends a thread that asks for the GIL while it is finalized, in the
//! middle of whatever Rust code that is in, and so aborts the process. So threads of ours use Python through a gate
//! that is closed before that.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use log::{Log, Metadata, Record};
use pyo3::prelude::*;

static GATE: Gate = Gate { state: Mutex::new(State { closed: false, inside: 0 }), left: Condvar::new() };

struct Gate {
    state: Mutex<State>,
    left: Condvar,
}

struct State {
    closed: bool,
    /// Threads that use Python, or wait for the GIL.
    inside: usize,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread inside the gate.
struct Inside;

impl Inside {
    fn enter() -> Option<Self> {
        let mut state = GATE.state();
        if state.closed {
            return None;
        }
        state.inside += 1;
        Some(Self)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        GATE.state().inside -= 1;
        GATE.left.notify_all();
    }
}

/// Uses Python from a thread of ours.
pub fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    // Once the gate is closed only what an exit handler of the caller's still waits for comes here: it keeps the
    // interpreter from being finalized.
    let _inside = Inside::enter();
    Python::attach(work)
}

/// Lets nobody in any more, and waits until all are out.
#[pyfunction]
pub fn at_exit(py: Python<'_>) {
    py.detach(|| {
        let mut state = GATE.state();
        state.closed = true;
        let nobody = GATE.left.wait_while(state, |state| state.inside > 0);
        drop(nobody.unwrap_or_else(PoisonError::into_inner));
    });
}

/// A logger that falls silent with the interpreter.
pub struct UntilExit<L>(pub L);

impl<L: Log> Log for UntilExit<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Inside::enter().is_some_and(|_inside| self.0.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(_inside) = Inside::enter() {
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}
