//! Python objects → ID columns. Arrow columns are taken over as they are; anything else is read item by item.

use arrow_schema::DataType;
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyByteArray, PyBytes, PyFloat, PyList, PyMapping, PyMemoryView, PyString, PyTuple, PyType},
};
use pyo3_arrow::{PyChunkedArray, input::AnyArray};

use super::errors::id_error;
use crate::ids::{Column, ColumnBuilder, IdError, column_of_a_table};

/// Reads a parameter that takes a column of IDs: a list, a tuple, any iterable of `str`, a numpy array, a pandas
/// Series or Index, or anything that exports an Arrow string column.
pub fn column(parameter: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Column> {
    if let Ok(list) = value.cast::<PyList>() {
        return from_items(parameter, list.iter().map(Ok));
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return from_items(parameter, tuple.iter().map(Ok));
    }
    refuse_non_columns(parameter, value)?;
    if let Some(column) = from_arrow(parameter, value)? {
        return Ok(column);
    }
    let Ok(items) = value.try_iter() else {
        let advice = "pass a list, a Series or another column of IDs";
        return Err(not_a_column(value, parameter, format!("of type {}", type_name(value)?), advice));
    };
    from_items(parameter, items)
}

/// Reads a parameter that takes one ID, as a column of one.
pub fn single(parameter: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Column> {
    let mut column = ColumnBuilder::single(parameter);
    push(&mut column, value)?;
    Ok(column.finish())
}

fn from_items<'py>(
    parameter: &'static str,
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Column> {
    let mut column = ColumnBuilder::new(parameter);
    for item in items {
        push(&mut column, &item?)?;
    }
    Ok(column.finish())
}

fn push(column: &mut ColumnBuilder, item: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = item.py();
    let at = column.place();
    let Ok(text) = item.cast::<PyString>() else {
        let error = match missing(item)? {
            Some(what) => IdError::Missing { at, what },
            None => IdError::NotAString { at, what: type_name(item)? },
        };
        return Err(id_error(py, &error));
    };
    match text.to_str() {
        Ok(text) => column.push(text).map_err(|error| id_error(py, &error)),
        Err(_) => Err(id_error(py, &IdError::NotUnicode { at, what: "it holds a lone surrogate" })),
    }
}

/// How a value is missing, if it is: `None`, a NaN, or the markers that pandas and numpy put there.
fn missing(item: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    if item.is_none() {
        return Ok(Some("None".into()));
    }
    if item.cast::<PyFloat>().is_ok_and(|number| number.value().is_nan()) {
        return Ok(Some("NaN".into()));
    }
    let name = match type_name(item)?.as_str() {
        "NAType" => "NA",
        "NaTType" => "NaT",
        "MaskedConstant" => "masked",
        _ => return Ok(None),
    };
    Ok(Some(name.into()))
}

/// What can be iterated over and yet is no column: its items would be letters, bytes, column names, or come in
/// no order to pair by.
fn refuse_non_columns(parameter: &'static str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    let refuse = |what: &str, advice| Err(not_a_column(value, parameter, what.into(), advice));
    if value.is_instance_of::<PyString>() {
        return refuse("a single str", "it would be read letter by letter; put it in a list");
    }
    if value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
    {
        return refuse("bytes", "they would be read byte by byte; pass a list of str");
    }
    if value.cast::<PyMapping>().is_ok() {
        return refuse("a mapping", "say which side you mean, for example list(mapping.values())");
    }
    if value.is_instance(abstract_set(py)?)? {
        return refuse("a set", "a set has no order to pair by; pass a list");
    }
    if value.hasattr("__dataframe__")? || (value.hasattr("columns")? && value.hasattr("shape")?) {
        return refuse("a table", column_of_a_table(parameter));
    }
    if let Ok(dimensions) = value.getattr("ndim").and_then(|ndim| ndim.extract::<usize>())
        && dimensions != 1
    {
        return refuse(&format!("an array of {dimensions} dimensions"), "pass an array of one dimension");
    }
    Ok(())
}

fn abstract_set(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static SET: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    Ok(SET.import(py, "collections.abc", "Set")?.as_any())
}

/// Takes over an Arrow column without an object per ID. `None` where the value exports none, or one that is
/// not of strings: its items, one by one, tell better what is wrong and where.
fn from_arrow(parameter: &'static str, value: &Bound<'_, PyAny>) -> PyResult<Option<Column>> {
    let exported = if value.hasattr("__arrow_c_stream__")? {
        value.extract::<PyChunkedArray>()
    } else if value.hasattr("__arrow_c_array__")? {
        value.extract::<AnyArray>().and_then(|array| Ok(array.into_chunked_array()?))
    } else {
        return Ok(None);
    };
    let iterable = value.hasattr("__iter__")?;
    let (chunks, field) = match exported {
        Ok(array) => array.into_inner(),
        // pandas cannot export a column of mixed types, or any without pyarrow.
        Err(_) if iterable => return Ok(None),
        Err(error) => return Err(error),
    };
    let readable = match field.data_type() {
        DataType::Dictionary(_, values) => values.is_string(),
        DataType::Struct(_) | DataType::Null => true,
        other => other.is_string(),
    };
    let empty = chunks.iter().all(|chunk| chunk.is_empty());
    if !readable && !empty && iterable {
        return Ok(None);
    }
    Column::from_arrow(parameter, &chunks).map(Some).map_err(|error| id_error(value.py(), &error))
}

fn not_a_column(
    value: &Bound<'_, PyAny>,
    parameter: &'static str,
    what: String,
    advice: &'static str,
) -> PyErr {
    id_error(value.py(), &IdError::NotAColumn { parameter, what, advice })
}

fn type_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value.get_type().name()?.to_string())
}
