//! What a deletion would do, as lists tell: a table, a row an annotation. A plain data structure.

use std::{sync::Arc, time::Duration};

use arrow_array::{
    ArrayRef, RecordBatch, StringArray,
    builder::{BooleanBuilder, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder},
    cast::AsArray as _,
    types::Int32Type,
};
use arrow_schema::ArrowError;

use crate::{
    ids::{ColumnBuilder, IdError, Targets},
    wire::Listed,
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
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 3] = [Self::Delete, Self::Absent, Self::Spare];

    /// The action's name, as it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Absent => "absent",
            Self::Spare => "spared",
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
        let [mut input_ids, mut annotation_ids] = ["input_ids", "annotation_ids"].map(ColumnBuilder::new);
        let column = |name: &str| self.table.column_by_name(name).map(|column| column.as_string::<i32>());
        let actions = self.table.column_by_name("action").map(|column| column.as_dictionary::<Int32Type>());
        if let (Some(actions), Some(inputs), Some(annotations)) =
            (actions, column("input_id"), column("annotation_id"))
        {
            let names: &StringArray = actions.values().as_string();
            for (row, key) in actions.keys().values().iter().enumerate() {
                if names.value(*key as usize) == Action::Delete.name() {
                    input_ids.push(inputs.value(row))?;
                    annotation_ids.push(annotations.value(row))?;
                }
            }
        }
        Targets::pairs(input_ids.finish(), annotation_ids.finish())
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

/// Collects a plan row by row.
#[derive(Default)]
pub struct PlanBuilder {
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
    /// What is there: it would go, or, when it is input-level, be spared.
    pub fn push_listed(&mut self, listed: &Listed) {
        let action = if listed.annotation.input_level { Action::Spare } else { Action::Delete };
        self.push(action, &listed.annotation.input_id, Some(&listed.annotation.id));
        self.creators.append_option(listed.creator());
        self.statuses.append_option(listed.status());
        self.created_at.append_option(listed.created_at());
        self.made_by_model.append_value(listed.is_made_by_model());
    }

    /// What is not there; `None` for an input of which lists show nothing.
    pub fn push_absent(&mut self, input_id: &str, annotation_id: Option<&str>) {
        self.push(Action::Absent, input_id, annotation_id);
        self.creators.append_null();
        self.statuses.append_null();
        self.created_at.append_null();
        self.made_by_model.append_null();
    }

    fn push(&mut self, action: Action, input_id: &str, annotation_id: Option<&str>) {
        self.counts[action as usize] += 1;
        self.actions.append_value(action.name());
        self.input_ids.append_value(input_id);
        self.annotation_ids.append_option(annotation_id);
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
        let table = RecordBatch::try_from_iter_with_nullable([
            ("action", Arc::new(self.actions.finish()) as ArrayRef, false),
            ("input_id", Arc::new(self.input_ids.finish()), false),
            ("annotation_id", Arc::new(self.annotation_ids.finish()), true),
            ("creator", Arc::new(self.creators.finish()), true),
            ("status", Arc::new(self.statuses.finish()), true),
            ("created_at", Arc::new(self.created_at.finish().with_timezone("UTC")), true),
            ("made_by_model", Arc::new(self.made_by_model.finish()), true),
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
