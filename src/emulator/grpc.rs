//! The gRPC face: messages in, the service's operations, messages out. Methods of `V2` that are not played
//! answer UNIMPLEMENTED.

use std::sync::Arc;

use tonic::{
    Request, Response, Status, async_trait,
    metadata::{KeyAndValueRef, MetadataMap},
};

use super::{
    access::Metadata,
    listener::Connection,
    operation::Operation,
    service::{Arrival, Protocol, Reply, Service},
};
use crate::wire::api::{self, status::BaseResponse, v2_server::V2};

/// The face of a service.
pub struct Face(pub Arc<Service>);

type Answer<T> = Result<Response<T>, Status>;

impl Face {
    async fn handle<T: Operation>(&self, request: Request<T>) -> Answer<T::Answer> {
        let metadata = metadata(request.metadata());
        let connection = request.extensions().get::<Connection>().cloned().unwrap_or_default();
        let request = request.get_ref();
        let arrival =
            Arrival { protocol: Protocol::Grpc, bytes: request.encoded_len(), metadata, connection };
        match self.0.handle(request, arrival).await {
            Reply::Message(answer, _) => Ok(Response::new(answer)),
            Reply::Grpc(code, message) => Err(Status::new(code, message)),
        }
    }
}

fn metadata(map: &MetadataMap) -> Metadata {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = map.iter().map(|pair| match pair {
        KeyAndValueRef::Ascii(key, value) => (key.to_string(), text(value.as_encoded_bytes())),
        KeyAndValueRef::Binary(key, value) => (key.to_string(), text(value.as_encoded_bytes())),
    });
    pairs.collect()
}

#[async_trait]
impl V2 for Face {
    async fn get_user(&self, request: Request<api::GetUserRequest>) -> Answer<api::SingleUserResponse> {
        self.handle(request).await
    }

    async fn get_annotation(
        &self,
        request: Request<api::GetAnnotationRequest>,
    ) -> Answer<api::SingleAnnotationResponse> {
        self.handle(request).await
    }

    async fn list_annotations(
        &self,
        request: Request<api::ListAnnotationsRequest>,
    ) -> Answer<api::MultiAnnotationResponse> {
        self.handle(request).await
    }

    async fn post_annotations(
        &self,
        request: Request<api::PostAnnotationsRequest>,
    ) -> Answer<api::MultiAnnotationResponse> {
        self.handle(request).await
    }

    async fn delete_annotation(
        &self,
        request: Request<api::DeleteAnnotationRequest>,
    ) -> Answer<BaseResponse> {
        self.handle(request).await
    }

    async fn delete_annotations(
        &self,
        request: Request<api::DeleteAnnotationsRequest>,
    ) -> Answer<BaseResponse> {
        self.handle(request).await
    }
}
