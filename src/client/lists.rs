//! What lists show: of pairs, and of whole inputs, page by page. Nothing here deletes.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher as _,
    sync::Arc,
};

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::{
    channel::SendPermit,
    dispatch::{Run, Setback},
    memory::{self, Reserved},
    retry::Verdict,
    spelling::{self, folded},
};
use crate::{
    LOGGER,
    error::{Error, Kind},
    ids::Text,
    wire::{Listed, StatusCode, api::ListAnnotationsRequest},
};

/// The most annotations on a page (Clarifai's documentation).
const PER_PAGE: usize = 1000;

/// How many may be on a page where that many are too large. Each divides the ones before it: pages are counted from the
/// first annotation, and so a page of any of these can begin where one of another ended.
const PAGE_SIZES: [usize; 7] = [PER_PAGE, 500, 250, 125, 25, 5, 1];

/// A list is read so many times at most. One that shows something new each time is not going to be known.
const MOST_READINGS: u32 = 10;

/// Pages with so many annotations that show nothing new, beyond those that were read before, are a list that has no end.
const MOST_REPEATED: usize = 10 * PER_PAGE;

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
    permit: Option<SendPermit>,
    seen: Seen,
    /// The inputs of which anything was listed.
    shown: HashSet<u32>,
    /// The inputs of which anything was listed in another spelling, and that.
    respelled: HashMap<u32, String>,
    /// Bytes an annotation on the latest page.
    weight: usize,
    /// The most bytes that a page may have, as far as is known.
    most_bytes: usize,
    /// A page of so many annotations was too large, of which the bytes are not known yet.
    refused_size: Option<usize>,
    reading: Reading,
    is_done: bool,
}

/// What a page has that none before it had.
pub struct Page {
    /// Each with the place of its input among the targets.
    pub annotations: Vec<(u32, Listed)>,
    /// Kept for as long as they are.
    pub memory: Reserved,
}

/// One way through the pages of a list.
struct Reading {
    /// How many there were, with this one.
    number: u32,
    is_backward: bool,
    /// How many annotations come before the next page; with it, where it is read backward.
    offset: usize,
    shows_something_new: bool,
    /// Annotations on pages that had nothing new on them.
    repeated: usize,
}

impl<'a> Pages<'a> {
    /// The pages of these inputs, of which the first is sent with this permit.
    pub fn new(inputs: &'a [u32], permit: SendPermit) -> Self {
        let reading =
            Reading { number: 1, is_backward: false, offset: 0, shows_something_new: false, repeated: 0 };
        Self {
            inputs,
            permit: Some(permit),
            seen: Seen::default(),
            shown: HashSet::new(),
            respelled: HashMap::new(),
            weight: 0,
            most_bytes: memory::BUDGET,
            refused_size: None,
            reading,
            is_done: false,
        }
    }

    /// What the next page has that none before it had; none after the last.
    pub async fn next(&mut self, run: &Run<'_>) -> Result<Option<Page>, Setback> {
        while !self.is_done {
            let (Answer { mut annotations, memory }, size) = self.read(run).await?;
            let is_full = annotations.len() >= size;
            annotations.retain(|it| self.seen.insert(&it.annotation.input_id, &it.annotation.id));
            self.reading.shows_something_new |= !annotations.is_empty();
            self.reading.repeated += if annotations.is_empty() { size } else { 0 };
            self.go_on(run, size, is_full)?;
            let annotations = self.of_these(run, annotations)?;
            if !annotations.is_empty() {
                return Ok(Some(Page { annotations, memory }));
            }
        }
        Ok(None)
    }

    /// The inputs of which nothing was listed but in another spelling, and that.
    pub fn respelled(&self) -> impl Iterator<Item = (u32, &str)> {
        let respelled = self.respelled.iter().filter(|(input, _)| !self.shown.contains(input));
        respelled.map(|(&input, spelling)| (input, spelling.as_str()))
    }

