//! The client against the emulator, over the wire: what is gone afterwards, and what the report says.
#![allow(clippy::unwrap_used, reason = "clippy's own exception covers only functions marked as tests")]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use clarifai_annotations::{
    backup::{BackupReader, Copies},
    client::{Call, Client, Precautions},
    config::{Arguments, Limits, Rate, Settings},
    emulator::{
        Conduct, Emulator, Fault, FaultKind, MissingPair, MissingSingle, Options, RecordedRequest,
        Undocumented,
    },
    ids::{Column, ColumnBuilder, Targets},
    journal::Place,
    report::{Outcome, Report},
};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use tempfile::TempDir;

type Pair = (String, String);

/// So many random cases. What fails is written beside this file, to be committed, and is tried first in later runs.
fn random_cases(cases: u32) -> ProptestConfig {
    // proptest's own place for it is beside the `lib.rs` above a file, and a test has none.
    let failures = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(failures)), ..ProptestConfig::default() }
}

/// As many random cases as `INVARIANT_CASES` says, or 100: for calls that race and fail.
fn under_faults() -> ProptestConfig {
    random_cases(std::env::var("INVARIANT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100))
}

const MISSING_PAIR: &[MissingPair] =
    &[MissingPair::Success, MissingPair::Refused, MissingPair::Mixed, MissingPair::Failure];
const MISSING_SINGLE: &[MissingSingle] =
    &[MissingSingle::Success, MissingSingle::Status, MissingSingle::Grpc];

fn client_of(emulator: &Emulator, batch_size: usize) -> Client {
    client_with(emulator, Limits { requests_per_second: Rate::Unlimited, batch_size, ..Limits::default() })
}

fn client_with(emulator: &Emulator, limits: Limits) -> Client {
    let arguments = Arguments {
        user_id: Some("me".into()),
        app_id: Some("cats".into()),
        pat: Some("made-up".into()),
        base_url: Some(emulator.base_url()),
        limits,
        ..Arguments::default()
    };
    Client::new(Settings::resolve(arguments, &|_| None).unwrap()).unwrap()
}

fn column<'a>(ids: impl IntoIterator<Item = &'a String>) -> Column {
    let mut column = ColumnBuilder::new("ids");
    for id in ids {
        column.push(id).unwrap();
    }
    column.finish()
}

fn pairs(named: &[Pair]) -> Arc<Targets> {
    let (input_ids, annotation_ids) = (named.iter().map(|pair| &pair.0), named.iter().map(|pair| &pair.1));
    Arc::new(Targets::pairs(column(input_ids), column(annotation_ids)).unwrap())
}

fn inputs(named: &[String]) -> Arc<Targets> {
    Arc::new(Targets::inputs(column(named)).unwrap())
}

fn delete(client: &Client, targets: &Arc<Targets>) -> Report {
    block(client.delete(&Call::new(Arc::clone(targets), None))).unwrap()
}

/// A deletion with a backup, or with none. A backup lists first, whatever `look_first` is.
fn delete_with(client: &Client, targets: &Arc<Targets>, backup: Option<&Path>, look_first: bool) -> Report {
    let precautions = Precautions { backup: backup.map(Into::into), look_first, ..Precautions::default() };
    block(client.delete(&Call::new(Arc::clone(targets), None).with(precautions))).unwrap()
}

/// What a backup holds. One in which nothing was saved is not there.
fn saved(backup: &Path) -> BTreeSet<Pair> {
    if !backup.exists() {
        return BTreeSet::new();
    }
    let copies = Copies::find(BackupReader::open(backup).unwrap(), "me", "cats", None).unwrap();
    assert_eq!(copies.messages().unwrap().filter(Result::is_ok).count(), copies.targets.len());
    pairs_of(&copies.targets)
}

fn pairs_of(targets: &Targets) -> BTreeSet<Pair> {
    let targets = (0..targets.len()).map(|index| targets.get(index));
    targets.map(|it| (it.input_id.to_owned(), it.annotation_id.unwrap().to_owned())).collect()
}

fn emulator_with(there: &BTreeSet<Pair>) -> Emulator {
    misbehaving_emulator_with(there, Conduct::default())
}

fn misbehaving_emulator_with(there: &BTreeSet<Pair>, conduct: Conduct) -> Emulator {
    let emulator = Emulator::start(Options { conduct, ..Options::default() }).unwrap();
    for (input_id, annotation_id) in there {
        emulator.add_annotation("me", "cats", input_id, annotation_id, None).unwrap();
    }
    emulator
}

/// What is there, save the input-level annotations, of which each input must have one still.
fn left(emulator: &Emulator) -> BTreeSet<Pair> {
    let (own, others): (Vec<_>, Vec<_>) =
        emulator.annotations(None, None).into_iter().partition(|it| it.input_level);
    let with_own: BTreeSet<_> = own.into_iter().map(|it| it.input_id).collect();
    assert!(others.iter().all(|it| with_own.contains(&it.input_id)));
    others.into_iter().map(|it| (it.input_id, it.annotation_id)).collect()
}

/// Whether a request asks for the caller, or whether the app exists. It names no annotation, and deletes nothing.
fn is_question(request: &RecordedRequest) -> bool {
    let names_nothing = request.input_ids.is_empty() && request.ids.is_empty();
    names_nothing && ["GetUser", "ListAnnotations"].contains(&request.method)
}

fn block<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn counted(report: &Report) -> [usize; 5] {
    Outcome::ALL.map(|outcome| report.count(outcome))
}

fn id(prefix: char, choices: usize) -> impl Strategy<Value = String> {
    (0..choices).prop_map(move |n| format!("{prefix}{n}"))
}

fn some_pairs(most: usize) -> impl Strategy<Value = Vec<Pair>> {
    prop::collection::vec((id('p', 4), id('a', 8)), 0..most)
}

/// What a report may say of something that is not there: a list shows that it is absent. Without a look before, it depends
/// on the answer, and the answer "done in part" does not tell which part.
fn outcomes_of_missing(missing_pair: MissingPair, looked: bool) -> &'static [Outcome] {
    match missing_pair {
        _ if looked => &[Outcome::Absent],
        MissingPair::Success => &[Outcome::Deleted],
        MissingPair::Refused => &[Outcome::Absent],
        MissingPair::Mixed | MissingPair::Failure => &[Outcome::Deleted, Outcome::Absent],
    }
}

