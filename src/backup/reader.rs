//! Reads a backup, whatever program wrote it last, and however it ended.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parquet::file::serialized_reader::SerializedFileReader;

use super::{last_footer, refuse};
use crate::{
    columns::{Columns, ColumnsError, Prefix, Row, guarded},
    error::Error,
    ids::{ColumnBuilder, IdError, Targets},
};

/// Which annotations of an app a backup holds. One that was saved more than once counts as it was saved last.
pub struct Copies {
    path: PathBuf,
    /// The pairs, in the file's order.
    pub targets: Arc<Targets>,
    /// Rows that a later one replaces.
    pub superseded: usize,
    /// The row of each pair; ascending.
    rows: Vec<u32>,
}

impl Copies {
    /// Looks through a backup for the annotations of an app; on these inputs only, if any are given. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when the file cannot be read, is no backup, or holds annotations of other apps alone.
    pub fn find(
        path: &Path,
        user_id: &str,
        app_id: &str,
        input_ids: Option<&HashSet<String>>,
    ) -> Result<Self, Error> {
        let invalid = |why: String| refuse(path, format!("{why}. Nothing was sent"));
        let refuse_columns = |error: ColumnsError| invalid(error.to_string());
        let mut columns = columns(path, &["user_id", "app_id", "input_id", "annotation_id"])?;
        let mut ids = [ColumnBuilder::new("input_ids"), ColumnBuilder::new("annotation_ids")];
        let (mut rows, mut others, mut has_own) = (Vec::new(), HashSet::new(), false);
        let mut row = 0_u32;
        loop {
            let read = columns.next_rows().map_err(refuse_columns)?;
            if read.is_empty() {
                break;
            }
            for values in read {
                let [user, app, input_id, annotation_id] =
                    texts(values).ok_or_else(|| invalid(format!("row {row} lacks an ID")))?;
                let is_own = (user.as_str(), app.as_str()) == (user_id, app_id);
                has_own |= is_own;
                if !is_own {
                    others.insert((user, app));
                } else if input_ids.is_none_or(|wanted| wanted.contains(&input_id)) {
                    for (column, id) in ids.iter_mut().zip([&input_id, &annotation_id]) {
                        column.push(id).map_err(|error| refuse(path, error))?;
                    }
                    rows.push(row);
                }
                row = row.checked_add(1).ok_or_else(|| invalid("has more than 2³² rows: split it".into()))?;
            }
        }
        if !has_own && !others.is_empty() {
            let mut others: Vec<_> = others.iter().map(|(user, app)| format!("{user}/{app}")).collect();
            others.sort();
            return Err(invalid(format!(
                "holds nothing of the app {user_id}/{app_id}, but of {}: make a Client of that user and app",
                others.join(", ")
            )));
        }
        Self::latest(path, ids, rows).map_err(|error| invalid(error.to_string()))
    }

    fn latest(path: &Path, ids: [ColumnBuilder; 2], rows: Vec<u32>) -> Result<Self, IdError> {
        let [input_ids, annotation_ids] = ids.map(ColumnBuilder::finish);
        let targets = Targets::pairs(input_ids, annotation_ids)?;
        let superseded = targets.duplicates();
        if superseded == 0 {
            return Ok(Self { path: path.into(), targets: Arc::new(targets), superseded, rows });
        }
        // Backwards, the last mention of a pair is its first.
        let backwards = targets.picked((0..rows.len()).rev())?;
        let mut kept: Vec<_> =
            (0..backwards.len()).map(|place| rows.len() - 1 - backwards.get(place).position).collect();
        kept.sort_unstable();
        let targets = targets.picked(kept.iter().copied())?;
        Ok(Self {
            path: path.into(),
            targets: Arc::new(targets),
            superseded,
            rows: kept.into_iter().map(|place| rows[place]).collect(),
        })
    }

    /// The annotations themselves, serialized, in the order of the pairs. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when the file cannot be read.
    pub fn messages(&self) -> Result<Messages<'_>, Error> {
        let columns = columns(&self.path, &["annotation"])?;
        Ok(Messages { copies: self, columns, read: Vec::new().into_iter(), row: 0, next: 0 })
    }
}

/// See [`Copies::messages`].
pub struct Messages<'a> {
    copies: &'a Copies,
    columns: Columns,
    read: std::vec::IntoIter<Row>,
    row: u32,
    next: usize,
}

impl Iterator for Messages<'_> {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let wanted = *self.copies.rows.get(self.next)?;
        Some(self.up_to(wanted))
    }
}

impl Messages<'_> {
    fn up_to(&mut self, wanted: u32) -> Result<Bytes, Error> {
        let invalid = |why: String| refuse(&self.copies.path, why);
        loop {
            match self.read.next() {
                Some(mut values) => {
                    self.row += 1;
                    if self.row > wanted {
                        self.next += 1;
                        let message = values.pop().flatten();
                        return message.ok_or_else(|| invalid(format!("row {wanted} holds no annotation")));
                    }
                }
                None => match self.columns.next_rows() {
                    Ok(read) if read.is_empty() => {
                        return Err(invalid("has fewer rows than before".into()));
                    }
                    Ok(read) => self.read = read.into_iter(),
                    Err(error) => return Err(invalid(error.to_string())),
                },
            }
        }
    }
}

fn columns(path: &Path, names: &[&str]) -> Result<Columns, Error> {
    let invalid = |why: String| refuse(path, format!("{why}. Nothing was sent"));
    let mut file = File::open(path).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let footer = last_footer(&mut file).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let Some((_, len)) = footer else {
        return Err(invalid("is no backup: it is no Parquet file".into()));
    };
    let reader = guarded(|| Ok(SerializedFileReader::new(Prefix { file, len })?));
    let reader = reader.map_err(|error| invalid(error.to_string()))?;
    Columns::new(reader, names).map_err(|error| invalid(format!("is no backup: {error}")))
}

fn texts<const N: usize>(values: Row) -> Option<[String; N]> {
    let texts = values.into_iter().map(|value| String::from_utf8(value?.into()).ok());
    texts.collect::<Option<Vec<_>>>()?.try_into().ok()
}
