//! Settings and credentials: each from the argument, else the environment, else the context that
//! `clarifai login` wrote, else the default. Names and formats are those of Clarifai's Python SDK.

use std::{
    collections::HashMap,
    fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use serde::Deserialize;

use crate::wire;

/// Why a client could not be set up. The text says which setting, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigurationError(String);

impl ConfigurationError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Where Clarifai's public API is.
pub const DEFAULT_BASE_URL: &str = "https://api.clarifai.com";
/// The longest that one request may take, unless told otherwise.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How many requests may be under way at once, unless told otherwise.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 32;
/// How often a request is tried in all, unless told otherwise.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 10;

/// How long a call that is ended early waits for responses in flight, unless told otherwise.
pub const DEFAULT_CANCEL_GRACE: Duration = Duration::from_secs(2);
/// The longest time that a setting may be: beyond it, clocks overflow.
const MAX_SECONDS: f64 = 86_400.0 * 365.0;
/// The most requests that may be in flight at once. HTTP/2 servers allow 100 to 1,000 on one connection.
const MAX_IN_FLIGHT: usize = 10_000;
/// The slowest and the fastest rate limit, in requests per second.
const RATE_LIMITS: RangeInclusive<f64> = 0.001..=100_000.0;

/// Where personal access tokens are made, and given their scopes: as Clarifai's SDK and
/// <https://docs.clarifai.com/control/authentication/pat> have it.
pub const TOKENS_URL: &str = "https://clarifai.com/me/settings/secrets";

/// The environment variable that names the folder in which processes share files.
pub const RUNTIME_DIR: &str = "CLARIFAI_ANNOTATIONS_RUNTIME_DIR";

/// Where a setting was found. Its text is the name of the place, so that a message says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The argument of this name.
    Argument(&'static str),
    /// The environment variable of this name.
    Variable(&'static str),
    /// This name in a context of the file that `clarifai login` writes.
    Context {
        /// The name, as it stands in the file.
        name: String,
        /// The context.
        context: String,
        /// The file.
        file: PathBuf,
    },
    /// Nowhere: it is the default of the argument of this name.
    Default(&'static str),
}

impl Origin {
    /// What a message puts behind the value. Of an argument nothing: whoever gave it knows.
    pub fn after_value(&self) -> String {
        match self {
            Self::Argument(_) | Self::Default(_) => String::new(),
            Self::Variable(_) | Self::Context { .. } => format!(" from {self}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) | Self::Variable(name) | Self::Default(name) => f.write_str(name),
            Self::Context { name, context, file } => {
                write!(f, "{name} in context {context:?} of {}", file.display())
            }
        }
    }
}

/// Where the settings that are found in more than one place were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    /// Of [`Settings::user_id`].
    pub user_id: Origin,
    /// Of [`Settings::app_id`].
    pub app_id: Origin,
    /// Of [`Settings::credential`].
    pub credential: Origin,
    /// Of [`Settings::base_url`].
    pub base_url: Origin,
    /// Of [`Settings::root_certificates_path`].
    pub root_certificates_path: Origin,
}

/// The HTTP proxy before the service, and the variable that names it.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it is, and what it wants to be told.
    pub intercept: Intercept,
    /// The variable.
    pub variable: &'static str,
}

/// A secret that proves who calls. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A personal access token.
    Pat(String),
    /// A session token.
    SessionToken(String),
}

impl Credential {
    /// The token itself.
    pub fn secret(&self) -> &str {
        match self {
            Self::Pat(token) | Self::SessionToken(token) => token,
        }
    }

    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pat(_) => "personal access token",
            Self::SessionToken(_) => "session token",
        }
    }

    /// Whether it can be a token. What comes along when one is copied is refused here: the service would only say that
    /// it knows no such key.
    fn check(&self, origin: &Origin) -> Result<(), ConfigurationError> {
        const QUOTES: [char; 3] = ['"', '\'', '`'];
        let secret = self.secret();
        // The value itself is never shown.
        let refuse =
            |why: &str| Err(ConfigurationError(format!("the {}{} {why}", self.kind(), origin.after_value())));
        if secret.is_empty() {
            return refuse("is empty: give the token, or leave it out");
        }
        if secret.trim() != secret {
            return refuse("begins or ends with white space (a line break?): give the token alone");
        }
        for word in ["Key", "Bearer"] {
            if secret.strip_prefix(word).is_some_and(|rest| rest.starts_with(char::is_whitespace)) {
                return refuse(&format!("begins with \"{word} \": give the token alone"));
            }
        }
        if secret.starts_with(QUOTES) || secret.ends_with(QUOTES) {
            return refuse("is in quotes: give the token without them");
        }
        // What metadata can carry.
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("holds white space or characters that no token has: copy it again");
        }
        Ok(())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pat(_) => "Pat(***)",
            Self::SessionToken(_) => "SessionToken(***)",
        })
    }
}

