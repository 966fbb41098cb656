//! The public functions and `Client`. Each function and its `_async` twin are one body that differ in how
//! they wait; the module's functions are the methods of a client that they share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyTuple},
};

use super::{
    bridge, columns, errors,
    logging::log_to_python,
    plan,
    progress::{Watcher, Work},
    report::DeleteReport,
    restore,
    wait::Wait,
};
use crate::{
    client::{Call, Client, Precautions},
    config::{self, Arguments, Limits, Settings},
    ids::{IdError, Targets},
    journal::Place,
};

/// What the environment may say, by the names of Clarifai's SDK and of curl; and where the home directory is.
const VARIABLES: [&str; 15] = [
    "CLARIFAI_PAT",
    "CLARIFAI_SESSION_TOKEN",
    "CLARIFAI_USER_ID",
    "CLARIFAI_APP_ID",
    "CLARIFAI_API_BASE",
    "CLARIFAI_GRPC_BASE",
    "CLARIFAI_ROOT_CERTIFICATES_PATH",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "HOME",
    "USERPROFILE",
];

type Environment = [Option<String>; VARIABLES.len()];

/// Read through `os.environ`, so that what Python code sets there counts, and no C `getenv` races with it.
fn environment(py: Python<'_>) -> PyResult<Environment> {
    let environ = py.import("os")?.getattr("environ")?;
    let mut environment = Environment::default();
    for (value, name) in environment.iter_mut().zip(VARIABLES) {
        *value = environ.call_method1("get", (name,))?.extract()?;
    }
    Ok(environment)
}

fn connect(py: Python<'_>, arguments: Arguments, environment: &Environment) -> PyResult<Client> {
    log_to_python(py);
    let variable = |name: &str| {
        let place = VARIABLES.iter().position(|known| *known == name)?;
        environment[place].clone()
    };
    Settings::resolve(arguments, &variable)
        .and_then(Client::new)
        .map_err(|error| errors::configuration_error(py, &error))
}

/// The client of the module's functions: the one given, else the one that they share. That one is made from
/// the environment at first use, and again when the environment has changed since.
pub fn client_or_shared(py: Python<'_>, given: Option<&Bound<'_, PyClient>>) -> PyResult<Client> {
    static SHARED: Mutex<Option<(Environment, Client)>> = Mutex::new(None);
    if let Some(given) = given {
        return Ok(given.get().client.clone());
    }
    let environment = environment(py)?;
    if let Some((made_from, client)) = &*SHARED.lock().unwrap_or_else(PoisonError::into_inner)
        && *made_from == environment
    {
        return Ok(client.clone());
    }
    let client = connect(py, Arguments::default(), &environment)?;
    *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some((environment, client.clone()));
    Ok(client)
}

/// A client of one Clarifai app: one connection and one pace, shared by threads and event loops.
///
/// Each setting is the argument, else the environment variable, else the current context of
/// ``~/.config/clarifai/config`` (written by ``clarifai login``), else the default. The connection
/// is made at the first call, over HTTPS through the HTTP proxy that ``HTTPS_PROXY`` names, unless
/// ``NO_PROXY`` has the host. A client is a context manager, sync or async, that closes it.
///
/// Args:
///     user_id: Owner of the app (``CLARIFAI_USER_ID``).
///     app_id: The app whose annotations are deleted (``CLARIFAI_APP_ID``).
///     pat: Personal access token (``CLARIFAI_PAT``).
///     session_token: Session token, instead of ``pat`` (``CLARIFAI_SESSION_TOKEN``).
///     base_url: ``https://host[:port]`` or ``http://host[:port]`` (``CLARIFAI_API_BASE``; or
///         ``CLARIFAI_GRPC_BASE``, a host that speaks TLS). Default ``https://api.clarifai.com``.
///         A host without a scheme is refused unless it is Clarifai's.
///     root_certificates_path: PEM file of the authorities to trust instead of the system's
///         (``CLARIFAI_ROOT_CERTIFICATES_PATH``).
///     requests_per_second: Requests that may leave in any second; ``None`` lifts the pace.
///         Clarifai allows a user 15 by default.
///     batch_size: IDs in one request, 1 to 128.
///     max_in_flight: Requests under way at once.
///     request_timeout: Seconds for one request.
///     max_attempts: How often a request is tried in all.
///
/// Raises:
///     ConfigurationError: A setting is missing or not valid.
///
/// Example:
///     >>> with Client(user_id="me", app_id="cats") as client:  # the key is in CLARIFAI_PAT
///     ...     client.delete_annotation("photo-1", "box-7")
#[pyclass(name = "Client", module = "clarifai_annotations", frozen)]
pub struct PyClient {
    client: Client,
    /// Its credential was given as an argument, rather than found where another process finds it too.
    keeps_a_secret: bool,
}

