//! The tokio runtime of this process, and the thread that drives it: polls its tasks and waits for the network.
//!
//! To wake another thread twice, once to send a request and once for its answer, costs about as much as the request
//! itself (`serial` in benches/README.md). So a blocking call that is the only call drives the runtime on its own
//! thread. A thread of ours drives it for all other calls, and between calls, when the connection has to be kept up.
//!
//! | driver | begins when | ends when |
//! |---|---|---|
//! | caller | a blocking call begins, and there is no driver and no other call | the call is done, or has taken its time |
//! | thread | a call waits and there is no driver; or no caller has driven for [`IDLE`] | a blocking call that it drove was the only one |
//! | none | a driver ended | the next one begins, at most twice [`IDLE`] later |

use std::{
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Handle},
    sync::Notify,
    task::{self, JoinError, JoinHandle},
    time,
};

use crate::process::PerProcess;

/// How long the runtime may be without a driver before our thread takes over: longer than a program takes from one call
/// to the next when it makes many, and short beside anything that a connection waits for.
const IDLE: Duration = Duration::from_millis(20);

/// The stack that a thread must have left to drive the network: some 100 KB are used, and more in a build for
/// development. Python's threads have 8 MB on Linux, but 128 KB with musl, and as little as `threading.stack_size` says.
const STACK: usize = 512 * 1024;

/// The runtime that all calls of this process share. It is made at the first call: an import starts no thread.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: PerProcess<Runtime> = PerProcess::new();
    RUNTIME.get_or_init(Runtime::start)
}

/// The work of a call. It is some 18 KB, and each `async` block around it would hold it twice, so it is boxed at once.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Does some work, after what came from the network while nobody drove is read: a connection that the service closed
/// meanwhile must not be used again.
async fn after_reading<T>(work: impl Future<Output = T>, was_undriven: bool) -> T {
    if was_undriven {
        // The runtime looks at the network before it returns to a task that yields.
        task::yield_now().await;
    }
    work.await
}

/// A tokio runtime whose driver changes. See the [module](self).
pub struct Runtime(Arc<Shared>);

struct Shared {
    tokio: runtime::Runtime,
    state: Mutex<State>,
    /// There is something to drive for our thread.
    work_added: Condvar,
    /// Our thread is to stop driving.
    released: Notify,
}

struct State {
    driver: Option<Driver>,
    /// Calls that another thread has to drive.
    dependents: usize,
    /// How often a caller has driven.
    caller_turns: u64,
}

#[derive(PartialEq, Eq)]
enum Driver {
    Caller,
    Thread,
}

impl Runtime {
    fn start() -> Self {
        let tokio = runtime::Builder::new_current_thread().enable_all().build();
        let shared = Arc::new(Shared {
            tokio: tokio.unwrap_or_else(|error| panic!("the system gives no runtime: {error}")),
            state: Mutex::new(State { driver: None, dependents: 0, caller_turns: 0 }),
            work_added: Condvar::new(),
            released: Notify::new(),
        });
        let ours = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("clarifai-annotations".into()).spawn(move || ours.drive_forever());
        thread.unwrap_or_else(|error| panic!("the system gives no thread: {error}"));
        Self(shared)
    }

