//! The gRPC face: messages in, the service's operations, messages out. Methods of `V2` that are not played
//! answer UNIMPLEMENTED.

use std::sync::Arc;

use tonic::{
    Request, Response, Status, async_trait,
    metadata::{KeyAndValueRef, MetadataMap},
};

use super::{access::Metadata, operations::Operation, service::Service};
use crate::wire::api::{self, status, v2_server::V2};

/// The face of a service.
pub struct Face(pub Arc<Service>);

impl Face {
    fn handle<T: Operation>(&self, request: Request<T>) -> (Option<status::Status>, T::Value) {
        let metadata = metadata(request.metadata());
        let (status, value) = self.0.handle(request.get_ref(), metadata);
        (Some(status), value)
    }
}

fn metadata(map: &MetadataMap) -> Metadata {
    let pairs = map.iter().map(|pair| match pair {
        KeyAndValueRef::Ascii(key, value) => {
            (key.to_string(), String::from_utf8_lossy(value.as_encoded_bytes()).into_owned())
        }
        KeyAndValueRef::Binary(key, value) => {
            (key.to_string(), String::from_utf8_lossy(value.as_encoded_bytes()).into_owned())
        }
    });
    pairs.collect()
}

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl V2 for Face {
    async fn get_annotation(
        &self,
        request: Request<api::GetAnnotationRequest>,
    ) -> Answer<api::SingleAnnotationResponse> {
        let (status, annotation) = self.handle(request);
        Ok(Response::new(api::SingleAnnotationResponse { status, annotation }))
    }

    async fn list_annotations(
        &self,
        request: Request<api::ListAnnotationsRequest>,
    ) -> Answer<api::MultiAnnotationResponse> {
        let (status, annotations) = self.handle(request);
        Ok(Response::new(api::MultiAnnotationResponse { status, annotations }))
    }

    async fn post_annotations(
        &self,
        request: Request<api::PostAnnotationsRequest>,
    ) -> Answer<api::MultiAnnotationResponse> {
        let (status, annotations) = self.handle(request);
        Ok(Response::new(api::MultiAnnotationResponse { status, annotations }))
    }

    async fn delete_annotation(
        &self,
        request: Request<api::DeleteAnnotationRequest>,
    ) -> Answer<status::BaseResponse> {
        let (status, ()) = self.handle(request);
        Ok(Response::new(status::BaseResponse { status }))
    }

    async fn delete_annotations(
        &self,
        request: Request<api::DeleteAnnotationsRequest>,
    ) -> Answer<status::BaseResponse> {
        let (status, ()) = self.handle(request);
        Ok(Response::new(status::BaseResponse { status }))
    }
}
