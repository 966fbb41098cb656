//! Writes a backup, on a thread of its own. What several batches have to save goes together.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::Result as ParquetResult,
    file::{
        metadata::{FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData},
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{
        parser::parse_message_type,
        types::{ColumnPath, SchemaDescriptor, TypePtr},
    },
};
use tokio::sync::oneshot;

use super::{MAGIC, SCHEMA, last_footer, refuse};
use crate::{error::Error, wire::Listed};

/// A batch waits for others to save with it for so long per row group that there is already, and no longer than
/// this: the footers, of which each names all row groups, stay a small part of the file.
const WINDOW_PER_GROUP: Duration = Duration::from_millis(50);
const LONGEST_WINDOW: Duration = Duration::from_secs(4);
/// Nor for more than so many bytes.
const ENOUGH: usize = 16 << 20;

/// A backup that is being written. It ends, and its file is let go of, when this is dropped and what was saved is on
/// the disk.
pub struct Backup {
    queue: mpsc::Sender<Letter>,
    /// Batches under way that have something to save, or had.
    under_way: Arc<AtomicUsize>,
}

/// A batch under way, for as long as this is held: a save of another one may wait for its.
pub struct UnderWay<'a>(&'a Backup);

enum Letter {
    Save {
        annotations: Vec<Listed>,
        saved: oneshot::Sender<Result<(), Error>>,
    },
    /// There is one batch fewer to wait for.
    Left,
    /// Ends the thread once what came before is saved.
    End(oneshot::Sender<()>),
}

