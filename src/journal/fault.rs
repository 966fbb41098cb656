//! Why a journal cannot be used.

use std::io;

use rusqlite::ErrorCode;

use crate::files::LockError;

/// Why a journal cannot be read or written. The text goes on after the journal's name.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file system does not let it be.
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
    /// It is not a journal.
    #[error("is there and is no journal: give another path")]
    NoJournal,
    /// It is a journal of a version whose tables are others.
    #[error("is of another version (form {found}, not {expected}): give another path")]
    OtherForm {
        /// Its form.
        found: i32,
        /// The form that is read.
        expected: i32,
    },
    /// Something else has the name of one of its files.
    #[error("cannot be used: {name} is there and is something else. Move it away")]
    Foreign {
        /// The other file's name.
        name: String,
    },
    /// Another program writes to the file, or was ended while it did.
    #[error(
        "is being written by another program, or was when that ended ({name} is there): give another path"
    )]
    WrittenByOthers {
        /// The file that says so.
        name: String,
    },
    /// Another call has what is needed.
    #[error("is in use by another call: {what}. Wait for it, or give each call a part or a file of its own")]
    Busy {
        /// What the other call does.
        what: String,
    },
    /// Nobody waits for the result any more.
    #[error("was not brought up to date: nobody waited for it any more")]
    Abandoned,
    /// SQLite refuses.
    #[error("cannot be used: {0}")]
    Sqlite(rusqlite::Error),
    /// It is of another call, or says what is no longer true.
    #[error("{0}")]
    OfAnotherCall(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NoJournal,
            _ => Self::Sqlite(error),
        }
    }
}

impl Fault {
    /// Why a lock was not acquired.
    pub fn of_lock(error: LockError, what: impl FnOnce() -> String) -> Self {
        match error {
            LockError::Busy => Self::Busy { what: what() },
            LockError::Io(error) => Self::Io(error),
        }
    }
}