/// Settings as a caller gives them; `None` is "not given".
#[derive(Clone, Default)]
pub struct Arguments {
    /// Owner of the app.
    pub user_id: Option<String>,
    /// The app whose annotations are deleted.
    pub app_id: Option<String>,
    /// Personal access token.
    pub pat: Option<String>,
    /// Session token, instead of a personal access token.
    pub session_token: Option<String>,
    /// `https://host[:port]` or `http://host[:port]`.
    pub base_url: Option<String>,
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub root_certificates_path: Option<PathBuf>,
    /// Limits of the traffic.
    pub limits: Limits,
}

/// How many requests may be sent in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many in any second.
    PerSecond(f64),
    /// As many as the service lets through: begins at Clarifai's default, and finds out.
    Auto,
    /// As many as there are.
    Unlimited,
}

/// How much, how fast, how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Requests that may be sent in any second.
    pub requests_per_second: Rate,
    /// Whether all processes of this machine that send for the same user at the same service share the rate limit.
    pub shared_rate_limit: bool,
    /// Whether the rate is this client's part of one that is divided among several. Parts on one machine are put together.
    pub is_part_of_rate: bool,
    /// IDs in one request, 1 to 128.
    pub batch_size: usize,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// The longest that one request may take.
    pub request_timeout: Duration,
    /// How often a request is tried in all.
    pub max_attempts: u32,
    /// How long a call that is cancelled, interrupted or out of time waits for responses in flight.
    pub cancel_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: Rate::PerSecond(f64::from(wire::DEFAULT_REQUESTS_PER_SECOND)),
            shared_rate_limit: true,
            is_part_of_rate: false,
            batch_size: wire::MAX_BATCH,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            cancel_grace: DEFAULT_CANCEL_GRACE,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigurationError> {
        let refuse = |text: String| Err(ConfigurationError(text));
        if let Rate::PerSecond(rate) = self.requests_per_second
            && !RATE_LIMITS.contains(&rate)
        {
            let (slowest, fastest) = (RATE_LIMITS.start(), RATE_LIMITS.end());
            return refuse(format!(
                "requests_per_second is {rate}: give a number from {slowest} to {fastest}, \"auto\", or None for no limit"
            ));
        }
        if !(1..=wire::MAX_BATCH).contains(&self.batch_size) {
            return refuse(format!("batch_size is {}: give 1 to {}", self.batch_size, wire::MAX_BATCH));
        }
        if !(1..=MAX_IN_FLIGHT).contains(&self.max_in_flight) {
            return refuse(format!("max_in_flight is {}: give 1 to {MAX_IN_FLIGHT}", self.max_in_flight));
        }
        if self.max_attempts == 0 {
            return refuse("max_attempts is 0: give 1 or more, 1 for no second try".into());
        }
        Ok(())
    }
}

