//! `DeleteReport` and `RestoreReport`: what became of every ID of a call, as Python sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyCapsule, PyTuple, PyType},
};
use serde::{Deserialize, Serialize};

use super::{errors, progress::Work, sequence, table};
use crate::{
    config::Settings,
    error::{Error, Status},
    ids::{ColumnBuilder, IdError, Target, Targets},
    report::{Ledger, Outcome, Report, Warning},
};

/// What a report holds, of a deletion or of a restoration.
pub struct Inner {
    counts: Counts,
    failures: Arc<Rows>,
    /// What ended the run before everything was attempted.
    stopped_by: Option<Arc<Error>>,
}

/// What became of every ID of a call for many.
///
/// ``deleted``, ``absent``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``.
/// Can be pickled. In a notebook it is a table. It exports what is not deleted as an Arrow stream,
/// a row an ID: ``polars.DataFrame(report)``, ``pyarrow.table(report)``.
#[pyclass(module = "clarifai_annotations", frozen)]
pub struct DeleteReport(Inner);

/// What became of every annotation of a backup.
///
/// ``restored``, ``present``, ``failed``, ``unknown`` and ``unsent`` add up to ``requested``. Can be
/// pickled. In a notebook it is a table. It exports what was not restored as an Arrow stream, a row
/// an annotation.
#[pyclass(module = "clarifai_annotations", frozen)]
pub struct RestoreReport(Inner);

/// Which of the two a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Of {
    /// A deletion.
    Deletion,
    /// A restoration.
    Restoration,
}