/// A service that does this with missing pairs and inputs.
fn with_missing(missing_pair: MissingPair) -> Conduct {
    let undocumented = Undocumented { missing_pair, ..Undocumented::default() };
    Conduct { undocumented, ..Conduct::default() }
}

proptest! {
    #![proptest_config(random_cases(64))]

    #[test]
    fn what_is_gone_is_what_was_named_and_every_outcome_is_true(
        there in some_pairs(30), named in some_pairs(20), batch_size in 1usize..6,
        missing_pair in prop::sample::select(MISSING_PAIR), look_first: bool,
    ) {
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, with_missing(missing_pair));
        let targets = pairs(&named);
        let report = delete_with(&client_with(&emulator, hurried(batch_size)), &targets, None, look_first);

        let asked: BTreeSet<_> = named.iter().cloned().collect();
        prop_assert_eq!(left(&emulator), there.difference(&asked).cloned().collect());
        prop_assert_eq!(counted(&report).iter().sum::<usize>(), asked.len());
        prop_assert_eq!(targets.duplicates(), named.len() - asked.len());
        for index in 0..targets.len() {
            let target = targets.get(index);
            let pair = (target.input_id.to_owned(), target.annotation_id.unwrap().to_owned());
            let expected =
                if there.contains(&pair) { &[Outcome::Deleted] } else { outcomes_of_missing(missing_pair, look_first) };
            let outcome = report.outcome(index);
            prop_assert!(expected.contains(&outcome), "{:?} is {:?}, not {:?}", pair, outcome, expected);
        }
    }

    #[test]
    fn a_deletion_by_inputs_takes_their_annotations_and_no_others(
        there in some_pairs(30), named in prop::collection::vec(id('p', 6), 0..6), batch_size in 1usize..6,
        missing_pair in prop::sample::select(MISSING_PAIR), look_first: bool,
    ) {
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, with_missing(missing_pair));
        let targets = inputs(&named);
        let report = delete_with(&client_with(&emulator, hurried(batch_size)), &targets, None, look_first);

        prop_assert_eq!(left(&emulator), there.iter().filter(|pair| !named.contains(&pair.0)).cloned().collect());
        for index in 0..targets.len() {
            let input_id = targets.get(index).input_id;
            let known = there.iter().any(|pair| pair.0 == input_id);
            let expected = if known { &[Outcome::Deleted] } else { outcomes_of_missing(missing_pair, look_first) };
            let outcome = report.outcome(index);
            prop_assert!(expected.contains(&outcome), "{} is {:?}, not {:?}", input_id, outcome, expected);
        }
    }

    #[test]
    fn a_request_without_ids_leaves_only_for_whole_inputs_and_every_other_names_pairs(
        there in some_pairs(30), named in some_pairs(20), batch_size in 1usize..6,
        missing_pair in prop::sample::select(MISSING_PAIR), look_first: bool,
    ) {
        let emulator = misbehaving_emulator_with(&there.into_iter().collect(), with_missing(missing_pair));
        delete_with(&client_with(&emulator, hurried(batch_size)), &pairs(&named), None, look_first);
        let asked: BTreeSet<_> = named.into_iter().collect();
        for request in emulator.requests() {
            prop_assert!(!request.ids.is_empty());
            prop_assert_eq!(request.ids.len(), request.input_ids.len());
            for pair in request.input_ids.into_iter().zip(request.ids) {
                prop_assert!(asked.contains(&pair), "{:?} was not named", pair);
            }
        }
    }
}

