//! The emulator in Python: started, seeded, looked at and stopped from a test.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyDict, PyMapping, PyString, PyTuple},
};

use crate::{
    emulator::{
        self, Access, Conduct, Counting, FaultKind, ForeignPost, Keys, METHODS, MissingInput, MissingPair,
        MissingSingle, Options, Quota, RefusedPair, SeedError, Spread, SuccessCode, Undocumented,
    },
    wire::MAX_REQUEST_BYTES,
};

/// An annotation service on the loopback interface of this machine, on threads of this process.
///
/// It speaks gRPC and REST on one port. It runs from when it is made until `stop`, or the end of
/// its ``with`` block. Unless told otherwise it accepts any key, user and app, knows no quota, and
/// answers at once. One seed gives the same faults for the same requests, in whatever order they
/// race in.
///
/// Args:
///     tls: Whether to speak TLS, with a certificate of a throw-away authority for ``localhost``,
///         ``127.0.0.1`` and ``::1``.
///     requests_per_second: What a user may send; ``None`` for no limit. Over it, the answer is
///         CONN_THROTTLED.
///     quota: How the second is counted: ``"rolling"`` wherever it begins; ``"fixed"`` from its
///         first request; ``"bucket"`` with tokens that come back evenly.
///     halt: Seconds for which everything is refused once the quota was exceeded.
///     latency: Seconds that a request takes on its way in, before it is counted and applied; a
///         pair of the least and the most for a time that varies.
///     latency_back: Seconds that an answer takes on its way back, likewise.
///     seed: What chance is made of.
///     pats: The keys that are accepted: an iterable of them, or a mapping of each to its scopes
///         (``None`` for all). A method needs all of its scopes, as in Clarifai's API: every one
///         needs ``Apps_Get``, ``Inputs_Get``, ``Annotations_Get`` and ``Models_Get``; get and list
///         also ``Concepts_Get``; post also ``Concepts_Get``, ``Annotations_Add`` and
///         ``Workflows_Get``; deletions also ``Annotations_Add``, ``Annotations_Delete`` and
///         ``Workflows_Get``. Without, the answer is CONN_INSUFFICIENT_SCOPES. Session tokens are
///         held against the same keys. ``None`` accepts any.
///     apps: The apps that there are, as pairs of user ID and app ID; ``None`` for any that is named.
///     users: The users that keys belong to, by key. ``"me"`` in a request of such a key means its
///         user. In somebody else's app such a user deletes only their own annotations, by the
///         worker or the deprecated user ID; others are refused with ANNOTATION_PERMISSION_DENIED.
///         What such a key posts without an author gets its user as the worker. The quota counts by
///         its user. A key that is not here belongs to the owner of the app that it is used for.
///         User IDs are the same in upper and lower case.
///     missing_pair: What becomes of a batch that names a pair, or an input to delete all of, which
///         is not there: it is passed over and the answer is SUCCESS (``"success"``); the batch is
///         refused whole (``"refused"``); the rest is deleted and the answer is MIXED_STATUS
///         (``"mixed"``) or FAILURE (``"failure"``). ``None`` for ``"success"``.
///     refused_pair: What becomes of a batch that names one which is there and may not be deleted:
///         locked, input-level, or somebody else's. ``"refused"``, ``"mixed"`` or ``"failure"``;
///         ``None`` for the same as ``missing_pair``, and ``"refused"`` where that is ``"success"``.
///     missing_single: How the deletion of one that is not there is answered: with SUCCESS
///         (``"success"``), the status CONN_DOES_NOT_EXIST (``"status"``) or the gRPC status
///         NOT_FOUND (``"grpc"``). ``None`` for ``"success"``.
///     missing_input: How a list that names an input which is not there is answered: with nothing
///         of that input (``"empty"``), or refused with CONN_DOES_NOT_EXIST (``"does_not_exist"``)
///         or INPUT_DOES_NOT_EXIST (``"input_does_not_exist"``). A deletion or a post that is
///         refused for its input gets the same code, and INPUT_DOES_NOT_EXIST with ``"empty"``.
///     foreign_post: What becomes of an annotation that a user posts in another's name, in an app
///         that is not their own: ``"refused"`` with ANNOTATION_PERMISSION_DENIED, or stored as the
///         poster's (``"owned"``).
///     max_message_bytes: The most bytes in a request and in an answer; ``None`` for no limit. Over
///         it, the answer is gRPC's RESOURCE_EXHAUSTED, and over REST RPC_MAX_MESSAGE_SIZE_EXCEEDED
///         with HTTP's 413. A deletion or a post whose answer is too large is applied.
///     success_code: The code that every success is answered with: 10000 (SUCCESS), 10001 and 10002
///         (deprecation warnings) or 10070 (ACCEPTED).
///     visible_after: Seconds for which lists show what is deleted.
///     fault_rates: Faults at random, each with the share of requests that it befalls.
///     port: The port to listen on; 0 for a free one.
///
/// Raises:
///     OSError: The port is taken.
///     ValueError: An option is not valid.
///
/// Example:
///     >>> with Emulator(requests_per_second=15, latency=0.05) as emulator:
///     ...     emulator.add_annotation("photo-1", "box-7")
///     ...     emulator.client().delete_annotation("photo-1", "box-7")
#[pyclass(name = "Emulator", module = "clarifai_annotations.emulator", frozen)]
pub struct PyEmulator {
    emulator: emulator::Emulator,
    /// A key that its clients may use.
    pat: String,
    requests_per_second: Option<u32>,
}

