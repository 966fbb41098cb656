//! The connection: one request out, one answer or one [`Error`] back. Knows nothing of batches.

use std::{
    fs,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
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
use tower::{BoxError, ServiceExt as _, timeout::Timeout, util::BoxService};

use super::{
    cork::Corked,
    heard::{Facts, Heard, Listening},
    peer::{Peer, innermost},
    rate_limit::{Permit, RateLimiter},
    request::{Deletion, DeletionCodec},
};
use crate::{
    config::{ConfigurationError, Credential, Settings},
    error::{Error, Kind, Status},
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
/// Headers and trailers of a response. Gateways add some, and a long `grpc-message`: more than the 16 KB that h2 allows.
const MAX_METADATA_BYTES: u32 = 1 << 20;
/// As in Clarifai's own client: what was posted comes back, and masks are large. Of other answers tonic takes 4 MiB.
const MAX_POSTED_BYTES: usize = 1 << 30;

/// One HTTP/2 connection to the service, made at the first request and again whenever it breaks.
pub struct Channel {
    endpoint: Endpoint,
    peer: Peer,
    credential: (&'static str, MetadataValue<Ascii>),
    request_timeout: Duration,
    /// Made before the first request, and again after a break.
    connection: PerProcess<Connector>,
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
        self.connector().current().take();
    }

    /// Waits until a request may be sent, with a connection to send it on: nothing has to be waited for between the
    /// permit and its sending. Where no connection can be made, that is what the request will tell.
    pub async fn acquire(&self, limiter: &RateLimiter) -> SendPermit {
        let connected = async {
            let connection = self.connect().await?;
            let permit = limiter.acquire().await;
            // One that broke meanwhile is made again under the permit, or a service that closes idle connections would never
            // get a request.
            let connection = if connection.is_usable() { connection } else { self.connect().await? };
            Ok((permit, connection))
        };
        SendPermit(connected.await)
    }

    /// A permit, if the rate limit lets a request be sent now. Only a connection is waited for.
    pub async fn try_acquire(&self, limiter: &RateLimiter) -> Option<SendPermit> {
        match self.connect().await {
            Ok(connection) => Some(SendPermit(Ok((limiter.try_acquire()?, connection)))),
            Err(error) => Some(SendPermit(Err(error))),
        }
    }

    /// `DeleteAnnotation`. Like every request it takes a permit, which its response releases.
    pub async fn delete_annotation(
        &self,
        permit: SendPermit,
        request: api::DeleteAnnotationRequest,
    ) -> Result<Accepted, Error> {
        let (connection, way) = self.way(permit)?;
        let mut stub = V2Client::new(connection);
        let answer = self.answer(&way, Box::pin(stub.delete_annotation(self.request(request)))).await;
        answered(way, answer.and_then(|answer| self.peer.said(answer.status)))
    }

    /// `DeleteAnnotations`.
    pub async fn delete_annotations(&self, permit: SendPermit, request: Deletion) -> Result<Accepted, Error> {
        const PATH: &str = "/clarifai.api.V2/DeleteAnnotations";
        let (connection, way) = self.way(permit)?;
        // As the generated stub does, with another codec.
        let mut connection = Grpc::new(connection);
        let call = async {
            connection.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
            connection.unary(self.request(request), PathAndQuery::from_static(PATH), DeletionCodec).await
        };
        let answer = self.answer(&way, Box::pin(call)).await;
        answered(way, answer.and_then(|answer| self.peer.said(answer.status)))
    }

    /// `ListAnnotations`: the annotations of one page, as served, unless the answer has more than so many bytes.
    pub async fn list_annotations(
        &self,
        permit: SendPermit,
        request: api::ListAnnotationsRequest,
        most_bytes: usize,
    ) -> Result<Vec<Listed>, Error> {
        let (connection, way) = self.way(permit)?;
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
            way,
            answer.and_then(|answer| self.peer.said(answer.status).map(|_| answer.annotations)),
        )?;
        let parsed = annotations.into_iter().map(Listed::parse).collect::<Result<_, _>>();
        parsed
            .map_err(|error| self.unreadable(&format!("an annotation in a list could not be read: {error}")))
    }

    /// `PostAnnotations`.
    pub async fn post_annotations(
        &self,
        permit: SendPermit,
        request: api::PostAnnotationsRequest,
    ) -> Result<Accepted, Error> {
        let posted = request.annotations.len();
        let (connection, way) = self.way(permit)?;
        let mut stub = V2Client::new(connection).max_decoding_message_size(MAX_POSTED_BYTES);
        let answer = self.answer(&way, Box::pin(stub.post_annotations(self.request(request)))).await;
        answered(way, answer.and_then(|answer| self.peer.said_of_post(answer, posted)))
    }

    /// `GetUser` of the caller: whose the credential is.
    pub async fn caller_id(&self, permit: SendPermit) -> Result<Option<String>, Error> {
        let (connection, way) = self.way(permit)?;
        let mut stub = V2Client::new(connection);
        let user_app_id = Some(api::UserAppIdSet { user_id: wire::ME.into(), app_id: String::new() });
        let request = self.request(api::GetUserRequest { user_app_id });
        let answer = self.answer(&way, Box::pin(stub.get_user(request))).await;
        let answer =
            answered(way, answer.and_then(|answer| self.peer.said(answer.status).map(|_| answer.user)))?;
        Ok(answer.map(|user| user.id).filter(|id| !id.is_empty()))
    }

    /// Whether the service has not answered yet, and nobody asked so before.
    pub fn first_failure(&self) -> bool {
        self.peer.first_failure()
    }

    /// An answer that makes no sense is none.
    pub fn unreadable(&self, why: &str) -> Error {
        self.peer.broken(why)
    }

    /// What a request needs on its way: the connection of its permit.
    fn way(&self, permit: SendPermit) -> Result<(Listening, Way), Error> {
        self.open()?;
        let (permit, Established { channel, number, .. }) = permit.0?;
        let (heard, mark) = (Arc::default(), permit.send(number));
        let way = Way { number, heard: Arc::clone(&heard), permit };
        Ok((Listening { connection: channel, heard, mark }, way))
    }

    /// The connection, made now if there is none. Others that want one wait for the same, and share its failure.
    async fn connect(&self) -> Result<Established, Error> {
        let connector = self.connector();
        let usable = || connector.current().clone().filter(Established::is_usable);
        self.open()?;
        if let Some(connection) = usable() {
            return Ok(connection);
        }
        let failures = connector.failures.load(Ordering::Acquire);
        let mut latest_failure = connector.connecting.lock().await;
        if let Some(connection) = usable() {
            return Ok(connection);
        }
        self.open()?;
        if let Some(failure) = &*latest_failure
            && connector.failures.load(Ordering::Acquire) > failures
        {
            return Err(failure.clone());
        }
        // Boxed: it is large, and seldom needed.
        let connected = Box::pin(self.new_connection()).await;
        if let Err(failure) = &connected {
            *latest_failure = Some(failure.clone());
            connector.failures.fetch_add(1, Ordering::AcqRel);
        }
        let connection = connected?;
        self.open()?;
        *connector.current() = Some(connection.clone());
        Ok(connection)
    }

    async fn new_connection(&self) -> Result<Established, Error> {
        let timeout = CONNECT_TIMEOUT.min(self.request_timeout);
        let open = Arc::new(AtomicUsize::new(0));
        let corked = {
            let open = Arc::clone(&open);
            move |io| Corked::new(io, OpenConnection::new(&open))
        };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        // Boxed, so that what connects is compiled once.
        let connector = match self.peer.proxy() {
            None => {
                tcp.enforce_http(false);
                tcp.set_connect_timeout(Some(timeout));
                BoxService::new(tcp.map_response(corked).map_err(BoxError::from))
            }
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                BoxService::new(Timeout::new(tunnel, timeout).map_response(corked))
            }
        };
        let connected = self.endpoint.connect_with_connector(connector).await;
        let channel = connected.map_err(|error| {
            self.peer.failure(&tonic::Status::from_error(error.into()), &Facts::default())
        })?;
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Ok(Established { channel, number: NUMBER.fetch_add(1, Ordering::Relaxed), open })
    }

    fn connector(&self) -> &Connector {
        self.connection.get_or_init(Connector::default)
    }

    /// Whatever comes after a request that heard nothing in its time goes over a new connection: this one may be dead,
    /// or let nothing through. What else is in flight on it may still be answered.
    fn abandon(&self, way: &Way) {
        self.connector().current().take_if(|connection| connection.number == way.number);
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

/// How the service said that it carried a request out: the status, where its code is not SUCCESS.
pub type Accepted = Option<Status>;

/// The right to send one request, and the connection to send it on; or why there is none.
#[must_use]
pub struct SendPermit(Result<(Permit, Established), Error>);

/// Which connection a request takes, and what it hears on it.
struct Way {
    number: u64,
    heard: Arc<Heard>,
    permit: Permit,
}

/// The connection of the requests to come.
#[derive(Default)]
struct Connector {
    current: Mutex<Option<Established>>,
    /// Held while a connection is made. It has the latest failure.
    connecting: tokio::sync::Mutex<Option<Error>>,
    /// How many there were.
    failures: AtomicU64,
}

impl Connector {
    fn current(&self) -> MutexGuard<'_, Option<Established>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that was made.
#[derive(Clone)]
struct Established {
    channel: transport::Channel,
    number: u64,
    /// How many transports it has: none after a break.
    open: Arc<AtomicUsize>,
}

impl Established {
    fn is_usable(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

/// Counts a transport as long as it is there.
pub struct OpenConnection(Arc<AtomicUsize>);

impl OpenConnection {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn endpoint(settings: &Settings) -> Result<Endpoint, ConfigurationError> {
    let refuse = |error: tonic::transport::Error| {
        let place = settings.origins.base_url.after_value();
        ConfigurationError::new(format!("base_url {:?}{place}: {}", settings.base_url, innermost(&error)))
    };
    let endpoint = Endpoint::from_shared(settings.base_url.clone())
        .and_then(|endpoint| endpoint.user_agent(PRODUCT))
        .map_err(refuse)?
        .http2_max_header_list_size(MAX_METADATA_BYTES)
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

/// Releases the permit of a request that was answered. What got no response counts for longer.
fn answered<T>(way: Way, response: Result<T, Error>) -> Result<T, Error> {
    match &response {
        Err(Error::Transport { .. } | Error::Deadline { .. } | Error::Closed) => drop(way.permit),
        Err(error) => way.permit.release(error.kind() == Some(Kind::Throttled)),
        Ok(_) => way.permit.release(false),
    }
    response
}