    /// Starts a task and lets another thread drive it.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let dependent = self.0.add_dependent(false);
        self.0.tokio.spawn(async move {
            let was_undriven = dependent.was_undriven;
            after_reading(work, was_undriven).await;
            drop(dependent);
        });
    }

    /// Runs what blocks, such as a wait for the GIL, on a thread of its own.
    pub fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.0.tokio.spawn_blocking(work);
    }

    /// Starts a task and waits for it, for `limit` at most: drives it on this thread where it is the only one.
    pub fn start_and_wait<T: Send + 'static>(&self, work: Work<T>, limit: Duration) -> Waited<T> {
        if let Some(turn) = self.0.try_drive() {
            return turn.drive(work, limit);
        }
        let dependent = self.0.add_dependent(true);
        let task = self.0.tokio.spawn(after_reading(work, dependent.was_undriven));
        Task { task, _dependent: dependent }.wait(limit)
    }

    /// How many tasks there are.
    pub fn live_tasks(&self) -> usize {
        self.0.tokio.metrics().num_alive_tasks()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to drive on this thread, where nobody drives and no call depends on another thread.
    fn try_drive(self: &Arc<Self>) -> Option<CallerTurn> {
        // A log handler may make calls, from a thread that drives the emulator's runtime.
        let can_drive = Handle::try_current().is_err() && stacker::remaining_stack() >= Some(STACK);
        let mut state = self.lock();
        let is_free = state.driver.is_none() && state.dependents == 0;
        (can_drive && is_free).then(|| {
            state.driver = Some(Driver::Caller);
            state.caller_turns += 1;
            CallerTurn(Arc::clone(self))
        })
    }

    fn add_dependent(self: &Arc<Self>, is_blocking: bool) -> Dependent {
        let mut state = self.lock();
        state.dependents += 1;
        let was_undriven = state.driver.is_none();
        if was_undriven {
            self.work_added.notify_one();
        }
        Dependent { shared: Arc::clone(self), is_blocking, was_undriven }
    }

    /// The life of our thread.
    fn drive_forever(&self) {
        loop {
            self.wait_until_needed();
            self.tokio.block_on(self.released.notified());
            self.lock().driver = None;
        }
    }

    fn wait_until_needed(&self) {
        let mut state = self.lock();
        let mut last_turns = None;
        loop {
            let is_idle = last_turns == Some(state.caller_turns);
            if state.driver.is_none() && (state.dependents > 0 || is_idle) {
                state.driver = Some(Driver::Thread);
                return;
            }
            last_turns = Some(state.caller_turns);
            let woken = self.work_added.wait_timeout(state, IDLE);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A caller's thread drives. When it ends, our thread takes over if a call waits.
struct CallerTurn(Arc<Shared>);

impl CallerTurn {
    /// Starts a task and drives it, for `limit` at most. Then another thread has to. Not inlined: a thread with a small
    /// stack has no room for what this takes, and comes by on its way to a wait.
    #[inline(never)]
    fn drive<T: Send + 'static>(self, work: Work<T>, limit: Duration) -> Waited<T> {
        let waited = self.0.tokio.block_on(async {
            let mut task = task::spawn(after_reading(work, true));
            time::timeout(limit, &mut task).await.map_err(|_| task)
        });
        match waited {
            Ok(done) => Waited::Done(done),
            Err(task) => Waited::Running(Task { task, _dependent: self.0.add_dependent(true) }),
        }
    }
}

impl Drop for CallerTurn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.driver = None;
        if state.dependents > 0 {
            self.0.work_added.notify_one();
        }
    }
}

/// A call that another thread has to drive.
struct Dependent {
    shared: Arc<Shared>,
    is_blocking: bool,
    /// Nobody drove when it came.
    was_undriven: bool,
}

impl Drop for Dependent {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.dependents -= 1;
        // The next blocking call finds no driver, and drives itself.
        if self.is_blocking && state.dependents == 0 && state.driver == Some(Driver::Thread) {
            self.shared.released.notify_one();
        }
    }
}

/// What became of a task that somebody waits for.
pub enum Waited<T> {
    /// It ended, or panicked.
    Done(Result<T, JoinError>),
    /// It goes on, on another thread.
    Running(Task<T>),
}

/// A task that goes on while its caller is busy with something else.
pub struct Task<T> {
    task: JoinHandle<T>,
    _dependent: Dependent,
}

impl<T> Task<T> {
    /// Waits for so long at most. tokio's own `block_on` would need one of its timers for that, and to set one wakes
    /// the thread that drives: a part of what a single deletion costs.
    pub fn wait(mut self, limit: Duration) -> Waited<T> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let until = Instant::now() + limit;
        loop {
            if let Poll::Ready(done) = Pin::new(&mut self.task).poll(&mut context) {
                return Waited::Done(done);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::Running(self);
            }
            thread::park_timeout(left);
        }
    }

    /// Drops the work, wherever it is.
    pub fn abort(self) {
        self.task.abort();
    }
}

/// Wakes the thread that waits for a task.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