impl Of {
    /// What an outcome is called.
    fn name(self, outcome: Outcome) -> &'static str {
        match (self, outcome) {
            (Self::Restoration, Outcome::Deleted) => "restored",
            (Self::Restoration, Outcome::Absent) => "present",
            _ => outcome.name(),
        }
    }

    fn work(self) -> Work {
        match self {
            Self::Deletion => Work::Deleting,
            Self::Restoration => Work::Restoring,
        }
    }

    /// What an outcome says where there is no error behind it.
    fn explain(self, outcome: Outcome) -> &'static str {
        match (self, outcome) {
            (Self::Deletion, Outcome::Absent) => "a list does not show it",
            (Self::Restoration, Outcome::Absent) => "it is there already",
            // By the journal: this run did not come to it.
            (_, Outcome::Unknown) => "an earlier run of the call was ended while it was under way",
            (_, Outcome::Failed) => "an earlier run of the call was refused it",
            (_, Outcome::Deleted | Outcome::Unsent) => "",
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Counts {
    of: Of,
    requested: usize,
    deleted: usize,
    absent: usize,
    failed: usize,
    unknown: usize,
    unsent: usize,
    duplicates: usize,
    requests: u64,
    retries: u64,
    throttled: u64,
    elapsed: f64,
    missing_ok: bool,
    #[serde(default)]
    from_journal: usize,
    #[serde(default)]
    finished_at: Option<String>,
    #[serde(default)]
    warnings: Vec<Warning>,
}

/// Every ID that is not deleted; made into objects only when they are looked at.
pub struct Rows {
    of: Of,
    targets: Arc<Targets>,
    report: Report,
    /// Where the caller's columns are gone (`pickle`): what position each failure had in them.
    positions: Option<Vec<u32>>,
}

impl DeleteReport {
    pub fn new(targets: Arc<Targets>, report: Report, missing_ok: bool) -> Self {
        Self(Inner::new(Of::Deletion, targets, report, missing_ok, 0))
    }

    /// The exception that this report calls for, if any.
    pub fn exception(this: &Bound<'_, Self>, settings: &Settings) -> Option<PyErr> {
        this.get().0.exception(this.as_any(), settings)
    }
}

impl RestoreReport {
    /// The report of a restoration, of a backup in which `superseded` rows are replaced by later ones.
    pub fn new(targets: Arc<Targets>, report: Report, superseded: usize) -> Self {
        Self(Inner::new(Of::Restoration, targets, report, true, superseded))
    }

    /// The exception that this report calls for, if any.
    pub fn exception(this: &Bound<'_, Self>, settings: &Settings) -> Option<PyErr> {
        this.get().0.exception(this.as_any(), settings)
    }
}

impl Inner {
    fn new(of: Of, targets: Arc<Targets>, report: Report, missing_ok: bool, superseded: usize) -> Self {
        let counts = Counts {
            of,
            requested: report.requested(),
            deleted: report.count(Outcome::Deleted),
            absent: report.count(Outcome::Absent),
            failed: report.count(Outcome::Failed),
            unknown: report.count(Outcome::Unknown),
            unsent: report.count(Outcome::Unsent),
            duplicates: targets.duplicates() + superseded,
            requests: report.requests.sent,
            retries: report.requests.retries,
            throttled: report.requests.throttled,
            elapsed: report.elapsed.as_secs_f64(),
            missing_ok,
            from_journal: report.from_journal,
            finished_at: report.finished_at.clone(),
            warnings: report.warnings.clone(),
        };
        let stopped_by = report.stopped_by().cloned();
        Self { counts, failures: Arc::new(Rows { of, targets, report, positions: None }), stopped_by }
    }

    fn exception(&self, report: &Bound<'_, PyAny>, settings: &Settings) -> Option<PyErr> {
        if self.is_ok() {
            return None;
        }
        let py = report.py();
        if let Some(cause) = &self.stopped_by {
            return Some(errors::stopped(
                py,
                cause,
                settings,
                self.counts.of.work(),
                &self.summary(),
                report,
            ));
        }
        let mut message = self.summary();
        let first = (0..self.failures.len()).find(|&row| !self.is_fine(self.failures.outcome(row)));
        if let Some(index) = first {
            message += &format!(". First: {}", self.failures.failure(index).line());
            // What is not there is not for the settings to find.
            if self.failures.outcome(index) != Outcome::Absent
                && let Some(error @ Error::Api(_)) = self.failures.error(index)
            {
                message += &errors::advice(error, settings, self.counts.of.work());
            }
        }
        message += ". See .report.failures";
        Some(match self.counts.of {
            Of::Deletion => errors::deletion_error(py, message, report),
            Of::Restoration => errors::restore_error(py, message, report),
        })
    }

    /// The counts in a sentence.
    fn summary(&self) -> String {
        let Counts { of, requested, absent, failed, unknown, unsent, .. } = self.counts;
        let (what, absent) = match of {
            Of::Deletion => ("IDs were not deleted", absent),
            Of::Restoration => ("annotations were not restored", 0),
        };
        let counts = [("absent", absent), ("failed", failed), ("unknown", unknown), ("unsent", unsent)];
        let counts: Vec<_> =
            counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}")).collect();
        let not_done = absent + failed + unknown + unsent;
        format!("{not_done} of {requested} {what} ({})", counts.join(", "))
    }

    fn is_fine(&self, outcome: Outcome) -> bool {
        outcome == Outcome::Deleted || (outcome == Outcome::Absent && self.counts.missing_ok)
    }

    fn is_ok(&self) -> bool {
        let Counts { absent, failed, unknown, unsent, missing_ok, .. } = self.counts;
        failed + unknown + unsent == 0 && (absent == 0 || missing_ok)
    }

    /// The counts by their names, as Python sees them.
    fn named(&self) -> [(&'static str, String); 11] {
        let Counts { of, requested, deleted, absent, failed, unknown, unsent, .. } = self.counts;
        let Counts { duplicates, requests, retries, throttled, elapsed, .. } = self.counts;
        [
            ("requested", requested.to_string()),
            (of.name(Outcome::Deleted), deleted.to_string()),
            (of.name(Outcome::Absent), absent.to_string()),
            ("failed", failed.to_string()),
            ("unknown", unknown.to_string()),
            ("unsent", unsent.to_string()),
            ("duplicates", duplicates.to_string()),
            ("requests", requests.to_string()),
            ("retries", retries.to_string()),
            ("throttled", throttled.to_string()),
            ("elapsed", format!("{elapsed:.3}")),
        ]
    }

    /// What an earlier run did, by the journal; where there was one.
    fn by_journal(&self) -> Option<(&'static str, String)> {
        let count = self.counts.from_journal;
        (count > 0).then(|| ("from_journal", count.to_string()))
    }

    fn repr(&self, class: &str) -> String {
        let mut counts = self.named().map(|(name, value)| format!("{name}={value}")).to_vec();
        counts.extend(self.by_journal().map(|(name, value)| format!("{name}={value}")));
        format!("{class}({})", counts.join(", "))
    }

    fn html(&self) -> String {
        let mut counts = self.named().to_vec();
        counts[10].1 = format!("{:.1} s", self.counts.elapsed);
        counts.extend(self.by_journal());
        table::html(&counts, &self.failures)
    }

    fn save(&self) -> PyResult<Vec<u8>> {
        serde_json::to_vec(&Saved::from(self)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn load(saved: &[u8]) -> PyResult<Self> {
        let saved: Saved =
            serde_json::from_slice(saved).map_err(|error| PyValueError::new_err(error.to_string()))?;
        saved.into_report().map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

#[pymethods]
impl DeleteReport {
    /// Different IDs that the call named: pairs, or inputs.
    #[getter]
    fn requested(&self) -> usize {
        self.0.counts.requested
    }

    /// Confirmed by the service; or sent without a clear answer, and a list shows them gone.
    ///
    /// The service may confirm the deletion of what was not there: `look_first` tells.
    #[getter]
    fn deleted(&self) -> usize {
        self.0.counts.deleted
    }

    /// A list shows that they are not there; the service had refused the request, or it was not sent.
    #[getter]
    fn absent(&self) -> usize {
        self.0.counts.absent
    }

    /// There still, and the service refuses to delete them; or to list them, where they are to be saved.
    #[getter]
    fn failed(&self) -> usize {
        self.0.counts.failed
    }

    /// Sent, and what became of them could not be found out.
    #[getter]
    fn unknown(&self) -> usize {
        self.0.counts.unknown
    }

    /// Never sent: the run was stopped first.
    #[getter]
    fn unsent(&self) -> usize {
        self.0.counts.unsent
    }

    /// Mentions that repeat an earlier one. They were sent once and count once above.
    #[getter]
    fn duplicates(&self) -> usize {
        self.0.counts.duplicates
    }

    /// Requests sent: deletions and lists, first attempts and later ones.
    #[getter]
    fn requests(&self) -> u64 {
        self.0.counts.requests
    }

    /// Of these, the ones that repeat something that failed.
    #[getter]
    fn retries(&self) -> u64 {
        self.0.counts.retries
    }

    /// Of these, the ones that the service answered with "too many requests".
    #[getter]
    fn throttled(&self) -> u64 {
        self.0.counts.throttled
    }

    /// Seconds that the run took.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.counts.elapsed
    }

    /// IDs that an earlier run of the call deleted or found absent, by its journal. Nothing was sent for them.
    ///
    /// They are counted in ``deleted`` and ``absent`` too.
    #[getter(from_journal)]
    fn settled_before(&self) -> usize {
        self.0.counts.from_journal
    }

    /// When an earlier run finished the call, by its journal: nothing was sent. ``None`` where this run had to do something.
    #[getter]
    fn finished_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(text) = &self.0.counts.finished_at else { return Ok(None) };
        py.import("datetime")?.getattr("datetime")?.call_method1("fromisoformat", (text,)).map(Some)
    }

    /// Whether everything is deleted; with ``missing_ok``, or absent.
    #[getter]
    fn ok(&self) -> bool {
        self.0.is_ok()
    }

    /// What to know of the run, although it is no failure: each a sentence.
    ///
    /// Answers with a code of success other than SUCCESS (10001, 10002, 10070); annotations of models that came
    /// without data where a copy was kept; and what stopped the run when everything was deleted, such as a journal
    /// that could not be completed.
    #[getter]
    fn warnings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.counts.warnings.iter().map(Warning::to_string))
    }

    /// Every ID that is not deleted, in the call's order.
    #[getter]
    fn failures(&self) -> Failures {
        Failures(Arc::clone(&self.0.failures))
    }

    fn __repr__(&self) -> String {
        self.0.repr("DeleteReport")
    }

    fn _repr_html_(&self) -> String {
        self.0.html()
    }

    /// Export what is not deleted as an Arrow stream, a row an ID: for `polars.DataFrame`, `pyarrow.table`.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        table::failures_stream(py, Arc::clone(&self.0.failures))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let load = py.get_type::<Self>().getattr("_load")?;
        Ok((load, (PyBytes::new(py, &self.0.save()?),)))
    }

    /// Makes a report again from what `pickle` kept of it.
    #[classmethod]
    fn _load(_class: &Bound<'_, PyType>, saved: &[u8]) -> PyResult<Self> {
        Inner::load(saved).map(Self)
    }
}

