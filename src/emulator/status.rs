//! How a request went: the codes that an answer carries, and the text that Clarifai's documentation has for each.

use crate::wire::{StatusCode, api::status::Status, status_name};

/// The code that every success is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SuccessCode {
    /// SUCCESS (10000).
    #[default]
    Success,
    /// SUCCESS_WARNING_API_DEPRECATED (10001).
    ApiDeprecated,
    /// SUCCESS_WARNING_CLIENT_DEPRECATED (10002).
    ClientDeprecated,
    /// ACCEPTED (10070).
    Accepted,
}

impl SuccessCode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Success, Self::ApiDeprecated, Self::ClientDeprecated, Self::Accepted];

    /// Its number.
    pub fn code(self) -> i32 {
        match self {
            Self::Success => 10000,
            Self::ApiDeprecated => 10001,
            Self::ClientDeprecated => 10002,
            Self::Accepted => 10070,
        }
    }
}

/// The name of a status code, as Clarifai's documentation has it.
pub fn name(code: i32) -> &'static str {
    match code {
        10001 => "SUCCESS_WARNING_API_DEPRECATED",
        10002 => "SUCCESS_WARNING_CLIENT_DEPRECATED",
        code => status_name(code).unwrap_or("UNKNOWN_CODE"),
    }
}

/// How a request ends other than well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// With a status of Clarifai's.
    Status {
        /// The code; perhaps none of those that are listed.
        code: i32,
        /// What is refused, and which ID.
        details: String,
    },
    /// With a gRPC status.
    Grpc {
        /// The code.
        code: tonic::Code,
        /// The message.
        message: String,
    },
}

/// A refusal with a status of Clarifai's.
pub fn refusal(code: StatusCode, details: impl Into<String>) -> Refusal {
    Refusal::Status { code: code as i32, details: details.into() }
}

/// A status with the description of its code.
pub fn status(code: i32, details: impl Into<String>) -> Status {
    Status { code, description: description(code).into(), details: details.into(), ..Default::default() }
}

/// The description of a status code: Clarifai's page "Status Codes" and what its rate limit page shows. The page has no
/// text for some codes that are known to pass; they get the advice of the others. Other codes get their name.
fn description(code: i32) -> &'static str {
    match code {
        10000..=10002 | 10070 => "Ok",
        10010 => "Mixed Success",
        10020 => "Failure",
        10030 => "Try the request again",
        11001 => "Invalid session token",
        11002 => "Invalid credentials",
        11005 => "Making too many requests",
        11007 => "API key has insufficient permissions",
        11008 => "Invalid API key or Invalid API key/application pair",
        11009 => "API key not found",
        11100 => "Bad request format",
        11101 => "Resource does not exist",
        11102 => "Invalid request",
        11103 => "Request method not allowed",
        24151 => "Annotation pending",
        24155 => "Annotation invalid argument",
        24156 => "Permission to annotation denied",
        30102 => "Input does not exist",
        39997 => {
            "Sorry, this type of request has been disabled for maintenance. Please try again in a few hours"
        }
        40010 => "Object has a duplicate ID",
        40030 => "Sorry, the server is too busy at the moment. Please try again later",
        40031 => "Sorry, the server is unavailable at the moment. Please try again later",
        40032 => "Sorry, your request has timed out. Please try your request again",
        40033 => "Sorry, the request sent is larger than the allowed limit",
        41000 => "Servers are busy. Please try again later",
        40011 | 40013 | 40015 | 40016 => "Database issue. Please try again",
        98004 | 98006 | 98009 | 98013 | 98014 | 99009 => "Internal issue. Please try again",
        code => status_name(code).unwrap_or("Unknown status"),
    }
}
