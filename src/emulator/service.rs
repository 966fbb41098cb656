//! The service behind every face: who asks is checked, the operation is done, the request is recorded. Also what
//! a test puts there and looks at.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{
    access::{self, Access, Metadata},
    log::{Log, RecordedRequest, masked},
    operations::{Ids, Operation, Refusal, completed, is_trusted, new_input},
    store::App,
};
use crate::wire::{
    self, StatusCode,
    api::{self, UserAppIdSet},
    parse_annotation,
};

/// The service's state.
pub struct Service {
    access: Access,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    apps: HashMap<(String, String), App>,
    log: Log,
    requests: u64,
    ids: u64,
}

/// An annotation that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnnotation {
    /// The app's owner.
    pub user_id: String,
    /// The app.
    pub app_id: String,
    /// The input that it is on.
    pub input_id: String,
    /// Its own ID.
    pub annotation_id: String,
    /// Whether it belongs to the input itself and goes only with it.
    pub input_level: bool,
    /// The serialized `clarifai.api.Annotation`, as it was given.
    pub message: Bytes,
}

/// Why something cannot be seeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// The input is there already.
    #[error("input {0:?} is there already")]
    InputExists(String),
    /// The annotation is there already.
    #[error("annotation {1:?} of input {0:?} is there already")]
    AnnotationExists(String, String),
    /// An ID is empty.
    #[error("an ID is empty: every input and annotation has one")]
    EmptyId,
    /// The message is no serialized annotation.
    #[error("message is not a serialized clarifai.api.Annotation: {0}")]
    NotAMessage(String),
    /// The message says another ID than the call does.
    #[error(
        "message says {field} {in_message:?}, the call says {named:?}: leave it out of one, or make them agree"
    )]
    Disagrees {
        /// The field.
        field: &'static str,
        /// Its value in the message.
        in_message: String,
        /// Its value in the call.
        named: String,
    },
}

impl Service {
    /// A service without annotations.
    pub fn new(access: Access) -> Self {
        Self { access, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks who asks, performs the operation, records the request, and gives the status that the answer
    /// carries, with what the operation brought.
    pub fn handle<T: Operation>(&self, request: &T, metadata: Metadata) -> (api::status::Status, T::Value) {
        let mut state = self.state();
        let State { apps, log, requests, ids } = &mut *state;
        let admitted = self.access.admit(&metadata, T::METHOD, T::SCOPE, request.user_app_id());
        let result = admitted.and_then(|app| request.perform(apps.entry(app).or_default(), &mut Ids(ids)));
        let (code, description, details, value) = match result {
            Ok(value) => (StatusCode::Success, "Ok", String::new(), value),
            Err(Refusal { code, description, details }) => (code, description, details, T::Value::default()),
        };

        *requests += 1;
        let req_id = match access::value(&metadata, wire::REQUEST_ID_PREFIX) {
            Some(prefix) => format!("{prefix}-{requests:08x}"),
            None => format!("{requests:08x}"),
        };
        let UserAppIdSet { user_id, app_id } = request.user_app_id().cloned().unwrap_or_default();
        let (input_ids, ids) = request.named();
        let (method, code, name) = (T::METHOD, code as i32, code.as_str_name());
        log.record(RecordedRequest {
            method,
            user_id,
            app_id,
            input_ids,
            ids,
            metadata: masked(metadata),
            code,
            name,
        });
        (
            api::status::Status {
                code,
                description: description.into(),
                details,
                req_id,
                ..Default::default()
            },
            value,
        )
    }

    /// Adds an input, with the input-level annotation that every input has.
    ///
    /// # Errors
    /// [`SeedError`].
    pub fn add_input(&self, user_id: &str, app_id: &str, input_id: &str) -> Result<(), SeedError> {
        if input_id.is_empty() {
            return Err(SeedError::EmptyId);
        }
        let mut state = self.state();
        let State { apps, ids, .. } = &mut *state;
        let app = apps.entry((user_id.into(), app_id.into())).or_default();
        if !new_input(app, &mut Ids(ids), input_id) {
            return Err(SeedError::InputExists(input_id.into()));
        }
        Ok(())
    }

    /// Adds an annotation, and its input where that is not there yet.
    ///
    /// # Errors
    /// [`SeedError`].
    pub fn add_annotation(
        &self,
        user_id: &str,
        app_id: &str,
        input_id: &str,
        annotation_id: &str,
        message: Option<Bytes>,
    ) -> Result<(), SeedError> {
        if input_id.is_empty() || annotation_id.is_empty() {
            return Err(SeedError::EmptyId);
        }
        let message = message.unwrap_or_default();
        let parsed = parse_annotation(&message).map_err(|error| SeedError::NotAMessage(error.to_string()))?;
        for (field, in_message, named) in
            [("id", &parsed.id, annotation_id), ("input_id", &parsed.input_id, input_id)]
        {
            if !in_message.is_empty() && in_message != named {
                let (in_message, named) = (in_message.clone(), named.into());
                return Err(SeedError::Disagrees { field, in_message, named });
            }
        }
        let mut state = self.state();
        let State { apps, ids, .. } = &mut *state;
        let app = apps.entry((user_id.into(), app_id.into())).or_default();
        new_input(app, &mut Ids(ids), input_id);
        let message = completed(&message, &parsed, input_id, annotation_id);
        app.add(input_id, annotation_id, &message, parsed.input_level, is_trusted(&parsed))
            .map_err(|_| SeedError::AnnotationExists(input_id.into(), annotation_id.into()))
    }

    /// What is there, app by app, oldest first.
    pub fn annotations(&self, user_id: Option<&str>, app_id: Option<&str>) -> Vec<StoredAnnotation> {
        let state = self.state();
        let mut apps: Vec<_> = state.apps.iter().collect();
        apps.sort_by_key(|(id, _)| *id);
        let wanted = |(user, app): &(String, String)| {
            user_id.is_none_or(|wanted| wanted == user) && app_id.is_none_or(|wanted| wanted == app)
        };
        let mut found = Vec::new();
        for (id, app) in apps.into_iter().filter(|(id, _)| wanted(id)) {
            found.extend(app.all().map(|(input_id, annotation)| StoredAnnotation {
                user_id: id.0.clone(),
                app_id: id.1.clone(),
                input_id: input_id.into(),
                annotation_id: annotation.id.to_string(),
                input_level: annotation.input_level,
                message: annotation.message(),
            }));
        }
        found
    }

    /// The requests it saw, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state().log.requests()
    }

    /// Forgets the requests it saw.
    pub fn clear_requests(&self) {
        self.state().log = Log::default();
    }
}
