//! Reads a backup, whatever program wrote its file last, and however its calls ended.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parquet::file::serialized_reader::SerializedFileReader;

use super::{
    BackupRow,
    logs::{self, Log},
    parquet_file::last_footer,
    refuse,
};
use crate::{
    columns::{Columns, Prefix, Row, guarded},
    error::Error,
    files,
    ids::{ColumnBuilder, IdError, Targets},
    wire::{Listed, may_be_same_user},
};

/// A backup that is open for reading: its Parquet file, and the logs that are not folded into it yet. Each file is opened
/// once, so that every pass reads the same ones.
pub struct BackupReader {
    path: PathBuf,
    parquet: Option<(File, u64)>,
    logs: Vec<Log>,
    journals: Vec<PathBuf>,
}

impl BackupReader {
    /// Opens a backup. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when it does not exist, cannot be read, or is no backup.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unreadable =
            |error: io::Error| refuse(path, format!("cannot be read: {error}. Nothing was sent"));
        let target = files::target(path).map_err(unreadable)?;
        // The logs first: a call that folds them meanwhile moves rows into the file, and not out of it.
        let mut logs = logs::find(&target).map_err(unreadable)?;
        let mut journals: Vec<_> = logs.iter().map(|log| log.header.journal.clone()).collect();
        let parquet = match files::open_plain(&target, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !logs.is_empty() => None,
            Err(error) => return Err(unreadable(error)),
            Ok(mut file) => match last_footer(&mut file).map_err(unreadable)? {
                Some(footer) => {
                    journals.extend(footer.journals());
                    logs.retain(|log| !footer.has_folded(log.header.id));
                    Some((file, footer.end))
                }
                None if !logs.is_empty() => None,
                None => return Err(refuse(path, "is no backup: it is no Parquet file. Nothing was sent")),
            },
        };
        let journals = journals.into_iter().filter(|journal| !journal.is_empty()).map(PathBuf::from);
        Ok(Self { path: path.into(), parquet, journals: journals.collect(), logs })
    }

    /// Where it is, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journals of the calls that wrote it.
    pub fn journals(&self) -> &[PathBuf] {
        &self.journals
    }

    /// Every row, from the first on. An annotation that was saved more than once is there more than once. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`], here or as an item: the file is damaged, or a row and its annotation disagree.
    pub fn rows(&self) -> Result<impl Iterator<Item = Result<BackupRow, Error>>, Error> {
        let refuse = |why: String| refuse(&self.path, format!("{why}. Nothing was sent"));
        let saved = match &self.parquet {
            Some((file, end)) => Some(parquet_rows(file, *end, None).map_err(refuse)?),
            None => None,
        };
        let logged = self.logs.iter().flat_map(log_rows);
        Ok(saved.into_iter().flatten().chain(logged).map(move |row| row.map_err(refuse)))
    }
}

/// The rows of a log. An error is the last of them.
pub(super) fn log_rows(log: &Log) -> impl Iterator<Item = Result<BackupRow, String>> {
    let (user_id, app_id): (Arc<str>, Arc<str>) =
        (log.header.user_id.as_str().into(), log.header.app_id.as_str().into());
    let mut records = log.annotations().map_err(Some);
    std::iter::from_fn(move || {
        let read = match &mut records {
            Ok(records) => records.next_record().transpose()?,
            Err(error) => Err(error.take()?),
        };
        let row = read.map_err(|error| error.to_string()).and_then(|message| {
            let listed = Listed::parse(message)
                .map_err(|error| format!("holds something that is no annotation: {error}"))?;
            Ok(BackupRow { user_id: Arc::clone(&user_id), app_id: Arc::clone(&app_id), listed })
        });
        Some(row)
    })
}

/// The rows of a Parquet file up to its end, or of one of its row groups.
pub(super) fn parquet_rows(
    file: &File,
    end: u64,
    group: Option<usize>,
) -> Result<impl Iterator<Item = Result<BackupRow, String>>, String> {
    const NAMES: [&str; 5] = ["user_id", "app_id", "input_id", "annotation_id", "annotation"];
    let file = file.try_clone().map_err(|error| error.to_string())?;
    let reader = guarded(|| Ok(SerializedFileReader::new(Prefix { file, len: end })?));
    let reader = reader.map_err(|error| error.to_string())?;
    let columns = Columns::new(reader, &NAMES).map_err(|error| format!("is no backup: {error}"))?;
    let mut columns = match group {
        Some(group) => columns.of_group(group),
        None => columns,
    };
    let (mut read, mut number, mut has_failed) = (Vec::new().into_iter(), 0_u64, false);
    let mut names: [Arc<str>; 2] = ["".into(), "".into()];
    Ok(std::iter::from_fn(move || {
        loop {
            if has_failed {
                return None;
            }
            if let Some(row) = read.next() {
                number += 1;
                let row = row_of(row, &mut names).map_err(|why| format!("row {} {why}", number - 1));
                has_failed = row.is_err();
                return Some(row);
            }
            match columns.next_rows() {
                Ok(rows) if rows.is_empty() => return None,
                Ok(rows) => read = rows.into_iter(),
                Err(error) => {
                    has_failed = true;
                    return Some(Err(error.to_string()));
                }
            }
        }
    }))
}

