//! How many requests a window may have where the service refuses some: because others share the quota who cannot be asked, or
//! because the quota is being found out.
//!
//! Additive increase and multiplicative decrease, as TCP has them, of *slots*: requests that a sliding window may have. Whole
//! slots that add up to the quota fill it without a single refusal, which evenly paced requests of several clients do not.
//!
//! | state | on a refusal | without one |
//! |---|---|---|
//! | alone: the quota is believed | wait until a slot of one's own is free again. A second refusal within [`REPEATED`] proves others: everyone starts again at [`RESTART`] slots, so that all climb from the same point | the whole quota |
//! | slow start | the probe is undone; it is tried again soon, twice more | probe: each [`PROBE`] windows a slot more, and as many as probes have held in a row |
//! | shared | a probe is undone. Whoever did not probe gives up a slot if the next response is no refusal, and no slot otherwise: then the service halts, and everything waits for a window | probe after [`PATIENCE`], then as in slow start |
//! | a slot held by nobody | the window becomes longer than a second | it becomes shorter |

use std::time::Duration;

use bytes::{Buf as _, BufMut as _};

use super::{
    codec::{optional_time, put_optional_time, put_time, time},
    window::MARGIN,
};
use crate::wire::DEFAULT_REQUESTS_PER_SECOND;

/// While nobody else is known to send, the requests of a window are sent within this share of it: so where others begin
/// at the same time, the first refusals come before all is sent.
const ALONE_SPREAD: f64 = 0.2;

/// With others, within this one. A larger share lets others take a slot before it is used again.
const SHARED_SPREAD: f64 = 0.45;

/// Evidence against the quota must repeat within this time.
const REPEATED: Duration = Duration::from_secs(6);

/// The slots with which everyone begins, once others are proven.
const RESTART: f64 = 3.0;

/// Failed probes that slow start forgives, of those who have no more than [`RESTART`] slots.
const FORGIVEN: u32 = 3;

/// A probe has held after so many windows: one to fill, and a round trip.
const PROBE: f64 = 1.4;

/// After a failed probe the next one waits so long; up to twice as long, the fewer slots there are.
const PATIENCE: Duration = Duration::from_secs(15);

/// The first probe for a higher quota, where that is to be found out.
const FIRST_PROBE: Duration = Duration::from_secs(2);

/// So many refusals in a row halve the slots.
const MANY_REFUSALS: u32 = 8;

/// Below one slot, a refusal and an acceptance multiply the slots by these. The first refusal after an acceptance takes more.
const DECREASE: f64 = 0.85;
const FIRST_DECREASE: f64 = 0.5;
const INCREASE: f64 = 1.3;

/// Where nothing was accepted, the next try is after so many windows, give or take a half.
const RETRY: f64 = 0.65;

/// At least one request in two windows: with fewer tries, a newcomer might never meet a gap of a client that fills the quota.
const LEAST: f64 = 0.5;

/// What a window may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// So many requests…
    pub requests: usize,
    /// …within so long.
    pub window: Duration,
}

/// The state of the control. See the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptive {
    /// The most slots: those of the rate; where that is to be found out, the most that ever held.
    quota: f64,
    /// The slots of a window; below 1, the window is as much longer.
    slots: f64,
    /// The slots before the probe that goes on.
    before_probe: Option<f64>,
    /// Probes in a row that held.
    held_probes: u32,
    /// When a probe has held, or the next begins.
    decide_at: Duration,
    /// Others are proven.
    is_shared: bool,
    /// Failed probes that slow start forgives still.
    forgiven: u32,
    /// The latest refusal while alone.
    refused_alone_at: Option<Duration>,
    /// When a refusal was acted on. Later ones of requests that were sent before tell nothing new.
    reacted_at: Option<Duration>,
    /// Refusals since the latest acceptance.
    refusals: u32,
    /// Refused without a probe: the next response tells whether a slot is given up.
    is_hit: bool,
    /// Nothing is sent before, so that requests are spread.
    spread_until: Duration,
    /// Nothing is sent before, because a request was refused.
    held_until: Duration,
}

