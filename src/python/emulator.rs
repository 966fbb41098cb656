//! The emulator in Python: started, seeded, looked at and stopped from a test.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyDict, PyMapping, PyString},
};

use super::client::PyClient;
use crate::emulator::{self, Access, Keys, Options, SeedError};

/// An annotation service on the loopback interface of this machine, on threads of this process.
///
/// It runs from when it is made until `stop`, or the end of its ``with`` block. It accepts any key,
/// user and app unless told which.
///
/// Args:
///     pats: The keys that are accepted: an iterable of them, or a mapping of each to its scopes
///         (``"Annotations_Get"``, ``"Annotations_Add"``, ``"Annotations_Delete"``; ``None`` for
///         all). Session tokens are held against the same keys. ``None`` accepts any.
///     apps: The apps that there are, as pairs of user ID and app ID; ``None`` for any that is named.
///     port: The port to listen on; 0 for a free one.
///
/// Raises:
///     OSError: The port is taken.
///     ValueError: ``pats`` is a single ``str``.
///
/// Example:
///     >>> with Emulator() as emulator:
///     ...     emulator.add_annotation("photo-1", "box-7")
///     ...     emulator.client().delete_annotation("photo-1", "box-7")
#[pyclass(name = "Emulator", module = "clarifai_annotations.emulator", frozen)]
pub struct PyEmulator {
    emulator: emulator::Emulator,
    /// A key that its clients may use.
    pat: String,
}

#[pymethods]
impl PyEmulator {
    #[new]
    #[pyo3(signature = (*, pats=None, apps=None, port=0))]
    fn new(
        py: Python<'_>,
        pats: Option<&Bound<'_, PyAny>>,
        apps: Option<&Bound<'_, PyAny>>,
        port: u16,
    ) -> PyResult<Self> {
        let pats = pats.map(keys).transpose()?;
        let pat = pats.iter().flat_map(|pats| pats.keys()).min().cloned();
        let apps = apps.map(|apps| apps.try_iter()?.map(|app| app?.extract()).collect::<PyResult<_>>());
        let access = Access { pats, apps: apps.transpose()? };
        let emulator = py.detach(|| emulator::Emulator::start(Options { port, access }))?;
        Ok(Self { emulator, pat: pat.unwrap_or_else(|| "emulator-key".into()) })
    }

    /// Where it listens, for example ``http://127.0.0.1:43121``.
    #[getter]
    fn base_url(&self) -> String {
        self.emulator.base_url()
    }

    /// Add an input, with the input-level annotation that every input has.
    ///
    /// Args:
    ///     input_id: Its ID.
    ///     user_id: Owner of the app.
    ///     app_id: The app.
    ///
    /// Raises:
    ///     ValueError: The input is there already, or an ID is empty.
    #[pyo3(signature = (input_id, *, user_id="emulator-user", app_id="emulator-app"))]
    fn add_input(&self, input_id: &str, user_id: &str, app_id: &str) -> PyResult<()> {
        self.emulator.add_input(user_id, app_id, input_id).map_err(|error| seed_error(&error))
    }

