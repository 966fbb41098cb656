//! The Python module `clarifai_annotations._native`. The only folder that knows Python; it holds no logic of
//! deletion, only the way from Python objects to the core and back.
//!
//! | file | its one job |
//! |---|---|
//! | `client` | the settings of a client, and the core that works by them |
//! | `delete`, `plan`, `restore` | the functions of these names, and their awaited twins |
//! | `journal` | journals, as the command line looks at them |
//! | `parquet` | rows out of Parquet files |
//! | `columns` | Python objects → ID columns |
//! | `parameters` | what several functions take beside IDs |
//! | `wait` | how a call waits: blocking or awaited; panics |
//! | `runtime` | the tokio runtime, and which thread drives it |
//! | `event_loop` | results on their way to event loops |
//! | `progress` | how far a call is, and who is told |
//! | `emulator` | `Emulator` |
//! | `report` | `DeleteReport`, `RestoreReport` and their failures |
//! | `table`, `sequence` | rows as a table; what a sequence of them does with an index |
//! | `exit` | the end of the interpreter |
//! | `logging` | log records → Python's `logging` |
//! | `errors` | the core's errors → Python exceptions |

mod backup;
mod client;
mod columns;
mod delete;
mod emulator;
mod errors;
mod event_loop;
mod exit;
mod fold;
mod journal;
mod logging;
mod parameters;
mod parquet;
mod plan;
mod progress;
mod report;
mod restore;
mod runtime;
mod sequence;
mod table;
mod wait;

use pyo3::{
    prelude::*,
    types::{IntoPyDict as _, PyBytes},
};

use crate::process;

/// The native half of clarifai_annotations.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::backup::{PyBackup, open_backup};
    #[pymodule_export]
    use super::client::{NativeClient, shared_client};
    #[pymodule_export]
    use super::delete::{
        delete_annotation, delete_annotation_async, delete_annotations, delete_annotations_async,
        delete_input_annotations, delete_input_annotations_async,
    };
    #[pymodule_export]
    use super::emulator::{Fault, PyEmulator, RecordedRequest, StoredAnnotation, annotation_from_json};
    #[pymodule_export]
    use super::fold::{fold_backup, fold_journal};
    #[pymodule_export]
    use super::journal::journal_status;
    #[pymodule_export]
    use super::parquet::{ParquetRows, parquet_rows};
    #[pymodule_export]
    use super::plan::{
        NativePlan, PlannedAnnotation, PlannedAnnotations, execute_plan, execute_plan_async, plan_deletion,
        plan_deletion_async, plan_input_deletion, plan_input_deletion_async,
    };
    #[pymodule_export]
    use super::progress::Progress;
    #[pymodule_export]
    use super::report::{DeleteReport, Failure, Failures, RestoreReport};
    #[pymodule_export]
    use super::restore::{restore_annotations, restore_annotations_async};
    #[pymodule_export]
    use super::wait::live_tasks;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let child = [("after_in_child", wrap_pyfunction!(forked, module)?)].into_py_dict(module.py())?;
        // Windows has no fork, and no such function.
        if let Some(register) = module.py().import("os")?.getattr_opt("register_at_fork")? {
            register.call((), Some(&child))?;
        }
        let at_exit = wrap_pyfunction!(exit::at_exit, module)?;
        module.py().import("atexit")?.call_method1("register", (at_exit,))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("FILE_DESCRIPTOR_SET", PyBytes::new(module.py(), crate::wire::FILE_DESCRIPTOR_SET))
    }
}

/// Python calls this in every process that was forked.
#[pyfunction]
fn forked() {
    process::forked();
}
