//! What the emulator saw: every request, with credentials masked.

use std::collections::VecDeque;

use super::access::Metadata;
use crate::wire;

/// A long-lived emulator forgets older requests than so many.
const CAPACITY: usize = 100_000;

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

/// The latest requests, oldest first.
#[derive(Default)]
pub struct Log(VecDeque<RecordedRequest>);

impl Log {
    /// Adds a request.
    pub fn record(&mut self, request: RecordedRequest) {
        if self.0.len() == CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(request);
    }

    /// The requests kept, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.0.iter().cloned().collect()
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
