//! The log of a running call: what its records are, and what they add up to.

use std::{
    fs::File,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message as _;

use super::fault::Fault;
use crate::{files::LogReader, report::Outcome};

/// What a log begins with.
pub const MAGIC: &[u8; 8] = b"CLAAlog2";

/// A record of a log. The first is the call; without it a log says nothing.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// What happened.
    #[prost(oneof = "Event", tags = "1, 2, 3, 4")]
    pub event: Option<Event>,
}

/// What happened.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Event {
    /// A call began.
    #[prost(message, tag = "1")]
    Begun(CallRow),
    /// Some IDs have this outcome now; `unknown` before the request that deletes them leaves.
    #[prost(message, tag = "2")]
    Settled(Entry),
    /// The call came to its end at this time, and no ID is unsent or unknown.
    #[prost(string, tag = "3")]
    Finished(String),
    /// Some IDs of which it said that they will be sent were not: they are what they were before this run.
    #[prost(message, tag = "4")]
    Withdrawn(Entry),
}

/// A call, as the table `calls` has it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CallRow {
    /// The function.
    #[prost(string, tag = "1")]
    pub operation: String,
    /// Owner of the app.
    #[prost(string, tag = "2")]
    pub user_id: String,
    /// The app.
    #[prost(string, tag = "3")]
    pub app_id: String,
    /// The service.
    #[prost(string, tag = "4")]
    pub base_url: String,
    /// Different IDs that it names.
    #[prost(uint64, tag = "5")]
    pub requested: u64,
    /// A hash of all that it names, in its order.
    #[prost(string, tag = "6")]
    pub ids_sha256: String,
    /// When its latest run began, in ISO 8601.
    #[prost(string, tag = "7")]
    pub started_at: String,
    /// When it was finished, if it was.
    #[prost(string, optional, tag = "8")]
    pub finished_at: Option<String>,
    /// How many restorations the journal had when its latest run began.
    #[prost(uint64, tag = "9")]
    pub restorations_before: u64,
    /// How many IDs the run names of which the call is a part, if it is a part of one.
    #[prost(uint64, optional, tag = "10")]
    pub run_requested: Option<u64>,
}

/// IDs with an outcome.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// Their positions in the caller's columns, as runs: the first of each and how many follow each other.
    #[prost(uint32, repeated, tag = "1")]
    pub runs: Vec<u32>,
    /// The number of their outcome in [`Outcome::ALL`].
    #[prost(uint32, tag = "2")]
    pub outcome: u32,
    /// The service's status code, if there was one.
    #[prost(sint32, optional, tag = "3")]
    pub code: Option<i32>,
    /// What kept them from being deleted.
    #[prost(string, optional, tag = "4")]
    pub message: Option<String>,
    /// Where the log has not named them before: the IDs in one string, those of an input and of an annotation in turn.
    #[prost(string, tag = "5")]
    pub text: String,
    /// The bytes of each of these IDs.
    #[prost(uint32, repeated, tag = "6")]
    pub lengths: Vec<u32>,
}

impl Entry {
    /// The positions, in their order.
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.chunks_exact(2).flat_map(|run| run[0]..run[0].saturating_add(run[1]))
    }

    /// What the positions name, where this entry says it.
    pub fn named(&self) -> impl Iterator<Item = (u32, &str, Option<&str>)> {
        let count: usize = self.runs.chunks_exact(2).map(|run| run[1] as usize).sum();
        let are_pairs = self.lengths.len() == 2 * count;
        let mut lengths = self.lengths.iter();
        let mut start = 0;
        let mut next = move || {
            let end = start + *lengths.next()? as usize;
            let id = self.text.get(start..end);
            start = end;
            id
        };
        self.positions().map_while(move |position| {
            let input_id = next()?;
            Some((position, input_id, if are_pairs { Some(next()?) } else { None }))
        })
    }

    /// Whether it says what its positions name.
    pub fn has_names(&self) -> bool {
        !self.lengths.is_empty()
    }

    fn outcome(&self) -> Outcome {
        Outcome::ALL.get(self.outcome as usize).copied().unwrap_or(Outcome::Unknown)
    }
}

/// Why an ID was not deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// The service's status code.
    pub code: Option<i32>,
    /// What happened, in a sentence.
    pub message: Option<String>,
}

/// The latest outcome of each position. It takes a byte a position, and four more once there was an error.
#[derive(Default)]
pub struct Outcomes {
    /// 0, or the number of the outcome from 1.
    outcomes: Vec<u8>,
    /// 0, or the number of the reason from 1; as long as the last position that ever had one.
    reason_of: Vec<u32>,
    reasons: Vec<Reason>,
}

impl Outcomes {
    /// The outcome of a position, if the log has one.
    pub fn get(&self, position: u32) -> Option<Outcome> {
        let number = self.outcomes.get(position as usize)?.checked_sub(1)?;
        Outcome::ALL.get(number as usize).copied()
    }