#[pymethods]
impl PyEmulator {
    #[new]
    #[pyo3(signature = (*, tls=false, requests_per_second=None, quota="rolling", halt=0.0,
        latency=Seconds::default(), latency_back=Seconds::default(), seed=0, pats=None, apps=None, users=None,
        missing_pair=None, refused_pair=None, missing_single=None, missing_input="empty", foreign_post="refused",
        visible_after=0.0, max_message_bytes=Some(MAX_REQUEST_BYTES), success_code=10000, fault_rates=None, port=0),
        text_signature = "(*, tls=False, requests_per_second=None, quota='rolling', halt=0.0, latency=0.0, \
            latency_back=0.0, seed=0, pats=None, apps=None, users=None, missing_pair=None, refused_pair=None, \
            missing_single=None, missing_input='empty', foreign_post='refused', visible_after=0.0, \
            max_message_bytes=10485760, success_code=10000, fault_rates=None, port=0)")]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        tls: bool,
        requests_per_second: Option<u32>,
        quota: &str,
        halt: f64,
        latency: Seconds,
        latency_back: Seconds,
        seed: u64,
        pats: Option<&Bound<'_, PyAny>>,
        apps: Option<&Bound<'_, PyAny>>,
        users: Option<&Bound<'_, PyMapping>>,
        missing_pair: Option<&str>,
        refused_pair: Option<&str>,
        missing_single: Option<&str>,
        missing_input: &str,
        foreign_post: &str,
        visible_after: f64,
        max_message_bytes: Option<usize>,
        success_code: i32,
        fault_rates: Option<&Bound<'_, PyMapping>>,
        port: u16,
    ) -> PyResult<Self> {
        let pats = pats.map(keys).transpose()?;
        let pat = pats.iter().flat_map(|pats| pats.keys()).min().cloned();
        let apps = apps.map(|apps| apps.try_iter()?.map(|app| app?.extract()).collect::<PyResult<_>>());
        let users = users.map(|users| owners(users, pats.as_ref())).transpose()?.unwrap_or_default();
        let access = Access { pats, apps: apps.transpose()?, users };
        let counting = one_of(
            "quota",
            quota,
            [("rolling", Counting::Rolling), ("fixed", Counting::Fixed), ("bucket", Counting::Bucket)],
        )?;
        let halt = duration("halt", halt)?;
        let quota =
            requests_per_second.map(|requests_per_second| Quota { requests_per_second, counting, halt });
        let undocumented = Undocumented {
            missing_pair: missing_pair.map(missing_pair_option).transpose()?.unwrap_or_default(),
            refused_pair: refused_pair.map(refused_pair_option).transpose()?,
            missing_single: missing_single.map(missing_single_option).transpose()?.unwrap_or_default(),
            missing_input: one_of(
                "missing_input",
                missing_input,
                [
                    ("empty", MissingInput::Empty),
                    ("does_not_exist", MissingInput::DoesNotExist),
                    ("input_does_not_exist", MissingInput::InputDoesNotExist),
                ],
            )?,
            foreign_post: one_of(
                "foreign_post",
                foreign_post,
                [("refused", ForeignPost::Refused), ("owned", ForeignPost::Owned)],
            )?,
            visible_after: duration("visible_after", visible_after)?,
        };
        let conduct = Conduct {
            access,
            quota,
            latency_in: latency.spread("latency")?,
            latency_out: latency_back.spread("latency_back")?,
            undocumented,
            max_message_bytes,
            success_code: success(success_code)?,
            fault_rates: fault_rates.map(rates).transpose()?.unwrap_or_default(),
            seed,
        };
        let emulator = py.detach(|| emulator::Emulator::start(Options { port, tls, conduct }))?;
        Ok(Self { emulator, pat: pat.unwrap_or_else(|| "emulator-key".into()), requests_per_second })
    }

    /// Where it listens, for example ``http://127.0.0.1:43121``; ``https://`` with ``tls``.
    #[getter]
    fn base_url(&self) -> String {
        self.emulator.base_url()
    }

    /// The file of its certificate authority, with ``tls``. It goes with the emulator.
    #[getter]
    fn root_certificates_path(&self) -> Option<PathBuf> {
        self.emulator.root_certificates_path().map(Into::into)
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

    /// The latest requests it saw, oldest first: 100,000 at most, and 1,000,000 IDs.
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
            fault: it.fault,
            applied: it.applied,
        });
        requests.collect()
    }

    /// Forget the requests it saw.
    fn clear_requests(&self) {
        self.emulator.clear_requests();
    }

    /// Put faults in line.
    ///
    /// Each befalls the next request that it is meant for, once all before it have struck.
    ///
    /// Args:
    ///     faults: In the order in which they are to strike.
    ///
    /// Example:
    ///     >>> emulator.inject(Fault.throttled(), Fault.dropped_after().on("DeleteAnnotations"))
    #[pyo3(signature = (*faults))]
    fn inject(&self, faults: &Bound<'_, PyTuple>) -> PyResult<()> {
        let faults: Vec<_> =
            faults.iter().map(|fault| Ok(fault.cast::<Fault>()?.get().0.clone())).collect::<PyResult<_>>()?;
        self.emulator.inject(faults);
        Ok(())
    }

    /// Refuse for ever to delete an annotation, with ANNOTATION_PERMISSION_DENIED.
    ///
    /// Args:
    ///     input_id: ID of its input.
    ///     annotation_id: Its own ID.
    ///     user_id: Owner of the app.
    ///     app_id: The app.
    #[pyo3(signature = (input_id, annotation_id, *, user_id="emulator-user", app_id="emulator-app"))]
    fn lock(&self, input_id: &str, annotation_id: &str, user_id: &str, app_id: &str) {
        self.emulator.lock(user_id, app_id, input_id, annotation_id);
    }

    /// Be gone: stop listening and cut off every connection, until `resume`.
    ///
    /// Raises:
    ///     OSError: It was stopped.
    fn suspend(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.emulator.suspend())?)
    }

    /// Be back, on the same port.
    ///
    /// Raises:
    ///     OSError: It was stopped, or another program has the port now.
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.emulator.resume())?)
    }

    /// Make a client of this emulator, at the rate of its quota.
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
        all.set_item("requests_per_second", self.requests_per_second)?;
        // No other program sends to it.
        all.set_item("shared_rate_limit", false)?;
        all.set_item("root_certificates_path", self.root_certificates_path())?;
        let has_credential = |settings: &Bound<'_, PyDict>| settings.contains("session_token");
        if !settings.map(has_credential).transpose()?.unwrap_or(false) {
            all.set_item("pat", &self.pat)?;
        }
        if let Some(settings) = settings {
            all.update(settings.as_mapping())?;
        }
        py.import("clarifai_annotations")?.getattr("Client")?.call((), Some(&all))
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

