//! `restore_annotations`: a deletion taken back, from its backup.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use pyo3::prelude::*;

use super::{
    client::{PyClient, absolute, client_or_shared, raises, timeout_of},
    columns, errors,
    progress::{Watcher, Work},
    report::RestoreReport,
    wait::Wait,
};
use crate::client::{Call, Client};

/// Post the annotations of a backup back, byte for byte as they were saved.
///
/// Save for what the service sets itself: ``created_at`` and ``modified_at``. What is there already is
/// left alone; of an annotation that was saved more than once, the latest copy counts. A backup that
/// was cut off by a crash is read up to its last sync.
///
/// Args:
///     backup: Path of the file that ``backup=`` of a deletion wrote. Other programs may have rewritten
///         it, as long as it is Parquet and keeps the columns.
///     input_ids: Only annotations of these inputs: a column as in `delete_annotations`; ``None`` for all.
///     on_failure: ``"raise"`` raises when not everything is there again, after everything was
///         attempted; ``"report"`` returns the report.
///     progress: ``True`` for a bar, or a callable that takes a `Progress`.
///     timeout: Seconds for the whole call; ``None`` for no limit.
///     client: The client to use; ``None`` for the one that the functions share. Only annotations of
///         its user and app are restored.
///
/// Returns:
///     What became of every annotation.
///
/// Raises:
///     BackupError: The file cannot be read, is no backup, holds annotations of other apps only, or a row and its
///         annotation disagree. Nothing was sent.
///     IdError: An ID in ``input_ids`` is empty, blank or missing. Nothing was sent.
///     ConfigurationError: A setting is missing. Nothing was sent.
///     RestoreError: Not everything is there again; ``.report`` says what became of every annotation.
///     AuthenticationError: The credential was refused, and the run stopped; ``.report``.
///     NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
///     TransportError: The service cannot be reached, and the run stopped; ``.report``.
///     DeadlineError: ``timeout`` is over; ``.report``.
///
/// Example:
///     >>> restore_annotations("doubtful.parquet", input_ids=["photo-1"])
#[pyfunction]
#[pyo3(signature = (backup, *, input_ids=None, on_failure="raise", progress=None, timeout=None, client=None),
    text_signature = "(backup, *, input_ids=None, on_failure='raise', progress=False, timeout=None, client=None)")]
pub fn restore_annotations<'py>(
    py: Python<'py>,
    backup: PathBuf,
    input_ids: Option<&Bound<'py, PyAny>>,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(py, client)?;
    restore(py, &client, backup, Options { input_ids, on_failure, progress, timeout }, Wait::Blocking)
}

/// Post the annotations of a backup back; the awaitable twin of `restore_annotations`.
///
/// Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
/// come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
/// `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most.
///
/// Example:
///     >>> report = await restore_annotations_async("doubtful.parquet")
#[pyfunction]
#[pyo3(signature = (backup, *, input_ids=None, on_failure="raise", progress=None, timeout=None, client=None),
    text_signature = "(backup, *, input_ids=None, on_failure='raise', progress=False, timeout=None, client=None)")]
pub fn restore_annotations_async<'py>(
    py: Python<'py>,
    backup: PathBuf,
    input_ids: Option<&Bound<'py, PyAny>>,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(py, client)?;
    restore(py, &client, backup, Options { input_ids, on_failure, progress, timeout }, Wait::Awaited)
}

/// What a restoration takes beside its backup.
pub struct Options<'a, 'py> {
    pub input_ids: Option<&'a Bound<'py, PyAny>>,
    pub on_failure: &'a str,
    pub progress: Option<&'a Bound<'py, PyAny>>,
    pub timeout: Option<f64>,
}

pub fn restore<'py>(
    py: Python<'py>,
    client: &Client,
    backup: PathBuf,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let Options { input_ids, on_failure, progress, timeout } = options;
    let input_ids = input_ids.map(|ids| columns::column("input_ids", ids)).transpose()?;
    let input_ids: Option<HashSet<String>> =
        input_ids.map(|ids| (0..ids.len()).map(|index| ids.get(index).to_owned()).collect());
    let raises = raises(on_failure)?;
    let backup = absolute("backup", backup)?;
    let call = Arc::new(Call::unread(timeout_of(timeout)?));
    let watcher = progress.map(|it| Watcher::new(it, &call, Work::Restoring)).transpose()?.flatten();
    let (client, under_way) = (client.clone(), Arc::clone(&call));
    let work = async move {
        let restored = client.restore(&under_way, backup, input_ids).await;
        move |py: Python<'_>| {
            let (report, superseded) =
                restored.map_err(|error| errors::plain(py, &error, client.settings()))?;
            let report = RestoreReport::new(Arc::clone(under_way.targets()), report, superseded);
            let report = Bound::new(py, report)?;
            match RestoreReport::exception(&report, client.settings()) {
                Some(exception) if raises => Err(exception),
                _ => Ok(report.into_any().unbind()),
            }
        }
    };
    wait.on(py, call, watcher, work)
}
