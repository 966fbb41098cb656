//! What lists show: of pairs, and of whole inputs, page by page. Nothing here deletes.

use std::{
    collections::{HashMap, HashSet},
    iter::zip,
    sync::Arc,
};

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

/// What is on some inputs, input-level annotations included: page by page, oldest first.
pub struct Pages<'a> {
    ids: &'a [u32],
    turn: Option<Turn>,
    read: u32,
    is_last: bool,
}

impl<'a> Pages<'a> {
    /// The pages of these inputs, of which the first leaves in this turn.
    pub fn new(ids: &'a [u32], turn: Turn) -> Self {
        Self { ids, turn: Some(turn), read: 0, is_last: false }
    }

    /// The next page; none after the last.
    pub async fn next(&mut self, run: &Run<'_>) -> Result<Option<Vec<Listed>>, Setback> {
        if self.is_last {
            return Ok(None);
        }
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => run.turn().await?,
        };
        self.read += 1;
        let input_ids = self.ids.iter().map(|&id| run.call.targets().get(id as usize).input_id.into());
        let request = ListAnnotationsRequest {
            input_ids: input_ids.collect(),
            per_page: PER_PAGE,
            ..page_request(run, self.read)
        };
        let page = list(run, request, turn).await?;
        self.is_last = page.len() < PER_PAGE as usize;
        Ok(Some(page))
    }

    /// How many pages were read.
    pub fn read(&self) -> u32 {
        self.read
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

/// Whether a list tells about what it was asked for. Where it names others, or one twice, what it does not name may
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
    all.len() == listed.len() && has_room && all.iter().all(is_named)
}
