//! Coalescing: single deletions that come while another is in flight share a request (Nagle's algorithm).
//!
//! A deletion that comes alone is sent at once, if the rate limit lets it. Those that come until its response wait, and are
//! sent together as one request of pairs: when a batch is full, when a response comes, or after [`MAX_DELAY`]; while the
//! request waits for its permit they go on waiting. Callers of the same pair share one place in the request, and its outcome.
//! Only deletions of one app of one user share a request. Joining and leaving cost the same however many wait.

#[cfg(not(feature = "loom"))]
use std::sync::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError},
    time::Duration,
};

#[cfg(feature = "loom")]
use loom::sync::{Mutex, MutexGuard};

use tokio::{sync::Notify, time};

use super::{
    Client,
    call::{Call, Caller},
    channel::SendPermit,
    dispatch,
};
use crate::{ids::Targets, report::Report};

/// The longest that the first of a batch waits for others to join it.
const MAX_DELAY: Duration = Duration::from_millis(3);

/// The owner of an app, and the app.
pub type UserApp = (String, String);

/// The single deletions of a client, by the app that they are for.
#[derive(Default)]
pub struct Coalescer(Mutex<HashMap<Arc<UserApp>, PendingDeletions>>);

/// Those of one app. It is there as long as one is in flight or waits.
#[derive(Default)]
struct PendingDeletions {
    /// Requests in flight.
    in_flight: usize,
    /// Some of them may have left.
    waiting: VecDeque<Arc<Call>>,
    /// Whether a flusher sends those that wait.
    has_flusher: bool,
    /// A batch is full, or a response came.
    is_ready: Arc<Notify>,
}

/// Deletes the one pair of `call`: at once when nothing is in flight, else together with others.
pub async fn delete(client: &Client, call: &Arc<Call>) -> Report {
    let coalescer = client.coalescer(call.precautions().look_first);
    let app = &client.user_app;
    if let Some(in_flight) = coalescer.enter_alone(app) {
        // Boxed: thousands may wait, which do not need it.
        if Box::pin(send_immediately(client, call, in_flight)).await {
            return call.close();
        }
    }
    if let Some(flusher) = coalescer.join(app, call, client.settings.limits.batch_size) {
        tokio::spawn(flush(client.clone(), flusher));
    }
    call.until_ended().await;
    if !call.is_done() && !coalescer.leave(call) {
        // It is in flight: its response may still come.
        let _ = Box::pin(time::timeout(call.cancel_grace(), call.until_done())).await;
    }
    call.close()
}

/// Sends a deletion on its own, if the rate limit lets it be sent now.
async fn send_immediately(client: &Client, call: &Call, _in_flight: InFlight) -> bool {
    let Some(permit) = client.try_acquire().await else { return false };
    dispatch::run_at_once(client, call, permit).await;
    true
}

/// Sends those that wait, batch by batch, until nobody does.
async fn flush(client: Client, mut flusher: Flusher) {
    let size = client.settings.limits.batch_size;
    while flusher.has_waiting() {
        flusher.until_ready(size).await;
        let permit = client.acquire().await;
        if let Some((batch, in_flight)) = flusher.take_batch(size) {
            tokio::spawn(send(client.clone(), batch, permit, in_flight));
        }
    }
}

async fn send(client: Client, batch: CoalescedCall, permit: SendPermit, _in_flight: InFlight) {
    dispatch::run_at_once(&client, &batch.0, permit).await;
}

/// A call that carries single ones. However it ends, each of them gets its outcome.
struct CoalescedCall(Arc<Call>);

impl Drop for CoalescedCall {
    fn drop(&mut self) {
        let report = self.0.close();
        for Caller { id, call } in self.0.callers() {
            call.answer(report.outcome(*id as usize), report.error(*id as usize));
        }
    }
}

/// A call, told apart by the pair that it names.
struct ByPair(Arc<Call>);

impl ByPair {
    fn pair(&self) -> (&str, Option<&str>) {
        let target = self.0.targets().get(0);
        (target.input_id, target.annotation_id)
    }
}

impl PartialEq for ByPair {
    fn eq(&self, other: &Self) -> bool {
        self.pair() == other.pair()
    }
}

