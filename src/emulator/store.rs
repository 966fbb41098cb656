//! What is there: apps, their inputs, and the annotations on them. A plain data structure; it knows nothing of
//! requests, keys or the wire.
//!
//! An app keeps its annotations in slots, in the order in which they came, which is the order of every list.
//! A pair is found by hash; an input knows its slots, so that what is asked of an input costs what that input
//! holds. Emptied slots are dropped once they are the majority.

use std::hash::BuildHasher as _;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use tokio::time::Instant;

/// The annotations of one app.
#[derive(Default)]
pub struct App {
    inputs: Vec<Input>,
    input_numbers: HashMap<Box<str>, u32>,
    slots: Vec<Option<Annotation>>,
    /// Slot numbers by pair.
    pairs: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Slots of annotations that are deleted and that lists show until then.
    lingering: HashMap<u32, Instant>,
    /// Pairs that nobody may delete.
    locked: HashSet<(Box<str>, Box<str>)>,
}

struct Input {
    id: Box<str>,
    /// Ascending.
    slots: Vec<u32>,
}

/// An annotation as it is kept.
pub struct Annotation {
    input: u32,
    /// Its own ID.
    pub id: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// Serialized, as it was given.
    message: Box<[u8]>,
}

/// What an annotation is, as far as lists and deletions ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kind {
    /// Whether it belongs to the input itself.
    pub input_level: bool,
    /// Whether lists show it that do not ask for all.
    pub trusted: bool,
    /// Whether a model or a workflow made it, rather than a user.
    pub is_model: bool,
}

impl Annotation {
    /// The serialized message.
    pub fn message(&self) -> Bytes {
        Bytes::copy_from_slice(&self.message)
    }
}

/// What cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The input is not there.
    NoInput,
    /// The pair is there already.
    Exists,
}

impl App {
    /// Adds an input without annotations. False when it is there already.
    pub fn add_input(&mut self, input_id: &str) -> bool {
        if self.has_input(input_id) {
            return false;
        }
        self.input_numbers.insert(input_id.into(), self.inputs.len() as u32);
        self.inputs.push(Input { id: input_id.into(), slots: Vec::new() });
        true
    }

    /// Whether the input is there.
    pub fn has_input(&self, input_id: &str) -> bool {
        self.input_numbers.contains_key(input_id)
    }

    /// Adds an annotation, as the latest.
    ///
    /// # Errors
    /// [`Conflict`].
    pub fn add(&mut self, input_id: &str, id: &str, message: &[u8], kind: Kind) -> Result<(), Conflict> {
        let input = *self.input_numbers.get(input_id).ok_or(Conflict::NoInput)?;
        if self.slot(input_id, id).is_some() {
            return Err(Conflict::Exists);
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Some(Annotation { input, id: id.into(), kind, message: message.into() }));
        self.inputs[input as usize].slots.push(slot);
        self.index(slot);
        Ok(())
    }

    /// The annotation of this pair.
    pub fn get(&self, input_id: &str, id: &str) -> Option<&Annotation> {
        self.slots[self.slot(input_id, id)? as usize].as_ref()
    }

    /// Keeps the annotation of this pair, there or not, from ever being deleted.
    pub fn lock(&mut self, input_id: &str, id: &str) {
        self.locked.insert((input_id.into(), id.into()));
    }

    /// Whether nobody may delete this pair.
    pub fn is_locked(&self, input_id: &str, id: &str) -> bool {
        !self.locked.is_empty() && self.locked.contains(&(input_id.into(), id.into()))
    }

    /// An annotation on the input that nobody may delete, if there is one.
    pub fn locked_on(&self, input_id: &str) -> Option<&str> {
        let locked =
            self.locked.iter().find(|(input, id)| **input == *input_id && self.get(input, id).is_some());
        locked.map(|(_, id)| &**id)
    }

    /// Removes the annotation of this pair. Lists show it for as long as it lingers. False when it is not there.
    pub fn remove(&mut self, input_id: &str, id: &str, lingers_until: Option<Instant>) -> bool {
        let Some(slot) = self.slot(input_id, id) else { return false };
        self.forget(slot);
        match lingers_until {
            Some(until) => drop(self.lingering.insert(slot, until)),
            None => {
                self.vacate(slot);
                self.compact();
            }
        }
        true
    }

