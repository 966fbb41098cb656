//! What became of every ID of a call, in a SQLite file, as it comes: so that the same call can go on after its process
//! was ended, at whatever moment. It knows nothing of the client.
//!
//! An ID has its row before the request that deletes it leaves, with the outcome `unknown`, and its outcome as soon as
//! that is known. One without a row was never sent.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use ring::digest;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Statement, params};
use tokio::sync::oneshot;

use crate::{error::Error, ids::Targets, report::Outcome};

/// What tells a journal of ours from other SQLite files ("CLAA"), and the form of its tables.
const APPLICATION: i32 = 0x434c_4141;
const FORM: i32 = 1;

const TABLES: &str = "
    CREATE TABLE calls (
        part INTEGER PRIMARY KEY,
        operation TEXT NOT NULL,
        user_id TEXT NOT NULL,
        app_id TEXT NOT NULL,
        base_url TEXT NOT NULL,
        requested INTEGER NOT NULL,
        ids_sha256 TEXT NOT NULL
    );
    CREATE TABLE ids (
        part INTEGER NOT NULL,
        position INTEGER NOT NULL,
        input_id TEXT NOT NULL,
        annotation_id TEXT,
        outcome TEXT NOT NULL,
        code INTEGER,
        message TEXT,
        PRIMARY KEY (part, position)
    ) WITHOUT ROWID;";

/// How long a call waits for another one to end that uses its journal.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Where a journal is: a file, and which of the calls in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// One of several calls that share the file, from 0.
    pub part: u32,
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

/// A journal that is being written, on a thread of its own.
pub struct Journal {
    queue: mpsc::Sender<Letter>,
}

enum Letter {
    Record {
        ids: Vec<u32>,
        outcome: Outcome,
        error: Option<Arc<Error>>,
    },
    Flush(oneshot::Sender<Result<(), Error>>),
    /// Ends the thread once what came before is written.
    End(oneshot::Sender<()>),
}

impl Journal {
    /// Opens the journal of a call, or makes it. Tells the outcome of each ID so far. Blocks.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be written, is no journal, is of another call, or is in use.
    pub fn open(
        place: &Place,
        heading: &Heading<'_>,
        targets: &Arc<Targets>,
    ) -> Result<(Self, Vec<Outcome>), Error> {
        let failed = |error: rusqlite::Error| refuse_call(&place.path, explain(&error));
        let connection = connect(place, heading, targets)?;
        let past = past(&connection, place.part, targets).map_err(failed)?;
        let (queue, letters) = mpsc::channel();
        let writer = Writer { place: place.clone(), connection, targets: Arc::clone(targets) };
        thread::Builder::new()
            .name("clarifai-journal".into())
            .spawn(move || writer.write(&letters))
            .map_err(|error| refuse(&place.path, error))?;
        Ok((Self { queue }, past))
    }

    /// Takes down what became of some IDs. It is on the disk after the next [`flush`](Self::flush).
    pub fn record(&self, ids: &[u32], outcome: Outcome, error: Option<&Arc<Error>>) {
        // When its thread has ended, the next flush says so.
        let _ = self.queue.send(Letter::Record { ids: ids.to_vec(), outcome, error: error.cloned() });
    }

    /// Waits until everything that was recorded is on the disk.
    ///
    /// # Errors
    /// [`Error::Journal`] when the file cannot be written.
    pub async fn flush(&self) -> Result<(), Error> {
        let (written, answer) = oneshot::channel();
        let ended = || Error::Journal { message: "the journal ended early".into() };
        self.queue.send(Letter::Flush(written)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the journal: its file can be read or opened again when this is done.
    pub async fn end(&self) {
        let (ended, answer) = oneshot::channel();
        if self.queue.send(Letter::End(ended)).is_ok() {
            let _ = answer.await;
        }
    }
}

fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Journal { message: format!("journal {}: {why}", path.display()) }
}

/// Refuses a call before anything is sent.
fn refuse_call(path: &Path, why: impl std::fmt::Display) -> Error {
    refuse(path, format!("{why}. Nothing was sent"))
}

fn explain(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is in use by another call: give each call a file of its own".into()
        }
        Some(ErrorCode::NotADatabase) => NO_JOURNAL.into(),
        _ => format!("cannot be used: {error}"),
    }
}

const NO_JOURNAL: &str = "is there and is no journal: give another path";