/// A length of time, or the bounds of one that varies, in seconds.
#[derive(FromPyObject)]
enum Seconds {
    Fixed(f64),
    Between(f64, f64),
}

impl Default for Seconds {
    fn default() -> Self {
        Self::Fixed(0.0)
    }
}

impl Seconds {
    fn spread(&self, name: &str) -> PyResult<Spread> {
        let (least, most) = match *self {
            Self::Fixed(seconds) => (seconds, seconds),
            Self::Between(least, most) => (least, most),
        };
        let spread = Spread { least: duration(name, least)?, most: duration(name, most)? };
        if spread.least > spread.most {
            return Err(PyValueError::new_err(format!("{name} is ({least}, {most}): the least comes first")));
        }
        Ok(spread)
    }
}

fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{name} is {seconds}: give a number of seconds, 0 or more"))
    })
}

fn one_of<T, const N: usize>(name: &str, given: &str, choices: [(&str, T); N]) -> PyResult<T> {
    let words = choices.each_ref().map(|(word, _)| format!("{word:?}")).join(", ");
    let chosen = choices.into_iter().find(|(word, _)| *word == given);
    chosen
        .map(|(_, choice)| choice)
        .ok_or_else(|| PyValueError::new_err(format!("{name} is {given:?}: give one of {words}")))
}

