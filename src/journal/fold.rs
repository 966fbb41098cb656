//! Logs that are over become part of their journal: a new SQLite file takes the place of the old one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use super::{
    database::{Database, Restoration, Run, inspect},
    fault::Fault,
    record::{self, Content, Entry, Event, Found, Outcomes, Reason},
};
use crate::files::{self, FileLock, LockError, beside, log_path, open_existing, remove_own};

/// How long a fold waits for others of the same journal.
const FOLD_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that are copied between two looks at whether anybody still waits.
const BLOCK: u64 = 16 << 20;

/// The lock file of a part.
pub fn lock_path(journal: &Path, part: u32) -> PathBuf {
    beside(journal, &format!(".{part}.lock"))
}

/// A log that nobody writes any more. Whoever has it holds the lock of its part.
pub struct Leftover {
    part: u32,
    path: PathBuf,
    file: File,
    content: Box<Content>,
}

impl Leftover {
    /// The log of a part, if there is one. One that says nothing is removed.
    ///
    /// # Errors
    /// [`Fault::Foreign`] when the file is something else.
    pub fn open(journal: &Path, part: u32) -> Result<Option<Self>, Fault> {
        let path = log_path(journal, part);
        let Some(file) = open_existing(&path, OpenOptions::new().read(true))? else { return Ok(None) };
        match record::read(&file)? {
            Found::Log(content) => Ok(Some(Self { part, path, file, content })),
            Found::Nothing => {
                remove_own(&file, &path);
                Ok(None)
            }
            Found::Foreign => Err(foreign(&path)),
        }
    }
}

fn foreign(path: &Path) -> Fault {
    Fault::Foreign { name: path.file_name().unwrap_or_default().to_string_lossy().into() }
}

