//! The Python module `clarifai_annotations._native`. The only folder that knows Python; it holds no logic of
//! deletion, only the way from Python objects to the core and back.
//!
//! | file | its one job |
//! |---|---|
//! | `client` | the public functions and `Client` |
//! | `columns` | Python objects → ID columns |
//! | `wait` | how a call waits: blocking or awaited |
//! | `emulator` | `Emulator` |
//! | `report`, `table` | `DeleteReport` and its failures; the same as a table |
//! | `errors` | the core's errors → Python exceptions |

mod client;
mod columns;
mod emulator;
mod errors;
mod report;
mod table;
mod wait;

use pyo3::{prelude::*, types::PyBytes};

/// The native half of clarifai_annotations.
#[pymodule(gil_used = false)]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::client::{
        PyClient, delete_annotation, delete_annotation_async, delete_annotations, delete_annotations_async,
        delete_input_annotations, delete_input_annotations_async,
    };
    #[pymodule_export]
    use super::emulator::{Fault, PyEmulator, RecordedRequest, StoredAnnotation, annotation_from_json};
    #[pymodule_export]
    use super::report::{DeleteReport, Failure, Failures};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        wait::prepare();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("FILE_DESCRIPTOR_SET", PyBytes::new(module.py(), crate::wire::FILE_DESCRIPTOR_SET))
    }
}
