//! What became of every ID of a call, in files: so that the same call can go on after its process was ended, at whatever
//! moment. It knows nothing of the client.
//!
//! While a call runs it appends to a log beside the journal, `JOURNAL.<part>.log`. An ID is in it, with the outcome
//! `unknown`, before the request that deletes it leaves, and again with its outcome as soon as that is known. At its end
//! the log is folded into the journal: a new SQLite file takes the place of the old one. The journal itself is never
//! changed in place, so everybody may read it at any time, without locks. A crash leaves the log, and the next call on
//! that part folds it first.
//!
//! | file | its one job |
//! |---|---|
//! | `mod` | a call's journal: opened, written, ended |
//! | `status` | how far a journal's calls are |
//! | `fold` | logs become part of their journal |
//! | `database` | the SQLite file |
//! | `record` | the log |
//! | `fault` | why a journal cannot be used |

mod database;
mod fault;
mod fold;
mod record;
mod status;

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use prost::Message as _;
use ring::digest;
use tokio::sync::oneshot;

use database::{Database, Restoration};
use fault::Fault;
use fold::{Leftover, acquire_within, lock_path};
use record::{CallRow, Entry, Event, MAGIC, Record, utc_now};
pub use status::{PartStatus, status};

use crate::{
    LOGGER,
    error::Error,
    files::{self, FileLock, LockError, LogWriter, log_path, logs_of},
    ids::Targets,
    report::Outcome,
    wire::may_be_same_user,
};

/// How long a call waits for another one to end that uses its part.
const PART_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a journal is: a file, and which of the calls in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// One of several calls that share the file, from 0.
    pub part: u32,
    /// How many IDs a run names of which the call is a part. Then the run folds the logs of its calls at its end, by
    /// [`fold_leftovers`]; otherwise each call folds its own.
    pub run_requested: Option<u64>,
}

impl Place {
    /// A part of a journal.
    pub fn new(path: impl Into<PathBuf>, part: u32) -> Self {
        Self { path: path.into(), part, run_requested: None }
    }
}

/// The call that a journal is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading<'a> {
    /// The function.
    pub operation: &'a str,
    /// Owner of the app.
    pub user_id: &'a str,
    /// The app.
    pub app_id: &'a str,
    /// The service.
    pub base_url: &'a str,
}

/// The journal of a call, and what it says of an earlier run.
pub struct Opened {
    /// `None` where the call was finished: there is nothing left to write.
    pub journal: Option<Journal>,
    /// The outcome of each ID so far.
    pub past: Vec<Outcome>,
    /// When the call was finished, in ISO 8601, if it was and nothing is left to do.
    pub finished_at: Option<String>,
}

/// A journal that is being written, on a thread of its own.
pub struct Journal {
    queue: mpsc::Sender<Command>,
    /// Of which IDs it says last that they will be sent.
    announced: Mutex<Vec<bool>>,
    abandoned: Arc<AtomicBool>,
}

enum Command {
    Record {
        ids: Vec<u32>,
        outcome: Outcome,
        error: Option<Arc<Error>>,
    },
    Withdraw(Vec<u32>),
    Flush(oneshot::Sender<Result<(), Error>>),
    /// Ends the thread once what came before is written and the log is folded.
    End {
        is_finished: bool,
        ended: oneshot::Sender<()>,
    },
}

impl Journal {
    /// Opens the journal of a call, or makes it. Tells the outcome of each ID so far. Blocks; gives up once `abandoned` is
    /// set.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be written, is no journal, is of another call, or its part is in use.
    pub fn open(
        place: &Place,
        heading: &Heading<'_>,
        targets: &Arc<Targets>,
        abandoned: &AtomicBool,
    ) -> Result<Opened, Error> {
        open(place, heading, targets, abandoned).map_err(|fault| refuse_call(&place.path, fault))
    }

