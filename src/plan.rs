//! What a deletion would do, as lists tell: a table, a row an annotation. A plain data structure.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use arrow_array::{
    Array as _, ArrayRef, RecordBatch, StringArray,
    builder::{BooleanBuilder, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder},
    cast::AsArray as _,
    types::Int32Type,
};
use arrow_schema::ArrowError;

use crate::{
    ids::{Column, ColumnBuilder, IdError, Targets, Text},
    wire::{Listed, status_text},
};

/// What a deletion would do with an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It would go.
    Delete,
    /// It is not there.
    Absent,
    /// It is there and would stay: an input-level annotation goes only with its input.
    Spare,
    /// It would stay: the service lists it in another spelling alone, and an ID is never guessed.
    Respelled,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 4] = [Self::Delete, Self::Absent, Self::Spare, Self::Respelled];

    /// The action's name, as it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Absent => "absent",
            Self::Spare => "spared",
            Self::Respelled => "respelled",
        }
    }
}

/// What a deletion would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rows: `action`, `input_id`, `annotation_id`, `creator`, `status`, `created_at`, `made_by_model`.
    pub table: RecordBatch,
    counts: [usize; Action::ALL.len()],
    /// Different IDs that the call named.
    pub requested: usize,
    /// Mentions that repeat an earlier one.
    pub duplicates: usize,
    /// Requests that it took.
    pub requests: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Plan {
    /// How many rows have this action.
    pub fn count(&self, action: Action) -> usize {
        self.counts[action as usize]
    }

    /// The pairs that would go: they and no others, also where whole inputs were named.
    ///
    /// # Errors
    /// [`IdError::TooMany`] from 2³² on.
    pub fn targets(&self) -> Result<Targets, IdError> {
        let runs = self.runs_of_deletions();
        let columns = [("input_ids", "input_id"), ("annotation_ids", "annotation_id")];
        // Where most rows go, as they do, the columns are those of the plan: it may have millions.
        let [input_ids, annotation_ids] = if runs.len() <= self.table.num_rows() / ROWS_A_RUN {
            columns.map(|(parameter, name)| {
                let column = self.table.column_by_name(name);
                let slices = runs.iter().filter_map(|run| Some(column?.slice(run.start, run.len())));
                Column::from_arrow(parameter, &slices.collect::<Vec<_>>())
            })
        } else {
            columns.map(|(parameter, name)| {
                let mut ids = ColumnBuilder::new(parameter);
                if let Some(column) = self.table.column_by_name(name) {
                    let column: &StringArray = column.as_string();
                    runs.iter().cloned().flatten().try_for_each(|row| ids.push(column.value(row)))?;
                }
                Ok(ids.finish())
            })
        };
        Targets::pairs(input_ids?, annotation_ids?)
    }

    /// The rows that would go, as far as they follow each other.
    fn runs_of_deletions(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let actions = self.table.column_by_name("action").map(|column| column.as_dictionary::<Int32Type>());
        if let Some(actions) = actions {
            let names: &StringArray = actions.values().as_string();
            for (row, key) in actions.keys().values().iter().enumerate() {
                if names.value(*key as usize) != Action::Delete.name() {
                    continue;
                }
                match runs.last_mut() {
                    Some(run) if run.end == row => run.end += 1,
                    _ => runs.push(row..row + 1),
                }
            }
        }
        runs
    }
}

/// A slice of two columns takes as much as so many rows that are copied.
const ROWS_A_RUN: usize = 8;

/// What a plan tells of an annotation that is there.
pub struct Row<'a> {
    annotation_id: &'a str,
    creator: Option<&'a str>,
    status: Option<i32>,
    created_at: Option<i64>,
    input_level: bool,
    made_by_model: bool,
}

/// What a plan tells of the annotations of a part of a call: far less than the annotations themselves.
#[derive(Default)]
pub struct Rows {
    annotation_ids: Text,
    rows: Vec<Stored>,
    creators: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

struct Stored {
    created_at: Option<i64>,
    status: Option<i32>,
    /// Its place in `creators`.
    creator: Option<u32>,
    input_level: bool,
    made_by_model: bool,
}

impl Rows {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes down what a plan tells of an annotation.
    pub fn push(&mut self, listed: &Listed) {
        self.annotation_ids.push(&listed.annotation.id);
        let creator = listed.creator().map(|creator| self.number(creator));
        self.rows.push(Stored {
            created_at: listed.created_at(),
            status: listed.annotation.status.as_ref().map(|status| status.code),
            creator,
            input_level: listed.annotation.input_level,
            made_by_model: listed.is_made_by_model(),
        });
    }

