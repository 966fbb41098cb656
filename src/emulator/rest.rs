//! The REST face: the same operations under the paths that Clarifai's documentation gives, in JSON with the
//! proto's field names. The conversion follows the descriptors of `proto/`; there is no second definition.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use axum::{
    Extension, Router,
    extract::{
        Path, RawQuery, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode as Http, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::{Map, Value, json};
use tonic::Code;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::{
    access::Metadata,
    listener::Connection,
    operation::Operation,
    service::{Arrival, Protocol, Reply, Service},
    status,
};
use crate::wire::{
    FILE_DESCRIPTOR_SET, StatusCode,
    api::{
        DeleteAnnotationRequest, DeleteAnnotationsRequest, GetAnnotationRequest, GetUserRequest,
        ListAnnotationsRequest, PostAnnotationsRequest, status::Status,
    },
    grpc_name, is_success, status_name,
};

/// Adds the REST paths to the gRPC face's router, and an answer of Clarifai's kind to every other path.
pub fn with_rest(grpc: Router, service: Arc<Service>) -> Router {
    const DELETE: MethodFilter = MethodFilter::DELETE;
    const GET: MethodFilter = MethodFilter::GET;
    const POST: MethodFilter = MethodFilter::POST;
    let one = || on(DELETE, handle::<DeleteAnnotationRequest>).on(GET, handle::<GetAnnotationRequest>);
    let deleted = || on(DELETE, handle::<DeleteAnnotationsRequest>);
    let many =
        || deleted().on(GET, handle::<ListAnnotationsRequest>).on(POST, handle::<PostAnnotationsRequest>);
    const APP: &str = "/v2/users/{user_id}/apps/{app_id}";
    let mut rest = Router::new().route("/v2/users/{user_id}", on(GET, handle::<GetUserRequest>));
    for app in [APP, "/v2"] {
        rest = rest
            .route(&format!("{app}/inputs/{{input_id}}/annotations/{{annotation_id}}"), one())
            .route(&format!("{app}/annotations"), many())
            .route(&format!("{app}/inputs/annotations"), deleted());
    }
    // A browser page may call it from anywhere: there is nothing in it to protect.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request());
    grpc.merge(rest.with_state(service))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(cors)
}

async fn handle<T: Operation>(
    State(service): State<Arc<Service>>,
    Extension(connection): Extension<Connection>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let read = path.map_err(|error| error.body_text()).and_then(|Path(path)| {
        let body = body.map_err(|error| error.body_text())?;
        Ok((request::<T>(&service, path, query.as_deref().unwrap_or_default(), &body)?, body.len()))
    });
    let (request, bytes) = match read {
        Ok(read) => read,
        Err(details) => return refused(StatusCode::ConnBadRequestFormat, &details),
    };
    let arrival = Arrival { protocol: Protocol::Rest, bytes, metadata: metadata(&headers), connection };
    match service.handle(&request, arrival).await {
        Reply::Message(answer, code) => match to_json::<T>(&answer) {
            Ok(body) => answered(http_code(code), body),
            Err(details) => refused(StatusCode::InternalUncategorized, &details),
        },
        Reply::Grpc(code, message) => {
            let status = json!({"code": code as i32, "description": grpc_name(code), "details": message});
            answered(http_code_of_grpc(code), json!({ "status": status }))
        }
    }
}

/// Puts a request together from body, query and path; the path has the last word.
fn request<T: Operation>(
    service: &Service,
    mut path: HashMap<String, String>,
    query: &str,
    body: &[u8],
) -> Result<T, String> {
    let descriptor = descriptor(&format!("clarifai.api.{}Request", T::METHOD))?;
    let mut fields = Map::new();
    if !body.iter().all(u8::is_ascii_whitespace) {
        match serde_json::from_slice(body) {
            Ok(Value::Object(given)) => fields = given,
            Ok(_) => return Err("the body is JSON, but no object".into()),
            Err(error) => return Err(format!("the body is not JSON: {error}")),
        }
    }
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        add_from_query(&descriptor, &mut fields, &name, &value);
    }
    match (path.remove("user_id"), path.remove("app_id")) {
        (Some(user_id), Some(app_id)) => {
            fields.remove("userAppId");
            fields.insert("user_app_id".into(), json!({"user_id": user_id, "app_id": app_id}));
        }
        (Some(user_id), None) => {
            fields.insert("user_app_id".into(), json!({"user_id": user_id}));
        }
        // Without one, the key tells the app.
        _ if !fields.contains_key("user_app_id") && !fields.contains_key("userAppId") => {
            let (user_id, app_id) = service.home();
            fields.insert("user_app_id".into(), json!({"user_id": user_id, "app_id": app_id}));
        }
        _ => {}
    }
    fields.extend(path.into_iter().map(|(name, value)| (name, Value::String(value))));

    let message = DynamicMessage::deserialize_with_options(
        descriptor,
        Value::Object(fields),
        &DeserializeOptions::new(),
    );
    let message = message.map_err(|error| error.to_string())?;
    T::decode(message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}

/// A query parameter becomes the field of its name, in the JSON form of the field's type.
fn add_from_query(descriptor: &MessageDescriptor, fields: &mut Map<String, Value>, name: &str, value: &str) {
    let field = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
    let value = match field.as_ref().map(|field| field.kind()) {
        Some(Kind::Bool) if matches!(value, "true" | "false") => Value::Bool(value == "true"),
        // A status is named by its code.
        Some(Kind::Message(_)) => {
            json!({ "code": value.parse::<i32>().map_or_else(|_| json!(value), |code| json!(code)) })
        }
        _ => Value::String(value.into()),
    };
    if field.is_some_and(|field| field.is_list()) {
        let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(value);
        }
    } else {
        fields.insert(name.into(), value);
    }
}

