//! Group commit: single deletions that come while another is under way share a request (Nagle's rule).
//!
//! One that comes alone goes at once, if the quota lets it. Those that come until it is answered gather, and go
//! together as one request of pairs: when a batch is full, when an answer comes, or after [`LINGER`]; while the
//! request waits for its permit they go on gathering. Only deletions of one app of one user ever share a request, and
//! each caller gets what became of its own.

#[cfg(not(feature = "loom"))]
use std::sync::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, PoisonError},
    time::Duration,
};

#[cfg(feature = "loom")]
use loom::sync::{Mutex, MutexGuard};

use tokio::{sync::Notify, time};

use super::{Client, call::Call, dispatch, channel::SendPermit};
use crate::{ids::Targets, report::Report};

/// The longest that the first of a group waits for others to join it.
const LINGER: Duration = Duration::from_millis(3);

/// The owner of an app, and the app.
pub type UserApp = (String, String);

/// The single deletions of a client, by the app that they are for.
#[derive(Default)]
pub struct Groups(Mutex<HashMap<Arc<UserApp>, Gathering>>);

/// Those of one app. It is there as long as one is under way or waits.
#[derive(Default)]
struct Gathering {
    /// Requests under way.
    under_way: usize,
    waiting: VecDeque<Arc<Call>>,
    /// Whether a collector takes care of those who wait.
    collected: bool,
    /// A batch is full, or an answer came.
    ripe: Arc<Notify>,
}

/// Deletes the one pair of `call`: at once when nothing is under way, else together with others.
pub async fn delete(client: &Client, call: &Arc<Call>) -> Report {
    let (groups, app) = (client.groups(), &client.user_app);
    if let Some(_under_way) = groups.go_alone(app)
        && let Some(permit) = client.try_acquire().await
    {
        dispatch::run_at_once(client, call, permit).await;
        return call.close();
    }
    if let Some(collector) = groups.wait(app, call, client.settings.limits.batch_size) {
        tokio::spawn(collect(client.clone(), collector));
    }
    tokio::select! {
        biased;
        () = call.until_done() => {}
        () = call.until_ended() => if !groups.leave(app, call) {
            // It is on its way: its answer may still come.
            let _ = time::timeout(call.cancel_grace(), call.until_done()).await;
        }
    }
    call.close()
}

/// Sends those who wait, group by group, until nobody does.
async fn collect(client: Client, mut collector: Collector) {
    let size = client.settings.limits.batch_size;
    while collector.has_waiting() {
        collector.until_ripe(size).await;
        let permit = client.acquire().await;
        if let Some((group, under_way)) = collector.board(size) {
            tokio::spawn(carry(client.clone(), group, permit, under_way));
        }
    }
}

async fn carry(client: Client, group: Group, permit: SendPermit, _under_way: UnderWay) {
    dispatch::run_at_once(&client, &group.0, permit).await;
}

/// A call that carries single ones. However it ends, each of them is answered.
struct Group(Arc<Call>);

impl Drop for Group {
    fn drop(&mut self) {
        let report = self.0.close();
        for (id, single) in self.0.singles().iter().enumerate() {
            single.answer(report.outcome(id), report.error(id));
        }
    }
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<UserApp>, Gathering>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a deletion may go at once: when none of its app is under way.
    fn go_alone(self: &Arc<Self>, app: &Arc<UserApp>) -> Option<UnderWay> {
        let mut groups = self.lock();
        if groups.contains_key(app) {
            return None;
        }
        groups.entry(Arc::clone(app)).or_default().under_way += 1;
        Some(UnderWay { groups: Arc::clone(self), app: Arc::clone(app) })
    }

    /// Puts a deletion among those who wait. Gives a collector to be run, when they have none.
    fn wait(self: &Arc<Self>, app: &Arc<UserApp>, call: &Arc<Call>, size: usize) -> Option<Collector> {
        let mut groups = self.lock();
        let gathering = groups.entry(Arc::clone(app)).or_default();
        gathering.waiting.push_back(Arc::clone(call));
        if gathering.waiting.len() >= size {
            gathering.ripe.notify_one();
        }
        let has_one = std::mem::replace(&mut gathering.collected, true);
        let ripe = Arc::clone(&gathering.ripe);
        let collector = || Collector { groups: Arc::clone(self), app: Arc::clone(app), ripe, ended: false };
        (!has_one).then(collector)
    }

    /// Takes a deletion back, unless it has left already.
    fn leave(&self, app: &Arc<UserApp>, call: &Arc<Call>) -> bool {
        let mut groups = self.lock();
        let Some(gathering) = groups.get_mut(app) else { return false };
        let waited = gathering.waiting.len();
        gathering.waiting.retain(|other| !Arc::ptr_eq(other, call));
        gathering.waiting.len() < waited
    }
}

