//! Who may do what: keys, their scopes, the users that they belong to, and the apps that there are.

use std::collections::{HashMap, HashSet};

use super::{
    DEFAULT_APP_ID, DEFAULT_USER_ID,
    status::{Refusal, refusal},
};
use crate::wire::{self, ME, StatusCode as Code, api::UserAppIdSet, is_same_user};

/// Keys, each with the scopes it has; `None` for all of them.
pub type Keys = HashMap<String, Option<HashSet<String>>>;

/// Who may do what.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The keys that are accepted, as personal access tokens and as session tokens; `None` accepts any.
    pub pats: Option<Keys>,
    /// The apps that there are, by user and app ID; `None` for any that is named.
    pub apps: Option<HashSet<(String, String)>>,
    /// The users that keys belong to, by key. A key that is not among them belongs to the owner of whichever app it
    /// is used for.
    pub users: HashMap<String, String>,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The user that the key belongs to, where that is known.
    pub user_id: Option<&'a str>,
    /// Whether the app is the caller's own.
    pub is_owner: bool,
}

impl<'a> Caller<'a> {
    /// A user ID with the alias `me` resolved, where it is known whom that means.
    pub fn resolve<'b>(&self, user_id: &'b str) -> &'b str
    where
        'a: 'b,
    {
        match self.user_id {
            Some(caller) if user_id == ME => caller,
            _ => user_id,
        }
    }

    /// Whether this is the caller's user ID.
    pub fn is(&self, user_id: &str) -> bool {
        self.user_id.is_some_and(|caller| is_same_user(caller, self.resolve(user_id)))
    }
}

/// What a request may work on, and as whom.
pub struct Admission<'a> {
    /// The app's owner, with the alias `me` resolved.
    pub user_id: String,
    /// The app.
    pub app_id: String,
    /// Who sent it.
    pub caller: Caller<'a>,
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

    /// The user whose requests this one is counted with: the one that the key belongs to or, where that is not known,
    /// the one that the request names.
    pub fn counted_user<'a>(&'a self, metadata: &Metadata, user_app_id: Option<&'a UserAppIdSet>) -> &'a str {
        let owner = credential(metadata).ok().and_then(|key| self.users.get(key));
        owner.map_or_else(|| user_app_id.map_or("", |named| named.user_id.as_str()), String::as_str)
    }

    /// The app that a request may work on, and who works on it.
    ///
    /// # Errors
    /// [`Refusal`] with the code that Clarifai has for it.
    pub fn admit(
        &self,
        metadata: &Metadata,
        method: &str,
        needs_app: bool,
        user_app_id: Option<&UserAppIdSet>,
    ) -> Result<Admission<'_>, Refusal> {
        let key = credential(metadata)?;
        self.check_key(key, metadata, method)?;
        let Some(UserAppIdSet { user_id, app_id }) = user_app_id else {
            return Err(refusal(Code::ConnInvalidRequest, "user_app_id is missing"));
        };
        if user_id.is_empty() || (needs_app && app_id.is_empty()) {
            return Err(refusal(Code::ConnInvalidRequest, "user_app_id lacks a user ID or an app ID"));
        }
        let caller_id = self.users.get(key).map(String::as_str);
        let caller = Caller { user_id: caller_id, is_owner: false };
        let user_id = caller.resolve(user_id).to_owned();
        if let Some(apps) = &self.apps
            && needs_app
            && !apps.iter().any(|(user, app)| app == app_id && is_same_user(user, &user_id))
        {
            let details = format!("there is no app {app_id:?} of user {user_id:?}");
            return Err(refusal(Code::ConnDoesNotExist, details));
        }
        let is_owner = caller_id.is_none() || caller.is(&user_id);
        Ok(Admission { user_id, app_id: app_id.clone(), caller: Caller { is_owner, ..caller } })
    }

    /// Refuses a key that there is not, or that lacks one of the scopes that the method needs.
    fn check_key(&self, key: &str, metadata: &Metadata, method: &str) -> Result<(), Refusal> {
        let Some(pats) = &self.pats else { return Ok(()) };
        match pats.get(key) {
            Some(None) => Ok(()),
            Some(Some(scopes)) => {
                let needed = wire::scopes(method).iter().copied();
                let missing: Vec<_> = needed.filter(|scope| !scopes.contains(*scope)).collect();
                if missing.is_empty() {
                    return Ok(());
                }
                let plural = if missing.len() == 1 { "" } else { "s" };
                let details = format!("{method} needs the scope{plural} {}", missing.join(", "));
                Err(refusal(Code::ConnInsufficientScopes, details))
            }
            None if value(metadata, wire::SESSION_TOKEN).is_some() => {
                Err(refusal(Code::ConnTokenInvalid, "there is no such token"))
            }
            None => Err(refusal(Code::ConnKeyInvalid, "there is no such key")),
        }
    }
}

/// The key or the session token of a request.
fn credential(metadata: &Metadata) -> Result<&str, Refusal> {
    let invalid = |details: &str| Err(refusal(Code::ConnCredentialsInvalid, details));
    match (value(metadata, wire::AUTHORIZATION), value(metadata, wire::SESSION_TOKEN)) {
        (Some(_), Some(_)) => invalid("both a key and a session token were sent"),
        (None, None) => invalid("neither a key nor a session token was sent"),
        (Some(key), None) => match key.strip_prefix("Key ") {
            Some(key) => Ok(key),
            None => invalid("authorization is not of the form \"Key <token>\""),
        },
        (None, Some(token)) => Ok(token),
    }
}
