//! How fast the emulator answers, and how much it holds. It must never be what a benchmark measures.
//!
//! `cargo bench --bench emulator`: the emulator runs as a process of its own, with the quota and the log on; a
//! client of one connection keeps 64 `DeleteAnnotation` requests in flight.
#![allow(clippy::unwrap_used, missing_docs, reason = "a program for us, not a library")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clarifai_annotations::{
    emulator::{Conduct, Counting, Emulator, Options, Quota},
    wire::api::{DeleteAnnotationRequest, DeleteAnnotationsRequest, UserAppIdSet, v2_client::V2Client},
};
use futures_util::{StreamExt as _, stream};
use tonic::{Request, transport::Channel};

const REQUESTS: usize = 200_000;
const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 5;
/// Annotations on each input of a seeded store.
const PER_INPUT: usize = 10;

fn main() {
    let arguments: Vec<_> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "serve") {
        return serve(arguments[at + 1].parse().unwrap());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(rate());
    runtime.block_on(memory());
}

/// The child: an emulator with so many annotations, until its input ends.
fn serve(annotations: usize) {
    let quota = Quota { requests_per_second: 10_000_000, counting: Counting::Rolling, halt: Duration::ZERO };
    let conduct = Conduct { quota: Some(quota), ..Conduct::default() };
    let emulator = Emulator::start(Options { conduct, ..Options::default() }).unwrap();
    for n in 0..annotations {
        let (input_id, annotation_id) = ids(n);
        emulator.add_annotation("me", "cats", &input_id, &annotation_id, None).unwrap();
    }
    println!("{}", emulator.base_url());
    let _ = std::io::stdin().lines().next();
}

fn ids(n: usize) -> (String, String) {
    // As long as Clarifai's own: 32 hexadecimal digits.
    (format!("{:032x}", n / PER_INPUT), format!("{n:032x}"))
}

struct Served {
    process: Child,
    client: V2Client<Channel>,
}

impl Served {
    async fn start(annotations: usize) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["serve", &annotations.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut base_url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut base_url).unwrap();
        let client = V2Client::connect(base_url.trim().to_owned()).await.unwrap();
        Self { process, client }
    }

    /// Resident memory in bytes.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    async fn delete(&self, n: usize) {
        let (input_id, annotation_id) = ids(n);
        let message = DeleteAnnotationRequest { user_app_id: app(), input_id, annotation_id };
        let answer = self.client.clone().delete_annotation(request(message)).await.unwrap();
        assert_eq!(answer.into_inner().status.unwrap().code, 10000);
    }

    async fn delete_inputs(&self, inputs: impl Iterator<Item = usize>) -> Duration {
        let input_ids = inputs.map(|n| ids(n * PER_INPUT).0).collect();
        let message = DeleteAnnotationsRequest { user_app_id: app(), input_ids, ids: Vec::new() };
        let started = Instant::now();
        let answer = self.client.clone().delete_annotations(request(message)).await.unwrap();
        assert_eq!(answer.into_inner().status.unwrap().code, 10000);
        started.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn app() -> Option<UserAppIdSet> {
    Some(UserAppIdSet { user_id: "me".into(), app_id: "cats".into() })
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", "Key made-up".parse().unwrap());
    request
}

async fn rate() {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let served = Served::start(REQUESTS).await;
        let started = Instant::now();
        stream::iter(0..REQUESTS).for_each_concurrent(IN_FLIGHT, |n| served.delete(n)).await;
        rates.push(REQUESTS as f64 / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let (least, median, most) = (rates[0], rates[ROUNDS / 2], rates[ROUNDS - 1]);
    println!(
        "DeleteAnnotation, {IN_FLIGHT} in flight, requests/s: median {median:.0} ({least:.0} to {most:.0})"
    );
}

async fn memory() {
    for annotations in [50_000, 5_000_000] {
        let served = Served::start(annotations).await;
        let memory = served.memory() as f64 / 1e9;
        // The first deletion warms the connection.
        served.delete_inputs(0..1).await;
        let mut times: Vec<_> = Vec::new();
        for batch in 1..20 {
            times.push(served.delete_inputs(batch * 128..(batch + 1) * 128).await);
        }
        times.sort();
        println!(
            "{annotations} annotations: {memory:.2} GB; a deletion of 128 inputs with {PER_INPUT} each: median {:.2} ms",
            times[times.len() / 2].as_secs_f64() * 1e3,
        );
    }
}
