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

use api::worker::Worker;
use bytes::{Buf as _, Bytes};
use prost::encoding::{DecodeContext, decode_key, skip_field};
use tonic::Code;

pub use api::status::StatusCode;

/// The serialized `FileDescriptorSet` of `proto/`, with the types as the service declares them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The service documents 128 as the most annotations that one `PostAnnotations` may carry, and
/// nothing for `DeleteAnnotations`; the official SDK batches everything by 128.
pub const MAX_BATCH: usize = 128;

/// Requests per second that the service allows a user by default.
pub const DEFAULT_REQUESTS_PER_SECOND: u32 = 15;

/// The largest request that the service takes, in bytes (Clarifai's documentation of release 6.8).
pub const MAX_REQUEST_BYTES: usize = 10_485_760;

/// The scopes that a key needs for a method, all of them: `cl_depending_scopes` in Clarifai's `service.proto`. Empty for a
/// method that `proto/` does not list.
///
/// ```
/// use clarifai_annotations::wire::scopes;
/// assert!(scopes("DeleteAnnotations").contains(&"Annotations_Delete"));
/// assert!(!scopes("ListAnnotations").contains(&"Annotations_Delete"));
/// ```
pub fn scopes(method: &str) -> &'static [&'static str] {
    match method {
        "GetAnnotation" | "ListAnnotations" => {
            &["Apps_Get", "Inputs_Get", "Annotations_Get", "Concepts_Get", "Models_Get"]
        }
        "DeleteAnnotation" | "DeleteAnnotations" => &[
            "Apps_Get",
            "Inputs_Get",
            "Annotations_Add",
            "Annotations_Delete",
            "Annotations_Get",
            "Workflows_Get",
            "Models_Get",
        ],
        "PostAnnotations" => &[
            "Apps_Get",
            "Inputs_Get",
            "Annotations_Add",
            "Annotations_Get",
            "Concepts_Get",
            "Models_Get",
            "Workflows_Get",
        ],
        _ => &[],
    }
}

/// The user ID that stands for whoever calls (Clarifai's proto definitions).
pub const ME: &str = "me";

/// A user ID in the spelling by which users are compared: their letters' case does not matter (Clarifai's documentation).
pub fn folded_user_id(user_id: &str) -> String {
    user_id.to_lowercase()
}

/// Whether two user IDs are one, see [`folded_user_id`].
///
/// ```
/// use clarifai_annotations::wire::is_same_user;
/// assert!(is_same_user("Alice", "alice"));
/// ```
pub fn is_same_user(one: &str, other: &str) -> bool {
    one == other || folded_user_id(one) == folded_user_id(other)
}

/// Whether two user IDs may be one: [`ME`] does not tell whose ID it stands for.
///
/// ```
/// use clarifai_annotations::wire::may_be_same_user;
/// assert!(may_be_same_user("me", "alice") && may_be_same_user("Alice", "alice"));
/// assert!(!may_be_same_user("alice", "bob"));
/// ```
pub fn may_be_same_user(one: &str, other: &str) -> bool {
    is_same_user(one, other) || [one, other].iter().any(|user_id| is_same_user(user_id, ME))
}

/// Metadata key of a personal access token, sent as `Key <token>`.
pub const AUTHORIZATION: &str = "authorization";
/// Metadata key of a session token, sent bare. One or the other, never both.
pub const SESSION_TOKEN: &str = "x-clarifai-session-token";
/// Metadata key whose value comes back as the first part of the answer's `req_id`.
pub const REQUEST_ID_PREFIX: &str = "x-clarifai-request-id-prefix";

/// Whether a status code says that a request was carried out. 10001 and 10002 are warnings (the API, or the client, is
/// outdated), which Clarifai's `status_code.proto` has as comments only; ACCEPTED goes with HTTP's 202.
///
/// ```
/// use clarifai_annotations::wire::is_success;
/// assert!([10000, 10001, 10002, 10070].into_iter().all(is_success));
/// assert!(!is_success(10010));
/// ```
pub fn is_success(code: i32) -> bool {
    matches!(code, 10000..=10002 | 10070)
}

/// Whether a status code says that a later request may succeed: Clarifai's documentation describes these as temporary,
/// "please try again". Whether the request was carried out, they do not say.
pub fn is_temporary(code: i32) -> bool {
    use StatusCode::{
        DatabaseDeadlockDetected, DatabaseFailToGetConnections, DatabaseStatementTimeout,
        DatabaseTooManyClients, InternalUncategorized, QueueConnError, RpcRequestQueueFull,
        RpcRequestTimeout, RpcServerUnavailable, TryAgain,
    };
    match StatusCode::try_from(code) {
        Ok(
            TryAgain
            | RpcRequestQueueFull
            | RpcServerUnavailable
            | RpcRequestTimeout
            | QueueConnError
            | DatabaseStatementTimeout
            | DatabaseDeadlockDetected
            | DatabaseFailToGetConnections
            | DatabaseTooManyClients
            | InternalUncategorized,
        ) => true,
        // INTERNAL_…: the service's own problems.
        _ => (98_000..99_000).contains(&code),
    }
}

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

