//! What lists show: of pairs, and of whole inputs, page by page. Nothing here deletes.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
    iter::zip,
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::{
    dispatch::{Run, Setback},
    quota::Turn,
    retry::Verdict,
};
use crate::{
    error::Error,
    wire::{Listed, api::ListAnnotationsRequest},
};

/// The most annotations on a page (Clarifai's documentation).
const PER_PAGE: u32 = 1000;

/// A list is read so many times at most. One that shows something new each time is not going to be known.
const MOST_READINGS: u32 = 10;

/// So many full pages that show nothing new, beyond those that were read before, are a list that has no end.
const MOST_REPEATED: usize = 10;

/// So many different annotations in one list are one as well.
const MOST_LISTED: usize = 20_000_000;

/// What is on some inputs, input-level annotations included: page by page, each annotation once.
///
/// The service counts its pages from the first annotation that is there. So what others delete while several are read
/// moves something to a page that was read before, and what they add shows something a second time. A list of several
/// pages is therefore read again until nothing new appears: backward, in which deletions hide nothing, then forward,
/// in which additions hide nothing, and so on. A list that fits on one page is told by that page.
pub struct Pages<'a> {
    inputs: &'a [u32],
    turn: Option<Turn>,
    seen: Seen,
    reading: Reading,
    is_done: bool,
}

/// One way through the pages of a list.
struct Reading {
    /// How many there were, with this one.
    number: u32,
    is_backward: bool,
    /// How many annotations come before the next page.
    offset: usize,
    shows_something_new: bool,
    /// Pages that were read and had nothing new on them.
    repeated: usize,
}

impl<'a> Pages<'a> {
    /// The pages of these inputs, of which the first leaves in this turn.
    pub fn new(inputs: &'a [u32], turn: Turn) -> Self {
        let reading =
            Reading { number: 1, is_backward: false, offset: 0, shows_something_new: false, repeated: 0 };
        Self { inputs, turn: Some(turn), seen: Seen::default(), reading, is_done: false }
    }

    /// What the next page has that none before it had; none after the last.
    pub async fn next(&mut self, run: &Run<'_>) -> Result<Option<Vec<Listed>>, Setback> {
        while !self.is_done {
            let mut page = self.read(run).await?;
            let is_full = page.len() >= PER_PAGE as usize;
            page.retain(|listed| self.seen.insert(&listed.annotation.input_id, &listed.annotation.id));
            self.reading.shows_something_new |= !page.is_empty();
            self.reading.repeated += usize::from(page.is_empty());
            self.go_on(run, is_full)?;
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    async fn read(&mut self, run: &Run<'_>) -> Result<Vec<Listed>, Setback> {
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => run.turn().await?,
        };
        let input_ids = self.inputs.iter().map(|&id| run.call.targets().get(id as usize).input_id.into());
        let request = ListAnnotationsRequest {
            input_ids: input_ids.collect(),
            per_page: PER_PAGE,
            ..page_request(run, (self.reading.offset / PER_PAGE as usize + 1) as u32)
        };
        list(run, request, turn).await
    }

    /// On to the page that comes after the one that was just read.
    fn go_on(&mut self, run: &Run<'_>, is_full: bool) -> Result<(), Setback> {
        let per_page = PER_PAGE as usize;
        let Reading { is_backward, offset, repeated, .. } = self.reading;
        let has_no_end = repeated > self.seen.len() / per_page + MOST_REPEATED;
        if has_no_end || self.seen.len() > MOST_LISTED {
            return Err(run
                .client
                .channel
                .unreadable("the list of some inputs' annotations has no end")
                .into());
        }
        match (is_backward, is_full) {
            // One page with all that there is at one moment.
            (_, false) if offset == 0 => self.is_done = true,
            (false, true) => self.reading.offset += per_page,
            (false, false) => self.read_again(offset - per_page)?,
            (true, _) if offset > 0 => self.reading.offset -= per_page,
            (true, _) => self.read_again(0)?,
        }
        Ok(())
    }

    /// The list was read from one end to the other. Unless that showed nothing new, it is read back again.
    fn read_again(&mut self, offset: usize) -> Result<(), Setback> {
        let Reading { number, is_backward, shows_something_new, .. } = self.reading;
        if !shows_something_new {
            self.is_done = true;
            return Ok(());
        }
        if number == MOST_READINGS {
            let message = format!(
                "the list of these inputs' annotations changed each of the {MOST_READINGS} times that it was read, so what is on \
                 them is not known: try again when others add less to them"
            );
            return Err(Error::Listing { message }.into());
        }
        self.reading = Reading {
            number: number + 1,
            is_backward: !is_backward,
            offset,
            shows_something_new: false,
            repeated: 0,
        };
        Ok(())
    }
}

/// Annotations that were listed, each once: their IDs one after the other in one text, for there may be millions.
#[derive(Default)]
struct Seen {
    text: String,
    inputs: HashMap<String, u32>,
    /// For each the number of its input, and where its ID ends in `text`.
    annotations: Vec<(u32, usize)>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Seen {
    fn len(&self) -> usize {
        self.annotations.len()
    }

    /// False when it was seen before.
    fn insert(&mut self, input_id: &str, id: &str) -> bool {
        let input = match self.inputs.get(input_id) {
            Some(&input) => input,
            None => {
                let input = self.inputs.len() as u32;
                self.inputs.insert(input_id.into(), input);
                input
            }
        };
        let Self { text, annotations, places, hasher, .. } = self;
        let get = |place: u32| {
            let start = place.checked_sub(1).map_or(0, |before| annotations[before as usize].1);
            let (input, end) = annotations[place as usize];
            (input, &text[start..end])
        };
        let hash = hasher.hash_one((input, id));
        let entry =
            places.entry(hash, |&place| get(place) == (input, id), |&place| hasher.hash_one(get(place)));
        let Entry::Vacant(vacant) = entry else { return false };
        vacant.insert(annotations.len() as u32);
        text.push_str(id);
        annotations.push((input, text.len()));
        true
    }
}

/// Which of these pairs are there, by one list; each with its place among the targets.
pub async fn pairs(run: &Run<'_>, ids: &[u32], turn: Turn) -> Result<Vec<(u32, Listed)>, Setback> {
    let targets = run.call.targets();
    let named = || ids.iter().map(|&id| (id, targets.get(id as usize)));
    let request = ListAnnotationsRequest {
        ids: named().filter_map(|(_, target)| target.annotation_id).map(Into::into).collect(),
        input_ids: named().map(|(_, target)| target.input_id.into()).collect(),
        per_page: ids.len() as u32,
        ..page_request(run, 1)
    };
    let places: HashMap<_, _> = named()
        .map(|(id, target)| ((target.input_id, target.annotation_id.unwrap_or_default()), id))
        .collect();
    let listed = list(run, request, turn).await?.into_iter();
    let placed = listed.filter_map(|listed| {
        let pair = (listed.annotation.input_id.as_str(), listed.annotation.id.as_str());
        Some((*places.get(&pair)?, listed))
    });
    Ok(placed.collect())
}

/// The parts in which a batch is listed: at first the whole; where the service refuses that, its halves, until what
/// it refuses stands alone.
pub struct Parts {
    open: Vec<Vec<u32>>,
    turn: Option<Turn>,
}

impl Parts {
    /// A batch that leaves in this turn.
    pub fn new(ids: Vec<u32>, turn: Turn) -> Self {
        Self { open: vec![ids], turn: Some(turn) }
    }