/// Everything a client needs, complete and checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Owner of the app.
    pub user_id: String,
    /// The app whose annotations are deleted.
    pub app_id: String,
    /// Proof of who calls.
    pub credential: Credential,
    /// `https://host[:port]` or `http://host[:port]`, without a slash at the end.
    pub base_url: String,
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub root_certificates_path: Option<PathBuf>,
    /// The HTTP proxy that a connection goes through.
    pub proxy: Option<Proxy>,
    /// Limits of the traffic.
    pub limits: Limits,
    /// Where processes of this user share files, if that is said (`CLARIFAI_ANNOTATIONS_RUNTIME_DIR`).
    pub runtime_dir: Option<PathBuf>,
    /// Where the system says that such files belong (`XDG_RUNTIME_DIR`).
    pub xdg_runtime_dir: Option<PathBuf>,
    /// Where it was found.
    pub origins: Origins,
}

impl Settings {
    /// Completes `arguments` from the environment (`variable` looks a name up) and from the file that
    /// `clarifai login` writes, `~/.config/clarifai/config`. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`ConfigurationError`] when a setting is missing everywhere or is not valid.
    ///
    /// ```
    /// use clarifai_annotations::config::{Arguments, Settings};
    ///
    /// let variable = |name: &str| match name {
    ///     "CLARIFAI_USER_ID" => Some("me".to_string()),
    ///     "CLARIFAI_APP_ID" => Some("cats".to_string()),
    ///     "CLARIFAI_PAT" => Some("made-up".to_string()),
    ///     _ => None,
    /// };
    /// let settings = Settings::resolve(Arguments::default(), &variable)?;
    /// assert_eq!(settings.base_url, "https://api.clarifai.com");
    /// # Ok::<(), clarifai_annotations::config::ConfigurationError>(())
    /// ```
    pub fn resolve(
        arguments: Arguments,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigurationError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = variable("HOME").or_else(|| variable("USERPROFILE"));
        let context = match &home {
            Some(home) => Context::read(&Path::new(home).join(".config/clarifai/config"))?,
            None => Context::default(),
        };
        let sources = Sources { variable: &variable, context: &context };

        let (credential, of_credential) = sources.credential(&arguments)?;
        arguments.limits.check()?;
        let (base_url, of_base_url) = sources.base_url(arguments.base_url)?;
        let (user_id, of_user_id) = sources.required(&USER_ID, arguments.user_id, &credential)?;
        let (app_id, of_app_id) = sources.required(&APP_ID, arguments.app_id, &credential)?;
        let (root_certificates_path, of_root_certificates_path) =
            sources.root_certificates_path(arguments.root_certificates_path);
        Ok(Self {
            user_id,
            app_id,
            credential,
            proxy: sources.proxy(&base_url, &of_base_url)?,
            base_url,
            root_certificates_path,
            limits: arguments.limits,
            runtime_dir: variable(RUNTIME_DIR).map(PathBuf::from),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            origins: Origins {
                user_id: of_user_id,
                app_id: of_app_id,
                credential: of_credential,
                base_url: of_base_url,
                root_certificates_path: of_root_certificates_path,
            },
        })
    }

    /// The same settings for another app, and perhaps another user's.
    ///
    /// # Errors
    /// [`ConfigurationError`] when an ID is empty.
    pub fn for_app(&self, app_id: String, user_id: Option<String>) -> Result<Self, ConfigurationError> {
        let mut settings = self.clone();
        settings.origins.app_id = Origin::Argument(APP_ID.argument);
        settings.app_id = check_id(&APP_ID, app_id, &settings.origins.app_id, &self.credential)?;
        if let Some(user_id) = user_id {
            settings.origins.user_id = Origin::Argument(USER_ID.argument);
            settings.user_id = check_id(&USER_ID, user_id, &settings.origins.user_id, &self.credential)?;
        }
        Ok(settings)
    }
}

/// A setting that must be given.
struct Required {
    argument: &'static str,
    variable: &'static str,
    /// How to give it, and where to find it. The app's address is <https://clarifai.com/USER_ID/APP_ID>, as in
    /// `urls/helper.py` of Clarifai's Python SDK, whose `clarifai login` writes the user and no app.
    advice: &'static str,
}