    /// Why a position has its outcome.
    pub fn reason(&self, position: u32) -> Option<&Reason> {
        let number = self.reason_of.get(position as usize)?.checked_sub(1)?;
        self.reasons.get(number as usize)
    }

    /// Whether two positions have the same outcome for the same reason.
    pub fn are_alike(&self, position: u32, other: u32) -> bool {
        let reason = |position: u32| self.reason_of.get(position as usize).copied().unwrap_or(0);
        self.get(position) == self.get(other) && reason(position) == reason(other)
    }

    /// How many positions have each outcome, in the order of [`Outcome::ALL`].
    pub fn counts(&self) -> [usize; Outcome::ALL.len()] {
        let mut counts = [0; Outcome::ALL.len()];
        for number in self.outcomes.iter().filter_map(|number| number.checked_sub(1)) {
            counts[number as usize] += 1;
        }
        counts
    }

    /// What the log said of these does not hold.
    fn forget(&mut self, entry: &Entry) {
        for position in entry.positions() {
            if let Some(number) = self.outcomes.get_mut(position as usize) {
                *number = 0;
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        let number = entry.outcome() as u8 + 1;
        let reason = if entry.code.is_some() || entry.message.is_some() {
            let reason = Reason { code: entry.code, message: entry.message.clone() };
            if self.reasons.last() != Some(&reason) {
                self.reasons.push(reason);
            }
            self.reasons.len() as u32
        } else {
            0
        };
        for position in entry.positions().map(|position| position as usize) {
            if self.outcomes.len() <= position {
                self.outcomes.resize(position + 1, 0);
            }
            // What the log never named could not be told later.
            if self.outcomes[position] != 0 || entry.has_names() {
                self.outcomes[position] = number;
                if reason != 0 && self.reason_of.len() <= position {
                    self.reason_of.resize(position + 1, 0);
                }
                if let Some(place) = self.reason_of.get_mut(position) {
                    *place = reason;
                }
            }
        }
    }
}

/// What a log says.
pub struct Content {
    /// The call.
    pub call: CallRow,
    /// What became of its IDs.
    pub outcomes: Outcomes,
}

/// What a file that is named like a log is.
pub enum Found {
    /// A log.
    Log(Box<Content>),
    /// The beginning of one whose writer was killed before it counted.
    Nothing,
    /// Something else.
    Foreign,
}

/// Reads a log up to its last whole commit.
pub fn read(file: &File) -> Result<Found, Fault> {
    let mut content: Option<Content> = None;
    let is_log = each(file, |event| {
        match (event, &mut content) {
            (Event::Begun(call), None) => content = Some(Content { call, outcomes: Outcomes::default() }),
            (Event::Settled(entry), Some(content)) => content.outcomes.add(&entry),
            (Event::Withdrawn(entry), Some(content)) => content.outcomes.forget(&entry),
            (Event::Finished(at), Some(content)) => content.call.finished_at = Some(at),
            _ => {}
        }
        Ok(())
    })?;
    Ok(match content {
        Some(content) => Found::Log(Box::new(content)),
        None if is_log => Found::Nothing,
        None => Found::Foreign,
    })
}

/// Visits what a log says, in its order. Tells whether the file is one, or may be the beginning of one.
pub fn each(file: &File, mut visit: impl FnMut(Event) -> Result<(), Fault>) -> Result<bool, Fault> {
    let Some(mut log) = LogReader::new(file, MAGIC)? else { return Ok(false) };
    while let Some(record) = log.next_record()? {
        // A later version may write what this one does not know.
        if let Ok(Record { event: Some(event) }) = Record::decode(record) {
            visit(event)?;
        }
    }
    Ok(true)
}

/// The time, in ISO 8601, to the second.
pub fn utc_now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    utc(now.as_secs())
}

fn utc(seconds: u64) -> String {
    let time = prost_types::Timestamp { seconds: seconds as i64, nanos: 0 }.to_string();
    // Python reads the offset in this form only before 3.11.
    time.replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let expected = [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_399, "2000-02-28T23:59:59+00:00"),
            (951_782_400, "2000-02-29T00:00:00+00:00"),
            (1_767_225_599, "2025-12-31T23:59:59+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ];
        assert_eq!(expected.map(|(seconds, _)| utc(seconds)), expected.map(|(_, text)| text.to_owned()));
    }

    #[test]
    fn an_entry_names_its_positions_in_their_order() {
        let entry = Entry {
            runs: vec![7, 2, 11, 1],
            text: "pabqc".into(),
            lengths: vec![1, 1, 1, 1, 0, 1],
            ..Entry::default()
        };
        let named: Vec<_> = entry.named().collect();
        assert_eq!(named, [(7, "p", Some("a")), (8, "b", Some("q")), (11, "", Some("c"))]);
        let of_inputs = Entry { lengths: vec![2, 2, 1], ..entry };
        let named: Vec<_> = of_inputs.named().collect();
        assert_eq!(named, [(7, "pa", None), (8, "bq", None), (11, "c", None)]);
    }
}
