//! The copy of what is deleted: a Parquet file, a row an annotation, with the annotation's bytes as the service served
//! them. It knows nothing of the client.
//!
//! The file only ever grows. Each time something is saved, a row group and a new footer are appended, and the disk is
//! asked to have them; the footer before stays where it is, dead, and no byte that counts is written over. So the file
//! is whole at every moment but the one in which it grows; when that is cut off, what comes after the last whole footer
//! does not count, neither for the reader nor for the next writer.

mod reader;
mod writer;

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

pub use reader::{Copies, Messages};
pub use writer::{Backup, UnderWay};

use crate::{columns::guarded, error::Error};

/// The columns of a backup. `annotation` is a serialized `clarifai.api.Annotation`.
const SCHEMA: &str = "message clarifai_annotations_backup {
    required binary user_id (STRING);
    required binary app_id (STRING);
    required binary input_id (STRING);
    required binary annotation_id (STRING);
    optional int64 created_at (TIMESTAMP(MICROS, true));
    optional binary status (STRING);
    required boolean input_level;
    required binary annotation;
}";

const MAGIC: &[u8; 4] = b"PAR1";
/// A footer ends with its length in four bytes, and the magic.
const TAIL: u64 = 8;

fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Backup { message: format!("backup {}: {why}", path.display()) }
}

