//! The logs of a backup: what calls saved and no call has folded into the Parquet file yet.
//!
//! Each call has a log of its own, `PATH.1.log`, `PATH.2.log` and so on. Its first record is a [`Header`]; each other record
//! is an annotation, byte for byte as the service served it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message as _;

use crate::files::{self, LogReader, LogWriter};

const MAGIC: &[u8; 8] = b"CLAABAK2";

/// Whose annotations a log holds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Header {
    /// Owner of the app.
    #[prost(string, tag = "1")]
    pub user_id: String,
    /// The app.
    #[prost(string, tag = "2")]
    pub app_id: String,
    /// The journal of the call, if it kept one.
    #[prost(string, tag = "3")]
    pub journal: String,
}

/// A log that is open for reading.
pub(super) struct Log {
    pub path: PathBuf,
    pub header: Header,
    file: File,
}

impl Log {
    /// Opens a log. `None` when it is somebody else's file. Where nothing was committed it has no annotations.
    fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let file = files::open_plain(&path, OpenOptions::new().read(true))?;
        let Some((header, _)) = read(&file)? else { return Ok(None) };
        Ok(Some(Self { path, header, file }))
    }

    /// The annotations, from the first on.
    pub fn annotations(&self) -> io::Result<LogReader> {
        let records = read(&self.file)?.map(|(_, records)| records);
        records.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the log lost its beginning"))
    }

    /// Removes the log, if its name still means it.
    pub fn remove(&self) {
        files::remove_own(&self.file, &self.path);
    }
}

fn read(file: &File) -> io::Result<Option<(Header, LogReader)>> {
    use io::Seek as _;
    let mut file = file.try_clone()?;
    file.rewind()?;
    let Some(mut records) = LogReader::new(file, MAGIC)? else { return Ok(None) };
    let header = records.next_record()?.and_then(|record| Header::decode(record).ok());
    Ok(Some((header.unwrap_or_default(), records)))
}

/// All logs of a backup, oldest first.
pub(super) fn find(backup: &Path) -> io::Result<Vec<Log>> {
    let mut logs = Vec::new();
    for (_, path) in numbered(backup)? {
        match Log::open(path) {
            // A call has folded it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => logs.extend(other?),
        }
    }
    Ok(logs)
}

/// Makes the log of a new call, and syncs its beginning.
pub(super) fn create(backup: &Path, header: &Header) -> io::Result<LogWriter> {
    let last = numbered(backup)?.last().map_or(0, |(number, _)| *number);
    let mut log = LogWriter::create(&files::beside(backup, &format!(".{}.log", last + 1)), MAGIC)?;
    let begun =
        log.append(&[&header.encode_to_vec()]).and_then(|()| log.commit()).and_then(|()| log.sync_folder());
    if begun.is_err() {
        files::remove_own(log.file(), log.path());
    }
    begun.map(|()| log)
}

/// The number and the path of each file that has the name of a log.
fn numbered(backup: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let prefix = files::beside(backup, ".");
    let (Some(folder), Some(prefix)) = (backup.parent(), prefix.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(".log")?.parse().ok());
        found.extend(number.map(|number: u64| (number, folder.join(&name))));
    }
    found.sort();
    Ok(found)
}

/// A record of an annotation.
pub(super) fn append(log: &mut LogWriter, annotation: &Bytes) -> io::Result<()> {
    log.append(&[annotation])
}
