//! The service behind every face: who asks is checked, the operation is done, the request is recorded. Also what
//! a test puts there and looks at.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{self, Instant};

use super::{
    access::{self, Access, Metadata},
    faults::{Fault, FaultKind, Plan},
    listener::Connection,
    log::{Log, RecordedRequest, masked},
    operations::{
        Ids, Operation, Performed, Refusal, Rules, Undocumented, completed, is_trusted, new_input, refusal,
    },
    quota::{Meters, Quota},
    store::App,
};
use crate::wire::{
    self, StatusCode,
    api::{self, UserAppIdSet},
    parse_annotation, status_name,
};

/// How the service behaves.
#[derive(Debug, Clone, Default)]
pub struct Conduct {
    /// Who may do what.
    pub access: Access,
    /// What a user may send; `None` for no limit.
    pub quota: Option<Quota>,
    /// How long a request takes on its way in, before it is counted and applied.
    pub latency_in: Spread,
    /// How long an answer takes on its way back.
    pub latency_out: Spread,
    /// How it behaves where it is not documented.
    pub undocumented: Undocumented,
    /// Faults at random, each with the share of requests that it befalls.
    pub fault_rates: Vec<(Fault, f64)>,
    /// What chance is made of.
    pub seed: u64,
}

/// A time that varies, evenly between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// The shortest.
    pub least: Duration,
    /// The longest.
    pub most: Duration,
}

impl Spread {
    fn draw(&self, chance: &mut fastrand::Rng) -> Duration {
        self.least + self.most.saturating_sub(self.least).mul_f64(chance.f64())
    }
}

/// How a request is answered.
pub enum Reply<T: Operation> {
    /// With the method's own message; and the status code in it, for faces that tell it in another way as well.
    Message(T::Answer, i32),
    /// With a gRPC status.
    Grpc(tonic::Code, String),
}

/// The service's state.
pub struct Service {
    conduct: Conduct,
    state: Mutex<State>,
}