#[pymethods]
impl RestoreReport {
    /// Different annotations that the backup holds, of this app and of the inputs that were named.
    #[getter]
    fn requested(&self) -> usize {
        self.0.counts.requested
    }

    /// Posted: the service confirmed it, or a list shows them there.
    #[getter]
    fn restored(&self) -> usize {
        self.0.counts.deleted
    }

    /// There already, and left alone.
    #[getter]
    fn present(&self) -> usize {
        self.0.counts.absent
    }

    /// Not there, and the service refuses to take them.
    #[getter]
    fn failed(&self) -> usize {
        self.0.counts.failed
    }

    /// Sent, and what became of them could not be found out.
    #[getter]
    fn unknown(&self) -> usize {
        self.0.counts.unknown
    }

    /// Never sent: the run was stopped first.
    #[getter]
    fn unsent(&self) -> usize {
        self.0.counts.unsent
    }

    /// Rows of the backup that a later one of the same annotation replaces.
    #[getter]
    fn duplicates(&self) -> usize {
        self.0.counts.duplicates
    }

    /// Requests sent: posts and lists, first attempts and later ones.
    #[getter]
    fn requests(&self) -> u64 {
        self.0.counts.requests
    }

    /// Of these, the ones that repeat something that failed.
    #[getter]
    fn retries(&self) -> u64 {
        self.0.counts.retries
    }

