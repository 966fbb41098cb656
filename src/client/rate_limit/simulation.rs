//! Clients, a network and a service in simulated time: what the rate limit reaches where it cannot be measured. The service
//! counts by itself: a mistake in the emulator's count must not hide one of the client's.
//!
//! `cargo test --release --lib rate_limit::simulation::table -- --ignored --nocapture` prints the table of
//! `benches/README.md`.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    path::Path,
    rc::Rc,
    time::Duration,
};

use tokio::{
    task::LocalSet,
    time::{self, Instant},
};

use super::{clock::Clock, process_window::Window, store::Place, *};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How the service counts a second.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Counting {
    Rolling,
    Fixed,
    Bucket,
    /// Rolling; and over the quota, everything is refused for a second.
    Halting,
}

struct Service {
    quota: usize,
    counting: Counting,
    accepted: VecDeque<Duration>,
    tokens: f64,
    refilled: Duration,
    halted_until: Duration,
    /// When requests arrived.
    arrivals: Vec<Duration>,
}

impl Service {
    fn new(quota: usize, counting: Counting) -> Self {
        let tokens = quota as f64;
        let (accepted, arrivals) = (VecDeque::new(), Vec::new());
        let (refilled, halted_until) = (Duration::ZERO, Duration::ZERO);
        Self { quota, counting, accepted, tokens, refilled, halted_until, arrivals }
    }

    fn accepts(&mut self, now: Duration) -> bool {
        self.arrivals.push(now);
        if now < self.halted_until {
            return false;
        }
        let is_over = |at: &mut Duration| now >= *at + SECOND;
        let accepts = match self.counting {
            Counting::Bucket => {
                let refill = (now - self.refilled).as_secs_f64() * self.quota as f64;
                self.tokens = (self.tokens + refill).min(self.quota as f64);
                self.refilled = now;
                self.tokens >= 1.0
            }
            Counting::Fixed => {
                if self.accepted.front_mut().is_some_and(&is_over) {
                    self.accepted.clear();
                }
                self.accepted.len() < self.quota
            }
            Counting::Rolling | Counting::Halting => {
                while self.accepted.pop_front_if(is_over).is_some() {}
                self.accepted.len() < self.quota
            }
        };
        match accepts {
            true if self.counting == Counting::Bucket => self.tokens -= 1.0,
            true => self.accepted.push_back(now),
            false if self.counting == Counting::Halting => self.halted_until = now + SECOND,
            false => {}
        }
        accepts
    }
}

/// What is simulated.
#[derive(Debug, Clone)]
struct Scenario {
    clients: usize,
    /// Whether they are processes of one machine.
    are_shared: bool,
    rate: Rate,
    quota: usize,
    counting: Counting,
    /// Of a round trip.
    latency: Duration,
    /// What a request may take longer, each way.
    jitter: Duration,
    /// Clients begin within this time.
    stagger: Duration,
    seconds: u64,
    /// From when to when nothing passes the network, either way.
    stall: Option<(Duration, Duration)>,
    /// All clients but the first end then.
    others_leave_at: Option<Duration>,
    seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            clients: 1,
            are_shared: false,
            rate: Rate::PerSecond(15.0),
            quota: 15,
            counting: Counting::Rolling,
            latency: 20 * MS,
            jitter: 2 * MS,
            stagger: 300 * MS,
            seconds: 60,
            stall: None,
            others_leave_at: None,
            seed: 0,
        }
    }
}

/// What came of it.
#[derive(Debug)]
struct Found {
    /// When a request of a client was accepted.
    accepted: Vec<Vec<Duration>>,
    throttled: usize,
    /// The most requests that arrived within any second.
    most: usize,
}

impl Found {
    fn count(&self) -> usize {
        self.accepted.iter().map(Vec::len).sum()
    }

    /// Of what the service would have taken.
    fn share(&self, scenario: &Scenario) -> f64 {
        self.count() as f64 / (scenario.quota as u64 * scenario.seconds) as f64
    }

    /// Of all requests.
    fn throttled(&self) -> f64 {
        self.throttled as f64 / (self.count() + self.throttled).max(1) as f64
    }

    /// Jain's index of fairness: 1 where all had the same, one by their number where one had everything.
    fn fairness(&self) -> f64 {
        let counts = || self.accepted.iter().map(|it| it.len() as f64);
        let (sum, squares): (f64, f64) = (counts().sum(), counts().map(|it| it * it).sum());
        sum * sum / (squares * self.accepted.len() as f64)
    }
}