    /// What is on these inputs, each with its place among the targets. A list that names others tells nothing.
    fn of_these(&mut self, run: &Run<'_>, page: Vec<Listed>) -> Result<Vec<(u32, Listed)>, Setback> {
        let targets = run.call.targets();
        let input_ids = || self.inputs.iter().map(|&id| (targets.get(id as usize).input_id, id));
        let places: HashMap<_, _> = input_ids().collect();
        let (mut own, mut others) = (Vec::with_capacity(page.len()), Vec::new());
        for listed in page {
            match places.get(listed.annotation.input_id.as_str()) {
                Some(&input) => own.push((input, listed)),
                None => others.push(listed.annotation.input_id),
            }
        }
        if !others.is_empty() {
            let folded_places: HashMap<_, _> =
                input_ids().map(|(input_id, id)| (folded(input_id), id)).collect();
            for input_id in others {
                let input = folded_places.get(&folded(&input_id)).ok_or(Setback::Failed(names_others()))?;
                self.respelled.insert(*input, input_id);
            }
        }
        self.shown.extend(own.iter().map(|(input, _)| *input));
        Ok(own)
    }

    /// The next page, and how many annotations it has room for: fewer, where so many are too large.
    async fn read(&mut self, run: &Run<'_>) -> Result<(Answer, usize), Setback> {
        loop {
            let permit = match self.permit.take() {
                Some(permit) => permit,
                None => run.acquire().await?,
            };
            let size = self.page_size();
            let Reading { is_backward, offset, .. } = self.reading;
            let start = if is_backward { offset - size } else { offset };
            let input_ids = self.inputs.iter().map(|&id| run.call.targets().get(id as usize).input_id.into());
            let request = ListAnnotationsRequest {
                input_ids: input_ids.collect(),
                per_page: size as u32,
                ..page_request(run, (start / size + 1) as u32)
            };
            match list(run, request, size, permit).await {
                Ok(answer) => {
                    let bytes: usize = answer.annotations.iter().map(|it| it.message.len()).sum();
                    self.weight = bytes.checked_div(answer.annotations.len()).unwrap_or(self.weight);
                    if let Some(refused_size) = self.refused_size.take() {
                        self.most_bytes = self.most_bytes.min((self.weight * refused_size).saturating_sub(1));
                    }
                    return Ok((answer, size));
                }
                Err(Setback::Failed(error)) if size > 1 && error.is_too_large() => {
                    log::debug!(target: LOGGER, "a page of {size} annotations is too large: {error}");
                    self.refused_size = Some(size);
                    self.weight = self.weight.max(self.most_bytes / size + 1);
                }
                // An answer of more than 128 MB is a FAILURE (Clarifai's documentation), but not every FAILURE is one: a page of
                // a single annotation tells.
                Err(Setback::Failed(error)) if size > 1 && is_failure(&error) => {
                    log::debug!(target: LOGGER, "a page of {size} annotations may be too large: {error}");
                    self.refused_size = Some(size);
                    self.weight = self.weight.max(self.most_bytes + 1);
                }
                Err(setback) => return Err(setback),
            }
        }
    }

    /// How many annotations the next page has: as many as fit into the memory that there is, as far as is known.
    fn page_size(&self) -> usize {
        let fits =
            |size: &usize| self.reading.offset.is_multiple_of(*size) && size * self.weight <= self.most_bytes;
        // What is read backward begins a page before its end.
        let is_left = |size: &usize| !self.reading.is_backward || *size <= self.reading.offset;
        PAGE_SIZES.into_iter().find(|size| fits(size) && is_left(size)).unwrap_or(1)
    }

