//! The service behind every face: who asks is checked, the operation is done, the request is recorded. Also what
//! a test puts there and looks at.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::time::{self, Instant};

use super::{
    access::{self, Access, Admission, Metadata},
    faults::{Fault, FaultKind, Plan},
    listener::Connection,
    log::{Log, RecordedRequest, masked},
    operation::{Ids, Operation, Performed, Rules, completed, kind, new_input},
    quota::{Meters, Quota},
    status::{self, Refusal, SuccessCode, refusal},
    store::App,
    undocumented::Undocumented,
};
use crate::wire::{
    self, MAX_REQUEST_BYTES, StatusCode, api::UserAppIdSet, folded_user_id, is_same_user, parse_annotation,
};

/// How the service behaves.
#[derive(Debug, Clone)]
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
    /// The most bytes in a request or an answer; `None` for no limit.
    pub max_message_bytes: Option<usize>,
    /// The code that every success is answered with.
    pub success_code: SuccessCode,
    /// Faults at random, each with the share of requests that it befalls.
    pub fault_rates: Vec<(Fault, f64)>,
    /// What chance is made of.
    pub seed: u64,
}

impl Default for Conduct {
    fn default() -> Self {
        Self {
            access: Access::default(),
            quota: None,
            latency_in: Spread::default(),
            latency_out: Spread::default(),
            undocumented: Undocumented::default(),
            max_message_bytes: Some(MAX_REQUEST_BYTES),
            success_code: SuccessCode::default(),
            fault_rates: Vec::new(),
            seed: 0,
        }
    }
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

/// What a face tells of a request, beside its message.
pub struct Arrival {
    /// The face that it came through.
    pub protocol: Protocol,
    /// How many bytes it takes on the wire: gRPC's message, or REST's body.
    pub bytes: usize,
    /// Its metadata.
    pub metadata: Metadata,
    /// The connection that it came on.
    pub connection: Connection,
}

/// A face of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// REST.
    Rest,
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
    apps: Apps,
    log: Log,
    meters: Meters,
    plan: Plan,
    chance: fastrand::Rng,
    requests: u64,
    ids: u64,
}

/// All apps, by owner and app ID. One owner is one however their ID is spelled.
#[derive(Default)]
struct Apps(HashMap<(String, String), OwnedApp>);

struct OwnedApp {
    /// The owner's ID, as it was spelled first.
    user_id: String,
    app: App,
}