fn run(scenario: &Scenario) -> Found {
    fastrand::seed(scenario.seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(LocalSet::new().run_until(simulate(scenario, folder.path())))
}

async fn simulate(scenario: &Scenario, folder: &Path) -> Found {
    let start = Instant::now();
    let service = Rc::new(RefCell::new(Service::new(scenario.quota, scenario.counting)));
    let found = Rc::new(RefCell::new((vec![Vec::new(); scenario.clients], 0)));
    let end = start + SECOND * scenario.seconds as u32;
    let mut clients = Vec::new();
    for client in 0..scenario.clients {
        let (scenario, service, found) = (scenario.clone(), Rc::clone(&service), Rc::clone(&found));
        let place = scenario.are_shared.then(|| Place {
            folder: folder.to_owned(),
            service: "http://simulated".into(),
            user_id: "me".into(),
        });
        let ways: Rc<[Way; 2]> = Rc::default();
        let limiter =
            Rc::new(RateLimiter::of_window(Window::new(place, Clock::Process { start }), scenario.rate, 32));
        clients.push(tokio::task::spawn_local(async move {
            time::sleep(scenario.stagger.mul_f64(fastrand::f64())).await;
            loop {
                let permit = limiter.acquire().await;
                let is_over = client > 0 && scenario.others_leave_at.is_some_and(|at| start.elapsed() > at);
                if is_over || Instant::now() >= end {
                    break;
                }
                let (scenario, service, found) = (scenario.clone(), Rc::clone(&service), Rc::clone(&found));
                let ways = Rc::clone(&ways);
                tokio::task::spawn_local(async move {
                    permit.send(client as u64).unwrap().mark();
                    ways[0].travel(&scenario, start).await;
                    let accepts = service.borrow_mut().accepts(start.elapsed());
                    match accepts {
                        true => found.borrow_mut().0[client].push(start.elapsed()),
                        false => found.borrow_mut().1 += 1,
                    }
                    ways[1].travel(&scenario, start).await;
                    permit.release(!accepts);
                });
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let arrivals = std::mem::take(&mut service.borrow_mut().arrivals);
    let within = |first: usize| arrivals[first..].partition_point(|at| *at < arrivals[first] + SECOND);
    let most = (0..arrivals.len()).map(within).max().unwrap_or(0);
    let (accepted, throttled) = found.take();
    Found { accepted, throttled, most }
}

/// One way through the network, on which nothing overtakes: when the latest arrived.
#[derive(Default)]
struct Way(Cell<Duration>);

impl Way {
    async fn travel(&self, scenario: &Scenario, start: Instant) {
        let arrives_at = start.elapsed() + scenario.latency / 2 + scenario.jitter.mul_f64(fastrand::f64());
        let stall = scenario.stall.filter(|(from, to)| (*from..*to).contains(&arrives_at));
        let arrives_at = stall.map_or(arrives_at, |(_, to)| to).max(self.0.get());
        self.0.set(arrives_at);
        time::sleep_until(start + arrives_at).await;
    }
}

fn mean(scenario: &Scenario, seeds: u64, of: impl Fn(&Found) -> f64) -> f64 {
    (0..seeds).map(|seed| of(&run(&Scenario { seed, ..scenario.clone() }))).sum::<f64>() / seeds as f64
}

#[test]
fn one_client_sends_at_the_ceiling_and_is_never_throttled() {
    for latency in [5, 20, 50, 200, 400, 800] {
        for counting in [Counting::Rolling, Counting::Fixed, Counting::Bucket, Counting::Halting] {
            let scenario = Scenario { latency: latency * MS, counting, ..Scenario::default() };
            let found = run(&scenario);
            assert_eq!((found.throttled, found.most.max(15)), (0, 15), "{scenario:?}");
            assert!(found.share(&scenario) > 0.97, "{} {scenario:?}", found.share(&scenario));
        }
    }
}

#[test]
fn a_network_that_stands_still_does_not_turn_into_a_burst() {
    for (latency, stall) in [(20, 1500), (200, 1500), (20, 300), (20, 6000), (800, 3000)] {
        let until = 10_000 + stall;
        let stall = (10 * SECOND, until * MS);
        let scenario = Scenario { latency: latency * MS, stall: Some(stall), ..Scenario::default() };
        let found = run(&scenario);
        assert!(found.most <= 15 && found.throttled == 0, "{} {} {scenario:?}", found.most, found.throttled);
        let left = 60.0 - (stall.1 - stall.0).as_secs_f64();
        let share = found.count() as f64 / (15.0 * left);
        assert!(share > 0.95, "{share} {scenario:?}");
    }
}

#[test]
fn processes_of_one_machine_share_the_ceiling_evenly_and_are_not_throttled() {
    for clients in [2, 8, 30] {
        let scenario = Scenario { clients, are_shared: true, ..Scenario::default() };
        let found = run(&scenario);
        assert_eq!((found.throttled, found.most.max(15)), (0, 15), "{scenario:?}");
        assert!(found.share(&scenario) > 0.97, "{} {scenario:?}", found.share(&scenario));
        assert!(found.fairness() > 0.99, "{} {scenario:?}", found.fairness());
    }
}

/// Share, throttled and fairness of clients that cannot talk to each other.
fn apart(scenario: &Scenario, seeds: u64) -> [f64; 3] {
    [
        mean(scenario, seeds, |found| found.share(scenario)),
        mean(scenario, seeds, Found::throttled),
        mean(scenario, seeds, Found::fairness),
    ]
}

#[test]
fn clients_that_cannot_talk_share_the_quota_with_few_refusals() {
    for clients in [2, 4] {
        let [share, throttled, fairness] = apart(&Scenario { clients, ..Scenario::default() }, 6);
        assert!(
            share > 0.92 && throttled < 0.03 && fairness > 0.95,
            "{clients}: {share} {throttled} {fairness}"
        );
    }
}

#[test]
fn clients_that_cannot_talk_get_along_however_the_service_counts() {
    for counting in [Counting::Fixed, Counting::Bucket, Counting::Halting] {
        let scenario = Scenario { clients: 2, counting, ..Scenario::default() };
        let [share, throttled, fairness] = apart(&scenario, 3);
        assert!(
            share > 0.8 && throttled < 0.04 && fairness > 0.95,
            "{counting:?}: {share} {throttled} {fairness}"
        );
    }
}

#[test]
fn when_the_other_client_ends_the_whole_quota_is_used_again_within_seconds() {
    let scenario = Scenario { clients: 2, others_leave_at: Some(20 * SECOND), ..Scenario::default() };
    let rate = mean(&scenario, 6, |found| {
        let after = found.accepted[0].iter().filter(|at| (35..55).contains(&at.as_secs())).count();
        after as f64 / (20.0 * 15.0)
    });
    assert!(rate > 0.95, "{rate}");
}

#[test]
fn a_client_that_comes_later_gets_its_part() {
    let scenario = Scenario { clients: 2, stagger: 20 * SECOND, seconds: 80, ..Scenario::default() };
    let fairness = mean(&scenario, 6, |found| {
        let late = |it: &Vec<Duration>| it.iter().filter(|at| at.as_secs() >= 40).count() as f64;
        let counts: Vec<_> = found.accepted.iter().map(late).collect();
        counts.iter().sum::<f64>().powi(2) / (2.0 * counts.iter().map(|it| it * it).sum::<f64>())
    });
    assert!(fairness > 0.95, "{fairness}");
}

#[test]
fn a_higher_quota_is_found_out_with_few_refusals() {
    let scenario = Scenario { rate: Rate::Auto, quota: 100, ..Scenario::default() };
    let found = run(&scenario);
    let after = found.accepted[0].iter().filter(|at| at.as_secs() >= 20).count();
    let share = after as f64 / (40.0 * 100.0);
    assert!(share > 0.9 && found.throttled() < 0.01, "{share} {}", found.throttled());
}

#[test]
fn where_the_quota_is_the_default_nothing_is_lost_by_finding_it_out() {
    let scenario = Scenario { rate: Rate::Auto, ..Scenario::default() };
    let found = run(&scenario);
    let share = found.share(&scenario);
    assert!(share > 0.95 && found.throttled() < 0.01, "{share} {}", found.throttled());
}

#[test]
#[ignore = "takes a minute: prints the table of benches/README.md"]
fn table() {
    println!("| clients | share a machine | the service counts | latency | share | throttled | fairness |");
    println!("|---|---|---|---|---|---|---|");
    let countings = [Counting::Rolling, Counting::Fixed, Counting::Bucket, Counting::Halting];
    let alone = [5, 20, 200, 800].map(|latency| (1, false, latency));
    let together = [2, 8, 100].map(|clients| (clients, true, 20));
    let others = [2, 3, 4, 8, 20, 100].map(|clients| (clients, false, 20));
    for (clients, are_shared, latency) in alone.into_iter().chain(together).chain(others) {
        for counting in countings {
            let latency_of = latency * MS;
            let scenario =
                Scenario { clients, are_shared, counting, latency: latency_of, ..Scenario::default() };
            let [share, throttled, fairness] = apart(&scenario, if are_shared { 1 } else { 10 });
            let together = if are_shared { "yes" } else { "no" };
            println!(
                "| {clients} | {together} | {counting:?} | {latency} ms | {share:.3} | {:.1} % | {fairness:.3} |",
                throttled * 100.0
            );
        }
    }
}
