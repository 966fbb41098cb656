//! What can go wrong with a request, as data first and text last.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// The service answered and said no.
    #[error("{0}")]
    Api(Status),
    /// No answer came: the service was not reached, or the connection broke.
    #[error("{message}")]
    Transport {
        /// What happened, and to which host.
        message: String,
        /// How far the request came.
        reach: Reach,
    },
    /// No answer came in time.
    #[error("{message}")]
    Deadline {
        /// Which time ran out.
        message: String,
    },
    /// The caller ended the call before it was done.
    #[error("the call was {how} before it was done")]
    Ended {
        /// How, for example `cancelled`.
        how: String,
    },
    /// The backup cannot be written or read.
    #[error("{message}")]
    Backup {
        /// Which file, what happened, and what to do.
        message: String,
    },
    /// The journal cannot be written, or is of another call.
    #[error("{message}")]
    Journal {
        /// Which file, what happened, and what to do.
        message: String,
    },
    /// More would be deleted than the caller allows.
    #[error("{message}")]
    Limit {
        /// How many, and how many are allowed.
        message: String,
    },
    /// A list was served and does not tell what it was asked for.
    #[error("{message}")]
    Listing {
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The answer to a list is larger than may be received. A list of less may not be.
    #[error("{message}")]
    TooLarge {
        /// How large it is.
        message: String,
        /// The same, in bytes.
        bytes: u64,
    },
    /// The client was closed before the call.
    #[error("this client is closed: make a new Client, or keep the calls inside its `with` block")]
    Closed,
}

/// How far a request came that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Perhaps to the service, and perhaps it was carried out.
    Sent,
    /// Nothing was sent; a later try may fare better.
    Unsent,
    /// Nothing was sent, and no later try will be, until somebody does something about it.
    Barred,
}

impl Error {
    /// What the service's answer means for the caller; `None` where there was no answer.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Api(status) => Some(status.kind()),
            _ => None,
        }
    }

    /// The service's status code, where it answered.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Api(status) => Some(status.code),
            _ => None,
        }
    }

    /// Whether a message was too large: a smaller one may not be.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Api(status) => status.is_too_large(),
            Self::TooLarge { .. } => true,
            _ => false,
        }
    }
}

/// What a failed answer says, whichever way it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Clarifai's status code (from 10000 up) or, where the failure came as a gRPC status, that code (1 to 16).
    /// 0: the answer carried no status.
    pub code: i32,
    /// The code's name, for example `CONN_THROTTLED`; `UNKNOWN_CODE_<number>` for a code that is not listed.
    pub name: String,
    /// The service's description.
    pub description: String,
    /// The service's details.
    pub details: String,
    /// What identifies the request to Clarifai's support; empty where the service gave none.
    pub request_id: String,
}

/// What a status means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The credential is missing, wrong or no longer valid.
    Authentication,
    /// The credential is good, and not allowed to do this.
    PermissionDenied,
    /// What the request names is not there.
    NotFound,
    /// Too many requests within a second.
    Throttled,
    /// The account has used up what it may use within an hour or a month, or its bills are open.
    Exhausted,
    /// Anything else.
    Other,
}

impl Status {
    /// The answer had no status, which the service's own definition does not allow for.
    pub fn absent() -> Self {
        Self {
            code: 0,
            name: "ZERO".into(),
            description: "the service's answer carries no status".into(),
            details: String::new(),
            request_id: String::new(),
        }
    }

    /// The status of a request that named several IDs, as it may stand beside one of them. What the service wrote may be
    /// about another one.
    pub fn of_one_among(&self, count: usize) -> Self {
        Self {
            description: format!("the answer to a request with {count} IDs"),
            details: String::new(),
            ..self.clone()
        }
    }

    /// The status of a refused post of one annotation, with that of the annotation, which says more.
    pub fn with_own(self, own: &Self) -> Self {
        let details = match self.details.as_str() {
            "" => format!("the annotation: {own}"),
            details => format!("{}; the annotation: {own}", details.trim_end_matches('.')),
        };
        Self { details, ..self }
    }

    /// Whether a message was too large. gRPC servers say so by RESOURCE_EXHAUSTED, in these words; Clarifai has
    /// RPC_MAX_MESSAGE_SIZE_EXCEEDED.
    fn is_too_large(&self) -> bool {
        self.code == 40033 || (self.code == 8 && self.description.contains("larger than max"))
    }

    /// What the status means for the caller.
    pub fn kind(&self) -> Kind {
        match self.code {
            _ if self.is_too_large() => Kind::Other,
            // Clarifai: account, token, credentials, key. gRPC: UNAUTHENTICATED.
            11000 | 11001 | 11002 | 11008 | 11009 | 11200 | 16 => Kind::Authentication,
            // Clarifai: scopes, annotation, input. gRPC: PERMISSION_DENIED.
            11007 | 24156 | 30103 | 7 => Kind::PermissionDenied,
            // Clarifai: CONN_DOES_NOT_EXIST, INPUT_DOES_NOT_EXIST. gRPC: NOT_FOUND.
            11101 | 30102 | 5 => Kind::NotFound,
            // Clarifai: CONN_THROTTLED. gRPC: RESOURCE_EXHAUSTED.
            11005 | 8 => Kind::Throttled,
            // Clarifai: hourly limit, monthly limit, limits of the account.
            11003 | 11004 | 11006 => Kind::Exhausted,
            _ => Kind::Other,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.code)?;
        for text in [&self.description, &self.details] {
            if !text.is_empty() {
                write!(f, ": {}", text.trim_end_matches('.'))?;
            }
        }
        if !self.request_id.is_empty() {
            write!(f, " [request {}]", self.request_id)?;
        }
        Ok(())
    }
}