/// The last whole footer of a Parquet file, and where it ends. `None` where there is none.
fn last_footer(file: &mut File) -> std::io::Result<Option<(ParquetMetaData, u64)>> {
    const BLOCK: u64 = 1 << 20;
    let len = file.metadata()?.len();
    let mut head = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    if len < TAIL || file.read_exact(&mut head).is_err() || &head != MAGIC {
        return Ok(None);
    }
    let mut block_end = len;
    while block_end > 4 {
        let start = block_end.saturating_sub(BLOCK).max(4);
        // Three bytes more: a magic may stand across the border.
        let mut block = vec![0; ((block_end + 3).min(len) - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        let places = block.windows(MAGIC.len()).enumerate().rev().filter(|(_, window)| window == MAGIC);
        for (place, _) in places {
            let end = start + (place + MAGIC.len()) as u64;
            if let Some(footer) = footer_that_ends_at(file, end, len)? {
                return Ok(Some((footer, end)));
            }
        }
        block_end = start;
    }
    Ok(None)
}

fn footer_that_ends_at(file: &mut File, end: u64, len: u64) -> std::io::Result<Option<ParquetMetaData>> {
    if end < 4 + TAIL {
        return Ok(None);
    }
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(end - TAIL))?;
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length == 0 || length > end - 4 - TAIL {
        return Ok(None);
    }
    let start = end - TAIL - length;
    let mut footer = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut footer)?;
    let footer = guarded(|| Ok(ParquetMetaDataReader::decode_metadata(&footer)?)).ok();
    Ok(footer.filter(|footer| {
        let columns = || footer.row_groups().iter().flat_map(|group| group.columns());
        let first_of = |column: &ColumnChunkMetaData| {
            column.dictionary_page_offset().unwrap_or(column.data_page_offset())
        };
        let last_of = |column: &ColumnChunkMetaData| first_of(column).checked_add(column.compressed_size());
        let are_before = columns()
            .all(|column| first_of(column) >= 4 && last_of(column).is_some_and(|last| last as u64 <= start));
        // What an annotation carries may look like a footer too; but ours come right after their last row group.
        let is_ours = columns().filter_map(last_of).max().unwrap_or(4) as u64 == start;
        are_before && (is_ours || end == len)
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message as _;
    use tempfile::TempDir;

    use super::*;
    use crate::wire::{Listed, api::Annotation};

    fn annotation(input_id: &str, id: &str, task_id: &str) -> Listed {
        let annotation = Annotation {
            input_id: input_id.into(),
            id: id.into(),
            task_id: task_id.into(),
            ..Default::default()
        };
        Listed::parse(annotation.encode_to_vec().into()).unwrap()
    }

    /// Saves annotations in calls of their own, each of which appends a row group. Tells how long the file is after each.
    fn save(path: &Path, calls: &[Vec<Listed>]) -> Vec<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut lengths = Vec::new();
        for annotations in calls {
            runtime.block_on(async {
                let backup = Backup::open(path, "me", "cats").unwrap();
                backup.save(annotations.clone()).await.unwrap();
                backup.end().await;
            });
            lengths.push(fs::metadata(path).unwrap().len());
        }
        lengths
    }

    fn read(path: &Path) -> Vec<Bytes> {
        let copies = Copies::find(path, "me", "cats", None).unwrap();
        copies.messages().unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn numbered(call: usize, count: usize) -> Vec<Listed> {
        (0..count).map(|n| annotation(&format!("p{call}"), &format!("a{n}"), &"t".repeat(n))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_backup_that_is_cut_off_anywhere_is_read_up_to_its_last_whole_row_group(
            counts in prop::collection::vec(1usize..20, 1..6), cut in 0.0..1.0, garbage in any::<[u8; 3]>(),
        ) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("backup.parquet");
            let calls: Vec<_> = counts.iter().enumerate().map(|(call, &count)| numbered(call, count)).collect();
            let lengths = save(&path, &calls);
            let whole = fs::read(&path).unwrap();
            // From the end of the first row group on there is something to read.
            let length = lengths[0] + ((whole.len() as u64 - lengths[0]) as f64 * cut) as u64;
            let torn = [&whole[..length as usize], &garbage].concat();
            fs::write(&path, torn).unwrap();

            let complete = lengths.iter().filter(|&&end| end <= length).count();
            let saved = calls.iter().take(complete).flatten().map(|listed| listed.message.clone());
            prop_assert_eq!(read(&path), saved.clone().collect::<Vec<_>>());

            // The next writer cuts the tail off and goes on.
            let more = numbered(9, 2);
            save(&path, std::slice::from_ref(&more));
            let saved = saved.chain(more.iter().map(|listed| listed.message.clone()));
            prop_assert_eq!(read(&path), saved.collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_damaged_backup_is_read_or_refused(damage in prop::collection::vec((0.0..1.0, any::<u8>()), 1..8)) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("backup.parquet");
            save(&path, &[numbered(0, 20), numbered(1, 5)]);
            let mut bytes = fs::read(&path).unwrap();
            for (place, value) in damage {
                let place = (bytes.len() as f64 * place) as usize;
                bytes[place] = value;
            }
            fs::write(&path, bytes).unwrap();
            if let Ok(copies) = Copies::find(&path, "me", "cats", None)
                && let Ok(messages) = copies.messages()
            {
                prop_assert!(messages.take_while(Result::is_ok).count() <= copies.targets.len());
            }
        }
    }

    #[test]
    fn of_an_annotation_that_was_saved_twice_the_later_copy_counts() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let calls =
            [vec![annotation("p", "a", "old"), annotation("p", "b", "")], vec![annotation("p", "a", "new")]];
        save(&path, &calls);
        let copies = Copies::find(&path, "me", "cats", None).unwrap();
        assert_eq!((copies.targets.len(), copies.superseded), (2, 1));
        assert_eq!(read(&path), [calls[0][1].message.clone(), calls[1][0].message.clone()]);
    }

    #[test]
    fn a_backup_that_was_cut_off_at_its_birth_is_begun_anew() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let _begun = Backup::open(&path, "me", "cats").unwrap();
        let beginning = fs::read(&path).unwrap();
        for length in MAGIC.len()..beginning.len() {
            let path = folder.path().join(length.to_string());
            fs::write(&path, &beginning[..length]).unwrap();
            save(&path, &[numbered(0, 1)]);
            assert_eq!(read(&path).len(), 1);
        }
    }

    #[test]
    fn a_backup_in_which_nothing_was_saved_is_not_there() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { Backup::open(&path, "me", "cats").unwrap().end().await });
        assert!(!path.exists());
    }

    #[test]
    fn a_backup_that_another_call_writes_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let _first = Backup::open(&path, "me", "cats").unwrap();
        let Err(error) = Backup::open(&path, "me", "cats") else { panic!("it was opened twice") };
        assert!(error.to_string().contains("is being written by another call"), "{error}");
    }
}