#[pymethods]
impl PyClient {
    #[new]
    #[pyo3(signature = (*, user_id=None, app_id=None, pat=None, session_token=None, base_url=None,
        root_certificates_path=None, requests_per_second=Some(15.0), batch_size=128, max_in_flight=32,
        request_timeout=30.0, max_attempts=10),
        text_signature = "(*, user_id=None, app_id=None, pat=None, session_token=None, base_url=None, \
            root_certificates_path=None, requests_per_second=15.0, batch_size=128, max_in_flight=32, \
            request_timeout=30.0, max_attempts=10)")]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        user_id: Option<String>,
        app_id: Option<String>,
        pat: Option<String>,
        session_token: Option<String>,
        base_url: Option<String>,
        root_certificates_path: Option<PathBuf>,
        requests_per_second: Option<f64>,
        batch_size: usize,
        max_in_flight: usize,
        request_timeout: f64,
        max_attempts: u32,
    ) -> PyResult<Self> {
        let request_timeout = config::seconds("request_timeout", request_timeout)
            .map_err(|error| errors::configuration_error(py, &error))?;
        let limits = Limits { requests_per_second, batch_size, max_in_flight, request_timeout, max_attempts };
        let arguments =
            Arguments { user_id, app_id, pat, session_token, base_url, root_certificates_path, limits };
        let keeps_a_secret = arguments.pat.is_some() || arguments.session_token.is_some();
        Ok(Self { client: connect(py, arguments, &environment(py)?)?, keeps_a_secret })
    }

    /// Owner of the app.
    #[getter]
    fn user_id(&self) -> &str {
        &self.client.settings().user_id
    }

    /// The app whose annotations are deleted.
    #[getter]
    fn app_id(&self) -> &str {
        &self.client.settings().app_id
    }

    /// Where the service is.
    #[getter]
    fn base_url(&self) -> &str {
        &self.client.settings().base_url
    }

    /// Make a client of another app that shares this one's connection and pace.
    ///
    /// Args:
    ///     app_id: The other app.
    ///     user_id: Its owner; ``None`` for the same user.
    ///
    /// Raises:
    ///     ConfigurationError: An ID is empty.
    #[pyo3(signature = (app_id, *, user_id=None))]
    fn for_app(&self, py: Python<'_>, app_id: String, user_id: Option<String>) -> PyResult<Self> {
        let client = self.client.for_app(app_id, user_id);
        let client = client.map_err(|error| errors::configuration_error(py, &error))?;
        Ok(Self { client, ..*self })
    }

    /// Delete one annotation, as the function `delete_annotation` does.
    #[pyo3(signature = (input_id, annotation_id, *, missing_ok=false, timeout=None))]
    fn delete_annotation<'py>(
        &self,
        input_id: &Bound<'py, PyAny>,
        annotation_id: &Bound<'py, PyAny>,
        missing_ok: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        delete_one(&self.client, input_id, annotation_id, missing_ok, timeout, Wait::Blocking)
    }

    /// Delete one annotation, as the function `delete_annotation_async` does.
    #[pyo3(signature = (input_id, annotation_id, *, missing_ok=false, timeout=None))]
    fn delete_annotation_async<'py>(
        &self,
        input_id: &Bound<'py, PyAny>,
        annotation_id: &Bound<'py, PyAny>,
        missing_ok: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        delete_one(&self.client, input_id, annotation_id, missing_ok, timeout, Wait::Awaited)
    }

    /// Delete many annotations in pairs, as the function `delete_annotations` does.
    #[pyo3(signature = (input_ids, annotation_ids, *, missing_ok=false, on_failure="raise", progress=None,
        timeout=None, backup=None, journal=None, max_deletions=None),
        text_signature = "($self, input_ids, annotation_ids, *, missing_ok=False, on_failure='raise', \
            progress=False, timeout=None, backup=None, journal=None, max_deletions=None)")]
    #[allow(clippy::too_many_arguments)]
    fn delete_annotations<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        annotation_ids: &Bound<'py, PyAny>,
        missing_ok: bool,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        backup: Option<BackupPath>,
        journal: Option<JournalPlace>,
        max_deletions: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let precautions = precautions(backup, journal, max_deletions)?;
        delete_pairs(
            &self.client,
            input_ids,
            annotation_ids,
            Options { missing_ok, on_failure, progress, timeout, precautions },
            Wait::Blocking,
        )
    }

    /// Delete many annotations in pairs, as the function `delete_annotations_async` does.
    #[pyo3(signature = (input_ids, annotation_ids, *, missing_ok=false, on_failure="raise", progress=None,
        timeout=None, backup=None, journal=None, max_deletions=None),
        text_signature = "($self, input_ids, annotation_ids, *, missing_ok=False, on_failure='raise', \
            progress=False, timeout=None, backup=None, journal=None, max_deletions=None)")]
    #[allow(clippy::too_many_arguments)]
    fn delete_annotations_async<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        annotation_ids: &Bound<'py, PyAny>,
        missing_ok: bool,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        backup: Option<BackupPath>,
        journal: Option<JournalPlace>,
        max_deletions: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let precautions = precautions(backup, journal, max_deletions)?;
        delete_pairs(
            &self.client,
            input_ids,
            annotation_ids,
            Options { missing_ok, on_failure, progress, timeout, precautions },
            Wait::Awaited,
        )
    }

    /// Delete every annotation of some inputs, as the function `delete_input_annotations` does.
    #[pyo3(signature = (input_ids, *, on_failure="raise", progress=None, timeout=None, backup=None, journal=None,
        max_deletions=None),
        text_signature = "($self, input_ids, *, on_failure='raise', progress=False, timeout=None, \
            backup=None, journal=None, max_deletions=None)")]
    #[allow(clippy::too_many_arguments)]
    fn delete_input_annotations<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        backup: Option<BackupPath>,
        journal: Option<JournalPlace>,
        max_deletions: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let precautions = precautions(backup, journal, max_deletions)?;
        delete_inputs(
            &self.client,
            input_ids,
            Options { missing_ok: false, on_failure, progress, timeout, precautions },
            Wait::Blocking,
        )
    }

    /// Delete every annotation of some inputs, as `delete_input_annotations_async` does.
    #[pyo3(signature = (input_ids, *, on_failure="raise", progress=None, timeout=None, backup=None, journal=None,
        max_deletions=None),
        text_signature = "($self, input_ids, *, on_failure='raise', progress=False, timeout=None, \
            backup=None, journal=None, max_deletions=None)")]
    #[allow(clippy::too_many_arguments)]
    fn delete_input_annotations_async<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
        backup: Option<BackupPath>,
        journal: Option<JournalPlace>,
        max_deletions: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let precautions = precautions(backup, journal, max_deletions)?;
        delete_inputs(
            &self.client,
            input_ids,
            Options { missing_ok: false, on_failure, progress, timeout, precautions },
            Wait::Awaited,
        )
    }

    /// Look up what a deletion of these pairs would do, as the function `plan_deletion` does.
    #[pyo3(signature = (input_ids, annotation_ids, *, progress=None, timeout=None),
        text_signature = "($self, input_ids, annotation_ids, *, progress=False, timeout=None)")]
    fn plan_deletion<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        annotation_ids: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        plan::of_pairs(&self.client, input_ids, annotation_ids, progress, timeout, Wait::Blocking)
    }

    /// Look up what a deletion by inputs would do, as the function `plan_input_deletion` does.
    #[pyo3(signature = (input_ids, *, max_deletions=None, progress=None, timeout=None),
        text_signature = "($self, input_ids, *, max_deletions=None, progress=False, timeout=None)")]
    fn plan_input_deletion<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        max_deletions: Option<i64>,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        plan::of_inputs(&self.client, input_ids, max_deletions, progress, timeout, Wait::Blocking)
    }

    /// Post the annotations of a backup back, as the function `restore_annotations` does.
    #[pyo3(signature = (backup, *, input_ids=None, on_failure="raise", progress=None, timeout=None),
        text_signature = "($self, backup, *, input_ids=None, on_failure='raise', progress=False, timeout=None)")]
    fn restore_annotations<'py>(
        &self,
        py: Python<'py>,
        backup: PathBuf,
        input_ids: Option<&Bound<'py, PyAny>>,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = restore::Options { input_ids, on_failure, progress, timeout };
        restore::restore(py, &self.client, backup, options, Wait::Blocking)
    }

    /// Look up what a deletion of these pairs would do, as the function `plan_deletion_async` does.
    #[pyo3(signature = (input_ids, annotation_ids, *, progress=None, timeout=None),
        text_signature = "($self, input_ids, annotation_ids, *, progress=False, timeout=None)")]
    fn plan_deletion_async<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        annotation_ids: &Bound<'py, PyAny>,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        plan::of_pairs(&self.client, input_ids, annotation_ids, progress, timeout, Wait::Awaited)
    }

    /// Look up what a deletion by inputs would do, as the function `plan_input_deletion_async` does.
    #[pyo3(signature = (input_ids, *, max_deletions=None, progress=None, timeout=None),
        text_signature = "($self, input_ids, *, max_deletions=None, progress=False, timeout=None)")]
    fn plan_input_deletion_async<'py>(
        &self,
        input_ids: &Bound<'py, PyAny>,
        max_deletions: Option<i64>,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        plan::of_inputs(&self.client, input_ids, max_deletions, progress, timeout, Wait::Awaited)
    }

    /// Post the annotations of a backup back, as the function `restore_annotations_async` does.
    #[pyo3(signature = (backup, *, input_ids=None, on_failure="raise", progress=None, timeout=None),
        text_signature = "($self, backup, *, input_ids=None, on_failure='raise', progress=False, timeout=None)")]
    fn restore_annotations_async<'py>(
        &self,
        py: Python<'py>,
        backup: PathBuf,
        input_ids: Option<&Bound<'py, PyAny>>,
        on_failure: &str,
        progress: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = restore::Options { input_ids, on_failure, progress, timeout };
        restore::restore(py, &self.client, backup, options, Wait::Awaited)
    }

    /// Close the connection, also for the clients made by `for_app`. Later calls fail.
    fn close(&self) {
        self.client.close();
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __exit__(&self, _kind: &Bound<'_, PyAny>, _error: &Bound<'_, PyAny>, _trace: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __aenter__(this: Py<Self>, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        bridge::done(py, this)
    }

    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.close();
        bridge::done(py, py.None())
    }

    /// What `pickle` keeps: everything but the credential, which the other process finds for itself.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        if self.keeps_a_secret {
            return Err(PyTypeError::new_err(
                "this client cannot be pickled: its credential was given as an argument, and would travel in clear. \
                 Let each process find it by CLARIFAI_PAT or `clarifai login`, or make the client there",
            ));
        }
        let Settings { user_id, app_id, base_url, root_certificates_path, limits, .. } =
            self.client.settings();
        let settings = PyDict::new(py);
        settings.set_item("user_id", user_id)?;
        settings.set_item("app_id", app_id)?;
        settings.set_item("base_url", base_url)?;
        settings.set_item("root_certificates_path", root_certificates_path)?;
        settings.set_item("requests_per_second", limits.requests_per_second)?;
        settings.set_item("batch_size", limits.batch_size)?;
        settings.set_item("max_in_flight", limits.max_in_flight)?;
        settings.set_item("request_timeout", limits.request_timeout.as_secs_f64())?;
        settings.set_item("max_attempts", limits.max_attempts)?;
        let make = py.import("functools")?.getattr("partial")?;
        Ok((make.call((py.get_type::<Self>(),), Some(&settings))?, PyTuple::empty(py)))
    }

    fn __repr__(&self) -> String {
        let Settings { user_id, app_id, credential, base_url, root_certificates_path, limits, .. } =
            self.client.settings();
        let Limits { requests_per_second, batch_size, max_in_flight, request_timeout, max_attempts } = limits;
        let credential = match credential {
            config::Credential::Pat(_) => "pat='***'",
            config::Credential::SessionToken(_) => "session_token='***'",
        };
        let roots = root_certificates_path.as_ref().map_or("None".into(), |path| format!("{path:?}"));
        let pace = requests_per_second.map_or("None".into(), |rate| rate.to_string());
        let timeout = request_timeout.as_secs_f64();
        format!(
            "Client(user_id={user_id:?}, app_id={app_id:?}, {credential}, base_url={base_url:?}, \
             root_certificates_path={roots}, requests_per_second={pace}, batch_size={batch_size}, \
             max_in_flight={max_in_flight}, request_timeout={timeout}, max_attempts={max_attempts})"
        )
    }
}

