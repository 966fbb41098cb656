//! Folds the logs of a backup into its Parquet file. The rows stay in the logs until the file is safe on the disk.

use std::{
    fs::{self, File},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    BackupRow, MAGIC, Present,
    logs::{self, Log},
    open_present,
    parquet_file::{Footer, ParquetFile},
    reader::{log_rows, parquet_rows},
};
use crate::files::{self, FileLock};

/// A larger file is not written anew for a few more rows, as long as no more than an eighth of it is dead.
const LARGE: u64 = 8 << 20;
/// When a file is written anew, row groups with fewer rows are merged.
const FEW_ROWS: i64 = 32_768;
const FEW_BYTES: i64 = 8 << 20;

/// Why a fold did not come to its end. What was saved stays in the logs.
pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Folds all logs of a backup, whose lock is held. Blocks.
///
/// # Errors
/// A file cannot be read or written, or `is_abandoned` was set.
pub(super) fn fold(backup: &Path, lock: &FileLock, is_abandoned: &AtomicBool) -> Result<()> {
    let logs = logs::find(backup)?;
    let old = open_present(backup)?;
    // A crash may have come between a fold and the end of its logs.
    let is_new = |log: &&Log| match &old {
        Present::Backup(_, footer) => !footer.has_folded(log.header.id),
        Present::Nothing | Present::Other(_) => true,
    };
    let new: Vec<_> = logs.iter().filter(is_new).collect();
    if !new.iter().any(|log| log_rows(log).next().is_some()) {
        logs.iter().for_each(Log::remove);
        return Ok(());
    }
    let push_logs = |file: &mut ParquetFile| -> Result<()> {
        file.name_journals(logs.iter().map(|log| log.header.journal.clone()));
        file.name_folded(logs.iter().map(|log| log.header.id));
        for row in new.iter().flat_map(|log| log_rows(log)) {
            check(is_abandoned)?;
            file.push(row?)?;
        }
        file.finish()
    };
    let old = match old {
        Present::Nothing => None,
        Present::Backup(file, footer) => Some((file, footer)),
        Present::Other(_) => return Err("something else was put in its place".into()),
    };
    match old {
        Some((file, footer)) if is_extended(&footer) => {
            // A crash from here on leaves a tail that does not count, and the logs.
            lock.renew()?;
            let mut file = ParquetFile::extend(file, &footer)?;
            push_logs(&mut file)?;
            file.file().sync_all()?;
        }
        old => {
            let is_ours = |head: &[u8]| head.is_empty() || head.starts_with(MAGIC);
            files::rewrite(backup, is_ours, |new, partial| -> Result<()> {
                let mut file = ParquetFile::begin(new.try_clone()?)?;
                if let Some((mut old, footer)) = old {
                    fs::set_permissions(partial, old.metadata()?.permissions())?;
                    copy(&mut old, &footer, &mut file, is_abandoned)?;
                }
                push_logs(&mut file)?;
                Ok(lock.renew()?)
            })?;
        }
    }
    logs.iter().for_each(Log::remove);
    Ok(())
}

/// Whether row groups are appended to a file, instead of writing it anew.
fn is_extended(footer: &Footer) -> bool {
    footer.end >= LARGE && footer.end - footer.live_bytes <= footer.live_bytes / 8
}

/// Copies the rows of a file, small row groups together.
fn copy(old: &mut File, footer: &Footer, new: &mut ParquetFile, is_abandoned: &AtomicBool) -> Result<()> {
    new.name_journals(footer.journals());
    for (number, group) in footer.metadata.row_groups().iter().enumerate() {
        check(is_abandoned)?;
        let is_small = group.num_rows() < FEW_ROWS && group.compressed_size() < FEW_BYTES;
        let rows: Option<Vec<BackupRow>> = match is_small {
            // What another program changed, so that its columns disagree, is kept as it is.
            true => parquet_rows(old, footer.end, Some(number)).and_then(Iterator::collect).ok(),
            false => None,
        };
        match rows {
            Some(rows) => rows.into_iter().try_for_each(|row| new.push(row))?,
            None => new.copy_group(old, group)?,
        }
    }
    Ok(())
}

fn check(is_abandoned: &AtomicBool) -> Result<()> {
    if is_abandoned.load(Ordering::Relaxed) { Err("nobody waited for it any more".into()) } else { Ok(()) }
}
