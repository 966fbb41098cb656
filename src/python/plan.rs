//! `plan_deletion`, `plan_input_deletion` and `DeletionPlan`: what a deletion would do.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow_array::{
    Array as _, BooleanArray, RecordBatch, RecordBatchIterator, StringArray, TimestampMicrosecondArray,
    cast::AsArray as _, types::Int32Type, types::TimestampMicrosecondType,
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyCapsule, PyDict},
};

use super::{
    client::NativeClient,
    columns,
    delete::delete_many,
    errors,
    parameters::{BackupPath, JournalPlace, Options, new_call, precautions},
    progress::{ProgressReporter, Work},
    sequence, table,
    wait::{Wait, twins},
};
use crate::{
    client::Client,
    config::Settings,
    ids::{IdError, Targets},
    plan::{Action, Plan},
    plan_file::{self, App, PlanFileError},
};

/// Rows that a notebook shows.
const SHOWN: usize = 20;

twins!(plan_pairs => plan_deletion, plan_deletion_async (
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
));

twins!(plan_inputs => plan_input_deletion, plan_input_deletion_async (
    input_ids: &Bound<'py, PyAny>,
    max_deletions: Option<i64>,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
));

fn plan_pairs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let input_ids = columns::column("input_ids", input_ids)?;
    let annotation_ids = columns::column("annotation_ids", annotation_ids)?;
    plan(client.get().client(), Targets::pairs(input_ids, annotation_ids), None, progress, timeout, wait)
}

fn plan_inputs<'py>(
    client: &Bound<'py, NativeClient>,
    input_ids: &Bound<'py, PyAny>,
    max_deletions: Option<i64>,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let targets = Targets::inputs(columns::column("input_ids", input_ids)?);
    plan(client.get().client(), targets, max_deletions, progress, timeout, wait)
}

fn plan<'py>(
    client: &Client,
    targets: Result<Targets, IdError>,
    max_deletions: Option<i64>,
    progress: &Bound<'py, PyAny>,
    timeout: Option<f64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = progress.py();
    let targets = targets.map_err(|error| errors::id_error(py, &error))?;
    let precautions = precautions(None, None, max_deletions, false)?;
    let call = Arc::new(new_call(client, targets, timeout)?.with(precautions));
    let reporter = ProgressReporter::new(progress, Work::LookingUp)?;
    let (client, under_way) = (client.clone(), Arc::clone(&call));
    let work = async move {
        let plan = client.plan(&under_way).await;
        move |py: Python<'_>| {
            let plan = Arc::new(
                plan.map_err(|error| errors::plain(py, &error, client.settings(), Work::LookingUp))?,
            );
            Ok(Bound::new(py, NativePlan { plan, app: app_of(client.settings()) })?.into_any().unbind())
        }
    };
    wait.complete(py, call, reporter, work)
}

fn app_of(settings: &Settings) -> App {
    let Settings { user_id, app_id, base_url, .. } = settings;
    App { user_id: user_id.clone(), app_id: app_id.clone(), base_url: base_url.clone() }
}

/// What is behind a `clarifai_annotations.DeletionPlan`.
#[pyclass(frozen)]
pub struct NativePlan {
    plan: Arc<Plan>,
    app: App,
}

twins!(execute => execute_plan, execute_plan_async (
    plan: &Bound<'py, NativePlan>,
    missing_ok: bool,
) options);

fn execute<'py>(
    client: &Bound<'py, NativeClient>,
    plan: &Bound<'py, NativePlan>,
    missing_ok: bool,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let plan = plan.get();
    plan.check_client(client)?;
    delete_many(client.get().client(), plan.plan.targets(), missing_ok, options, wait)
}

#[pymethods]
impl NativePlan {
    /// Owner of the app.
    #[getter]
    fn user_id(&self) -> &str {
        &self.app.user_id
    }

    /// The app whose annotations these are.
    #[getter]
    fn app_id(&self) -> &str {
        &self.app.app_id
    }

    /// Where the service is.
    #[getter]
    fn base_url(&self) -> &str {
        &self.app.base_url
    }

    /// Different IDs that the call named: pairs, or inputs.
    #[getter]
    fn requested(&self) -> usize {
        self.plan.requested
    }

    /// Annotations that would go.
    #[getter]
    fn deletions(&self) -> usize {
        self.plan.count(Action::Delete)
    }

    /// IDs of which nothing is there: pairs, or inputs.
    #[getter]
    fn absent(&self) -> usize {
        self.plan.count(Action::Absent)
    }

    /// Annotations that are there and would stay, because they are input-level.
    #[getter]
    fn spared(&self) -> usize {
        self.plan.count(Action::Spare)
    }

    /// IDs that the service lists in another spelling alone: pairs, or inputs. They would stay.
    #[getter]
    fn respelled(&self) -> usize {
        self.plan.count(Action::Respelled)
    }

    /// Mentions that repeat an earlier one.
    #[getter]
    fn duplicates(&self) -> usize {
        self.plan.duplicates
    }

    /// List requests that it took.
    #[getter]
    fn requests(&self) -> u64 {
        self.plan.requests
    }

