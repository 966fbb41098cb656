//! Plans in Parquet files: saved, and loaded by another process.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arrow_array::{
    Array as _, ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    builder::{BooleanBuilder, StringBuilder, StringDictionaryBuilder, TimestampMicrosecondBuilder},
    cast::AsArray as _,
    types::{Int32Type, TimestampMicrosecondType},
};
use arrow_schema::{ArrowError, DataType};
use bytes::Bytes;
use parquet::{
    basic::Compression,
    column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType as ParquetType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader as _, RowGroupReader},
        serialized_reader::SerializedFileReader,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};
use serde::{Deserialize, Serialize};

use crate::{
    columns::{ColumnsError, guarded},
    files::{self, FileLock, LockError, beside, open_existing, open_plain},
    plan::{self, Plan},
    wire::is_same_user,
};

/// The columns of a plan.
const SCHEMA: &str = "message clarifai_annotations_plan {
    required binary action (STRING);
    required binary input_id (STRING);
    optional binary annotation_id (STRING);
    optional binary creator (STRING);
    optional binary status (STRING);
    optional int64 created_at (TIMESTAMP(MICROS, true));
    optional boolean made_by_model;
}";

/// Under which key the file's metadata has what the table does not, and the form of both.
const KEY: &str = "clarifai_annotations_plan";
const FORM: u32 = 1;

const MAGIC: &[u8] = b"PAR1";
const ROWS_PER_GROUP: usize = 65_536;

/// Why a plan cannot be saved or loaded. The text goes on after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file system does not let it be.
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The file is something else.
    #[error("is there and is no plan: give another path")]
    NoPlan,
    /// The plan is of a version that writes others.
    #[error("is of another version (form {found}, not {FORM}): make the plan again")]
    OtherForm {
        /// Its form.
        found: u32,
    },
    /// The plan is not whole.
    #[error("is damaged: {0}. Make the plan again")]
    Damaged(String),
    /// Another process is saving to it.
    #[error("is being saved by another call: give another path")]
    Busy,
}

impl From<ParquetError> for PlanFileError {
    fn from(error: ParquetError) -> Self {
        ColumnsError::from(error).into()
    }
}

impl From<ColumnsError> for PlanFileError {
    fn from(error: ColumnsError) -> Self {
        match error {
            ColumnsError::Io(error) => Self::Io(error),
            ColumnsError::Invalid(message) => Self::Damaged(message),
        }
    }
}