const USER_ID: Required = Required {
    argument: "user_id",
    variable: "CLARIFAI_USER_ID",
    advice: "set CLARIFAI_USER_ID, pass user_id=… (--user-id), or run `clarifai login`. It is the first part of an \
             app's address, https://clarifai.com/USER_ID/APP_ID",
};

const APP_ID: Required = Required {
    argument: "app_id",
    variable: "CLARIFAI_APP_ID",
    advice: "set CLARIFAI_APP_ID, or pass app_id=… (--app-id). It is the last part of the app's address, \
             https://clarifai.com/USER_ID/APP_ID",
};

/// Whether it can be an ID. The key in its place is refused here, for an ID is shown, and sent as part of a request.
fn check_id(
    setting: &Required,
    value: String,
    origin: &Origin,
    credential: &Credential,
) -> Result<String, ConfigurationError> {
    let refuse =
        |why: &str| Err(ConfigurationError(format!("{}{} {why}", setting.argument, origin.after_value())));
    if value.trim().is_empty() {
        return refuse("is empty: give the ID, or leave it out");
    }
    if value.trim() == credential.secret() {
        return refuse("is the same as the key: give the ID");
    }
    Ok(value)
}

/// A length of time that a caller gave in seconds.
///
/// # Errors
/// [`ConfigurationError`] when it is not a number above 0, or longer than a year.
pub fn seconds(name: &str, seconds: f64) -> Result<Duration, ConfigurationError> {
    match seconds_or_zero(name, seconds) {
        Ok(duration) if duration.is_zero() => {
            Err(ConfigurationError(format!("{name} is {seconds}: give a number of seconds above 0")))
        }
        other => other,
    }
}

/// Like [`seconds`], where 0 is allowed.
///
/// # Errors
/// [`ConfigurationError`] when it is not a number from 0, or longer than a year.
pub fn seconds_or_zero(name: &str, seconds: f64) -> Result<Duration, ConfigurationError> {
    if seconds.is_finite() && seconds > MAX_SECONDS {
        return Err(ConfigurationError(format!(
            "{name} is {seconds}: give at most {MAX_SECONDS} seconds, which is a year"
        )));
    }
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| ConfigurationError(format!("{name} is {seconds}: give a number of seconds above 0")))
}

/// Where a setting may come from when it is not an argument.
struct Sources<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    context: &'a Context,
}

