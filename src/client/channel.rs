//! The connection: one request out, one answer or one [`Error`] back. Knows nothing of batches.

use std::{
    error::Error as _,
    fs,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use tonic::{
    Code, ConnectError, TimeoutExpired,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{self, Certificate, ClientTlsConfig, Endpoint},
};

use super::{
    quota::Turn,
    request::{Deletion, DeletionCodec},
};
use crate::{
    config::{ConfigurationError, Credential, Settings},
    error::{Error, Kind, Status},
    process::PerProcess,
    wire::{self, StatusCode, api, status_name},
};

type Stub = api::v2_client::V2Client<transport::Channel>;

/// Name and version, as the service sees them.
const PRODUCT: &str = concat!("clarifai-annotations/", env!("CARGO_PKG_VERSION"));
const REQUEST_ID_PREFIX: &str = concat!("clarifai-annotations-", env!("CARGO_PKG_VERSION"));

/// The longest that opening a connection may take, within the request's own time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection with a request under way that stays silent this long is asked whether it lives…
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// …and given up when it does not answer in this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// As in Clarifai's own client. A list answers with whole annotations, and masks are large.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// One HTTP/2 connection to the service, made at the first request and again whenever it breaks.
pub struct Channel {
    endpoint: Endpoint,
    credential: (&'static str, MetadataValue<Ascii>),
    request_timeout: Duration,
    /// Made at the first request; tonic connects on demand, and again after a break.
    connection: PerProcess<Mutex<Option<transport::Channel>>>,
    closed: AtomicBool,
}

impl Channel {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the certificates cannot be read or the base is no URL.
    pub fn new(settings: &Settings) -> Result<Self, ConfigurationError> {
        Ok(Self {
            endpoint: endpoint(settings)?,
            credential: credential(&settings.credential)?,
            request_timeout: settings.limits.request_timeout,
            connection: PerProcess::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// Fails when [`close`](Self::close) was called.
    pub fn open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Refuses all later requests; the connection ends with the last request under way.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.connection().take();
    }

    /// `DeleteAnnotation`. Like every request it takes a turn, and tells the quota how it was answered.
    pub async fn delete_annotation(
        &self,
        turn: Turn,
        request: api::DeleteAnnotationRequest,
    ) -> Result<(), Error> {
        let mut stub = self.stub()?;
        let answer = self.answer(Box::pin(stub.delete_annotation(self.request(request)))).await;
        answered(turn, answer.and_then(|answer| succeeded(answer.status)))
    }

    /// `DeleteAnnotations`.
    pub async fn delete_annotations(&self, turn: Turn, request: Deletion) -> Result<(), Error> {
        const PATH: &str = "/clarifai.api.V2/DeleteAnnotations";
        // As the generated stub does, with another codec.
        let mut connection = Grpc::new(self.connected()?);
        let call = async {
            connection.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            connection.unary(self.request(request), PathAndQuery::from_static(PATH), DeletionCodec).await
        };
        let answer = self.answer(Box::pin(call)).await;
        answered(turn, answer.and_then(|answer| succeeded(answer.status)))
    }

    /// `ListAnnotations`: the annotations of one page, as served.
    pub async fn list_annotations(
        &self,
        turn: Turn,
        request: api::ListAnnotationsRequest,
    ) -> Result<Vec<api::Annotation>, Error> {
        let mut stub = self.stub()?;
        let answer = self.answer(Box::pin(stub.list_annotations(self.request(request)))).await;
        let annotations =
            answered(turn, answer.and_then(|answer| succeeded(answer.status).map(|()| answer.annotations)))?;
        let parsed = annotations.iter().map(wire::parse_annotation).collect::<Result<_, _>>();
        parsed.map_err(|error| self.broken(&format!("an annotation in a list could not be read: {error}")))
    }

    fn stub(&self) -> Result<Stub, Error> {
        Ok(Stub::new(self.connected()?).max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    /// The connection, made on first use: it needs the runtime that the caller is on.
    fn connected(&self) -> Result<transport::Channel, Error> {
        let mut connection = self.connection();
        self.open()?;
        Ok(connection.get_or_insert_with(|| self.endpoint.connect_lazy()).clone())
    }

    fn connection(&self) -> MutexGuard<'_, Option<transport::Channel>> {
        self.connection.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        // Tells the service too, so that it need not finish what nobody waits for.
        request.set_timeout(self.request_timeout);
        let (key, credential) = &self.credential;
        request.metadata_mut().insert(*key, credential.clone());
        request.metadata_mut().insert(wire::REQUEST_ID_PREFIX, MetadataValue::from_static(REQUEST_ID_PREFIX));
        request
    }

    /// The call comes boxed: it is large, and the futures around it are moved more than once.
    async fn answer<T>(
        &self,
        call: Pin<Box<impl Future<Output = Result<tonic::Response<T>, tonic::Status>>>>,
    ) -> Result<T, Error> {
        // tonic keeps to the timeout of the request until the answer begins; this one until it ends.
        match tokio::time::timeout(self.request_timeout, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(status)),
            Err(_) => Err(self.too_late()),
        }
    }

    /// tonic tells failures of its own from the service's by their source.
    fn failure(&self, status: tonic::Status) -> Error {
        if let Some(source) = status.source() {
            if chain(source).any(|error| error.is::<TimeoutExpired>()) {
                return self.too_late();
            }
            let text = innermost(source);
            let not_sent = chain(source).any(|error| error.is::<ConnectError>());
            return if not_sent {
                let message = format!("{} could not be reached: {text}. Nothing was sent", self.base());
                Error::Transport { message, sent: false }
            } else {
                self.broken(&text)
            };
        }
        match status.code() {
            Code::Unavailable => self.broken(&format!("unavailable: {}", status.message())),
            Code::DeadlineExceeded => self.too_late(),
            code => Error::Api(Status {
                code: code as i32,
                name: wire::grpc_name(code).into(),
                description: status.message().into(),
                details: String::new(),
                request_id: String::new(),
            }),
        }
    }

    fn broken(&self, why: &str) -> Error {
        Error::Transport { message: format!("{} gave no answer: {why}", self.base()), sent: true }
    }

    fn too_late(&self) -> Error {
        let seconds = self.request_timeout.as_secs_f64();
        Error::Deadline {
            message: format!("{} gave no answer within {seconds} s (request_timeout)", self.base()),
        }
    }

    fn base(&self) -> String {
        self.endpoint.uri().to_string().trim_end_matches('/').to_owned()
    }
}

fn endpoint(settings: &Settings) -> Result<Endpoint, ConfigurationError> {
    let refuse = |error: tonic::transport::Error| {
        ConfigurationError::new(format!("base_url {:?}: {}", settings.base_url, innermost(&error)))
    };
    let endpoint = Endpoint::from_shared(settings.base_url.clone())
        .and_then(|endpoint| endpoint.user_agent(PRODUCT))
        .map_err(refuse)?
        .connect_timeout(CONNECT_TIMEOUT.min(settings.limits.request_timeout))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    if endpoint.uri().scheme_str() == Some("http") {
        return Ok(endpoint);
    }
    endpoint.tls_config(trust(settings)?).map_err(refuse)
}

/// Whose certificates are trusted: the system's authorities, or those of the file alone.
fn trust(settings: &Settings) -> Result<ClientTlsConfig, ConfigurationError> {
    let Some(path) = &settings.root_certificates_path else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let refuse =
        |why: String| ConfigurationError::new(format!("root_certificates_path {}: {why}", path.display()));
    let pem = fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if !pem.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----") {
        return Err(refuse("holds no certificate in PEM form".into()));
    }
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

fn credential(credential: &Credential) -> Result<(&'static str, MetadataValue<Ascii>), ConfigurationError> {
    let (key, value) = match credential {
        Credential::Pat(pat) => (wire::AUTHORIZATION, format!("Key {pat}")),
        Credential::SessionToken(token) => (wire::SESSION_TOKEN, token.clone()),
    };
    let mut value = MetadataValue::try_from(value)
        .map_err(|_| ConfigurationError::new("the credential holds characters that cannot be sent"))?;
    // Keeps it out of debug texts and of HTTP/2's header tables.
    value.set_sensitive(true);
    Ok((key, value))
}

fn answered<T>(turn: Turn, answer: Result<T, Error>) -> Result<T, Error> {
    let throttled = answer.as_ref().is_err_and(|error| error.kind() == Some(Kind::Throttled));
    turn.answered(throttled);
    answer
}

fn succeeded(status: Option<api::status::Status>) -> Result<(), Error> {
    match status {
        Some(status) if status.code == StatusCode::Success as i32 => Ok(()),
        Some(status) if status.code != StatusCode::Zero as i32 => Err(Error::Api(Status {
            code: status.code,
            name: status_name(status.code)
                .map_or_else(|| format!("UNKNOWN_CODE_{}", status.code), str::to_owned),
            description: status.description,
            details: status.details,
            request_id: status.req_id,
        })),
        _ => Err(Error::Api(Status::absent())),
    }
}

type Cause = dyn std::error::Error + 'static;

/// An error, what caused it, what caused that, and so on.
fn chain(error: &Cause) -> impl Iterator<Item = &Cause> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The text of the error that began it: the outer ones say only "transport error".
fn innermost(error: &Cause) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}
