//! The sliding window: which requests count now, and when the next may be sent. It knows neither clocks nor files:
//! times are durations since an origin that all members share.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::adaptive::{Adaptive, Limit, Refused};

/// A window is this much longer than the rate asks for: timers and clocks are no finer.
pub const MARGIN: Duration = Duration::from_millis(3);

/// A request that got no response counts as arrived when later ones, sent so much after it, have been answered: then not the
/// network is stuck, but its own connection or process.
const PRESUMED: Duration = Duration::from_secs(5);

/// A member that waits and does not ask again within this time has ended or been stopped, and is not waited for.
const GRACE: Duration = Duration::from_millis(20);

/// A member that did not ask for so long has no say in the limit.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// A member that did not ask for so long needs no part of a rate, and may have ended.
const PRESENT: Duration = Duration::from_secs(1);

/// A request whose response is not known to come in time is looked at again after this time.
const POLL: Duration = Duration::from_millis(10);

/// Names a request that counts: the member in the upper half, its own count in the lower.
pub type PermitId = u64;

/// The member that a permit belongs to.
pub fn member_of(id: PermitId) -> u32 {
    (id >> 32) as u32
}

/// A sliding window of requests, shared by its members.
///
/// A token bucket would not do: full, it lets a burst through and then its steady rate on top, which is nearly twice
/// the quota within one rolling second.
#[derive(Debug, Clone, PartialEq)]
pub struct SlidingWindow {
    /// Requests a second that hold for all members; infinite where they are to be found out.
    pub(super) rate: f64,
    pub(super) members: Vec<Member>,
    /// Requests that have no response: when each was sent at the earliest.
    pub(super) in_flight: BTreeMap<PermitId, Duration>,
    /// Requests that have one, by the time at which each was sent at the latest as the service saw it.
    pub(super) answered: VecDeque<Answered>,
    /// When the latest of the answered requests was sent.
    pub(super) answered_until: Duration,
    pub(super) adaptive: Adaptive,
}

/// A request with a response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// A request that is sent at this time or later arrives after it.
    pub at: Duration,
    /// Which it was.
    pub id: PermitId,
    /// Whether it was refused for the quota.
    pub is_throttled: bool,
}

/// A process, or a part of one, that takes part in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its number, drawn at random.
    pub id: u32,
    /// Its process.
    pub process: u32,
    /// Requests a second, as its strictest client has it; infinite where that is to be found out.
    pub rate: f64,
    /// Parts of a rate that is divided among several, together; 0 where it has none.
    pub parts: f64,
    /// When it asked for the last time.
    pub seen: Duration,
    /// While it waits, when it asks again.
    pub asks_again_at: Option<Duration>,
}

/// What a member knows besides the window.
pub struct Knowledge<'a> {
    /// Which member asks.
    pub member: Member,
    /// After so long without a response, a request of its own is stuck. `None`: not known.
    pub timeout: Option<Duration>,
    /// Whether a process is alive, as far as can be told.
    pub is_alive: &'a dyn Fn(u32) -> bool,
}

impl Knowledge<'_> {
    /// Whether a request of its own may still be on its way: on a line whose round trips are longer than the window.
    fn is_on_its_way(&self, id: PermitId, sent: Duration, limit: &Limit, now: Duration) -> bool {
        let age = now.saturating_sub(sent);
        member_of(id) == self.member.id
            && age >= limit.window
            && self.timeout.is_some_and(|timeout| age <= timeout)
    }
}

impl Default for SlidingWindow {
    fn default() -> Self {
        Self {
            rate: f64::INFINITY,
            members: Vec::new(),
            in_flight: BTreeMap::new(),
            answered: VecDeque::new(),
            answered_until: Duration::ZERO,
            adaptive: Adaptive::default(),
        }
    }
}

impl SlidingWindow {
    /// Lets the request `id` be sent, or tells when to ask again.
    ///
    /// # Errors
    /// The time at which to ask again.
    pub fn try_acquire(&mut self, id: PermitId, by: &Knowledge<'_>, now: Duration) -> Result<(), Duration> {
        self.remove_ended(by, now);
        self.enter(by.member, now);
        self.forget(now);
        self.adaptive.advance(self.rate, now);
        let limit = self.limit();
        let again_at = if self.adaptive.next_at() > now {
            Some(self.adaptive.next_at())
        } else if self.adaptive.is_one_at_a_time() && !self.in_flight.is_empty() {
            Some(now + POLL)
        } else {
            self.again_at(&limit, by, now)
        };
        if let Some(again_at) = again_at {
            // A probe may begin before.
            let again_at = again_at.min(self.adaptive.decide_at().max(now + POLL));
            self.member(by.member.id).asks_again_at = Some(again_at);
            return Err(again_at);
        }
        self.member(by.member.id).asks_again_at = None;
        self.in_flight.insert(id, now);
        self.adaptive.sent(self.rate, now);
        Ok(())
    }

