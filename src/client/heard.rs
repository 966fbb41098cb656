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
    type Response = http::Response<Listened>;
    type Error = transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<body::Body>) -> Self::Future {
        let request = match self.mark.take() {
            Some(mark) => request.map(|body| body::Body::new(Marked { body, mark: Some(mark) })),
            None => request,
        };
        let (answer, heard) = (self.connection.call(request), Arc::clone(&self.heard));
        Box::pin(async move {
            let answer = answer.await?;
            heard.lock().http = Some(answer.status());
            heard.hear(answer.headers());
            Ok(answer.map(|body| Listened { body, heard }))
        })
    }
}

/// A request's body that marks when it is written: a connection asks for it when it has a stream to write it to.
struct Marked {
    body: body::Body,
    mark: Option<SendMark>,
}

impl Body for Marked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(mark) = self.mark.take() {
            mark.mark();
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose trailers are heard.
pub struct Listened {
    body: body::Body,
    heard: Arc<Heard>,
}

impl Body for Listened {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.heard.hear(trailers);
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