/// What was known when a refused request was sent.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// When it was sent.
    pub sent: Duration,
    /// How many requests before it, within a window, were accepted or have no response yet.
    pub others: usize,
    /// When the first of these was sent.
    pub oldest: Option<Duration>,
}

const NEVER: Duration = Duration::from_nanos(u64::MAX);

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            quota: 0.0,
            slots: 0.0,
            before_probe: None,
            held_probes: 0,
            decide_at: NEVER,
            is_shared: false,
            forgiven: FORGIVEN,
            refused_alone_at: None,
            reacted_at: None,
            refusals: 0,
            is_hit: false,
            spread_until: Duration::ZERO,
            held_until: Duration::ZERO,
        }
    }
}

impl Adaptive {
    /// What a window may have. `rate` is the strictest of the members, infinite where it is to be found out.
    pub fn limit(&self, rate: f64) -> Limit {
        let window = base_window(rate);
        match self.slots < 1.0 {
            true => Limit { requests: 1, window: window.div_f64(self.slots.max(LEAST)) },
            false => Limit { requests: self.slots as usize, window },
        }
    }

    /// Nothing is sent before this time.
    pub fn next_at(&self) -> Duration {
        self.spread_until.max(self.held_until)
    }

    /// The rate was raised: a stricter client, which is gone, may have spread its requests over minutes.
    pub fn raised(&mut self, rate: f64, now: Duration) {
        self.spread_until = self.spread_until.min(now + self.slot_time(rate));
    }

    /// The request that was to be sent latest was not sent.
    pub fn cancelled(&mut self) {
        self.spread_until = Duration::ZERO;
    }

    /// When the limit may change by itself.
    pub fn decide_at(&self) -> Duration {
        self.decide_at
    }

    /// Whether one request is tried at a time, until one is accepted.
    pub fn is_one_at_a_time(&self) -> bool {
        self.refusals > 0
    }

    /// Whether others are proven to share the quota.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The longest time for which a request can matter.
    pub fn memory(&self, rate: f64) -> Duration {
        self.limit(rate).window.max(base_window(rate) * 3)
    }

    /// Begins a probe, or takes one for held, when it is time; and follows a change of the rate.
    pub fn advance(&mut self, rate: f64, now: Duration) {
        self.follow(rate, now);
        if now < self.decide_at {
            return;
        }
        self.held_probes += u32::from(self.before_probe.is_some());
        if self.slots >= self.quota {
            (self.is_shared, self.forgiven, self.quota) = (false, FORGIVEN, self.slots);
            if rate.is_finite() {
                return self.end_probe(NEVER);
            }
        }
        self.before_probe = Some(self.slots);
        self.slots = match self.slots {
            slots if slots < 1.0 => (slots * 2.0).min(1.0),
            slots => slots + f64::from(self.held_probes.max(1)),
        };
        if rate.is_finite() {
            self.slots = self.slots.min(self.quota);
        }
        (self.spread_until, self.held_until) = (self.spread_until.min(now), self.held_until.min(now));
        self.decide_at = now + self.limit(rate).window.mul_f64(PROBE);
    }

    /// A request is sent now.
    pub fn sent(&mut self, rate: f64, now: Duration) {
        let was_refused = self.refused_alone_at.is_some_and(|at| now < at + REPEATED);
        let spread = match self.is_shared || was_refused {
            true => SHARED_SPREAD * between(0.9, 1.1),
            false => ALONE_SPREAD,
        };
        self.spread_until = now + self.slot_time(rate).mul_f64(spread);
    }