    /// Removes every annotation of an input, save the input-level ones. Tells how many went.
    pub fn clear_input(&mut self, input_id: &str, lingers_until: Option<Instant>) -> usize {
        let Some(&input) = self.input_numbers.get(input_id) else { return 0 };
        let slots = std::mem::take(&mut self.inputs[input as usize].slots);
        let stays = |slot: &u32| {
            self.lingering.contains_key(slot)
                || self.slots[*slot as usize].as_ref().is_some_and(|it| it.kind.input_level)
        };
        let (kept, gone): (Vec<u32>, Vec<u32>) = slots.iter().partition(|slot| stays(slot));
        for &slot in &gone {
            self.forget(slot);
        }
        if let Some(until) = lingers_until {
            self.inputs[input as usize].slots = slots;
            self.lingering.extend(gone.iter().map(|&slot| (slot, until)));
        } else {
            self.inputs[input as usize].slots = kept;
            for &slot in &gone {
                self.slots[slot as usize] = None;
            }
            self.compact();
        }
        gone.len()
    }

    /// Lets go of what has lingered long enough.
    pub fn settle(&mut self, now: Instant) {
        if self.lingering.is_empty() {
            return;
        }
        let over: Vec<_> =
            self.lingering.iter().filter(|(_, until)| **until <= now).map(|(&slot, _)| slot).collect();
        for slot in over {
            self.lingering.remove(&slot);
            self.vacate(slot);
        }
        self.compact();
    }

    /// Annotations that are there, oldest first, each with its input's ID.
    pub fn present(&self) -> impl Iterator<Item = (&str, &Annotation)> {
        let slots = self.slots.iter().enumerate();
        let present = slots.filter(|(slot, _)| !self.lingering.contains_key(&(*slot as u32)));
        present.filter_map(|(_, it)| it.as_ref()).map(|annotation| self.with_input(annotation))
    }

    /// Annotations that are there on an input, oldest first.
    pub fn present_on(&self, input_id: &str) -> impl Iterator<Item = &Annotation> {
        let input = self.input_numbers.get(input_id);
        let slots = input.into_iter().flat_map(|&input| &self.inputs[input as usize].slots);
        let present = slots.filter(|slot| !self.lingering.contains_key(*slot));
        present.filter_map(|&slot| self.slots[slot as usize].as_ref())
    }