/// Codes that the documentation calls temporary. It does not say whether a request that one of them answers was carried out.
const TEMPORARY: &[i32] = &[10030, 40031, 98009, 99009];

/// Limits of messages that some requests and answers of these tests exceed, and none.
const MESSAGE_LIMITS: &[Option<usize>] = &[None, None, None, Some(400), Some(200), Some(100)];

fn some_fault() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        prop::sample::select(vec![10010, 10020, 10030, 11101, 24156, 99004]).prop_map(FaultKind::Status),
        (prop::sample::select(TEMPORARY), any::<bool>()).prop_map(|(code, applied)| {
            if applied { FaultKind::AppliedStatus(code) } else { FaultKind::Status(code) }
        }),
        prop::sample::select(vec![2, 5, 10, 13, 14]).prop_map(FaultKind::Grpc),
        Just(FaultKind::DroppedBefore),
        Just(FaultKind::DroppedAfter),
        Just(FaultKind::Unanswered),
        (0usize..4).prop_map(FaultKind::Partial),
        Just(FaultKind::GoAway),
    ]
}

/// Which methods a fault befalls; none for all. "It does not exist" is no answer to a list of what is there: nothing else could
/// tell the truth then.
fn befallen(fault: &FaultKind) -> Vec<String> {
    match fault {
        FaultKind::Status(11101) | FaultKind::Grpc(5) => {
            vec!["DeleteAnnotation".into(), "DeleteAnnotations".into()]
        }
        _ => Vec::new(),
    }
}

prop_compose! {
    /// Every undocumented way, and up to three kinds of fault that befall up to six requests in ten.
    fn some_conduct()(
        missing_pair in prop::sample::select(MISSING_PAIR),
        missing_single in prop::sample::select(MISSING_SINGLE),
        lingers in prop::sample::select(vec![0u64, 0, 20]),
        faults in prop::collection::vec((some_fault(), 0.0..0.2), 0..4),
        max_message_bytes in prop::sample::select(MESSAGE_LIMITS),
        seed: u64,
    ) -> Conduct {
        let visible_after = Duration::from_millis(lingers);
        let fault = |(kind, rate)| (Fault { methods: befallen(&kind), kind }, rate);
        Conduct {
            undocumented: Undocumented { missing_pair, missing_single, visible_after, ..Undocumented::default() },
            fault_rates: faults.into_iter().map(fault).collect(),
            max_message_bytes,
            seed,
            ..Conduct::default()
        }
    }
}

