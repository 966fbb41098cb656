//! Exclusion between calls and processes, by a lock file beside the file that it protects.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{is_same, open_plain, remove_own};
use crate::process::{PerProcess, generation};

/// The lock files that this process holds. The system's locks exclude other processes only.
static HELD: PerProcess<Mutex<HashSet<PathBuf>>> = PerProcess::new();

/// A lock that one call of one process holds. Dropping it removes the lock file.
///
/// It is a POSIX record lock: a process that is forked does not inherit it. Such a lock is lost when any code of the
/// process opens and closes the same file. So the lock file holds no data that anybody would open, and whoever holds the
/// lock makes sure of it by [`renew`](Self::renew) before each write that depends on it.
pub struct FileLock {
    file: File,
    path: PathBuf,
    generation: u32,
}

/// Why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another call or process holds it.
    #[error("is in use by another call")]
    Busy,
    /// The lock file cannot be made or locked.
    #[error("cannot be locked: {0}")]
    Io(#[from] io::Error),
}

impl FileLock {
    /// Acquires the lock of this lock file, which is made. Does not wait for a holder. Blocks on the file system only.
    ///
    /// # Errors
    /// [`LockError::Busy`] when it is held; [`LockError::Io`] when there can be no such lock.
    pub fn try_acquire(path: &Path) -> Result<Self, LockError> {
        if !held().insert(path.into()) {
            return Err(LockError::Busy);
        }
        let acquired = lock(path);
        if acquired.is_err() {
            held().remove(path);
        }
        Ok(Self { file: acquired?, path: path.into(), generation: generation() })
    }

    /// Whether somebody holds the lock of this lock file, this process or another. Takes no lock. Blocks on the file system
    /// only.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        // Kept for as long as the file is open: to close it would drop a lock of this process.
        let held = held();
        if held.contains(path) {
            return Ok(true);
        }
        match open_plain(path, OpenOptions::new().read(true).write(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => is_locked(&other?),
        }
    }

    /// Makes sure that the lock is still held.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another process has taken it; [`LockError::Io`] when the lock file is gone.
    pub fn renew(&self) -> Result<(), LockError> {
        try_lock(&self.file)?;
        if is_same(&self.file, &self.path)? {
            return Ok(());
        }
        let gone = format!("the lock file {} was removed", self.path.display());
        Err(LockError::Io(io::Error::new(io::ErrorKind::NotFound, gone)))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // In a forked child the lock is the parent's.
        if self.generation == generation() {
            // Removed while it is locked: who opened it meanwhile finds that the name means another file.
            remove_own(&self.file, &self.path);
            held().remove(&self.path);
        }
    }
}

fn held() -> MutexGuard<'static, HashSet<PathBuf>> {
    HELD.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(path: &Path) -> Result<File, LockError> {
    loop {
        let file = open_plain(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        try_lock(&file)?;
        // Its last holder may have removed it after we opened it.
        if is_same(&file, path)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn try_lock(file: &File) -> Result<(), LockError> {
    use rustix::{
        fs::{FlockOperation, fcntl_lock},
        io::Errno,
    };
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(LockError::Busy),
        Err(error) => Err(LockError::Io(error.into())),
    }
}

#[cfg(not(unix))]
fn try_lock(file: &File) -> Result<(), LockError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Busy),
        Err(std::fs::TryLockError::Error(error)) => Err(LockError::Io(error)),
    }
}

/// Whether another process has locked a file.
#[cfg(unix)]
fn is_locked(file: &File) -> io::Result<bool> {
    use rustix::process::{Flock, FlockType, fcntl_getlk};
    Ok(fcntl_getlk(file, &Flock::from(FlockType::WriteLock))?.is_some())
}

#[cfg(not(unix))]
fn is_locked(file: &File) -> io::Result<bool> {
    match try_lock(file) {
        Ok(()) => file.unlock().map(|()| false),
        Err(LockError::Busy) => Ok(true),
        Err(LockError::Io(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.lock");
        let first = FileLock::try_acquire(&path).unwrap();
        assert!(matches!(FileLock::try_acquire(&path), Err(LockError::Busy)));
        first.renew().unwrap();
        assert!(FileLock::is_held(&path).unwrap());
        drop(first);
        assert!(!path.exists());
        assert!(!FileLock::is_held(&path).unwrap());
        FileLock::try_acquire(&path).unwrap();
    }

    #[test]
    fn a_lock_file_that_somebody_removed_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.lock");
        let lock = FileLock::try_acquire(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(lock.renew(), Err(LockError::Io(_))));
    }
}
