//! Who made an annotation: its `worker`, or, where it has none, the deprecated fields `user_id` and `model_version_id`.

use crate::wire::api::{self, worker::Worker};

/// Who made an annotation. An ID is empty where the annotation names none of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Author<'a> {
    /// ID of the user.
    pub user_id: &'a str,
    /// ID of the model's version.
    pub model_version_id: &'a str,
    /// ID of the workflow's version.
    pub workflow_version_id: &'a str,
    /// Whether a model or a workflow made it, rather than a user.
    pub is_model: bool,
}

impl<'a> Author<'a> {
    /// Reads the author of an annotation.
    pub fn of(annotation: &'a api::Annotation) -> Self {
        let worker = annotation.worker.as_ref().and_then(|it| it.worker.as_ref());
        match worker {
            Some(Worker::User(user)) => Self { user_id: &user.id, ..Self::default() },
            Some(Worker::Model(model)) => Self {
                model_version_id: model.model_version.as_ref().map_or("", |it| &it.id),
                is_model: true,
                ..Self::default()
            },
            Some(Worker::Workflow(workflow)) => Self {
                workflow_version_id: workflow.version.as_ref().map_or("", |it| &it.id),
                is_model: true,
                ..Self::default()
            },
            None => Self {
                user_id: &annotation.user_id,
                model_version_id: &annotation.model_version_id,
                workflow_version_id: "",
                is_model: !annotation.model_version_id.is_empty(),
            },
        }
    }

    /// Whether the annotation names nobody.
    pub fn is_unknown(&self) -> bool {
        self.user_id.is_empty() && !self.is_model
    }
}
