//! What is there, read: one annotation, or a list.

use std::collections::HashSet;

use bytes::Bytes;

use super::{
    operation::{Operation, Performed, Rules, check_counts, missing_pair},
    status::{Refusal, refusal},
    store::{Annotation, App},
    undocumented::MissingInput,
    workers::Author,
};
use crate::wire::{
    ME, StatusCode,
    api::{self, UserAppIdSet},
    is_same_user, parse_annotation, without_fields,
};

/// The most annotations on one page of a list; and how many unless the request says.
const MAX_PER_PAGE: u32 = 1000;
const DEFAULT_PER_PAGE: u32 = 128;

/// The field of an annotation that holds what its model found: `data`.
const MODEL_OUTPUT: [u32; 1] = [3];

/// The user that is named, or the caller where that is "me".
impl Operation for api::GetUserRequest {
    const METHOD: &'static str = "GetUser";
    const NEEDS_APP: bool = false;
    type Answer = api::SingleUserResponse;
    const ANSWER: &'static str = "clarifai.api.SingleUserResponse";
    type Value = Option<api::User>;

    fn answer(status: api::status::Status, user: Option<api::User>) -> api::SingleUserResponse {
        api::SingleUserResponse { status: Some(status), user }
    }

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        Default::default()
    }

    fn perform(&self, _app: &mut App, rules: &mut Rules<'_>) -> Performed<Option<api::User>> {
        let named = self.user_app_id.as_ref().map_or("", |it| it.user_id.as_str());
        match rules.caller.resolve(named) {
            ME => Err(refusal(StatusCode::ConnDoesNotExist, "whose key this is, `users` does not say")),
            id => Ok(Some(api::User { id: id.into() })),
        }
        .into()
    }
}

impl Operation for api::GetAnnotationRequest {
    const METHOD: &'static str = "GetAnnotation";
    type Answer = api::SingleAnnotationResponse;
    const ANSWER: &'static str = "clarifai.api.SingleAnnotationResponse";
    type Value = Bytes;

    fn answer(status: api::status::Status, annotation: Bytes) -> api::SingleAnnotationResponse {
        api::SingleAnnotationResponse { status: Some(status), annotation }
    }

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (vec![self.input_id.clone()], vec![self.annotation_id.clone()])
    }

    fn perform(&self, app: &mut App, _rules: &mut Rules<'_>) -> Performed<Bytes> {
        let (input_id, id) = (&self.input_id, &self.annotation_id);
        app.get(input_id, id).map(Annotation::message).ok_or_else(|| missing_pair(input_id, id)).into()
    }
}

/// Oldest first; a list of the whole app goes by the age of the inputs. Pairs match any annotation; otherwise only those that
/// users made are listed, unless the request asks for all or names who made them.
impl Operation for api::ListAnnotationsRequest {
    const METHOD: &'static str = "ListAnnotations";
    type Answer = api::MultiAnnotationResponse;
    const ANSWER: &'static str = "clarifai.api.MultiAnnotationResponse";
    type Value = Vec<Bytes>;

    fn answer(status: api::status::Status, annotations: Vec<Bytes>) -> api::MultiAnnotationResponse {
        api::MultiAnnotationResponse { status: Some(status), annotations }
    }

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (self.input_ids.clone(), self.ids.clone())
    }

    fn perform(&self, app: &mut App, rules: &mut Rules<'_>) -> Performed<Vec<Bytes>> {
        self.list(app, rules).into()
    }
}

impl api::ListAnnotationsRequest {
    fn list(&self, app: &App, rules: &Rules<'_>) -> Result<Vec<Bytes>, Refusal> {
        let Self { ids, input_ids, .. } = self;
        let per_page = match self.per_page {
            0 => DEFAULT_PER_PAGE,
            per_page if per_page <= MAX_PER_PAGE => per_page,
            per_page => {
                let details = format!("per_page is {per_page}, more than {MAX_PER_PAGE}");
                return Err(refusal(StatusCode::ConnInvalidRequest, details));
            }
        };
        let skipped = (self.page.max(1) - 1) as usize * per_page as usize;
        let pairs = !ids.is_empty();
        if pairs && input_ids.is_empty() {
            return Err(refusal(StatusCode::ConnInvalidRequest, "ids without input_ids"));
        }
        if pairs {
            check_counts(input_ids, ids)?;
        }
        if rules.undocumented.missing_input != MissingInput::Empty
            && let Some(missing) = input_ids.iter().find(|input_id| !app.has_input(input_id))
        {
            return Err(rules.missing_input(missing));
        }
        let named_pairs: HashSet<_> =
            input_ids.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        let authors = Authors::new(self, rules);
        let untrusted_too = pairs || self.list_all_annotations || !authors.is_anybody();

        let candidates: Box<dyn Iterator<Item = (&str, &Annotation)>> = if input_ids.is_empty() {
            Box::new(app.all())
        } else {
            Box::new(app.of_inputs(input_ids.iter().map(String::as_str)))
        };
        let matches = candidates.filter(|(input_id, annotation)| {
            (!pairs || named_pairs.contains(&(*input_id, &*annotation.id)))
                && (untrusted_too || annotation.kind.trusted)
                && self.matches(annotation, &authors)
        });
        let page = matches.skip(skipped).take(per_page as usize);
        Ok(page.map(|(_, annotation)| self.shown(annotation)).collect())
    }

    /// Whether an annotation passes the filters that look into it: its author is one of those that are named, and it has
    /// the task and one of the statuses.
    fn matches(&self, annotation: &Annotation, authors: &Authors<'_>) -> bool {
        let Self { statuses, task_id, .. } = self;
        if statuses.is_empty() && authors.is_anybody() && task_id.is_empty() {
            return true;
        }
        let Ok(parsed) = parse_annotation(&annotation.message()) else { return false };
        // One that was posted without a status counts as a success.
        let code = parsed.status.as_ref().map_or(StatusCode::AnnotationSuccess as i32, |status| status.code);
        (statuses.is_empty() || statuses.iter().any(|status| status.code == code))
            && (task_id.is_empty() || *task_id == parsed.task_id)
            && authors.include(Author::of(&parsed))
    }

    /// An annotation as the list shows it: what a model found is shown on demand only.
    fn shown(&self, annotation: &Annotation) -> Bytes {
        let message = annotation.message();
        if self.return_model_output || !annotation.kind.is_model {
            return message;
        }
        // It could be parsed when it was stored.
        without_fields(&message, &MODEL_OUTPUT).unwrap_or(message)
    }
}

/// The authors whose annotations a list is about: the union of those that are named, and anybody where none is.
struct Authors<'a> {
    user_ids: Vec<&'a str>,
    model_version_ids: &'a [String],
    workflow_version_ids: &'a [String],
}

impl<'a> Authors<'a> {
    fn new(request: &'a api::ListAnnotationsRequest, rules: &Rules<'a>) -> Self {
        Self {
            user_ids: request.user_ids.iter().map(|user_id| rules.caller.resolve(user_id)).collect(),
            model_version_ids: &request.model_version_ids,
            workflow_version_ids: &request.workflow_version_ids,
        }
    }

    fn is_anybody(&self) -> bool {
        self.user_ids.is_empty() && self.model_version_ids.is_empty() && self.workflow_version_ids.is_empty()
    }

    fn include(&self, author: Author<'_>) -> bool {
        self.is_anybody()
            || self.user_ids.iter().any(|user_id| is_same_user(user_id, author.user_id))
            || self.model_version_ids.iter().any(|id| id == author.model_version_id)
            || self.workflow_version_ids.iter().any(|id| id == author.workflow_version_id)
    }
}
