//! The SQLite file of a journal: its tables, and how it is read. It is never changed in place.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    path::Path,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};

use super::{
    fault::Fault,
    record::{CallRow, Reason},
};
use crate::{
    files::{beside, open_existing},
    report::Outcome,
};

/// What tells a journal of ours from other SQLite files ("CLAA"), and the form of its tables.
const APPLICATION: i32 = 0x434c_4141;
const FORM: i32 = 2;

/// A row of `runs` has a batch, or what is left of one: IDs that follow each other in the caller's columns and have the
/// same outcome. `run` is the part in its upper half, and the first position in the lower. `ids` comes last, so that
/// SQLite need not read it to tell the outcomes.
const TABLES: &str = "
    CREATE TABLE calls (
        part INTEGER PRIMARY KEY,
        operation TEXT NOT NULL,
        user_id TEXT NOT NULL,
        app_id TEXT NOT NULL,
        base_url TEXT NOT NULL,
        requested INTEGER NOT NULL,
        ids_sha256 TEXT NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        restorations_before INTEGER NOT NULL,
        run_requested INTEGER
    );
    CREATE TABLE runs (
        run INTEGER PRIMARY KEY,
        part INTEGER NOT NULL,
        first_position INTEGER NOT NULL,
        length INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        code INTEGER,
        message TEXT,
        ids TEXT NOT NULL
    );
    CREATE TABLE restorations (
        restored_at TEXT NOT NULL,
        backup TEXT NOT NULL,
        annotations INTEGER NOT NULL
    );
    CREATE VIEW outcomes AS SELECT
        runs.part AS part,
        runs.first_position + json_each.key AS position,
        json_extract(json_each.value, '$[0]') AS input_id,
        json_extract(json_each.value, '$[1]') AS annotation_id,
        runs.outcome AS outcome,
        runs.code AS code,
        runs.message AS message
    FROM runs, json_each(runs.ids);";

/// IDs that follow each other and have the same outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its first position.
    pub first: u32,
    /// How many IDs it has.
    pub length: u32,
    /// Their outcome.
    pub outcome: Outcome,
}

/// What was restored last.
pub struct Restoration {
    /// When, in ISO 8601.
    pub restored_at: String,
    /// From which backup.
    pub backup: String,
    /// How many annotations.
    pub annotations: u64,
}

/// Looks at a file without SQLite, which might change what it opens. `None` where there is nothing yet.
pub fn inspect(path: &Path) -> Result<Option<File>, Fault> {
    // SQLite's file format: what it begins with, and where the two numbers stand in its first 100 bytes.
    const MAGIC: &[u8] = b"SQLite format 3\0";
    const USER_VERSION: usize = 60;
    const APPLICATION_ID: usize = 68;
    let Some(file) = open_existing(path, OpenOptions::new().read(true))? else { return Ok(None) };
    let mut head = Vec::new();
    (&file).take(100).read_to_end(&mut head)?;
    let number = |start: usize| head.get(start..start + 4)?.try_into().ok().map(i32::from_be_bytes);
    match (head.starts_with(MAGIC), number(APPLICATION_ID), number(USER_VERSION)) {
        _ if head.is_empty() => {}
        (true, Some(APPLICATION), Some(FORM)) => {}
        (true, Some(APPLICATION), Some(found)) => return Err(Fault::OtherForm { found, expected: FORM }),
        _ => return Err(Fault::NoJournal),
    }
    // We never leave one: with it, the file alone says something else than SQLite would.
    for suffix in ["-journal", "-wal"] {
        let other = beside(path, suffix);
        if other.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let name = other.file_name().unwrap_or_default().to_string_lossy().into();
            return Err(Fault::WrittenByOthers { name });
        }
    }
    Ok(if head.is_empty() { None } else { Some(file) })
}

/// A journal that is there, opened without locks and without another file beside it.
pub fn open(path: &Path) -> Result<Option<Database>, Fault> {
    if inspect(path)?.is_none() {
        return Ok(None);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Some(Database { connection: Connection::open_with_flags(immutable_uri(path), flags)? }))
}

/// SQLite's URI of a file that nobody changes while it is open.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from(if cfg!(windows) { "file:///" } else { "file:" });
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b':' if cfg!(windows) => uri.push(':'),
            b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// A journal's SQLite file, open.
pub struct Database {
    connection: Connection,
}