    /// The next part, in its turn; none when all are listed or the run is stopped.
    pub async fn next(&mut self, run: &Run<'_>) -> Option<(Vec<u32>, Turn)> {
        let ids = self.open.pop()?;
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => run.turn().await.ok()?,
        };
        Some((ids, turn))
    }

    /// This part could not be listed. Gives it back with the error when smaller parts will not do better.
    pub fn failed(&mut self, ids: Vec<u32>, setback: Setback) -> Option<(Vec<u32>, Arc<Error>)> {
        let Setback::Failed(error) = setback else { return None };
        if ids.len() == 1 || Verdict::on(&error) != Verdict::Refused {
            return Some((ids, error));
        }
        let (first, second) = ids.split_at(ids.len() / 2);
        self.open.extend([second.to_vec(), first.to_vec()]);
        None
    }
}

fn page_request(run: &Run<'_>, page: u32) -> ListAnnotationsRequest {
    ListAnnotationsRequest {
        user_app_id: Some(run.client.user_app_id()),
        list_all_annotations: true,
        page,
        ..Default::default()
    }
}

async fn list(run: &Run<'_>, request: ListAnnotationsRequest, turn: Turn) -> Result<Vec<Listed>, Setback> {
    let attempt = |turn| async {
        run.ledger().sent(&[]);
        let listed = run.client.channel.list_annotations(turn, request.clone()).await?;
        if is_of(&request, &listed) { Ok(listed) } else { Err(run.client.channel.unreadable(OTHERS).into()) }
    };
    run.persist(turn, attempt, |verdict| matches!(verdict, Verdict::TurnedAway | Verdict::Unanswered)).await
}

const OTHERS: &str = "a list named other annotations than it was asked for";

/// Whether a list tells about what it was asked for. Where it names others, or a pair twice, what it does not name may
/// be there all the same: only a page with room left that pairs the named IDs otherwise has told all it had to.
fn is_of(request: &ListAnnotationsRequest, listed: &[Listed]) -> bool {
    let all: HashSet<_> =
        listed.iter().map(|it| (it.annotation.input_id.as_str(), it.annotation.id.as_str())).collect();
    let asked: HashSet<_> =
        zip(&request.input_ids, &request.ids).map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let [input_ids, ids] =
        [&request.input_ids, &request.ids].map(|ids| ids.iter().map(String::as_str).collect::<HashSet<_>>());
    let has_room = ids.is_empty() || all.len() < request.per_page as usize || all.is_subset(&asked);
    let is_named =
        |&(input_id, id): &(&str, &str)| input_ids.contains(input_id) && (ids.is_empty() || ids.contains(id));
    (ids.is_empty() || all.len() == listed.len()) && has_room && all.iter().all(is_named)
}