    /// Of these, the ones that the service answered with "too many requests".
    #[getter]
    fn throttled(&self) -> u64 {
        self.0.counts.throttled
    }

    /// Seconds that the run took.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.0.counts.elapsed
    }

    /// Whether everything is there: restored, or present.
    #[getter]
    fn ok(&self) -> bool {
        self.0.is_ok()
    }

    /// What to know of the run, although it is no failure: each a sentence.
    ///
    /// Answers with a code of success other than SUCCESS (10001, 10002, 10070).
    #[getter]
    fn warnings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.counts.warnings.iter().map(Warning::to_string))
    }

    /// Every ID that is not restored, in the call's order.
    #[getter]
    fn failures(&self) -> Failures {
        Failures(Arc::clone(&self.0.failures))
    }

    fn __repr__(&self) -> String {
        self.0.repr("RestoreReport")
    }

    fn _repr_html_(&self) -> String {
        self.0.html()
    }

    /// Export what is not restored as an Arrow stream, a row an ID: for `polars.DataFrame`, `pyarrow.table`.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        table::failures_stream(py, Arc::clone(&self.0.failures))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let load = py.get_type::<Self>().getattr("_load")?;
        Ok((load, (PyBytes::new(py, &self.0.save()?),)))
    }

    /// Makes a report again from what `pickle` kept of it.
    #[classmethod]
    fn _load(_class: &Bound<'_, PyType>, saved: &[u8]) -> PyResult<Self> {
        Inner::load(saved).map(Self)
    }
}

/// A report on its way through `pickle`: of the IDs, it keeps those that are not deleted.
#[derive(Serialize, Deserialize)]
struct Saved {
    counts: Counts,
    stopped_by: Option<Error>,
    pairs: bool,
    failures: Vec<SavedFailure>,
}

#[derive(Serialize, Deserialize)]
struct SavedFailure {
    position: u32,
    input_id: String,
    annotation_id: Option<String>,
    outcome: Outcome,
    error: Option<Error>,
}

impl From<&Inner> for Saved {
    fn from(report: &Inner) -> Self {
        let rows = &*report.failures;
        let failures = (0..rows.len()).map(|row| {
            let target = rows.target(row);
            SavedFailure {
                position: target.position as u32,
                input_id: target.input_id.into(),
                annotation_id: target.annotation_id.map(Into::into),
                outcome: rows.outcome(row),
                error: rows.error(row).cloned(),
            }
        });
        Self {
            counts: report.counts.clone(),
            stopped_by: report.stopped_by.as_deref().cloned(),
            pairs: rows.targets.are_pairs(),
            failures: failures.collect(),
        }
    }
}

impl Saved {
    fn into_report(self) -> Result<Inner, IdError> {
        let mut input_ids = ColumnBuilder::new("input_ids");
        let mut annotation_ids = ColumnBuilder::new("annotation_ids");
        let mut ledger = Ledger::new(self.failures.len());
        let mut positions = Vec::with_capacity(self.failures.len());
        for (id, saved) in (0..).zip(self.failures) {
            let SavedFailure { position, input_id, annotation_id, outcome, error } = saved;
            input_ids.push(&input_id)?;
            if let Some(annotation_id) = annotation_id {
                annotation_ids.push(&annotation_id)?;
            }
            ledger.settle(&[id], outcome, error.map(Arc::new).as_ref());
            positions.push(position);
        }
        let targets = if self.pairs {
            Targets::pairs(input_ids.finish(), annotation_ids.finish())?
        } else {
            Targets::inputs(input_ids.finish())?
        };
        let report = ledger.close(Duration::try_from_secs_f64(self.counts.elapsed).unwrap_or_default());
        let of = self.counts.of;
        let failures = Arc::new(Rows { of, targets: Arc::new(targets), report, positions: Some(positions) });
        Ok(Inner { counts: self.counts, failures, stopped_by: self.stopped_by.map(Arc::new) })
    }
}