/// Delete one annotation.
///
/// One that comes alone is sent at once. Those that come meanwhile, from other threads or tasks,
/// share the next requests; each gets its own outcome.
///
/// Args:
///     input_id: ID of the input that the annotation is on.
///     annotation_id: ID of the annotation.
///     missing_ok: Whether an annotation that is not there is as good as a deleted one,
///         as in `pathlib.Path.unlink`.
///     timeout: Seconds for the whole call, attempts and waits included; ``None`` for no limit. When
///         they are over nothing more is sent, and an answer on its way is awaited for two seconds more.
///     client: The client to use; ``None`` for the one that the functions share, which is made
///         from the environment.
///
/// Raises:
///     IdError: An ID is empty, blank or missing. Nothing was sent.
///     IdTypeError: An ID is not a string. Nothing was sent.
///     ConfigurationError: A setting is missing. Nothing was sent.
///     NotFoundError: The annotation is not there (unless ``missing_ok``), or its app is not.
///     AuthenticationError: The service does not accept the credential.
///     PermissionDeniedError: The credential may not delete here.
///     ThrottledError: Too many requests, at every attempt.
///     ApiError: The service refused for another reason.
///     TransportError: The service was not reached, or the connection broke.
///     DeadlineError: No answer in time.
///
/// Example:
///     >>> delete_annotation("photo-1", "box-7", missing_ok=True)
#[pyfunction]
#[pyo3(signature = (input_id, annotation_id, *, missing_ok=false, timeout=None, client=None))]
pub fn delete_annotation<'py>(
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_id.py(), client)?;
    delete_one(&client, input_id, annotation_id, missing_ok, timeout, Wait::Blocking)
}