    /// Seconds that it took.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.plan.elapsed.as_secs_f64()
    }

    /// Every annotation that was found, and every ID of which nothing was, in the call's order.
    #[getter]
    fn annotations(&self) -> PlannedAnnotations {
        PlannedAnnotations(Rows::new(&self.plan))
    }

    /// Saves it to a file.
    ///
    /// # Errors
    /// A `PlanError` when the file is something else, or cannot be written.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| plan_file::save(&path, &self.plan, &self.app)).map_err(|error| raised(py, &path, &error))
    }

    /// Loads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// A `PlanError` when the file cannot be read, is no plan, or is damaged.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let loaded = py.detach(|| plan_file::load(&path));
        let (plan, app) = loaded.map_err(|error| raised(py, &path, &error))?;
        Ok(Self { plan: Arc::new(plan), app })
    }

    /// What `pickle` keeps of it.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let saved = py.detach(|| plan_file::to_bytes(&self.plan, &self.app));
        let saved = saved.map_err(|error| errors::plan_error(py, format!("the plan {error}")))?;
        Ok(PyBytes::new(py, &saved))
    }

    /// A plan made again from what `pickle` kept of it.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, saved: Vec<u8>) -> PyResult<Self> {
        let loaded = py.detach(|| plan_file::from_bytes(saved.into()));
        let (plan, app) =
            loaded.map_err(|error| errors::plan_error(py, format!("the pickled plan {error}")))?;
        Ok(Self { plan: Arc::new(plan), app })
    }

    /// Makes sure that a client is of the plan's app.
    ///
    /// # Errors
    /// A `ConfigurationError` where it is not.
    fn check_client(&self, client: &Bound<'_, NativeClient>) -> PyResult<()> {
        let settings = client.get().client().settings();
        if !self.app.is(&app_of(settings)) {
            return Err(errors::other_app(client.py(), &self.app, settings));
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let named: Vec<_> = self.counts().iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "DeletionPlan(user_id={:?}, app_id={:?}, {})",
            self.user_id(),
            self.app_id(),
            named.join(", ")
        )
    }

    fn _repr_html_(&self) -> String {
        html(&self.counts(), &Rows::new(&self.plan))
    }

    /// Export all rows as an Arrow stream.
    ///
    /// Its columns: ``action``, ``input_id``, ``annotation_id``, ``creator``, ``status``, ``created_at``,
    /// ``made_by_model``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batch: RecordBatch = self.plan.table.clone();
        let schema = batch.schema();
        table::stream(py, RecordBatchIterator::new([Ok(batch)], schema))
    }
}

fn raised(py: Python<'_>, path: &Path, error: &PlanFileError) -> PyErr {
    errors::plan_error(py, format!("plan {}: {error}", path.display()))
}

impl NativePlan {
    fn counts(&self) -> Vec<(&'static str, String)> {
        let mut counts = vec![
            ("requested", self.requested().to_string()),
            ("deletions", self.deletions().to_string()),
            ("absent", self.absent().to_string()),
            ("spared", self.spared().to_string()),
            ("duplicates", self.duplicates().to_string()),
            ("requests", self.requests().to_string()),
        ];
        // Hardly ever.
        if self.respelled() > 0 {
            counts.push(("respelled", self.respelled().to_string()));
        }
        counts
    }
}

/// The columns of a plan.
#[derive(Clone)]
struct Rows {
    table: RecordBatch,
}

impl Rows {
    fn new(plan: &Plan) -> Self {
        Self { table: plan.table.clone() }
    }

    fn len(&self) -> usize {
        self.table.num_rows()
    }

    fn text(&self, column: usize, row: usize) -> Option<&str> {
        let texts: &StringArray = self.table.column(column).as_string();
        texts.is_valid(row).then(|| texts.value(row))
    }

    fn repeated_text(&self, column: usize, row: usize) -> Option<&str> {
        let texts = self.table.column(column).as_dictionary::<Int32Type>();
        let values: &StringArray = texts.values().as_string();
        texts.key(row).map(|key| values.value(key))
    }

    fn get(&self, row: usize) -> PlannedAnnotation {
        let created_at: &TimestampMicrosecondArray =
            self.table.column(5).as_primitive::<TimestampMicrosecondType>();
        let made_by_model: &BooleanArray = self.table.column(6).as_boolean();
        PlannedAnnotation {
            action: self.repeated_text(0, row).unwrap_or_default().into(),
            input_id: self.text(1, row).unwrap_or_default().into(),
            annotation_id: self.text(2, row).map(Into::into),
            creator: self.repeated_text(3, row).map(Into::into),
            status: self.repeated_text(4, row).map(Into::into),
            created_at: created_at.is_valid(row).then(|| created_at.value(row)),
            made_by_model: made_by_model.is_valid(row).then(|| made_by_model.value(row)),
        }
    }
}

/// A sequence of the rows of a plan, in the call's order.
#[pyclass(module = "clarifai_annotations", frozen, sequence)]
pub struct PlannedAnnotations(Rows);