impl Apps {
    fn get_or_create(&mut self, user_id: &str, app_id: &str) -> &mut App {
        let new = || OwnedApp { user_id: user_id.into(), app: App::default() };
        &mut self.0.entry((folded_user_id(user_id), app_id.into())).or_insert_with(new).app
    }
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
            apps: Apps::default(),
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
    pub async fn handle<T: Operation>(&self, request: &T, arrival: Arrival) -> Reply<T> {
        let (input_ids, ids) = request.named();
        let (fault, way_in, way_out) = {
            let State { plan, chance, .. } = &mut *self.state();
            let fault = plan.draw(T::METHOD, (&input_ids, &ids));
            (fault, self.conduct.latency_in.draw(chance), self.conduct.latency_out.draw(chance))
        };
        pause(way_in).await;
        let connection = arrival.connection.clone();
        let arrived_at = connection.arrived_at + way_in;
        let reply = self.decide(request, (input_ids, ids), arrival, &fault, arrived_at);
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

    /// Counts, checks, applies, answers and records a request.
    fn decide<T: Operation>(
        &self,
        request: &T,
        (input_ids, ids): (Vec<String>, Vec<String>),
        arrival: Arrival,
        fault: &FaultKind,
        arrived_at: Instant,
    ) -> Reply<T> {
        let state = &mut *self.state();
        let user_app_id = request.user_app_id();
        let Performed { value, refusal, applied } =
            match self.turned_away(fault, &mut state.meters, user_app_id, &arrival, arrived_at) {
                Some(refusal) => refusal.into(),
                None => self.perform(request, state, &arrival, fault),
            };
        let refusal = match *fault {
            FaultKind::AppliedStatus(code) => Some(asked_for(code)),
            _ => refusal,
        };

        state.requests += 1;
        let req_id = match access::value(&arrival.metadata, wire::REQUEST_ID_PREFIX) {
            Some(prefix) => format!("{prefix}-{:08x}", state.requests),
            None => format!("{:08x}", state.requests),
        };
        let reply = self.reply(value, refusal, &req_id, arrival.protocol);

        let sent =
            !matches!(fault, FaultKind::DroppedBefore | FaultKind::DroppedAfter | FaultKind::Unanswered);
        let (code, name) = match &reply {
            _ if !sent => (0, ""),
            Reply::Message(_, code) => (*code, status::name(*code)),
            Reply::Grpc(code, _) => (*code as i32, wire::grpc_name(*code)),
        };
        let UserAppIdSet { user_id, app_id } = user_app_id.cloned().unwrap_or_default();
        state.log.record(RecordedRequest {
            method: T::METHOD,
            user_id,
            app_id,
            input_ids,
            ids,
            metadata: masked(arrival.metadata),
            code,
            name: name.into(),
            fault: (*fault != FaultKind::None).then(|| fault.to_string()),
            applied,
        });
        reply
    }

    /// Checks who asks, and does what is asked for.
    fn perform<T: Operation>(
        &self,
        request: &T,
        State { apps, ids, .. }: &mut State,
        arrival: &Arrival,
        fault: &FaultKind,
    ) -> Performed<T::Value> {
        let admission = {
            let Arrival { metadata, .. } = arrival;
            self.conduct.access.admit(metadata, T::METHOD, T::NEEDS_APP, request.user_app_id())
        };
        let Admission { user_id, app_id, caller } = match admission {
            Ok(admission) => admission,
            Err(refusal) => return refusal.into(),
        };
        let breaks_off_after = if let FaultKind::Partial(first) = fault { Some(*first) } else { None };
        let now = Instant::now();
        let undocumented = &self.conduct.undocumented;
        let mut rules = Rules { ids: Ids(ids), undocumented, caller, breaks_off_after, now };
        if !T::NEEDS_APP {
            return request.perform(&mut App::default(), &mut rules);
        }
        let app = apps.get_or_create(&user_id, &app_id);
        app.settle(now);
        request.perform(app, &mut rules)
    }

    /// The answer, or the refusal of an answer that is too large.
    fn reply<T: Operation>(
        &self,
        value: T::Value,
        refusal: Option<Refusal>,
        req_id: &str,
        protocol: Protocol,
    ) -> Reply<T> {
        let status = |code, details: String| {
            let mut status = status::status(code, details);
            status.req_id = req_id.into();
            status
        };
        let (code, answer) = match refusal {
            None => {
                let code = self.conduct.success_code.code();
                (code, T::answer(status(code, String::new()), value))
            }
            Some(Refusal::Status { code, details }) => (code, T::answer(status(code, details), value)),
            Some(Refusal::Grpc { code, message }) => return Reply::Grpc(code, message),
        };
        match self.too_large("trying to send", answer.encoded_len(), protocol) {
            None => Reply::Message(answer, code),
            Some(Refusal::Grpc { code, message }) => Reply::Grpc(code, message),
            Some(Refusal::Status { code, details }) => {
                Reply::Message(T::answer(status(code, details), T::Value::default()), code)
            }
        }
    }

    /// Whether a request gets no further than the door: by a fault, by its size, or by the quota.
    fn turned_away(
        &self,
        fault: &FaultKind,
        meters: &mut Meters,
        user_app_id: Option<&UserAppIdSet>,
        arrival: &Arrival,
        arrived_at: Instant,
    ) -> Option<Refusal> {
        let throttled = |requests_per_second| {
            let details = format!("exceeded limit of {requests_per_second} requests per second");
            refusal(StatusCode::ConnThrottled, details)
        };
        let quota = self.conduct.quota.as_ref();
        match fault {
            // It never came in; what it is refused with is never seen.
            FaultKind::DroppedBefore => return Some(refusal(StatusCode::Failure, "")),
            FaultKind::Throttled => {
                let default = wire::DEFAULT_REQUESTS_PER_SECOND;
                return Some(throttled(quota.map_or(default, |quota| quota.requests_per_second)));
            }
            _ => {}
        }
        let too_large = self.too_large("received", arrival.bytes, arrival.protocol);
        let over = quota.filter(|quota| {
            let user_id = self.conduct.access.counted_user(&arrival.metadata, user_app_id);
            // What is too large is not read, and so not counted.
            too_large.is_none() && !meters.admit(quota, &folded_user_id(user_id), arrived_at)
        });
        // A fault strikes whatever the size and the quota say, so that the log tells the truth.
        match *fault {
            FaultKind::Status(code) => Some(asked_for(code)),
            FaultKind::Grpc(code) => {
                Some(Refusal::Grpc { code: tonic::Code::from_i32(code), message: ASKED_FOR.into() })
            }
            FaultKind::AppliedStatus(_) => None,
            _ => too_large.or_else(|| over.map(|quota| throttled(quota.requests_per_second))),
        }
    }

    /// The refusal of a message of so many bytes, if that is too many: gRPC's own, in the words of its Go library, or
    /// Clarifai's.
    fn too_large(&self, done: &str, bytes: usize, protocol: Protocol) -> Option<Refusal> {
        let most = self.conduct.max_message_bytes.filter(|most| bytes > *most)?;
        let message = format!("grpc: {done} message larger than max ({bytes} vs. {most})");
        Some(match protocol {
            Protocol::Grpc => Refusal::Grpc { code: tonic::Code::ResourceExhausted, message },
            Protocol::Rest => refusal(StatusCode::RpcMaxMessageSizeExceeded, message),
        })
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
        self.state().apps.get_or_create(user_id, app_id).lock(input_id, annotation_id);
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
        let app = apps.get_or_create(user_id, app_id);
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
        let app = apps.get_or_create(user_id, app_id);
        new_input(app, &mut Ids(ids), input_id);
        let message = completed(&message, &parsed, input_id, annotation_id);
        app.add(input_id, annotation_id, &message, kind(&parsed))
            .map_err(|_| SeedError::AnnotationExists(input_id.into(), annotation_id.into()))
    }

    /// What is there, app by app, oldest first.
    pub fn annotations(&self, user_id: Option<&str>, app_id: Option<&str>) -> Vec<StoredAnnotation> {
        let state = self.state();
        let mut apps: Vec<_> = state.apps.0.iter().collect();
        apps.sort_by_key(|(id, _)| *id);
        let wanted = |(user, app): &(String, String)| {
            user_id.is_none_or(|wanted| is_same_user(wanted, user))
                && app_id.is_none_or(|wanted| wanted == app)
        };
        let mut found = Vec::new();
        for (id, owned) in apps.into_iter().filter(|(id, _)| wanted(id)) {
            found.extend(owned.app.present().map(|(input_id, annotation)| StoredAnnotation {
                user_id: owned.user_id.clone(),
                app_id: id.1.clone(),
                input_id: input_id.into(),
                annotation_id: annotation.id.to_string(),
                input_level: annotation.kind.input_level,
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

const ASKED_FOR: &str = "a fault that was asked for";

fn asked_for(code: i32) -> Refusal {
    Refusal::Status { code, details: ASKED_FOR.into() }
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
    use crate::{emulator::quota::Counting, wire::api};

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
            let metadata = Metadata::default();
            let arrival = Arrival { protocol: Protocol::Grpc, bytes: 0, metadata, connection };
            let reply = service.handle(&request, arrival).await;
            let code = if let Reply::Message(_, code) = reply { code } else { 0 };
            throttled.push(code == StatusCode::ConnThrottled as i32);
        }
        assert_eq!(throttled, [false, true, false]);
    }
}