    fn number(&mut self, creator: &str) -> u32 {
        if let Some(&number) = self.numbers.get(creator) {
            return number;
        }
        let number = self.creators.len() as u32;
        self.creators.push(creator.into());
        self.numbers.insert(creator.into(), number);
        number
    }

    /// The row that was pushed after so many others.
    pub fn get(&self, place: usize) -> Row<'_> {
        let Stored { created_at, status, creator, input_level, made_by_model } = self.rows[place];
        Row {
            annotation_id: self.annotation_ids.get(place),
            creator: creator.map(|number| &*self.creators[number as usize]),
            status,
            created_at,
            input_level,
            made_by_model,
        }
    }
}

impl Plan {
    /// A plan of rows that were saved.
    ///
    /// # Errors
    /// The action of a row, where there is no such action.
    pub fn of_table(
        table: RecordBatch,
        requested: usize,
        duplicates: usize,
        requests: u64,
        elapsed: Duration,
    ) -> Result<Self, String> {
        let mut counts = [0; Action::ALL.len()];
        if let Some(actions) =
            table.column_by_name("action").map(|column| column.as_dictionary::<Int32Type>())
        {
            let names: &StringArray = actions.values().as_string();
            for key in actions.keys().values() {
                let name = names.value(*key as usize);
                let action = Action::ALL.into_iter().find(|action| action.name() == name);
                counts[action.ok_or(name)? as usize] += 1;
            }
        }
        Ok(Self { table, counts, requested, duplicates, requests, elapsed })
    }
}

/// The table of a plan, of these columns.
///
/// # Errors
/// [`ArrowError`] when the columns differ in length.
pub fn table(columns: [ArrayRef; 7]) -> Result<RecordBatch, ArrowError> {
    // Each name, and whether there may be nulls.
    const NAMES: [(&str, bool); 7] = [
        ("action", false),
        ("input_id", false),
        ("annotation_id", true),
        ("creator", true),
        ("status", true),
        ("created_at", true),
        ("made_by_model", true),
    ];
    let named = NAMES.into_iter().zip(columns);
    RecordBatch::try_from_iter_with_nullable(
        named.map(|((name, is_nullable), column)| (name, column, is_nullable)),
    )
}

/// The IDs of a plan have more bytes than a column of a table can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the IDs of a plan may have {most_bytes} bytes in all, and these have more: plan fewer at a time")]
pub struct PlanTooLargeError {
    most_bytes: usize,
}

/// How many bytes the IDs of a plan have, and may have.
struct IdBytes {
    used: usize,
    most: usize,
}

impl Default for IdBytes {
    fn default() -> Self {
        // The offsets of a column are of 32 bits, with a sign.
        Self { used: 0, most: i32::MAX as usize }
    }
}

/// Collects a plan row by row.
#[derive(Default)]
pub struct PlanBuilder {
    id_bytes: IdBytes,
    actions: StringDictionaryBuilder<Int32Type>,
    input_ids: StringBuilder,
    annotation_ids: StringBuilder,
    creators: StringDictionaryBuilder<Int32Type>,
    statuses: StringDictionaryBuilder<Int32Type>,
    created_at: TimestampMicrosecondBuilder,
    made_by_model: BooleanBuilder,
    counts: [usize; Action::ALL.len()],
}

impl PlanBuilder {
    /// Makes sure that all rows so far are in it.
    ///
    /// # Errors
    /// [`PlanTooLargeError`] where some are not.
    pub fn check_size(&self) -> Result<(), PlanTooLargeError> {
        let IdBytes { used, most } = self.id_bytes;
        if used > most { Err(PlanTooLargeError { most_bytes: most }) } else { Ok(()) }
    }

