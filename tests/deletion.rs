//! The client against the emulator, over the wire: what is gone afterwards, and what the report says.
#![allow(clippy::unwrap_used, reason = "clippy's own exception covers only functions marked as tests")]

use std::collections::BTreeSet;

use clarifai_annotations::{
    client::Client,
    config::{Arguments, Limits, Settings},
    emulator::{Emulator, Options},
    ids::{Column, ColumnBuilder, Targets},
    report::{Outcome, Report},
};
use proptest::prelude::*;

type Pair = (String, String);

fn client_of(emulator: &Emulator, batch_size: usize) -> Client {
    let arguments = Arguments {
        user_id: Some("me".into()),
        app_id: Some("cats".into()),
        pat: Some("made-up".into()),
        base_url: Some(emulator.base_url()),
        limits: Limits { requests_per_second: None, batch_size, ..Limits::default() },
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

fn pairs(named: &[Pair]) -> Targets {
    Targets::pairs(column(named.iter().map(|pair| &pair.0)), column(named.iter().map(|pair| &pair.1)))
        .unwrap()
}

fn inputs(named: &[String]) -> Targets {
    Targets::inputs(column(named)).unwrap()
}

fn emulator_with(there: &BTreeSet<Pair>) -> Emulator {
    let emulator = Emulator::start(Options::default()).unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_gone_is_what_was_named_and_every_outcome_is_true(
        there in some_pairs(30), named in some_pairs(20), batch_size in 1usize..6,
    ) {
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = emulator_with(&there);
        let targets = pairs(&named);
        let report = block(client_of(&emulator, batch_size).delete(&targets, None)).unwrap();

        let asked: BTreeSet<_> = named.iter().cloned().collect();
        prop_assert_eq!(left(&emulator), there.difference(&asked).cloned().collect());
        prop_assert_eq!(counted(&report).iter().sum::<usize>(), asked.len());
        prop_assert_eq!(targets.duplicates(), named.len() - asked.len());
        for index in 0..targets.len() {
            let target = targets.get(index);
            let pair = (target.input_id.to_owned(), target.annotation_id.unwrap().to_owned());
            let expected = if there.contains(&pair) { Outcome::Deleted } else { Outcome::Absent };
            prop_assert_eq!(report.outcome(index), expected, "{:?}", pair);
        }
    }

    #[test]
    fn a_deletion_by_inputs_takes_their_annotations_and_no_others(
        there in some_pairs(30), named in prop::collection::vec(id('p', 6), 0..6), batch_size in 1usize..6,
    ) {
        let there: BTreeSet<_> = there.into_iter().collect();
        let emulator = emulator_with(&there);
        let targets = inputs(&named);
        let report = block(client_of(&emulator, batch_size).delete(&targets, None)).unwrap();

        prop_assert_eq!(left(&emulator), there.iter().filter(|pair| !named.contains(&pair.0)).cloned().collect());
        for index in 0..targets.len() {
            let input_id = targets.get(index).input_id;
            let known = there.iter().any(|pair| pair.0 == input_id);
            let expected = if known { Outcome::Deleted } else { Outcome::Absent };
            prop_assert_eq!(report.outcome(index), expected, "{}", input_id);
        }
    }

    #[test]
    fn a_request_without_ids_leaves_only_for_whole_inputs_and_every_other_names_pairs(
        there in some_pairs(30), named in some_pairs(20), batch_size in 1usize..6,
    ) {
        let emulator = emulator_with(&there.into_iter().collect());
        block(client_of(&emulator, batch_size).delete(&pairs(&named), None)).unwrap();
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

#[test]
fn a_refused_batch_costs_three_requests() {
    let emulator = emulator_with(&(0..127).map(|n| ("p".to_owned(), format!("a{n}"))).collect());
    let named: Vec<_> = (0..128).map(|n| ("p".to_owned(), format!("a{n}"))).collect();
    let report = block(client_of(&emulator, 128).delete(&pairs(&named), None)).unwrap();
    assert_eq!((counted(&report), report.requests.sent), ([127, 1, 0, 0, 0], 3));
}

#[test]
fn an_emulator_may_be_stopped_twice_and_with_a_connection_open() {
    let emulator = emulator_with(&BTreeSet::from([("p".into(), "a".into())]));
    let client = client_of(&emulator, 128);
    block(client.delete(&pairs(&[("p".into(), "a".into())]), None)).unwrap();
    emulator.stop();
    emulator.stop();
}
