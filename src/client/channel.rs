//! The connection: one request out, one answer or one [`Error`] back. Knows nothing of batches.

use std::{
    fs,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use hyper_util::client::legacy::connect::{HttpConnector, proxy::Tunnel};
use tonic::{
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::{self, Certificate, ClientTlsConfig, Endpoint},
};
use tower::{ServiceExt as _, timeout::Timeout};

use super::{
    cork::Corked,
    heard::{Heard, Listening},
    peer::{Peer, innermost},
    quota::Turn,
    request::{Deletion, DeletionCodec},
};
use crate::{
    config::{ConfigurationError, Credential, Settings},
    error::{Error, Kind},
    process::PerProcess,
    wire::{
        self, Listed,
        api::{self, v2_client::V2Client},
    },
};

/// Name and version, as the service sees them.
const PRODUCT: &str = concat!("clarifai-annotations/", env!("CARGO_PKG_VERSION"));
const REQUEST_ID_PREFIX: &str = concat!("clarifai-annotations-", env!("CARGO_PKG_VERSION"));

/// The longest that opening a connection may take, within the request's own time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection with a request under way that stays silent this long is asked whether it lives…
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// …and given up when it does not answer in this time.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// As in Clarifai's own client: what was posted comes back, and masks are large. Of other answers tonic takes 4 MiB.
const MAX_POSTED_BYTES: usize = 1 << 30;

/// One HTTP/2 connection to the service, made at the first request and again whenever it breaks.
pub struct Channel {
    endpoint: Endpoint,
    peer: Peer,
    credential: (&'static str, MetadataValue<Ascii>),
    request_timeout: Duration,
    /// Made at the first request; tonic connects on demand, and again after a break.
    connection: PerProcess<Mutex<Connection>>,
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
            peer: Peer::new(settings),
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
        self.connection().channel.take();
    }

    /// `DeleteAnnotation`. Like every request it takes a turn, and tells the quota how it was answered.
    pub async fn delete_annotation(
        &self,
        turn: Turn,
        request: api::DeleteAnnotationRequest,
    ) -> Result<(), Error> {
        let (connection, way) = self.way()?;
        let mut stub = V2Client::new(connection);
        let answer = self.answer(&way, Box::pin(stub.delete_annotation(self.request(request)))).await;
        answered(turn, answer.and_then(|answer| self.peer.said(answer.status)))
    }

    /// `DeleteAnnotations`.
    pub async fn delete_annotations(&self, turn: Turn, request: Deletion) -> Result<(), Error> {
        const PATH: &str = "/clarifai.api.V2/DeleteAnnotations";
        let (connection, way) = self.way()?;
        // As the generated stub does, with another codec.
        let mut connection = Grpc::new(connection);
        let call = async {
            connection.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            connection.unary(self.request(request), PathAndQuery::from_static(PATH), DeletionCodec).await
        };
        let answer = self.answer(&way, Box::pin(call)).await;
        answered(turn, answer.and_then(|answer| self.peer.said(answer.status)))
    }

    /// `ListAnnotations`: the annotations of one page, as served, unless the answer has more than so many bytes.
    pub async fn list_annotations(
        &self,
        turn: Turn,
        request: api::ListAnnotationsRequest,
        most_bytes: usize,
    ) -> Result<Vec<Listed>, Error> {
        let (connection, way) = self.way()?;
        let mut stub = V2Client::new(connection).max_decoding_message_size(most_bytes);
        let announced = OnceLock::new();
        let call = async {
            let answer = stub.list_annotations(self.request(request)).await;
            if let Some(bytes) = answer.as_ref().err().and_then(bytes_too_many) {
                let _ = announced.set(bytes);
            }
            answer
        };
        let answer = self.answer(&way, Box::pin(call)).await;
        let answer = match announced.get() {
            Some(&bytes) => {
                let message = format!("the answer to a list has {bytes} bytes, more than {most_bytes}");
                Err(Error::TooLarge { message, bytes })
            }
            None => answer,
        };
        let annotations = answered(
            turn,
            answer.and_then(|answer| self.peer.said(answer.status).map(|()| answer.annotations)),
        )?;
        let parsed = annotations.into_iter().map(Listed::parse).collect::<Result<_, _>>();
        parsed
            .map_err(|error| self.unreadable(&format!("an annotation in a list could not be read: {error}")))
    }

    /// `PostAnnotations`.
    pub async fn post_annotations(
        &self,
        turn: Turn,
        request: api::PostAnnotationsRequest,
    ) -> Result<(), Error> {
        let (connection, way) = self.way()?;
        let mut stub = V2Client::new(connection).max_decoding_message_size(MAX_POSTED_BYTES);
        let answer = self.answer(&way, Box::pin(stub.post_annotations(self.request(request)))).await;
        answered(turn, answer.and_then(|answer| self.peer.said(answer.status)))
    }

    /// Whether the service has not answered yet, and nobody asked so before.
    pub fn first_failure(&self) -> bool {
        self.peer.first_failure()
    }

    /// An answer that makes no sense is none.
    pub fn unreadable(&self, why: &str) -> Error {
        self.peer.broken(why)
    }

    /// The connection, made on first use: it needs the runtime that the caller is on.
    fn way(&self) -> Result<(Listening, Way), Error> {
        let mut current = self.connection();
        self.open()?;
        let connection = current.channel.get_or_insert_with(|| self.connect()).clone();
        let heard = Arc::default();
        let way = Way { number: current.number, heard: Arc::clone(&heard) };
        Ok((Listening { connection, heard }, way))
    }

    fn connect(&self) -> transport::Channel {
        let timeout = CONNECT_TIMEOUT.min(self.request_timeout);
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let Some(proxy) = self.peer.proxy() else {
            tcp.enforce_http(false);
            tcp.set_connect_timeout(Some(timeout));
            return self.endpoint.connect_with_connector_lazy(tcp.map_response(Corked::new));
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let tunnel = Timeout::new(tunnel, timeout);
        self.endpoint.connect_with_connector_lazy(tunnel.map_response(Corked::new))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whatever comes after a request that heard nothing in its time goes over a new connection: this one may be dead,
    /// or let nothing through. What else is under way on it may still be answered.
    fn abandon(&self, way: &Way) {
        let mut current = self.connection();
        if current.number == way.number {
            *current = Connection { channel: None, number: way.number + 1 };
        }
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
        way: &Way,
        call: Pin<Box<impl Future<Output = Result<tonic::Response<T>, tonic::Status>>>>,
    ) -> Result<T, Error> {
        // tonic keeps to the timeout of the request until the answer begins; this one until it ends.
        let failure = match tokio::time::timeout(self.request_timeout, call).await {
            Ok(Ok(answer)) => {
                self.peer.answered();
                return Ok(answer.into_inner());
            }
            Ok(Err(status)) => self.peer.failure(&status, &way.heard.facts()),
            Err(_) => self.peer.too_late(),
        };
        if matches!(failure, Error::Deadline { .. }) && way.heard.is_silent() {
            self.abandon(way);
        }
        Err(failure)
    }
}

/// Which connection a request takes, and what it hears on it.
struct Way {
    number: u64,
    heard: Arc<Heard>,
}

/// The connection of the requests to come, and how many there were before it.
#[derive(Default)]
struct Connection {
    channel: Option<transport::Channel>,
    number: u64,
}

fn endpoint(settings: &Settings) -> Result<Endpoint, ConfigurationError> {
    let refuse = |error: tonic::transport::Error| {
        let place = settings.origins.base_url.after_value();
        ConfigurationError::new(format!("base_url {:?}{place}: {}", settings.base_url, innermost(&error)))
    };
    let endpoint = Endpoint::from_shared(settings.base_url.clone())
        .and_then(|endpoint| endpoint.user_agent(PRODUCT))
        .map_err(refuse)?
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    if endpoint.uri().scheme_str() == Some("http") {
        return Ok(endpoint);
    }
    let handshake = CONNECT_TIMEOUT.min(settings.limits.request_timeout);
    endpoint.tls_config(trust(settings)?.timeout(handshake)).map_err(refuse)
}

/// Whose certificates are trusted: the system's authorities, or those of the file alone.
fn trust(settings: &Settings) -> Result<ClientTlsConfig, ConfigurationError> {
    let Some(path) = &settings.root_certificates_path else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let place = settings.origins.root_certificates_path.after_value();
    let refuse = |why: String| {
        ConfigurationError::new(format!("root_certificates_path {}{place} {why}", path.display()))
    };
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

/// How many bytes a message has that tonic did not take because of that: it reads no further than its length.
fn bytes_too_many(status: &tonic::Status) -> Option<u64> {
    let found = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    found.split_once(' ')?.0.parse().ok()
}

fn answered<T>(turn: Turn, answer: Result<T, Error>) -> Result<T, Error> {
    let throttled = answer.as_ref().is_err_and(|error| error.kind() == Some(Kind::Throttled));
    turn.answered(throttled);
    answer
}