fn hurried(batch_size: usize) -> Limits {
    Limits {
        requests_per_second: Rate::Unlimited,
        batch_size,
        request_timeout: Duration::from_millis(250),
        max_attempts: 4,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(under_faults())]

    #[test]
    fn under_any_faults_outcomes_are_true_and_nothing_goes_that_was_not_named(
        there in some_pairs(20), named in some_pairs(12), locked in some_pairs(3),
        batch_size in 1usize..6, conduct in some_conduct(), with_backup: bool, look_first: bool,
    ) {
        let folder = TempDir::new().unwrap();
        let backup = with_backup.then(|| folder.path().join("backup.parquet"));
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, conduct);
        for (input_id, annotation_id) in &locked {
            emulator.lock("me", "cats", input_id, annotation_id);
        }
        let targets = pairs(&named);
        let report = delete_with(&client_with(&emulator, hurried(batch_size)), &targets, backup.as_deref(), look_first);

        let asked: BTreeSet<_> = named.iter().cloned().collect();
        let left = left(&emulator);
        let gone: BTreeSet<_> = there.difference(&left).cloned().collect();
        if let Some(backup) = &backup {
            prop_assert!(gone.is_subset(&saved(backup)), "gone and not saved: {:?}", gone.difference(&saved(backup)));
        }
        prop_assert!(gone.is_subset(&asked), "gone and not named: {:?}", gone.difference(&asked));
        prop_assert_eq!(counted(&report).iter().sum::<usize>(), asked.len());
        for index in 0..targets.len() {
            let target = targets.get(index);
            let pair = (target.input_id.to_owned(), target.annotation_id.unwrap().to_owned());
            let outcome = report.outcome(index);
            match outcome {
                Outcome::Deleted | Outcome::Absent => prop_assert!(!left.contains(&pair), "{:?} is {:?} and there", pair, outcome),
                Outcome::Failed | Outcome::Unsent if there.contains(&pair) => {
                    prop_assert!(left.contains(&pair), "{:?} is {:?} and gone: {:?}", pair, outcome, report.error(index));
                }
                _ => {}
            }
            if (with_backup || look_first) && !there.contains(&pair) {
                prop_assert!(outcome != Outcome::Deleted, "{:?} was not there and is deleted", pair);
            }
        }
        for request in emulator.requests().into_iter().filter(|it| !is_question(it)) {
            prop_assert!(!request.ids.is_empty() && request.ids.len() == request.input_ids.len());
            for pair in request.input_ids.into_iter().zip(request.ids) {
                prop_assert!(asked.contains(&pair), "{:?} was not named", pair);
            }
        }
    }

    #[test]
    fn under_any_faults_a_deletion_by_inputs_takes_nothing_else_and_tells_the_truth(
        there in some_pairs(20), named in prop::collection::vec(id('p', 6), 0..6),
        batch_size in 1usize..4, conduct in some_conduct(), with_backup: bool, look_first: bool,
    ) {
        let folder = TempDir::new().unwrap();
        let backup = with_backup.then(|| folder.path().join("backup.parquet"));
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, conduct);
        let targets = inputs(&named);
        let report = delete_with(&client_with(&emulator, hurried(batch_size)), &targets, backup.as_deref(), look_first);

        let left = left(&emulator);
        let saved = backup.as_deref().map(saved);
        for pair in there.difference(&left) {
            prop_assert!(named.contains(&pair.0), "{:?} was not named", pair);
            prop_assert!(saved.as_ref().is_none_or(|saved| saved.contains(pair)), "{:?} is gone and not saved", pair);
        }
        for index in 0..targets.len() {
            let input_id = targets.get(index).input_id;
            let before = there.iter().filter(|pair| pair.0 == input_id).count();
            let after = left.iter().filter(|pair| pair.0 == input_id).count();
            match report.outcome(index) {
                Outcome::Deleted | Outcome::Absent => prop_assert_eq!(after, 0, "{} is not cleared", input_id),
                Outcome::Unsent => prop_assert_eq!(after, before, "{} was sent", input_id),
                Outcome::Failed => prop_assert!(before == 0 || after > 0, "{} is cleared", input_id),
                Outcome::Unknown => {}
            }
            if (with_backup || look_first) && before == 0 {
                prop_assert!(report.outcome(index) != Outcome::Deleted, "{} was not there and is deleted", input_id);
            }
        }
    }
}