impl Rows {
    /// How many IDs are not deleted.
    pub fn len(&self) -> usize {
        self.report.failures()
    }

    /// The place of a row among the different IDs that the call named.
    fn id(&self, row: usize) -> usize {
        self.report.failure(row).unwrap_or_else(|| unreachable!("row {row} of {}", self.len()))
    }

    fn target(&self, row: usize) -> Target<'_> {
        let target = self.targets.get(self.id(row));
        let position = self.positions.as_ref().map_or(target.position, |positions| positions[row] as usize);
        Target { position, ..target }
    }

    fn outcome(&self, row: usize) -> Outcome {
        self.report.outcome(self.id(row))
    }

    fn error(&self, row: usize) -> Option<&Error> {
        self.report.error(self.id(row)).map(|error| &**error)
    }

    /// One of them, as Python sees it.
    pub fn failure(&self, row: usize) -> Failure {
        let Target { position, input_id, annotation_id } = self.target(row);
        let error = self.error(row);
        let message = error.map_or_else(|| self.of.explain(self.outcome(row)).into(), Error::to_string);
        let (code, name, request_id) = match error {
            Some(Error::Api(Status { code, name, request_id, .. })) => {
                (*code, name.clone(), request_id.clone())
            }
            _ => Default::default(),
        };
        Failure {
            position,
            input_id: input_id.into(),
            annotation_id: annotation_id.map(Into::into),
            outcome: self.of.name(self.outcome(row)),
            code,
            name,
            message,
            request_id,
        }
    }
}

/// A sequence of every ID that is not deleted, in the call's order.
#[pyclass(module = "clarifai_annotations", frozen, sequence)]
pub struct Failures(Arc<Rows>);

#[pymethods]
impl Failures {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        sequence::get(py, index, self.0.len(), "failures", |index| self.0.failure(index))
    }

    fn __iter__(&self) -> FailureIterator {
        FailureIterator { rows: Arc::clone(&self.0), next: AtomicUsize::new(0) }
    }

    fn __repr__(&self) -> String {
        const SHOWN: usize = 10;
        let count = self.0.len();
        let mut lines: Vec<_> = (0..count.min(SHOWN)).map(|index| self.0.failure(index).line()).collect();
        if count > SHOWN {
            lines.push(format!("… and {} more", count - SHOWN));
        }
        format!("<Failures: {count}{}>", lines.iter().map(|line| format!("\n  {line}")).collect::<String>())
    }
}

/// Walks over failures.
#[pyclass(module = "clarifai_annotations", frozen)]
struct FailureIterator {
    rows: Arc<Rows>,
    next: AtomicUsize,
}

#[pymethods]
impl FailureIterator {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> Option<Failure> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        (index < self.rows.len()).then(|| self.rows.failure(index))
    }
}

/// An ID that is not deleted, and why.
#[pyclass(module = "clarifai_annotations", frozen, get_all)]
pub struct Failure {
    /// Where the call named it first, from 0.
    pub position: usize,
    /// The input.
    pub input_id: String,
    /// The annotation; ``None`` where the call was for whole inputs.
    pub annotation_id: Option<String>,
    /// What became of it.
    pub outcome: &'static str,
    /// The service's status code, or the gRPC status; 0 where no answer came.
    pub code: i32,
    /// The code's name; empty where no answer came.
    pub name: String,
    /// What happened, in a sentence.
    pub message: String,
    /// What identifies the request to Clarifai's support; empty where the service gave none.
    pub request_id: String,
}

impl Failure {
    fn line(&self) -> String {
        let Self { position, input_id, annotation_id, outcome, message, .. } = self;
        match annotation_id {
            Some(id) => format!(
                "position {position}, annotation {id:?} of input {input_id:?} is {outcome}: {message}"
            ),
            None => format!("position {position}, input {input_id:?} is {outcome}: {message}"),
        }
    }
}

#[pymethods]
impl Failure {
    fn __repr__(&self) -> String {
        format!("<Failure: {}>", self.line())
    }
}
