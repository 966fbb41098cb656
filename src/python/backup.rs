//! `open_backup`: the rows of a backup, as an Arrow stream.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use arrow_array::{
    BinaryArray, BooleanArray, RecordBatch, RecordBatchReader, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use pyo3::{exceptions::PyOSError, prelude::*, types::PyCapsule};

use super::{errors, parameters::absolute, table};
use crate::{
    backup::{BackupReader, BackupRow},
    error::Error,
};

/// A record batch has no more rows than this, and no more bytes of annotations, more or less.
const MAX_ROWS: usize = 16_384;
const MAX_BYTES: usize = 8 << 20;

/// Open a backup to read it.
///
/// A backup is a Parquet file, and any program that reads Parquet reads it. While a call with this backup
/// runs, or after a crash, a part of it is in logs beside the file (``PATH.1.log`` and so on): what this
/// function gives has the rows of both, up to the last sync.
///
/// Args:
///     path: Path of the file that ``backup=`` of a deletion names.
///
/// Returns:
///     The backup, which exports its rows as an Arrow stream.
///
/// Raises:
///     BackupError: The file cannot be read, or is no backup.
///
/// Example:
///     >>> import polars
///     >>> polars.DataFrame(open_backup("doubtful.parquet"))
#[pyfunction]
pub fn open_backup(py: Python<'_>, path: PathBuf) -> PyResult<PyBackup> {
    let path = absolute("path", path)?;
    py.detach(|| BackupReader::open(&path)).map_err(|error| errors::without_settings(py, &error))?;
    Ok(PyBackup { path })
}

/// A backup that can be read. See `open_backup`.
///
/// It exports all its rows as an Arrow stream: ``polars.DataFrame(backup)``, ``pyarrow.table(backup)``.
#[pyclass(name = "Backup", module = "clarifai_annotations", frozen)]
pub struct PyBackup {
    path: PathBuf,
}

#[pymethods]
impl PyBackup {
    /// Path of the Parquet file.
    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    /// Count the rows of each app. Reads the whole backup.
    ///
    /// Returns:
    ///     The number of rows by user ID and app ID. An annotation that was saved twice counts twice.
    ///
    /// Raises:
    ///     BackupError: The backup is damaged.
    fn count_by_app(&self, py: Python<'_>) -> PyResult<BTreeMap<(String, String), u64>> {
        let count = || {
            let mut counts = BTreeMap::new();
            for row in BackupReader::open(&self.path)?.rows()? {
                let row = row?;
                *counts.entry((row.user_id.to_string(), row.app_id.to_string())).or_default() += 1;
            }
            Ok(counts)
        };
        py.detach(count).map_err(|error| errors::without_settings(py, &error))
    }

    fn __repr__(&self) -> String {
        format!("<Backup {}>", self.path.display())
    }

    /// Export all rows as an Arrow stream, as they are in the files now.
    ///
    /// Its columns: ``user_id``, ``app_id``, ``input_id``, ``annotation_id``, ``created_at``, ``status``,
    /// ``input_level``, and ``annotation``, a serialized ``clarifai.api.Annotation``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let reader = py
            .detach(|| BackupReader::open(&self.path))
            .map_err(|error| errors::without_settings(py, &error))?;
        let batches = Batches::read(reader).map_err(|error| PyOSError::new_err(error.to_string()))?;
        table::stream(py, batches)
    }
}

/// Record batches that a thread reads ahead, one at a time.
struct Batches {
    schema: SchemaRef,
    read: mpsc::Receiver<Result<RecordBatch, ArrowError>>,
}

impl Batches {
    fn read(reader: BackupReader) -> std::io::Result<Self> {
        let field = |name: &str, kind, is_nullable| Field::new(name, kind, is_nullable);
        let microseconds = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![
            field("user_id", DataType::Utf8, false),
            field("app_id", DataType::Utf8, false),
            field("input_id", DataType::Utf8, false),
            field("annotation_id", DataType::Utf8, false),
            field("created_at", microseconds, true),
            field("status", DataType::Utf8, true),
            field("input_level", DataType::Boolean, false),
            field("annotation", DataType::Binary, false),
        ]));
        let (sender, read) = mpsc::sync_channel(1);
        let of_batch = Arc::clone(&schema);
        thread::Builder::new().name("clarifai-read".into()).spawn(move || {
            // When nobody reads any more, the send fails.
            let _ = send_batches(&reader, &of_batch, &sender);
        })?;
        Ok(Self { schema, read })
    }
}

type Sender = mpsc::SyncSender<Result<RecordBatch, ArrowError>>;

fn send_batches(
    reader: &BackupReader,
    schema: &SchemaRef,
    sender: &Sender,
) -> Result<(), mpsc::SendError<Result<RecordBatch, ArrowError>>> {
    let external = |error: Error| ArrowError::ExternalError(Box::new(error));
    let rows = match reader.rows() {
        Ok(rows) => rows,
        Err(error) => return sender.send(Err(external(error))),
    };
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    for row in rows {
        match row {
            Ok(row) => {
                bytes += row.listed.message.len();
                gathered.push(row);
            }
            Err(error) => return sender.send(Err(external(error))),
        }
        if gathered.len() >= MAX_ROWS || bytes >= MAX_BYTES {
            sender.send(batch(schema, &std::mem::take(&mut gathered)))?;
            bytes = 0;
        }
    }
    if gathered.is_empty() { Ok(()) } else { sender.send(batch(schema, &gathered)) }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read.recv().ok()
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn batch(schema: &SchemaRef, rows: &[BackupRow]) -> Result<RecordBatch, ArrowError> {
    let text = |of: fn(&BackupRow) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(of)));
    let created_at: TimestampMicrosecondArray = rows.iter().map(|row| row.listed.created_at()).collect();
    let statuses: StringArray = rows.iter().map(|row| row.listed.status()).collect();
    let input_level: Vec<bool> = rows.iter().map(|row| row.listed.annotation.input_level).collect();
    let messages = BinaryArray::from_iter_values(rows.iter().map(|row| &row.listed.message));
    let columns = vec![
        text(|row| &row.user_id) as _,
        text(|row| &row.app_id) as _,
        text(|row| &row.listed.annotation.input_id) as _,
        text(|row| &row.listed.annotation.id) as _,
        Arc::new(created_at.with_timezone("UTC")) as _,
        Arc::new(statuses) as _,
        Arc::new(BooleanArray::from(input_level)) as _,
        Arc::new(messages) as _,
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}
