//! The file by which processes of one machine share a window: locked, read, changed and written back for each request.
//! It holds no credential and no ID, and is named by a hash of whose quota it is.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use super::{codec, window::SlidingWindow};
use crate::{files, machine};

/// Lock attempts before somebody else's turn is waited for. A holder needs some microseconds.
const ATTEMPTS: u32 = 50;

/// More bytes than a window of the highest rate that is shared takes.
const MAX_BYTES: usize = 1 << 18;

/// How often it is checked that the path still means this file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A file that no process changed for so long is left over: of an earlier start of the machine, or of a test.
const LEFT_OVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A shared window's file.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    path: PathBuf,
    checked_at: Duration,
    buffer: Vec<u8>,
}

/// Why the file was not used.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Another process holds its lock.
    #[error("another process holds its lock")]
    Busy,
    /// It cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SharedFile {
    /// Opens the file of this user's quota at this service, in a folder that is made where it does not exist. Blocks.
    ///
    /// # Errors
    /// The folder belongs to somebody else, is open to others, or is on a network file system; or the file cannot be made.
    pub fn open(folder: &Path, service: &str, user_id: &str) -> io::Result<Self> {
        machine::make_private_folder(folder)?;
        // Times of another clock are in another file.
        let named = format!("{service}\n{user_id}\n{}", machine::clock_origin());
        let digest = ring::digest::digest(&ring::digest::SHA256, named.as_bytes());
        let name = digest.as_ref()[..16].iter().fold(String::from("rate-limit-"), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        });
        let path = folder.join(name);
        let is_new = !path.exists();
        let file =
            files::open_plain(&path, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        if files::is_on_network(&file)? {
            return Err(io::Error::other("it is on a network file system"));
        }
        if is_new {
            remove_left_over(folder);
        }
        Ok(Self { file, path, checked_at: Duration::ZERO, buffer: Vec::new() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets `change` work on the window that all processes share, while none of the others does.
    ///
    /// # Errors
    /// [`Unavailable`]: then nothing was changed.
    pub fn update<T>(
        &mut self,
        window: &mut SlidingWindow,
        now: Duration,
        change: impl FnOnce(&mut SlidingWindow) -> T,
    ) -> Result<T, Unavailable> {
        if now.saturating_sub(self.checked_at) > CHECK_INTERVAL {
            if !files::is_same(&self.file, &self.path)? {
                return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed").into());
            }
            self.checked_at = now;
        }
        self.lock()?;
        let changed = self.read().and_then(|read| {
            // A damaged one, or of another clock, is begun anew.
            if let Some(read) = read.filter(|read| !read.is_ahead_of(now)) {
                *window = read;
            }
            let changed = change(window);
            write_at_start(&self.file, &codec::encode(window))?;
            Ok(changed)
        });
        let unlocked = self.file.unlock();
        let changed = changed?;
        unlocked?;
        Ok(changed)
    }

    fn lock(&self) -> Result<(), Unavailable> {
        for _ in 0..ATTEMPTS {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => thread::yield_now(),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Err(Unavailable::Busy)
    }

    fn read(&mut self) -> io::Result<Option<SlidingWindow>> {
        let mut size = self.buffer.len().max(4096);
        loop {
            self.buffer.resize(size, 0);
            let read = read_at_start(&self.file, &mut self.buffer)?;
            if read < size || size >= MAX_BYTES {
                return Ok(codec::decode(&self.buffer[..read]));
            }
            size *= 4;
        }
    }
}

#[cfg(unix)]
fn read_at_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, 0)
}

#[cfg(windows)]
fn read_at_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, 0)
}

#[cfg(unix)]
fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}

#[cfg(windows)]
fn write_at_start(file: &File, bytes: &[u8]) -> io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, 0).map(|_| ())
}

/// Removes files of earlier starts of the machine. What cannot be removed stays.
fn remove_left_over(folder: &Path) {
    let is_left_over = |entry: &fs::DirEntry| {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        entry.file_name().as_encoded_bytes().starts_with(b"rate-limit-")
            && age.is_some_and(|age| age > LEFT_OVER)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(is_left_over) {
        let _ = fs::remove_file(entry.path());
    }
}
