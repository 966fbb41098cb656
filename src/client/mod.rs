//! The client: one connection, shared by every call, thread and event loop, and the rate limit of its user.
//! It knows neither Python nor the emulator.

mod call;
mod channel;
mod coalesce;
mod cork;
mod dispatch;
mod heard;
mod inputs;
mod lists;
mod memory;
mod peer;
mod plan;
mod precautions;
mod rate_limit;
mod reconcile;
mod request;
mod restore;
mod retry;
mod spelling;

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use tokio::sync::OnceCell;

use crate::{
    config::{ConfigurationError, Settings},
    error::Error,
    plan::Plan,
    process::PerProcess,
    report::{Outcome, Report},
    wire::api::UserAppIdSet,
};

pub use call::{Call, Precautions, Progress};
use channel::{Channel, SendPermit};
use coalesce::{Coalescer, UserApp};
use memory::Memory;
use rate_limit::RateLimiter;

/// Deletes annotations of one app. Cheap to clone: clones share the connection. In a process that was forked it has a
/// connection of that process. The rate limit is shared by all clients of its user.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use clarifai_annotations::{client::{Call, Client}, config::{Arguments, Settings}, ids::{ColumnBuilder, Targets}};
///
/// let settings = Settings::resolve(Arguments::default(), &|name| std::env::var(name).ok())?;
/// let client = Client::new(settings)?;
/// let mut input_ids = ColumnBuilder::new("input_ids");
/// input_ids.push("photo-1")?;
/// let report = client.delete(&Call::new(Targets::inputs(input_ids.finish())?, None)).await?;
/// println!("{} requests", report.requests.sent);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    settings: Arc<Settings>,
    channel: Arc<Channel>,
    traffic: Arc<PerProcess<Traffic>>,
    user_app: Arc<UserApp>,
    /// Set once a list of the app was served.
    app_exists: Arc<OnceCell<()>>,
    /// Whose the credential is, once that was asked for; `None` where the service does not say.
    caller_id: Arc<OnceCell<Option<String>>>,
}

/// What the requests of this process share.
struct Traffic {
    rate_limiter: RateLimiter,
    coalescer: Arc<Coalescer>,
    /// Of single deletions that look first.
    looking_coalescer: Arc<Coalescer>,
    memory: Memory,
}

impl Client {
    /// A client with these settings. Connects at its first call.
    ///
    /// # Errors
    /// [`ConfigurationError`] when the certificates cannot be read or the base is no URL.
    pub fn new(settings: Settings) -> Result<Self, ConfigurationError> {
        Ok(Self {
            channel: Arc::new(Channel::new(&settings)?),
            traffic: Arc::default(),
            user_app: user_app(&settings),
            app_exists: Arc::default(),
            caller_id: Arc::default(),
            settings: Arc::new(settings),
        })
    }