/// Looks at a file that is there before SQLite does, which may change what it opens.
fn inspect(path: &Path) -> Result<(), Error> {
    // SQLite's file format: what it begins with, and where the two numbers stand in its first 100 bytes.
    const MAGIC: &[u8] = b"SQLite format 3\0";
    const USER_VERSION: usize = 60;
    const APPLICATION_ID: usize = 68;
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(100).read_to_end(&mut head)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refuse_call(path, format!("cannot be used: {error}"))),
        Ok(_) => {}
    }
    // Its first transaction may have been broken off: SQLite takes that back.
    let mut rollback = path.as_os_str().to_owned();
    rollback.push("-journal");
    if head.is_empty() || Path::new(&rollback).exists() {
        return Ok(());
    }
    let number = |start: usize| head.get(start..start + 4)?.try_into().ok().map(i32::from_be_bytes);
    match (head.starts_with(MAGIC), number(APPLICATION_ID), number(USER_VERSION)) {
        (true, Some(APPLICATION), Some(FORM)) => Ok(()),
        (true, Some(APPLICATION), Some(form)) => Err(refuse_call(
            path,
            format!("is of another version (form {form}, not {FORM}): give another path"),
        )),
        _ => Err(refuse_call(path, NO_JOURNAL)),
    }
}

/// The file, opened for this call alone.
fn connect(place: &Place, heading: &Heading<'_>, targets: &Targets) -> Result<Connection, Error> {
    inspect(&place.path)?;
    let open = || {
        let connection = Connection::open(&place.path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Exclusive: two calls that wrote one journal would each believe the other's outcomes to be their own.
        connection
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; BEGIN IMMEDIATE;")?;
        let is_new = connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
        if is_new {
            let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM};");
            connection.execute_batch(&marks)?;
            connection.execute_batch(TABLES)?;
        }
        // Only then: the marks must stand in the file itself, for whoever looks at it next.
        connection.execute_batch("COMMIT; PRAGMA journal_mode = WAL;")?;
        Ok(connection)
    };
    let connection = open().map_err(|error: rusqlite::Error| refuse_call(&place.path, explain(&error)))?;
    agree(&connection, place, heading, targets)?;
    Ok(connection)
}

/// Holds the call against the one that the journal was made for; a new part is made for this one.
fn agree(
    connection: &Connection,
    place: &Place,
    heading: &Heading<'_>,
    targets: &Targets,
) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| refuse_call(&place.path, explain(&error));
    let Heading { operation, user_id, app_id, base_url } = *heading;
    let ids = fingerprint(targets);
    let found = connection
        .query_row(
            "SELECT operation, user_id, app_id, base_url, requested, ids_sha256 FROM calls WHERE part = ?",
            [place.part],
            |row| {
                let text = |column| row.get::<_, String>(column);
                Ok((text(0)?, text(1)?, text(2)?, text(3)?, row.get::<_, i64>(4)?, text(5)?))
            },
        )
        .optional()
        .map_err(failed)?;
    let Some((its_operation, its_user, its_app, its_base, requested, its_ids)) = found else {
        connection
            .execute(
                "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)",
                params![place.part, operation, user_id, app_id, base_url, targets.len() as i64, ids],
            )
            .map_err(failed)?;
        return Ok(());
    };
    let why = if its_operation != operation {
        format!("was made for {its_operation}, and this is {operation}")
    } else if (its_user.as_str(), its_app.as_str()) != (user_id, app_id) {
        format!("was made for the app {its_user}/{its_app}, and this call is for {user_id}/{app_id}")
    } else if its_base != base_url {
        format!("was made for {its_base}, and this call is for {base_url}")
    } else if its_ids != ids {
        format!(
            "was made for {requested} other IDs, or for the same in another order; this call names {}",
            targets.len()
        )
    } else {
        return Ok(());
    };
    Err(refuse_call(&place.path, format!("{why}: give another path, or make the call that it was made for")))
}

/// A hash of all that a call names, in its order.
fn fingerprint(targets: &Targets) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for target in (0..targets.len()).map(|index| targets.get(index)) {
        // The lengths tell where one ID ends and the next begins.
        for id in [Some(target.input_id), target.annotation_id].into_iter().flatten() {
            hash.update(&(id.len() as u64).to_le_bytes());
            hash.update(id.as_bytes());
        }
    }
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The outcomes that were written down.
fn past(connection: &Connection, part: u32, targets: &Targets) -> rusqlite::Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Unsent; targets.len()];
    let mut statement =
        connection.prepare("SELECT position, outcome FROM ids WHERE part = ? ORDER BY position")?;
    let mut rows = statement.query([part])?;
    let mut places = (0..targets.len()).peekable();
    while let Some(row) = rows.next()? {
        let (position, name): (usize, String) = (row.get::<_, i64>(0)? as usize, row.get(1)?);
        while places.next_if(|&place| targets.get(place).position < position).is_some() {}
        let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name);
        if let (Some(&place), Some(outcome)) = (places.peek(), outcome) {
            outcomes[place] = outcome;
        }
    }
    Ok(outcomes)
}

