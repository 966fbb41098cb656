//! The settings of a client, as Python gives them, and the core that works by them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyDict};

use super::{errors, logging::log_to_python};
use crate::{
    client::Client,
    config::{self, Arguments, ConfigurationError, Limits, Rate, Settings},
};

/// What the environment may say, by the names of Clarifai's SDK and of curl; and where the home directory is.
const VARIABLES: [&str; 17] = [
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
    config::RUNTIME_DIR,
    "XDG_RUNTIME_DIR",
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

/// The client of the module's functions where none is given. It is made from the environment at first use, and again
/// when the environment has changed since.
#[pyfunction]
pub fn shared_client(py: Python<'_>) -> PyResult<Py<NativeClient>> {
    static SHARED: Mutex<Option<(Environment, Py<NativeClient>)>> = Mutex::new(None);
    let environment = environment(py)?;
    if let Some((made_from, client)) = &*SHARED.lock().unwrap_or_else(PoisonError::into_inner)
        && *made_from == environment
    {
        return Ok(client.clone_ref(py));
    }
    let client = connect(py, Arguments::default(), &environment)?;
    let client = Py::new(py, NativeClient { client, keeps_a_secret: false })?;
    *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some((environment, client.clone_ref(py)));
    Ok(client)
}

/// The setting `requests_per_second`, where it is not `None`.
#[derive(FromPyObject)]
enum RequestsPerSecond {
    Number(f64),
    Word(String),
}

impl RequestsPerSecond {
    fn rate(self) -> Result<Rate, ConfigurationError> {
        match self {
            Self::Number(rate) => Ok(Rate::PerSecond(rate)),
            Self::Word(word) if word == "auto" => Ok(Rate::Auto),
            Self::Word(word) => Err(ConfigurationError::new(format!(
                "requests_per_second is {word:?}: give a number, \"auto\", or None for no limit"
            ))),
        }
    }
}

/// What is behind a `clarifai_annotations.Client`.
#[pyclass(frozen)]
pub struct NativeClient {
    client: Client,
    /// Its credential was given as an argument, rather than found where another process finds it too.
    keeps_a_secret: bool,
}

impl NativeClient {
    /// The client of the core.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

#[pymethods]
impl NativeClient {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        user_id: Option<String>,
        app_id: Option<String>,
        pat: Option<String>,
        session_token: Option<String>,
        base_url: Option<String>,
        root_certificates_path: Option<PathBuf>,
        requests_per_second: Option<RequestsPerSecond>,
        shared_rate_limit: bool,
        is_part_of_rate: bool,
        batch_size: usize,
        max_in_flight: usize,
        request_timeout: f64,
        max_attempts: u32,
        cancel_grace: f64,
    ) -> PyResult<Self> {
        let refused = |error: ConfigurationError| errors::configuration_error(py, &error);
        let limits = Limits {
            requests_per_second: requests_per_second
                .map_or(Ok(Rate::Unlimited), RequestsPerSecond::rate)
                .map_err(refused)?,
            shared_rate_limit,
            is_part_of_rate,
            batch_size,
            max_in_flight,
            request_timeout: config::seconds("request_timeout", request_timeout).map_err(refused)?,
            max_attempts,
            cancel_grace: config::seconds_or_zero("cancel_grace", cancel_grace).map_err(refused)?,
        };
        let arguments =
            Arguments { user_id, app_id, pat, session_token, base_url, root_certificates_path, limits };
        let keeps_a_secret = arguments.pat.is_some() || arguments.session_token.is_some();
        Ok(Self { client: connect(py, arguments, &environment(py)?)?, keeps_a_secret })
    }

    #[getter]
    fn user_id(&self) -> &str {
        &self.client.settings().user_id
    }

    #[getter]
    fn app_id(&self) -> &str {
        &self.client.settings().app_id
    }

    #[getter]
    fn base_url(&self) -> &str {
        &self.client.settings().base_url
    }

    fn for_app(&self, py: Python<'_>, app_id: String, user_id: Option<String>) -> PyResult<Self> {
        let client = self.client.for_app(app_id, user_id);
        let client = client.map_err(|error| errors::configuration_error(py, &error))?;
        Ok(Self { client, ..*self })
    }

    fn close(&self) {
        self.client.close();
    }

    /// All settings but the credential, by their names.
    ///
    /// # Errors
    /// A `TypeError` where the credential was an argument: another process does not find it.
    fn picklable_settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
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
        match limits.requests_per_second {
            Rate::PerSecond(rate) => settings.set_item("requests_per_second", rate)?,
            Rate::Auto => settings.set_item("requests_per_second", "auto")?,
            Rate::Unlimited => settings.set_item("requests_per_second", py.None())?,
        }
        settings.set_item("shared_rate_limit", limits.shared_rate_limit)?;
        settings.set_item("batch_size", limits.batch_size)?;
        settings.set_item("max_in_flight", limits.max_in_flight)?;
        settings.set_item("request_timeout", limits.request_timeout.as_secs_f64())?;
        settings.set_item("max_attempts", limits.max_attempts)?;
        settings.set_item("cancel_grace", limits.cancel_grace.as_secs_f64())?;
        Ok(settings)
    }

    /// The settings as they stand in a `repr`, the credential masked.
    fn described_settings(&self) -> String {
        let Settings { user_id, app_id, credential, base_url, root_certificates_path, limits, .. } =
            self.client.settings();
        let Limits {
            requests_per_second,
            shared_rate_limit,
            is_part_of_rate: _,
            batch_size,
            max_in_flight,
            request_timeout,
            max_attempts,
            cancel_grace,
        } = limits;
        let credential = match credential {
            config::Credential::Pat(_) => "pat='***'",
            config::Credential::SessionToken(_) => "session_token='***'",
        };
        let roots = root_certificates_path.as_ref().map_or("None".into(), |path| format!("{path:?}"));
        let rate = match requests_per_second {
            Rate::PerSecond(rate) => rate.to_string(),
            Rate::Auto => "'auto'".into(),
            Rate::Unlimited => "None".into(),
        };
        let shared = if *shared_rate_limit { "True" } else { "False" };
        let (timeout, grace) = (request_timeout.as_secs_f64(), cancel_grace.as_secs_f64());
        format!(
            "user_id={user_id:?}, app_id={app_id:?}, {credential}, base_url={base_url:?}, \
             root_certificates_path={roots}, requests_per_second={rate}, shared_rate_limit={shared}, \
             batch_size={batch_size}, max_in_flight={max_in_flight}, request_timeout={timeout}, max_attempts={max_attempts}, \
             cancel_grace={grace}"
        )
    }
}