struct State {
    apps: HashMap<(String, String), App>,
    log: Log,
    meters: Meters,
    plan: Plan,
    chance: fastrand::Rng,
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
    pub fn new(conduct: Conduct) -> Self {
        let state = State {
            apps: HashMap::new(),
            log: Log::default(),
            meters: Meters::default(),
            plan: Plan::new(conduct.fault_rates.clone(), conduct.seed),
            chance: fastrand::Rng::with_seed(conduct.seed),
            requests: 0,
            ids: 0,
        };
        Self { conduct, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way of a request: in, counted, checked, applied, recorded, and back; with the fault that befalls it.
    /// One that is not to be answered is held until its connection is gone.
    pub async fn handle<T: Operation>(
        &self,
        request: &T,
        metadata: Metadata,
        connection: &Connection,
    ) -> Reply<T> {
        let (input_ids, ids) = request.named();
        let (fault, way_in, way_out) = {
            let State { plan, chance, .. } = &mut *self.state();
            let fault = plan.draw(T::METHOD, (&input_ids, &ids));
            (fault, self.conduct.latency_in.draw(chance), self.conduct.latency_out.draw(chance))
        };
        pause(way_in).await;
        let arrived_at = connection.arrived_at + way_in;
        let reply = self.decide(request, (input_ids, ids), metadata, &fault, arrived_at);
        pause(way_out).await;
        match fault {
            FaultKind::DroppedBefore | FaultKind::DroppedAfter => {
                connection.sever();
                std::future::pending().await
            }
            FaultKind::Unanswered => std::future::pending().await,
            FaultKind::Delayed(time) => time::sleep(time).await,
            FaultKind::GoAway => connection.go_away(),
            _ => {}
        }
        reply
    }

    /// Counts, checks, applies and records a request.
    fn decide<T: Operation>(
        &self,
        request: &T,
        (input_ids, ids): (Vec<String>, Vec<String>),
        metadata: Metadata,
        fault: &FaultKind,
        arrived_at: Instant,
    ) -> Reply<T> {
        let State { apps, log, meters, requests, ids: made, .. } = &mut *self.state();
        let now = Instant::now();
        let breaks_off_after = if let FaultKind::Partial(first) = fault { Some(*first) } else { None };
        let undocumented = &self.conduct.undocumented;
        let mut rules = Rules { ids: Ids(made), undocumented, breaks_off_after, now };
        let user_app_id = request.user_app_id();
        let Performed { result, applied } = match self.turned_away(fault, meters, user_app_id, arrived_at) {
            Some(refusal) => Err(refusal).into(),
            None => match self.conduct.access.admit(&metadata, T::METHOD, T::SCOPE, user_app_id) {
                Err(refusal) => Err(refusal).into(),
                Ok(app) => {
                    let app = apps.entry(app).or_default();
                    app.settle(now);
                    request.perform(app, &mut rules)
                }
            },
        };

        *requests += 1;
        let req_id = match access::value(&metadata, wire::REQUEST_ID_PREFIX) {
            Some(prefix) => format!("{prefix}-{requests:08x}"),
            None => format!("{requests:08x}"),
        };
        let status = |code, description: &str, details| api::status::Status {
            code,
            description: description.into(),
            details,
            req_id,
            ..Default::default()
        };
        let (reply, code, name) = match result {
            Ok(value) => {
                let code = StatusCode::Success as i32;
                (Reply::Message(T::answer(status(code, "Ok", String::new()), value), code), code, "SUCCESS")
            }
            Err(Refusal::Status { code, description, details }) => {
                let answer = T::answer(status(code, description, details), T::Value::default());
                (Reply::Message(answer, code), code, status_name(code).unwrap_or("UNKNOWN_CODE"))
            }
            Err(Refusal::Grpc { code, message }) => {
                (Reply::Grpc(code, message), code as i32, wire::grpc_name(code))
            }
        };

        let sent =
            !matches!(fault, FaultKind::DroppedBefore | FaultKind::DroppedAfter | FaultKind::Unanswered);
        let UserAppIdSet { user_id, app_id } = user_app_id.cloned().unwrap_or_default();
        log.record(RecordedRequest {
            method: T::METHOD,
            user_id,
            app_id,
            input_ids,
            ids,
            metadata: masked(metadata),
            code: if sent { code } else { 0 },
            name: if sent { name.into() } else { String::new() },
            fault: (*fault != FaultKind::None).then(|| fault.to_string()),
            applied,
        });
        reply
    }

    /// Whether a request gets no further than the door: by a fault, or by the quota.
    fn turned_away(
        &self,
        fault: &FaultKind,
        meters: &mut Meters,
        user_app_id: Option<&UserAppIdSet>,
        arrived_at: Instant,
    ) -> Option<Refusal> {
        let throttled = |requests_per_second| {
            let details = format!("exceeded limit of {requests_per_second} requests per second");
            refusal(StatusCode::ConnThrottled, "Request throttled", details)
        };
        let quota = self.conduct.quota.as_ref();
        match fault {
            // It never came in; what it is refused with is never seen.
            FaultKind::DroppedBefore => return Some(refusal(StatusCode::Failure, "", "")),
            FaultKind::Throttled => {
                let default = wire::DEFAULT_REQUESTS_PER_SECOND;
                return Some(throttled(quota.map_or(default, |quota| quota.requests_per_second)));
            }
            _ => {}
        }
        let user_id = user_app_id.map_or("", |named| named.user_id.as_str());
        let over = quota.filter(|quota| !meters.admit(quota, user_id, arrived_at));
        // A fault strikes whatever the quota says, so that the log tells the truth.
        match *fault {
            FaultKind::Status(code) => Some(Refusal::Status {
                code,
                description: status_name(code).unwrap_or("Unknown status"),
                details: "a fault that was asked for".into(),
            }),
            FaultKind::Grpc(code) => Some(Refusal::Grpc {
                code: tonic::Code::from_i32(code),
                message: "a fault that was asked for".into(),
            }),
            _ => over.map(|quota| throttled(quota.requests_per_second)),
        }
    }

    /// The app that a REST request is about when it names none.
    pub fn home(&self) -> (&str, &str) {
        self.conduct.access.home()
    }

    /// Puts faults in line: each befalls the next request that it is meant for, once those before it struck.
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().plan.line_up(faults);
    }

    /// Refuses for ever to delete an annotation, with ANNOTATION_PERMISSION_DENIED.
    pub fn lock(&self, user_id: &str, app_id: &str, input_id: &str, annotation_id: &str) {
        let mut state = self.state();
        state.apps.entry((user_id.into(), app_id.into())).or_default().lock(input_id, annotation_id);
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
            found.extend(app.present().map(|(input_id, annotation)| StoredAnnotation {
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

/// A sleep of no time would still give way to others.
async fn pause(time: Duration) {
    if !time.is_zero() {
        time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::quota::Counting;

    #[tokio::test]
    async fn a_request_is_counted_when_it_came_however_late_it_is_handled() {
        let quota = Quota { requests_per_second: 1, counting: Counting::Rolling, halt: Duration::ZERO };
        let service = Service::new(Conduct { quota: Some(quota), ..Conduct::default() });
        let now = Instant::now();
        let mut throttled = Vec::new();
        for arrived_at in [now, now + Duration::from_millis(500), now + Duration::from_secs(1)] {
            let request = api::DeleteAnnotationRequest {
                user_app_id: Some(UserAppIdSet { user_id: "me".into(), app_id: "cats".into() }),
                ..Default::default()
            };
            let mut connection = Connection::default();
            connection.arrived_at = arrived_at;
            let reply = service.handle(&request, Metadata::default(), &connection).await;
            let code = if let Reply::Message(_, code) = reply { code } else { 0 };
            throttled.push(code == StatusCode::ConnThrottled as i32);
        }
        assert_eq!(throttled, [false, true, false]);
    }
}
