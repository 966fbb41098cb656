//! Deletions: of one annotation, of pairs, and of all annotations of some inputs.

use super::{
    operation::{Operation, Performed, Rules, check_batch, check_counts, missing_pair},
    status::{Refusal, refusal},
    store::{Annotation, App},
    undocumented::{MissingPair, MissingSingle, RefusedPair},
    workers::Author,
};
use crate::wire::{
    StatusCode,
    api::{self, UserAppIdSet, status::BaseResponse},
    parse_annotation,
};

/// Why a pair, or an input, cannot be deleted, and what that does to its batch.
struct Problem {
    refusal: Refusal,
    effect: Effect,
}

/// What one that cannot be deleted does to its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing.
    PassedOver,
    /// The batch is refused whole.
    Refused,
    /// The rest is deleted, and the answer carries this code.
    Reported(StatusCode),
}

impl From<MissingPair> for Effect {
    fn from(missing_pair: MissingPair) -> Self {
        match missing_pair {
            MissingPair::Success => Self::PassedOver,
            MissingPair::Refused => Self::Refused,
            MissingPair::Mixed => Self::Reported(StatusCode::MixedStatus),
            MissingPair::Failure => Self::Reported(StatusCode::Failure),
        }
    }
}

impl From<RefusedPair> for Effect {
    fn from(refused_pair: RefusedPair) -> Self {
        match refused_pair {
            RefusedPair::Refused => Self::Refused,
            RefusedPair::Mixed => Self::Reported(StatusCode::MixedStatus),
            RefusedPair::Failure => Self::Reported(StatusCode::Failure),
        }
    }
}

fn denied(input_id: &str, id: &str) -> Refusal {
    let details = format!("annotation {id:?} of input {input_id:?} may not be deleted");
    refusal(StatusCode::AnnotationPermissionDenied, details)
}

/// Whether the caller may not delete this annotation because it is somebody else's. The app's owner may delete
/// anybody's.
fn is_foreign(annotation: &Annotation, rules: &Rules<'_>) -> bool {
    if rules.caller.is_owner {
        return false;
    }
    let parsed = parse_annotation(&annotation.message());
    !parsed.is_ok_and(|it| rules.caller.is(Author::of(&it).user_id))
}

/// Why a pair may not be deleted, if it may not. Input-level annotations go only with their input; that they are
/// refused here, and so, is our choice.
fn pair_refusal(app: &App, rules: &Rules<'_>, annotation: &Annotation, input_id: &str) -> Option<Refusal> {
    let id = &annotation.id;
    if annotation.kind.input_level {
        let details =
            format!("annotation {id:?} of input {input_id:?} is input-level: it goes only with its input");
        return Some(refusal(StatusCode::AnnotationInvalidArgument, details));
    }
    (is_foreign(annotation, rules) || app.is_locked(input_id, id)).then(|| denied(input_id, id))
}

fn pair_problem(
    app: &App,
    rules: &Rules<'_>,
    (input_id, id): (&str, &str),
    missing: Effect,
) -> Option<Problem> {
    let Some(annotation) = app.get(input_id, id) else {
        return Some(Problem { refusal: missing_pair(input_id, id), effect: missing });
    };
    let refusal = pair_refusal(app, rules, annotation, input_id)?;
    Some(Problem { refusal, effect: rules.undocumented.refused_pair().into() })
}

/// Why an input's annotations cannot be deleted, if they cannot.
fn input_problem(app: &App, rules: &Rules<'_>, input_id: &str) -> Option<Problem> {
    if !app.has_input(input_id) {
        let effect = rules.undocumented.missing_pair.into();
        return Some(Problem { refusal: rules.missing_input(input_id), effect });
    }
    let id = app.locked_on(input_id).or_else(|| {
        let mut on_input = app.present_on(input_id).filter(|it| !it.kind.input_level);
        let foreign = on_input.find(|it| is_foreign(it, rules));
        foreign.map(|it| &*it.id)
    })?;
    Some(Problem { refusal: denied(input_id, id), effect: rules.undocumented.refused_pair().into() })
}

/// Deletes what can be deleted of a batch, as far as the rules let it. `remove` tells how many annotations went.
fn delete_each<T: Copy>(
    items: Vec<(T, Option<Problem>)>,
    rules: &Rules<'_>,
    mut remove: impl FnMut(T) -> usize,
) -> Performed<()> {
    let problems = || {
        let problems = items.iter().filter_map(|(_, problem)| problem.as_ref());
        problems.filter(|problem| problem.effect != Effect::PassedOver)
    };
    let worst = problems().find(|problem| problem.effect == Effect::Refused).or_else(|| problems().next());
    if let Some(problem) = worst
        && (problem.effect == Effect::Refused || problems().count() == items.len())
    {
        return problem.refusal.clone().into();
    }
    let reported = worst.map(|problem| problem.effect);
    let first = rules.breaks_off_after.unwrap_or(items.len());
    let able = items.into_iter().take(first).filter(|(_, problem)| problem.is_none());
    let applied = able.map(|(item, _)| remove(item)).sum();
    let refusal = match (rules.breaks_off_after, reported) {
        (Some(first), _) => {
            let details = format!("broken off after the first {first}");
            Some(refusal(StatusCode::InternalUncategorized, details))
        }
        (None, Some(Effect::Reported(code))) => Some(refusal(code, "some were not deleted")),
        (None, _) => None,
    };
    Performed { value: (), refusal, applied }
}

impl Operation for api::DeleteAnnotationRequest {
    const METHOD: &'static str = "DeleteAnnotation";
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
        let missing = match rules.undocumented.missing_single {
            MissingSingle::Success => Effect::PassedOver,
            MissingSingle::Status => Effect::Refused,
            MissingSingle::Grpc if app.get(input_id, id).is_none() => {
                let message = format!("there is no annotation {id:?} on input {input_id:?}");
                return Refusal::Grpc { code: tonic::Code::NotFound, message }.into();
            }
            MissingSingle::Grpc => Effect::Refused,
        };
        let items = vec![((), pair_problem(app, rules, (input_id, id), missing))];
        delete_each(items, rules, |()| usize::from(app.remove(input_id, id, rules.lingers_until())))
    }
}

/// Pairs, or whole inputs where there are no `ids`.
impl Operation for api::DeleteAnnotationsRequest {
    const METHOD: &'static str = "DeleteAnnotations";
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
            return refusal.into();
        }
        if ids.is_empty() {
            let items = input_ids.iter().map(|input_id| (input_id, input_problem(app, rules, input_id)));
            return delete_each(items.collect(), rules, |input_id| {
                app.clear_input(input_id, rules.lingers_until())
            });
        }
        if let Err(refusal) = check_counts(input_ids, ids) {
            return refusal.into();
        }
        let missing = rules.undocumented.missing_pair.into();
        let pairs = input_ids.iter().map(String::as_str).zip(ids.iter().map(String::as_str));
        let items = pairs.map(|pair| (pair, pair_problem(app, rules, pair, missing))).collect();
        delete_each(items, rules, |(input_id, id)| {
            usize::from(app.remove(input_id, id, rules.lingers_until()))
        })
    }
}
