//! How a Python call waits for the core: in place with the GIL released, or as an awaitable.
//! The only difference between a function and its `_async` twin.

use std::time::Duration;

use pyo3::{IntoPyObjectExt as _, prelude::*};

/// How often a blocked call looks whether Ctrl-C was pressed.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// How a call waits.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// The calling thread blocks. It needs no event loop, and a running one does not mind.
    Blocking,
    /// The running event loop gets a future; cancelling it drops the work.
    Awaited,
}

/// Says how the runtime is to be made. It is made at the first call: an import starts no thread.
pub fn prepare() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).thread_name("clarifai-annotations").enable_all();
    pyo3_async_runtimes::tokio::init(runtime);
}

impl Wait {
    /// Brings `work` to its end and gives its result: the value itself, or an awaitable of it.
    ///
    /// # Errors
    /// Those of `work`; for [`Wait::Awaited`] they come out of the awaitable, and a `RuntimeError` comes here
    /// when no event loop is running.
    pub fn on<'py, T>(
        self,
        py: Python<'py>,
        work: impl Future<Output = PyResult<T>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'any> IntoPyObject<'any> + Send + 'static,
    {
        match self {
            Self::Blocking => block(py, work)?.into_bound_py_any(py),
            Self::Awaited => pyo3_async_runtimes::tokio::future_into_py(py, work),
        }
    }
}

fn block<T: Send>(py: Python<'_>, work: impl Future<Output = PyResult<T>> + Send) -> PyResult<T> {
    let until_interrupted = async {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(SIGNAL_INTERVAL) => Python::attach(|py| py.check_signals())?,
            }
        }
    };
    py.detach(|| pyo3_async_runtimes::tokio::get_runtime().block_on(until_interrupted))
}