    /// The longest time for which a request can matter.
    pub fn memory(&self) -> Duration {
        self.adaptive.memory(self.rate)
    }

    /// How many requests may be sent in a window now.
    pub fn limit(&self) -> Limit {
        self.adaptive.limit(self.rate)
    }

    /// A request was not sent after all.
    pub fn cancel(&mut self, id: PermitId) {
        if self.in_flight.remove(&id).is_some() && self.in_flight.keys().all(|other| *other < id) {
            self.adaptive.cancelled();
        }
    }

    /// A request was sent at this time rather than earlier.
    pub fn sent(&mut self, id: PermitId, at: Duration) {
        if let Some(sent) = self.in_flight.get_mut(&id) {
            *sent = at;
        }
    }

    /// A request arrived at the service before one that is sent at `at` can arrive.
    pub fn arrived(&mut self, id: PermitId, at: Duration) {
        if let Some(sent) = self.in_flight.remove(&id) {
            self.insert(Answered { at: at.max(sent), id, is_throttled: false });
        }
    }

    /// The response to a request that was sent at `sent` is here: not throttled.
    pub fn accepted(&mut self, sent: Duration, now: Duration) {
        self.answered_until = self.answered_until.max(sent);
        self.adaptive.accepted(self.rate, now);
    }

    /// The response to a request that was sent at `sent` is here: throttled. It must have [`arrived`](Self::arrived).
    pub fn throttled(&mut self, id: PermitId, sent: Duration, now: Duration) {
        self.answered_until = self.answered_until.max(sent);
        let own = self.answered.iter().rposition(|it| it.id == id);
        if let Some(own) = own {
            self.answered[own].is_throttled = true;
        }
        let is_before = |at: Duration| at < sent && at + Duration::from_secs(1) > sent;
        let answered = self.answered.iter().filter(|it| !it.is_throttled).map(|it| it.at);
        let before = answered.chain(self.in_flight.values().copied()).filter(|&at| is_before(at));
        let refused = Refused { sent, others: before.clone().count(), oldest: before.min() };
        let is_forgotten = self.adaptive.refused(refused, self.rate, now);
        if let Some(own) = own
            && is_forgotten
        {
            self.answered.remove(own);
        }
    }

    /// Nothing counts any more: the clock jumped, or the machine slept.
    pub fn clear(&mut self, now: Duration) {
        self.in_flight.clear();
        self.answered.clear();
        self.members.clear();
        self.answered_until = now;
        self.adaptive.clear(now);
    }

    /// Whether a time in it lies in the future, so that it was written by another clock.
    pub fn is_ahead_of(&self, now: Duration) -> bool {
        let second = now + Duration::from_secs(1);
        self.in_flight.values().any(|&sent| sent > second)
            || self.answered.back().is_some_and(|it| it.at > second)
            || self.members.iter().any(|member| member.seen > second)
            || self.answered_until > second
    }

    /// Removes members whose process has ended, for their rate would hold all others down.
    fn remove_ended(&mut self, by: &Knowledge<'_>, now: Duration) {
        let has_ended =
            |it: &&Member| it.id != by.member.id && it.seen + PRESENT <= now && !(by.is_alive)(it.process);
        let ended: Vec<_> = self.members.iter().filter(has_ended).map(|it| it.id).collect();
        if ended.is_empty() {
            return;
        }
        self.members.retain(|member| !ended.contains(&member.id));
        let left = self.in_flight.iter().filter(|(id, _)| ended.contains(&member_of(**id)));
        for (id, sent) in left.map(|(&id, &sent)| (id, sent)).collect::<Vec<_>>() {
            // Where later requests were answered, the network is not stuck: it has arrived.
            self.arrived(id, if self.answered_until > sent { sent } else { now });
        }
    }

    /// Takes over what a member had sent while it could not use the shared window.
    pub fn adopt(&mut self, own: &Self, member: u32) {
        for (&id, &sent) in own.in_flight.iter().filter(|(id, _)| member_of(**id) == member) {
            self.in_flight.entry(id).or_insert(sent);
        }
        for answered in own.answered.iter().filter(|it| member_of(it.id) == member) {
            if !self.answered.iter().any(|it| it.id == answered.id) {
                self.in_flight.remove(&answered.id);
                self.insert(*answered);
            }
        }
    }