#[pymethods]
impl PlannedAnnotations {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        sequence::get(py, index, self.0.len(), "annotations", |row| self.0.get(row))
    }

    fn __iter__(&self) -> PlanIterator {
        PlanIterator { rows: self.0.clone(), next: AtomicUsize::new(0) }
    }

    fn __repr__(&self) -> String {
        const SHOWN: usize = 10;
        let count = self.0.len();
        let mut lines: Vec<_> = (0..count.min(SHOWN)).map(|row| self.0.get(row).line()).collect();
        if count > SHOWN {
            lines.push(format!("… and {} more", count - SHOWN));
        }
        format!(
            "<PlannedAnnotations: {count}{}>",
            lines.iter().map(|line| format!("\n  {line}")).collect::<String>()
        )
    }
}

/// Walks over the rows of a plan.
#[pyclass(module = "clarifai_annotations", frozen)]
struct PlanIterator {
    rows: Rows,
    next: AtomicUsize,
}

#[pymethods]
impl PlanIterator {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> Option<PlannedAnnotation> {
        let row = self.next.fetch_add(1, Ordering::Relaxed);
        (row < self.rows.len()).then(|| self.rows.get(row))
    }
}

/// What a plan would do with an annotation.
#[pyclass(module = "clarifai_annotations", frozen)]
pub struct PlannedAnnotation {
    /// ``"delete"``, ``"absent"``, ``"spared"`` or ``"respelled"``.
    #[pyo3(get)]
    action: String,
    /// The input.
    #[pyo3(get)]
    input_id: String,
    /// The annotation; ``None`` for an input of which nothing is there.
    #[pyo3(get)]
    annotation_id: Option<String>,
    /// Who made it; ``None`` where the service does not say.
    ///
    /// The ID of a user, of a model's version or of a workflow.
    #[pyo3(get)]
    creator: Option<String>,
    /// The name of its status, for example ``"ANNOTATION_SUCCESS"``; ``None`` where there is none.
    #[pyo3(get)]
    status: Option<String>,
    /// Microseconds since 1970.
    created_at: Option<i64>,
    /// Whether a model or a workflow made it, rather than a user; ``None`` where nothing is there.
    #[pyo3(get)]
    made_by_model: Option<bool>,
}

impl PlannedAnnotation {
    fn line(&self) -> String {
        let Self { action, input_id, annotation_id, creator, .. } = self;
        let which = match annotation_id {
            Some(id) => format!("annotation {id:?} of input {input_id:?}"),
            None => format!("input {input_id:?}"),
        };
        let by = creator.as_ref().map_or(String::new(), |creator| format!(", by {creator:?}"));
        format!("{action}: {which}{by}")
    }
}

#[pymethods]
impl PlannedAnnotation {
    /// When it was made, in UTC; ``None`` where the service does not say.
    #[getter]
    fn created_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(microseconds) = self.created_at else { return Ok(None) };
        let datetime = py.import("datetime")?;
        let utc = datetime.getattr("timezone")?.getattr("utc")?;
        let epoch = datetime.getattr("datetime")?.call_method1("fromtimestamp", (0, utc))?;
        let parts = PyDict::new(py);
        parts.set_item("microseconds", microseconds)?;
        epoch.add(datetime.getattr("timedelta")?.call((), Some(&parts))?).map(Some)
    }

    fn __repr__(&self) -> String {
        format!("<PlannedAnnotation: {}>", self.line())
    }
}

/// A plan in HTML: its counts, who made what, and the first rows.
fn html(counts: &[(&str, String)], rows: &Rows) -> String {
    let mut html = table::counts(counts);
    let mut by_creator = BTreeMap::<_, usize>::new();
    for row in 0..rows.len() {
        if rows.repeated_text(0, row) == Some(Action::Delete.name()) {
            let planned = rows.get(row);
            *by_creator.entry((planned.creator, planned.made_by_model, planned.status)).or_default() += 1;
        }
    }
    html += "<table><thead><tr><th>would go</th><th>creator</th><th>made by</th><th>status</th></tr></thead><tbody>";
    for ((creator, made_by_model, status), count) in by_creator.iter().take(SHOWN) {
        let made_by = if *made_by_model == Some(true) { "model" } else { "user" };
        let cells = [count.to_string(), shown(creator), made_by.into(), shown(status)];
        let _ = write!(html, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    html += "</tbody></table><table><thead><tr><th>action</th><th>input_id</th><th>annotation_id</th><th>creator</th>\
             <th>status</th></tr></thead><tbody>";
    for row in 0..rows.len().min(SHOWN) {
        let PlannedAnnotation { action, input_id, annotation_id, creator, status, .. } = rows.get(row);
        let cells =
            [action, table::escaped(&input_id), shown(&annotation_id), shown(&creator), shown(&status)];
        let _ = write!(html, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    html += "</tbody></table>";
    if rows.len() > SHOWN {
        let _ = write!(html, "<p>… and {} more in <code>.annotations</code></p>", rows.len() - SHOWN);
    }
    html
}

fn shown(text: &Option<String>) -> String {
    table::escaped(text.as_deref().unwrap_or_default())
}
