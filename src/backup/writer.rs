//! Writes a backup, on a thread of its own. What several batches have to save is synced together.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

use super::{
    Present,
    fold::fold,
    logs::{self, Header},
    open_present, refuse,
};
use crate::{
    LOGGER,
    error::Error,
    files::{self, FileLock, LockError, LogWriter},
    wire::Listed,
};

/// Bytes of annotations that are synced together, more or less.
const MAX_SYNC: usize = 16 << 20;

/// A backup that is being written. When it is dropped, what was saved is folded into the Parquet file, and the file is let go.
pub struct Backup {
    commands: mpsc::Sender<Command>,
    is_abandoned: Arc<AtomicBool>,
}

enum Command {
    Save {
        annotations: Vec<Listed>,
        saved: oneshot::Sender<Result<(), Error>>,
    },
    /// Ends the thread once what came before is saved and folded.
    End(oneshot::Sender<()>),
}

/// Where a backup goes, and whose annotations are in it.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// The Parquet file.
    pub path: PathBuf,
    /// Owner of the app.
    pub user_id: String,
    /// The app.
    pub app_id: String,
    /// The journal of the same call, if it keeps one.
    pub journal: Option<PathBuf>,
    /// Whether the logs are left for [`fold_backup`], because more calls follow.
    pub is_folded_later: bool,
}

impl Backup {
    /// Opens a backup. An existing one is added to. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when the file cannot be written, is no backup, or is being written by another call.
    pub fn open(options: &BackupOptions) -> Result<Self, Error> {
        let writer = Writer::open(options)?;
        let (commands, received) = mpsc::channel();
        let is_abandoned = Arc::<AtomicBool>::default();
        let abandoned = Arc::clone(&is_abandoned);
        thread::Builder::new()
            .name("clarifai-backup".into())
            .spawn(move || writer.run(&received, &abandoned))
            .map_err(|error| refuse(&options.path, error))?;
        Ok(Self { commands, is_abandoned })
    }