impl Eq for ByPair {}

impl Hash for ByPair {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.pair().hash(hasher);
    }
}

impl Coalescer {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<UserApp>, PendingDeletions>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a deletion may be sent at once: when none of its app is in flight or waits.
    fn enter_alone(self: &Arc<Self>, app: &Arc<UserApp>) -> Option<InFlight> {
        let mut apps = self.lock();
        if apps.contains_key(app) {
            return None;
        }
        apps.entry(Arc::clone(app)).or_default().in_flight += 1;
        Some(InFlight { coalescer: Arc::clone(self), app: Arc::clone(app) })
    }

    /// Puts a deletion among those that wait. Gives a flusher to be run, when they have none.
    fn join(self: &Arc<Self>, app: &Arc<UserApp>, call: &Arc<Call>, size: usize) -> Option<Flusher> {
        let mut apps = self.lock();
        let pending = apps.entry(Arc::clone(app)).or_default();
        pending.waiting.push_back(Arc::clone(call));
        if pending.waiting.len() >= size {
            pending.is_ready.notify_one();
        }
        let has_one = std::mem::replace(&mut pending.has_flusher, true);
        let is_ready = Arc::clone(&pending.is_ready);
        let flusher =
            || Flusher { coalescer: Arc::clone(self), app: Arc::clone(app), is_ready, has_ended: false };
        (!has_one).then(flusher)
    }

    /// Takes a deletion back, unless it is in flight already.
    fn leave(&self, call: &Call) -> bool {
        // Under the lock, so that it cannot be taken meanwhile. It is dropped when its place in the queue is reached.
        let _apps = self.lock();
        call.leave()
    }
}

/// A request in flight. Its end lets those that wait be sent.
struct InFlight {
    coalescer: Arc<Coalescer>,
    app: Arc<UserApp>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut apps = self.coalescer.lock();
        if let Some(pending) = apps.get_mut(&self.app) {
            pending.in_flight = pending.in_flight.saturating_sub(1);
            pending.is_ready.notify_one();
            if pending.in_flight == 0 && !pending.has_flusher {
                apps.remove(&self.app);
            }
        }
    }
}

/// Sends those of one app that wait; there is one as long as any does.
struct Flusher {
    coalescer: Arc<Coalescer>,
    app: Arc<UserApp>,
    is_ready: Arc<Notify>,
    has_ended: bool,
}

impl Flusher {
    /// Whether any waits. If not, this flusher has ended.
    fn has_waiting(&mut self) -> bool {
        let mut apps = self.coalescer.lock();
        let Some(pending) = apps.get_mut(&self.app) else { return false };
        while pending.waiting.pop_front_if(|call| call.has_left()).is_some() {}
        if pending.waiting.is_empty() {
            (self.has_ended, pending.has_flusher) = (true, false);
            if pending.in_flight == 0 {
                apps.remove(&self.app);
            }
        }
        !self.has_ended
    }

    async fn until_ready(&self, size: usize) {
        let is_full =
            self.coalescer.lock().get(&self.app).is_some_and(|pending| pending.waiting.len() >= size);
        if !is_full {
            let _ = time::timeout(MAX_DELAY, self.is_ready.notified()).await;
        }
    }

    /// Takes the callers of so many pairs at most.
    fn take_batch(&self, size: usize) -> Option<(CoalescedCall, InFlight)> {
        let mut apps = self.coalescer.lock();
        let pending = apps.get_mut(&self.app)?;
        let (mut places, mut callers) = (HashMap::new(), Vec::new());
        while let Some(call) = pending.waiting.pop_front_if(|call| {
            places.len() < size || call.has_left() || places.contains_key(&ByPair(Arc::clone(call)))
        }) {
            if call.depart() {
                let next = places.len() as u32;
                let id = *places.entry(ByPair(Arc::clone(&call))).or_insert(next);
                callers.push(Caller { id, call });
            }
        }
        if callers.is_empty() {
            return None;
        }
        callers.sort_by_key(|caller| caller.id);
        // All that share a queue take the same.
        let precautions = callers[0].call.precautions().clone();
        let targets = Targets::joined(
            callers.chunk_by(|one, other| one.id == other.id).map(|same| &**same[0].call.targets()),
        );
        pending.in_flight += 1;
        let in_flight = InFlight { coalescer: Arc::clone(&self.coalescer), app: Arc::clone(&self.app) };
        let call = Call::carrying(targets, callers).with(precautions);
        Some((CoalescedCall(Arc::new(call)), in_flight))
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // Its runtime is shut down: nobody else would answer them.
        let mut apps = self.coalescer.lock();
        for call in apps.remove(&self.app).into_iter().flat_map(|pending| pending.waiting) {
            call.abandon();
        }
    }
}

