//! Files that must not be lost: opened, locked, replaced and removed so that nothing of anybody else's is touched.
//!
//! A path is made absolute and its links are followed once, by [`target`]. From then on every step names that path, and
//! checks that it still means the same file.

mod lock;
mod log;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub use lock::{FileLock, LockError};
pub use log::{LogReader, LogWriter};

/// The file that a path means: absolute, with all links followed. It need not exist. Blocks.
///
/// # Errors
/// The path is empty, its folder does not exist, or links form a circle.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    /// As many links as Linux follows.
    const MAX_LINKS: usize = 40;
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        };
        let folder = fs::canonicalize(folder)?;
        let resolved = folder.join(name);
        match fs::read_link(&resolved) {
            // Relative links begin at the folder of the link.
            Ok(link) => path = folder.join(link),
            Err(_) => return Ok(resolved),
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "its symbolic links form a circle"))
}

/// A path beside another: `name` with a suffix.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().into();
    name.push(suffix);
    path.with_file_name(name)
}

/// Opens a plain file. Anything else is refused at once: a named pipe would block, a device would never end. Blocks.
///
/// # Errors
/// The file cannot be opened, or is no plain file.
pub fn open_plain(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Who opens a named pipe waits for somebody at its other end, unless told not to.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).mode(0o600);
    }
    let file = options.open(path).map_err(|error| if path.is_dir() { is_folder() } else { error })?;
    check_plain(&file.metadata()?)?;
    Ok(file)
}

fn is_folder() -> io::Error {
    io::Error::new(io::ErrorKind::IsADirectory, "it is a folder: name a file")
}

fn check_plain(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(is_folder());
    }
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe or a device: name a plain file");
    metadata.is_file().then_some(()).ok_or_else(other)
}

/// Opens a plain file, if there is one. Blocks.
///
/// # Errors
/// Those of [`open_plain`], save that nothing has that name.
pub fn open_existing(path: &Path, options: &mut OpenOptions) -> io::Result<Option<File>> {
    match open_plain(path, options) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The path of a log beside a file: `name.3.log`.
pub fn log_path(path: &Path, number: u32) -> PathBuf {
    beside(path, &format!(".{number}.log"))
}

/// The logs beside a file, by their numbers. Blocks.
///
/// # Errors
/// The folder cannot be read.
pub fn logs_of(path: &Path) -> io::Result<BTreeMap<u32, PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(BTreeMap::new());
    };
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Bytes: a name need not be Unicode.
        let suffix = entry.file_name();
        let suffix = suffix.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let number = suffix.and_then(|it| it.strip_prefix(b".")).and_then(|it| it.strip_suffix(b".log"));
        let number = number.and_then(|it| std::str::from_utf8(it).ok()).and_then(|it| it.parse::<u32>().ok());
        // `.007.log` and `.+7.log` are somebody else's.
        if let Some(number) = number.filter(|&number| log_path(path, number) == entry.path()) {
            logs.insert(number, entry.path());
        }
    }
    Ok(logs)
}

/// Makes a file that only its owner may read. Blocks.
///
/// # Errors
/// Something has that name, or the file cannot be made.
pub fn create_private(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().read(true).write(true).create_new(true))
}

/// Puts a new file in the place of another, which may exist. `fill` writes it, as `name.partial`, and may still refuse. The
/// caller holds a lock of the path. What a killed process left of such a file is removed; `is_ours` tells that by its first
/// sixteen bytes. Blocks.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when something else has the name of the new file; those of `fill`; or the file cannot
/// be made, synced or renamed. Then the other file is as it was.
pub fn rewrite<E: From<io::Error>>(
    path: &Path,
    is_ours: impl FnOnce(&[u8]) -> bool,
    fill: impl FnOnce(&File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    let (file, partial) = create_partial(path, is_ours)?;
    let written = fill(&file, &partial).and_then(|()| Ok(replace(&file, path, &partial)?));
    if written.is_err() {
        remove_own(&file, &partial);
    }
    written
}

fn create_partial(path: &Path, is_ours: impl FnOnce(&[u8]) -> bool) -> io::Result<(File, PathBuf)> {
    let partial = beside(path, ".partial");
    if let Some(leftover) = open_existing(&partial, OpenOptions::new().read(true))? {
        let mut head = Vec::new();
        (&leftover).take(16).read_to_end(&mut head)?;
        if !is_ours(&head) {
            let name = partial.file_name().unwrap_or_default().to_string_lossy();
            let taken = format!("{name} is there and is something else. Move it away");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, taken));
        }
        remove_own(&leftover, &partial);
    }
    create_private(&partial).map(|file| (file, partial))
}

/// Whether a path means this open file. Blocks.
///
/// # Errors
/// The file system does not answer.
pub fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let named = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let open = file.metadata()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok((named.dev(), named.ino()) == (open.dev(), open.ino()))
    }
    // Elsewhere an open file cannot be replaced or removed by others.
    #[cfg(not(unix))]
    Ok(named.is_file() == open.is_file())
}

/// Whether a file is on a network file system, where a lock holds on one machine alone or not at all. Blocks.
///
/// # Errors
/// The file system does not answer.
#[cfg(target_os = "linux")]
pub fn is_on_network(file: &File) -> io::Result<bool> {
    // linux/magic.h, and the file systems' own sources.
    const NETWORK: [u32; 12] = [
        0x6969,      // NFS
        0x517B,      // SMB
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB 2
        0x6573_5546, // FUSE
        0x0102_1997, // 9P
        0x00C3_6400, // Ceph
        0x5346_414F, // AFS
        0x6B41_4653, // kAFS
        0x0BD0_0BD0, // Lustre
        0x4750_4653, // GPFS
        0x7461_636F, // OCFS2
    ];
    let kind = rustix::fs::fstatfs(file)?.f_type;
    Ok(NETWORK.contains(&(kind as u32)))
}

/// Whether a file is on a network file system, as far as can be told: on Linux alone.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
pub fn is_on_network(_: &File) -> io::Result<bool> {
    Ok(false)
}

/// Removes a path if it still means this open file. Blocks.
pub fn remove_own(file: &File, path: &Path) {
    if is_same(file, path).unwrap_or(false) {
        let _ = fs::remove_file(path);
    }
}

/// Puts a complete file in the place of another, which may exist. A power cut leaves the one or the other.
fn replace(file: &File, path: &Path, with: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(with, path)?;
    sync_folder(path)
}

/// Syncs the folder of a path: only then a new name in it survives a power cut. Blocks.
///
/// # Errors
/// The folder cannot be synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    // Windows has no such call; it keeps its folders by itself.
    if cfg!(unix)
        && let Some(folder) = path.parent()
    {
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            // Some network file systems refuse to sync a folder.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_are_followed_also_where_their_target_does_not_exist() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("other")).unwrap();
        symlink("other/kept", root.join("link")).unwrap();
        symlink("../link", root.join("other/link")).unwrap();
        assert_eq!(target(&root.join("other/../other/link")).unwrap(), root.join("other/kept"));
        symlink("circle", root.join("circle")).unwrap();
        assert!(target(&root.join("circle")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_or_a_device_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        for path in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let error = open_plain(path, OpenOptions::new().read(true).write(true)).unwrap_err();
            assert!(error.to_string().contains("it is a"), "{error}");
        }
    }

    #[test]
    fn a_file_that_took_the_name_of_another_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let ours = create_private(&path).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        remove_own(&ours, &path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
    }
}