impl Database {
    /// Opens a file that nobody else knows yet, to fill it. Its tables are made where it is empty.
    pub fn fill(path: &Path, is_new: bool) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        // It counts only when it is complete, synced and renamed.
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8192;",
        )?;
        if is_new {
            let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORM};");
            connection.execute_batch(&marks)?;
            connection.execute_batch(TABLES)?;
        }
        connection.execute_batch("BEGIN")?;
        Ok(Self { connection })
    }

    /// Ends the filling.
    pub fn commit(self) -> Result<(), Fault> {
        self.connection.execute_batch("COMMIT")?;
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// The call of a part.
    pub fn call(&self, part: u32) -> Result<Option<CallRow>, Fault> {
        let mut statement = self.connection.prepare("SELECT * FROM calls WHERE part = ?")?;
        Ok(statement.query_row([part], call_of).optional()?)
    }

    /// The calls of all parts.
    pub fn calls(&self) -> Result<Vec<(u32, CallRow)>, Fault> {
        let mut statement = self.connection.prepare("SELECT * FROM calls ORDER BY part")?;
        let rows = statement.query_map([], |row| Ok((row.get("part")?, call_of(row)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Writes the call of a part, over the one that it had.
    pub fn set_call(&self, part: u32, call: &CallRow) -> Result<(), Fault> {
        let CallRow { operation, user_id, app_id, base_url, ids_sha256, started_at, finished_at, .. } = call;
        let (requested, restorations_before) = (call.requested as i64, call.restorations_before as i64);
        self.connection
            .prepare("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                part,
                operation,
                user_id,
                app_id,
                base_url,
                requested,
                ids_sha256,
                started_at,
                finished_at,
                restorations_before,
                call.run_requested.map(|count| count as i64)
            ])?;
        Ok(())
    }

    /// Visits the runs of a part, in the order of their positions.
    pub fn each_run(&self, part: u32, mut visit: impl FnMut(Run)) -> Result<(), Fault> {
        let mut statement = self.connection.prepare(
            "SELECT first_position, length, outcome FROM runs WHERE run BETWEEN ? AND ? ORDER BY run",
        )?;
        let mut rows = statement.query([key(part, 0), key(part, u32::MAX)])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(2)?;
            let outcome = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name);
            let outcome = outcome.unwrap_or(Outcome::Unknown);
            visit(Run { first: row.get(0)?, length: row.get(1)?, outcome });
        }
        Ok(())
    }

    /// Adds a run. `ids` is a JSON array, an array of one or two IDs for each position.
    pub fn insert(&self, part: u32, run: Run, reason: Option<&Reason>, ids: &str) -> Result<(), Fault> {
        let Run { first, length, outcome } = run;
        let (code, message) = reason.map_or((None, None), |it| (it.code, it.message.as_deref()));
        self.connection.prepare("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            key(part, first),
            part,
            first,
            length,
            outcome.name(),
            code,
            message,
            ids
        ])?;
        Ok(())
    }

    /// Takes a run out. Gives its reason and its IDs.
    pub fn take(&self, part: u32, first: u32) -> Result<(Reason, String), Fault> {
        let taken = self
            .connection
            .prepare("SELECT code, message, ids FROM runs WHERE run = ?")?
            .query_row([key(part, first)], |row| {
                Ok((Reason { code: row.get(0)?, message: row.get(1)? }, row.get(2)?))
            })?;
        self.connection.prepare("DELETE FROM runs WHERE run = ?")?.execute([key(part, first)])?;
        Ok(taken)
    }

    /// How many restorations were noted.
    pub fn restorations(&self) -> Result<u64, Fault> {
        let count: i64 =
            self.connection.query_row("SELECT count(*) FROM restorations", [], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// The latest restoration.
    pub fn last_restoration(&self) -> Result<Option<Restoration>, Fault> {
        let last = self.connection.query_row(
            "SELECT restored_at, backup, annotations FROM restorations ORDER BY rowid DESC LIMIT 1",
            [],
            |row| {
                let annotations: i64 = row.get(2)?;
                Ok(Restoration {
                    restored_at: row.get(0)?,
                    backup: row.get(1)?,
                    annotations: annotations as u64,
                })
            },
        );
        Ok(last.optional()?)
    }

    /// Notes a restoration.
    pub fn add_restoration(&self, restoration: &Restoration) -> Result<(), Fault> {
        let Restoration { restored_at, backup, annotations } = restoration;
        self.connection.execute(
            "INSERT INTO restorations VALUES (?, ?, ?)",
            params![restored_at, backup, *annotations as i64],
        )?;
        Ok(())
    }
}

fn key(part: u32, position: u32) -> i64 {
    (i64::from(part) << 32) | i64::from(position)
}

fn call_of(row: &Row<'_>) -> rusqlite::Result<CallRow> {
    let number = |column: &str| row.get::<_, i64>(column).map(|number| number as u64);
    Ok(CallRow {
        operation: row.get("operation")?,
        user_id: row.get("user_id")?,
        app_id: row.get("app_id")?,
        base_url: row.get("base_url")?,
        requested: number("requested")?,
        ids_sha256: row.get("ids_sha256")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
        restorations_before: number("restorations_before")?,
        run_requested: row.get::<_, Option<i64>>("run_requested")?.map(|count| count as u64),
    })
}
