//! What goes wrong on command: one by one in a given order, or at random from a seed.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// Something that goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The methods that it befalls; empty for all.
    pub methods: Vec<String>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Nothing: the request is let through. For a plan that begins later.
    None,
    /// Refused as one too many.
    Throttled,
    /// Refused with this status code of Clarifai's.
    Status(i32),
    /// The request is applied, and answered with this status code of Clarifai's all the same.
    AppliedStatus(i32),
    /// Refused with this gRPC status code.
    Grpc(i32),
    /// The connection is dropped before the request is applied.
    DroppedBefore,
    /// The request is applied; then the connection is dropped, and the answer is lost.
    DroppedAfter,
    /// The request is applied; the answer comes late.
    Delayed(Duration),
    /// The request is applied; the answer never comes.
    Unanswered,
    /// The first so many pairs or inputs are applied; then it fails.
    Partial(usize),
    /// The request is served, and the connection takes no further one (HTTP/2's GOAWAY).
    GoAway,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Throttled => f.write_str("throttled"),
            Self::Status(code) => write!(f, "status({code})"),
            Self::AppliedStatus(code) => write!(f, "status({code}, applied=True)"),
            Self::Grpc(code) => write!(f, "grpc({code})"),
            Self::DroppedBefore => f.write_str("dropped_before"),
            Self::DroppedAfter => f.write_str("dropped_after"),
            Self::Delayed(time) => write!(f, "delayed({})", time.as_secs_f64()),
            Self::Unanswered => f.write_str("unanswered"),
            Self::Partial(first) => write!(f, "partial({first})"),
            Self::GoAway => f.write_str("goaway"),
        }
    }
}

impl Fault {
    fn befalls(&self, method: &str) -> bool {
        // Only a deletion can be done in part.
        if matches!(self.kind, FaultKind::Partial(_)) && !method.starts_with("Delete") {
            return false;
        }
        self.methods.is_empty() || self.methods.iter().any(|name| name == method)
    }
}

/// Which request meets which fault.
#[derive(Default)]
pub struct Plan {
    queue: VecDeque<Fault>,
    rates: Vec<(Fault, f64)>,
    seed: u64,
    /// How often each request came, by its hash: only where there are rates.
    seen: HashMap<u64, u64>,
}

impl Plan {
    /// Faults at random: each with the share of requests that it befalls.
    pub fn new(rates: Vec<(Fault, f64)>, seed: u64) -> Self {
        Self { rates, seed, ..Self::default() }
    }

    /// Puts faults in line. Each befalls the first request that comes when all before it have struck, and that
    /// it is meant for.
    pub fn line_up(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.queue.extend(faults);
    }

    /// The fault that befalls this request.
    ///
    /// At random means: decided by the seed, by what the request asks for and by how often it asked before. So
    /// the same requests meet the same faults, in whatever order they race in.
    pub fn draw(&mut self, method: &str, names: (&[String], &[String])) -> FaultKind {
        if let Some(fault) = self.queue.pop_front_if(|fault| fault.befalls(method)) {
            return fault.kind;
        }
        if self.rates.is_empty() {
            return FaultKind::None;
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, method, names).hash(&mut hasher);
        let request = hasher.finish();
        let times = self.seen.entry(request).or_default();
        *times += 1;
        (request, *times).hash(&mut hasher);
        let mut chance = fastrand::Rng::with_seed(hasher.finish()).f64();
        for (fault, rate) in self.rates.iter().filter(|(fault, _)| fault.befalls(method)) {
            if chance < *rate {
                return fault.kind.clone();
            }
            chance -= rate;
        }
        FaultKind::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, methods: &[&str]) -> Fault {
        Fault { kind, methods: methods.iter().map(ToString::to_string).collect() }
    }

    fn drawn(plan: &mut Plan, requests: &[usize]) -> Vec<FaultKind> {
        requests.iter().map(|n| plan.draw("Delete", (&[n.to_string()], &[]))).collect()
    }

    fn random(seed: u64) -> Plan {
        Plan::new(
            vec![(fault(FaultKind::Throttled, &[]), 0.3), (fault(FaultKind::Unanswered, &[]), 0.2)],
            seed,
        )
    }

    #[test]
    fn faults_in_line_strike_in_their_order_and_only_what_they_are_meant_for() {
        let mut plan = Plan::default();
        plan.line_up([fault(FaultKind::Throttled, &["List"]), fault(FaultKind::GoAway, &[])]);
        let drawn: Vec<_> = ["Delete", "List", "Delete", "Delete"].map(|m| plan.draw(m, (&[], &[]))).into();
        assert_eq!(drawn, [FaultKind::None, FaultKind::Throttled, FaultKind::GoAway, FaultKind::None]);
    }

    #[test]
    fn a_partial_deletion_befalls_only_deletions() {
        let mut plan = Plan::default();
        plan.line_up([fault(FaultKind::Partial(1), &[])]);
        let drawn = ["ListAnnotations", "DeleteAnnotations"].map(|method| plan.draw(method, (&[], &[])));
        assert_eq!(drawn, [FaultKind::None, FaultKind::Partial(1)]);
    }

    #[test]
    fn one_seed_gives_the_same_faults_and_another_seed_others() {
        let requests: Vec<_> = (0..200).collect();
        let first = drawn(&mut random(7), &requests);
        assert_eq!(drawn(&mut random(7), &requests), first);
        assert_ne!(drawn(&mut random(8), &requests), first);
    }

    #[test]
    fn the_same_requests_meet_the_same_faults_in_whatever_order_they_come() {
        let forward: Vec<_> = (0..100).collect();
        let backward: Vec<_> = (0..100).rev().collect();
        let mut reversed = drawn(&mut random(7), &backward);
        reversed.reverse();
        assert_eq!(drawn(&mut random(7), &forward), reversed);
    }

    #[test]
    fn a_request_that_comes_again_meets_its_own_fate_each_time() {
        let fates = drawn(&mut random(7), &[1; 100]);
        assert!(fates.contains(&FaultKind::None) && fates.contains(&FaultKind::Throttled));
    }

    #[test]
    fn random_faults_strike_at_about_their_rates() {
        let fates = drawn(&mut random(7), &(0..10_000).collect::<Vec<_>>());
        let share = |kind| fates.iter().filter(|fate| **fate == kind).count() as f64 / 10_000.0;
        assert!((share(FaultKind::Throttled) - 0.3).abs() < 0.02);
        assert!((share(FaultKind::Unanswered) - 0.2).abs() < 0.02);
    }
}
