//! The deletions, each with its awaited twin: a body, and how the caller waits for it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    client::NativeClient,
    columns, errors,
    progress::{ProgressReporter, Work},
    report::DeleteReport,
    wait::Wait,
};
use crate::{
    client::{Call, Client, Precautions},
    config,
    ids::{IdError, Targets},
    journal::Place,
};

/// Makes a function of the module and its awaited twin of a body that takes a client, the parameters, and how to wait.
macro_rules! twins {
    ($body:path => $function:ident, $twin:ident ($($parameter:ident: $kind:ty),* $(,)?)) => {
        #[pyfunction]
        #[allow(clippy::too_many_arguments)]
        pub fn $function<'py>(
            client: &Bound<'py, NativeClient>, $($parameter: $kind),*
        ) -> PyResult<Bound<'py, PyAny>> {
            $body(client, $($parameter,)* Wait::Blocking)
        }

        #[pyfunction]
        #[allow(clippy::too_many_arguments)]
        pub fn $twin<'py>(
            client: &Bound<'py, NativeClient>, $($parameter: $kind),*
        ) -> PyResult<Bound<'py, PyAny>> {
            $body(client, $($parameter,)* Wait::Awaited)
        }
    };
}
pub(super) use twins;

twins!(delete_one => delete_annotation, delete_annotation_async (
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
));

twins!(delete_pairs => delete_annotations, delete_annotations_async (
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
));

twins!(delete_inputs => delete_input_annotations, delete_input_annotations_async (
    input_ids: &Bound<'py, PyAny>,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
));

fn delete_one<'py>(
    client: &Bound<'py, NativeClient>,
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let client = client.get().client().clone();
    let input = columns::single("input_id", input_id)?;
    let annotation = columns::single("annotation_id", annotation_id)?;
    let targets = Targets::pairs(input, annotation).map_err(|error| errors::id_error(py, &error))?;
    let call = Arc::new(new_call(&client, targets, timeout)?);
    let under_way = Arc::clone(&call);
    let work = async move {
        let deleted = client.delete_one(&under_way, missing_ok).await;
        move |py: Python<'_>| match deleted {
            Ok(()) => Ok(py.None()),
            Err(failure) => {
                let target = under_way.targets().get(0);
                let annotation_id = target.annotation_id.unwrap_or_default();
                Err(errors::failure(py, &failure, client.settings(), target.input_id, annotation_id))
            }
        }
    };
    wait.complete(py, call, None, work)
}

#[allow(clippy::too_many_arguments)]
fn delete_pairs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let precautions = precautions(backup, journal, max_deletions)?;
    let input_ids = columns::column("input_ids", input_ids)?;
    let annotation_ids = columns::column("annotation_ids", annotation_ids)?;
    let options = Options { missing_ok, on_failure, progress, timeout, precautions };
    delete_many(client.get().client(), Targets::pairs(input_ids, annotation_ids), options, wait)
}

#[allow(clippy::too_many_arguments)]
fn delete_inputs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let precautions = precautions(backup, journal, max_deletions)?;
    let targets = Targets::inputs(columns::column("input_ids", input_ids)?);
    let options = Options { missing_ok: false, on_failure, progress, timeout, precautions };
    delete_many(client.get().client(), targets, options, wait)
}

/// What a call for many takes beside its IDs.
pub struct Options<'a, 'py> {
    pub missing_ok: bool,
    pub on_failure: &'a str,
    pub progress: &'a Bound<'py, PyAny>,
    pub timeout: Option<f64>,
    pub precautions: Precautions,
}

