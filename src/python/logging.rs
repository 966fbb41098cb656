//! Log records of the core, handed to Python's logger of the same name.
//!
//! A handler is code of the user. It may block, or call this package. So records are handled on a thread of their own, in
//! their order, never on the thread that drives the network. A call that ends waits a moment for its records.

use std::{
    cell::Cell,
    sync::{
        Once, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};
use tokio::{sync::watch, time};

use super::{
    exit,
    runtime::{Work, runtime},
};
use crate::{LOGGER, process::PerProcess};

/// How long the end of a call waits for handlers: they are fast, unless something is wrong with them.
const FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// The logger that Python's handlers are reached by. It is made at the first client.
static LOGGER_OF_PYTHON: OnceLock<Logger> = OnceLock::new();
static RECORDS: PerProcess<Records> = PerProcess::new();

thread_local! {
    static IS_HANDLING: Cell<bool> = const { Cell::new(false) };
}

/// Hands log records to Python from the first client on: an import need not load `logging`. Levels are asked for each
/// record: records are few, and a level that is set later must count.
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
            && LOGGER_OF_PYTHON.set(logger).is_ok()
            && log::set_boxed_logger(Box::new(RecordQueue)).is_ok()
        {
            log::set_max_level(LevelFilter::Debug);
        }
    });
}

/// Records on their way to their handlers.
struct Records {
    sender: mpsc::Sender<(Level, String)>,
    queued: AtomicU64,
    handled: watch::Sender<u64>,
}

impl Records {
    /// Those of this process, and the thread that handles them.
    fn start() -> Self {
        let (sender, records) = mpsc::channel::<(Level, String)>();
        let handled = watch::Sender::new(0);
        let done = handled.clone();
        let handle = move || {
            IS_HANDLING.set(true);
            for (level, message) in records {
                exit::attach(|_| {
                    let mut record = Record::builder();
                    record.level(level).target(LOGGER);
                    if let Some(logger) = LOGGER_OF_PYTHON.get() {
                        logger.log(&record.args(format_args!("{message}")).build());
                    }
                });
                done.send_modify(|count| *count += 1);
            }
        };
        // Without a thread the records are lost, and nothing else.
        let _ = thread::Builder::new().name("clarifai-log".into()).spawn(handle);
        Self { sender, queued: AtomicU64::new(0), handled }
    }

    async fn handle_all(&self) {
        let queued = self.queued.load(Ordering::Relaxed);
        if *self.handled.borrow() < queued {
            let _ = time::timeout(FLUSH_LIMIT, self.handled.subscribe().wait_for(|it| *it >= queued)).await;
        }
    }
}

/// Waits for the records of a call, from the thread that made the call.
#[derive(Clone, Copy)]
pub struct Flush {
    is_handling: bool,
}

impl Flush {
    /// A call of this thread. One that a handler makes does not wait for itself.
    pub fn of_this_thread() -> Self {
        Self { is_handling: IS_HANDLING.get() }
    }

    /// Waits until the records so far are handled, but not long.
    pub async fn flush(self) {
        if !self.is_handling
            && let Some(records) = RECORDS.get()
        {
            records.handle_all().await;
        }
    }
}

/// Waits for the last records before the interpreter ends.
pub fn flush_at_exit() {
    if let Some(records) = RECORDS.get() {
        let flush: Work<()> = Box::pin(records.handle_all());
        runtime().start_and_wait(flush, 2 * FLUSH_LIMIT);
    }
}

struct RecordQueue;

impl Log for RecordQueue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(LOGGER)
    }

    fn log(&self, record: &Record<'_>) {
        // Other crates log too, and often: their records are left alone.
        if !self.enabled(record.metadata()) {
            return;
        }
        let records = RECORDS.get_or_init(Records::start);
        if records.sender.send((record.level(), record.args().to_string())).is_ok() {
            records.queued.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}