    /// Says of some IDs that they will be sent: from then on they are `unknown`. It is on the disk when this is done.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be written.
    pub async fn announce(&self, ids: &[u32]) -> Result<(), Error> {
        let new: Vec<_> = {
            let mut announced = self.lock_announced();
            ids.iter().copied().filter(|&id| !mem::replace(&mut announced[id as usize], true)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let _ = self.queue.send(Command::Record { ids: new, outcome: Outcome::Unknown, error: None });
        self.flush().await
    }

    /// Says of those that were announced and were not sent that they are what they were before.
    pub fn withdraw_unless(&self, was_sent: impl Fn(u32) -> bool) {
        let announced = self.lock_announced();
        let ids: Vec<_> = (0..)
            .zip(&*announced)
            .filter_map(|(id, is_announced)| (*is_announced && !was_sent(id)).then_some(id))
            .collect();
        if !ids.is_empty() {
            let _ = self.queue.send(Command::Withdraw(ids));
        }
    }

    fn lock_announced(&self) -> MutexGuard<'_, Vec<bool>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what became of some IDs. It is on the disk after the next [`flush`](Self::flush).
    pub fn record(&self, ids: &[u32], outcome: Outcome, error: Option<&Arc<Error>>) {
        if outcome != Outcome::Unknown {
            let mut announced = self.lock_announced();
            ids.iter().for_each(|&id| announced[id as usize] = false);
        }
        // When its thread has ended, the next flush says so.
        let _ = self.queue.send(Command::Record { ids: ids.to_vec(), outcome, error: error.cloned() });
    }

    /// Waits until everything that was recorded is on the disk.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be written.
    pub async fn flush(&self) -> Result<(), Error> {
        let (written, answer) = oneshot::channel();
        let ended = || Error::Journal { message: "the journal ended early".into() };
        self.queue.send(Command::Flush(written)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the journal: its log is folded, and its part may be opened again, when this is done. `is_finished`: no ID is
    /// unsent or unknown.
    pub async fn end(&self, is_finished: bool) {
        let (ended, answer) = oneshot::channel();
        if self.queue.send(Command::End { is_finished, ended }).is_ok() {
            let _ = answer.await;
        }
    }

    /// Ends a fold early. The log stays for the next call to fold.
    pub fn abandon_fold(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.abandon_fold();
    }
}

/// Folds what calls left that did not fold their logs, or were killed. Logs of calls that run are left alone. Blocks; gives
/// up once `abandoned` is set.
///
/// # Errors
/// [`Error::Journal`] when the journal cannot be replaced; the logs are there then.
pub fn fold_leftovers(journal: &Path, abandoned: &AtomicBool) -> Result<(), Error> {
    let fold = || {
        let path = files::target(journal)?;
        let (mut locks, mut logs) = (Vec::new(), Vec::new());
        for part in logs_of(&path)?.into_keys() {
            match FileLock::try_acquire(&lock_path(&path, part)) {
                Ok(lock) => locks.push(lock),
                Err(LockError::Busy) => continue,
                Err(error) => return Err(error.into()),
            }
            logs.extend(Leftover::open(&path, part)?);
        }
        if logs.is_empty() { Ok(()) } else { fold::fold(&path, &logs, None, abandoned) }
    };
    fold().map_err(|fault: Fault| refuse(journal, fault))
}

/// Notes in a journal that annotations of its calls were restored from a backup. Does nothing where there is no journal of
/// ours, or nothing was restored. Blocks.
///
/// # Errors
/// [`Error::Journal`] when the journal cannot be replaced.
pub fn note_restoration(journal: &Path, backup: &Path, restored: usize) -> Result<(), Error> {
    let note = || {
        // A folder that is gone took its journal along.
        let Ok(path) = files::target(journal) else { return Ok(()) };
        let is_there = match database::inspect(&path) {
            Ok(file) => file.is_some() || logs_of(&path).is_ok_and(|logs| !logs.is_empty()),
            Err(Fault::Io(error)) => return Err(Fault::Io(error)),
            Err(_) => false,
        };
        if !is_there || restored == 0 {
            return Ok(());
        }
        let restoration = Restoration {
            restored_at: utc_now(),
            backup: backup.display().to_string(),
            annotations: restored as u64,
        };
        fold::fold(&path, &[], Some(&restoration), &AtomicBool::new(false))
    };
    note().map_err(|fault| refuse(journal, format!("{fault}. It does not say what was restored")))
}

fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Journal { message: format!("journal {}: {why}", path.display()) }
}

/// Refuses a call before anything is sent.
fn refuse_call(path: &Path, why: impl std::fmt::Display) -> Error {
    refuse(path, format!("{why}. Nothing was sent"))
}

fn open(
    place: &Place,
    heading: &Heading<'_>,
    targets: &Arc<Targets>,
    abandoned: &AtomicBool,
) -> Result<Opened, Fault> {
    let path = files::target(&place.path)?;
    // Before anything is made beside it: it may be somebody else's.
    database::inspect(&path)?;
    let lock = acquire_within(PART_TIMEOUT, &lock_path(&path, place.part), abandoned)
        .map_err(|error| Fault::of_lock(error, || format!("part {} is being written", place.part)))?;
    if let Some(leftover) = Leftover::open(&path, place.part)? {
        fold::fold(&path, &[leftover], None, abandoned)?;
    }
    let mut call = call_of(heading, targets);
    call.run_requested = place.run_requested;
    let mut past = vec![Outcome::Unsent; targets.len()];
    let mut finished_at = None;
    if let Some(database) = database::open(&path)? {
        call.restorations_before = database.restorations()?;
        if let Some(earlier) = database.call(place.part)? {
            agree(&earlier, &call)?;
            past = past_outcomes(&database, place.part, targets)?;
            check_restorations(&database, &earlier, &past)?;
            finished_at = earlier.finished_at;
        }
    }
    log_what_is_past(&place.path, &past, finished_at.as_deref());
    if finished_at.is_some() && past.iter().all(|outcome| is_settled(*outcome)) {
        return Ok(Opened { journal: None, past, finished_at });
    }
    let log = LogWriter::create(&log_path(&path, place.part), MAGIC, &record_of(Event::Begun(call)))?;
    let (queue, commands) = mpsc::channel();
    let fold_abandoned = Arc::new(AtomicBool::new(false));
    let writer = Writer {
        path,
        place: place.clone(),
        log,
        lock,
        is_named: vec![false; targets.len()],
        targets: Arc::clone(targets),
        abandoned: Arc::clone(&fold_abandoned),
    };
    thread::Builder::new().name("clarifai-journal".into()).spawn(move || writer.run(&commands))?;
    let announced = Mutex::new(vec![false; targets.len()]);
    let journal = Journal { queue, announced, abandoned: fold_abandoned };
    Ok(Opened { journal: Some(journal), past, finished_at: None })
}

/// Whether an ID is not sent again.
fn is_settled(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Deleted | Outcome::Absent)
}

fn log_what_is_past(journal: &Path, past: &[Outcome], finished_at: Option<&str>) {
    let settled = past.iter().filter(|outcome| is_settled(**outcome)).count();
    let journal = journal.display();
    match finished_at {
        Some(at) if settled == past.len() => {
            log::info!(target: LOGGER, "journal {journal}: finished on {at}; nothing is sent");
        }
        _ if settled > 0 => {
            let all = past.len();
            log::info!(target: LOGGER, "journal {journal}: an earlier run has settled {settled} of {all} IDs");
        }
        _ => {}
    }
}

fn call_of(heading: &Heading<'_>, targets: &Targets) -> CallRow {
    let Heading { operation, user_id, app_id, base_url } = *heading;
    CallRow {
        operation: operation.into(),
        user_id: user_id.into(),
        app_id: app_id.into(),
        base_url: base_url.into(),
        requested: targets.len() as u64,
        ids_sha256: fingerprint(targets),
        started_at: utc_now(),
        finished_at: None,
        restorations_before: 0,
        run_requested: None,
    }
}

/// Compares a call with the one that its part was made for.
fn agree(earlier: &CallRow, call: &CallRow) -> Result<(), Fault> {
    let app = |call: &CallRow| format!("{}/{}", call.user_id, call.app_id);
    let why = if earlier.operation != call.operation {
        format!("was made for {}, and this is {}", earlier.operation, call.operation)
    } else if !may_be_same_user(&earlier.user_id, &call.user_id) || earlier.app_id != call.app_id {
        format!("was made for the app {}, and this call is for {}", app(earlier), app(call))
    } else if earlier.base_url != call.base_url {
        format!("was made for {}, and this call is for {}", earlier.base_url, call.base_url)
    } else if earlier.ids_sha256 != call.ids_sha256 {
        format!(
            "was made for {} other IDs, or for the same in another order; this call names {}",
            earlier.requested, call.requested
        )
    } else {
        return Ok(());
    };
    let advice = "give another path, or make the call that it was made for";
    Err(Fault::OfAnotherCall(format!("{why}: {advice}")))
}

/// Makes sure that what a part says is deleted was not restored since.
fn check_restorations(database: &Database, earlier: &CallRow, past: &[Outcome]) -> Result<(), Fault> {
    match database.last_restoration()? {
        Some(Restoration { restored_at, backup, annotations })
            if database.restorations()? > earlier.restorations_before && past.contains(&Outcome::Deleted) =>
        {
            Err(Fault::OfAnotherCall(format!(
                "says what this call deleted, and {annotations} annotations were restored since, on {restored_at} from \
                 {backup}: to delete them again, give another path"
            )))
        }
        _ => Ok(()),
    }
}

/// A hash of all that a call names, in its order.
fn fingerprint(targets: &Targets) -> String {
    /// A digest takes large pieces much faster than small ones.
    const PIECE: usize = 64 << 10;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut piece = Vec::with_capacity(PIECE);
    for target in (0..targets.len()).map(|index| targets.get(index)) {
        // The lengths tell where one ID ends and the next begins.
        for id in [Some(target.input_id), target.annotation_id].into_iter().flatten() {
            piece.extend_from_slice(&(id.len() as u64).to_le_bytes());
            piece.extend_from_slice(id.as_bytes());
        }
        if piece.len() >= PIECE {
            hash.update(&piece);
            piece.clear();
        }
    }
    hash.update(&piece);
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The outcomes of an earlier run, in the order of the targets.
fn past_outcomes(database: &Database, part: u32, targets: &Targets) -> Result<Vec<Outcome>, Fault> {
    let mut outcomes = vec![Outcome::Unsent; targets.len()];
    let mut places = (0..targets.len()).peekable();
    database.each_run(part, |run| {
        let (first, length) = (run.first as usize, run.length as usize);
        let end = first.saturating_add(length);
        while let Some(place) = places.next_if(|&place| targets.get(place).position < end) {
            if targets.get(place).position >= first {
                outcomes[place] = run.outcome;
            }
        }
    })?;
    Ok(outcomes)
}

fn record_of(event: Event) -> Vec<u8> {
    Record { event: Some(event) }.encode_to_vec()
}

/// Writes the log of a call.
struct Writer {
    /// The journal, with all links followed.
    path: PathBuf,
    /// As the caller named it.
    place: Place,
    log: LogWriter,
    lock: FileLock,
    targets: Arc<Targets>,
    /// Whether the log has the IDs of a target.
    is_named: Vec<bool>,
    abandoned: Arc<AtomicBool>,
}

impl Writer {
    /// Writes what comes, with one sync for all that has gathered.
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        const MOST_AT_ONCE: usize = 1024;
        let (mut failed, mut end) = (None::<Error>, None);
        while end.is_none()
            && let Ok(first) = commands.recv()
        {
            let mut gathered = vec![first];
            gathered.extend(commands.try_iter().take(MOST_AT_ONCE));
            if failed.is_none() {
                failed = self.write(&gathered).err().map(|fault| {
                    refuse(&self.place.path, format!("{fault}. What it does not have was not sent"))
                });
            }
            for command in gathered {
                match command {
                    Command::Record { .. } | Command::Withdraw(_) => {}
                    // Whoever does not wait any more has given up.
                    Command::Flush(written) => drop(written.send(failed.clone().map_or(Ok(()), Err))),
                    Command::End { ended, .. } => end = Some(ended),
                }
            }
        }
        if end.is_some() && failed.is_none() && self.place.run_requested.is_none() {
            self.fold();
        }
        drop((self.log, self.lock));
        if let Some(ended) = end {
            let _ = ended.send(());
        }
    }

    fn write(&mut self, commands: &[Command]) -> Result<(), Fault> {
        for command in commands {
            match command {
                Command::Record { ids, outcome, error } => self.record(ids, *outcome, error.as_deref())?,
                Command::Withdraw(ids) => {
                    let entry = Entry { runs: self.runs_of(ids), ..Entry::default() };
                    self.log.append(&record_of(Event::Withdrawn(entry)))?;
                }
                Command::End { is_finished: true, .. } => {
                    self.log.append(&record_of(Event::Finished(utc_now())))?
                }
                _ => {}
            }
        }
        // Somebody may have opened and closed the lock file: then another process may have the part by now.
        self.lock
            .renew()
            .map_err(|error| Fault::of_lock(error, || format!("part {} was taken over", self.place.part)))?;
        Ok(self.log.commit()?)
    }

    fn record(&mut self, ids: &[u32], outcome: Outcome, error: Option<&Error>) -> std::io::Result<()> {
        // An entry has the IDs of all its positions or of none.
        let is_named = |id: u32| self.is_named[id as usize];
        let entries: Vec<&[u32]> = ids.chunk_by(|&id, &next| is_named(id) == is_named(next)).collect();
        for ids in entries {
            let mut entry = Entry { outcome: outcome as u32, ..Entry::default() };
            entry.code =
                error.and_then(|error| if let Error::Api(it) = error { Some(it.code) } else { None });
            entry.message = error.map(ToString::to_string);
            entry.runs = self.runs_of(ids);
            if !self.is_named[ids[0] as usize] {
                for &id in ids {
                    self.is_named[id as usize] = true;
                    let target = self.targets.get(id as usize);
                    for id in [Some(target.input_id), target.annotation_id].into_iter().flatten() {
                        entry.text.push_str(id);
                        entry.lengths.push(id.len() as u32);
                    }
                }
            }
            self.log.append(&record_of(Event::Settled(entry)))?;
        }
        Ok(())
    }

    /// The positions of some IDs in the caller's columns: the first of each run and its length.
    fn runs_of(&self, ids: &[u32]) -> Vec<u32> {
        let mut runs = Vec::new();
        for position in ids.iter().map(|&id| self.targets.get(id as usize).position as u32) {
            match runs.as_mut_slice() {
                [.., first, length] if *first + *length == position => *length += 1,
                _ => runs.extend([position, 1]),
            }
        }
        runs
    }

    /// Folds the log. When that fails the call has its outcomes all the same.
    fn fold(&self) {
        let folded = Leftover::open(&self.path, self.place.part).and_then(|log| match log {
            Some(log) => fold::fold(&self.path, &[log], None, &self.abandoned),
            None => Ok(()),
        });
        if let Err(fault) = folded {
            let (journal, log) = (self.place.path.display(), self.log.path().display());
            log::warn!(
                target: LOGGER,
                "journal {journal}: {fault}. The outcomes of this call are in {log}, where the next call with this \
                 journal finds them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use proptest::prelude::*;

    use super::*;
    use crate::ids::ColumnBuilder;

    fn targets(pairs: &[(&str, &str)]) -> Arc<Targets> {
        let mut columns = [ColumnBuilder::new("input_ids"), ColumnBuilder::new("annotation_ids")];
        for (input_id, annotation_id) in pairs {
            columns[0].push(input_id).unwrap();
            columns[1].push(annotation_id).unwrap();
        }
        let [input_ids, annotation_ids] = columns.map(ColumnBuilder::finish);
        Arc::new(Targets::pairs(input_ids, annotation_ids).unwrap())
    }

    const HEADING: Heading<'_> =
        Heading { operation: "delete_annotations", user_id: "me", app_id: "cats", base_url: "http://here" };

    fn opened(place: &Place, targets: &Arc<Targets>) -> Result<Opened, Error> {
        Journal::open(place, &HEADING, targets, &AtomicBool::new(false))
    }

    fn names(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// The rows of the view, as anybody reads them.
    fn rows(path: &Path, part: u32) -> Vec<(u32, String, String, String)> {
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT position, input_id, annotation_id, outcome FROM outcomes WHERE part = ? ORDER BY position",
            )
            .unwrap();
        let rows =
            statement.query_map([part], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn what_was_recorded_is_read_again_at_the_places_of_a_call_with_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        let targets = targets(&[("p", "a"), ("p", "a"), ("p", "b"), ("q", "a")]);
        let Opened { journal, past, .. } = opened(&place, &targets).unwrap();
        assert_eq!(past, [Outcome::Unsent; 3]);
        let journal = journal.unwrap();
        journal.record(&[0, 1], Outcome::Unknown, None);
        journal.record(&[0], Outcome::Deleted, None);
        journal.record(&[2], Outcome::Absent, Some(&Arc::new(Error::Closed)));
        journal.flush().await.unwrap();
        journal.end(false).await;
        assert_eq!(
            opened(&place, &targets).unwrap().past,
            [Outcome::Deleted, Outcome::Unknown, Outcome::Absent]
        );
    }

    #[tokio::test]
    async fn ids_of_any_letters_stand_in_a_journal_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        // What means something in a URI, too.
        let place = Place::new(folder.path().join("50% of #1?.journal"), 7);
        let pairs = [("\"p\\", "a,b]"), ("ü\n", "[[\"x\"]]"), ("'", "\u{1f600}")];
        let targets = targets(&pairs);
        let journal = opened(&place, &targets).unwrap().journal.unwrap();
        journal.record(&[0, 1, 2], Outcome::Unknown, None);
        journal.record(&[0, 2], Outcome::Deleted, None);
        journal.end(false).await;
        let expected = [(0, "deleted"), (1, "unknown"), (2, "deleted")].map(|(position, outcome)| {
            let (input_id, annotation_id) = pairs[position as usize];
            (position, input_id.to_owned(), annotation_id.to_owned(), outcome.to_owned())
        });
        assert_eq!(rows(&place.path, 7), expected);
    }

    #[tokio::test]
    async fn what_was_announced_and_not_sent_is_what_it_was_before() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        let targets = targets(&[("p", "a"), ("p", "b"), ("p", "c")]);
        let journal = opened(&place, &targets).unwrap().journal.unwrap();
        journal.record(&[0], Outcome::Failed, None);
        journal.end(false).await;
        let journal = opened(&place, &targets).unwrap().journal.unwrap();
        journal.announce(&[0, 1, 2]).await.unwrap();
        journal.withdraw_unless(|id| id == 2);
        journal.end(false).await;
        let expected = [("a", "failed"), ("c", "unknown")];
        let found = rows(&place.path, 0);
        assert_eq!(found.iter().map(|row| (&*row.2, &*row.3)).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn a_finished_call_has_nothing_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        let targets = targets(&[("p", "a"), ("p", "b")]);
        let journal = opened(&place, &targets).unwrap().journal.unwrap();
        journal.record(&[0, 1], Outcome::Deleted, None);
        journal.end(true).await;
        let again = opened(&place, &targets).unwrap();
        assert!(again.journal.is_none() && again.finished_at.is_some());
        assert_eq!(names(folder.path()), ["journal"]);
    }

    #[tokio::test]
    async fn a_fold_that_nobody_waits_for_leaves_the_log_to_the_next_call() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        let targets = targets(&[("p", "a")]);
        let journal = opened(&place, &targets).unwrap().journal.unwrap();
        journal.record(&[0], Outcome::Deleted, None);
        journal.abandon_fold();
        journal.end(true).await;
        assert_eq!(names(folder.path()), ["journal.0.log"]);
        assert_eq!(opened(&place, &targets).unwrap().past, [Outcome::Deleted]);
        assert_eq!(names(folder.path()), ["journal"]);
    }

    #[tokio::test]
    async fn logs_that_were_left_are_folded_at_once_save_those_that_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let targets = targets(&[("p", "a")]);
        for part in [0, 3] {
            let place = Place { run_requested: Some(2), ..Place::new(&path, part) };
            let journal = opened(&place, &targets).unwrap().journal.unwrap();
            journal.record(&[0], Outcome::Deleted, None);
            journal.end(true).await;
        }
        let running = opened(&Place::new(&path, 5), &targets).unwrap().journal.unwrap();
        let with_logs = ["journal.0.log", "journal.3.log", "journal.5.lock", "journal.5.log"];
        assert_eq!(names(folder.path()), with_logs);
        fold_leftovers(&path, &AtomicBool::new(false)).unwrap();
        assert_eq!(names(folder.path()), ["journal", "journal.5.lock", "journal.5.log"]);
        let parts: Vec<_> =
            status(&path).unwrap().iter().map(|it| (it.part, it.deleted, it.is_running)).collect();
        assert_eq!(parts, [(0, 1, false), (3, 1, false), (5, 0, true)]);
        running.end(false).await;
    }

    #[tokio::test]
    async fn what_a_killed_fold_left_is_removed_and_what_others_left_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        let targets = targets(&[("p", "a")]);
        for leftover in [&b""[..], b"SQLite format 3\0 and half a page", &[0; 5000]] {
            fs::write(folder.path().join("journal.partial"), leftover).unwrap();
            opened(&place, &targets).unwrap().journal.unwrap().end(false).await;
            assert_eq!(names(folder.path()), ["journal"]);
        }
        fs::write(folder.path().join("journal.partial"), "notes").unwrap();
        // The log stays for when the name is free again.
        opened(&place, &targets).unwrap().journal.unwrap().end(false).await;
        assert_eq!(names(folder.path()), ["journal", "journal.0.log", "journal.partial"]);
        let refused = opened(&place, &targets).map(|_| ()).unwrap_err().to_string();
        assert!(
            refused.contains("journal.partial is there and is something else. Move it away"),
            "{refused}"
        );
    }

    #[test]
    fn a_restoration_is_noted_only_in_a_journal_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("journal"), Path::new("/kept.parquet"));
        note_restoration(&path, backup, 3).unwrap();
        note_restoration(&folder.path().join("no/such/folder"), backup, 3).unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
        fs::write(&path, "notes").unwrap();
        note_restoration(&path, backup, 3).unwrap();
        assert_eq!(
            (names(folder.path()), fs::read(&path).unwrap()),
            (vec!["journal".into()], b"notes".into())
        );
    }

