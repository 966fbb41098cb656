//! A report as a table: for a notebook in HTML, for other libraries as an Arrow stream.

use std::{ffi::CStr, fmt::Write as _, ops::Range, sync::Arc};

use arrow_array::{
    ArrayRef, Int32Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray, UInt32Array,
    ffi_stream::FFI_ArrowArrayStream,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use pyo3::{prelude::*, types::PyCapsule};

use super::report::{Failure, Rows};

/// The capsule's name, by the Arrow PyCapsule interface.
const STREAM: &CStr = c"arrow_array_stream";
/// Rows of one record batch.
const BATCH: usize = 65_536;
/// Rows that a notebook shows.
const SHOWN: usize = 20;

/// Exports what is not deleted as an Arrow stream, a row an ID.
///
/// pyo3-arrow could, too, and would bring every cast that Arrow knows for a schema that a consumer may request;
/// the interface lets a producer answer in its own.
pub fn failures_stream(py: Python<'_>, rows: Arc<Rows>) -> PyResult<Bound<'_, PyCapsule>> {
    let fields = [
        ("position", DataType::UInt32, false),
        ("input_id", DataType::Utf8, false),
        ("annotation_id", DataType::Utf8, true),
        ("outcome", DataType::Utf8, false),
        ("code", DataType::Int32, false),
        ("name", DataType::Utf8, false),
        ("message", DataType::Utf8, false),
        ("request_id", DataType::Utf8, false),
    ];
    let fields = fields.map(|(name, kind, nullable)| Field::new(name, kind, nullable));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    // Batches are made as they are read, however many there are.
    let starts = (0..rows.len()).step_by(BATCH);
    let of_batch = Arc::clone(&schema);
    let batches =
        starts.map(move |start| record_batch(&of_batch, &rows, start..rows.len().min(start + BATCH)));
    stream(py, RecordBatchIterator::new(batches, schema))
}

/// Exports record batches as an Arrow stream.
pub fn stream(
    py: Python<'_>,
    batches: impl RecordBatchReader + Send + 'static,
) -> PyResult<Bound<'_, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(batches)), STREAM)
}

fn record_batch(schema: &Arc<Schema>, rows: &Rows, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
    let failures: Vec<Failure> = range.map(|index| rows.failure(index)).collect();
    let text = |of: fn(&Failure) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(failures.iter().map(of)))
    };
    let annotation_ids: StringArray =
        failures.iter().map(|failure| failure.annotation_id.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(failures.iter().map(|failure| failure.position as u32))),
        text(|failure| &failure.input_id),
        Arc::new(annotation_ids),
        text(|failure| failure.outcome),
        Arc::new(Int32Array::from_iter_values(failures.iter().map(|failure| failure.code))),
        text(|failure| &failure.name),
        text(|failure| &failure.message),
        text(|failure| &failure.request_id),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Counts in HTML, side by side.
pub fn counts(counts: &[(&str, String)]) -> String {
    let mut html = String::from("<table><thead><tr>");
    for (name, _) in counts {
        let _ = write!(html, "<th>{name}</th>");
    }
    html += "</tr></thead><tbody><tr>";
    for (_, value) in counts {
        let _ = write!(html, "<td>{value}</td>");
    }
    html + "</tr></tbody></table>"
}

/// A report in HTML: its counts, and the first of what is not deleted.
pub fn html(named: &[(&str, String)], rows: &Rows) -> String {
    let mut html = counts(named);
    if rows.len() == 0 {
        return html;
    }
    html += "<table><thead><tr><th>position</th><th>input_id</th><th>annotation_id</th><th>outcome</th>\
             <th>message</th></tr></thead><tbody>";
    for index in 0..rows.len().min(SHOWN) {
        let Failure { position, input_id, annotation_id, outcome, message, .. } = rows.failure(index);
        let cells = [
            position.to_string(),
            escaped(&input_id),
            escaped(annotation_id.as_deref().unwrap_or_default()),
            outcome.into(),
            escaped(&message),
        ];
        let _ = write!(html, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
    }
    html += "</tbody></table>";
    if rows.len() > SHOWN {
        let _ = write!(html, "<p>… and {} more in <code>.failures</code></p>", rows.len() - SHOWN);
    }
    html
}

/// IDs and messages come from outside: none may be taken for markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