struct Writer {
    place: Place,
    connection: Connection,
    targets: Arc<Targets>,
}

impl Writer {
    /// Writes what comes, all that has gathered in one transaction.
    fn write(self, letters: &mpsc::Receiver<Letter>) {
        const MOST_AT_ONCE: usize = 1024;
        let (mut failed, mut told) = (None::<Error>, None);
        while told.is_none()
            && let Ok(first) = letters.recv()
        {
            let mut gathered = vec![first];
            gathered.extend(letters.try_iter().take(MOST_AT_ONCE));
            if failed.is_none() {
                failed = self.transact(&gathered).err().map(|error| {
                    let why = format!("{}. What it does not have was not sent", explain(&error));
                    refuse(&self.place.path, why)
                });
            }
            for letter in gathered {
                match letter {
                    Letter::Record { .. } => {}
                    // Who does not wait any more has given up.
                    Letter::Flush(written) => drop(written.send(failed.clone().map_or(Ok(()), Err))),
                    Letter::End(ended) => told = Some(ended),
                }
            }
        }
        drop(self.connection);
        if let Some(told) = told {
            let _ = told.send(());
        }
    }

    fn transact(&self, letters: &[Letter]) -> rusqlite::Result<()> {
        const UPSERT: &str = "INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            outcome = excluded.outcome, code = excluded.code, message = excluded.message";
        const UPDATE: &str = "UPDATE ids SET outcome = ?, code = ?, message = ?
            WHERE part = ? AND position BETWEEN ? AND ?";
        let transaction = self.connection.unchecked_transaction()?;
        {
            let (mut upsert, mut update) =
                (self.connection.prepare(UPSERT)?, self.connection.prepare(UPDATE)?);
            for letter in letters {
                if let Letter::Record { ids, outcome, error } = letter {
                    for run in ids.chunk_by(|id, next| *next == id + 1) {
                        self.record(&mut upsert, &mut update, run, *outcome, error.as_deref())?;
                    }
                }
            }
        }
        transaction.commit()
    }

    /// Takes down one outcome of IDs that follow each other.
    fn record(
        &self,
        upsert: &mut Statement<'_>,
        update: &mut Statement<'_>,
        ids: &[u32],
        outcome: Outcome,
        error: Option<&Error>,
    ) -> rusqlite::Result<()> {
        let Place { part, .. } = self.place;
        let name = outcome.name();
        let code =
            error.and_then(|error| if let Error::Api(status) = error { Some(status.code) } else { None });
        let message = error.map(ToString::to_string);
        let target = |id: u32| self.targets.get(id as usize);
        // Most have a row already, from when they were sent.
        if let (&[first, ..], &[.., last]) = (ids, ids)
            && outcome != Outcome::Unknown
        {
            let (first, last) = (target(first).position as i64, target(last).position as i64);
            let changed = update.execute(params![name, code, message, part, first, last])?;
            if changed == ids.len() {
                return Ok(());
            }
        }
        for &id in ids {
            let it = target(id);
            upsert.execute(params![
                part,
                it.position as i64,
                it.input_id,
                it.annotation_id,
                name,
                code,
                message
            ])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn what_was_recorded_is_read_again_at_the_places_of_a_call_with_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { path: folder.path().join("journal"), part: 0 };
        let targets = targets(&[("p", "a"), ("p", "a"), ("p", "b"), ("q", "a")]);
        let (journal, past) = Journal::open(&place, &HEADING, &targets).unwrap();
        assert_eq!(past, [Outcome::Unsent; 3]);
        journal.record(&[0, 1], Outcome::Unknown, None);
        journal.record(&[0], Outcome::Deleted, None);
        journal.record(&[2], Outcome::Absent, Some(&Arc::new(Error::Closed)));
        journal.flush().await.unwrap();
        journal.end().await;
        let (_, past) = Journal::open(&place, &HEADING, &targets).unwrap();
        assert_eq!(past, [Outcome::Deleted, Outcome::Unknown, Outcome::Absent]);
    }
}