impl Backup {
    /// Opens a backup, or makes it: one that is there is added to. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when the file cannot be written, is no backup, or is being written by another call.
    pub fn open(path: &Path, user_id: &str, app_id: &str) -> Result<Self, Error> {
        let file = BackupFile::open(path, user_id, app_id)?;
        let (queue, letters) = mpsc::channel();
        let under_way = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&under_way);
        thread::Builder::new()
            .name("clarifai-backup".into())
            .spawn(move || write(file, &letters, &counted))
            .map_err(|error| refuse(path, error))?;
        Ok(Self { queue, under_way })
    }

    /// A batch begins that will save something.
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
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
        self.queue.send(Letter::Save { annotations, saved }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the backup: its file can be read, moved or opened again when this is done.
    pub async fn end(&self) {
        let (ended, answer) = oneshot::channel();
        if self.queue.send(Letter::End(ended)).is_ok() {
            let _ = answer.await;
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        // When the thread has ended there is nobody to tell.
        let _ = self.0.queue.send(Letter::Left);
    }
}

fn write(mut file: BackupFile, letters: &mpsc::Receiver<Letter>, under_way: &AtomicUsize) {
    let (mut gathered, mut waiting, mut ended) = (Vec::new(), Vec::new(), None);
    while ended.is_none() {
        match letters.recv() {
            Ok(Letter::Save { annotations, saved }) => {
                gathered.extend(annotations);
                waiting.push(saved);
            }
            Ok(Letter::Left) => continue,
            Ok(Letter::End(told)) => ended = Some(told),
            Err(_) => break,
        }
        let window = (WINDOW_PER_GROUP * file.groups.len() as u32).min(LONGEST_WINDOW);
        let until = Instant::now() + window;
        let bytes = |gathered: &Vec<Listed>| gathered.iter().map(|it| it.message.len()).sum::<usize>();
        let mut size = bytes(&gathered);
        // When everyone who is under way waits, nothing more will come.
        while ended.is_none() && waiting.len() < under_way.load(Ordering::Acquire) && size < ENOUGH {
            match letters.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Letter::Save { annotations, saved }) => {
                    size += bytes(&annotations);
                    gathered.extend(annotations);
                    waiting.push(saved);
                }
                Ok(Letter::Left) => {}
                Ok(Letter::End(told)) => ended = Some(told),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        if !gathered.is_empty() {
            let result = file.append(&std::mem::take(&mut gathered));
            for saved in waiting.drain(..) {
                // Whoever does not wait any more will not delete either.
                let _ = saved.send(result.clone());
            }
        }
    }
    file.close();
    if let Some(told) = ended {
        let _ = told.send(());
    }
}

/// What was there before a backup was begun.
#[derive(Clone, Copy)]
enum Before {
    NotThere,
    Empty,
}

/// The file, and what its footer says.
struct BackupFile {
    path: PathBuf,
    file: File,
    user_id: ByteArray,
    app_id: ByteArray,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    groups: Vec<RowGroupMetaData>,
    /// Where the last whole footer ends.
    end: u64,
    before_it_was_begun: Option<Before>,
    /// It could not be written; nor will it be.
    failed: Option<Error>,
}

impl BackupFile {
    fn open(path: &Path, user_id: &str, app_id: &str) -> Result<Self, Error> {
        let refuse = |why: String| refuse(path, format!("{why}. Nothing was deleted"));
        let io = |error: std::io::Error| refuse(format!("cannot be written: {error}"));
        let was_there = path.exists();
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refuse(
                    "is being written by another call: give each call a file of its own".into(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let schema = parse_message_type(SCHEMA).map(Arc::new).map_err(|error| refuse(error.to_string()))?;
        let mut this = Self {
            path: path.into(),
            file,
            user_id: user_id.into(),
            app_id: app_id.into(),
            properties: Arc::new(properties()),
            groups: Vec::new(),
            end: 0,
            before_it_was_begun: None,
            failed: None,
            schema,
        };
        if this.is_to_be_begun().map_err(io)? {
            this.before_it_was_begun = Some(if was_there { Before::Empty } else { Before::NotThere });
            this.put(MAGIC, Vec::new()).map_err(io).inspect_err(|_| this.undo_beginning())?;
            sync_folder(path);
            return Ok(this);
        }
        let Some((footer, end)) = last_footer(&mut this.file).map_err(io)? else {
            return Err(refuse("is there and is no backup: give another path".into()));
        };
        if *footer.file_metadata().schema() != *this.schema {
            let why =
                "is a Parquet file that something else wrote, and cannot be added to: give another path";
            return Err(refuse(why.into()));
        }
        this.groups = footer.row_groups().to_vec();
        this.end = end;
        // A tail that a crash left behind does not count, and keeps other programs from reading the file.
        this.file.set_len(end).map_err(io)?;
        Ok(this)
    }

    /// Whether nothing is in the file, or no more than a part of what every backup begins with: its first writer was
    /// ended at that moment.
    fn is_to_be_begun(&mut self) -> std::io::Result<bool> {
        let (beginning, _) = self.with_footer(MAGIC, Vec::new())?;
        if self.file.metadata()?.len() >= beginning.len() as u64 {
            return Ok(false);
        }
        let mut found = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut found)?;
        // Less than the magic may be anybody's.
        Ok(found.is_empty() || (found.starts_with(MAGIC) && beginning.starts_with(&found)))
    }

    fn append(&mut self, annotations: &[Listed]) -> Result<(), Error> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let written = self.try_append(annotations);
        written.map_err(|why| {
            // What is cut off here did not count anyway.
            let _ = self.file.set_len(self.end);
            let error =
                refuse(&self.path, format!("cannot be written: {why}. What is not in it was not deleted"));
            self.failed.insert(error).clone()
        })
    }

    fn try_append(&mut self, annotations: &[Listed]) -> Result<(), Box<dyn std::error::Error>> {
        let (bytes, group) = self.row_group(annotations)?;
        let mut groups = self.groups.clone();
        groups.push(moved(group, self.end as i64)?);
        self.put(&bytes, groups)?;
        Ok(())
    }

    /// Appends `bytes` and a footer that names these row groups.
    fn put(&mut self, bytes: &[u8], groups: Vec<RowGroupMetaData>) -> std::io::Result<()> {
        let (appended, groups) = self.with_footer(bytes, groups)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&appended)?;
        // Something longer may have been cut off here before.
        self.file.set_len(self.end + appended.len() as u64)?;
        self.file.sync_data()?;
        self.end += appended.len() as u64;
        self.groups = groups;
        Ok(())
    }

    fn with_footer(
        &self,
        bytes: &[u8],
        groups: Vec<RowGroupMetaData>,
    ) -> std::io::Result<(Vec<u8>, Vec<RowGroupMetaData>)> {
        let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
        let columns = Arc::new(SchemaDescriptor::new(Arc::clone(&self.schema)));
        let product = concat!("clarifai-annotations version ", env!("CARGO_PKG_VERSION"));
        let about = FileMetaData::new(1, rows, Some(product.into()), None, columns, None);
        let footer = ParquetMetaDataBuilder::new(about).set_row_groups(groups).build();
        let mut with_footer = bytes.to_vec();
        ParquetMetaDataWriter::new(&mut with_footer, &footer).finish().map_err(std::io::Error::other)?;
        Ok((with_footer, footer.into_builder().take_row_groups()))
    }

    /// A row group, and its description as if it began at 0.
    fn row_group(&self, annotations: &[Listed]) -> ParquetResult<(Vec<u8>, RowGroupMetaData)> {
        let mut writer =
            SerializedFileWriter::new(Vec::new(), Arc::clone(&self.schema), Arc::clone(&self.properties))?;
        let mut group = writer.next_row_group()?;
        let text =
            |of: fn(&Listed) -> &str| annotations.iter().map(|it| of(it).into()).collect::<Vec<ByteArray>>();
        write_bytes(&mut group, &vec![self.user_id.clone(); annotations.len()], None)?;
        write_bytes(&mut group, &vec![self.app_id.clone(); annotations.len()], None)?;
        write_bytes(&mut group, &text(|it| &it.annotation.input_id), None)?;
        write_bytes(&mut group, &text(|it| &it.annotation.id), None)?;
        let created_at: Vec<Option<i64>> = annotations.iter().map(Listed::created_at).collect();
        if let Some(mut column) = group.next_column()? {
            let values: Vec<i64> = created_at.iter().flatten().copied().collect();
            column.typed::<Int64Type>().write_batch(&values, Some(&levels(&created_at)), None)?;
            column.close()?;
        }
        let statuses: Vec<Option<ByteArray>> =
            annotations.iter().map(|it| it.status().map(|name| name.into_bytes().into())).collect();
        let named: Vec<ByteArray> = statuses.iter().flatten().cloned().collect();
        write_bytes(&mut group, &named, Some(&levels(&statuses)))?;
        if let Some(mut column) = group.next_column()? {
            let values: Vec<bool> = annotations.iter().map(|it| it.annotation.input_level).collect();
            column.typed::<BoolType>().write_batch(&values, None, None)?;
            column.close()?;
        }
        let messages: Vec<ByteArray> = annotations.iter().map(|it| it.message.clone().into()).collect();
        write_bytes(&mut group, &messages, None)?;
        let described = group.close()?;
        // What the writer puts after it is a footer of its own.
        let end = writer.bytes_written();
        let mut bytes = writer.into_inner()?;
        bytes.truncate(end);
        bytes.drain(..MAGIC.len());
        Ok((bytes, RowGroupMetaData::clone(&described)))
    }

    /// Ends the file. One in which nothing was saved is as it was before.
    fn close(self) {
        if self.groups.is_empty() {
            self.undo_beginning();
        }
    }

    fn undo_beginning(&self) {
        match self.before_it_was_begun {
            Some(Before::NotThere) => drop(fs::remove_file(&self.path)),
            Some(Before::Empty) => drop(self.file.set_len(0)),
            None => {}
        }
    }
}

