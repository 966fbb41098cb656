//! What each method does, once, whichever face it came through. What is refused, and with which code, follows
//! Clarifai's documentation; where that is silent, a comment says what was chosen.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use tokio::time::Instant;

use super::store::{Annotation, App, Conflict};
use crate::wire::{
    MAX_BATCH, SET_BY_SERVICE, StatusCode,
    api::{self, UserAppIdSet, status::BaseResponse},
    parse_annotation, without_fields,
};

/// The most annotations on one page of a list; and how many unless the request says.
const MAX_PER_PAGE: u32 = 1000;
const DEFAULT_PER_PAGE: u32 = 128;

/// What a key may be allowed to do, by Clarifai's names.
const GET: &str = "Annotations_Get";
const ADD: &str = "Annotations_Add";
const DELETE: &str = "Annotations_Delete";

/// The methods that are played.
pub const METHODS: [&str; 5] = [
    api::GetAnnotationRequest::METHOD,
    api::ListAnnotationsRequest::METHOD,
    api::PostAnnotationsRequest::METHOD,
    api::DeleteAnnotationRequest::METHOD,
    api::DeleteAnnotationsRequest::METHOD,
];

/// A request message: what it asks for, and how that is done.
pub trait Operation: prost::Message + Default {
    /// The method's name.
    const METHOD: &'static str;
    /// The scope that a key needs for it.
    const SCOPE: &'static str;
    /// The message that answers it.
    type Answer: prost::Message;
    /// That message's full name.
    const ANSWER: &'static str;
    /// What it brings, beside a status.
    type Value: Default;

    /// The app it is about.
    fn user_app_id(&self) -> Option<&UserAppIdSet>;

    /// The input IDs and the annotation IDs that it names.
    fn named(&self) -> (Vec<String>, Vec<String>);

    /// Does it.
    fn perform(&self, app: &mut App, rules: &mut Rules<'_>) -> Performed<Self::Value>;

    /// The answer.
    fn answer(status: api::status::Status, value: Self::Value) -> Self::Answer;
}

/// What is left to the rules of the day.
pub struct Rules<'a> {
    /// Makes IDs for annotations that come without one.
    pub ids: Ids<'a>,
    /// How the service behaves where it is not documented.
    pub undocumented: &'a Undocumented,
    /// A deletion breaks off after so many pairs or inputs.
    pub breaks_off_after: Option<usize>,
    /// The moment.
    pub now: Instant,
}

impl Rules<'_> {
    fn lingers_until(&self) -> Option<Instant> {
        let lingers = self.undocumented.visible_after;
        (!lingers.is_zero()).then(|| self.now + lingers)
    }
}

/// Behaviour that Clarifai does not document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undocumented {
    /// What becomes of a batch when a pair of it, or an input, cannot be deleted.
    pub missing_pair: MissingPair,
    /// How the deletion of a single annotation that is not there is answered.
    pub missing_single: MissingSingle,
    /// For how long lists show what is deleted.
    pub visible_after: Duration,
}

/// What becomes of a batch when a pair of it, or an input, cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingPair {
    /// It is refused whole.
    #[default]
    Refused,
    /// The rest is deleted, and the answer is MIXED_STATUS.
    Mixed,
    /// The rest is deleted, and the answer is FAILURE.
    Failure,
}

/// How the deletion of a single annotation that is not there is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingSingle {
    /// With the status CONN_DOES_NOT_EXIST.
    #[default]
    Status,
    /// With the gRPC status NOT_FOUND.
    Grpc,
}

/// How an operation ended, and how many annotations it deleted or added.
pub struct Performed<T> {
    /// What it brought, or why it was refused.
    pub result: Result<T, Refusal>,
    /// Annotations deleted or added.
    pub applied: usize,
}

impl<T> From<Result<T, Refusal>> for Performed<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        Self { result, applied: 0 }
    }
}

/// How a request ends other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// With a status of Clarifai's.
    Status {
        /// The code; perhaps none of those that are listed.
        code: i32,
        /// Its description.
        description: &'static str,
        /// What is refused, and which ID.
        details: String,
    },
    /// With a gRPC status.
    Grpc {
        /// The code.
        code: tonic::Code,
        /// The message.
        message: String,
    },
}