impl Sources<'_> {
    fn variable(&self, name: &'static str) -> Option<(String, Origin)> {
        (self.variable)(name).map(|value| (value, Origin::Variable(name)))
    }

    fn beyond_arguments(&self, name: &'static str) -> Option<(String, Origin)> {
        self.variable(name).or_else(|| self.context.get(name))
    }

    fn required(
        &self,
        setting: &Required,
        given: Option<String>,
        credential: &Credential,
    ) -> Result<(String, Origin), ConfigurationError> {
        let given = given.map(|value| (value, Origin::Argument(setting.argument)));
        match given.or_else(|| self.beyond_arguments(setting.variable)) {
            Some((value, origin)) => Ok((check_id(setting, value, &origin, credential)?, origin)),
            None => Err(ConfigurationError(format!("{} is not set: {}", setting.argument, setting.advice))),
        }
    }

    fn credential(&self, arguments: &Arguments) -> Result<(Credential, Origin), ConfigurationError> {
        let argument =
            |value: &Option<String>, name| value.clone().map(|value| (value, Origin::Argument(name)));
        let levels = [
            (argument(&arguments.pat, "pat"), argument(&arguments.session_token, "session_token")),
            (self.variable("CLARIFAI_PAT"), self.variable("CLARIFAI_SESSION_TOKEN")),
            (self.context.get("CLARIFAI_PAT"), self.context.get("CLARIFAI_SESSION_TOKEN")),
        ];
        for level in levels {
            let (credential, origin) = match level {
                (None, None) => continue,
                (Some((_, pat)), Some((_, token))) => {
                    return Err(ConfigurationError(format!(
                        "both a personal access token and a session token are set, in {pat} and in {token}: keep \
                         one of them"
                    )));
                }
                (Some((pat, origin)), None) => (Credential::Pat(pat), origin),
                (None, Some((token, origin))) => (Credential::SessionToken(token), origin),
            };
            credential.check(&origin)?;
            return Ok((credential, origin));
        }
        Err(ConfigurationError(format!(
            "no key is set: set CLARIFAI_PAT, pass pat=…, or run `clarifai login`. Personal access tokens are made \
             at {TOKENS_URL}"
        )))
    }

    fn base_url(&self, given: Option<String>) -> Result<(String, Origin), ConfigurationError> {
        let given = given.map(|base| (base, Origin::Argument("base_url")));
        // By its definition a host that speaks TLS, so it needs no scheme.
        let grpc_base = || {
            let (host, origin) = self.variable("CLARIFAI_GRPC_BASE")?;
            Some((if host.contains("://") { host } else { format!("https://{host}") }, origin))
        };
        let found = given
            .or_else(|| self.variable("CLARIFAI_API_BASE"))
            .or_else(grpc_base)
            .or_else(|| self.context.get("CLARIFAI_API_BASE"));
        match found {
            Some((base, origin)) => Ok((parse_base(&base, &origin)?, origin)),
            None => Ok((DEFAULT_BASE_URL.into(), Origin::Default("base_url"))),
        }
    }

    fn root_certificates_path(&self, given: Option<PathBuf>) -> (Option<PathBuf>, Origin) {
        const ARGUMENT: &str = "root_certificates_path";
        if given.is_some() {
            return (given, Origin::Argument(ARGUMENT));
        }
        match self.beyond_arguments("CLARIFAI_ROOT_CERTIFICATES_PATH") {
            Some((path, origin)) => (Some(path.into()), origin),
            None => (None, Origin::Default(ARGUMENT)),
        }
    }

    /// The HTTP proxy for a service that speaks TLS, by the variables that curl goes by.
    fn proxy(&self, base_url: &str, of_base_url: &Origin) -> Result<Option<Proxy>, ConfigurationError> {
        const NAMES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let proxy = NAMES.iter().find_map(|name| Some((name, (self.variable)(name)?)));
        let Some((name, proxy)) = proxy.filter(|_| base_url.starts_with("https://")) else {
            return Ok(None);
        };
        let exempt = (self.variable)("NO_PROXY").or_else(|| (self.variable)("no_proxy")).unwrap_or_default();
        let destination: http::Uri = base_url.parse().unwrap_or_default();
        // The matcher knows of `*` for names, not for addresses.
        let all_exempt = exempt.split(',').any(|entry| entry.trim() == "*");
        let matcher = Matcher::builder().https("http://any").no(exempt).build();
        if all_exempt || matcher.intercept(&destination).is_none() {
            return Ok(None);
        }
        // The value may hold a password: it is not shown.
        match Matcher::builder().https(proxy).build().intercept(&destination) {
            Some(intercept) if intercept.uri().scheme_str() == Some("http") => {
                Ok(Some(Proxy { intercept, variable: name }))
            }
            _ => Err(ConfigurationError(format!(
                "{name} is not the address of an HTTP proxy: write http://host:port, or put the host of \
                 {of_base_url} into NO_PROXY to reach it without one"
            ))),
        }
    }
}

