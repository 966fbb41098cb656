//! Who may do what: keys, their scopes, and the apps that there are.

use std::collections::{HashMap, HashSet};

use super::{
    DEFAULT_APP_ID, DEFAULT_USER_ID,
    operations::{Refusal, refusal},
};
use crate::wire::{self, StatusCode as Code, api::UserAppIdSet};

/// Keys, each with the scopes it has; `None` for all of them.
pub type Keys = HashMap<String, Option<HashSet<String>>>;

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The keys that are accepted, as personal access tokens and as session tokens; `None` accepts any.
    pub pats: Option<Keys>,
    /// The apps that there are, by user and app ID; `None` for any that is named.
    pub apps: Option<HashSet<(String, String)>>,
}

/// The metadata of a request, in the order of arrival.
pub type Metadata = Vec<(String, String)>;

/// The first value under a key.
pub fn value<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

impl Access {
    /// The app that a request without one is about: the key tells it, which here means the only app that there
    /// is, or else the default.
    pub fn home(&self) -> (&str, &str) {
        match self.apps.iter().flatten().next() {
            Some((user_id, app_id)) if self.apps.as_ref().is_some_and(|apps| apps.len() == 1) => {
                (user_id, app_id)
            }
            _ => (DEFAULT_USER_ID, DEFAULT_APP_ID),
        }
    }

    /// The app that a request may work on.
    ///
    /// # Errors
    /// [`Refusal`] with the code that Clarifai has for it.
    pub fn admit(
        &self,
        metadata: &Metadata,
        method: &str,
        scope: &str,
        user_app_id: Option<&UserAppIdSet>,
    ) -> Result<(String, String), Refusal> {
        let key = match (value(metadata, wire::AUTHORIZATION), value(metadata, wire::SESSION_TOKEN)) {
            (Some(_), Some(_)) => {
                let details = "both a key and a session token were sent";
                return Err(refusal(Code::ConnCredentialsInvalid, "Invalid credentials", details));
            }
            (None, None) => {
                let details = "neither a key nor a session token was sent";
                return Err(refusal(Code::ConnCredentialsInvalid, "Invalid credentials", details));
            }
            (Some(key), None) => match key.strip_prefix("Key ") {
                Some(key) => key,
                None => {
                    let details = "authorization is not of the form \"Key <token>\"";
                    return Err(refusal(Code::ConnCredentialsInvalid, "Invalid credentials", details));
                }
            },
            (None, Some(token)) => token,
        };
        match self.pats.as_ref().map(|pats| pats.get(key)) {
            None | Some(Some(None)) => {}
            Some(Some(Some(scopes))) if scopes.contains(scope) => {}
            Some(Some(Some(_))) => {
                let details = format!("{method} needs the scope {scope}");
                return Err(refusal(Code::ConnInsufficientScopes, "Insufficient scopes", details));
            }
            Some(None) if value(metadata, wire::SESSION_TOKEN).is_some() => {
                return Err(refusal(
                    Code::ConnTokenInvalid,
                    "Invalid session token",
                    "there is no such token",
                ));
            }
            Some(None) => {
                return Err(refusal(Code::ConnKeyNotFound, "API key not found", "there is no such key"));
            }
        }
        let Some(UserAppIdSet { user_id, app_id }) = user_app_id else {
            return Err(refusal(Code::ConnInvalidRequest, "Invalid request", "user_app_id is missing"));
        };
        if user_id.is_empty() || app_id.is_empty() {
            let details = "user_app_id lacks a user ID or an app ID";
            return Err(refusal(Code::ConnInvalidRequest, "Invalid request", details));
        }
        let app = (user_id.clone(), app_id.clone());
        if self.apps.as_ref().is_some_and(|apps| !apps.contains(&app)) {
            let details = format!("there is no app {app_id:?} of user {user_id:?}");
            return Err(refusal(Code::ConnDoesNotExist, "App does not exist", details));
        }
        Ok(app)
    }
}
