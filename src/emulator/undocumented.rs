//! Behaviour that Clarifai does not document, each with the ways in which it can be played.

use std::time::Duration;

/// Whether deleting what is not there succeeds unless a test says otherwise. [`MissingPair`] and [`MissingSingle`] take
/// their defaults from here.
const DELETING_THE_MISSING_SUCCEEDS: bool = true;

/// Behaviour that Clarifai does not document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Undocumented {
    /// What becomes of a batch that names a pair, or an input, which is not there.
    pub missing_pair: MissingPair,
    /// What becomes of a batch that names a pair, or an input, which may not be deleted; `None` for the same as with a
    /// missing one, and a refusal where those are passed over.
    pub refused_pair: Option<RefusedPair>,
    /// How the deletion of a single annotation that is not there is answered.
    pub missing_single: MissingSingle,
    /// How a request that names an input which is not there is answered.
    pub missing_input: MissingInput,
    /// What becomes of an annotation that is posted in another user's name.
    pub foreign_post: ForeignPost,
    /// For how long lists show what is deleted.
    pub visible_after: Duration,
}

impl Undocumented {
    /// What becomes of a batch with a pair, or an input, that may not be deleted.
    pub fn refused_pair(&self) -> RefusedPair {
        self.refused_pair.unwrap_or(match self.missing_pair {
            MissingPair::Success | MissingPair::Refused => RefusedPair::Refused,
            MissingPair::Mixed => RefusedPair::Mixed,
            MissingPair::Failure => RefusedPair::Failure,
        })
    }
}

/// What becomes of a batch that names a pair, or an input, which is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPair {
    /// It is passed over: the rest is deleted, and the answer is SUCCESS.
    Success,
    /// The batch is refused whole.
    Refused,
    /// The rest is deleted, and the answer is MIXED_STATUS.
    Mixed,
    /// The rest is deleted, and the answer is FAILURE.
    Failure,
}

impl Default for MissingPair {
    fn default() -> Self {
        if DELETING_THE_MISSING_SUCCEEDS { Self::Success } else { Self::Refused }
    }
}

/// What becomes of a batch that names a pair, or an input, which may not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedPair {
    /// The batch is refused whole.
    Refused,
    /// The rest is deleted, and the answer is MIXED_STATUS.
    Mixed,
    /// The rest is deleted, and the answer is FAILURE.
    Failure,
}

/// How the deletion of a single annotation that is not there is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingSingle {
    /// With SUCCESS.
    Success,
    /// With the status CONN_DOES_NOT_EXIST.
    Status,
    /// With the gRPC status NOT_FOUND.
    Grpc,
}

impl Default for MissingSingle {
    fn default() -> Self {
        if DELETING_THE_MISSING_SUCCEEDS { Self::Success } else { Self::Status }
    }
}

/// How a list that names an input which is not there is answered. Deletions and posts that are refused for such an input
/// carry the same code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingInput {
    /// The list has nothing of it. Refusals carry INPUT_DOES_NOT_EXIST.
    #[default]
    Empty,
    /// With CONN_DOES_NOT_EXIST.
    DoesNotExist,
    /// With INPUT_DOES_NOT_EXIST.
    InputDoesNotExist,
}

/// What becomes of an annotation that somebody other than the app's owner posts in another user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignPost {
    /// It is refused with ANNOTATION_PERMISSION_DENIED.
    #[default]
    Refused,
    /// It is stored in the caller's name.
    Owned,
}