    /// On to the page that comes after the one that was just read.
    fn go_on(&mut self, run: &Run<'_>, size: usize, is_full: bool) -> Result<(), Setback> {
        let Reading { is_backward, offset, repeated, .. } = self.reading;
        if repeated > self.seen.len() + MOST_REPEATED || self.seen.len() > MOST_LISTED {
            return Err(run
                .client
                .channel
                .unreadable("the list of some inputs' annotations has no end")
                .into());
        }
        let start = if is_backward { offset - size } else { offset };
        match (is_backward, is_full) {
            // One page with all that there is at one moment.
            (_, false) if start == 0 => self.is_done = true,
            (false, true) => self.reading.offset += size,
            // The last page was just read, and need not be once more.
            (false, false) => self.read_again(offset)?,
            (true, _) if start > 0 => self.reading.offset = start,
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

fn is_failure(error: &Error) -> bool {
    error.code() == Some(StatusCode::Failure as i32)
}

/// Annotations that were listed, each once.
#[derive(Default)]
struct Seen {
    inputs: HashMap<String, u32>,
    /// For each annotation its ID, and the number of its input.
    ids: Text,
    inputs_of: Vec<u32>,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Seen {
    fn len(&self) -> usize {
        self.ids.len()
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
        let Self { ids, inputs_of, places, hasher, .. } = self;
        let get = |place: u32| (inputs_of[place as usize], ids.get(place as usize));
        let hash = hasher.hash_one((input, id));
        let entry =
            places.entry(hash, |&place| get(place) == (input, id), |&place| hasher.hash_one(get(place)));
        let Entry::Vacant(vacant) = entry else { return false };
        vacant.insert(ids.len() as u32);
        ids.push(id);
        inputs_of.push(input);
        true
    }
}

/// What one list shows of some pairs, each by its place among the targets. What stands in none of the three is not there.
#[derive(Default)]
pub struct Pairs {
    /// They are there.
    pub there: Vec<(u32, Listed)>,
    /// They are not, and another spelling of each is.
    pub respelled: Vec<(u32, Listed)>,
    /// The list tells nothing about them.
    pub untold: Vec<u32>,
    memory: Option<Reserved>,
}

impl Pairs {
    /// Of which it cannot be said whether they are there, each with the reason.
    pub fn unclear(&self) -> impl Iterator<Item = (u32, Arc<Error>)> {
        let respelled = self.respelled.iter().map(|(id, listed)| (*id, spelling::respelled(listed)));
        let others = (!self.untold.is_empty()).then(names_others);
        respelled.chain(self.untold.iter().filter_map(move |&id| Some((id, others.clone()?))))
    }

    /// The memory of what is there, to be kept for as long as that.
    pub fn memory(&mut self) -> Option<Reserved> {
        self.memory.take()
    }
}

/// Looks some pairs up, by one list.
pub async fn pairs(run: &Run<'_>, ids: &[u32], permit: SendPermit) -> Result<Pairs, Setback> {
    let targets = run.call.targets();
    let named = || ids.iter().map(|&id| (id, targets.get(id as usize)));
    let request = ListAnnotationsRequest {
        ids: named().filter_map(|(_, target)| target.annotation_id).map(Into::into).collect(),
        input_ids: named().map(|(_, target)| target.input_id.into()).collect(),
        // There may be more than is named: whether a list pairs the IDs or takes any input with any ID is not documented.
        per_page: PER_PAGE as u32,
        ..page_request(run, 1)
    };
    let Answer { annotations, memory } = list(run, request, ids.len(), permit).await?;
    let asked = named().map(|(id, target)| (id, target.input_id, target.annotation_id.unwrap_or_default()));
    Ok(Pairs { memory: Some(memory), ..told(&asked.collect::<Vec<_>>(), annotations, PER_PAGE) })
}

/// What a list tells of the pairs that it was asked for.
///
/// It has told all that it had to when there was room left on its page, and all that it names are pairs of the named
/// IDs, in whatever spelling. Where it names others, or a pair twice, what it does not name may be there all the same.
fn told(asked: &[(u32, &str, &str)], listed: Vec<Listed>, per_page: usize) -> Pairs {
    let places: HashMap<_, _> =
        asked.iter().map(|&(id, input_id, own_id)| ((input_id, own_id), id)).collect();
    let count = listed.len();
    let (mut there, mut others) = (HashMap::new(), Vec::new());
    for listed in listed {
        let pair = (listed.annotation.input_id.as_str(), listed.annotation.id.as_str());
        match places.get(&pair) {
            Some(&id) => drop(there.insert(id, listed)),
            None => others.push(listed),
        }
    }
    let mut pairs = Pairs::default();
    let mut open: Vec<_> = asked.iter().filter(|(id, ..)| !there.contains_key(id)).collect();
    let mut is_complete = count < per_page && there.len() + others.len() == count;
    if !others.is_empty() && !open.is_empty() {
        let names: [HashSet<String>; 2] = [
            asked.iter().map(|(_, input_id, _)| folded(input_id)).collect(),
            asked.iter().map(|(.., own_id)| folded(own_id)).collect(),
        ];
        let mut spellings = HashMap::new();
        for listed in others {
            let pair = (folded(&listed.annotation.input_id), folded(&listed.annotation.id));
            is_complete &= names[0].contains(&pair.0) && names[1].contains(&pair.1);
            spellings.insert(pair, listed);
        }
        open.retain(|(id, input_id, own_id)| {
            let spelling = spellings.get(&(folded(input_id), folded(own_id)));
            pairs.respelled.extend(spelling.map(|listed| (*id, listed.clone())));
            spelling.is_none()
        });
    }
    if !is_complete {
        pairs.untold = open.into_iter().map(|(id, ..)| *id).collect();
    }
    pairs.there = asked.iter().filter_map(|(id, ..)| Some((*id, there.remove(id)?))).collect();
    pairs
}

/// The parts in which a batch is listed: at first the whole; where the service refuses that, smaller ones, until what it
/// refuses stands alone. A part that is refused is halved, one that is served doubles the next.
pub struct Parts {
    open: Vec<Vec<u32>>,
    permit: Option<SendPermit>,
    /// How many IDs the next part names at most.
    size: usize,
    /// So many are not too large.
    most: usize,
}

/// What lists do not tell about, however few IDs they name.
pub enum Unlisted {
    /// The service says that the input is not there.
    NoInput(Vec<u32>, Arc<Error>),
    /// They cannot be listed. Where the service says that something is not there, it is the app.
    Failed(Vec<u32>, Arc<Error>),
}

impl Parts {
    /// A batch that is sent with this permit.
    pub fn new(ids: Vec<u32>, permit: SendPermit) -> Self {
        Self { permit: Some(permit), ..Self::without_permit(ids) }
    }

    /// A batch whose permits are acquired as they are needed.
    pub fn without_permit(ids: Vec<u32>) -> Self {
        Self { open: vec![ids], permit: None, size: usize::MAX, most: usize::MAX }
    }

    /// The next part, with its permit; none when all are listed or the run is stopped.
    pub async fn next(&mut self, run: &Run<'_>) -> Option<(Vec<u32>, SendPermit)> {
        let mut ids = self.open.pop()?;
        let rest = ids.split_off(self.size.min(self.most).min(ids.len()));
        if !rest.is_empty() {
            self.open.push(rest);
        }
        // Unless it fails.
        self.size = self.size.saturating_mul(2);
        let permit = match self.permit.take() {
            Some(permit) => permit,
            None => run.acquire().await.ok()?,
        };
        Some((ids, permit))
    }

    /// This part could not be listed. Gives it back when smaller parts will not do better; none when they may, and when the
    /// run is stopped.
    pub async fn failed(&mut self, run: &Run<'_>, ids: Vec<u32>, setback: Setback) -> Option<Unlisted> {
        let Setback::Failed(error) = setback else { return None };
        let is_missing = error.kind() == Some(Kind::NotFound);
        let is_input = is_missing && {
            match is_about_an_input(run, &error).await {
                Ok(is_input) => is_input,
                Err(Setback::Failed(error)) => return Some(Unlisted::Failed(ids, error)),
                Err(Setback::Stopped) => return None,
            }
        };
        let may_do_better = if is_missing { is_input } else { is_refused(&error) };
        self.size = (ids.len() / 2).max(1);
        if error.is_too_large() {
            self.most = self.size;
        }
        match ids.len() {
            1 if is_input => Some(Unlisted::NoInput(self.others_on_input(run, ids[0]), error)),
            2.. if may_do_better => {
                self.open.push(ids);
                None
            }
            _ => Some(Unlisted::Failed(ids, error)),
        }
    }

    /// An ID, and all that are still to be listed on the same input.
    fn others_on_input(&mut self, run: &Run<'_>, id: u32) -> Vec<u32> {
        let input_of = |id: u32| run.call.targets().get(id as usize).input_id;
        let mut all = vec![id];
        for open in &mut self.open {
            all.extend(open.extract_if(.., |other| input_of(*other) == input_of(id)));
        }
        self.open.retain(|open| !open.is_empty());
        all
    }
}

fn is_refused(error: &Error) -> bool {
    Verdict::on(error) == Verdict::Refused
}

/// Whether a list was refused because an input is not there, rather than the app. The service has one code for both: a list
/// of the app, which names no input, tells them apart.
pub async fn is_about_an_input(run: &Run<'_>, error: &Error) -> Result<bool, Setback> {
    if error.code() == Some(StatusCode::InputDoesNotExist as i32) {
        return Ok(true);
    }
    let probe = async {
        let request = ListAnnotationsRequest { per_page: 1, ..page_request(run, 1) };
        list(run, request, 1, run.acquire().await?).await.map(drop)
    };
    match run.client.app_exists.get_or_try_init(|| probe).await {
        Ok(()) => Ok(true),
        Err(Setback::Failed(error)) if error.kind() == Some(Kind::NotFound) => Ok(false),
        Err(setback) => Err(setback),
    }
}

fn page_request(run: &Run<'_>, page: u32) -> ListAnnotationsRequest {
    ListAnnotationsRequest {
        user_app_id: Some(run.client.user_app_id()),
        list_all_annotations: true,
        // What is saved must be whole, and what is counted for a limit is listed as it will be saved.
        return_model_output: run.backup.is_some() || run.call.precautions().backup.is_some(),
        page,
        ..Default::default()
    }
}

/// The answer to a list, and its memory.
struct Answer {
    annotations: Vec<Listed>,
    memory: Reserved,
}

/// Sends a list of at most so many annotations.
async fn list(
    run: &Run<'_>,
    request: ListAnnotationsRequest,
    expected: usize,
    permit: SendPermit,
) -> Result<Answer, Setback> {
    let all = run.client.memory();
    let (mut bytes, mut permit) = (all.expected(expected), Some(permit));
    loop {
        let mut memory = match all.try_reserve(bytes) {
            Some(memory) => memory,
            None => {
                // The permit is given up: lists that wait for memory must neither block others nor leave in one burst later.
                drop(permit.take());
                run.call.unless_stopped(all.reserve(bytes)).await?
            }
        };
        let permit = match permit.take() {
            Some(permit) => permit,
            None => run.acquire().await?,
        };
        let most_bytes = memory.bytes();
        let attempt = |permit| async {
            run.ledger().sent(&[]);
            Ok(run.client.channel.list_annotations(permit, request.clone(), most_bytes).await?)
        };
        let is_worth = |verdict| matches!(verdict, Verdict::TurnedAway | Verdict::Unanswered);
        let error = match run.persist(permit, attempt, is_worth).await {
            Ok(annotations) => {
                let bytes = annotations.iter().map(|it| it.message.len()).sum();
                let _ = run.client.app_exists.set(());
                all.learn(annotations.len(), bytes);
                memory.keep(annotations.len(), bytes);
                return Ok(Answer { annotations, memory });
            }
            Err(Setback::Failed(error)) => error,
            Err(setback) => return Err(setback),
        };
        // One annotation cannot be had in parts.
        let most = if expected == 1 { memory::LARGEST } else { memory::BUDGET };
        match *error {
            Error::TooLarge { bytes: found, .. } if found > bytes as u64 && found <= most as u64 => {
                bytes = found as usize;
            }
            _ => return Err(Setback::Failed(error)),
        }
    }
}

/// Such a list proves nothing about what it does not name.
fn names_others() -> Arc<Error> {
    let message =
        "a list named other annotations than it was asked for, so whether this is there is not known";
    Arc::new(Error::Listing { message: message.into() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::api::Annotation;

    fn listed(input_id: &str, id: &str) -> Listed {
        let annotation = Annotation { input_id: input_id.into(), id: id.into(), ..Default::default() };
        Listed { annotation, message: Bytes::new() }
    }

    /// The places of what is there, respelled and untold.
    fn places(asked: &[(&str, &str)], shown: &[(&str, &str)], per_page: usize) -> [Vec<u32>; 3] {
        let asked: Vec<_> =
            (0..).zip(asked).map(|(id, (input_id, own_id))| (id, *input_id, *own_id)).collect();
        let shown = shown.iter().map(|(input_id, id)| listed(input_id, id)).collect();
        let Pairs { there, respelled, untold, .. } = told(&asked, shown, per_page);
        let ids = |pairs: Vec<(u32, Listed)>| pairs.into_iter().map(|(id, _)| id).collect();
        [ids(there), ids(respelled), untold]
    }

    const ASKED: [(&str, &str); 3] = [("p", "a"), ("q", "b"), ("p", "c")];

    #[test]
    fn what_a_list_with_room_left_does_not_name_is_not_there() {
        assert_eq!(places(&ASKED, &[("q", "b")], 3), [vec![1], vec![], vec![]]);
    }

    #[test]
    fn a_list_that_takes_any_input_with_any_id_tells_all_the_same() {
        assert_eq!(places(&ASKED, &[("p", "b"), ("q", "b")], 4), [vec![1], vec![], vec![]]);
    }

    #[test]
    fn a_full_page_tells_nothing_about_what_it_does_not_name() {
        assert_eq!(places(&ASKED, &[("p", "b"), ("q", "b")], 2), [vec![1], vec![], vec![0, 2]]);
    }

    #[test]
    fn a_list_of_others_tells_nothing_about_what_it_does_not_name() {
        assert_eq!(places(&ASKED, &[("x", "a"), ("q", "b")], 9), [vec![1], vec![], vec![0, 2]]);
    }

    #[test]
    fn a_list_that_names_a_pair_twice_tells_nothing_about_what_it_does_not_name() {
        assert_eq!(places(&ASKED, &[("q", "b"), ("q", "b")], 9), [vec![1], vec![], vec![0, 2]]);
    }

    #[test]
    fn another_spelling_is_of_the_id_that_is_not_listed_itself() {
        assert_eq!(places(&ASKED, &[("P", "A"), ("Q", "B"), ("q", "b")], 9), [vec![1], vec![0], vec![]]);
    }

    #[test]
    fn another_spelling_is_told_from_others_beside_it() {
        assert_eq!(places(&ASKED, &[("p", "A"), ("x", "x")], 9), [vec![], vec![0], vec![1, 2]]);
    }

    proptest! {
        #[test]
        fn an_annotation_is_seen_once_however_often_it_is_listed(
            pairs in prop::collection::vec(("[pq]{1,2}", "[ab]{0,3}"), 0..200),
        ) {
            let mut seen = Seen::default();
            let mut known = HashSet::new();
            for (input_id, id) in &pairs {
                prop_assert_eq!(seen.insert(input_id, id), known.insert((input_id, id)));
            }
            prop_assert_eq!(seen.len(), known.len());
        }
    }
}