    /// Saves annotations. They are on the disk when this succeeds.
    ///
    /// # Errors
    /// [`Error::Backup`]; then some of them may be saved, or none.
    pub async fn save(&self, annotations: Vec<Listed>) -> Result<(), Error> {
        if annotations.is_empty() {
            return Ok(());
        }
        let (saved, answer) = oneshot::channel();
        let ended = || Error::Backup { message: "the backup ended early".into() };
        self.commands.send(Command::Save { annotations, saved }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the backup: its Parquet file is complete when this is done.
    pub async fn end(&self) {
        let (ended, answer) = oneshot::channel();
        if self.commands.send(Command::End(ended)).is_ok() {
            let _ = answer.await;
        }
    }

    /// Ends a fold early. What was saved stays in the logs, which every reader of the backup and the next call on it find.
    pub fn abandon_fold(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }
}

/// Folds what calls left in the logs of a backup into its Parquet file. Does nothing where there are none. Blocks; gives up
/// once `is_abandoned` is set.
///
/// # Errors
/// [`Error::Backup`] when the file cannot be written, or is being written by a call. What was saved stays in the logs.
pub fn fold_backup(path: &Path, is_abandoned: &AtomicBool) -> Result<(), Error> {
    let is_folded = |target: PathBuf| files::logs_of(&target).map(|logs| logs.is_empty());
    // Without logs there is nothing that a lock would protect.
    if files::target(path).and_then(is_folded).unwrap_or(false) {
        return Ok(());
    }
    let (target, lock) = acquire(path)?;
    fold(&target, &lock, is_abandoned).map_err(|why| not_folded(&target, &*why))
}

fn not_folded(path: &Path, why: &dyn std::fmt::Display) -> Error {
    let logs = files::beside(path, ".*.log");
    refuse(
        path,
        format!(
            "cannot be completed: {why}. What was saved is in {}: restore_annotations and open_backup read it there, and the \
             next call with this backup completes it",
            logs.display()
        ),
    )
}

/// The file that a path means, and its lock.
fn acquire(path: &Path) -> Result<(PathBuf, FileLock), Error> {
    let refuse = |why: String| refuse(path, format!("{why}. Nothing was deleted"));
    let target = files::target(path).map_err(|error| refuse(format!("cannot be written: {error}")))?;
    let lock = FileLock::try_acquire(&files::beside(&target, ".lock")).map_err(|error| match error {
        LockError::Busy => {
            refuse("is being written by another call: give each call a file of its own".into())
        }
        LockError::Io(error) => refuse(format!("cannot be written: {error}")),
    })?;
    Ok((target, lock))
}

/// What the thread has.
struct Writer {
    path: PathBuf,
    is_folded_later: bool,
    lock: FileLock,
    log: Option<LogWriter>,
    /// It could not be written; nor will it be.
    failed: Option<Error>,
}

impl Writer {
    fn open(options: &BackupOptions) -> Result<Self, Error> {
        let (path, lock) = acquire(&options.path)?;
        let refuse = |why: String| refuse(&path, format!("{why}. Nothing was deleted"));
        let unwritable = |error: io::Error| refuse(format!("cannot be written: {error}"));
        if let Present::Other(why) = open_present(&path).map_err(unwritable)? {
            return Err(refuse(why.into()));
        }
        let journal = options.journal.as_deref().map(|path| std::path::absolute(path).unwrap_or(path.into()));
        let header = Header {
            user_id: options.user_id.clone(),
            app_id: options.app_id.clone(),
            journal: journal.and_then(|path| Some(path.to_str()?.to_owned())).unwrap_or_default(),
            id: fastrand::u64(1..),
        };
        // A disk that takes nothing is found out before anything is sent.
        let log = logs::create(&path, &header).map_err(unwritable)?;
        Ok(Self { log: Some(log), path, is_folded_later: options.is_folded_later, lock, failed: None })
    }

    /// Saves what comes until the backup ends. What came while the disk was busy is synced together.
    fn run(mut self, commands: &mpsc::Receiver<Command>, is_abandoned: &AtomicBool) {
        let mut ended = None;
        while ended.is_none()
            && let Ok(first) = commands.recv()
        {
            let (mut waiting, mut next, mut size) = (Vec::new(), Some(first), 0);
            while let Some(command) = next.take() {
                match command {
                    Command::Save { annotations, saved } => {
                        size += annotations.iter().map(|it| it.message.len()).sum::<usize>();
                        self.append(&annotations);
                        waiting.push(saved);
                    }
                    Command::End(told) => ended = Some(told),
                }
                if ended.is_none() && size < MAX_SYNC {
                    next = commands.try_recv().ok();
                }
            }
            if !waiting.is_empty() {
                let result = self.commit();
                for saved in waiting {
                    // Whoever does not wait any more will not delete either.
                    let _ = saved.send(result.clone());
                }
            }
        }
        // Closed before it is read.
        self.log = None;
        if !self.is_folded_later
            && let Err(why) = fold(&self.path, &self.lock, is_abandoned)
        {
            log::warn!(target: LOGGER, "{}", not_folded(&self.path, &*why));
        }
        drop(self.lock);
        if let Some(told) = ended {
            let _ = told.send(());
        }
    }

    fn append(&mut self, annotations: &[Listed]) {
        if let (None, Some(log)) = (&self.failed, &mut self.log)
            && let Err(error) = annotations.iter().try_for_each(|it| log.append(&it.message))
        {
            self.fail(&error);
        }
    }

    fn commit(&mut self) -> Result<(), Error> {
        if let (None, Some(log)) = (&self.failed, &mut self.log) {
            let held = self.lock.renew().map_err(|error| io::Error::other(error.to_string()));
            if let Err(error) = held.and_then(|()| log.commit()) {
                self.fail(&error);
            }
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, why: &io::Error) {
        let why = format!("cannot be written: {why}. What is not in it was not deleted");
        self.failed = Some(refuse(&self.path, why));
    }
}