/// A refusal with a status of Clarifai's.
pub fn refusal(code: StatusCode, description: &'static str, details: impl Into<String>) -> Refusal {
    Refusal::Status { code: code as i32, description, details: details.into() }
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

/// What the service sets of an annotation by itself, as fields to append.
fn stamp(now: SystemTime) -> api::Annotation {
    let now = Some(Timestamp::from(now));
    api::Annotation { created_at: now, modified_at: now, ..Default::default() }
}

/// Whether a user made it, rather than a model.
pub fn is_trusted(annotation: &api::Annotation) -> bool {
    annotation.trusted || annotation.model_version_id.is_empty()
}

fn missing_pair(input_id: &str, id: &str) -> Refusal {
    let details = format!("there is no annotation {id:?} on input {input_id:?}");
    refusal(StatusCode::ConnDoesNotExist, "Annotation does not exist", details)
}

fn locked(input_id: &str, id: &str) -> Refusal {
    let details = format!("annotation {id:?} of input {input_id:?} may not be deleted");
    refusal(StatusCode::AnnotationPermissionDenied, "Annotation permission denied", details)
}

/// Why a pair cannot be deleted, if it cannot. Input-level annotations go only with their input; that they are
/// refused here, and so, is our choice.
fn pair_problem(app: &App, input_id: &str, id: &str) -> Option<Refusal> {
    match app.get(input_id, id) {
        None => Some(missing_pair(input_id, id)),
        Some(annotation) if annotation.input_level => Some(refusal(
            StatusCode::AnnotationInvalidArgument,
            "Invalid annotation argument",
            format!("annotation {id:?} of input {input_id:?} is input-level: it goes only with its input"),
        )),
        Some(_) if app.is_locked(input_id, id) => Some(locked(input_id, id)),
        Some(_) => None,
    }
}

/// Why an input's annotations cannot be deleted, if they cannot.
fn input_problem(app: &App, input_id: &str) -> Option<Refusal> {
    if !app.has_input(input_id) {
        let details = format!("there is no input {input_id:?}");
        return Some(refusal(StatusCode::InputDoesNotExist, "Input does not exist", details));
    }
    app.locked_on(input_id).map(|id| locked(input_id, id))
}

/// Deletes what can be deleted of a batch, as far as the rules let it. `remove` tells how many annotations went.
fn delete_each<T: Copy>(
    items: Vec<(T, Option<Refusal>)>,
    rules: &Rules<'_>,
    mut remove: impl FnMut(T) -> usize,
) -> Performed<()> {
    let problem = items.iter().find_map(|(_, problem)| problem.clone());
    if let Some(problem) = &problem
        && (rules.undocumented.missing_pair == MissingPair::Refused
            || items.iter().all(|(_, problem)| problem.is_some()))
    {
        return Err(problem.clone()).into();
    }
    let first = rules.breaks_off_after.unwrap_or(items.len());
    let able = items.into_iter().take(first).filter(|(_, problem)| problem.is_none());
    let applied = able.map(|(item, _)| remove(item)).sum();
    let result = match (rules.breaks_off_after, problem, rules.undocumented.missing_pair) {
        (Some(first), _, _) => {
            let details = format!("broken off after the first {first}");
            Err(refusal(StatusCode::InternalUncategorized, "Internal error", details))
        }
        (None, None, _) => Ok(()),
        (None, Some(_), MissingPair::Mixed) => {
            Err(refusal(StatusCode::MixedStatus, "Mixed Success", "some were not deleted"))
        }
        (None, Some(_), _) => Err(refusal(StatusCode::Failure, "Failure", "some were not deleted")),
    };
    Performed { result, applied }
}

impl Operation for api::DeleteAnnotationRequest {
    const METHOD: &'static str = "DeleteAnnotation";
    const SCOPE: &'static str = DELETE;
    type Answer = BaseResponse;
    const ANSWER: &'static str = "clarifai.api.status.BaseResponse";
    type Value = ();

    fn answer(status: api::status::Status, (): ()) -> BaseResponse {
        BaseResponse { status: Some(status) }
    }

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (vec![self.input_id.clone()], vec![self.annotation_id.clone()])
    }

    fn perform(&self, app: &mut App, rules: &mut Rules<'_>) -> Performed<()> {
        let Self { input_id, annotation_id: id, .. } = self;
        let missing = app.get(input_id, id).is_none();
        if missing && rules.undocumented.missing_single == MissingSingle::Grpc {
            let message = format!("there is no annotation {id:?} on input {input_id:?}");
            return Err(Refusal::Grpc { code: tonic::Code::NotFound, message }).into();
        }
        let items = vec![((), pair_problem(app, input_id, id))];
        delete_each(items, rules, |()| usize::from(app.remove(input_id, id, rules.lingers_until())))
    }
}

/// Pairs, or whole inputs where there are no `ids`. Refused whole or done whole.
impl Operation for api::DeleteAnnotationsRequest {
    const METHOD: &'static str = "DeleteAnnotations";
    const SCOPE: &'static str = DELETE;
    type Answer = BaseResponse;
    const ANSWER: &'static str = "clarifai.api.status.BaseResponse";
    type Value = ();

    fn answer(status: api::status::Status, (): ()) -> BaseResponse {
        BaseResponse { status: Some(status) }
    }