/// The name of a status code, whatever it is.
pub fn status_text(code: i32) -> String {
    status_name(code).map_or_else(|| format!("UNKNOWN_CODE_{code}"), Into::into)
}

/// An annotation as a list serves it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The fields that `proto/` names.
    pub annotation: api::Annotation,
    /// All of it, byte for byte.
    pub message: Bytes,
}

impl Listed {
    /// Reads what an answer holds.
    ///
    /// # Errors
    /// The bytes are not a protobuf message.
    pub fn parse(message: Bytes) -> Result<Self, prost::DecodeError> {
        Ok(Self { annotation: parse_annotation(&message)?, message })
    }

    /// When it was made, in microseconds since 1970.
    pub fn created_at(&self) -> Option<i64> {
        let at = self.annotation.created_at?;
        at.seconds.checked_mul(1_000_000)?.checked_add(i64::from(at.nanos) / 1000)
    }

    /// The name of its status, for example `ANNOTATION_SUCCESS`.
    pub fn status(&self) -> Option<String> {
        self.annotation.status.as_ref().map(|status| status_text(status.code))
    }

    /// Whether a model or a workflow made it, rather than a user.
    pub fn is_made_by_model(&self) -> bool {
        match self.worker() {
            Some(worker) => !matches!(worker, Worker::User(_)),
            None => !self.annotation.model_version_id.is_empty(),
        }
    }

    /// The IDs of its input and its own.
    pub fn pair(&self) -> (&str, &str) {
        (&self.annotation.input_id, &self.annotation.id)
    }

    /// Whether it says anything about its input: concepts, regions, text and so on.
    pub fn has_data(&self) -> bool {
        !self.annotation.data.is_empty()
    }

    /// Who made it: the ID of a user, of a model's version or of a workflow.
    pub fn creator(&self) -> Option<&str> {
        let named = match self.worker() {
            Some(Worker::User(user)) => &user.id,
            Some(Worker::Model(model)) => model.model_version.as_ref().map_or(&model.id, |it| &it.id),
            Some(Worker::Workflow(workflow)) => &workflow.id,
            None if self.annotation.model_version_id.is_empty() => &self.annotation.user_id,
            None => &self.annotation.model_version_id,
        };
        (!named.is_empty()).then_some(named.as_str())
    }

    fn worker(&self) -> Option<&Worker> {
        self.annotation.worker.as_ref()?.worker.as_ref()
    }
}

/// What the service sets of an annotation by itself, whatever is posted: `created_at`, `modified_at` (Clarifai's proto
/// definitions).
pub const SET_BY_SERVICE: [u32; 2] = [8, 9];

/// The field of an annotation that named the user who made it: `user_id`, which is deprecated.
pub const USER_ID: u32 = 15;
/// The field that names who made it: `worker`.
pub const WORKER: u32 = 21;

/// A serialized message without some of its fields; all others stay byte for byte.
///
/// # Errors
/// The bytes are not a protobuf message.
pub fn without_fields(message: &Bytes, fields: &[u32]) -> Result<Bytes, prost::DecodeError> {
    let mut kept = Vec::with_capacity(message.len());
    let mut rest = message.clone();
    while rest.has_remaining() {
        let before = rest.clone();
        let (number, wire_type) = decode_key(&mut rest)?;
        skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
        if !fields.contains(&number) {
            kept.extend_from_slice(&before[..before.len() - rest.len()]);
        }
    }
    Ok(kept.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_without_some_fields_keeps_every_other_byte() {
        // Fields 1 (varint), 8 (length-delimited), 3 (64 bits), 9 (group), 5 (32 bits), 2000 (varint).
        let fields: [&[u8]; 6] = [
            &[0x08, 0x96, 0x01],
            &[0x42, 0x02, 0xff, 0x00],
            &[0x19, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x4b, 0x08, 0x01, 0x4c],
            &[0x2d, 1, 2, 3, 4],
            &[0x80, 0x7d, 0x07],
        ];
        let without = without_fields(&fields.concat().into(), &SET_BY_SERVICE).unwrap();
        assert_eq!(without, [fields[0], fields[2], fields[4], fields[5]].concat());
    }

    #[test]
    fn what_is_no_message_has_no_fields() {
        assert!(without_fields(&Bytes::from_static(&[0x0a, 0x7f, 0x01]), &SET_BY_SERVICE).is_err());
    }
}
