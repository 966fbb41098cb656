//! What belongs to one process.
//!
//! A fork copies memory, but of the threads only the one that forks. In the child the work of the others stands still
//! for ever, what they had locked stays locked, and the descriptors that their runtime waits on are the parent's
//! too: to unregister a socket there would take it from the parent. So a child makes anew what belongs to a process,
//! and never touches what was its parent's, not even to drop it.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// Which process this is, counted from the first by forks. A process ID would not do: it costs a system call, and
/// comes again.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Tells that this is a new process: to be called in the child, by whoever forks.
pub fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Which process this is.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// A value that each process makes for itself, at its first use there.
///
/// ```
/// use clarifai_annotations::process::PerProcess;
///
/// static NUMBER: PerProcess<u32> = PerProcess::new();
/// assert_eq!(NUMBER.get_or_init(|| 1), &1);
/// assert_eq!(NUMBER.get_or_init(|| 2), &1);
/// ```
pub struct PerProcess<T>(OnceLock<Box<Node<T>>>);

struct Node<T> {
    generation: u32,
    /// It is there until the drop.
    value: Option<T>,
    /// The value of a process that was forked from this one.
    child: PerProcess<T>,
}

impl<T> PerProcess<T> {
    /// No value yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The value of this process, made now if it has none.
    pub fn get_or_init(&self, make: impl Fn() -> T) -> &T {
        let generation = generation();
        let mut place = self;
        loop {
            let node = place
                .0
                .get_or_init(|| Box::new(Node { generation, value: Some(make()), child: Self::new() }));
            match &node.value {
                Some(value) if node.generation == generation => return value,
                _ => place = &node.child,
            }
        }
    }
}

impl<T> PerProcess<T> {
    /// The value of this process, if it has one.
    pub fn get(&self) -> Option<&T> {
        let generation = generation();
        let mut place = self;
        loop {
            let node = place.0.get()?;
            match &node.value {
                Some(value) if node.generation == generation => return Some(value),
                _ => place = &node.child,
            }
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Node<T> {
    fn drop(&mut self) {
        if self.generation != generation() {
            std::mem::forget(self.value.take());
        }
    }
}
