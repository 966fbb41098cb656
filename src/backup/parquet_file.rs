//! The Parquet file of a backup: rows into row groups, and the footer that names these.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    sync::Arc,
};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::Result as ParquetResult,
    file::{
        metadata::{
            ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder,
            ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
        },
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{
        parser::parse_message_type,
        types::{SchemaDescriptor, TypePtr},
    },
};

use serde::de::DeserializeOwned;

use super::BackupRow;
use crate::columns::guarded;

/// The columns of a backup. `annotation` is a serialized `clarifai.api.Annotation`.
const SCHEMA: &str = "message clarifai_annotations_backup {
    required binary user_id (STRING);
    required binary app_id (STRING);
    required binary input_id (STRING);
    required binary annotation_id (STRING);
    optional int64 created_at (TIMESTAMP(MICROS, true));
    optional binary status (STRING);
    required boolean input_level;
    required binary annotation;
}";

pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// A footer ends with its length in four bytes, and the magic.
const TAIL: u64 = 8;

/// A row group has no more rows than this, and no more bytes of annotations.
const MAX_ROWS: usize = 65_536;
const MAX_BYTES: usize = 32 << 20;

/// The key under which a backup names the journals of the calls that wrote it, as a JSON array of paths.
const JOURNALS: &str = "clarifai_annotations.journals";
/// The key under which a backup names the logs that were folded into it last, as a JSON array of their IDs. They are still there
/// for a moment, or where a crash came before they were removed.
const FOLDED: &str = "clarifai_annotations.folded";
/// It names no more than this.
const MAX_JOURNALS: usize = 64;

/// The last whole footer of a file.
pub(super) struct Footer {
    pub metadata: ParquetMetaData,
    /// Where it ends. What comes after does not count.
    pub end: u64,
    /// The bytes of row groups that it names, and its own.
    pub live_bytes: u64,
}

impl Footer {
    /// Whether the file has the columns of a backup, exactly.
    pub fn is_backup(&self) -> bool {
        schema().is_ok_and(|schema| *self.metadata.file_metadata().schema() == *schema)
    }

    /// The journals that the file names.
    pub fn journals(&self) -> Vec<String> {
        self.named(JOURNALS)
    }

    /// Whether the file holds the rows of a log.
    pub fn has_folded(&self, log: u64) -> bool {
        log != 0 && self.named::<u64>(FOLDED).contains(&log)
    }

    fn named<T: DeserializeOwned>(&self, key: &str) -> Vec<T> {
        let values = self.metadata.file_metadata().key_value_metadata();
        let value = values.and_then(|values| values.iter().find(|it| it.key == key)?.value.as_deref());
        value.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }
}

fn schema() -> ParquetResult<TypePtr> {
    parse_message_type(SCHEMA).map(Arc::new)
}

