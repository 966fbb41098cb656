//! Log lines of the core, handed to Python's logger of the same name.

use std::{sync::Once, thread};

use log::{LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};

use super::{exit::Inside, runtime::is_driving_caller};
use crate::LOGGER;

/// Hands log lines to Python from the first client on: an import need not load `logging`. Levels are asked for each
/// line: lines are few, and a level that is set later must count.
pub fn log_to_python(py: Python<'_>) {
    static INSTALLED: Once = Once::new();
    if INSTALLED.is_completed() {
        return;
    }
    let logger = Logger::new(py, Caching::Nothing)
        .map(|logger| logger.filter(LevelFilter::Off).filter_target(LOGGER.into(), LevelFilter::Debug));
    INSTALLED.call_once(|| {
        // Nobody else in this library installs one; and a client without a log is better than none.
        if let Ok(logger) = logger
            && log::set_boxed_logger(Box::new(PythonLogger(logger))).is_ok()
        {
            log::set_max_level(LevelFilter::Debug);
        }
    });
}

/// A logger that is silent once the interpreter ends, and leaves alone the thread of a caller who drives the network.
struct PythonLogger(Logger);

impl Log for PythonLogger {
    /// [`log`](Self::log) asks Python: that may not be done on every thread.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(LOGGER)
    }

    fn log(&self, record: &Record<'_>) {
        // Other crates log too, and often: for a line of theirs no thread may be started.
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(_inside) = Inside::enter() else { return };
        if !is_driving_caller() {
            return self.0.log(record);
        }
        let (metadata, message) = (record.metadata(), record.args().to_string());
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut record = Record::builder();
                record.metadata(metadata.clone());
                self.0.log(&record.args(format_args!("{message}")).build());
            });
        });
    }

    fn flush(&self) {}
}