/// Delete one annotation; the awaitable twin of `delete_annotation`.
///
/// Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
/// come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
/// `asyncio.CancelledError` comes when an answer on its way is in, two seconds later at most.
/// Those that are awaited together share requests, as far as they are for one app.
///
/// Example:
///     >>> await delete_annotation_async("photo-1", "box-7")
#[pyfunction]
#[pyo3(signature = (input_id, annotation_id, *, missing_ok=false, timeout=None, client=None))]
pub fn delete_annotation_async<'py>(
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_id.py(), client)?;
    delete_one(&client, input_id, annotation_id, missing_ok, timeout, Wait::Awaited)
}

/// Delete many annotations, each named by its input's ID and its own at the same position.
///
/// The whole call is checked before anything is sent. A repeated pair is sent once. Batches of up
/// to 128 go out at the pace of the quota, and one bad batch never stops the others.
///
/// Args:
///     input_ids: IDs of the inputs: a list, tuple or any iterable of ``str``, a numpy array, a
///         pandas Series or Index, or anything that exports an Arrow string column.
///     annotation_ids: IDs of the annotations, as many, in the same order.
///     missing_ok: Whether annotations that are not there are no failures.
///     on_failure: ``"raise"`` raises when not everything was deleted, after everything was
///         attempted; ``"report"`` returns the report.
///     progress: ``True`` shows a bar, where tqdm is installed. A callable gets a `Progress` at most ten
///         times a second, in the calling thread or the event loop; the last has ``finished`` set.
///         An exception that it raises stops the run and is raised.
///     timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
///         sent, and answers on their way are awaited for two seconds more.
///     backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
///         deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
///         backup that is there is added to. `restore_annotations` posts it back.
///     journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
///         with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
///         is not sent again; what was under way is looked up first. ``(path, part)`` for one of several
///         calls that share a file, from 0; they may run at once.
///     max_deletions: The most annotations that the call may delete: one that names more is refused
///         before anything is sent.
///     client: The client to use; ``None`` for the one that the functions share.
///
/// Returns:
///     What became of every pair. Empty columns send nothing and give an empty report.
///
/// Raises:
///     IdError: The columns differ in length, or an ID is empty, blank or missing; ``.index`` is
///         the position. Nothing was sent.
///     IdTypeError: Something is not a string, or not a column. Nothing was sent.
///     ConfigurationError: A setting is missing. Nothing was sent.
///     DeletionLimitError: More would be deleted than ``max_deletions``. Nothing was deleted.
///     BackupError: The backup cannot be written. What is not in it was not deleted; ``.report``, if
///         the run had begun.
///     JournalError: The journal cannot be written, or is of another call. ``.report``, if the run had begun.
///     DeletionError: Not everything was deleted; ``.report`` says what became of every pair.
///     AuthenticationError: The credential was refused, and the run stopped; ``.report``.
///     PermissionDeniedError: A scope is missing, and the run stopped; ``.report``.
///     NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
///     TransportError: The service cannot be reached, and the run stopped; ``.report``.
///     DeadlineError: ``timeout`` is over; ``.report``.
///     KeyboardInterrupt: Ctrl-C. Nothing more was sent, answers on their way were awaited for two
///         seconds, and the counts are in the log; ``.report``.
///
/// Example:
///     >>> report = delete_annotations(["photo-1", "photo-2"], ["box-7", "box-9"])
///     >>> report.deleted
///     2
#[pyfunction]
#[pyo3(signature = (input_ids, annotation_ids, *, missing_ok=false, on_failure="raise", progress=None,
    timeout=None, backup=None, journal=None, max_deletions=None, client=None),
    text_signature = "(input_ids, annotation_ids, *, missing_ok=False, on_failure='raise', progress=False, \
        timeout=None, backup=None, journal=None, max_deletions=None, client=None)")]
