//! An append-only log of records that survives a crash at any byte.
//!
//! It begins with eight bytes that tell what it is. Each commit appends one frame or more: the length of its payload and
//! the payload's CRC-32, four bytes each, little-endian, then the payload. The payloads are pieces of one zstd stream,
//! flushed at the end of each frame, so that records which resemble earlier ones take little room; in the stream a record
//! is its length, as four bytes, and its bytes. A log counts up to its last whole frame: what was synced is always whole.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use bytes::{Buf as _, Bytes};
use zstd::stream::write::{Decoder, Encoder};

use super::{create_private, is_same, remove_own, sync_folder};

/// The fastest level that still looks for repeats.
const LEVEL: i32 = 1;
/// Bytes of records in a frame, more or less: what a reader has in memory at a time.
const FRAME: usize = 4 << 20;
/// Longer records are damage.
const MAX_RECORD: usize = 1 << 30;

/// A log that is being written. Every method blocks.
pub struct LogWriter {
    file: File,
    path: PathBuf,
    encoder: Encoder<'static, Vec<u8>>,
    /// Bytes of records since the last frame.
    in_frame: usize,
    has_failed: bool,
}

impl LogWriter {
    /// Makes a log, which may not exist yet, with its first record, and syncs it and its name. Only its owner may read it.
    ///
    /// # Errors
    /// Something has that name, or the file cannot be written; then no log is left.
    pub fn create(path: &Path, magic: &[u8; 8], first: &[u8]) -> io::Result<Self> {
        let encoder = Encoder::new(Vec::new(), LEVEL)?;
        let file = create_private(path)?;
        let mut log = Self { file, path: path.into(), encoder, in_frame: 0, has_failed: false };
        let begun = (|| {
            log.file.write_all(magic)?;
            log.append(first)?;
            log.commit()?;
            sync_folder(path)
        })();
        if begun.is_err() {
            remove_own(&log.file, path);
        }
        begun.map(|()| log)
    }

    /// Appends a record. It counts after the next [`commit`](Self::commit).
    ///
    /// # Errors
    /// The file cannot be written; nor will it be.
    pub fn append(&mut self, record: &[u8]) -> io::Result<()> {
        let length = record.len();
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a record is larger than 1 GiB");
        let length32 = u32::try_from(length).ok().filter(|_| length <= MAX_RECORD).ok_or_else(too_long)?;
        self.encoder.write_all(&length32.to_le_bytes())?;
        self.encoder.write_all(record)?;
        self.in_frame += length + 4;
        if self.in_frame >= FRAME { self.end_frame() } else { Ok(()) }
    }