/// Checks a base URL and brings it to the form `scheme://host[:port]`.
fn parse_base(base: &str, origin: &Origin) -> Result<String, ConfigurationError> {
    let place = origin.after_value();
    let refuse = |why: &str| Err(ConfigurationError(format!("base_url {base:?}{place} {why}")));
    let refuse_unseen = |why: &str| Err(ConfigurationError(format!("base_url{place} {why}")));
    if base.contains('@') {
        return refuse_unseen("holds a user name: credentials go into pat or session_token");
    }
    if base.contains('?') {
        return refuse_unseen("has a query: give only scheme, host and port");
    }
    let Some((scheme, rest)) = base.split_once("://") else {
        if is_clarifais(base) {
            return parse_base(&format!("https://{base}"), origin);
        }
        // The official client asks the host which it speaks; a key may be sent in clear that way.
        let why = "has no scheme: write https://…, or http://… for a service without TLS. Clarifai's own is \
                   https://api.clarifai.com";
        // A token has neither, so it may be one in the wrong place.
        return if base.contains(['.', ':']) { refuse(why) } else { refuse_unseen(why) };
    };
    if scheme != "http" && scheme != "https" {
        return refuse("has a scheme that is neither http nor https: write https://…");
    }
    if scheme == "http" && is_clarifais(rest) {
        return refuse("would send the key in clear: write https://…");
    }
    match base.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_none_or(str::is_empty) => refuse("has no host"),
        Ok(uri) if uri.path() != "/" => refuse("has a path: give only scheme, host and port"),
        Ok(_) => Ok(base.trim_end_matches('/').to_owned()),
        Err(_) => refuse("is not a URL: write https://host or https://host:port"),
    }
}

/// Whether a `host[:port][/path]` is Clarifai's.
fn is_clarifais(rest: &str) -> bool {
    let host = rest.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    host == "clarifai.com" || host.ends_with(".clarifai.com")
}

/// The current context of the file that `clarifai login` writes.
#[derive(Default)]
struct Context {
    name: String,
    file: PathBuf,
    settings: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct ContextFile {
    current_context: Option<String>,
    #[serde(default)]
    contexts: HashMap<String, HashMap<String, Value>>,
}

/// What a context maps a name to. Some versions of the SDK keep the settings one level down, under `env`.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Value {
    Text(String),
    Nested(HashMap<String, Value>),
    Other(serde::de::IgnoredAny),
}

