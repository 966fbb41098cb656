//! Posts: all annotations of a request are added, or none.

use std::{collections::HashSet, time::SystemTime};

use bytes::Bytes;
use prost::Message as _;

use super::{
    access::Caller,
    operation::{Operation, Performed, Rules, check_batch, completed, kind, stamp},
    status::{Refusal, refusal, status},
    store::App,
    undocumented::ForeignPost,
    workers::Author,
};
use crate::wire::{
    SET_BY_SERVICE, StatusCode, USER_ID, WORKER,
    api::{self, User, UserAppIdSet, Worker, worker},
    parse_annotation, without_fields,
};

impl Operation for api::PostAnnotationsRequest {
    const METHOD: &'static str = "PostAnnotations";
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
        if let Err(refusal) = check_batch(self.annotations.len(), "annotations") {
            return refusal.into();
        }
        let mut named = HashSet::new();
        let checked: Vec<_> =
            self.annotations.iter().map(|message| check(message, app, rules, &mut named)).collect();
        let first_refusal = checked.iter().find_map(|it| it.as_ref().err().cloned());
        if let Some(refusal) = first_refusal {
            let told = self.annotations.iter().zip(checked);
            let value = told.map(|(message, checked)| refused(message, checked.err())).collect();
            return Performed { value, refusal: Some(refusal), applied: 0 };
        }
        let mut value = Vec::with_capacity(checked.len());
        for Posted { annotation, message } in checked.into_iter().flatten() {
            // That the input is there and the pair is not was checked.
            let added = app.add(&annotation.input_id, &annotation.id, &message, kind(&annotation));
            debug_assert_eq!(added, Ok(()));
            value.push(message);
        }
        Performed { applied: value.len(), value, refusal: None }
    }
}

/// An annotation as it is stored.
struct Posted {
    annotation: api::Annotation,
    message: Bytes,
}

/// Checks an annotation of a post, and puts it as it is stored. `named` are the pairs that the post named before.
fn check(
    message: &Bytes,
    app: &App,
    rules: &mut Rules<'_>,
    named: &mut HashSet<(String, String)>,
) -> Result<Posted, Refusal> {
    let unreadable = |_| refusal(StatusCode::AnnotationInvalidArgument, "an annotation could not be parsed");
    let given = parse_annotation(message).map_err(unreadable)?;
    if !app.has_input(&given.input_id) {
        return Err(rules.missing_input(&given.input_id));
    }
    let id = if given.id.is_empty() { rules.ids.next() } else { given.id.clone() };
    if app.get(&given.input_id, &id).is_some() || !named.insert((given.input_id.clone(), id.clone())) {
        let details = format!("annotation {id:?} of input {:?} is there already", given.input_id);
        return Err(refusal(StatusCode::DatabaseDuplicateKey, details));
    }
    let message = without_fields(message, &SET_BY_SERVICE).map_err(unreadable)?;
    let message = authored(message, &given, rules)?;
    let mut message = completed(&message, &given, &given.input_id, &id);
    message.extend(stamp(SystemTime::now()).encode_to_vec());
    let message = Bytes::from(message);
    let annotation = parse_annotation(&message).map_err(unreadable)?;
    Ok(Posted { annotation, message })
}

/// An annotation in the name of the user whom it belongs to. What names nobody is the caller's, where the key tells who that
/// is. So is, if the service plays it that way, what somebody other than the app's owner posts in another user's name.
fn authored(message: Bytes, given: &api::Annotation, rules: &Rules<'_>) -> Result<Bytes, Refusal> {
    let Caller { user_id: Some(caller), is_owner } = rules.caller else { return Ok(message) };
    let author = Author::of(given);
    let is_alias = |user_id: &str| rules.caller.resolve(user_id) != user_id;
    let is_foreign = |user_id: &str| !user_id.is_empty() && !rules.caller.is(user_id);
    let in_worker = if given.worker.is_some() { author.user_id } else { "" };
    if !is_owner
        && rules.undocumented.foreign_post == ForeignPost::Refused
        && (is_foreign(in_worker) || is_foreign(&given.user_id))
    {
        let details = format!(
            "annotation {:?} of input {:?} is in another user's name: only the app's owner may post that",
            given.id, given.input_id
        );
        return Err(refusal(StatusCode::AnnotationPermissionDenied, details));
    }
    let is_replaced = |user_id: &str| is_alias(user_id) || (!is_owner && is_foreign(user_id));
    let mut replaced = Vec::new();
    let mut stamped = api::Annotation::default();
    if is_replaced(&given.user_id) {
        replaced.push(USER_ID);
        stamped.user_id = caller.into();
    }
    let lacks_worker = given.worker.is_none() && !author.is_model;
    if is_replaced(in_worker) || author.is_unknown() || (lacks_worker && !replaced.is_empty()) {
        replaced.push(WORKER);
        let user = User { id: caller.into() };
        stamped.worker = Some(Worker { worker: Some(worker::Worker::User(user)) });
    }
    let kept = without_fields(&message, &replaced).unwrap_or(message);
    Ok([kept.as_ref(), &stamped.encode_to_vec()].concat().into())
}

/// What a refused post tells of an annotation: why it is refused or, where another one is to blame, that it is pending.
fn refused(message: &Bytes, refusal: Option<Refusal>) -> Bytes {
    let given = parse_annotation(message).unwrap_or_default();
    let status = match refusal {
        Some(Refusal::Status { code, details }) => status(code, details),
        _ => status(StatusCode::AnnotationPending as i32, ""),
    };
    let told = api::Annotation {
        id: given.id,
        input_id: given.input_id,
        status: Some(status),
        ..Default::default()
    };
    told.encode_to_vec().into()
}