/// Every order in which threads can take the queue's lock, by loom.
#[cfg(all(test, feature = "loom"))]
#[allow(clippy::unwrap_used, reason = "clippy's own exception covers only functions marked as tests")]
mod model {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::ids::ColumnBuilder;

    const SIZE: usize = 2;

    fn call(name: &str) -> Arc<Call> {
        let column = |parameter| {
            let mut column = ColumnBuilder::new(parameter);
            column.push(name).unwrap();
            column.finish()
        };
        let pair = Targets::pairs(column("input_ids"), column("annotation_ids")).unwrap();
        Arc::new(Call::new(pair, None))
    }

    /// Deletions on their way through the queue, and how often each was carried.
    #[derive(Default)]
    struct Traffic {
        coalescer: Arc<Coalescer>,
        app: Arc<UserApp>,
        carried: [AtomicUsize; 3],
    }

    impl Traffic {
        /// What `delete` and `flush` do, with requests that are answered at once.
        fn delete(&self, calls: &[Arc<Call>], own: usize) {
            let Some(in_flight) = self.coalescer.enter_alone(&self.app) else {
                if let Some(flusher) = self.coalescer.join(&self.app, &calls[own], SIZE) {
                    self.flush(calls, flusher);
                }
                return;
            };
            self.carried[own].fetch_add(1, SeqCst);
            drop(in_flight);
        }

        fn flush(&self, calls: &[Arc<Call>], mut flusher: Flusher) {
            while flusher.has_waiting() {
                let Some((batch, in_flight)) = flusher.take_batch(SIZE) else { continue };
                for Caller { call: single, .. } in batch.0.callers() {
                    let place = calls.iter().position(|call| Arc::ptr_eq(call, single)).unwrap();
                    self.carried[place].fetch_add(1, SeqCst);
                }
                drop((batch, in_flight));
            }
        }
    }

    #[test]
    fn every_deletion_is_carried_once_and_none_is_left_behind() {
        loom::model(|| {
            let traffic = Arc::new(Traffic::default());
            let calls: Arc<[_]> = ["a", "b", "c"].map(call).into();
            let threads = [0, 1, 2].map(|own| {
                let (traffic, calls) = (Arc::clone(&traffic), Arc::clone(&calls));
                loom::thread::spawn(move || traffic.delete(&calls, own))
            });
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(traffic.carried.each_ref().map(|count| count.load(SeqCst)), [1, 1, 1]);
            assert!(traffic.coalescer.lock().is_empty());
        });
    }

    #[test]
    fn a_deletion_that_leaves_is_either_carried_or_taken_back() {
        loom::model(|| {
            let traffic = Arc::new(Traffic::default());
            let calls: Arc<[_]> = ["a", "b", "c"].map(call).into();
            let in_flight = traffic.coalescer.enter_alone(&traffic.app).unwrap();
            let flusher = traffic.coalescer.join(&traffic.app, &calls[0], SIZE).unwrap();
            assert!(traffic.coalescer.join(&traffic.app, &calls[1], SIZE).is_none());
            let flushing = {
                let (traffic, calls) = (Arc::clone(&traffic), Arc::clone(&calls));
                loom::thread::spawn(move || traffic.flush(&calls, flusher))
            };
            let answered = loom::thread::spawn(move || drop(in_flight));
            let taken_back = traffic.coalescer.leave(&calls[0]);
            flushing.join().unwrap();
            answered.join().unwrap();
            let carried = traffic.carried.each_ref().map(|count| count.load(SeqCst));
            assert_eq!(carried, [usize::from(!taken_back), 1, 0]);
            assert!(traffic.coalescer.lock().is_empty());
        });
    }
}
