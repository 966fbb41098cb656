//! What the emulator saw: every request, with credentials masked.

use std::collections::VecDeque;

use super::access::Metadata;
use crate::wire;

/// A long-lived emulator forgets older requests than so many, or than those that name so many IDs.
const MAX_REQUESTS: usize = 100_000;
const MAX_IDS: usize = 1_000_000;

/// A request and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// The method's name, for example `DeleteAnnotations`.
    pub method: &'static str,
    /// The user that the request names.
    pub user_id: String,
    /// The app that the request names.
    pub app_id: String,
    /// The input IDs that it names.
    pub input_ids: Vec<String>,
    /// The annotation IDs that it names.
    pub ids: Vec<String>,
    /// Its metadata, in the order of arrival. Of a credential only its kind is kept.
    pub metadata: Metadata,
    /// The status code that it was answered with: Clarifai's, or gRPC's; 0 where no answer was sent.
    pub code: i32,
    /// That code's name; empty where no answer was sent.
    pub name: String,
    /// The fault that befell it, for example `dropped_after`.
    pub fault: Option<String>,
    /// How many annotations it deleted or added.
    pub applied: usize,
}

impl RecordedRequest {
    fn named(&self) -> usize {
        self.input_ids.len() + self.ids.len()
    }
}

/// The latest requests, oldest first.
#[derive(Default)]
pub struct Log {
    requests: VecDeque<RecordedRequest>,
    /// How many IDs they name together.
    ids: usize,
}

impl Log {
    /// Adds a request.
    pub fn record(&mut self, request: RecordedRequest) {
        self.ids += request.named();
        self.requests.push_back(request);
        while self.requests.len() > MAX_REQUESTS || self.ids > MAX_IDS {
            self.ids -= self.requests.pop_front().map_or(0, |oldest| oldest.named());
        }
    }

    /// The requests kept, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.requests.iter().cloned().collect()
    }
}

/// Metadata as it may be kept: of a credential, only its kind.
pub fn masked(mut metadata: Metadata) -> Metadata {
    for (key, value) in &mut metadata {
        match key.as_str() {
            wire::AUTHORIZATION => {
                let kind = value.split_once(' ').map(|(kind, _)| kind);
                *value = kind.map_or_else(|| "***".into(), |kind| format!("{kind} ***"));
            }
            wire::SESSION_TOKEN | "cookie" | "proxy-authorization" => *value = "***".into(),
            _ => {}
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_by_the_ids_that_it_names() {
        let request = RecordedRequest {
            method: "DeleteAnnotations",
            user_id: String::new(),
            app_id: String::new(),
            input_ids: vec![String::new(); MAX_IDS / 4],
            ids: vec![String::new(); MAX_IDS / 4],
            metadata: Vec::new(),
            code: 10000,
            name: String::new(),
            fault: None,
            applied: 0,
        };
        let mut log = Log::default();
        for _ in 0..5 {
            log.record(request.clone());
        }
        assert_eq!(log.requests().len(), 2);
    }
}