/// A row of the five columns, whose annotation must be what the row says.
fn row_of(row: Row, names: &mut [Arc<str>; 2]) -> Result<BackupRow, String> {
    let Ok([user, app, input, annotation, message]) = <[Option<Bytes>; 5]>::try_from(row) else {
        return Err("lacks a column".into());
    };
    let text = |value: Option<Bytes>| value.and_then(|value| String::from_utf8(value.into()).ok());
    let [Some(user), Some(app), Some(input), Some(annotation)] = [user, app, input, annotation].map(text)
    else {
        return Err("lacks an ID".into());
    };
    let message = message.ok_or("holds no annotation")?;
    let listed =
        Listed::parse(message).map_err(|error| format!("holds something that is no annotation: {error}"))?;
    let (its_input, its_id) = (&listed.annotation.input_id, &listed.annotation.id);
    if (its_input, its_id) != (&input, &annotation) {
        return Err(format!(
            "says annotation {annotation:?} of input {input:?}, and holds annotation {its_id:?} of input {its_input:?}"
        ));
    }
    // Most rows are of the same app as the one before.
    for (name, value) in names.iter_mut().zip([user, app]) {
        if **name != *value {
            *name = value.into();
        }
    }
    let [user_id, app_id] = names.clone();
    Ok(BackupRow { user_id, app_id, listed })
}

/// Which annotations of an app a backup holds. One that was saved more than once counts as it was saved last.
pub struct Copies {
    reader: BackupReader,
    /// The pairs, in the backup's order.
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
        reader: BackupReader,
        user_id: &str,
        app_id: &str,
        input_ids: Option<&HashSet<String>>,
    ) -> Result<Self, Error> {
        let path = reader.path().to_owned();
        let invalid = |why: String| refuse(&path, format!("{why}. Nothing was sent"));
        let mut ids = [ColumnBuilder::new("input_ids"), ColumnBuilder::new("annotation_ids")];
        let (mut rows, mut others, mut has_own) = (Vec::new(), HashSet::new(), false);
        for (number, row) in reader.rows()?.enumerate() {
            let row = row?;
            let number = u32::try_from(number);
            let number = number.map_err(|_| invalid("has more than 2³² rows: split it".into()))?;
            let is_own = *row.app_id == *app_id && may_be_same_user(&row.user_id, user_id);
            has_own |= is_own;
            let annotation = &row.listed.annotation;
            if !is_own {
                others.insert((row.user_id, row.app_id));
            } else if input_ids.is_none_or(|wanted| wanted.contains(&annotation.input_id)) {
                for (column, id) in ids.iter_mut().zip([&annotation.input_id, &annotation.id]) {
                    column.push(id).map_err(|error| refuse(&path, error))?;
                }
                rows.push(number);
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
        Self::latest(reader, ids, rows).map_err(|error| invalid(error.to_string()))
    }

    fn latest(reader: BackupReader, ids: [ColumnBuilder; 2], rows: Vec<u32>) -> Result<Self, IdError> {
        let [input_ids, annotation_ids] = ids.map(ColumnBuilder::finish);
        let targets = Targets::pairs(input_ids, annotation_ids)?;
        let superseded = targets.duplicates();
        if superseded == 0 {
            return Ok(Self { reader, targets: Arc::new(targets), superseded, rows });
        }
        // Backwards, the last mention of a pair is its first.
        let backwards = targets.picked((0..rows.len()).rev())?;
        let mut kept: Vec<_> =
            (0..backwards.len()).map(|place| rows.len() - 1 - backwards.get(place).position).collect();
        kept.sort_unstable();
        let targets = targets.picked(kept.iter().copied())?;
        let rows = kept.into_iter().map(|place| rows[place]).collect();
        Ok(Self { reader, targets: Arc::new(targets), superseded, rows })
    }

    /// The backup that they are in.
    pub fn reader(&self) -> &BackupReader {
        &self.reader
    }

    /// The annotations themselves, serialized, in the order of the pairs. Blocks.
    ///
    /// # Errors
    /// [`Error::Backup`] when the file cannot be read.
    pub fn messages(&self) -> Result<impl Iterator<Item = Result<Bytes, Error>>, Error> {
        let mut rows = self.reader.rows()?.enumerate();
        let mut wanted = self.rows.iter().peekable();
        Ok(std::iter::from_fn(move || {
            let next = **wanted.peek()?;
            loop {
                match rows.next() {
                    Some((_, Err(error))) => return Some(Err(error)),
                    Some((number, Ok(row))) if number as u32 == next => {
                        wanted.next();
                        return Some(Ok(row.listed.message));
                    }
                    Some(_) => {}
                    None => return Some(Err(refuse(&self.reader.path, "has fewer rows than before"))),
                }
            }
        }))
    }
}
