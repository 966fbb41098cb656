//! Deletes Clarifai annotations: one, many in pairs, or all of some inputs'.
//!
//! | module | its one job | may not know |
//! |---|---|---|
//! | [`wire`] | the service's messages and status codes | anything else here |
//! | [`ids`] | ID columns and what they name, validated | anything else here |
//! | [`process`] | what belongs to one process, after a fork too | anything else here |
//! | [`machine`] | what the processes of a machine have in common: its clock, a folder | anything else here |
//! | [`files`] | files that must not be lost: locks, logs, replacing by rename | anything else here but `process` |
//! | [`report`], [`error`] | outcomes of IDs, failures of requests | anything but each other |
//! | [`plan`] | what a deletion would do, as a table | the client |
//! | [`plan_file`] | plans in files | the client |
//! | [`columns`] | columns out of Parquet files | anything else here |
//! | [`backup`], [`journal`] | the copy of what is deleted; what became of it, in files | the client |
//! | [`config`] | settings and credentials | the client |
//! | [`client`] | the way of a deletion | Python, the emulator |
//! | [`emulator`] | the service to test against | Python, the client |
//! | `python` | the Python module, with the feature of that name | |
//!
//! The crate exists for the Python package `clarifai-annotations`; its API follows that package's needs.
pub mod backup;
pub mod client;
pub mod columns;
pub mod config;
pub mod emulator;
pub mod error;
pub mod files;
pub mod ids;
pub mod journal;
pub mod machine;
pub mod plan;
pub mod plan_file;
pub mod process;
#[cfg(feature = "python")]
mod python;
pub mod report;
pub mod wire;

/// The name under which the client logs: DEBUG what became of single requests, INFO the counts of a call for
/// many, WARNING a rate limit that the service made it lower. Never a credential.
pub const LOGGER: &str = "clarifai_annotations";
