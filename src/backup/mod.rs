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

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

pub use reader::{Copies, Messages};
pub use writer::{Backup, UnderWay};

use crate::error::Error;

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
            if let Some(footer) = footer_that_ends_at(file, end)? {
                return Ok(Some((footer, end)));
            }
        }
        block_end = start;
    }
    Ok(None)
}

fn footer_that_ends_at(file: &mut File, end: u64) -> std::io::Result<Option<ParquetMetaData>> {
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
    let footer = ParquetMetaDataReader::decode_metadata(&footer).ok();
    Ok(footer.filter(|footer| {
        let columns = footer.row_groups().iter().flat_map(|group| group.columns());
        columns.into_iter().all(|column| {
            let (first, length) = column.byte_range();
            first >= 4 && first.checked_add(length).is_some_and(|last| last <= start)
        })
    }))
}