#[allow(clippy::too_many_arguments)]
pub fn delete_annotations<'py>(
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_ids.py(), client)?;
    let precautions = precautions(backup, journal, max_deletions)?;
    delete_pairs(
        &client,
        input_ids,
        annotation_ids,
        Options { missing_ok, on_failure, progress, timeout, precautions },
        Wait::Blocking,
    )
}

/// Delete many annotations in pairs; the awaitable twin of `delete_annotations`.
///
/// Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
/// come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
/// `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most,
/// and the counts go to the log.
///
/// Example:
///     >>> report = await delete_annotations_async(["photo-1"], ["box-7"])
#[pyfunction]
#[pyo3(signature = (input_ids, annotation_ids, *, missing_ok=false, on_failure="raise", progress=None,
    timeout=None, backup=None, journal=None, max_deletions=None, client=None),
    text_signature = "(input_ids, annotation_ids, *, missing_ok=False, on_failure='raise', progress=False, \
        timeout=None, backup=None, journal=None, max_deletions=None, client=None)")]
#[allow(clippy::too_many_arguments)]
pub fn delete_annotations_async<'py>(
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    missing_ok: bool,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_ids.py(), client)?;
    let precautions = precautions(backup, journal, max_deletions)?;
    delete_pairs(
        &client,
        input_ids,
        annotation_ids,
        Options { missing_ok, on_failure, progress, timeout, precautions },
        Wait::Awaited,
    )
}