    /// A client of another app, with this one's connection and rate limit.
    ///
    /// # Errors
    /// [`ConfigurationError`] when an ID is empty.
    pub fn for_app(&self, app_id: String, user_id: Option<String>) -> Result<Self, ConfigurationError> {
        let settings = self.settings.for_app(app_id, user_id)?;
        Ok(Self {
            user_app: user_app(&settings),
            app_exists: Arc::default(),
            settings: Arc::new(settings),
            ..self.clone()
        })
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Closes the connection, for the clients made by [`for_app`](Self::for_app) too. Later calls fail with
    /// [`Error::Closed`].
    pub fn close(&self) {
        self.channel.close();
        if let Some(traffic) = self.traffic.get() {
            traffic.rate_limiter.close();
        }
    }

    /// Deletes many: pairs, or all annotations of whole inputs. Every ID ends with an outcome in the report. A
    /// call is made once: its report is of what it had not done before.
    ///
    /// # Errors
    /// [`Error::Closed`]; and of the call's precautions [`Error::Limit`], [`Error::Backup`], [`Error::Journal`]: then
    /// nothing was deleted. Whatever the service or the network does is in the report.
    pub async fn delete(&self, call: &Call) -> Result<Report, Error> {
        self.channel.open()?;
        dispatch::run(self, call).await
    }

    /// Looks up what a call names, and tells what its deletion would do. Nothing is deleted.
    ///
    /// # Errors
    /// [`Error::Closed`], and whatever kept a list from being served; [`Error::Limit`] when more would go than the
    /// call's precautions allow.
    pub async fn plan(&self, call: &Call) -> Result<Plan, Error> {
        self.channel.open()?;
        plan::run(self, call).await
    }

    /// Posts the annotations of a backup, of this client's app and on these inputs, if any are given, save those that
    /// are there: their outcome is [`Outcome::Absent`], and that of the posted ones [`Outcome::Deleted`], which is here
    /// the deletion undone. Tells too how many rows of the backup a later one replaces. With `as_caller` what users made
    /// is posted without their names, as the caller's own: only the owner of an app may post for others.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Backup`] when the file cannot be read, is no backup, or holds annotations of other
    /// apps alone. Whatever the service or the network does is in the report.
    pub async fn restore(
        &self,
        call: &Call,
        backup: PathBuf,
        input_ids: Option<HashSet<String>>,
        as_caller: bool,
    ) -> Result<(Report, usize), Error> {
        self.channel.open()?;
        restore::run(self, call, backup, input_ids, as_caller).await
    }

    /// Deletes the single annotation that a call names. It shares a request with others that come at the same time.
    /// When this is dropped, nothing more is sent for it.
    ///
    /// # Errors
    /// What kept it from being confirmed. One that was not there is an error too, unless `missing_ok`.
    pub async fn delete_one(&self, call: &Arc<Call>, missing_ok: bool) -> Result<(), Failure> {
        let _end = EndOnDrop(call);
        self.channel.open().map_err(|error| Failure { outcome: Outcome::Unsent, error })?;
        let report = coalesce::delete(self, call).await;
        match (report.outcome(0), report.error(0)) {
            (Outcome::Deleted, _) => Ok(()),
            (Outcome::Absent, _) if missing_ok => Ok(()),
            (outcome, Some(error)) => Err(Failure { outcome, error: Error::clone(error) }),
            (Outcome::Absent, None) => {
                let message = "a list does not show it".into();
                Err(Failure { outcome: Outcome::Absent, error: Error::Listing { message } })
            }
            // The runtime that carried it was shut down.
            (outcome, None) => Err(Failure { outcome, error: Error::Ended { how: "abandoned".into() } }),
        }
    }

    fn traffic(&self) -> &Traffic {
        self.traffic.get_or_init(|| Traffic {
            rate_limiter: RateLimiter::new(&self.settings),
            coalescer: Arc::default(),
            looking_coalescer: Arc::default(),
            memory: Memory::default(),
        })
    }

    /// Waits until a request may be sent.
    async fn acquire(&self) -> SendPermit {
        self.channel.acquire(&self.traffic().rate_limiter).await
    }

    /// A permit to send a request, if the rate limit lets it be sent now.
    async fn try_acquire(&self) -> Option<SendPermit> {
        self.channel.try_acquire(&self.traffic().rate_limiter).await
    }

    /// The queue of single deletions that look first, or do not.
    fn coalescer(&self, look_first: bool) -> &Arc<Coalescer> {
        let Traffic { coalescer, looking_coalescer, .. } = self.traffic();
        if look_first { looking_coalescer } else { coalescer }
    }

    /// What the answers to lists may take.
    fn memory(&self) -> &Memory {
        &self.traffic().memory
    }

    fn user_app_id(&self) -> UserAppIdSet {
        let (user_id, app_id) = UserApp::clone(&self.user_app);
        UserAppIdSet { user_id, app_id }
    }
}

fn user_app(settings: &Settings) -> Arc<UserApp> {
    Arc::new((settings.user_id.clone(), settings.app_id.clone()))
}

struct EndOnDrop<'a>(&'a Call);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end("dropped");
    }
}

/// Why a single deletion was not confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What became of the annotation.
    pub outcome: Outcome,
    /// The error behind it.
    pub error: Error,
}