fn properties() -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false);
    for repeated in ["user_id", "app_id", "status"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(repeated), true);
    }
    properties.build()
}

fn levels<T>(values: &[Option<T>]) -> Vec<i16> {
    values.iter().map(|value| i16::from(value.is_some())).collect()
}

fn write_bytes(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[ByteArray],
    levels: Option<&[i16]>,
) -> ParquetResult<()> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<ByteArrayType>().write_batch(values, levels, None)?;
        column.close()?;
    }
    Ok(())
}

/// The description of a row group that was written after a magic of its own, and now begins at `start`.
fn moved(group: RowGroupMetaData, start: i64) -> ParquetResult<RowGroupMetaData> {
    let by = start - MAGIC.len() as i64;
    let mut group = group.into_builder();
    let columns = group.take_columns().into_iter().map(|column| {
        let data = column.data_page_offset() + by;
        let dictionary = column.dictionary_page_offset().map(|offset| offset + by);
        column
            .into_builder()
            .set_data_page_offset(data)
            .set_dictionary_page_offset(dictionary)
            .clear_page_encoding_stats()
            .build()
    });
    let columns = columns.collect::<ParquetResult<Vec<_>>>()?;
    group.set_column_metadata(columns).set_file_offset(start).build()
}

/// A new file is there for good only when its folder is synced.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Windows has no such thing, and does it by itself.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
