//! The copy of what is deleted: a Parquet file, a row an annotation, with the annotation's bytes as the service served
//! them. It knows nothing of the client.
//!
//! While a call runs, what it saves goes to a log of its own beside the file, `PATH.1.log` or the next free number, and is
//! synced before it is deleted. At the end of the call the logs are folded into the file: large row groups, which replace
//! the file by a rename, or are appended to a large one. Only then the logs are removed. So at every moment, after a
//! crash too, the file and the logs together hold everything that was synced; readers read both.

mod fold;
mod logs;
mod parquet_file;
mod reader;
mod writer;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _},
    path::Path,
    sync::Arc,
};

use parquet_file::{Footer, MAGIC, last_footer};
pub use reader::{BackupReader, Copies};
pub use writer::{Backup, BackupOptions, fold_backup};

use crate::{error::Error, files, wire::Listed};

/// An annotation that was saved.
#[derive(Debug, Clone)]
pub struct BackupRow {
    /// Owner of its app.
    pub user_id: Arc<str>,
    /// Its app.
    pub app_id: Arc<str>,
    /// The annotation.
    pub listed: Listed,
}

fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Backup { message: format!("backup {}: {why}", path.display()) }
}

/// What stands at the path of a backup.
enum Present {
    /// Nothing that counts.
    Nothing,
    /// A backup, open to be written.
    Backup(File, Footer),
    /// Something else, and why it cannot be added to.
    Other(&'static str),
}

/// Opens what stands at the path of a backup, to add to it.
fn open_present(path: &Path) -> io::Result<Present> {
    let Some(mut file) = files::open_existing(path, OpenOptions::new().read(true).write(true))? else {
        return Ok(Present::Nothing);
    };
    if is_to_be_begun(&mut file)? {
        return Ok(Present::Nothing);
    }
    Ok(match last_footer(&mut file)? {
        None => Present::Other("is there and is no backup: give another path"),
        Some(footer) if !footer.is_backup() => Present::Other(
            "is a Parquet file that something else wrote, and cannot be added to: give another path",
        ),
        Some(footer) => Present::Backup(file, footer),
    })
}

/// Whether nothing is in a file, or no more than a part of what a backup begins with: until 2026-11-25 a backup began with
/// a footer that names no rows, and its first writer was killed at that moment.
fn is_to_be_begun(file: &mut File) -> io::Result<bool> {
    let beginning = parquet_file::without_rows().map_err(io::Error::other)?;
    if file.metadata()?.len() >= beginning.len() as u64 {
        return Ok(false);
    }
    let mut found = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut found)?;
    // Less than the magic may be anybody's.
    Ok(found.is_empty() || (found.starts_with(MAGIC) && beginning.starts_with(&found)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, sync::atomic::AtomicBool};

    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message as _;
    use tempfile::TempDir;

    use super::{parquet_file::ParquetFile, *};
    use crate::files::FileLock;
    use crate::wire::api::Annotation;

    fn annotation(input_id: &str, id: &str, task_id: &str) -> Listed {
        let annotation = Annotation {
            input_id: input_id.into(),
            id: id.into(),
            task_id: task_id.into(),
            ..Default::default()
        };
        Listed::parse(annotation.encode_to_vec().into()).unwrap()
    }

    fn options(path: &Path) -> BackupOptions {
        BackupOptions { path: path.into(), user_id: "me".into(), app_id: "cats".into(), ..Default::default() }
    }

    /// Saves each of these with a sync of its own.
    fn save(options: &BackupOptions, syncs: &[Vec<Listed>]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let backup = Backup::open(options).unwrap();
            for annotations in syncs {
                backup.save(annotations.clone()).await.unwrap();
            }
            backup.end().await;
        });
    }

    fn read(path: &Path) -> Vec<Bytes> {
        let copies = Copies::find(BackupReader::open(path).unwrap(), "me", "cats", None).unwrap();
        copies.messages().unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn numbered(call: usize, count: usize) -> Vec<Listed> {
        (0..count).map(|n| annotation(&format!("p{call}"), &format!("a{n}"), &"t".repeat(n))).collect()
    }

    fn messages(syncs: &[Vec<Listed>]) -> Vec<Bytes> {
        syncs.iter().flatten().map(|listed| listed.message.clone()).collect()
    }

    /// A file in the form that was written until 2026-11-25: a row group and a whole footer for each sync. Tells how long it was
    /// after each.
    fn write_first_form(path: &Path, syncs: &[Vec<Listed>]) -> Vec<u64> {
        let mut file = ParquetFile::begin(files::create_private(path).unwrap()).unwrap();
        file.finish().unwrap();
        let sync = |annotations: &Vec<Listed>| {
            for listed in annotations.iter().cloned() {
                file.push(BackupRow { user_id: "me".into(), app_id: "cats".into(), listed }).unwrap();
            }
            file.finish().unwrap();
            fs::metadata(path).unwrap().len()
        };
        syncs.iter().map(sync).collect()
    }

    fn names_in(folder: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_backup_whose_writer_died_at_any_byte_is_read_and_added_to_up_to_its_last_whole_sync(
            counts in prop::collection::vec(1usize..20, 1..6), cut in 0.0..=1.0, garbage in any::<[u8; 3]>(),
            has_file in any::<bool>(),
        ) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("backup.parquet");
            let before = if has_file { vec![numbered(8, 3)] } else { Vec::new() };
            save(&options(&path), &before);
            let log = files::beside(&path, ".1.log");
            let syncs: Vec<_> = counts.iter().enumerate().map(|(call, &count)| numbered(call, count)).collect();
            let mut lengths = Vec::new();
            for end in 1..=syncs.len() {
                save(&BackupOptions { is_folded_later: true, ..options(&path) }, &syncs[..end]);
                lengths.push(fs::metadata(&log).unwrap().len());
                if end < syncs.len() {
                    fs::remove_file(&log).unwrap();
                }
            }
            let whole = fs::read(&log).unwrap();
            // Something of ours stands in the log from its first eight bytes on.
            let length = 8 + ((whole.len() - 8) as f64 * cut) as usize;
            let torn = [&whole[..length], &garbage].concat();
            fs::write(&log, &torn).unwrap();

            let is_whole = |end: &&u64| torn.get(..**end as usize) == whole.get(..**end as usize);
            let complete = lengths.iter().filter(is_whole).count();
            let mut saved = messages(&before);
            saved.extend(messages(&syncs[..complete]));
            if has_file || complete > 0 {
                prop_assert_eq!(read(&path), saved.clone());
            }

            // The next call goes on, and leaves one file.
            let more = [numbered(9, 2)];
            save(&options(&path), &more);
            saved.extend(messages(&more));
            prop_assert_eq!(read(&path), saved);
            prop_assert_eq!(names_in(&folder), ["backup.parquet"]);
        }

        #[test]
        fn a_backup_of_the_first_form_that_is_cut_off_anywhere_is_read_and_added_to(
            counts in prop::collection::vec(1usize..20, 1..6), cut in 0.0..1.0, garbage in any::<[u8; 3]>(),
        ) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("backup.parquet");
            let syncs: Vec<_> = counts.iter().enumerate().map(|(call, &count)| numbered(call, count)).collect();
            let lengths = write_first_form(&path, &syncs);
            let whole = fs::read(&path).unwrap();
            // From the end of the first row group on there is something to read.
            let length = lengths[0] + ((whole.len() as u64 - lengths[0]) as f64 * cut) as u64;
            fs::write(&path, [&whole[..length as usize], &garbage].concat()).unwrap();
            let complete = lengths.iter().filter(|&&end| end <= length).count();
            let mut saved = messages(&syncs[..complete]);
            prop_assert_eq!(read(&path), saved.clone());

            let more = [numbered(9, 2)];
            save(&options(&path), &more);
            saved.extend(messages(&more));
            prop_assert_eq!(read(&path), saved);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_damaged_backup_is_read_or_refused(
            damage in prop::collection::vec((0.0..1.0, any::<u8>()), 1..8), of_log in any::<bool>(),
        ) {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("backup.parquet");
            save(&BackupOptions { is_folded_later: of_log, ..options(&path) }, &[numbered(0, 20), numbered(1, 5)]);
            let damaged = if of_log { files::beside(&path, ".1.log") } else { path.clone() };
            let mut bytes = fs::read(&damaged).unwrap();
            for (place, value) in damage {
                let place = (bytes.len() as f64 * place) as usize;
                bytes[place] = value;
            }
            fs::write(&damaged, bytes).unwrap();
            if let Ok(reader) = BackupReader::open(&path)
                && let Ok(copies) = Copies::find(reader, "me", "cats", None)
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
        save(&options(&path), &calls[..1]);
        save(&BackupOptions { is_folded_later: true, ..options(&path) }, &calls[1..]);
        for _ in ["in a log", "in the file"] {
            let copies = Copies::find(BackupReader::open(&path).unwrap(), "me", "cats", None).unwrap();
            assert_eq!((copies.targets.len(), copies.superseded), (2, 1));
            assert_eq!(read(&path), [calls[0][1].message.clone(), calls[1][0].message.clone()]);
            fold_backup(&path, &AtomicBool::new(false)).unwrap();
        }
    }

    #[test]
    fn a_backup_of_the_first_form_that_was_cut_off_at_its_birth_is_begun_anew() {
        let folder = TempDir::new().unwrap();
        let beginning = parquet_file::without_rows().unwrap();
        for length in [0].into_iter().chain(MAGIC.len()..beginning.len()) {
            let path = folder.path().join(length.to_string());
            fs::write(&path, &beginning[..length]).unwrap();
            save(&options(&path), &[numbered(0, 1)]);
            assert_eq!(read(&path).len(), 1);
        }
    }

    #[test]
    fn a_backup_in_which_nothing_was_saved_is_not_there() {
        let folder = TempDir::new().unwrap();
        save(&options(&folder.path().join("backup.parquet")), &[]);
        assert_eq!(names_in(&folder), [""; 0]);
    }

    #[test]
    fn a_backup_that_another_call_writes_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let first = Backup::open(&options(&path)).unwrap();
        let Err(error) = Backup::open(&options(&path)) else { panic!("it was opened twice") };
        assert!(error.to_string().contains("is being written by another call"), "{error}");
        drop(first);
    }

    #[test]
    fn a_fold_that_is_abandoned_leaves_the_file_and_the_logs_as_they_were() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let syncs = [numbered(0, 3), numbered(1, 3)];
        save(&options(&path), &syncs[..1]);
        save(&BackupOptions { is_folded_later: true, ..options(&path) }, &syncs[1..]);
        let target = files::target(&path).unwrap();
        let lock = FileLock::try_acquire(&files::beside(&target, ".lock")).unwrap();
        assert!(fold::fold(&target, &lock, &AtomicBool::new(true)).is_err());
        drop(lock);
        assert_eq!(names_in(&folder), ["backup.parquet", "backup.parquet.1.log"]);
        assert_eq!(read(&path), messages(&syncs));
    }

    /// A file so large that it is added to in place.
    fn large(path: &Path) -> Vec<Listed> {
        let mut random = fastrand::Rng::with_seed(0);
        let mut heavy = |n: u32| {
            let noise: String = (0..300_000).map(|_| random.alphanumeric()).collect();
            annotation("heavy", &n.to_string(), &noise)
        };
        let mut count = 0;
        let mut all = Vec::new();
        while fs::metadata(path).map_or(0, |it| it.len()) < 9 << 20 {
            let more: Vec<_> = (count..count + 50).map(&mut heavy).collect();
            count += 50;
            save(&options(path), std::slice::from_ref(&more));
            all.extend(more);
        }
        all
    }

    #[test]
    fn a_large_file_is_added_to_and_a_crash_meanwhile_loses_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let mut saved = messages(&[large(&path)]);
        let identity = OpenOptions::new().read(true).open(&path).unwrap();
        let more = [numbered(1, 3)];
        save(&BackupOptions { is_folded_later: true, ..options(&path) }, &more);
        // The crash leaves a part of what was being appended.
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut torn, b"a row group that was cut off").unwrap();
        saved.extend(messages(&more));
        assert!(read(&path) == saved);
        fold_backup(&path, &AtomicBool::new(false)).unwrap();
        assert!(read(&path) == saved);
        assert!(files::is_same(&identity, &path).unwrap());
        assert_eq!(names_in(&folder), ["backup.parquet"]);
    }

    #[test]
    fn a_file_that_took_the_place_of_the_backup_meanwhile_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let syncs = [numbered(0, 3)];
        save(&BackupOptions { is_folded_later: true, ..options(&path) }, &syncs);
        fs::write(&path, "somebody else's, and longer than the beginning of a backup ".repeat(20)).unwrap();
        let error = fold_backup(&path, &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains("something else was put in its place"), "{error}");
        assert!(fs::read_to_string(&path).unwrap().starts_with("somebody else's"));
        assert_eq!(names_in(&folder), ["backup.parquet", "backup.parquet.1.log"]);
    }

    #[test]
    fn somebody_elses_file_with_the_name_of_the_next_one_is_left_alone() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let syncs = [numbered(0, 3)];
        let partial = files::beside(&path, ".partial");
        fs::write(&partial, "notes").unwrap();
        save(&options(&path), &syncs);
        assert_eq!(fs::read_to_string(&partial).unwrap(), "notes");
        assert_eq!(read(&path), messages(&syncs));
        // What a killed process left is removed.
        fs::write(&partial, "PAR1 and the beginning of a row group").unwrap();
        fold_backup(&path, &AtomicBool::new(false)).unwrap();
        assert_eq!((read(&path), names_in(&folder)), (messages(&syncs), vec!["backup.parquet".into()]));
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_unicode_has_logs_like_any_other() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"kept-\xff.parquet"));
        let calls = [vec![numbered(0, 1)], vec![numbered(1, 2)]];
        for syncs in &calls {
            save(&BackupOptions { is_folded_later: true, ..options(&path) }, syncs);
        }
        let saved = messages(&calls.concat());
        assert_eq!(read(&path), saved);
        fold_backup(&path, &AtomicBool::new(false)).unwrap();
        assert_eq!(read(&path), saved);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_log_that_outlives_its_fold_is_read_once_and_folded_once() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        let log = folder.path().join("backup.parquet.1.log");
        let syncs = [numbered(0, 3)];
        save(&BackupOptions { is_folded_later: true, ..options(&path) }, &syncs);
        let kept = fs::read(&log).unwrap();
        fold_backup(&path, &AtomicBool::new(false)).unwrap();
        let rows = || BackupReader::open(&path).unwrap().rows().unwrap().count();
        // As between the fold and the end of the log, and after a crash there.
        fs::write(&log, &kept).unwrap();
        assert_eq!(rows(), 3);
        save(&options(&path), &[numbered(1, 2)]);
        assert_eq!((rows(), names_in(&folder)), (5, vec!["backup.parquet".into()]));
    }

    #[test]
    fn the_journals_of_all_calls_are_named() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("backup.parquet");
        for name in ["one", "two", "one"] {
            let journal = Some(PathBuf::from("/journals").join(name));
            save(&BackupOptions { journal, ..options(&path) }, &[numbered(0, 1)]);
        }
        let reader = BackupReader::open(&path).unwrap();
        assert_eq!(reader.journals(), [Path::new("/journals/one"), Path::new("/journals/two")]);
    }
}