    /// Annotations that lists show, input by input in the order in which these came, each input's oldest first.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Annotation)> {
        let slots = self.inputs.iter().flat_map(|input| &input.slots);
        let annotations = slots.filter_map(|&slot| self.slots[slot as usize].as_ref());
        annotations.map(|annotation| self.with_input(annotation))
    }

    /// Those of them that are on some inputs, oldest first.
    pub fn of_inputs<'a>(
        &'a self,
        input_ids: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Annotation)> {
        let inputs = input_ids.into_iter().filter_map(|id| self.input_numbers.get(id));
        let mut slots: Vec<u32> =
            inputs.flat_map(|&input| &self.inputs[input as usize].slots).copied().collect();
        slots.sort_unstable();
        slots.dedup();
        let annotations = slots.into_iter().filter_map(|slot| self.slots[slot as usize].as_ref());
        annotations.map(|annotation| self.with_input(annotation))
    }

    fn with_input<'a>(&'a self, annotation: &'a Annotation) -> (&'a str, &'a Annotation) {
        (&self.inputs[annotation.input as usize].id, annotation)
    }

    fn slot(&self, input_id: &str, id: &str) -> Option<u32> {
        let input = *self.input_numbers.get(input_id)?;
        let hash = self.hasher.hash_one((input, id));
        let found = self.pairs.find(hash, |&slot| {
            self.slots[slot as usize].as_ref().is_some_and(|it| it.input == input && *it.id == *id)
        });
        found.copied()
    }

    fn index(&mut self, slot: u32) {
        let Self { pairs, slots, hasher, .. } = self;
        let hash = |slot: &u32| {
            let pair = slots[*slot as usize].as_ref().map(|it| (it.input, &*it.id));
            pair.map_or(0, |pair| hasher.hash_one(pair))
        };
        pairs.insert_unique(hash(&slot), slot, hash);
    }

    /// Takes a slot out of the table of pairs.
    fn forget(&mut self, slot: u32) {
        if let Some(gone) = &self.slots[slot as usize] {
            let hash = self.hasher.hash_one((gone.input, &*gone.id));
            if let Ok(entry) = self.pairs.find_entry(hash, |&other| other == slot) {
                entry.remove();
            }
        }
    }

    /// Empties a slot that is out of the table already.
    fn vacate(&mut self, slot: u32) {
        if let Some(gone) = self.slots[slot as usize].take() {
            let slots = &mut self.inputs[gone.input as usize].slots;
            if let Ok(place) = slots.binary_search(&slot) {
                slots.remove(place);
            }
        }
    }

    /// Drops empty slots when they are the majority: each removal pays for a constant share of that.
    fn compact(&mut self) {
        const WORTH_IT: usize = 1024;
        let live = self.pairs.len();
        if self.slots.len() < WORTH_IT || self.slots.len() < 2 * live || !self.lingering.is_empty() {
            return;
        }
        self.slots.retain(Option::is_some);
        self.slots.shrink_to_fit();
        self.pairs.clear();
        for input in &mut self.inputs {
            input.slots.clear();
        }
        for slot in 0..self.slots.len() {
            if let Some(annotation) = &self.slots[slot] {
                self.inputs[annotation.input as usize].slots.push(slot as u32);
            }
            self.index(slot as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(app: &App) -> Vec<String> {
        app.present().map(|(input, it)| format!("{input}/{}", it.id)).collect()
    }

    fn app(pairs: &[(&str, &str)]) -> App {
        let mut app = App::default();
        for (input, id) in pairs {
            app.add_input(input);
            app.add(input, id, b"", Kind::default()).unwrap();
        }
        app
    }

    #[test]
    fn annotations_are_kept_in_the_order_in_which_they_came() {
        assert_eq!(ids(&app(&[("p", "b"), ("q", "a"), ("p", "a")])), ["p/b", "q/a", "p/a"]);
    }

    #[test]
    fn all_annotations_are_listed_in_the_order_in_which_their_inputs_came() {
        let app = app(&[("p", "b"), ("q", "a"), ("p", "a")]);
        let listed: Vec<_> = app.all().map(|(input, it)| format!("{input}/{}", it.id)).collect();
        assert_eq!(listed, ["p/b", "p/a", "q/a"]);
    }

    #[test]
    fn an_id_may_stand_on_two_inputs_and_goes_from_the_one_that_is_named() {
        let mut app = app(&[("p", "a"), ("q", "a")]);
        assert!(app.remove("p", "a", None));
        assert_eq!(ids(&app), ["q/a"]);
    }

    #[test]
    fn the_order_and_every_pair_survive_the_dropping_of_empty_slots() {
        let names: Vec<_> = (0..3000).map(|n| (format!("p{}", n % 7), format!("a{n}"))).collect();
        let pairs: Vec<_> = names.iter().map(|(input, id)| (input.as_str(), id.as_str())).collect();
        let mut app = app(&pairs);
        for (input, id) in &pairs[..2500] {
            assert!(app.remove(input, id, None));
        }
        let left: Vec<_> = pairs[2500..].iter().map(|(input, id)| format!("{input}/{id}")).collect();
        assert_eq!(ids(&app), left);
        assert!(pairs[2500..].iter().all(|(input, id)| app.get(input, id).is_some()));
        assert!(app.slots.len() < 2048);
    }

    #[test]
    fn clearing_an_input_spares_what_is_input_level_and_other_inputs() {
        let mut app = app(&[("p", "a"), ("q", "a"), ("p", "b")]);
        app.add("p", "own", b"", Kind { input_level: true, ..Kind::default() }).unwrap();
        assert_eq!(app.clear_input("p", None), 2);
        assert_eq!(ids(&app), ["q/a", "p/own"]);
    }
}
