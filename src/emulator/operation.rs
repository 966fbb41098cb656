//! A request message as an operation: what it asks for, and how that is done, whichever face it came through. What is
//! refused, and with which code, follows Clarifai's documentation; where that is silent, a comment says what was chosen.

use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;
use tokio::time::Instant;

use super::{
    access::Caller,
    status::{Refusal, refusal},
    store::{App, Kind},
    undocumented::{MissingInput, Undocumented},
    workers::Author,
};
use crate::wire::{
    MAX_BATCH, StatusCode,
    api::{self, UserAppIdSet},
};

/// The methods that are played.
pub const METHODS: [&str; 6] = [
    api::GetUserRequest::METHOD,
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
    /// Whether it works on an app.
    const NEEDS_APP: bool = true;
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
    /// Who asks.
    pub caller: Caller<'a>,
    /// A deletion breaks off after so many pairs or inputs.
    pub breaks_off_after: Option<usize>,
    /// The moment.
    pub now: Instant,
}

impl Rules<'_> {
    /// Until when lists show what is deleted now.
    pub fn lingers_until(&self) -> Option<Instant> {
        let lingers = self.undocumented.visible_after;
        (!lingers.is_zero()).then(|| self.now + lingers)
    }

    /// The refusal for an input that is not there.
    pub fn missing_input(&self, input_id: &str) -> Refusal {
        let code = match self.undocumented.missing_input {
            MissingInput::Empty | MissingInput::InputDoesNotExist => StatusCode::InputDoesNotExist,
            MissingInput::DoesNotExist => StatusCode::ConnDoesNotExist,
        };
        refusal(code, format!("there is no input {input_id:?}"))
    }
}

/// How an operation ended, and how many annotations it deleted or added.
pub struct Performed<T> {
    /// What it brought; a refusal may carry something as well.
    pub value: T,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// Annotations deleted or added.
    pub applied: usize,
}

impl<T: Default> From<Refusal> for Performed<T> {
    fn from(refusal: Refusal) -> Self {
        Self { value: T::default(), refusal: Some(refusal), applied: 0 }
    }
}

impl<T: Default> From<Result<T, Refusal>> for Performed<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(value) => Self { value, refusal: None, applied: 0 },
            Err(refusal) => refusal.into(),
        }
    }
}

/// Makes IDs for annotations that come without one.
pub struct Ids<'a>(pub &'a mut u64);

impl Ids<'_> {
    /// An ID that no annotation has.
    pub fn next(&mut self) -> String {
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
    let _ = app.add(input_id, &own.id, &own.encode_to_vec(), kind(&own));
    true
}

/// What the store needs to know of an annotation.
pub fn kind(annotation: &api::Annotation) -> Kind {
    let is_model = Author::of(annotation).is_model;
    Kind { input_level: annotation.input_level, trusted: annotation.trusted || !is_model, is_model }
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
pub fn stamp(now: SystemTime) -> api::Annotation {
    let now = Some(Timestamp::from(now));
    api::Annotation { created_at: now, modified_at: now, ..Default::default() }
}

/// The refusal for a pair that is not there.
pub fn missing_pair(input_id: &str, id: &str) -> Refusal {
    refusal(StatusCode::ConnDoesNotExist, format!("there is no annotation {id:?} on input {input_id:?}"))
}

/// For `PostAnnotations` 128 is documented as the most; for `DeleteAnnotations` nothing is, and 128 is taken.
///
/// # Errors
/// There is nothing, or more than that.
pub fn check_batch(count: usize, field: &str) -> Result<(), Refusal> {
    if count == 0 {
        return Err(refusal(StatusCode::ConnInvalidRequest, format!("{field} is empty")));
    }
    if count > MAX_BATCH {
        let details = format!("{field} has {count} items, more than {MAX_BATCH}");
        return Err(refusal(StatusCode::ConnInvalidRequest, details));
    }
    Ok(())
}

/// Pairs are named by position.
///
/// # Errors
/// One list is longer than the other.
pub fn check_counts(input_ids: &[String], ids: &[String]) -> Result<(), Refusal> {
    if input_ids.len() != ids.len() {
        let details = format!("{} input_ids and {} ids cannot be paired", input_ids.len(), ids.len());
        return Err(refusal(StatusCode::ConnInvalidRequest, details));
    }
    Ok(())
}