/// Acquires a lock, with growing pauses between its tries.
///
/// # Errors
/// [`LockError::Busy`] when it is held for so long, or `abandoned` is set.
pub fn acquire_within(limit: Duration, path: &Path, abandoned: &AtomicBool) -> Result<FileLock, LockError> {
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match FileLock::try_acquire(path) {
            Err(LockError::Busy) if begin.elapsed() < limit && !abandoned.load(Ordering::Relaxed) => {
                thread::sleep(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            other => return other,
        }
    }
}

/// Makes logs part of their journal and removes them; notes a restoration, if there is one. When this fails, or the process
/// is killed, the journal is as it was and the logs are there.
///
/// # Errors
/// [`Fault`] when the journal cannot be replaced; [`Fault::Abandoned`] once `abandoned` is set.
pub fn fold(
    journal: &Path,
    logs: &[Leftover],
    restoration: Option<&Restoration>,
    abandoned: &AtomicBool,
) -> Result<(), Fault> {
    let lock =
        acquire_within(FOLD_TIMEOUT, &beside(journal, ".lock"), abandoned).map_err(
            |error| match abandoned.load(Ordering::Relaxed) {
                true => Fault::Abandoned,
                false => Fault::of_lock(error, || "it brings the journal up to date".into()),
            },
        )?;
    let old = inspect(journal)?;
    files::rewrite(journal, is_partial, |new, partial| -> Result<(), Fault> {
        fill(new, partial, old.as_ref(), logs, restoration, abandoned)?;
        Ok(lock.renew()?)
    })?;
    for log in logs {
        remove_own(&log.file, &log.path);
    }
    Ok(())
}

impl From<LockError> for Fault {
    fn from(error: LockError) -> Self {
        Self::of_lock(error, || "it brings the journal up to date".into())
    }
}

/// Whether a file that begins so may be what a killed fold left. SQLite may write the first page last.
fn is_partial(head: &[u8]) -> bool {
    head.starts_with(b"SQLite format 3\0") || head.iter().all(|&byte| byte == 0)
}

fn fill(
    new: &File,
    partial: &Path,
    old: Option<&File>,
    logs: &[Leftover],
    restoration: Option<&Restoration>,
    abandoned: &AtomicBool,
) -> Result<(), Fault> {
    if let Some(old) = old {
        copy(old, new, abandoned)?;
    }
    let database = Database::fill(partial, old.is_none())?;
    for log in logs {
        log.add_to(&database, abandoned)?;
    }
    if let Some(restoration) = restoration {
        database.add_restoration(restoration)?;
    }
    database.commit()
}

fn copy(mut old: &File, mut new: &File, abandoned: &AtomicBool) -> Result<(), Fault> {
    use std::io::Seek as _;
    old.rewind()?;
    while io::copy(&mut old.take(BLOCK), &mut new)? > 0 {
        check(abandoned)?;
    }
    Ok(())
}

fn check(abandoned: &AtomicBool) -> Result<(), Fault> {
    if abandoned.load(Ordering::Relaxed) { Err(Fault::Abandoned) } else { Ok(()) }
}

impl Leftover {
    fn add_to(&self, database: &Database, abandoned: &AtomicBool) -> Result<(), Fault> {
        let (part, Content { call, outcomes }) = (&self.part, &*self.content);
        self.replace_runs(database)?;
        record::each(&self.file, |event| {
            check(abandoned)?;
            match event {
                Event::Settled(entry) if entry.has_names() => add_entry(database, *part, &entry, outcomes),
                _ => Ok(()),
            }
        })?;
        database.set_call(*part, call)
    }

    /// Takes out of the journal what the log says anew.
    fn replace_runs(&self, database: &Database) -> Result<(), Fault> {
        let (part, outcomes) = (&self.part, &self.content.outcomes);
        let is_new = |position: u32| outcomes.get(position).is_some();
        let mut replaced = Vec::new();
        database.each_run(*part, |run| {
            if (run.first..run.first.saturating_add(run.length)).any(is_new) {
                replaced.push(run);
            }
        })?;
        for run in replaced {
            let (reason, ids) = database.take(*part, run.first)?;
            let damaged = |error: serde_json::Error| Fault::Io(error.into());
            let ids: Vec<&RawValue> = serde_json::from_str(&ids).map_err(damaged)?;
            let kept: Vec<_> = (run.first..).zip(ids).filter(|(position, _)| !is_new(*position)).collect();
            for kept in kept.chunk_by(|(position, _), (next, _)| *next == position + 1) {
                let texts: Vec<_> = kept.iter().map(|(_, ids)| ids.get()).collect();
                let run = Run { first: kept[0].0, length: kept.len() as u32, ..run };
                database.insert(*part, run, Some(&reason), &format!("[{}]", texts.join(",")))?;
            }
        }
        Ok(())
    }
}

/// Adds what an entry names, a row for IDs that follow each other and came to the same end.
fn add_entry(database: &Database, part: u32, entry: &Entry, outcomes: &Outcomes) -> Result<(), Fault> {
    let named: Vec<_> = entry.named().collect();
    let mut ids = String::new();
    for run in named
        .chunk_by(|(position, ..), (next, ..)| *next == position + 1 && outcomes.are_alike(*position, *next))
    {
        let first = run[0].0;
        let Some(outcome) = outcomes.get(first) else { continue };
        ids.clear();
        for (_, input_id, annotation_id) in run {
            ids.push_str(if ids.is_empty() { "[[" } else { ",[" });
            push_json(&mut ids, input_id);
            if let Some(annotation_id) = annotation_id {
                ids.push(',');
                push_json(&mut ids, annotation_id);
            }
            ids.push(']');
        }
        ids.push(']');
        let reason: Option<&Reason> = outcomes.reason(first);
        database.insert(part, Run { first, length: run.len() as u32, outcome }, reason, &ids)?;
    }
    Ok(())
}

fn push_json(text: &mut String, id: &str) {
    if id.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.extend(["\"", id, "\""]);
    } else {
        // A string always has a JSON form.
        text.push_str(&serde_json::to_string(id).unwrap_or_default());
    }
}