impl From<ArrowError> for PlanFileError {
    fn from(error: ArrowError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Which app a plan is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Owner of the app.
    pub user_id: String,
    /// The app.
    pub app_id: String,
    /// The service.
    pub base_url: String,
}

impl App {
    /// Whether the other is this app. "me" is only "me": a plan must not delete in another user's app of the same name.
    pub fn is(&self, other: &Self) -> bool {
        is_same_user(&self.user_id, &other.user_id)
            && (&self.app_id, &self.base_url) == (&other.app_id, &other.base_url)
    }
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    form: u32,
    #[serde(flatten)]
    app: App,
    requested: usize,
    duplicates: usize,
    requests: u64,
    elapsed: f64,
}

/// Saves a plan to a file, which only its owner may read. One that is there is replaced if it is a plan. Blocks.
///
/// # Errors
/// [`PlanFileError`] when the file is something else, or cannot be written; then it is as it was.
pub fn save(path: &Path, plan: &Plan, app: &App) -> Result<(), PlanFileError> {
    let path = files::target(path)?;
    check_replaceable(&path)?;
    let lock = FileLock::try_acquire(&beside(&path, ".lock")).map_err(|error| match error {
        LockError::Busy => PlanFileError::Busy,
        LockError::Io(error) => PlanFileError::Io(error),
    })?;
    check_replaceable(&path)?;
    let is_ours = |head: &[u8]| MAGIC.starts_with(head) || head.starts_with(MAGIC);
    let saved = files::rewrite(&path, is_ours, |mut file, _| Ok(file.write_all(&to_bytes(plan, app)?)?));
    drop(lock);
    saved
}

fn check_replaceable(path: &Path) -> Result<(), PlanFileError> {
    match open_existing(path, OpenOptions::new().read(true))? {
        None => Ok(()),
        Some(file) if file.metadata()?.len() == 0 => Ok(()),
        Some(file) => match metadata_of(file) {
            Ok(_) | Err(PlanFileError::OtherForm { .. }) => Ok(()),
            Err(_) => Err(PlanFileError::NoPlan),
        },
    }
}

fn metadata_of(file: File) -> Result<Metadata, PlanFileError> {
    let reader = guarded(|| Ok(SerializedFileReader::new(file)?)).map_err(|_| PlanFileError::NoPlan)?;
    parse_metadata(reader.metadata().file_metadata().key_value_metadata())
}

fn parse_metadata(values: Option<&Vec<KeyValue>>) -> Result<Metadata, PlanFileError> {
    #[derive(Deserialize)]
    struct Form {
        form: u32,
    }
    let found = values.into_iter().flatten().find(|it| it.key == KEY);
    let text = found.and_then(|it| it.value.as_deref()).ok_or(PlanFileError::NoPlan)?;
    let damaged = |error: serde_json::Error| PlanFileError::Damaged(error.to_string());
    match serde_json::from_str::<Form>(text).map_err(damaged)?.form {
        FORM => serde_json::from_str(text).map_err(damaged),
        found => Err(PlanFileError::OtherForm { found }),
    }
}

/// Loads a plan from a file. Blocks.
///
/// # Errors
/// [`PlanFileError`] when the file cannot be read, is no plan, or is damaged.
pub fn load(path: &Path) -> Result<(Plan, App), PlanFileError> {
    let mut bytes = Vec::new();
    open_plain(path, OpenOptions::new().read(true))?.read_to_end(&mut bytes)?;
    from_bytes(bytes.into())
}

/// A plan as the content of a file.
///
/// # Errors
/// [`PlanFileError::Damaged`]: never, for a plan has these columns.
pub fn to_bytes(plan: &Plan, app: &App) -> Result<Vec<u8>, PlanFileError> {
    let metadata = Metadata {
        form: FORM,
        app: app.clone(),
        requested: plan.requested,
        duplicates: plan.duplicates,
        requests: plan.requests,
        elapsed: plan.elapsed.as_secs_f64(),
    };
    let damaged = |error: serde_json::Error| PlanFileError::Damaged(error.to_string());
    let metadata = KeyValue::new(KEY.into(), serde_json::to_string(&metadata).map_err(damaged)?);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_dictionary_enabled(false)
        .set_key_value_metadata(Some(vec![metadata]));
    for repeated in ["action", "input_id", "creator", "status"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(repeated), true);
    }
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
    let rows = plan.table.num_rows();
    for start in (0..rows).step_by(ROWS_PER_GROUP) {
        let rows = plan.table.slice(start, ROWS_PER_GROUP.min(rows - start));
        let mut group = writer.next_row_group()?;
        for column in rows.columns() {
            write_column(&mut group, column)?;
        }
        group.close()?;
    }
    Ok(writer.into_inner()?)
}

fn write_column(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    column: &ArrayRef,
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = (0..column.len()).map(|row| i16::from(column.is_valid(row))).collect();
    let Some(mut writer) = group.next_column()? else { return Ok(()) };
    let text = |value: &str| ByteArray::from(value.as_bytes().to_vec());
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let values: &StringArray = dictionary.values().as_string();
            let values: Vec<ByteArray> =
                dictionary.keys().iter().flatten().map(|key| text(values.value(key as usize))).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        DataType::Utf8 => {
            let texts: &StringArray = column.as_string();
            let values: Vec<ByteArray> = texts.iter().flatten().map(text).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
        }
        DataType::Boolean => {
            let flags: &BooleanArray = column.as_boolean();
            let values: Vec<bool> = flags.iter().flatten().collect();
            writer.typed::<BoolType>().write_batch(&values, Some(&levels), None)?;
        }
        _ => {
            let times: &TimestampMicrosecondArray = column.as_primitive::<TimestampMicrosecondType>();
            let values: Vec<i64> = times.iter().flatten().collect();
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
    }
    writer.close()
}

