//! What a sequence of rows that are made when they are looked at does with an index.

use pyo3::{
    PyClass,
    exceptions::{PyIndexError, PyTypeError},
    prelude::*,
    types::{PyList, PySlice},
};

/// The item at an index, from the end where it is negative; for a slice, a list of items.
///
/// # Errors
/// An `IndexError` beyond `len`; a `TypeError` for anything but integers and slices.
pub fn get<'py, T: PyClass + Into<PyClassInitializer<T>>>(
    py: Python<'py>,
    index: &Bound<'py, PyAny>,
    len: usize,
    what: &str,
    item: impl Fn(usize) -> T,
) -> PyResult<Bound<'py, PyAny>> {
    let len = len as isize;
    if let Ok(slice) = index.cast::<PySlice>() {
        let slice = slice.indices(len)?;
        let indices = (0..slice.slicelength as isize).map(|n| (slice.start + n * slice.step) as usize);
        let items = indices.map(|index| Bound::new(py, item(index))).collect::<PyResult<Vec<_>>>()?;
        return Ok(PyList::new(py, items)?.into_any());
    }
    let Ok(index) = index.extract::<isize>() else {
        return Err(PyTypeError::new_err(format!("{what} are indexed by integers or slices")));
    };
    let index = if index < 0 { index + len } else { index };
    if !(0..len).contains(&index) {
        return Err(PyIndexError::new_err(format!("there are not so many {what}")));
    }
    Ok(Bound::new(py, item(index as usize))?.into_any())
}