/// Delete every annotation of some inputs, save their input-level ones.
///
/// An input-level annotation goes only with its input. The report counts inputs. With a backup or a
/// cap, what is on the inputs is listed and then deleted pair by pair.
///
/// Args:
///     input_ids: IDs of the inputs: a list, tuple or any iterable of ``str``, a numpy array, a
///         pandas Series or Index, or anything that exports an Arrow string column.
///     on_failure: ``"raise"`` raises when not everything was deleted, after everything was
///         attempted; ``"report"`` returns the report.
///     progress: ``True`` shows a bar, where tqdm is installed. A callable gets a `Progress` at most ten
///         times a second, in the calling thread or the event loop; the last has ``finished`` set.
///         An exception that it raises stops the run and is raised.
///     timeout: Seconds for the whole call; ``None`` for no limit. When they are over nothing more is
///         sent, and answers on their way are awaited for two seconds more.
///     backup: Path of a Parquet file: each annotation is listed, written and synced there before it is
///         deleted, byte for byte as the service has it, and one that cannot be saved is not deleted. A
///         backup that is there is added to. `restore_annotations` posts it back.
///     journal: Path of a SQLite file that has each ID with its outcome when the call ends: the same call
///         with the same journal goes on where it stopped, whatever ended it. What is deleted or absent
///         is not sent again; what was under way is sent once more. ``(path, part)`` for one of several
///         calls that share a file, from 0; they may run at once.
///     max_deletions: The most annotations that may go. All are listed before the first is deleted,
///         and what is deleted is what was counted, pair by pair. Beyond it nothing is deleted.
///     client: The client to use; ``None`` for the one that the functions share.
///
/// Returns:
///     What became of every input. An empty column sends nothing and gives an empty report.
///
/// Raises:
///     IdError: An ID is empty, blank or missing; ``.index`` is the position. Nothing was sent.
///     IdTypeError: Something is not a string, or not a column. Nothing was sent.
///     ConfigurationError: A setting is missing. Nothing was sent.
///     DeletionLimitError: More would be deleted than ``max_deletions``. Nothing was deleted.
///     BackupError: The backup cannot be written. What is not in it was not deleted; ``.report``, if
///         the run had begun.
///     JournalError: The journal cannot be written, or is of another call. ``.report``, if the run had begun.
///     DeletionError: Not everything was deleted; ``.report`` says what became of every input.
///     AuthenticationError: The credential was refused, and the run stopped; ``.report``.
///     PermissionDeniedError: A scope is missing, and the run stopped; ``.report``.
///     NotFoundError: The user or the app is not there, and the run stopped; ``.report``.
///     TransportError: The service cannot be reached, and the run stopped; ``.report``.
///     DeadlineError: ``timeout`` is over; ``.report``.
///     KeyboardInterrupt: Ctrl-C. Nothing more was sent, answers on their way were awaited for two
///         seconds, and the counts are in the log; ``.report``.
///
/// Example:
///     >>> report = delete_input_annotations(["photo-1", "photo-2"])
#[pyfunction]
#[pyo3(signature = (input_ids, *, on_failure="raise", progress=None, timeout=None, backup=None, journal=None,
    max_deletions=None, client=None),
    text_signature = "(input_ids, *, on_failure='raise', progress=False, timeout=None, backup=None, \
        journal=None, max_deletions=None, client=None)")]
