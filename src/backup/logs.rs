//! The logs of a backup: what calls saved and no call has folded into the Parquet file yet.
//!
//! Each call has a log of its own, `PATH.1.log`, `PATH.2.log` and so on. Its first record is a [`Header`]; each other record
//! is an annotation, byte for byte as the service served it.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

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
    /// Tells this log from all others, so that the file can say that it holds its rows. 0 where it was not written yet.
    #[prost(fixed64, tag = "4")]
    pub id: u64,
}

/// A log that is open for reading.
pub(super) struct Log {
    pub path: PathBuf,
    pub header: Header,
    file: File,
}

impl Log {
    /// Opens a log. `None` when it is gone, or somebody else's file. Where nothing was committed it has no annotations.
    fn open(path: PathBuf) -> io::Result<Option<Self>> {
        let Some(file) = files::open_existing(&path, OpenOptions::new().read(true))? else { return Ok(None) };
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
    let Some(mut records) = LogReader::new(file, MAGIC)? else { return Ok(None) };
    let header = records.next_record()?.and_then(|record| Header::decode(record).ok());
    Ok(Some((header.unwrap_or_default(), records)))
}

/// All logs of a backup, oldest first.
pub(super) fn find(backup: &Path) -> io::Result<Vec<Log>> {
    // A call may fold one meanwhile.
    files::logs_of(backup)?.into_values().filter_map(|path| Log::open(path).transpose()).collect()
}

/// Makes the log of a new call.
pub(super) fn create(backup: &Path, header: &Header) -> io::Result<LogWriter> {
    let number = files::logs_of(backup)?.last_key_value().map_or(1, |(last, _)| last.saturating_add(1));
    LogWriter::create(&files::log_path(backup, number), MAGIC, &header.encode_to_vec())
}