    /// Add an annotation, and its input where that is not there yet.
    ///
    /// Args:
    ///     input_id: ID of its input.
    ///     annotation_id: Its own ID.
    ///     user_id: Owner of the app.
    ///     app_id: The app.
    ///     message: A serialized ``clarifai.api.Annotation``, kept byte for byte; the two IDs are
    ///         appended where it lacks them. ``None`` for one with nothing but its IDs.
    ///
    /// Raises:
    ///     ValueError: The annotation is there already, an ID is empty, or ``message`` cannot be
    ///         parsed or says other IDs.
    #[pyo3(signature = (input_id, annotation_id, *, user_id="emulator-user", app_id="emulator-app",
        message=None))]
    fn add_annotation(
        &self,
        input_id: &str,
        annotation_id: &str,
        user_id: &str,
        app_id: &str,
        message: Option<Vec<u8>>,
    ) -> PyResult<()> {
        let added =
            self.emulator.add_annotation(user_id, app_id, input_id, annotation_id, message.map(Bytes::from));
        added.map_err(|error| seed_error(&error))
    }

    /// Tell what is there, app by app, oldest first.
    ///
    /// Args:
    ///     user_id: Only this user's apps.
    ///     app_id: Only apps of this name.
    #[pyo3(signature = (*, user_id=None, app_id=None))]
    fn annotations(
        &self,
        py: Python<'_>,
        user_id: Option<&str>,
        app_id: Option<&str>,
    ) -> Vec<StoredAnnotation> {
        let found = py.detach(|| self.emulator.annotations(user_id, app_id));
        let annotations = found.into_iter().map(|it| StoredAnnotation {
            user_id: it.user_id,
            app_id: it.app_id,
            input_id: it.input_id,
            annotation_id: it.annotation_id,
            input_level: it.input_level,
            message: PyBytes::new(py, &it.message).unbind(),
        });
        annotations.collect()
    }

    /// The requests it saw, oldest first; the latest 100,000.
    #[getter]
    fn requests(&self, py: Python<'_>) -> Vec<RecordedRequest> {
        let seen = py.detach(|| self.emulator.requests());
        let requests = seen.into_iter().map(|it| RecordedRequest {
            method: it.method,
            user_id: it.user_id,
            app_id: it.app_id,
            input_ids: it.input_ids,
            ids: it.ids,
            metadata: it.metadata.into_iter().collect(),
            code: it.code,
            name: it.name,
        });
        requests.collect()
    }

    /// Forget the requests it saw.
    fn clear_requests(&self) {
        self.emulator.clear_requests();
    }

    /// Make a client of this emulator, without a pace.
    ///
    /// Args:
    ///     settings: Those of `Client`, to differ from what fits.
    ///
    /// Raises:
    ///     ConfigurationError: A setting is not valid.
    #[pyo3(signature = (**settings))]
    fn client<'py>(
        &self,
        py: Python<'py>,
        settings: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let all = PyDict::new(py);
        all.set_item("user_id", emulator::DEFAULT_USER_ID)?;
        all.set_item("app_id", emulator::DEFAULT_APP_ID)?;
        all.set_item("base_url", self.base_url())?;
        all.set_item("requests_per_second", py.None())?;
        let has_credential = |settings: &Bound<'_, PyDict>| settings.contains("session_token");
        if !settings.map(has_credential).transpose()?.unwrap_or(false) {
            all.set_item("pat", &self.pat)?;
        }
        if let Some(settings) = settings {
            all.update(settings.as_mapping())?;
        }
        py.get_type::<PyClient>().call((), Some(&all))
    }

    /// Stop serving and close every connection. What was stored stays to be looked at.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.emulator.stop());
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.stop(py);
    }

    fn __repr__(&self) -> String {
        format!("<Emulator at {}>", self.base_url())
    }
}

/// Keys alone have every scope; a mapping gives each key its own.
fn keys(pats: &Bound<'_, PyAny>) -> PyResult<Keys> {
    if pats.cast::<PyMapping>().is_ok() {
        let scoped: HashMap<String, Option<HashSet<String>>> = pats
            .call_method0("items")?
            .try_iter()?
            .map(|item| {
                let (key, scopes): (String, Option<Bound<'_, PyAny>>) = item?.extract()?;
                let scopes = scopes.map(|scopes| scopes.try_iter()?.map(|scope| scope?.extract()).collect());
                Ok((key, scopes.transpose()?))
            })
            .collect::<PyResult<_>>()?;
        return Ok(scoped);
    }
    if pats.is_instance_of::<PyString>() {
        return Err(PyValueError::new_err("pats is a single str: put it in a list"));
    }
    pats.try_iter()?.map(|key| Ok((key?.extract()?, None))).collect()
}

fn seed_error(error: &SeedError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// An annotation that the emulator holds.
#[pyclass(module = "clarifai_annotations.emulator", frozen, get_all)]
pub struct StoredAnnotation {
    /// Owner of its app.
    user_id: String,
    /// Its app.
    app_id: String,
    /// Its input.
    input_id: String,
    /// Its own ID.
    annotation_id: String,
    /// Whether it belongs to the input itself, and goes only with it.
    input_level: bool,
    /// The serialized ``clarifai.api.Annotation``, as it was given.
    message: Py<PyBytes>,
}

#[pymethods]
impl StoredAnnotation {
    fn __repr__(&self) -> String {
        let Self { user_id, app_id, input_id, annotation_id, input_level, .. } = self;
        let level = if *input_level { ", input-level" } else { "" };
        format!("<StoredAnnotation {annotation_id:?} of input {input_id:?} in {user_id}/{app_id}{level}>")
    }
}

/// A request that the emulator saw.
#[pyclass(module = "clarifai_annotations.emulator", frozen, get_all)]
pub struct RecordedRequest {
    /// The method's name, for example ``"DeleteAnnotations"``.
    method: &'static str,
    /// The user that it names.
    user_id: String,
    /// The app that it names.
    app_id: String,
    /// The input IDs that it names.
    input_ids: Vec<String>,
    /// The annotation IDs that it names.
    ids: Vec<String>,
    /// Its metadata. Of a credential only its kind is kept.
    metadata: HashMap<String, String>,
    /// The status code that it was answered with.
    code: i32,
    /// That code's name.
    name: &'static str,
}

#[pymethods]
impl RecordedRequest {
    fn __repr__(&self) -> String {
        let Self { method, user_id, app_id, input_ids, ids, name, .. } = self;
        format!("<{method} in {user_id}/{app_id}, input_ids={input_ids:?}, ids={ids:?}: {name}>")
    }
}