#[allow(clippy::too_many_arguments)]
pub fn delete_input_annotations<'py>(
    input_ids: &Bound<'py, PyAny>,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_ids.py(), client)?;
    let precautions = precautions(backup, journal, max_deletions)?;
    delete_inputs(
        &client,
        input_ids,
        Options { missing_ok: false, on_failure, progress, timeout, precautions },
        Wait::Blocking,
    )
}

/// Delete every annotation of some inputs; the awaitable twin of `delete_input_annotations`.
///
/// Parameters, result and errors are the same; bad IDs are refused at the call, the other errors
/// come from the ``await``. Call it where an event loop runs. Cancelling it sends nothing more;
/// `asyncio.CancelledError` comes when the answers on their way are in, two seconds later at most,
/// and the counts go to the log.
///
/// Example:
///     >>> report = await delete_input_annotations_async(["photo-1"])
#[pyfunction]
#[pyo3(signature = (input_ids, *, on_failure="raise", progress=None, timeout=None, backup=None, journal=None,
    max_deletions=None, client=None),
    text_signature = "(input_ids, *, on_failure='raise', progress=False, timeout=None, backup=None, \
        journal=None, max_deletions=None, client=None)")]
#[allow(clippy::too_many_arguments)]
pub fn delete_input_annotations_async<'py>(
    input_ids: &Bound<'py, PyAny>,
    on_failure: &str,
    progress: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    backup: Option<BackupPath>,
    journal: Option<JournalPlace>,
    max_deletions: Option<i64>,
    client: Option<&Bound<'py, PyClient>>,
) -> PyResult<Bound<'py, PyAny>> {
    let client = client_or_shared(input_ids.py(), client)?;
    let precautions = precautions(backup, journal, max_deletions)?;
    delete_inputs(
        &client,
        input_ids,
        Options { missing_ok: false, on_failure, progress, timeout, precautions },
        Wait::Awaited,
    )
}