    /// A request was accepted.
    pub fn accepted(&mut self, rate: f64, now: Duration) {
        self.refusals = 0;
        if self.slots < 1.0 {
            self.slots = if self.forgiven > 0 { 1.0 } else { (self.slots * INCREASE).min(1.0) };
        }
        if std::mem::take(&mut self.is_hit) {
            self.slots = (self.slots - 1.0).max(1.0);
        }
        let window = base_window(rate);
        // A newcomer got in: it climbs soon.
        if self.forgiven > 0 && self.is_shared && self.decide_at > now + window * 2 {
            (self.held_probes, self.decide_at) = (0, now + window / 2);
        }
    }

    /// A request was refused. Whether it is to count no more in the window.
    pub fn refused(&mut self, refused: Refused, rate: f64, now: Duration) -> bool {
        self.is_hit = false;
        if self.reacted_at.is_some_and(|at| refused.sent <= at) {
            return false;
        }
        self.reacted_at = Some(now);
        self.refusals += 1;
        let is_first = self.refusals == 1;
        let undone = self.before_probe;
        let is_undone = is_first && undone.is_some() && (self.slots >= 2.0 || self.forgiven > 0);
        if let Some(before) = undone {
            let held = (refused.others as f64).min(self.slots - 1.0);
            self.slots = if self.is_shared || self.slots < 2.0 { before } else { before.max(held) };
        }
        match (self.is_shared, undone) {
            (false, Some(_)) => {
                self.quota = self.quota.max(self.slots);
                self.end_probe(now + self.patience());
            }
            (false, None) => {
                let is_repeated = self.refused_alone_at.is_some_and(|at| now < at + REPEATED);
                self.refused_alone_at = Some(now);
                if is_repeated {
                    (self.is_shared, self.forgiven, self.slots) = (true, FORGIVEN, RESTART.min(self.quota));
                    self.end_probe(now + self.patience());
                }
            }
            (true, _) => self.refused_with_others(refused, undone.is_some(), now, rate),
        }
        let window = base_window(rate);
        let slot_time = self.slot_time(rate);
        let next_at = match refused.oldest {
            None => now + self.limit(rate).window.mul_f64(RETRY * between(0.5, 1.5)),
            Some(_) if !is_first => now + window.mul_f64(between(0.5, 1.5)),
            Some(_) if is_undone => now,
            Some(_) if self.is_shared => now + slot_time.mul_f64(fastrand::f64()),
            Some(oldest) => oldest + window,
        };
        self.held_until = self.held_until.max(next_at);
        refused.oldest.is_none() || is_undone
    }

    fn refused_with_others(&mut self, refused: Refused, was_probe: bool, now: Duration, rate: f64) {
        let is_first = self.refusals == 1;
        if is_first {
            let is_small = refused.others as f64 <= RESTART;
            self.forgiven = if is_small { self.forgiven.saturating_sub(1) } else { 0 };
        }
        if !was_probe && self.slots >= 2.0 {
            self.is_hit = is_first;
            if self.refusals >= MANY_REFUSALS {
                self.slots = (self.slots / 2.0).floor();
            }
        } else if !was_probe {
            let decrease = match (is_first, self.forgiven) {
                (false, _) => DECREASE,
                (true, 0) => FIRST_DECREASE,
                (true, _) => 1.0,
            };
            self.slots = (self.slots * decrease).max(LEAST);
        }
        if is_first && self.forgiven == 0 && !was_probe {
            // Somebody else wants more, and more than half is never fair.
            self.slots = self.slots.min((self.quota / 2.0).ceil());
        }
        let soon = base_window(rate).mul_f64(between(1.0, 2.0))
            * 2_u32.pow(FORGIVEN - self.forgiven.clamp(1, FORGIVEN));
        let is_soon = self.forgiven > 0 && refused.others > 0;
        self.end_probe(now + if is_soon { soon } else { self.patience() });
    }

    /// Forgets what was sent and refused, but not the slots: the clock jumped.
    pub fn clear(&mut self, now: Duration) {
        let Self { quota, slots, is_shared, .. } = *self;
        let decide_at = if is_shared || slots < quota { now + PATIENCE } else { NEVER };
        *self = Self { quota, slots, is_shared, decide_at, ..Self::default() };
    }