    /// What is there: it would go, or, when it is input-level, be spared.
    pub fn push_listed(&mut self, input_id: &str, row: &Row<'_>) {
        let action = if row.input_level { Action::Spare } else { Action::Delete };
        self.push(action, input_id, Some(row.annotation_id), Some(row));
    }

    /// What is not there; `None` for an input of which lists show nothing.
    pub fn push_absent(&mut self, input_id: &str, annotation_id: Option<&str>) {
        self.push(Action::Absent, input_id, annotation_id, None);
    }

    /// What is there in another spelling alone, by the IDs that were asked for; and what is listed, for a pair.
    pub fn push_respelled(&mut self, input_id: &str, annotation_id: Option<&str>, row: Option<&Row<'_>>) {
        self.push(Action::Respelled, input_id, annotation_id, row);
    }

    fn push(&mut self, action: Action, input_id: &str, annotation_id: Option<&str>, row: Option<&Row<'_>>) {
        self.id_bytes.used += input_id.len() + annotation_id.map_or(0, str::len);
        if self.check_size().is_err() {
            return;
        }
        self.counts[action as usize] += 1;
        self.actions.append_value(action.name());
        self.input_ids.append_value(input_id);
        self.annotation_ids.append_option(annotation_id);
        self.creators.append_option(row.and_then(|row| row.creator));
        self.statuses.append_option(row.and_then(|row| row.status).map(status_text));
        self.created_at.append_option(row.and_then(|row| row.created_at));
        self.made_by_model.append_option(row.map(|row| row.made_by_model));
    }

    /// How many would go, so far.
    pub fn deletions(&self) -> usize {
        self.counts[Action::Delete as usize]
    }

    /// The plan of a call that named these.
    ///
    /// # Errors
    /// [`ArrowError`]: never, as the columns have one length.
    pub fn finish(mut self, targets: &Targets, requests: u64, elapsed: Duration) -> Result<Plan, ArrowError> {
        let table = table([
            Arc::new(self.actions.finish()),
            Arc::new(self.input_ids.finish()),
            Arc::new(self.annotation_ids.finish()),
            Arc::new(self.creators.finish()),
            Arc::new(self.statuses.finish()),
            Arc::new(self.created_at.finish().with_timezone("UTC")),
            Arc::new(self.made_by_model.finish()),
        ])?;
        Ok(Plan {
            table,
            counts: self.counts,
            requested: targets.len(),
            duplicates: targets.duplicates(),
            requests,
            elapsed,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::api::Annotation;

    #[test]
    fn a_plan_with_more_bytes_of_ids_than_a_column_can_hold_says_so() {
        let mut plan = PlanBuilder { id_bytes: IdBytes { used: 0, most: 10 }, ..PlanBuilder::default() };
        plan.push_absent("photo", Some("box-1"));
        assert_eq!(plan.check_size(), Ok(()));
        plan.push_absent("p", None);
        let error = plan.check_size().unwrap_err().to_string();
        assert_eq!(
            error,
            "the IDs of a plan may have 10 bytes in all, and these have more: plan fewer at a time"
        );
    }

    proptest! {
        #[test]
        fn the_targets_of_a_plan_are_the_rows_that_would_go(runs in prop::collection::vec((0usize..40, any::<bool>()), 0..20)) {
            let (mut plan, mut rows, mut named) = (PlanBuilder::default(), Rows::default(), Vec::new());
            for (row, goes) in runs.iter().flat_map(|&(count, goes)| vec![goes; count]).enumerate() {
                let annotation = Annotation { id: format!("a{row}"), input_level: !goes, ..Default::default() };
                rows.push(&Listed { annotation, message: Bytes::new() });
                plan.push_listed(&format!("p{row}"), &rows.get(row));
                if goes {
                    named.push((format!("p{row}"), format!("a{row}")));
                } else {
                    plan.push_absent("nowhere", None);
                }
            }
            let nothing = Targets::inputs(ColumnBuilder::new("input_ids").finish()).unwrap();
            let targets = plan.finish(&nothing, 0, Duration::ZERO).unwrap().targets().unwrap();
            let found: Vec<_> = (0..targets.len())
                .map(|id| (targets.get(id).input_id.to_owned(), targets.get(id).annotation_id.unwrap().to_owned()))
                .collect();
            prop_assert_eq!(found, named);
        }
    }
}
