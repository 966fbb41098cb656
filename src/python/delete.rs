//! The deletions, each with its awaited twin: a body, and how the caller waits for it.

use std::sync::Arc;

use pyo3::prelude::*;

use super::{
    client::NativeClient,
    columns, errors,
    parameters::{BackupPath, JournalPlace, Options, new_call, precautions, raises},
    progress::{ProgressReporter, Work},
    report::DeleteReport,
    wait::{Wait, twins},
};
use crate::{
    client::{Client, Precautions},
    ids::{IdError, Targets},
};

twins!(delete_one => delete_annotation, delete_annotation_async (
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    look_first: bool,
));

twins!(delete_pairs => delete_annotations, delete_annotations_async (
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
) options);

twins!(delete_inputs => delete_input_annotations, delete_input_annotations_async (
    input_ids: &Bound<'py, PyAny>,
) options);

fn delete_one<'py>(
    client: &Bound<'py, NativeClient>,
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    look_first: bool,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let client = client.get().client().clone();
    let input = columns::single("input_id", input_id)?;
    let annotation = columns::single("annotation_id", annotation_id)?;
    let targets = Targets::pairs(input, annotation).map_err(|error| errors::id_error(py, &error))?;
    let precautions = Precautions { look_first, ..Precautions::default() };
    let call = Arc::new(new_call(&client, targets, timeout)?.with(precautions));
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

fn delete_pairs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let input_ids = columns::column("input_ids", input_ids)?;
    let annotation_ids = columns::column("annotation_ids", annotation_ids)?;
    delete_many(client.get().client(), Targets::pairs(input_ids, annotation_ids), missing_ok, options, wait)
}

fn delete_inputs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let targets = Targets::inputs(columns::column("input_ids", input_ids)?);
    delete_many(client.get().client(), targets, false, options, wait)
}

/// Deletes what a call for many names.
pub fn delete_many<'py>(
    client: &Client,
    targets: Result<Targets, IdError>,
    missing_ok: bool,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let Options { on_failure, progress, timeout, precautions } = options;
    let py = progress.py();
    let targets = targets.map_err(|error| errors::id_error(py, &error))?;
    let raises = raises(on_failure)?;
    let call = Arc::new(new_call(client, targets, timeout)?.with(precautions));
    let reporter = ProgressReporter::new(progress, Work::Deleting)?;
    let (client, under_way) = (client.clone(), Arc::clone(&call));
    let work = async move {
        let report = client.delete(&under_way).await;
        move |py: Python<'_>| {
            let report =
                report.map_err(|error| errors::plain(py, &error, client.settings(), Work::Deleting))?;
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