/// A plan out of the content of a file.
///
/// # Errors
/// [`PlanFileError`] when it is no plan, or is damaged.
pub fn from_bytes(bytes: Bytes) -> Result<(Plan, App), PlanFileError> {
    let reader = guarded(|| Ok(SerializedFileReader::new(bytes)?)).map_err(|_| PlanFileError::NoPlan)?;
    let file = reader.metadata().file_metadata();
    let metadata = parse_metadata(file.key_value_metadata())?;
    let expected = parse_message_type(SCHEMA)?;
    if file.schema().get_fields() != expected.get_fields() {
        return Err(PlanFileError::Damaged("its columns are not those of a plan".into()));
    }
    let table = guarded(|| read_table(&reader))?;
    let elapsed = Duration::try_from_secs_f64(metadata.elapsed).unwrap_or_default();
    let plan = Plan::of_table(table, metadata.requested, metadata.duplicates, metadata.requests, elapsed);
    let unknown = |name| PlanFileError::Damaged(format!("its action {name:?} is not known"));
    Ok((plan.map_err(unknown)?, metadata.app))
}

fn read_table(reader: &SerializedFileReader<Bytes>) -> Result<RecordBatch, ColumnsError> {
    let [mut actions, mut creators, mut statuses] =
        [(); 3].map(|()| StringDictionaryBuilder::<Int32Type>::new());
    let [mut input_ids, mut annotation_ids] = [(); 2].map(|()| StringBuilder::new());
    let (mut created_at, mut made_by_model) = (TimestampMicrosecondBuilder::new(), BooleanBuilder::new());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let group = &*group;
        texts(group, 0)?.into_iter().try_for_each(|text| append(&mut actions, text))?;
        input_ids.extend(texts(group, 1)?);
        annotation_ids.extend(texts(group, 2)?);
        texts(group, 3)?.into_iter().try_for_each(|text| append(&mut creators, text))?;
        texts(group, 4)?.into_iter().try_for_each(|text| append(&mut statuses, text))?;
        created_at.extend(values::<Int64Type>(group, 5)?);
        values::<BoolType>(group, 6)?.into_iter().for_each(|flag| made_by_model.append_option(flag));
    }
    let table = plan::table([
        Arc::new(actions.finish()),
        Arc::new(input_ids.finish()),
        Arc::new(annotation_ids.finish()),
        Arc::new(creators.finish()),
        Arc::new(statuses.finish()),
        Arc::new(created_at.finish().with_timezone("UTC")),
        Arc::new(made_by_model.finish()),
    ]);
    table.map_err(|error| ColumnsError::Invalid(error.to_string()))
}

fn append(
    builder: &mut StringDictionaryBuilder<Int32Type>,
    text: Option<String>,
) -> Result<(), ColumnsError> {
    match text {
        Some(text) => {
            builder.append(text).map(|_| ()).map_err(|error| ColumnsError::Invalid(error.to_string()))
        }
        None => {
            builder.append_null();
            Ok(())
        }
    }
}

fn texts(group: &dyn RowGroupReader, column: usize) -> Result<Vec<Option<String>>, ColumnsError> {
    let text = |bytes: ByteArray| {
        String::from_utf8(bytes.data().to_vec())
            .map_err(|_| ColumnsError::Invalid("a value is not UTF-8".into()))
    };
    values::<ByteArrayType>(group, column)?.into_iter().map(|value| value.map(text).transpose()).collect()
}

/// The values of a column of a row group, `None` for a null.
fn values<T: ParquetType>(
    group: &dyn RowGroupReader,
    column: usize,
) -> Result<Vec<Option<T::T>>, ColumnsError> {
    let count = group.metadata().num_rows() as usize;
    let is_nullable = group.metadata().schema_descr().column(column).max_def_level() > 0;
    let reader: ColumnReader = group.get_column_reader(column)?;
    let mut reader: ColumnReaderImpl<T> = get_typed_column_reader(reader);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let (read, ..) = reader.read_records(count, is_nullable.then_some(&mut levels), None, &mut values)?;
    if read < count {
        return Err(ColumnsError::Invalid("a row group has fewer rows than it says".into()));
    }
    let mut values = values.into_iter();
    let is_there = |row: usize| levels.get(row).is_none_or(|&level| level > 0);
    Ok((0..count).map(|row| if is_there(row) { values.next() } else { None }).collect())
}