impl Context {
    fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let refuse =
            |why: String| Err(ConfigurationError(format!("the context file {}: {why}", path.display())));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return refuse(format!("cannot be read: {error}")),
        };
        // The parser's own text may quote the file, which holds a credential: only the place is told.
        let mut file: ContextFile = match serde_saphyr::from_str(&text) {
            Ok(file) => file,
            Err(error) => {
                let place = error.location().map(|at| format!(" at line {}", at.line()));
                return refuse(format!(
                    "is not what `clarifai login` writes{}: run it again, or remove the file",
                    place.unwrap_or_default()
                ));
            }
        };
        let Some(current) = file.current_context else {
            return Ok(Self::default());
        };
        let mut settings = match file.contexts.remove(&current) {
            Some(settings) => settings,
            None if file.contexts.is_empty() => HashMap::new(),
            None => {
                return refuse(format!(
                    "its current_context {current:?} is not among its contexts: run `clarifai login`, or choose \
                     one with `clarifai config use-context`"
                ));
            }
        };
        if let Some(Value::Nested(env)) = settings.remove("env") {
            settings.extend(env);
        }
        Ok(Self { name: current, file: path.into(), settings })
    }

    fn get(&self, name: &str) -> Option<(String, Origin)> {
        let short = name.trim_start_matches("CLARIFAI_").to_lowercase();
        let (name, value) =
            self.settings.get_key_value(name).or_else(|| self.settings.get_key_value(&short))?;
        match value {
            // The SDK's way to say: only from the environment.
            Value::Text(text) if text.is_empty() || text == "ENVVAR" => None,
            Value::Text(text) => {
                let (context, file) = (self.name.clone(), self.file.clone());
                Some((text.clone(), Origin::Context { name: name.clone(), context, file }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(arguments: Arguments, variables: &[(&str, &str)]) -> Result<Settings, ConfigurationError> {
        Settings::resolve(arguments, &|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn complete() -> Arguments {
        Arguments {
            user_id: Some("me".into()),
            app_id: Some("cats".into()),
            pat: Some("key".into()),
            ..Arguments::default()
        }
    }

    fn base(base_url: &str) -> Result<String, String> {
        let arguments = Arguments { base_url: Some(base_url.into()), ..complete() };
        resolve(arguments, &[]).map(|settings| settings.base_url).map_err(|error| error.to_string())
    }

    #[test]
    fn a_clarifai_host_needs_no_scheme() {
        assert_eq!(base("api.clarifai.com").unwrap(), "https://api.clarifai.com");
    }

    #[test]
    fn a_host_that_only_looks_like_clarifai_needs_a_scheme() {
        assert!(base("api.clarifai.com.example").unwrap_err().contains("has no scheme"));
        assert!(base("notclarifai.com").unwrap_err().contains("has no scheme"));
    }

    #[test]
    fn a_slash_at_the_end_of_a_base_is_dropped_and_a_path_is_refused() {
        assert_eq!(base("http://localhost:8080/").unwrap(), "http://localhost:8080");
        assert!(base("http://localhost:8080/v2").unwrap_err().contains("has a path"));
    }

    #[test]
    fn a_base_with_a_user_name_is_refused_without_showing_it() {
        for with_name in ["https://user:secret@host", "user:secret@host", "grpc://user:secret@host"] {
            assert_eq!(
                base(with_name).unwrap_err(),
                "base_url holds a user name: credentials go into pat or session_token"
            );
        }
    }

    #[test]
    fn a_base_with_a_query_is_refused_without_showing_it() {
        for with_query in ["https://host/?key=secret", "https://host?key=secret", "host:1?key=secret"] {
            assert_eq!(
                base(with_query).unwrap_err(),
                "base_url has a query: give only scheme, host and port"
            );
        }
    }

    #[test]
    fn a_key_in_the_place_of_a_base_is_not_shown() {
        assert!(base("secret").unwrap_err().starts_with("base_url has no scheme: write https://…"));
    }

    #[test]
    fn a_key_in_the_place_of_an_id_is_refused_without_showing_it() {
        let refused = |arguments| resolve(arguments, &[("CLARIFAI_USER_ID", "key")]).unwrap_err().to_string();
        assert_eq!(
            refused(Arguments { user_id: None, ..complete() }),
            "user_id from CLARIFAI_USER_ID is the same as the key: give the ID"
        );
        assert_eq!(
            refused(Arguments { app_id: Some("key".into()), ..complete() }),
            "app_id is the same as the key: give the ID"
        );
        let settings = resolve(complete(), &[]).unwrap();
        assert_eq!(
            settings.for_app("key".into(), None).unwrap_err().to_string(),
            "app_id is the same as the key: give the ID"
        );
    }

    #[test]
    fn an_argument_comes_before_the_environment() {
        let settings =
            resolve(complete(), &[("CLARIFAI_APP_ID", "dogs"), ("CLARIFAI_USER_ID", "you")]).unwrap();
        assert_eq!((settings.user_id.as_str(), settings.app_id.as_str()), ("me", "cats"));
    }

    #[test]
    fn a_credential_given_as_an_argument_comes_before_either_kind_in_the_environment() {
        let settings = resolve(complete(), &[("CLARIFAI_SESSION_TOKEN", "other")]).unwrap();
        assert_eq!(settings.credential, Credential::Pat("key".into()));
    }

    #[test]
    fn a_grpc_base_is_a_host_that_speaks_tls() {
        let settings = resolve(complete(), &[("CLARIFAI_GRPC_BASE", "host:9443")]).unwrap();
        assert_eq!(settings.base_url, "https://host:9443");
    }

    #[test]
    fn an_api_base_comes_before_a_grpc_base() {
        let variables = [("CLARIFAI_GRPC_BASE", "host:9443"), ("CLARIFAI_API_BASE", "http://other:1")];
        assert_eq!(resolve(complete(), &variables).unwrap().base_url, "http://other:1");
    }

    #[test]
    fn the_credential_is_not_in_the_debug_text() {
        let text = format!("{:?}", resolve(complete(), &[]).unwrap());
        assert!(text.contains("Pat(***)") && !text.contains("key"), "{text}");
    }
}