proptest! {
    #![proptest_config(under_faults())]

    #[test]
    fn a_call_that_is_ended_and_made_again_with_its_journal_goes_on_where_it_stopped(
        there in some_pairs(20), named in some_pairs(12), batch_size in 1usize..4, conduct in some_conduct(),
        ends_after in prop::collection::vec(0u64..12, 1..4), with_backup: bool,
    ) {
        let folder = TempDir::new().unwrap();
        let precautions = Precautions {
            journal: Some(Place::new(folder.path().join("journal"), 0)),
            backup: with_backup.then(|| folder.path().join("backup.parquet")),
            ..Precautions::default()
        };
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, conduct);
        let client = client_with(&emulator, hurried(batch_size));
        let targets = pairs(&named);
        let (mut done, mut reports) = (BTreeSet::new(), Vec::new());
        for ends_after in ends_after.into_iter().map(Some).chain([None]) {
            let seen = emulator.requests().len();
            let call = Call::new(Arc::clone(&targets), None).with(precautions.clone());
            let report = block(async {
                let ended = async {
                    tokio::time::sleep(Duration::from_millis(ends_after.unwrap_or(u64::MAX / 2))).await;
                    call.end("cancelled");
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = ended => unreachable!(),
                    report = client.delete(&call) => report.unwrap(),
                }
            });
            for request in emulator.requests().into_iter().skip(seen) {
                for pair in request.input_ids.into_iter().zip(request.ids) {
                    prop_assert!(!done.contains(&pair), "{:?} was done with and sent again", pair);
                }
            }
            let is_done = |id: &usize| matches!(report.outcome(*id), Outcome::Deleted | Outcome::Absent);
            let places = (0..targets.len()).filter(is_done).map(|id| targets.get(id));
            done = places.map(|it| (it.input_id.to_owned(), it.annotation_id.unwrap().to_owned())).collect();
            reports.push(report);
        }
        let left = left(&emulator);
        prop_assert!(done.is_disjoint(&left), "done with and there: {:?}", done.intersection(&left));
        let gone: BTreeSet<_> = there.difference(&left).cloned().collect();
        prop_assert!(gone.is_subset(&pairs_of(&targets)));
        if let Some(backup) = &precautions.backup {
            prop_assert!(gone.is_subset(&saved(backup)), "gone and not saved: {:?}", gone.difference(&saved(backup)));
        }
        for (before, after) in reports.iter().zip(&reports[1..]) {
            for id in (0..targets.len()).filter(|&id| before.outcome(id) == Outcome::Deleted) {
                prop_assert_eq!(after.outcome(id), Outcome::Deleted);
            }
        }
    }
}

/// One of several who use a client at the same time, and when it is ended from outside, in milliseconds.
#[derive(Debug, Clone)]
struct Caller {
    names: Names,
    timeout: Option<u64>,
    ended_after: Option<u64>,
    look_first: bool,
}

#[derive(Debug, Clone)]
enum Names {
    One(Pair),
    Pairs(Vec<Pair>),
    Inputs(Vec<String>),
}

impl Caller {
    fn names(&self, pair: &Pair) -> bool {
        match &self.names {
            Names::One(one) => one == pair,
            Names::Pairs(pairs) => pairs.contains(pair),
            Names::Inputs(inputs) => inputs.contains(&pair.0),
        }
    }

    /// What it is told: of each pair that it named, of each input, its outcome.
    async fn told(&self, client: &Client) -> Vec<(Target, Outcome)> {
        let targets = match &self.names {
            Names::One(pair) => pairs(std::slice::from_ref(pair)),
            Names::Pairs(named) => pairs(named),
            Names::Inputs(named) => inputs(named),
        };
        let call = Call::new(Arc::clone(&targets), self.timeout.map(Duration::from_millis));
        let call = Arc::new(call.with(Precautions { look_first: self.look_first, ..Precautions::default() }));
        let ended = async {
            match self.ended_after {
                None => std::future::pending().await,
                Some(time) => tokio::time::sleep(Duration::from_millis(time)).await,
            }
            call.end("cancelled");
            std::future::pending::<()>().await;
        };
        let outcomes: Vec<_> = tokio::select! {
            () = ended => unreachable!(),
            outcomes = async { match &self.names {
                Names::One(_) => vec![match client.delete_one(&call, false).await {
                    Ok(()) => Outcome::Deleted,
                    Err(failure) => failure.outcome,
                }],
                _ => {
                    let report = client.delete(&call).await.unwrap();
                    (0..report.requested()).map(|id| report.outcome(id)).collect()
                }
            } } => outcomes,
        };
        let named = (0..targets.len()).map(|id| {
            let target = targets.get(id);
            (target.input_id.to_owned(), target.annotation_id.map(ToOwned::to_owned))
        });
        named.zip(outcomes).collect()
    }
}