/// The last whole footer of a Parquet file. `None` where there is none.
///
/// A backup that a crash cut off while row groups were appended has a tail that does not count.
pub(super) fn last_footer(file: &mut File) -> io::Result<Option<Footer>> {
    const BLOCK: u64 = 1 << 20;
    let len = file.metadata()?.len();
    let mut head = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    if len < TAIL || file.read_exact(&mut head).is_err() || &head != MAGIC {
        return Ok(None);
    }
    let mut block_end = len;
    while block_end > 4 {
        let start = block_end.saturating_sub(BLOCK).max(4);
        // Three bytes more: a magic may stand across the border.
        let mut block = vec![0; ((block_end + 3).min(len) - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        let places = block.windows(MAGIC.len()).enumerate().rev().filter(|(_, window)| window == MAGIC);
        for (place, _) in places {
            let end = start + (place + MAGIC.len()) as u64;
            if let Some(footer) = footer_that_ends_at(file, end, len)? {
                return Ok(Some(footer));
            }
        }
        block_end = start;
    }
    Ok(None)
}

fn footer_that_ends_at(file: &mut File, end: u64, len: u64) -> io::Result<Option<Footer>> {
    if end < 4 + TAIL {
        return Ok(None);
    }
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(end - TAIL))?;
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length == 0 || length > end - 4 - TAIL {
        return Ok(None);
    }
    let start = end - TAIL - length;
    let mut footer = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    let metadata = guarded(|| Ok(ParquetMetaDataReader::decode_metadata(&footer)?)).ok();
    let Some(metadata) = metadata else { return Ok(None) };
    let columns = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let last_of = |column: &ColumnChunkMetaData| first_of(column).checked_add(column.compressed_size());
    let are_before = columns()
        .all(|column| first_of(column) >= 4 && last_of(column).is_some_and(|last| last as u64 <= start));
    // What an annotation carries may look like a footer too; but ours come right after their last row group.
    let is_ours = columns().filter_map(last_of).max().unwrap_or(4) as u64 == start;
    let live_bytes =
        columns().map(|column| column.compressed_size().max(0) as u64).sum::<u64>() + length + TAIL + 4;
    Ok((are_before && (is_ours || end == len)).then_some(Footer { metadata, end, live_bytes }))
}

fn first_of(column: &ColumnChunkMetaData) -> i64 {
    column.dictionary_page_offset().unwrap_or(column.data_page_offset())
}

/// A Parquet file that is being written.
pub(super) struct ParquetFile {
    file: File,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    groups: Vec<RowGroupMetaData>,
    journals: Vec<String>,
    folded: Vec<u64>,
    /// Where the next row group begins.
    end: u64,
    pending: Vec<BackupRow>,
    pending_bytes: usize,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl ParquetFile {
    /// Begins a file anew.
    pub fn begin(mut file: File) -> Result<Self> {
        file.write_all(MAGIC)?;
        Self::new(file, Vec::new(), Vec::new(), MAGIC.len() as u64)
    }

    /// Goes on with a file after its last whole footer. What comes after that is cut off.
    pub fn extend(file: File, footer: &Footer) -> Result<Self> {
        file.set_len(footer.end)?;
        Self::new(file, footer.metadata.row_groups().to_vec(), footer.journals(), footer.end)
    }

    fn new(file: File, groups: Vec<RowGroupMetaData>, journals: Vec<String>, end: u64) -> Result<Self> {
        let (schema, properties) = (schema()?, Arc::new(properties()?));
        let (folded, pending) = (Vec::new(), Vec::new());
        Ok(Self { file, schema, properties, groups, journals, folded, end, pending, pending_bytes: 0 })
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Adds a row, to a row group with its neighbours.
    pub fn push(&mut self, row: BackupRow) -> Result<()> {
        self.pending_bytes += row.listed.message.len();
        self.pending.push(row);
        if self.pending.len() >= MAX_ROWS || self.pending_bytes >= MAX_BYTES {
            self.end_group()
        } else {
            Ok(())
        }
    }

    /// Adds a row group of another file as it is.
    pub fn copy_group(&mut self, from: &mut File, group: &RowGroupMetaData) -> Result<()> {
        self.end_group()?;
        let start = group.columns().iter().map(first_of).min().unwrap_or(0);
        let ends = group.columns().iter().map(|column| first_of(column) + column.compressed_size());
        let length = ends.max().unwrap_or(0) - start;
        from.seek(SeekFrom::Start(start as u64))?;
        self.file.seek(SeekFrom::Start(self.end))?;
        let copied = io::copy(&mut from.take(length as u64), &mut self.file)?;
        if copied != length as u64 {
            return Err("a row group is cut off".into());
        }
        self.groups.push(moved(group.clone(), self.end as i64 - start)?);
        self.end += copied;
        Ok(())
    }

    /// Adds journals that the file is to name.
    pub fn name_journals(&mut self, journals: impl IntoIterator<Item = String>) {
        for journal in journals {
            if !journal.is_empty() && !self.journals.contains(&journal) && self.journals.len() < MAX_JOURNALS
            {
                self.journals.push(journal);
            }
        }
    }

    /// Says that the file holds the rows of these logs.
    pub fn name_folded(&mut self, logs: impl IntoIterator<Item = u64>) {
        self.folded = logs.into_iter().collect();
    }

    fn end_group(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.pending);
        let (bytes, group) = self.row_group(&rows)?;
        self.pending_bytes = 0;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&bytes)?;
        self.groups.push(moved(group, self.end as i64 - MAGIC.len() as i64)?);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes the footer. The file is whole then, and not synced.
    pub fn finish(&mut self) -> Result<()> {
        self.end_group()?;
        let bytes = footer(&self.schema, self.groups.clone(), &self.journals, &self.folded)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&bytes)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// A row group, and its description as if it followed the magic.
    fn row_group(&self, rows: &[BackupRow]) -> ParquetResult<(Vec<u8>, RowGroupMetaData)> {
        let mut writer =
            SerializedFileWriter::new(Vec::new(), Arc::clone(&self.schema), Arc::clone(&self.properties))?;
        let mut group = writer.next_row_group()?;
        let text =
            |of: fn(&BackupRow) -> &str| rows.iter().map(|row| of(row).into()).collect::<Vec<ByteArray>>();
        write_bytes(&mut group, &text(|row| &row.user_id), None)?;
        write_bytes(&mut group, &text(|row| &row.app_id), None)?;
        write_bytes(&mut group, &text(|row| &row.listed.annotation.input_id), None)?;
        write_bytes(&mut group, &text(|row| &row.listed.annotation.id), None)?;
        let created_at: Vec<Option<i64>> = rows.iter().map(|row| row.listed.created_at()).collect();
        if let Some(mut column) = group.next_column()? {
            let values: Vec<i64> = created_at.iter().flatten().copied().collect();
            column.typed::<Int64Type>().write_batch(&values, Some(&levels(&created_at)), None)?;
            column.close()?;
        }
        let statuses: Vec<Option<ByteArray>> =
            rows.iter().map(|row| row.listed.status().map(|name| name.into_bytes().into())).collect();
        let named: Vec<ByteArray> = statuses.iter().flatten().cloned().collect();
        write_bytes(&mut group, &named, Some(&levels(&statuses)))?;
        if let Some(mut column) = group.next_column()? {
            let values: Vec<bool> = rows.iter().map(|row| row.listed.annotation.input_level).collect();
            column.typed::<BoolType>().write_batch(&values, None, None)?;
            column.close()?;
        }
        let messages: Vec<ByteArray> = rows.iter().map(|row| row.listed.message.clone().into()).collect();
        write_bytes(&mut group, &messages, None)?;
        let described = group.close()?;
        // What the writer puts after it is a footer of its own.
        let end = writer.bytes_written();
        let mut bytes = writer.into_inner()?;
        bytes.truncate(end);
        bytes.drain(..MAGIC.len());
        Ok((bytes, RowGroupMetaData::clone(&described)))
    }
}

fn footer(
    schema: &TypePtr,
    groups: Vec<RowGroupMetaData>,
    journals: &[String],
    folded: &[u64],
) -> Result<Vec<u8>> {
    let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let columns = Arc::new(SchemaDescriptor::new(Arc::clone(schema)));
    let product = concat!("clarifai-annotations version ", env!("CARGO_PKG_VERSION"));
    let mut named = Vec::new();
    if !journals.is_empty() {
        named.push(KeyValue::new(JOURNALS.into(), serde_json::to_string(journals)?));
    }
    if !folded.is_empty() {
        named.push(KeyValue::new(FOLDED.into(), serde_json::to_string(folded)?));
    }
    let named = (!named.is_empty()).then_some(named);
    let about = FileMetaData::new(1, rows, Some(product.into()), named, columns, None);
    let footer = ParquetMetaDataBuilder::new(about).set_row_groups(groups).build();
    let mut bytes = Vec::new();
    ParquetMetaDataWriter::new(&mut bytes, &footer).finish()?;
    Ok(bytes)
}

/// A whole file in which nothing was saved.
pub(super) fn without_rows() -> Result<Vec<u8>> {
    Ok([&MAGIC[..], &footer(&schema()?, Vec::new(), &[], &[])?].concat())
}

fn properties() -> ParquetResult<WriterProperties> {
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .build())
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

/// The description of a row group that stands so many bytes further on.
fn moved(group: RowGroupMetaData, by: i64) -> ParquetResult<RowGroupMetaData> {
    let mut group = group.into_builder();
    let columns = group.take_columns();
    let start = columns.iter().map(first_of).min().unwrap_or(0) + by;
    let columns = columns.into_iter().map(|column| {
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
