//! What a caller does against deleting the wrong thing, made ready before anything is sent.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task;

use super::{Client, call::Call};
use crate::{
    backup::{Backup, BackupOptions},
    error::Error,
    journal::{Heading, Journal},
};

/// Holds a call against its cap, and opens its journal and its backup.
pub(super) async fn open(client: &Client, call: &Call) -> Result<Option<Backup>, Error> {
    let precautions = call.precautions().clone();
    let targets = call.targets();
    if let Some(most) = precautions.max_deletions
        && targets.are_pairs()
        && targets.len() > most
    {
        return Err(over_the_limit(&format!("the call names {} annotations", targets.len()), most));
    }
    let journal = precautions.journal.as_ref().map(|place| place.path.clone());
    if let Some(place) = precautions.journal {
        let (targets, settings) = (targets.clone(), client.settings.clone());
        let abandoned = AbandonOnDrop::default();
        let is_abandoned = Arc::clone(&abandoned.0);
        let open = move || {
            let operation =
                if targets.are_pairs() { "delete_annotations" } else { "delete_input_annotations" };
            let heading = Heading {
                operation,
                user_id: &settings.user_id,
                app_id: &settings.app_id,
                base_url: &settings.base_url,
            };
            Journal::open(&place, &heading, &targets, &is_abandoned)
        };
        call.attach_journal(blocking(open).await?);
    }
    let Some(path) = precautions.backup else { return Ok(None) };
    let options = BackupOptions {
        path,
        user_id: client.settings.user_id.clone(),
        app_id: client.settings.app_id.clone(),
        journal,
        is_folded_later: precautions.is_backup_folded_later,
    };
    blocking(move || Backup::open(&options)).await.map(Some)
}

/// Tells work on another thread, when this is dropped, that nobody waits for it any more.
#[derive(Default)]
struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// More would be deleted than the caller allows.
pub(super) fn over_the_limit(found: &str, most: usize) -> Error {
    Error::Limit { message: format!("{found}, and max_deletions is {most}. Nothing was deleted") }
}

/// Work that waits for a disk, away from the network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // A damaged file may be more than a library that reads it is ready for.
    let panicked = |_| Err(Error::Ended { how: "broken off by a file that cannot be read".into() });
    task::spawn_blocking(work).await.unwrap_or_else(panicked)
}