    fn user_app_id(&self) -> Option<&UserAppIdSet> {
        self.user_app_id.as_ref()
    }

    fn named(&self) -> (Vec<String>, Vec<String>) {
        (self.input_ids.clone(), self.ids.clone())
    }

    fn perform(&self, app: &mut App, rules: &mut Rules<'_>) -> Performed<()> {
        let Self { ids, input_ids, .. } = self;
        if let Err(refusal) = check_batch(input_ids.len(), "input_ids") {
            return Err(refusal).into();
        }
        if ids.is_empty() {
            let items = input_ids.iter().map(|input_id| (input_id, input_problem(app, input_id))).collect();
            return delete_each(items, rules, |input_id| app.clear_input(input_id, rules.lingers_until()));
        }
        if let Err(refusal) = check_counts(input_ids, ids) {
            return Err(refusal).into();
        }
        let pairs = input_ids.iter().zip(ids);
        let items = pairs.map(|(input_id, id)| ((input_id, id), pair_problem(app, input_id, id))).collect();
        delete_each(items, rules, |(input_id, id)| {
            usize::from(app.remove(input_id, id, rules.lingers_until()))
        })
    }
}

impl Operation for api::GetAnnotationRequest {
    const METHOD: &'static str = "GetAnnotation";
    const SCOPE: &'static str = GET;
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

/// All are added or none.
impl Operation for api::PostAnnotationsRequest {
    const METHOD: &'static str = "PostAnnotations";
    const SCOPE: &'static str = ADD;
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
        let parsed = self.annotations.iter().filter_map(|message| parse_annotation(message).ok());
        parsed.map(|annotation| (annotation.input_id, annotation.id)).unzip()
    }

    fn perform(&self, app: &mut App, rules: &mut Rules<'_>) -> Performed<Vec<Bytes>> {
        let result = self.post(app, &mut rules.ids);
        Performed { applied: result.as_ref().map_or(0, Vec::len), result }
    }
}

impl api::PostAnnotationsRequest {
    fn post(&self, app: &mut App, ids: &mut Ids<'_>) -> Result<Vec<Bytes>, Refusal> {
        check_batch(self.annotations.len(), "annotations")?;
        let mut posted = Vec::with_capacity(self.annotations.len());
        let mut named = HashSet::new();
        for message in &self.annotations {
            let invalid = |details: String| {
                Err(refusal(StatusCode::AnnotationInvalidArgument, "Invalid annotation argument", details))
            };
            let Ok(parsed) = parse_annotation(message) else {
                return invalid("an annotation could not be parsed".into());
            };
            if !app.has_input(&parsed.input_id) {
                let details = format!("there is no input {:?}", parsed.input_id);
                return Err(refusal(StatusCode::InputDoesNotExist, "Input does not exist", details));
            }
            let id = if parsed.id.is_empty() { ids.next() } else { parsed.id.clone() };
            if app.get(&parsed.input_id, &id).is_some()
                || !named.insert((parsed.input_id.clone(), id.clone()))
            {
                return invalid(format!("annotation {id:?} of input {:?} is there already", parsed.input_id));
            }
            let Ok(message) = without_fields(message, &SET_BY_SERVICE) else {
                return invalid("an annotation could not be parsed".into());
            };
            let mut message = completed(&message, &parsed, &parsed.input_id, &id);
            message.extend(stamp(SystemTime::now()).encode_to_vec());
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

    fn perform(&self, app: &mut App, _rules: &mut Rules<'_>) -> Performed<Vec<Bytes>> {
        self.list(app).into()
    }
}

impl api::ListAnnotationsRequest {
    fn list(&self, app: &App) -> Result<Vec<Bytes>, Refusal> {
        let Self { ids, input_ids, .. } = self;
        let per_page = match self.per_page {
            0 => DEFAULT_PER_PAGE,
            per_page if per_page <= MAX_PER_PAGE => per_page,
            per_page => {
                let details = format!("per_page is {per_page}, more than {MAX_PER_PAGE}");
                return Err(refusal(StatusCode::ConnInvalidRequest, "Invalid request", details));
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
        return Err(refusal(StatusCode::ConnInvalidRequest, "Invalid request", format!("{field} is empty")));
    }
    if count > MAX_BATCH {
        let details = format!("{field} has {count} items, more than {MAX_BATCH}");
        return Err(refusal(StatusCode::ConnInvalidRequest, "Invalid request", details));
    }
    Ok(())
}

fn check_counts(input_ids: &[String], ids: &[String]) -> Result<(), Refusal> {
    if input_ids.len() != ids.len() {
        let details = format!("{} input_ids and {} ids cannot be paired", input_ids.len(), ids.len());
        return Err(refusal(StatusCode::ConnInvalidRequest, "Invalid request", details));
    }
    Ok(())
}