/// The serialized form of an annotation that is given as JSON, as in the body of a post.
///
/// # Errors
/// What is wrong with the JSON, and where.
pub fn annotation_from_json(json: &str) -> Result<Bytes, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor("clarifai.api.Annotation")?, &mut deserializer);
    let message = message.and_then(|message| deserializer.end().map(|()| message));
    message.map(|message| message.encode_to_vec().into()).map_err(|error| error.to_string())
}

fn descriptor(name: &str) -> Result<MessageDescriptor, String> {
    static POOL: LazyLock<Option<DescriptorPool>> =
        LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());
    let found = POOL.as_ref().and_then(|pool| pool.get_message_by_name(name));
    found.ok_or_else(|| format!("there is no message {name}"))
}

fn to_json<T: Operation>(answer: &T::Answer) -> Result<Value, String> {
    let bytes = answer.encode_to_vec();
    let message = DynamicMessage::decode(descriptor(T::ANSWER)?, bytes.as_slice());
    let message = message.map_err(|error| format!("an annotation cannot be shown as JSON: {error}"))?;
    let options = SerializeOptions::new().use_proto_field_name(true).use_enum_numbers(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| error.to_string())
}

fn metadata(headers: &HeaderMap) -> Metadata {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

async fn no_such_path(request: Request<axum::body::Body>) -> Response {
    let grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return tonic::Status::unimplemented("").into_http::<axum::body::Body>();
    }
    refused(StatusCode::ConnDoesNotExist, &format!("there is no path {:?}", request.uri().path()))
}

async fn no_such_method(method: Method) -> Response {
    refused(StatusCode::ConnMethodNotAllowed, &format!("the path does not take {method}"))
}

fn refused(code: StatusCode, details: &str) -> Response {
    let Status { code, description, details, .. } = status::status(code as i32, details);
    let status = json!({"code": code, "description": description, "details": details});
    answered(http_code(code), json!({ "status": status }))
}

fn answered(code: Http, body: Value) -> Response {
    (code, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// The HTTP status that goes with a status code of Clarifai's.
fn http_code(code: i32) -> Http {
    match status_name(code).unwrap_or_default() {
        "ACCEPTED" => Http::ACCEPTED,
        _ if is_success(code) => Http::OK,
        "MIXED_STATUS" => Http::MULTI_STATUS,
        "TRY_AGAIN" => Http::SERVICE_UNAVAILABLE,
        "CONN_THROTTLED" | "CONN_EXCEED_HOURLY_LIMIT" | "CONN_EXCEED_MONTHLY_LIMIT" => {
            Http::TOO_MANY_REQUESTS
        }
        "RPC_MAX_MESSAGE_SIZE_EXCEEDED" => Http::PAYLOAD_TOO_LARGE,
        "CONN_METHOD_NOT_ALLOWED" => Http::METHOD_NOT_ALLOWED,
        "CONN_DOES_NOT_EXIST" | "INPUT_DOES_NOT_EXIST" => Http::NOT_FOUND,
        "CONN_INSUFFICIENT_SCOPES" | "ANNOTATION_PERMISSION_DENIED" | "INPUT_PERMISSION_DENIED" => {
            Http::FORBIDDEN
        }
        "CONN_TOKEN_INVALID" | "CONN_CREDENTIALS_INVALID" | "CONN_KEY_INVALID" | "CONN_KEY_NOT_FOUND" => {
            Http::UNAUTHORIZED
        }
        "CONN_BAD_REQUEST_FORMAT"
        | "CONN_INVALID_REQUEST"
        | "ANNOTATION_INVALID_ARGUMENT"
        | "DATABASE_DUPLICATE_KEY" => Http::BAD_REQUEST,
        _ => Http::INTERNAL_SERVER_ERROR,
    }
}

fn http_code_of_grpc(code: Code) -> Http {
    match code {
        Code::NotFound | Code::Unimplemented => Http::NOT_FOUND,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => Http::BAD_REQUEST,
        Code::Unauthenticated => Http::UNAUTHORIZED,
        Code::PermissionDenied => Http::FORBIDDEN,
        Code::ResourceExhausted => Http::TOO_MANY_REQUESTS,
        Code::Unavailable => Http::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => Http::GATEWAY_TIMEOUT,
        _ => Http::INTERNAL_SERVER_ERROR,
    }
}
