//! `restore_annotations`: a deletion taken back, from its backup.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use pyo3::prelude::*;

use super::{
    client::NativeClient,
    columns, errors,
    parameters::{absolute, raises, timeout_of},
    progress::{ProgressReporter, Work},
    report::RestoreReport,
    wait::{Wait, twins},
};
use crate::client::Call;

twins!(restore => restore_annotations, restore_annotations_async (
    backup: PathBuf,
    input_ids: Option<&Bound<'py, PyAny>>,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    as_caller: bool,
));

#[allow(clippy::too_many_arguments)]
fn restore<'py>(
    client: &Bound<'py, NativeClient>,
    backup: PathBuf,
    input_ids: Option<&Bound<'py, PyAny>>,
    on_failure: &str,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    as_caller: bool,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = client.py();
    let client = client.get().client().clone();
    let input_ids = input_ids.map(|ids| columns::column("input_ids", ids)).transpose()?;
    let input_ids: Option<HashSet<String>> =
        input_ids.map(|ids| (0..ids.len()).map(|index| ids.get(index).to_owned()).collect());
    let raises = raises(on_failure)?;
    let backup = absolute("backup", backup)?;
    let call = Call::unread(timeout_of(timeout)?);
    let call = Arc::new(call.with_cancel_grace(client.settings().limits.cancel_grace));
    let reporter = ProgressReporter::new(progress, Work::Restoring)?;
    let under_way = Arc::clone(&call);
    let work = async move {
        let restored = client.restore(&under_way, backup, input_ids, as_caller).await;
        move |py: Python<'_>| {
            let (report, superseded) =
                restored.map_err(|error| errors::plain(py, &error, client.settings(), Work::Restoring))?;
            let report = RestoreReport::new(Arc::clone(under_way.targets()), report, superseded);
            let report = Bound::new(py, report)?;
            match RestoreReport::exception(&report, client.settings()) {
                Some(exception) if raises => Err(exception),
                _ => Ok(report.into_any().unbind()),
            }
        }
    };
    wait.complete(py, call, reporter, work)
}
