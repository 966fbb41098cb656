//! Where a window is kept: in the file that processes share, where that can be used, else in this process.

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    shared_file::{SharedFile, Unavailable},
    window::{PermitId, SlidingWindow},
};
use crate::LOGGER;

/// Higher rates are not shared with other processes: the file would have too many requests to be read for each.
const MAX_SHARED_RATE: f64 = 1000.0;

/// A file that could not be used is tried again after this time.
const RETRY_FILE: Duration = Duration::from_secs(10);

/// Another process holds a file's lock for microseconds. One that was stopped meanwhile is not waited for any longer.
const LONGEST_LOCK: Duration = Duration::from_secs(1);

/// Whose file it is, and where.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The service.
    pub service: String,
    /// The user.
    pub user_id: String,
}

/// What becomes of a request in the window.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// It was not sent.
    Cancelled(PermitId),
    /// It was written later than it got its permit.
    Written(PermitId, Duration),
    /// It arrived before one that is sent then.
    Arrived(PermitId, Duration),
    /// It was not refused for the quota.
    Accepted { sent: Duration, now: Duration },
    /// It was.
    Throttled { id: PermitId, sent: Duration, now: Duration },
}

impl Change {
    fn apply(self, window: &mut SlidingWindow) {
        match self {
            Self::Cancelled(id) => window.cancel(id),
            Self::Written(id, at) => window.sent(id, at),
            Self::Arrived(id, at) => window.arrived(id, at),
            Self::Accepted { sent, now } => window.accepted(sent, now),
            Self::Throttled { id, sent, now } => window.throttled(id, sent, now),
        }
    }
}

/// A window, and the file that it is shared by.
pub struct Store {
    window: SlidingWindow,
    member: u32,
    /// `None` where other processes have no part in it.
    place: Option<Place>,
    file: Option<SharedFile>,
    /// When the file is tried again, after it could not be used.
    retry_at: Duration,
    /// Since when other processes hold the file's lock.
    busy_since: Option<Duration>,
    /// Requests were sent without the file since it was used last.
    has_own_requests: bool,
    /// What was not written to the file yet, because its lock was held.
    pending: Vec<Change>,
    has_told: bool,
}

impl Store {
    /// A new window, in a file if there is a place for it.
    pub fn new(place: Option<Place>, member: u32) -> Self {
        Self {
            window: SlidingWindow::default(),
            member,
            place,
            file: None,
            retry_at: Duration::ZERO,
            busy_since: None,
            has_own_requests: false,
            pending: Vec::new(),
            has_told: false,
        }
    }

    /// From here on other processes have a part in it, unless they have.
    pub fn share_in(&mut self, place: impl FnOnce() -> Place) {
        self.place.get_or_insert_with(place);
    }

    /// The window as it was at the latest change.
    pub fn window(&self) -> &SlidingWindow {
        &self.window
    }

    /// Applies changes; those that cannot be written now, with the next ones. `rate` is the rate of this process.
    pub fn change(&mut self, changes: impl IntoIterator<Item = Change>, rate: f64, now: Duration) {
        self.pending.extend(changes);
        let _ = self.update(rate, now, |_| ());
    }

    /// Begins anew: the clock jumped.
    pub fn clear(&mut self, rate: f64, now: Duration) {
        self.window.clear(now);
        self.pending.clear();
        let _ = self.update(rate, now, |window| window.clear(now));
    }

    /// Lets `work` on the window, the shared one where it is shared. `None`: another process holds its lock.
    pub fn update<T>(
        &mut self,
        rate: f64,
        now: Duration,
        work: impl FnOnce(&mut SlidingWindow) -> T,
    ) -> Option<T> {
        self.open_file(rate, now);
        let Self { window, file, pending, member, has_own_requests, .. } = self;
        let changes = std::mem::take(pending);
        let own = (file.is_some() && *has_own_requests).then(|| window.clone());
        let all = |window: &mut SlidingWindow| {
            if let Some(own) = &own {
                window.adopt(own, *member);
            }
            changes.iter().for_each(|change| change.apply(window));
            work(window)
        };
        let Some(shared) = file else {
            *has_own_requests = true;
            return Some(all(window));
        };
        // Where the file fails, there is no telling whether the work was done: it is done again on what was read last.
        let mut copy = window.clone();
        match shared.update(&mut copy, now, all) {
            Ok(done) => {
                *window = copy;
                (self.busy_since, self.has_own_requests) = (None, false);
                Some(done)
            }
            Err(error) => {
                self.pending = changes;
                self.file_failed(&error, now);
                None
            }
        }
    }

    fn open_file(&mut self, rate: f64, now: Duration) {
        let Some(place) = &self.place else { return };
        if self.file.is_some() || now < self.retry_at || (MAX_SHARED_RATE..f64::INFINITY).contains(&rate) {
            return;
        }
        match SharedFile::open(&place.folder, &place.service, &place.user_id) {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                let folder = place.folder.display().to_string();
                self.tell_unshared(&folder, &error);
                self.retry_at = now + RETRY_FILE;
            }
        }
    }

    fn file_failed(&mut self, error: &Unavailable, now: Duration) {
        let is_over = match error {
            Unavailable::Busy => now.saturating_sub(*self.busy_since.get_or_insert(now)) > LONGEST_LOCK,
            Unavailable::Io(_) => true,
        };
        if !is_over {
            return;
        }
        self.busy_since = None;
        if let Some(file) = self.file.take() {
            self.tell_unshared(&file.path().display().to_string(), error);
        }
        self.retry_at = now + RETRY_FILE;
    }

    fn tell_unshared(&mut self, place: &str, error: &dyn fmt::Display) {
        if !std::mem::replace(&mut self.has_told, true) {
            log::debug!(
                target: LOGGER,
                "the rate limit is not shared with other processes, because {place} cannot be used: {error}"
            );
        }
    }
}
