//! What each method does, once, whichever face it came through. What is refused, and with which code, follows
//! Clarifai's documentation; where that is silent, a comment says what was chosen.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message as _;

use super::store::{Annotation, App, Conflict};
use crate::wire::{
    MAX_BATCH, StatusCode,
    api::{self, UserAppIdSet},
    parse_annotation,
};

/// The most annotations on one page of a list; and how many unless the request says.
const MAX_PER_PAGE: u32 = 1000;
const DEFAULT_PER_PAGE: u32 = 128;

/// What a key may be allowed to do, by Clarifai's names.
const GET: &str = "Annotations_Get";
const ADD: &str = "Annotations_Add";
const DELETE: &str = "Annotations_Delete";

/// A request message, and what it asks for.
pub trait Operation {
    /// The method's name.
    const METHOD: &'static str;
    /// The scope that a key needs for it.
    const SCOPE: &'static str;
    /// What it brings, beside a status.
    type Value: Default;

    /// The app it is about.
    fn user_app_id(&self) -> Option<&UserAppIdSet>;

    /// The input IDs and the annotation IDs that it names.
    fn named(&self) -> (Vec<String>, Vec<String>);

    /// Does it.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing was done.
    fn perform(&self, app: &mut App, ids: &mut Ids<'_>) -> Result<Self::Value, Refusal>;
}

/// How a request ends other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Clarifai's status code.
    pub code: StatusCode,
    /// Its description.
    pub description: &'static str,
    /// What is refused, and which ID.
    pub details: String,
}

/// A refusal as a result.
///
/// # Errors
/// Always.
pub fn refuse<T>(
    code: StatusCode,
    description: &'static str,
    details: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal { code, description, details: details.into() })
}

/// Makes IDs for annotations that come without one.
pub struct Ids<'a>(pub &'a mut u64);

impl Ids<'_> {
    fn next(&mut self) -> String {
        *self.0 += 1;
        format!("emulated-{:08x}", self.0)
    }
}

/// Adds an input, with the input-level annotation that every input has. False when it is there already.
pub fn new_input(app: &mut App, ids: &mut Ids<'_>, input_id: &str) -> bool {
    if !app.add_input(input_id) {
        return false;
    }
    let own = api::Annotation {
        id: ids.next(),
        input_id: input_id.into(),
        trusted: true,
        input_level: true,
        ..Default::default()
    };
    // The input is new, so nothing stands in the way.
    let _ = app.add(input_id, &own.id, &own.encode_to_vec(), true, true);
    true
}

/// `message` with the IDs that it lacks appended: in protobuf, to append fields is to merge them, and what was
/// given stays byte for byte.
pub fn completed(message: &Bytes, parsed: &api::Annotation, input_id: &str, id: &str) -> Vec<u8> {
    let missing = api::Annotation {
        id: if parsed.id.is_empty() { id.into() } else { String::new() },
        input_id: if parsed.input_id.is_empty() { input_id.into() } else { String::new() },
        ..Default::default()
    };
    let mut bytes = message.to_vec();
    bytes.extend(missing.encode_to_vec());
    bytes
}

/// Whether a user made it, rather than a model.
pub fn is_trusted(annotation: &api::Annotation) -> bool {
    annotation.trusted || annotation.model_version_id.is_empty()
}

fn missing_pair(input_id: &str, id: &str) -> Refusal {
    Refusal {
        code: StatusCode::ConnDoesNotExist,
        description: "Annotation does not exist",
        details: format!("there is no annotation {id:?} on input {input_id:?}"),
    }
}

/// Input-level annotations go only with their input; that they are refused here, and so, is our choice.
fn deletable(app: &App, input_id: &str, id: &str) -> Result<(), Refusal> {
    match app.get(input_id, id) {
        None => Err(missing_pair(input_id, id)),
        Some(annotation) if annotation.input_level => refuse(
            StatusCode::AnnotationInvalidArgument,
            "Invalid annotation argument",
            format!("annotation {id:?} of input {input_id:?} is input-level: it goes only with its input"),
        ),
        Some(_) => Ok(()),
    }
}