    fn end_frame(&mut self) -> io::Result<()> {
        if self.in_frame == 0 {
            return Ok(());
        }
        if std::mem::replace(&mut self.has_failed, true) {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.encoder.flush()?;
        let payload = std::mem::take(self.encoder.get_mut());
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        frame.extend_from_slice(&payload);
        self.file.write_all(&frame)?;
        self.in_frame = 0;
        self.has_failed = false;
        Ok(())
    }

    /// Syncs what was appended. What the disk has may only be trusted when this succeeds.
    ///
    /// # Errors
    /// The file cannot be written or synced, or its name means another file by now; nor will it be written again.
    pub fn commit(&mut self) -> io::Result<()> {
        self.end_frame()?;
        // A failed sync may be followed by one that succeeds without having written anything.
        if std::mem::replace(&mut self.has_failed, true) {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.file.sync_data()?;
        if !is_same(&self.file, &self.path)? {
            let gone = format!("{} was moved or removed while it was written", self.path.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, gone));
        }
        self.has_failed = false;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a log up to its last whole frame. Every method blocks.
pub struct LogReader {
    file: BufReader<File>,
    decoder: Decoder<'static, Vec<u8>>,
    /// Decoded and not yet read.
    records: Bytes,
}

impl LogReader {
    /// Reads a log from its beginning. `None` where the file is something else. One whose writer was killed before it had
    /// written the first eight bytes has no records.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(file: &File, magic: &[u8; 8]) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(file.try_clone()?);
        file.rewind()?;
        let mut found = Vec::new();
        file.by_ref().take(magic.len() as u64).read_to_end(&mut found)?;
        if !magic.starts_with(&found) {
            return Ok(None);
        }
        let decoder = Decoder::new(Vec::new())?;
        Ok(Some(Self { file, decoder, records: Bytes::new() }))
    }

    /// The next record; `None` after the last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_record(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(head) = self.records.get(..4) {
                let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
                if self.records.len() - 4 >= length {
                    self.records.advance(4);
                    return Ok(Some(self.records.split_to(length)));
                }
            }
            let Some(more) = self.next_frame()? else { return Ok(None) };
            self.records =
                if self.records.is_empty() { more } else { [&self.records[..], &more].concat().into() };
        }
    }

    fn next_frame(&mut self) -> io::Result<Option<Bytes>> {
        let mut head = [0; 8];
        if !read_whole(&mut self.file, &mut head)? {
            return Ok(None);
        }
        let (length, crc) = head.split_at(4);
        let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let length = number(length);
        // The length may be damage too: memory is taken as bytes come.
        let mut payload = Vec::new();
        self.file.by_ref().take(length.into()).read_to_end(&mut payload)?;
        if length == 0 || payload.len() != length as usize || crc32fast::hash(&payload) != number(crc) {
            return Ok(None);
        }
        if self.decoder.write_all(&payload).and_then(|()| self.decoder.flush()).is_err() {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self.decoder.get_mut()).into()))
    }
}

/// Whether the buffer could be filled.
fn read_whole(file: &mut BufReader<File>, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const MAGIC: &[u8; 8] = b"test-log";

    fn read(path: &Path) -> Vec<Bytes> {
        let Some(mut log) = LogReader::new(&File::open(path).unwrap(), MAGIC).unwrap() else {
            return Vec::new();
        };
        std::iter::from_fn(|| log.next_record().unwrap()).skip(1).collect()
    }

    /// Writes commits; tells how long the file is after each.
    fn write(path: &Path, commits: &[Vec<Vec<u8>>]) -> Vec<u64> {
        let mut log = LogWriter::create(path, MAGIC, b"first").unwrap();
        let append = |log: &mut LogWriter, commit: &Vec<Vec<u8>>| {
            commit.iter().for_each(|record| log.append(record).unwrap());
            log.commit().unwrap();
            fs::metadata(path).unwrap().len()
        };
        commits.iter().map(|commit| append(&mut log, commit)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_log_that_is_torn_at_any_byte_has_every_commit_before_it(
            commits in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5), 1..8,
            ),
            garbage in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let lengths = write(&path, &commits);
            let whole = fs::read(&path).unwrap();
            let torn = folder.path().join("torn");
            for cut in 0..=whole.len() {
                let bytes = [&whole[..cut], &garbage].concat();
                fs::write(&torn, &bytes).unwrap();
                let is_whole = |end: &&u64| bytes.get(..**end as usize) == whole.get(..**end as usize);
                let complete = lengths.iter().filter(is_whole).count();
                let expected: Vec<_> = commits.iter().take(complete).flatten().cloned().collect();
                prop_assert_eq!(read(&torn), expected, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn records_larger_than_a_frame_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let large: Vec<u8> = (0..FRAME * 2).map(|n| (n % 251) as u8).collect();
        write(&path, &[vec![large.clone(), vec![1], large.clone()], vec![vec![2]]]);
        assert!(read(&path) == [large.clone(), vec![1], large, vec![2]]);
    }

    #[test]
    fn a_log_whose_name_was_taken_away_does_not_commit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogWriter::create(&path, MAGIC, b"first").unwrap();
        fs::remove_file(&path).unwrap();
        log.append(b"row").unwrap();
        assert!(log.commit().unwrap_err().to_string().contains("was moved or removed"));
        assert!(log.commit().is_err());
    }
}
