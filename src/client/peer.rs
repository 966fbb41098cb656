//! The service's address, the proxy before it, and what a request that got no answer there says about them: the
//! cause, and what to do.

use std::{
    error::Error as StdError,
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hyper_util::client::proxy::matcher::Intercept;
use tokio_rustls::rustls::{self, CertificateError};
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::heard::Facts;
use crate::{
    config::{Origin, Proxy, Settings},
    error::{self, Error, Reach},
    wire::{self, StatusCode, api, status_text},
};

/// What to do where no way leads to the service.
const OFFLINE: &str = "is this machine online? Behind a proxy, set HTTPS_PROXY";

/// Who is at the other end.
pub struct Peer {
    base: String,
    /// Where `base` was found, which is where to change it.
    of_base: Origin,
    proxy: Option<Proxy>,
    /// What is trusted instead of the system's authorities, and where that was found.
    roots: Option<(PathBuf, Origin)>,
    request_timeout: Duration,
    /// Never to be shown, not even where the service says it.
    secret: String,
    /// Whether it ever answered.
    has_answered: AtomicBool,
    /// Whether it was told that it did not.
    told: AtomicBool,
}

impl Peer {
    /// The service that these settings name.
    pub fn new(settings: &Settings) -> Self {
        Self {
            base: settings.base_url.clone(),
            of_base: settings.origins.base_url.clone(),
            proxy: settings.proxy.clone(),
            roots: settings
                .root_certificates_path
                .clone()
                .map(|path| (path, settings.origins.root_certificates_path.clone())),
            request_timeout: settings.limits.request_timeout,
            secret: settings.credential.secret().into(),
            has_answered: AtomicBool::new(false),
            told: AtomicBool::new(false),
        }
    }

    /// The proxy that the way there goes through.
    pub fn proxy(&self) -> Option<&Intercept> {
        self.proxy.as_ref().map(|proxy| &proxy.intercept)
    }

    /// It answered, whatever it said.
    pub fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    /// Whether it never answered, which is asked for the first time.
    pub fn first_failure(&self) -> bool {
        !self.has_answered.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed)
    }

    /// A text from outside, fit for a message: without the key, without what would steer a terminal or begin a line of
    /// its own in a log, and no longer than anyone reads.
    fn readable(&self, text: &str) -> String {
        const LONGEST: usize = 2000;
        // A token that is a part of everyday words is made up, for a test.
        let text = if self.secret.len() < 8 { text.into() } else { text.replace(&self.secret, "***") };
        let shown = |character: char| if character.is_control() { ' ' } else { character };
        let mut characters = text.chars();
        let mut readable: String = characters.by_ref().take(LONGEST).map(shown).collect();
        let cut = characters.count();
        if cut > 0 {
            readable += &format!("… ({cut} more characters)");
        }
        readable
    }

    /// What the service said in an answer. A success with another code than SUCCESS is given back.
    pub fn said(&self, status: Option<api::status::Status>) -> Result<Option<error::Status>, Error> {
        match status {
            Some(status) if status.code == StatusCode::Success as i32 => Ok(None),
            Some(status) if wire::is_success(status.code) => Ok(Some(self.status(status))),
            Some(status) if status.code != StatusCode::Zero as i32 => Err(Error::Api(self.status(status))),
            _ => Err(Error::Api(error::Status::absent())),
        }
    }

    /// What the service said of the annotations of a post: of a single one that was refused, its own status stands beside
    /// that of the answer.
    pub fn said_of_post(
        &self,
        answer: api::MultiAnnotationResponse,
        posted: usize,
    ) -> Result<Option<error::Status>, Error> {
        let own = match (posted, answer.annotations.as_slice()) {
            (1, [annotation]) => wire::parse_annotation(annotation).ok().and_then(|it| it.status),
            _ => None,
        };
        const NO_FAILURE: [i32; 3] = [
            StatusCode::Zero as i32,
            StatusCode::AnnotationSuccess as i32,
            StatusCode::AnnotationPending as i32,
        ];
        self.said(answer.status).map_err(|error| match (error, own) {
            (Error::Api(status), Some(own)) if !NO_FAILURE.contains(&own.code) => {
                Error::Api(status.with_own(&self.status(own)))
            }
            (error, _) => error,
        })
    }

    fn status(&self, status: api::status::Status) -> error::Status {
        error::Status {
            code: status.code,
            name: status_text(status.code),
            description: self.readable(&status.description),
            details: self.readable(&status.details),
            request_id: self.readable(&status.req_id),
        }
    }

    /// What a call of tonic's that failed means. tonic gives failures of its own a source or, where an answer came that
    /// it could not make sense of, a code of gRPC's: then it was not the service that said so.
    pub fn failure(&self, status: &Status, heard: &Facts) -> Error {
        if let Some(source) = status.source() {
            return self.failure_of_the_connection(source);
        }
        if let Some(error) = self.no_grpc(heard) {
            return error;
        }
        let Some(said) = heard.grpc_status().filter(|said| said != "0") else {
            return self.broken(&format!("what came could not be read: {}", self.readable(status.message())));
        };
        let message = self.readable(status.message());
        match status.code() {
            Code::Unavailable => self.broken(&format!("unavailable: {message}")),
            Code::DeadlineExceeded => {
                Error::Deadline { message: format!("{} did not finish in time: {message}", self.base) }
            }
            Code::Unknown if said != "2" => {
                refused(Code::Unknown, format!("its grpc-status is {:?}. {message}", self.readable(&said)))
            }
            code => refused(code, message),
        }
    }

    fn failure_of_the_connection(&self, source: &Cause) -> Error {
        if chain(source).any(|error| error.is::<TimeoutExpired>()) {
            return self.too_late();
        }
        let mut text = self.readable(&innermost(source));
        if chain(source).any(|error| error.is::<ConnectError>()) {
            return self.unreachable(source, &text);
        }
        let refused =
            |error: &h2::Error| error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if chain(source).find_map(find::<h2::Error>).is_some_and(refused) {
            let message = format!("{} took no further request (REFUSED_STREAM). Nothing was sent", self.base);
            return Error::Transport { message, reach: Reach::Unsent };
        }
        // h2's words for it.
        if ["header_list_way_too_large", "too_many_continuations"].iter().any(|words| text.contains(words)) {
            text = format!("the headers or trailers of its answer are too large ({text})");
            return self.broken(&text);
        }
        // So does a connection end that does not answer when keep-alive asks.
        if text.ends_with("timed out") {
            text = format!("the connection fell silent ({text})");
        }
        // A service that wants TLS, and a web server that speaks HTTP/1 alone, cut off whoever does not speak as they
        // do, without a word that could be read.
        if self.base.starts_with("http://") && !self.has_answered.load(Ordering::Relaxed) {
            text = format!(
                "{text} (if the service speaks TLS, write https:// in {place}; if a web page is there, {place} is wrong)",
                place = self.of_base
            );
        }
        self.broken(&text)
    }

    /// What an answer means that is HTTP and no more: of a proxy, or of a web server at that address.
    fn no_grpc(&self, heard: &Facts) -> Option<Error> {
        let http = heard.http?;
        let content_type = heard.content_type().unwrap_or("no content type".into());
        if heard.grpc_status().is_some() || content_type.starts_with("application/grpc") {
            return None;
        }
        let content_type = self.readable(&content_type);
        let what = format!(
            "HTTP {http} ({content_type}) came back, which is no gRPC ({} is wrong, or a proxy is in between)",
            self.of_base
        );
        Some(match http {
            http::StatusCode::UNAUTHORIZED => refused(Code::Unauthenticated, what),
            http::StatusCode::FORBIDDEN => refused(Code::PermissionDenied, what),
            http::StatusCode::TOO_MANY_REQUESTS => refused(Code::ResourceExhausted, what),
            _ => self.broken(&what),
        })
    }

    /// No connection came about.
    fn unreachable(&self, source: &Cause, text: &str) -> Error {
        let through = self.proxy.as_ref().map_or_else(String::new, |proxy| {
            let proxy = proxy.intercept.uri().to_string();
            format!(" through the proxy {}", proxy.trim_end_matches('/'))
        });
        let text = text.trim_end_matches('.');
        let (reach, remedy) = self.remedy(source, text);
        let message =
            format!("{} could not be reached{through}: {text} ({remedy}). Nothing was sent", self.base);
        Error::Transport { message, reach }
    }

    /// Whether to try again, and what to do about it.
    fn remedy(&self, source: &Cause, text: &str) -> (Reach, String) {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        use rustls::Error::{InvalidCertificate, InvalidMessage};
        let place = &self.of_base;
        match chain(source).find_map(find::<rustls::Error>) {
            Some(InvalidCertificate(error)) => return (Reach::Barred, self.remedy_of_certificate(error)),
            Some(InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                let remedy =
                    format!("that port does not speak TLS: if it is meant so, write http:// in {place}");
                return (Reach::Barred, remedy);
            }
            _ => {}
        }
        // tonic has no type for it that others may see.
        if text.contains("HTTP/2 was not negotiated") {
            let remedy = format!("that is a web server, or a proxy that speaks no gRPC: check {place}");
            return (Reach::Barred, remedy);
        }
        if let Some(Proxy { variable, .. }) = &self.proxy {
            if text.contains("proxy authorization required") {
                let remedy = format!(
                    "the proxy wants a user name and a password: http://user:password@host:port in {variable}"
                );
                return (Reach::Barred, remedy);
            }
            let remedy = format!("the proxy is from {variable}; hosts in NO_PROXY are reached without it");
            return (Reach::Unsent, remedy);
        }
        let is_default = matches!(place, Origin::Default(_));
        let remedy = if chain(source).any(|error| error.to_string() == "dns error") {
            if is_default { OFFLINE.into() } else { format!("is the host in {place} right, and {OFFLINE}") }
        } else {
            match chain(source).find_map(find::<io::Error>).map(io::Error::kind) {
                Some(ConnectionRefused) => match place {
                    Origin::Variable(name) => {
                        format!("nothing listens there: start the service, or unset {name} to reach Clarifai")
                    }
                    _ => format!("nothing listens there: is {place} right, and is the service up?"),
                },
                Some(TimedOut | NetworkUnreachable | HostUnreachable) => OFFLINE.into(),
                _ => format!("check {place} and the network"),
            }
        };
        (Reach::Unsent, remedy)
    }

    fn remedy_of_certificate(&self, error: &CertificateError) -> String {
        use CertificateError::{
            Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        };
        match (error, &self.roots) {
            (NotValidForName | NotValidForNameContext { .. }, _) => {
                format!("{} must be by a name that is in the certificate", self.of_base)
            }
            (Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }, _) => {
                "is the clock of this machine right? Else the service's certificate must be renewed".into()
            }
            (_, Some((path, origin))) => format!(
                "only the authorities in {}{} are trusted: to trust the system's, leave it out",
                path.display(),
                origin.after_value()
            ),
            (_, None) => "if its authority is to be trusted, give the PEM file of that authority as \
                          root_certificates_path or CLARIFAI_ROOT_CERTIFICATES_PATH"
                .into(),
        }
    }

    /// There was a connection, and it brought no answer: the request may have been carried out.
    pub fn broken(&self, why: &str) -> Error {
        Error::Transport { message: format!("{} gave no answer: {why}", self.base), reach: Reach::Sent }
    }

    /// The answer did not come in time.
    pub fn too_late(&self) -> Error {
        let seconds = self.request_timeout.as_secs_f64();
        Error::Deadline {
            message: format!("{} gave no answer within {seconds} s (request_timeout)", self.base),
        }
    }
}

/// The service, or what stands before it, said no.
fn refused(code: Code, description: String) -> Error {
    Error::Api(error::Status {
        code: code as i32,
        name: wire::grpc_name(code).into(),
        description,
        details: String::new(),
        request_id: String::new(),
    })
}

type Cause = dyn StdError + 'static;

/// An error, what caused it, what caused that, and so on.
fn chain(error: &Cause) -> impl Iterator<Item = &Cause> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// An error of this type; also one that an I/O error carries, which it does not call its source.
fn find<E: StdError + 'static>(error: &Cause) -> Option<&E> {
    let carried = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(carried)
}

/// The text of the error that began it: the outer ones say only "transport error".
pub fn innermost(error: &Cause) -> String {
    chain(error).last().map_or_else(String::new, ToString::to_string)
}