fn delete_one<'py>(
    client: &Client,
    input_id: &Bound<'py, PyAny>,
    annotation_id: &Bound<'py, PyAny>,
    missing_ok: bool,
    timeout: Option<f64>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = input_id.py();
    let input = columns::single("input_id", input_id)?;
    let annotation = columns::single("annotation_id", annotation_id)?;
    let targets = Targets::pairs(input, annotation).map_err(|error| errors::id_error(py, &error))?;
    let call = Arc::new(Call::new(targets, timeout_of(timeout)?));
    let (client, under_way) = (client.clone(), Arc::clone(&call));
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
    wait.on(py, call, None, work)
}

/// What a call for many takes beside its IDs.
pub struct Options<'a, 'py> {
    pub missing_ok: bool,
    pub on_failure: &'a str,
    pub progress: Option<&'a Bound<'py, PyAny>>,
    pub timeout: Option<f64>,
    pub precautions: Precautions,
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

fn delete_pairs<'py>(
    client: &Client,
    input_ids: &Bound<'py, PyAny>,
    annotation_ids: &Bound<'py, PyAny>,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let py = input_ids.py();
    let input_ids = columns::column("input_ids", input_ids)?;
    let annotation_ids = columns::column("annotation_ids", annotation_ids)?;
    delete_many(py, client, Targets::pairs(input_ids, annotation_ids), options, wait)
}

fn delete_inputs<'py>(
    client: &Client,
    input_ids: &Bound<'py, PyAny>,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let targets = Targets::inputs(columns::column("input_ids", input_ids)?);
    delete_many(input_ids.py(), client, targets, options, wait)
}

pub fn delete_many<'py>(
    py: Python<'py>,
    client: &Client,
    targets: Result<Targets, IdError>,
    options: Options<'_, 'py>,
    wait: Wait,
) -> PyResult<Bound<'py, PyAny>> {
    let Options { missing_ok, on_failure, progress, timeout, precautions } = options;
    let targets = targets.map_err(|error| errors::id_error(py, &error))?;
    let raises = raises(on_failure)?;
    let call = Arc::new(Call::new(targets, timeout_of(timeout)?).with(precautions));
    let watcher = progress.map(|it| Watcher::new(it, &call, Work::Deleting)).transpose()?.flatten();
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
    wait.on(py, call, watcher, work)
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
