//! Deletes Clarifai annotations: one, many in pairs, or all of some inputs'.
//!
//! | module | its one job |
//! |---|---|
//! | [`wire`] | the service's messages and status codes |
pub mod wire;