fn missing_pair_option(given: &str) -> PyResult<MissingPair> {
    let choices = [
        ("success", MissingPair::Success),
        ("refused", MissingPair::Refused),
        ("mixed", MissingPair::Mixed),
        ("failure", MissingPair::Failure),
    ];
    one_of("missing_pair", given, choices)
}

fn refused_pair_option(given: &str) -> PyResult<RefusedPair> {
    let choices =
        [("refused", RefusedPair::Refused), ("mixed", RefusedPair::Mixed), ("failure", RefusedPair::Failure)];
    one_of("refused_pair", given, choices)
}

fn missing_single_option(given: &str) -> PyResult<MissingSingle> {
    let choices = [
        ("success", MissingSingle::Success),
        ("status", MissingSingle::Status),
        ("grpc", MissingSingle::Grpc),
    ];
    one_of("missing_single", given, choices)
}

fn success(code: i32) -> PyResult<SuccessCode> {
    SuccessCode::ALL.into_iter().find(|it| it.code() == code).ok_or_else(|| {
        let codes = SuccessCode::ALL.map(|it| it.code().to_string()).join(", ");
        PyValueError::new_err(format!("success_code is {code}: give one of {codes}"))
    })
}

/// The users that keys belong to. An error names no key: it may be a real one.
fn owners(users: &Bound<'_, PyMapping>, pats: Option<&Keys>) -> PyResult<HashMap<String, String>> {
    let users: HashMap<String, String> =
        users.items()?.iter().map(|item| item.extract()).collect::<PyResult<_>>()?;
    if users.values().any(String::is_empty) {
        return Err(PyValueError::new_err("users: a user ID is empty"));
    }
    if pats.is_some_and(|pats| users.keys().any(|key| !pats.contains_key(key))) {
        return Err(PyValueError::new_err("users names a key that is not among pats: give it there too"));
    }
    Ok(users)
}