    fn end_probe(&mut self, decide_at: Duration) {
        (self.before_probe, self.held_probes, self.decide_at) = (None, 0, decide_at);
    }

    /// Takes over another rate: at the beginning, or when a stricter client comes or goes.
    fn follow(&mut self, rate: f64, now: Duration) {
        let is_new = self.quota == 0.0;
        if rate.is_finite() {
            let quota = requests(rate);
            if quota.to_bits() != self.quota.to_bits() {
                let was_full = self.slots >= self.quota;
                self.quota = quota;
                self.slots = if was_full { quota } else { self.slots.min(quota) };
            }
        } else if is_new {
            (self.quota, self.slots) =
                (f64::from(DEFAULT_REQUESTS_PER_SECOND), f64::from(DEFAULT_REQUESTS_PER_SECOND));
        }
        if rate.is_infinite() && self.decide_at == NEVER {
            self.decide_at = now + FIRST_PROBE;
        }
    }

    /// What the window has for one request.
    fn slot_time(&self, rate: f64) -> Duration {
        base_window(rate).div_f64(self.slots.max(LEAST))
    }

    fn patience(&self) -> Duration {
        let longer = (self.quota / 2.0 / self.slots.max(LEAST)).clamp(1.0, 2.0);
        PATIENCE.mul_f64(longer * between(0.7, 1.3))
    }

    /// Writes it for other processes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_f64_le(self.quota);
        bytes.put_f64_le(self.slots);
        bytes.put_f64_le(self.before_probe.unwrap_or(f64::NAN));
        bytes.put_u32_le(self.held_probes);
        bytes.put_u32_le(self.forgiven);
        bytes.put_u32_le(self.refusals);
        bytes.put_u8(u8::from(self.is_shared) | u8::from(self.is_hit) << 1);
        put_optional_time(bytes, self.refused_alone_at);
        put_optional_time(bytes, self.reacted_at);
        for at in [self.decide_at, self.spread_until, self.held_until] {
            put_time(bytes, at);
        }
    }

    /// Reads it.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (quota, slots) = (bytes.try_get_f64_le().ok()?, bytes.try_get_f64_le().ok()?);
        let before_probe = Some(bytes.try_get_f64_le().ok()?).filter(|slots| !slots.is_nan());
        let mut number = || bytes.try_get_u32_le().ok();
        let (held_probes, forgiven, refusals) = (number()?, number()?.min(FORGIVEN), number()?);
        let flags = bytes.try_get_u8().ok()?;
        let (is_shared, is_hit) = (flags & 1 != 0, flags & 2 != 0);
        let (refused_alone_at, reacted_at) = (optional_time(bytes)?, optional_time(bytes)?);
        let (decide_at, spread_until, held_until) = (time(bytes)?, time(bytes)?, time(bytes)?);
        Some(Self {
            quota,
            slots,
            before_probe,
            held_probes,
            decide_at,
            is_shared,
            forgiven,
            refused_alone_at,
            reacted_at,
            refusals,
            is_hit,
            spread_until,
            held_until,
        })
    }
}

/// The requests of a window at a rate. Less than one a second is one in a longer window; what is next to a whole number, as
/// sums and shares of rates may be, is that number.
fn requests(rate: f64) -> f64 {
    (rate + 1e-6).floor().max(1.0)
}

/// The window of a rate: a second, or longer where less than one request a second is allowed. 15.9 requests a second are 15 in
/// a second, for 16 would be too many.
fn base_window(rate: f64) -> Duration {
    let seconds = if rate.is_finite() { (requests(rate) / rate).max(1.0) } else { 1.0 };
    Duration::from_secs_f64(seconds) + MARGIN
}

fn between(low: f64, high: f64) -> f64 {
    low + (high - low) * fastrand::f64()
}