impl Operation for api::DeleteAnnotationRequest {
    const METHOD: &'static str = "DeleteAnnotation";
    const SCOPE: &'static str = DELETE;
    type Value = ();

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (vec![self.input_id.clone()], vec![self.annotation_id.clone()])
    }

    fn perform(&self, app: &mut App, _ids: &mut Ids<'_>) -> Result<(), Refusal> {
        deletable(app, &self.input_id, &self.annotation_id)?;
        app.remove(&self.input_id, &self.annotation_id);
        Ok(())
    }
}

/// Pairs, or whole inputs where there are no `ids`. Refused whole or done whole.
impl Operation for api::DeleteAnnotationsRequest {
    const METHOD: &'static str = "DeleteAnnotations";
    const SCOPE: &'static str = DELETE;
    type Value = ();

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (self.input_ids.clone(), self.ids.clone())
    }

    fn perform(&self, app: &mut App, _ids: &mut Ids<'_>) -> Result<(), Refusal> {
        let Self { ids, input_ids, .. } = self;
        check_batch(input_ids.len(), "input_ids")?;
        if ids.is_empty() {
            if let Some(missing) = input_ids.iter().find(|input_id| !app.has_input(input_id)) {
                let details = format!("there is no input {missing:?}");
                return refuse(StatusCode::InputDoesNotExist, "Input does not exist", details);
            }
            for input_id in input_ids {
                app.clear_input(input_id);
            }
            return Ok(());
        }
        check_counts(input_ids, ids)?;
        for (input_id, id) in input_ids.iter().zip(ids) {
            deletable(app, input_id, id)?;
        }
        for (input_id, id) in input_ids.iter().zip(ids) {
            app.remove(input_id, id);
        }
        Ok(())
    }
}

impl Operation for api::GetAnnotationRequest {
    const METHOD: &'static str = "GetAnnotation";
    const SCOPE: &'static str = GET;
    type Value = Bytes;

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (vec![self.input_id.clone()], vec![self.annotation_id.clone()])
    }

    fn perform(&self, app: &mut App, _ids: &mut Ids<'_>) -> Result<Bytes, Refusal> {
        let (input_id, id) = (&self.input_id, &self.annotation_id);
        app.get(input_id, id).map(Annotation::message).ok_or_else(|| missing_pair(input_id, id))
    }
}

/// All are added or none.
impl Operation for api::PostAnnotationsRequest {
    const METHOD: &'static str = "PostAnnotations";
    const SCOPE: &'static str = ADD;
    type Value = Vec<Bytes>;

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        let parsed = self.annotations.iter().filter_map(|message| parse_annotation(message).ok());
        parsed.map(|annotation| (annotation.input_id, annotation.id)).unzip()
    }

    fn perform(&self, app: &mut App, ids: &mut Ids<'_>) -> Result<Vec<Bytes>, Refusal> {
        check_batch(self.annotations.len(), "annotations")?;
        let mut posted = Vec::with_capacity(self.annotations.len());
        let mut named = HashSet::new();
        for message in &self.annotations {
            let invalid = |details: String| {
                refuse(StatusCode::AnnotationInvalidArgument, "Invalid annotation argument", details)
            };
            let Ok(parsed) = parse_annotation(message) else {
                return invalid("an annotation could not be parsed".into());
            };
            if !app.has_input(&parsed.input_id) {
                let details = format!("there is no input {:?}", parsed.input_id);
                return refuse(StatusCode::InputDoesNotExist, "Input does not exist", details);
            }
            let id = if parsed.id.is_empty() { ids.next() } else { parsed.id.clone() };
            if app.get(&parsed.input_id, &id).is_some()
                || !named.insert((parsed.input_id.clone(), id.clone()))
            {
                return invalid(format!("annotation {id:?} of input {:?} is there already", parsed.input_id));
            }
            let message = completed(message, &parsed, &parsed.input_id, &id);
            posted.push((parsed, id, message));
        }
        let mut answers = Vec::with_capacity(posted.len());
        for (parsed, id, message) in posted {
            // That the input is there and the pair is not was checked above.
            let added: Result<(), Conflict> =
                app.add(&parsed.input_id, &id, &message, parsed.input_level, is_trusted(&parsed));
            debug_assert_eq!(added, Ok(()));
            answers.push(Bytes::from(message));
        }
        Ok(answers)
    }
}

