//! The wire: messages and stubs generated from `proto/`, and what is fixed about the service.
//! Sources of the facts: Clarifai's public proto definitions and documentation.

/// `clarifai.api`: requests, answers and the `V2` service.
#[allow(missing_docs, clippy::all, clippy::unwrap_used)]
pub mod api {
    tonic::include_proto!("clarifai.api");

    /// `clarifai.api.status`: how a request went.
    pub mod status {
        tonic::include_proto!("clarifai.api.status");
    }
}

use bytes::Bytes;

pub use api::status::StatusCode;
use tonic::Code;

/// The serialized `FileDescriptorSet` of `proto/`, with the types as the service declares them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The service documents 128 as the most annotations that one `PostAnnotations` may carry, and
/// nothing for `DeleteAnnotations`; the official SDK batches everything by 128.
pub const MAX_BATCH: usize = 128;

/// Requests per second that the service allows a user by default.
pub const DEFAULT_REQUESTS_PER_SECOND: u32 = 15;

/// Metadata key of a personal access token, sent as `Key <token>`.
pub const AUTHORIZATION: &str = "authorization";
/// Metadata key of a session token, sent bare. One or the other, never both.
pub const SESSION_TOKEN: &str = "x-clarifai-session-token";
/// Metadata key whose value comes back as the first part of the answer's `req_id`.
pub const REQUEST_ID_PREFIX: &str = "x-clarifai-request-id-prefix";

/// The name of a status code, `None` for a code that `proto/` does not list.
///
/// ```
/// use clarifai_annotations::wire::status_name;
/// assert_eq!(status_name(11005), Some("CONN_THROTTLED"));
/// assert_eq!(status_name(1), None);
/// ```
pub fn status_name(code: i32) -> Option<&'static str> {
    StatusCode::try_from(code).ok().map(|code| code.as_str_name())
}

/// Reads the fields of an annotation that `proto/` names out of its serialized bytes.
///
/// # Errors
/// The bytes are not a protobuf message.
pub fn parse_annotation(message: &Bytes) -> Result<api::Annotation, prost::DecodeError> {
    prost::Message::decode(message.clone())
}

/// gRPC's own spelling of a status code, as in its specification.
pub fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
