//! Rows out of Parquet files, for the command line: no other package is needed to read them.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::PyTuple,
};

use crate::columns::{Columns, ColumnsError, Row};

/// Read columns of strings of a Parquet file, row by row.
///
/// Args:
///     path: The file.
///     columns: The names of the columns.
///
/// Returns:
///     An iterator of tuples, a value a column: a ``str``, or ``None`` for a null. It reads some thousand
///     rows at a time.
///
/// Raises:
///     OSError: The file cannot be opened.
///     ValueError: It is no Parquet file, a column is not there or not of strings, or a value is not text.
///
/// Example:
///     >>> for input_id, annotation_id in parquet_rows("doubtful.parquet", ["input_id", "annotation_id"]):
///     ...     print(input_id, annotation_id)
#[pyfunction]
pub fn parquet_rows(py: Python<'_>, path: PathBuf, columns: Vec<String>) -> PyResult<ParquetRows> {
    let columns = py.detach(|| Columns::open(&path, &columns)).map_err(raised)?;
    Ok(ParquetRows(Mutex::new((columns, Vec::new().into_iter()))))
}

/// See `parquet_rows`.
#[pyclass(module = "clarifai_annotations", frozen)]
pub struct ParquetRows(Mutex<(Columns, std::vec::IntoIter<Row>)>);

#[pymethods]
impl ParquetRows {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    /// All columns of the file, also those that are not read.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.names()
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (columns, read) = &mut *state;
        if read.len() == 0 {
            *read = columns.next_rows().map_err(raised)?.into_iter();
        }
        let Some(row) = read.next() else { return Ok(None) };
        let texts = row.iter().map(|value| value.as_deref().map(std::str::from_utf8).transpose());
        let texts = texts.collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|_| PyValueError::new_err("a value is not valid UTF-8"))?;
        PyTuple::new(py, texts).map(Some)
    }
}

fn raised(error: ColumnsError) -> PyErr {
    match error {
        ColumnsError::Io(error) => PyOSError::new_err(error.to_string()),
        ColumnsError::Invalid(message) => PyValueError::new_err(message),
    }
}
