//! A clock that all processes of a machine share, and whether it ran on evenly.

use std::time::Duration;

use crate::machine;

/// The machine's clock and this process's differ by so much more only when the machine slept or the clock was set.
const JUMP: Duration = Duration::from_millis(500);

/// Tells the time since an origin that the processes of a machine share: since the machine was started, where it can tell.
#[derive(Debug)]
pub enum Clock {
    /// Of the machine.
    Machine {
        /// This clock less the one of the process, when it was read last.
        offset: Option<i128>,
    },
    /// Of this process, which a test may pause.
    #[cfg(test)]
    Process {
        /// Its origin.
        start: tokio::time::Instant,
    },
}

impl Clock {
    /// The clock of the machine.
    pub const fn machine() -> Self {
        Self::Machine { offset: None }
    }

    /// The time, and whether the clock jumped or the machine slept since it was read last.
    pub fn read(&mut self) -> (Duration, bool) {
        match self {
            #[cfg(test)]
            Self::Process { start } => (start.elapsed(), false),
            Self::Machine { offset } => {
                let before = process_time();
                let now = machine::time();
                // A process that was stopped between the two cannot compare them.
                if process_time() - before > JUMP / 10 {
                    return (now, false);
                }
                let current = now.as_nanos() as i128 - before.as_nanos() as i128;
                let jumped = offset.is_some_and(|before| (current - before).unsigned_abs() > JUMP.as_nanos());
                *offset = Some(current);
                (now, jumped)
            }
        }
    }
}

/// Since this process first asked.
fn process_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