    /// Takes note of a member, and of the rate that holds for all.
    fn enter(&mut self, member: Member, now: Duration) {
        let has_requests = |id| self.in_flight.keys().any(|&permit| member_of(permit) == id);
        let mut members = std::mem::take(&mut self.members);
        members.retain(|other| other.seen + FORGOTTEN > now || has_requests(other.id));
        self.members = members;
        match self.members.iter_mut().find(|other| other.id == member.id) {
            Some(known) => (known.rate, known.parts, known.seen) = (member.rate, member.parts, now),
            None => self.members.push(Member { seen: now, asks_again_at: None, ..member }),
        }
        let strictest = self.members.iter().map(|member| member.rate).fold(f64::INFINITY, f64::min);
        // Parts are put together: what one member does not use, the others may. Whoever ended gave its part back.
        let present = self.members.iter().filter(|member| member.seen + PRESENT > now);
        let parts: f64 = present.map(|member| member.parts).sum();
        let rate = if parts > 0.0 { strictest.min(parts) } else { strictest };
        if std::mem::replace(&mut self.rate, rate) < rate {
            self.adaptive.raised(rate, now);
        }
    }

    fn member(&mut self, id: u32) -> &mut Member {
        let place = self.members.iter().position(|member| member.id == id);
        let place = place.unwrap_or_else(|| unreachable!("whoever asks was entered"));
        &mut self.members[place]
    }

    /// Drops what cannot matter again.
    fn forget(&mut self, now: Duration) {
        // Also a throttled response that comes late is judged by what was accepted before its request.
        let kept = self.memory();
        while self.answered.front().is_some_and(|it| it.at + kept <= now) {
            self.answered.pop_front();
        }
    }

    /// When to ask again; `None` where a request may be sent now.
    fn again_at(&mut self, limit: &Limit, by: &Knowledge<'_>, now: Duration) -> Option<Duration> {
        self.presume_arrived(limit, now);
        let counts_until = |sent: Duration| match sent + limit.window {
            until if until > now => until,
            // It counts until it has a response.
            _ => now + POLL,
        };
        let in_flight =
            self.in_flight.iter().filter(|(id, sent)| !by.is_on_its_way(**id, **sent, limit, now));
        let in_flight: Vec<_> = in_flight.map(|(_, sent)| counts_until(*sent)).collect();
        let first = self.answered.partition_point(|it| it.at + limit.window <= now);
        let count = in_flight.len() + self.answered.len() - first;
        if count < limit.requests {
            return self.yields_until(limit.requests - count, first, by.member.id, now);
        }
        let answered = self.answered.get(first).map(|it| it.at + limit.window);
        in_flight.into_iter().chain(answered).min()
    }

    /// Takes requests for arrived whose connection is stuck while others are not.
    fn presume_arrived(&mut self, limit: &Limit, now: Duration) {
        let is_due = |sent: Duration| sent + limit.window <= now && self.answered_until > sent + PRESUMED;
        let due = self.in_flight.iter().filter(|(_, sent)| is_due(**sent)).map(|(&id, &sent)| (id, sent));
        for (id, sent) in due.collect::<Vec<_>>() {
            self.arrived(id, sent);
        }
    }

    /// Where others wait that had fewer requests in the window, they come first: until when the member waits for them.
    fn yields_until(&self, free: usize, first: usize, member: u32, now: Duration) -> Option<Duration> {
        if self.members.len() == 1 {
            return None;
        }
        let count = |id: u32| {
            let answered = self.answered.range(first..).filter(|it| member_of(it.id) == id).count();
            answered + self.in_flight.keys().filter(|&&permit| member_of(permit) == id).count()
        };
        let own = count(member);
        let waiting = self.members.iter().filter_map(|other| Some((other.id, other.asks_again_at?)));
        let earlier: Vec<_> =
            waiting.filter(|(id, at)| *at + GRACE > now && count(*id) < own).map(|(_, at)| at).collect();
        if earlier.len() < free {
            return None;
        }
        const SOON: Duration = Duration::from_millis(1);
        earlier.into_iter().min().map(|at| at.max(now) + SOON)
    }

    fn insert(&mut self, answered: Answered) {
        // Responses come nearly in the order of their requests.
        let place = self.answered.iter().rposition(|it| it.at <= answered.at).map_or(0, |place| place + 1);
        self.answered.insert(place, answered);
    }
}