/// An input, and an annotation on it where one was named.
type Target = (String, Option<String>);

prop_compose! {
    fn some_caller()(
        names in prop_oneof![
            3 => (id('p', 4), id('a', 8)).prop_map(Names::One),
            1 => some_pairs(12).prop_map(Names::Pairs),
            1 => prop::collection::vec(id('p', 6), 0..4).prop_map(Names::Inputs),
        ],
        timeout in prop::option::weighted(0.2, 1u64..200),
        ended_after in prop::option::weighted(0.2, 0u64..60),
        look_first: bool,
    ) -> Caller {
        Caller { names, timeout, ended_after, look_first }
    }
}

proptest! {
    #![proptest_config(under_faults())]

    #[test]
    fn whoever_else_uses_the_client_and_gives_up_every_outcome_is_true_and_nothing_widens(
        there in some_pairs(30), callers in prop::collection::vec(some_caller(), 1..12),
        batch_size in 1usize..6, conduct in some_conduct(),
    ) {
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = misbehaving_emulator_with(&there, conduct);
        let client = client_with(&emulator, hurried(batch_size));
        let told = block(futures_util::future::join_all(callers.iter().map(|caller| caller.told(&client))));
        // Stopped, it has done what was on its way.
        emulator.stop();

        let left = left(&emulator);
        for pair in there.difference(&left) {
            prop_assert!(callers.iter().any(|caller| caller.names(pair)), "{:?} was not named", pair);
        }
        for (place, told) in told.iter().enumerate() {
            let alone = |pair: &Pair| !callers.iter().enumerate().any(|(other, caller)| other != place && caller.names(pair));
            for ((input_id, annotation_id), outcome) in told {
                let is_meant = |pair: &&Pair| pair.0 == *input_id && annotation_id.as_ref().is_none_or(|id| pair.1 == *id);
                let mine: Vec<_> = there.iter().filter(is_meant).collect();
                let kept = mine.iter().filter(|pair| left.contains(**pair)).count();
                match outcome {
                    Outcome::Deleted | Outcome::Absent => prop_assert_eq!(kept, 0, "{:?} {:?}", mine, outcome),
                    Outcome::Unsent => prop_assert!(mine.iter().all(|pair| left.contains(*pair) || !alone(pair)), "{:?} sent", mine),
                    Outcome::Failed if mine.iter().all(|pair| alone(pair)) => {
                        prop_assert!(mine.is_empty() || kept > 0, "{:?} failed and gone", mine);
                    }
                    _ => {}
                }
                if callers[place].look_first && mine.is_empty() {
                    prop_assert!(*outcome != Outcome::Deleted, "{:?} of {} was not there and is deleted", annotation_id, input_id);
                }
            }
        }
        // Inputs that are listed first are deleted pair by pair.
        let is_sent_in_pairs = |caller: &&Caller| caller.look_first || !matches!(caller.names, Names::Inputs(_));
        let asked = |pair: &Pair| callers.iter().filter(is_sent_in_pairs).any(|caller| caller.names(pair));
        for request in emulator.requests().into_iter().filter(|it| !is_question(it)) {
            if request.ids.is_empty() {
                let named = |caller: &Caller| matches!(&caller.names, Names::Inputs(inputs) if request.input_ids.iter().all(|id| inputs.contains(id)));
                prop_assert!(!request.input_ids.is_empty() && callers.iter().any(named), "{:?}", request.input_ids);
                continue;
            }
            prop_assert_eq!(request.ids.len(), request.input_ids.len());
            for pair in request.input_ids.into_iter().zip(request.ids) {
                prop_assert!(asked(&pair), "{:?} was not named", pair);
            }
        }
    }
}

