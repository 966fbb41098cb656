//! A budget for the memory of list answers, shared by all calls of a client. Each list reserves memory before it is sent,
//! refuses a larger answer, and keeps its share until the answer is turned into rows or saved.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The whole budget. A run may take 200 MB; a backup holds up to three copies of an answer while it encodes it.
pub const BUDGET: usize = 32 << 20;

/// The largest answer of the service (Clarifai's documentation). One annotation may have all of it.
pub const LARGEST: usize = 128 << 20;

/// The semaphore counts in kilobytes, for it counts in 32 bits.
const UNIT: usize = 1 << 10;

/// The least that a list reserves. A slight misjudgement of small annotations costs no second request.
const LEAST: usize = 256 << 10;

/// Bytes that a parsed annotation takes beside its message.
const OVERHEAD: usize = 512;

/// The estimate before the first answer: high enough that the first lists of heavy annotations are few.
const FIRST_ESTIMATE: usize = 16 << 10;

/// The budget, and an estimate of what an annotation takes of it.
pub struct Memory {
    free: Arc<Semaphore>,
    /// Bytes an annotation.
    estimate: AtomicUsize,
}

/// Memory that the answer to a list may take. It is free again when this is dropped.
#[derive(Debug)]
pub struct Reserved {
    permit: OwnedSemaphorePermit,
    bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(BUDGET / UNIT)), estimate: AtomicUsize::new(FIRST_ESTIMATE) }
    }
}

impl Memory {
    /// What a list of at most so many annotations reserves: twice the estimate, so that hardly any gets more.
    pub fn expected(&self, annotations: usize) -> usize {
        annotations.saturating_mul(2 * self.estimate.load(Ordering::Relaxed)).clamp(LEAST, BUDGET)
    }

    /// Reserves so much, or all that there is, if nobody has to wait for it.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(units(bytes)).ok()?;
        Some(Reserved { permit, bytes })
    }

    /// Waits until so much can be reserved, or all that there is.
    pub async fn reserve(&self, bytes: usize) -> Reserved {
        match Arc::clone(&self.free).acquire_many_owned(units(bytes)).await {
            Ok(permit) => Reserved { permit, bytes },
            Err(_) => unreachable!("it is never closed"),
        }
    }

    /// An answer came, with so many annotations. The estimate goes up at once and down step by step.
    pub fn learn(&self, annotations: usize, bytes: usize) {
        let before = self.estimate.load(Ordering::Relaxed);
        let estimate = match bytes.checked_div(annotations) {
            Some(each) => (each + OVERHEAD).max(before / 4),
            // An empty answer tells little. But lists of what is not there need not wait for each other for ever.
            None => (before - before / 4).max(OVERHEAD),
        };
        self.estimate.store(estimate, Ordering::Relaxed);
    }
}

impl Reserved {
    /// The most bytes that the answer may have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds on to what so many annotations take, and lets the rest go.
    pub fn keep(&mut self, annotations: usize, bytes: usize) {
        let kept = units(bytes + annotations * OVERHEAD) as usize;
        let rest = self.permit.num_permits().saturating_sub(kept);
        drop(self.permit.split(rest));
    }
}

fn units(bytes: usize) -> u32 {
    bytes.min(BUDGET).div_ceil(UNIT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_goes_up_at_once_and_down_step_by_step() {
        let memory = Memory::default();
        memory.learn(10, 200_000);
        assert_eq!(memory.expected(100), 2 * 100 * (20_000 + OVERHEAD));
        memory.learn(10, 1000);
        assert_eq!(memory.expected(100), 2 * 100 * (20_000 + OVERHEAD) / 4);
    }

    #[test]
    fn no_more_is_reserved_at_once_than_there_is() {
        let memory = Memory::default();
        let all = memory.try_reserve(LARGEST).unwrap();
        assert_eq!(all.bytes(), LARGEST);
        assert!(memory.try_reserve(1).is_none());
        drop(all);
        assert!(memory.try_reserve(1).is_some());
    }

    #[test]
    fn what_an_answer_does_not_need_can_be_reserved_by_others() {
        let memory = Memory::default();
        let mut all = memory.try_reserve(BUDGET).unwrap();
        all.keep(0, BUDGET / 2);
        assert!(memory.try_reserve(BUDGET / 2).is_some());
    }
}