fn rates(rates: &Bound<'_, PyMapping>) -> PyResult<Vec<(emulator::Fault, f64)>> {
    let rates: Vec<(emulator::Fault, f64)> = rates
        .items()?
        .iter()
        .map(|item| {
            let (fault, rate): (Bound<'_, Fault>, f64) = item.extract()?;
            Ok((fault.get().0.clone(), rate))
        })
        .collect::<PyResult<_>>()?;
    let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
    if rates.iter().any(|(_, rate)| !(0.0..=1.0).contains(rate)) || sum > 1.0 {
        return Err(PyValueError::new_err(
            "fault_rates: each is a share of requests, 0 to 1, and so is their sum",
        ));
    }
    Ok(rates)
}

/// Keys alone have every scope; a mapping gives each key its own.
fn keys(pats: &Bound<'_, PyAny>) -> PyResult<Keys> {
    if pats.is_instance_of::<PyString>() {
        return Err(PyValueError::new_err("pats is a single str: put it in a list"));
    }
    let Ok(scoped) = pats.cast::<PyMapping>() else {
        return pats.try_iter()?.map(|key| Ok((key?.extract()?, None))).collect();
    };
    let scoped = scoped.items()?.iter().map(|item| {
        let (key, scopes): (String, Option<Bound<'_, PyAny>>) = item.extract()?;
        let scopes = scopes.map(|scopes| scopes.try_iter()?.map(|scope| scope?.extract()).collect());
        Ok((key, scopes.transpose()?))
    });
    scoped.collect()
}

/// Serialize an annotation that is given as JSON, as in the body of a REST post.
///
/// Args:
///     json: An object with the proto's field names, snake_case or camelCase.
///
/// Returns:
///     A serialized ``clarifai.api.Annotation``.
///
/// Raises:
///     ValueError: It is not JSON, or has a field that annotations have not.
///
/// Example:
///     >>> message = annotation_from_json('{"data": {"concepts": [{"id": "cat", "value": 1}]}}')
///     >>> emulator.add_annotation("photo-1", "label-1", message=message)
#[pyfunction]
pub fn annotation_from_json<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyBytes>> {
    let message = emulator::annotation_from_json(json);
    message.map(|message| PyBytes::new(py, &message)).map_err(PyValueError::new_err)
}

fn seed_error(error: &SeedError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Something that goes wrong with a request.
///
/// Example:
///     >>> Fault.status(24156).on("DeleteAnnotations")
///     <Fault status(24156) on DeleteAnnotations>
#[pyclass(module = "clarifai_annotations.emulator", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub struct Fault(emulator::Fault);

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self(emulator::Fault { kind, methods: Vec::new() })
    }
}

#[pymethods]
impl Fault {
    /// Let a request through: for a plan that begins later.
    #[staticmethod]
    fn none() -> Self {
        FaultKind::None.into()
    }

    /// Refuse it as one too many.
    #[staticmethod]
    fn throttled() -> Self {
        FaultKind::Throttled.into()
    }

    /// Refuse it with a status code of Clarifai's, for example 10030.
    ///
    /// Args:
    ///     code: The status code.
    ///     applied: Whether the request is carried out first: an ambiguous failure, such as 40031.
    #[staticmethod]
    #[pyo3(signature = (code, applied=false))]
    fn status(code: i32, applied: bool) -> Self {
        if applied { FaultKind::AppliedStatus(code).into() } else { FaultKind::Status(code).into() }
    }

    /// Refuse it with a gRPC status code, 1 to 16.
    #[staticmethod]
    fn grpc(code: i32) -> PyResult<Self> {
        if !(1..=16).contains(&code) {
            return Err(PyValueError::new_err(format!("code is {code}: gRPC's failures are 1 to 16")));
        }
        Ok(FaultKind::Grpc(code).into())
    }

    /// Drop its connection before it is applied.
    #[staticmethod]
    fn dropped_before() -> Self {
        FaultKind::DroppedBefore.into()
    }

    /// Apply it, then drop its connection: the answer is lost.
    #[staticmethod]
    fn dropped_after() -> Self {
        FaultKind::DroppedAfter.into()
    }

    /// Apply it and answer so much later.
    #[staticmethod]
    fn delayed(seconds: f64) -> PyResult<Self> {
        Ok(FaultKind::Delayed(duration("seconds", seconds)?).into())
    }

    /// Apply it and never answer.
    #[staticmethod]
    fn unanswered() -> Self {
        FaultKind::Unanswered.into()
    }

    /// Apply the first so many of its pairs or inputs, then fail with INTERNAL_UNCATEGORIZED.
    #[staticmethod]
    fn partial(first: usize) -> Self {
        FaultKind::Partial(first).into()
    }

    /// Serve it, and let its connection take no further one (HTTP/2's GOAWAY).
    #[staticmethod]
    fn goaway() -> Self {
        FaultKind::GoAway.into()
    }

    /// Make it befall only some methods, for example ``"DeleteAnnotations"``.
    ///
    /// Raises:
    ///     ValueError: The emulator plays no such method.
    #[pyo3(signature = (*methods))]
    fn on(&self, methods: Vec<String>) -> PyResult<Self> {
        if let Some(unknown) = methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            let text = format!("{unknown:?} is no method here: give one of {}", METHODS.join(", "));
            return Err(PyValueError::new_err(text));
        }
        Ok(Self(emulator::Fault { kind: self.0.kind.clone(), methods }))
    }

    fn __repr__(&self) -> String {
        let on = match self.0.methods.as_slice() {
            [] => String::new(),
            methods => format!(" on {}", methods.join(", ")),
        };
        format!("<Fault {}{on}>", self.0.kind)
    }
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
    /// The status code that it was answered with, or the gRPC status; 0 where no answer was sent.
    code: i32,
    /// That code's name; empty where no answer was sent.
    name: String,
    /// The fault that befell it, for example ``"dropped_after"``.
    fault: Option<String>,
    /// How many annotations it deleted or added.
    applied: usize,
}

#[pymethods]
impl RecordedRequest {
    fn __repr__(&self) -> String {
        let Self { method, user_id, app_id, input_ids, ids, name, .. } = self;
        format!("<{method} in {user_id}/{app_id}, input_ids={input_ids:?}, ids={ids:?}: {name}>")
    }
}