#[test]
fn a_refused_batch_costs_three_requests() {
    let there = (0..127).map(|n| ("p".to_owned(), format!("a{n}"))).collect();
    let emulator = misbehaving_emulator_with(&there, with_missing(MissingPair::Refused));
    let named: Vec<_> = (0..128).map(|n| ("p".to_owned(), format!("a{n}"))).collect();
    let report = delete(&client_of(&emulator, 128), &pairs(&named));
    assert_eq!((counted(&report), report.requests.sent), ([127, 1, 0, 0, 0], 3));
}

#[test]
fn an_emulator_may_be_stopped_twice_and_with_a_connection_open() {
    let emulator = emulator_with(&BTreeSet::from([("p".into(), "a".into())]));
    let client = client_of(&emulator, 128);
    delete(&client, &pairs(&[("p".into(), "a".into())]));
    emulator.stop();
    emulator.stop();
}

/// A service whose lists show for a while what is deleted, and that deletes the rest of a batch.
fn lagging() -> Conduct {
    let undocumented = Undocumented {
        missing_pair: MissingPair::Mixed,
        missing_single: MissingSingle::Status,
        visible_after: Duration::from_millis(20),
        ..Undocumented::default()
    };
    Conduct { undocumented, ..Conduct::default() }
}

#[test]
fn a_failure_that_tells_nothing_is_worth_one_more_try() {
    let pair = ("p".to_owned(), "a".to_owned());
    let emulator = emulator_with(&BTreeSet::from([pair.clone()]));
    emulator.inject([Fault { kind: FaultKind::Status(99009), methods: Vec::new() }]);
    let report = delete(&client_with(&emulator, hurried(128)), &pairs(&[pair]));
    assert_eq!(report.outcome(0), Outcome::Deleted);
}

#[test]
fn a_late_list_after_a_mixed_answer_makes_no_deleted_pair_a_failure() {
    let named = [("p".to_owned(), "a".to_owned()), ("p".to_owned(), "missing".to_owned())];
    let emulator = misbehaving_emulator_with(&BTreeSet::from([named[0].clone()]), lagging());
    let report = delete(&client_with(&emulator, hurried(128)), &pairs(&named));
    assert_eq!((report.outcome(0), report.count(Outcome::Failed)), (Outcome::Deleted, 0));
}

#[test]
fn a_list_that_stays_late_leaves_an_outcome_unknown_rather_than_failed() {
    let pair = ("p".to_owned(), "a".to_owned());
    let mut conduct = lagging();
    conduct.undocumented.visible_after = Duration::from_secs(3600);
    let emulator = misbehaving_emulator_with(&BTreeSet::from([pair.clone()]), conduct);
    emulator.inject([Fault { kind: FaultKind::DroppedAfter, methods: Vec::new() }]);
    let report = delete(&client_with(&emulator, hurried(128)), &pairs(&[pair]));
    assert_eq!(report.outcome(0), Outcome::Unknown);
}

#[test]
fn a_late_list_after_a_deletion_that_broke_off_makes_no_cleared_input_a_failure() {
    let emulator = misbehaving_emulator_with(&BTreeSet::from([("p".into(), "a".into())]), lagging());
    emulator.inject([Fault { kind: FaultKind::Partial(1), methods: Vec::new() }]);
    let report = delete(&client_with(&emulator, hurried(128)), &inputs(&["p".into()]));
    assert_eq!(report.outcome(0), Outcome::Deleted);
}

#[test]
fn culprits_that_are_refused_for_good_cost_no_more_requests_than_promised() {
    let named: Vec<_> = (0..128).map(|n| ("p".to_owned(), format!("a{n}"))).collect();
    for culprits in [1, 2, 5] {
        let emulator = emulator_with(&named.iter().cloned().collect());
        for n in 0..culprits {
            emulator.lock("me", "cats", "p", &format!("a{}", n * 23));
        }
        let report = delete(&client_of(&emulator, 128), &pairs(&named));
        assert_eq!(counted(&report), [128 - culprits, 0, culprits, 0, 0]);
        // One of them asks for the caller: a collaborator may delete only their own.
        let most = 2 * culprits * 7 + 4;
        assert!(report.requests.sent as usize <= most, "{} requests, promised {most}", report.requests.sent);
    }
}