/// Oldest first. Pairs match any annotation; otherwise only those that users made are listed, unless the request
/// asks for all.
impl Operation for api::ListAnnotationsRequest {
    const METHOD: &'static str = "ListAnnotations";
    const SCOPE: &'static str = GET;
    type Value = Vec<Bytes>;

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (self.input_ids.clone(), self.ids.clone())
    }

    fn perform(&self, app: &mut App, _ids: &mut Ids<'_>) -> Result<Vec<Bytes>, Refusal> {
        let Self { ids, input_ids, .. } = self;
        let per_page = match self.per_page {
            0 => DEFAULT_PER_PAGE,
            per_page if per_page <= MAX_PER_PAGE => per_page,
            per_page => {
                let details = format!("per_page is {per_page}, more than {MAX_PER_PAGE}");
                return refuse(StatusCode::ConnInvalidRequest, "Invalid request", details);
            }
        };
        let skipped = (self.page.max(1) - 1) as usize * per_page as usize;
        let pairs = !ids.is_empty() && !input_ids.is_empty();
        if pairs {
            check_counts(input_ids, ids)?;
        }
        let named_pairs: HashSet<_> =
            input_ids.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        let named_ids: HashSet<_> = ids.iter().map(String::as_str).collect();

        let candidates: Box<dyn Iterator<Item = (&str, &Annotation)>> = if input_ids.is_empty() {
            Box::new(app.all())
        } else {
            Box::new(app.of_inputs(input_ids.iter().map(String::as_str)))
        };
        let matches = candidates.filter(|(input_id, annotation)| {
            let named = if pairs {
                named_pairs.contains(&(*input_id, &*annotation.id))
            } else {
                named_ids.is_empty() || named_ids.contains(&*annotation.id)
            };
            named && (pairs || self.list_all_annotations || annotation.trusted) && passes(annotation, self)
        });
        Ok(matches
            .skip(skipped)
            .take(per_page as usize)
            .map(|(_, annotation)| annotation.message())
            .collect())
    }
}

/// Whether an annotation passes the filters that look into it.
fn passes(annotation: &Annotation, request: &api::ListAnnotationsRequest) -> bool {
    let api::ListAnnotationsRequest { statuses, user_ids, model_version_ids, task_id, .. } = request;
    if statuses.is_empty() && user_ids.is_empty() && model_version_ids.is_empty() && task_id.is_empty() {
        return true;
    }
    let Ok(parsed) = parse_annotation(&annotation.message()) else { return false };
    // One that was posted without a status counts as a success.
    let code = parsed.status.map_or(StatusCode::AnnotationSuccess as i32, |status| status.code);
    (statuses.is_empty() || statuses.iter().any(|status| status.code == code))
        && (user_ids.is_empty() || user_ids.contains(&parsed.user_id))
        && (model_version_ids.is_empty() || model_version_ids.contains(&parsed.model_version_id))
        && (task_id.is_empty() || *task_id == parsed.task_id)
}

/// For `PostAnnotations` 128 is documented as the most; for `DeleteAnnotations` nothing is, and 128 is taken.
fn check_batch(count: usize, field: &str) -> Result<(), Refusal> {
    if count == 0 {
        return refuse(StatusCode::ConnInvalidRequest, "Invalid request", format!("{field} is empty"));
    }
    if count > MAX_BATCH {
        let details = format!("{field} has {count} items, more than {MAX_BATCH}");
        return refuse(StatusCode::ConnInvalidRequest, "Invalid request", details);
    }
    Ok(())
}

fn check_counts(input_ids: &[String], ids: &[String]) -> Result<(), Refusal> {
    if input_ids.len() != ids.len() {
        let details = format!("{} input_ids and {} ids cannot be paired", input_ids.len(), ids.len());
        return refuse(StatusCode::ConnInvalidRequest, "Invalid request", details);
    }
    Ok(())
}