    #[tokio::test]
    async fn after_a_restoration_a_journal_does_not_say_that_its_annotations_are_gone() {
        for is_folded in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let run_requested = (!is_folded).then_some(2);
            let place = Place { run_requested, ..Place::new(folder.path().join("journal"), 0) };
            let targets = targets(&[("p", "a"), ("p", "b")]);
            let journal = opened(&place, &targets).unwrap().journal.unwrap();
            journal.record(&[0], Outcome::Deleted, None);
            journal.end(false).await;
            note_restoration(&place.path, Path::new("/kept.parquet"), 0).unwrap();
            opened(&place, &targets).unwrap().journal.unwrap().end(false).await;
            note_restoration(&place.path, Path::new("/kept.parquet"), 1).unwrap();
            let refused = opened(&place, &targets).map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains("1 annotations were restored since, on 2"), "{refused}");
            assert!(
                refused.contains("from /kept.parquet: to delete them again, give another path"),
                "{refused}"
            );
            // A part that has deleted nothing may go on.
            opened(&Place::new(&place.path, 1), &targets).unwrap().journal.unwrap().end(false).await;
        }
    }

    /// What a call writes: places, and the outcome that they have from then on.
    type Step = (Vec<u32>, Outcome);

    fn some_steps(count: u32) -> impl Strategy<Value = Vec<Step>> {
        let places =
            prop::collection::btree_set(0..count, 1..8).prop_map(|places| places.into_iter().collect());
        prop::collection::vec((places, prop::sample::select(&Outcome::ALL[..4])), 1..8)
    }

    fn apply(outcomes: &mut [Outcome], steps: &[Step]) {
        for (places, outcome) in steps {
            for &place in places {
                outcomes[place as usize] = *outcome;
            }
        }
    }

    const COUNT: u32 = 12;

    fn some_targets() -> Arc<Targets> {
        let ids: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
        // Every other pair is repeated: positions are not places.
        let named: Vec<(&str, &str)> =
            ids.iter().flat_map(|id| vec![("p", id.as_str()); 1 + usize::from(id.len() > 1)]).collect();
        targets(&named)
    }

    /// Makes a run of a call: each step is flushed. Tells how long the log is after each, and the log.
    fn run(place: &Place, targets: &Arc<Targets>, steps: &[Step]) -> (Vec<usize>, Vec<u8>) {
        let place = Place { run_requested: Some(99), ..place.clone() };
        let error = Arc::new(Error::Closed);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let Some(journal) = opened(&place, targets).unwrap().journal else {
                return (Vec::new(), Vec::new());
            };
            let log = log_path(&place.path, place.part);
            let mut lengths = Vec::new();
            for (places, outcome) in steps {
                journal.record(places, *outcome, (*outcome == Outcome::Failed).then_some(&error));
                journal.flush().await.unwrap();
                lengths.push(fs::metadata(&log).unwrap().len() as usize);
            }
            journal.end(false).await;
            (lengths, fs::read(&log).unwrap())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn whatever_was_flushed_before_a_log_was_torn_is_seen_by_the_next_call(
            earlier in some_steps(COUNT), steps in some_steps(COUNT), cuts in prop::collection::vec(any::<prop::sample::Index>(), 4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (targets, place) = (some_targets(), Place::new(folder.path().join("journal"), 2));
            run(&place, &targets, &earlier);
            let mut before = vec![Outcome::Unsent; COUNT as usize];
            apply(&mut before, &earlier);
            let (lengths, log) = run(&place, &targets, &steps);
            let database = fs::read(&place.path).unwrap();
            let after = |cut: usize| {
                let mut outcomes = before.clone();
                apply(&mut outcomes, &steps[..lengths.iter().filter(|&&end| end <= cut).count()]);
                outcomes
            };
            let log_path = log_path(&place.path, place.part);
            // Every byte, as the status reads it.
            for cut in 0..=log.len() {
                fs::write(&log_path, &log[..cut]).unwrap();
                let [status] = <[_; 1]>::try_from(status(&place.path).unwrap()).unwrap();
                let outcomes = after(cut);
                let counts = Outcome::ALL.map(|outcome| outcomes.iter().filter(|it| **it == outcome).count() as u64);
                prop_assert_eq!(
                    [status.deleted, status.absent, status.failed, status.unknown, status.unsent], counts, "cut at {}", cut
                );
            }
            // Some, as the next call takes it over: from a journal as it was, and from one that has the log already.
            for cut in cuts.iter().map(|cut| cut.index(log.len() + 1)) {
                fs::write(&place.path, &database).unwrap();
                for _ in 0..2 {
                    fs::write(&log_path, &log[..cut]).unwrap();
                    let next = ended(opened(&place, &targets).unwrap());
                    prop_assert_eq!(&next, &after(cut), "cut at {}", cut);
                    let found: BTreeMap<_, _> = rows(&place.path, 2).into_iter().map(|row| (row.2, row.3)).collect();
                    let expected = (0..).zip(&next).filter(|(_, outcome)| **outcome != Outcome::Unsent);
                    let expected = expected.map(|(id, outcome): (u32, _)| (id.to_string(), outcome.name().to_owned()));
                    prop_assert_eq!(found, expected.collect::<BTreeMap<_, _>>());
                }
            }
        }
    }

    /// What was there when a journal was opened, which is ended.
    fn ended(opened: Opened) -> Vec<Outcome> {
        if let Some(journal) = opened.journal {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.end(false));
        }
        opened.past
    }

    #[test]
    fn calls_that_write_parts_at_once_are_all_in_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let targets = some_targets();
        let steps: Vec<Step> = (0..COUNT).map(|place| (vec![place], Outcome::Deleted)).collect();
        thread::scope(|scope| {
            for part in 0..8 {
                let (path, targets, steps) = (&path, &targets, &steps);
                scope.spawn(move || {
                    run(&Place::new(path, part), targets, steps);
                    let opened = opened(&Place::new(path, part), targets).unwrap();
                    assert_eq!(ended(opened), [Outcome::Deleted; COUNT as usize]);
                });
            }
        });
        for part in 0..8 {
            assert_eq!(rows(&path, part).len(), COUNT as usize);
        }
        assert_eq!(names(folder.path()), ["journal"]);
    }

    #[tokio::test]
    async fn ten_million_ids_take_less_than_a_gigabyte() {
        const IDS: u32 = 12_800;
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 0);
        // Hashes, as Clarifai makes IDs: hardly anything of them can be compressed.
        let id = |kind: &str, n: u32| {
            let hash = digest::digest(&digest::SHA256, format!("{kind}{n}").as_bytes());
            hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let ids: Vec<_> = (0..IDS).map(|n| (id("input", n), id("annotation", n))).collect();
        let named: Vec<(&str, &str)> =
            ids.iter().map(|(input, annotation)| (&**input, &**annotation)).collect();
        let targets = targets(&named);
        let opened = opened(&Place { run_requested: Some(IDS.into()), ..place.clone() }, &targets).unwrap();
        let journal = opened.journal.unwrap();
        for batch in (0..IDS).collect::<Vec<_>>().chunks(128) {
            journal.record(batch, Outcome::Unknown, None);
            journal.flush().await.unwrap();
            journal.record(batch, Outcome::Deleted, None);
        }
        journal.end(true).await;
        let size = |path: &Path| fs::metadata(path).unwrap().len() / u64::from(IDS);
        let log = size(&log_path(&place.path, 0));
        fold_leftovers(&place.path, &AtomicBool::new(false)).unwrap();
        assert!(log <= 45, "{log} bytes an ID in the log");
        assert!(size(&place.path) <= 80, "{} bytes an ID in the journal", size(&place.path));
    }

    #[test]
    fn a_part_is_written_by_one_call_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("journal"), 4);
        let targets = some_targets();
        let first = opened(&place, &targets).unwrap();
        let refused = opened(&place, &targets).map(|_| ()).unwrap_err().to_string();
        let why = "is in use by another call: part 4 is being written. Wait for it, or give each call a part or a file of \
                   its own. Nothing was sent";
        assert!(refused.ends_with(why), "{refused}");
        drop(first);
        opened(&place, &targets).unwrap();
    }
}