/// Deletes what a call for many names.
pub fn delete_many<'py>(
    client: &Client,
    targets: Result<Targets, IdError>,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let Options { missing_ok, on_failure, progress, timeout, precautions } = options;
    let py = progress.py();
    let targets = targets.map_err(|error| errors::id_error(py, &error))?;
    let raises = raises(on_failure)?;
    let call = Arc::new(new_call(client, targets, timeout)?.with(precautions));
    let reporter = ProgressReporter::new(progress, Work::Deleting)?;
    let (client, under_way) = (client.clone(), Arc::clone(&call));
    let work = async move {
        let report = client.delete(&under_way).await;
        move |py: Python<'_>| {
            let report = report.map_err(|error| errors::plain(py, &error, client.settings()))?;
            let report = DeleteReport::new(Arc::clone(under_way.targets()), report, missing_ok);
            let report = Bound::new(py, report)?;
            match DeleteReport::exception(&report, client.settings()) {
                Some(exception) if raises => Err(exception),
                _ => Ok(report.into_any().unbind()),
            }
        }
    };
    wait.complete(py, call, reporter, work)
}

/// A call of this client, that names these.
pub fn new_call(client: &Client, targets: impl Into<Arc<Targets>>, timeout: Option<f64>) -> PyResult<Call> {
    let call = Call::new(targets, timeout_of(timeout)?);
    Ok(call.with_cancel_grace(client.settings().limits.cancel_grace))
}

/// The parameter `journal`: a path, or one and which of the calls that share it. The command line adds how many IDs its
/// run names in all, and folds the logs of all calls at its end.
#[derive(FromPyObject)]
pub enum JournalPlace {
    Path(PathBuf),
    Part(PathBuf, u32),
    PartOfRun(PathBuf, u32, u64),
}

/// The parameter `backup`: a path, or one and whether the call completes the file: the command line makes many calls with
/// one backup, and has it completed after the last.
#[derive(FromPyObject)]
pub enum BackupPath {
    Path(PathBuf),
    OfSeveral(PathBuf, bool),
}

/// A path as it is now, whatever folder the program changes to.
///
/// # Errors
/// A `ValueError` when it is empty.
pub fn absolute(parameter: &str, path: PathBuf) -> PyResult<PathBuf> {
    let refused = |error| PyValueError::new_err(format!("{parameter} is no path: {error}. Nothing was sent"));
    std::path::absolute(path).map_err(refused)
}

/// The parameters `backup`, `journal` and `max_deletions`.
pub fn precautions(
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
) -> PyResult<Precautions> {
    let journal = journal.map(|place| {
        let (path, part, run_requested) = match place {
            JournalPlace::Path(path) => (path, 0, None),
            JournalPlace::Part(path, part) => (path, part, None),
            JournalPlace::PartOfRun(path, part, requested) => (path, part, Some(requested)),
        };
        // The program may change its folder while the call waits. What has no absolute form is refused when it is opened.
        let path = std::path::absolute(&path).unwrap_or(path);
        Place { path, part, run_requested }
    });
    let max_deletions = max_deletions.map(|most| {
        let text =
            format!("max_deletions is {most}: give a number of annotations from 0, or None for no limit");
        usize::try_from(most).map_err(|_| PyValueError::new_err(format!("{text}. Nothing was sent")))
    });
    let (backup, is_completed) = match backup {
        None => (None, true),
        Some(BackupPath::Path(path)) => (Some(absolute("backup", path)?), true),
        Some(BackupPath::OfSeveral(path, is_completed)) => (Some(absolute("backup", path)?), is_completed),
    };
    Ok(Precautions {
        backup,
        is_backup_folded_later: !is_completed,
        journal,
        max_deletions: max_deletions.transpose()?,
    })
}

/// The parameter `on_failure`: whether to raise.
pub fn raises(on_failure: &str) -> PyResult<bool> {
    match on_failure {
        "raise" => Ok(true),
        "report" => Ok(false),
        other => {
            let text = format!("on_failure is {other:?}: give \"raise\" or \"report\". Nothing was sent");
            Err(PyValueError::new_err(text))
        }
    }
}

pub fn timeout_of(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        None => Ok(None),
        Some(f64::INFINITY) => Ok(None),
        Some(seconds) => config::seconds("timeout", seconds)
            .map(Some)
            .map_err(|error| PyValueError::new_err(format!("{error}. Nothing was sent"))),
    }
}
