//! What came back of a request below gRPC: whether the service itself said how it went, or something else did, or
//! the connection. tonic gives its own failures the codes that a service's have.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use tonic::{Status, body, transport};
use tower::Service;

use super::rate_limit::SendMark;

/// What was heard of one request.
#[derive(Default)]
pub struct Heard(Mutex<Facts>);

/// See [`Heard`].
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The HTTP status; `None` when nothing came.
    pub http: Option<StatusCode>,
    content_type: Option<HeaderValue>,
    grpc_status: Option<HeaderValue>,
}

impl Facts {
    /// The content type.
    pub fn content_type(&self) -> Option<Cow<'_, str>> {
        self.content_type.as_ref().map(text)
    }

    /// `grpc-status`, as it was written.
    pub fn grpc_status(&self) -> Option<Cow<'_, str>> {
        self.grpc_status.as_ref().map(text)
    }
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

impl Heard {
    /// What was heard so far.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Whether nothing came at all.
    pub fn is_silent(&self) -> bool {
        self.lock().http.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, headers: &HeaderMap) {
        let mut facts = self.lock();
        facts.content_type = facts.content_type.take().or_else(|| headers.get(CONTENT_TYPE).cloned());
        facts.grpc_status = facts.grpc_status.take().or_else(|| headers.get("grpc-status").cloned());
    }
}

/// A connection that remembers what it hears.
pub struct Listening {
    /// The connection.
    pub connection: transport::Channel,
    /// What it hears.
    pub heard: Arc<Heard>,
    /// Marks when the request is written.
    pub mark: Option<SendMark>,
}

impl Service<http::Request<body::Body>> for Listening {
    type Response = http::Response<Observed<Arc<Heard>>>;
    type Error = transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<body::Body>) -> Self::Future {
        let request = match self.mark.take() {
            Some(mark) => request.map(|body| body::Body::new(Observed { body, observer: Some(mark) })),
            None => request,
        };
        let (answer, heard) = (self.connection.call(request), Arc::clone(&self.heard));
        Box::pin(async move {
            let answer = answer.await?;
            heard.lock().http = Some(answer.status());
            heard.hear(answer.headers());
            Ok(answer.map(|body| Observed { body, observer: heard }))
        })
    }
}

/// What looks at the frames of a body that pass.
pub trait Observe: Unpin {
    /// A frame passes.
    fn observe(&mut self, frame: &Frame<Bytes>);
}

/// A connection asks for the first frame of a request when it has a stream to write it to.
impl Observe for Option<SendMark> {
    fn observe(&mut self, _: &Frame<Bytes>) {
        if let Some(mark) = self.take() {
            mark.mark();
        }
    }
}

/// The trailers of a response are heard.
impl Observe for Arc<Heard> {
    fn observe(&mut self, frame: &Frame<Bytes>) {
        if let Some(trailers) = frame.trailers_ref() {
            self.hear(trailers);
        }
    }
}

/// A body whose frames are looked at.
pub struct Observed<Observer> {
    body: body::Body,
    observer: Observer,
}

impl<Observer: Observe> Body for Observed<Observer> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.observer.observe(frame);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