/// A request under way. Its end lets those who wait go.
struct UnderWay {
    groups: Arc<Groups>,
    app: Arc<UserApp>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut groups = self.groups.lock();
        if let Some(gathering) = groups.get_mut(&self.app) {
            gathering.under_way = gathering.under_way.saturating_sub(1);
            gathering.ripe.notify_one();
            if gathering.under_way == 0 && !gathering.collected {
                groups.remove(&self.app);
            }
        }
    }
}

/// Takes care of those of one app who wait; there is one as long as anybody does.
struct Collector {
    groups: Arc<Groups>,
    app: Arc<UserApp>,
    ripe: Arc<Notify>,
    ended: bool,
}

impl Collector {
    /// Whether anybody waits. If not, this collector has ended.
    fn has_waiting(&mut self) -> bool {
        let mut groups = self.groups.lock();
        let Some(gathering) = groups.get_mut(&self.app) else { return false };
        if gathering.waiting.is_empty() {
            (self.ended, gathering.collected) = (true, false);
            if gathering.under_way == 0 {
                groups.remove(&self.app);
            }
        }
        !self.ended
    }

    async fn until_ripe(&self, size: usize) {
        let full = self.groups.lock().get(&self.app).is_some_and(|gathering| gathering.waiting.len() >= size);
        if !full {
            let _ = time::timeout(LINGER, self.ripe.notified()).await;
        }
    }

    /// Takes as many as go together. Of those that name the same pair one goes now and the others later, so that
    /// each gets the answer that it would have got alone.
    fn board(&self, size: usize) -> Option<(Group, UnderWay)> {
        let mut groups = self.groups.lock();
        let gathering = groups.get_mut(&self.app)?;
        let most = size.min(gathering.waiting.len());
        let calls: Vec<_> = gathering.waiting.drain(..most).collect();
        let targets = Targets::joined(calls.iter().map(|call| &**call.targets()));
        let mut firsts = (0..targets.len()).map(|id| targets.get(id).position).peekable();
        let (boarded, repeated): (Vec<_>, Vec<_>) =
            calls.into_iter().enumerate().partition(|(place, _)| firsts.next_if_eq(place).is_some());
        drop(firsts);
        for (_, call) in repeated.into_iter().rev() {
            gathering.waiting.push_front(call);
        }
        if boarded.is_empty() {
            return None;
        }
        let boarded = boarded.into_iter().map(|(_, call)| call).collect();
        gathering.under_way += 1;
        let under_way = UnderWay { groups: Arc::clone(&self.groups), app: Arc::clone(&self.app) };
        Some((Group(Arc::new(Call::carrying(targets, boarded))), under_way))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Its runtime is shut down: nobody else would answer them.
        let mut groups = self.groups.lock();
        for call in groups.remove(&self.app).into_iter().flat_map(|gathering| gathering.waiting) {
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
        groups: Arc<Groups>,
        app: Arc<UserApp>,
        carried: [AtomicUsize; 3],
    }

    impl Traffic {
        /// What `delete` and `collect` do, with requests that are answered at once.
        fn delete(&self, calls: &[Arc<Call>], own: usize) {
            let Some(under_way) = self.groups.go_alone(&self.app) else {
                if let Some(collector) = self.groups.wait(&self.app, &calls[own], SIZE) {
                    self.collect(calls, collector);
                }
                return;
            };
            self.carried[own].fetch_add(1, SeqCst);
            drop(under_way);
        }

        fn collect(&self, calls: &[Arc<Call>], mut collector: Collector) {
            while collector.has_waiting() {
                let Some((group, under_way)) = collector.board(SIZE) else { continue };
                for single in group.0.singles() {
                    let place = calls.iter().position(|call| Arc::ptr_eq(call, single)).unwrap();
                    self.carried[place].fetch_add(1, SeqCst);
                }
                drop((group, under_way));
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
            assert!(traffic.groups.lock().is_empty());
        });
    }

    #[test]
    fn a_deletion_that_leaves_is_either_carried_or_taken_back() {
        loom::model(|| {
            let traffic = Arc::new(Traffic::default());
            let calls: Arc<[_]> = ["a", "b", "c"].map(call).into();
            let under_way = traffic.groups.go_alone(&traffic.app).unwrap();
            let collector = traffic.groups.wait(&traffic.app, &calls[0], SIZE).unwrap();
            assert!(traffic.groups.wait(&traffic.app, &calls[1], SIZE).is_none());
            let collecting = {
                let (traffic, calls) = (Arc::clone(&traffic), Arc::clone(&calls));
                loom::thread::spawn(move || traffic.collect(&calls, collector))
            };
            let answered = loom::thread::spawn(move || drop(under_way));
            let taken_back = traffic.groups.leave(&traffic.app, &calls[0]);
            collecting.join().unwrap();
            answered.join().unwrap();
            let carried = traffic.carried.each_ref().map(|count| count.load(SeqCst));
            assert_eq!(carried, [usize::from(!taken_back), 1, 0]);
            assert!(traffic.groups.lock().is_empty());
        });
    }
}
