//! Columns of texts or bytes out of a Parquet file, a few thousand rows at a time.

use std::{
    fs::File,
    io::{self, BufReader},
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use bytes::Bytes;
use parquet::{
    basic::{ConvertedType, LogicalType, Type as PhysicalType},
    column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader},
    data_type::{ByteArray, ByteArrayType},
    errors::ParquetError,
    file::{
        reader::{ChunkReader, FileReader as _, Length},
        serialized_reader::SerializedFileReader,
    },
    schema::types::SchemaDescriptor,
};

/// The most rows of one read, and the most bytes, more or less.
const MAX_ROWS: usize = 8192;
const MAX_BYTES: usize = 4 << 20;

/// Why columns cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ColumnsError {
    /// The file cannot be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Invalid(String),
}

impl From<ParquetError> for ColumnsError {
    fn from(error: ParquetError) -> Self {
        let text = error.to_string();
        let text = text.trim_start_matches("Parquet error: ");
        match text.strip_prefix("Disabled feature at compile time: ") {
            Some(codec) => {
                Self::Invalid(format!("is compressed by {codec}, which is not read here: write it with zstd"))
            }
            None => Self::Invalid(text.into()),
        }
    }
}

/// Runs what reads a file. The parquet crate is not ready for every kind of damage, and panics at some.
///
/// # Errors
/// Those of `read`; [`ColumnsError::Invalid`] when it panics.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, ColumnsError>) -> Result<T, ColumnsError> {
    let damaged = |_| Err(ColumnsError::Invalid("the file is damaged".into()));
    panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(damaged)
}

/// A file of which no more than `len` bytes count.
pub struct Prefix {
    /// The file.
    pub file: File,
    /// How much of it counts.
    pub len: u64,
}

impl Length for Prefix {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Prefix {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.file.get_bytes(start, length)
    }
}

/// Reads some columns of a Parquet file in step.
pub struct Columns {
    reader: SerializedFileReader<Prefix>,
    columns: Vec<usize>,
    next_group: usize,
    end_group: usize,
    group: Vec<ColumnReaderImpl<ByteArrayType>>,
    left_in_group: usize,
    rows_per_read: usize,
}

/// One row: the value of each column, `None` for a null.
pub type Row = Vec<Option<Bytes>>;

impl Columns {
    /// Opens a file of any program's.
    ///
    /// # Errors
    /// [`ColumnsError`] when it cannot be opened, is no Parquet file, or has no such column of strings.
    pub fn open(path: &Path, names: &[impl AsRef<str>]) -> Result<Self, ColumnsError> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let reader = guarded(|| Ok(SerializedFileReader::new(Prefix { file, len })?))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        for name in names {
            let column = column(schema, name.as_ref())?;
            if !is_text(schema, column) {
                let text = format!("column {:?} is not of strings: cast it first", name.as_ref());
                return Err(ColumnsError::Invalid(text));
            }
        }
        Self::new(reader, names)
    }

    /// Reads columns of strings or bytes.
    ///
    /// # Errors
    /// [`ColumnsError::Invalid`] when there is no such column.
    pub fn new(
        reader: SerializedFileReader<Prefix>,
        names: &[impl AsRef<str>],
    ) -> Result<Self, ColumnsError> {
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = names.iter().map(|name| column(schema, name.as_ref())).collect::<Result<_, _>>()?;
        let end_group = reader.num_row_groups();
        let group = Vec::new();
        Ok(Self { reader, columns, next_group: 0, end_group, group, left_in_group: 0, rows_per_read: 0 })
    }

    /// Only the rows of one row group.
    pub fn of_group(self, number: usize) -> Self {
        Self { next_group: number, end_group: number + 1, ..self }
    }

    /// All columns of the file, also those that are not read.
    pub fn names(&self) -> Vec<String> {
        names(self.reader.metadata().file_metadata().schema_descr())
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// [`ColumnsError::Invalid`] when the file is damaged.
    pub fn next_rows(&mut self) -> Result<Vec<Row>, ColumnsError> {
        guarded(|| self.read_rows())
    }

    fn read_rows(&mut self) -> Result<Vec<Row>, ColumnsError> {
        while self.left_in_group == 0 {
            if self.next_group >= self.end_group {
                return Ok(Vec::new());
            }
            let group = self.reader.get_row_group(self.next_group)?;
            self.next_group += 1;
            self.left_in_group = group.metadata().num_rows() as usize;
            let sizes =
                self.columns.iter().map(|&column| group.metadata().column(column).uncompressed_size());
            let row_size = sizes.sum::<i64>().max(0) as usize / self.left_in_group.max(1);
            self.rows_per_read = (MAX_BYTES / row_size.max(1)).clamp(1, MAX_ROWS);
            let readers = self.columns.iter().map(|&column| group.get_column_reader(column));
            let readers = readers.collect::<Result<Vec<ColumnReader>, _>>()?;
            self.group = readers.into_iter().map(get_typed_column_reader::<ByteArrayType>).collect();
        }
        let count = self.left_in_group.min(self.rows_per_read);
        let mut rows = vec![Row::with_capacity(self.columns.len()); count];
        for (reader, &column) in self.group.iter_mut().zip(&self.columns) {
            let schema = self.reader.metadata().file_metadata().schema_descr();
            let nullable = schema.column(column).max_def_level() > 0;
            let (mut levels, mut values) = (Vec::new(), Vec::<ByteArray>::new());
            let (read, ..) =
                reader.read_records(count, nullable.then_some(&mut levels), None, &mut values)?;
            if read < count {
                return Err(ColumnsError::Invalid("a row group has fewer rows than it says".into()));
            }
            let mut values = values.into_iter();
            for (place, row) in rows.iter_mut().enumerate() {
                let is_there = levels.get(place).is_none_or(|&level| level > 0);
                row.push(if is_there {
                    values.next().map(|value| value.data().to_vec().into())
                } else {
                    None
                });
            }
        }
        self.left_in_group -= count;
        Ok(rows)
    }
}

fn names(schema: &SchemaDescriptor) -> Vec<String> {
    schema.columns().iter().map(|it| it.path().string()).collect()
}

fn column(schema: &SchemaDescriptor, name: &str) -> Result<usize, ColumnsError> {
    let columns = schema.columns();
    let Some(place) = columns.iter().position(|it| it.path().parts() == [name]) else {
        let text = format!("there is no column {name:?}; there are {}", names(schema).join(", "));
        return Err(ColumnsError::Invalid(text));
    };
    let found = &columns[place];
    if found.physical_type() != PhysicalType::BYTE_ARRAY || found.max_rep_level() > 0 {
        let text = format!("column {name:?} is not of strings: cast it first");
        return Err(ColumnsError::Invalid(text));
    }
    Ok(place)
}

fn is_text(schema: &SchemaDescriptor, column: usize) -> bool {
    let column = schema.column(column);
    matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Enum))
        || matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::ENUM)
}
