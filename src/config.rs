//! Settings and credentials: each from the argument, else the environment, else the context that
//! `clarifai login` wrote, else the default. Names and formats are those of Clarifai's Python SDK.

use std::{
    collections::HashMap,
    fmt, fs, io,
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

/// How much, how fast, how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Requests that may leave in any second; `None` lifts the pace.
    pub requests_per_second: Option<f64>,
    /// IDs in one request, 1 to 128.
    pub batch_size: usize,
    /// Requests under way at once.
    pub max_in_flight: usize,
    /// The longest that one request may take.
    pub request_timeout: Duration,
    /// How often a request is tried in all.
    pub max_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: Some(f64::from(wire::DEFAULT_REQUESTS_PER_SECOND)),
            batch_size: wire::MAX_BATCH,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), ConfigurationError> {
        let refuse = |text: String| Err(ConfigurationError(text));
        if let Some(rate) = self.requests_per_second
            && !(rate.is_finite() && rate > 0.0)
        {
            return refuse(format!(
                "requests_per_second is {rate}: give a number above 0, or None for no limit"
            ));
        }
        if !(1..=wire::MAX_BATCH).contains(&self.batch_size) {
            return refuse(format!("batch_size is {}: give 1 to {}", self.batch_size, wire::MAX_BATCH));
        }
        if self.max_in_flight == 0 {
            return refuse("max_in_flight is 0: give 1 or more".into());
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
    pub proxy: Option<Intercept>,
    /// Limits of the traffic.
    pub limits: Limits,
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

        let credential = sources.credential(&arguments)?;
        arguments.limits.check()?;
        let base_url = sources.base_url(arguments.base_url.as_deref())?;
        Ok(Self {
            user_id: sources.required("user_id", "CLARIFAI_USER_ID", arguments.user_id)?,
            app_id: sources.required("app_id", "CLARIFAI_APP_ID", arguments.app_id)?,
            credential,
            proxy: sources.proxy(&base_url)?,
            base_url,
            root_certificates_path: arguments
                .root_certificates_path
                .or_else(|| sources.beyond_arguments("CLARIFAI_ROOT_CERTIFICATES_PATH").map(PathBuf::from)),
            limits: arguments.limits,
        })
    }

    /// The same settings for another app, and perhaps another user's.
    ///
    /// # Errors
    /// [`ConfigurationError`] when an ID is empty.
    pub fn for_app(&self, app_id: String, user_id: Option<String>) -> Result<Self, ConfigurationError> {
        let user_id = user_id.map_or_else(|| Ok(self.user_id.clone()), |id| not_blank("user_id", id))?;
        Ok(Self { app_id: not_blank("app_id", app_id)?, user_id, ..self.clone() })
    }
}

fn not_blank(argument: &str, value: String) -> Result<String, ConfigurationError> {
    if value.trim().is_empty() {
        return Err(ConfigurationError(format!("{argument} is empty: give the ID, or leave it out")));
    }
    Ok(value)
}

/// A length of time that a caller gave in seconds.
///
/// # Errors
/// [`ConfigurationError`] when it is not a number above 0.
pub fn seconds(name: &str, seconds: f64) -> Result<Duration, ConfigurationError> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(ConfigurationError(format!("{name} is {seconds}: give a number of seconds above 0"))),
    }
}

/// Where a value was found: who has to change it should know.
#[derive(Clone, Copy)]
enum Origin {
    Argument,
    Variable(&'static str),
    Context(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => Ok(()),
            Self::Variable(name) => write!(f, " (from {name})"),
            Self::Context(name) => write!(f, " (from {name} in ~/.config/clarifai/config)"),
        }
    }
}

/// Where a setting may come from when it is not an argument.
struct Sources<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    context: &'a Context,
}

impl Sources<'_> {
    fn beyond_arguments(&self, name: &str) -> Option<String> {
        (self.variable)(name).or_else(|| self.context.get(name))
    }

    fn required(
        &self,
        argument: &str,
        name: &str,
        given: Option<String>,
    ) -> Result<String, ConfigurationError> {
        match given.or_else(|| self.beyond_arguments(name)) {
            Some(value) => not_blank(argument, value),
            None => Err(ConfigurationError(format!(
                "{argument} is not set: pass {argument}=…, set {name}, or run `clarifai login`"
            ))),
        }
    }

    fn credential(&self, arguments: &Arguments) -> Result<Credential, ConfigurationError> {
        const NAMES: [&str; 2] = ["CLARIFAI_PAT", "CLARIFAI_SESSION_TOKEN"];
        let [pat, token] = NAMES;
        let levels = [
            ([arguments.pat.clone(), arguments.session_token.clone()], NAMES.map(|_| Origin::Argument)),
            ([(self.variable)(pat), (self.variable)(token)], NAMES.map(Origin::Variable)),
            ([self.context.get(pat), self.context.get(token)], NAMES.map(Origin::Context)),
        ];
        for (found, [of_pat, of_token]) in levels {
            let (credential, name, origin) = match found {
                [None, None] => continue,
                [Some(_), Some(_)] => {
                    return Err(ConfigurationError(
                        "both a personal access token and a session token are set: keep one of them".into(),
                    ));
                }
                [Some(pat), None] => (Credential::Pat(pat), "the personal access token", of_pat),
                [None, Some(token)] => (Credential::SessionToken(token), "the session token", of_token),
            };
            // The value itself is never shown.
            return match wrong_with(credential.secret()) {
                Some(wrong) => Err(ConfigurationError(format!("{name}{origin} {wrong}"))),
                None => Ok(credential),
            };
        }
        Err(ConfigurationError(
            "no credential is set: pass pat=…, set CLARIFAI_PAT, or run `clarifai login`. \
             Tokens are made at https://clarifai.com/settings/security"
                .into(),
        ))
    }

    fn base_url(&self, given: Option<&str>) -> Result<String, ConfigurationError> {
        if let Some(base) = given {
            return parse_base(base, Origin::Argument);
        }
        if let Some(base) = (self.variable)("CLARIFAI_API_BASE") {
            return parse_base(&base, Origin::Variable("CLARIFAI_API_BASE"));
        }
        // By its definition a host that speaks TLS, so it needs no scheme.
        if let Some(host) = (self.variable)("CLARIFAI_GRPC_BASE") {
            let base = if host.contains("://") { host } else { format!("https://{host}") };
            return parse_base(&base, Origin::Variable("CLARIFAI_GRPC_BASE"));
        }
        match self.context.get("CLARIFAI_API_BASE") {
            Some(base) => parse_base(&base, Origin::Context("CLARIFAI_API_BASE")),
            None => Ok(DEFAULT_BASE_URL.into()),
        }
    }

    /// The HTTP proxy for a service that speaks TLS, by the variables that curl goes by.
    fn proxy(&self, base_url: &str) -> Result<Option<Intercept>, ConfigurationError> {
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
            Some(proxy) if proxy.uri().scheme_str() == Some("http") => Ok(Some(proxy)),
            _ => Err(ConfigurationError(format!(
                "{name} is not the address of an HTTP proxy: write http://host:port, or put the host of \
                 base_url into NO_PROXY to reach it without one"
            ))),
        }
    }
}

/// What keeps a credential from being one, and what to do: what people paste along with it.
fn wrong_with(secret: &str) -> Option<&'static str> {
    if secret.is_empty() {
        Some("is empty")
    } else if secret.starts_with(['"', '\'']) || secret.ends_with(['"', '\'']) {
        Some("has a quotation mark at an end: give the token without it")
    } else if secret.starts_with("Key ") || secret.starts_with("Bearer ") {
        Some("begins like a header: give the token alone, without the word before it")
    // What metadata can carry.
    } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("holds white space or characters that cannot be sent (a line break at its end?)")
    } else {
        None
    }
}

/// Checks a base URL and brings it to the form `scheme://host[:port]`.
fn parse_base(base: &str, origin: Origin) -> Result<String, ConfigurationError> {
    let refuse = |why: &str| Err(ConfigurationError(format!("base_url {base:?}{origin} {why}")));
    let Some((scheme, rest)) = base.split_once("://") else {
        if is_of_clarifai(base.split([':', '/']).next().unwrap_or_default()) {
            return parse_base(&format!("https://{base}"), origin);
        }
        // The official client asks the host which it speaks; a key may be sent in clear that way.
        return refuse("has no scheme: write http://… for plain HTTP/2 or https://… for TLS");
    };
    if scheme != "http" && scheme != "https" {
        return refuse("has a scheme that is neither http nor https");
    }
    if rest.contains('@') {
        return Err(ConfigurationError(format!(
            "base_url{origin} holds a user name: credentials go into pat or session_token"
        )));
    }
    match base.parse::<http::Uri>() {
        Ok(uri) if uri.host().is_none_or(str::is_empty) => refuse("has no host"),
        Ok(uri) if uri.path() != "/" || uri.query().is_some() => {
            refuse("has a path: give only scheme, host and port")
        }
        Ok(uri) if scheme == "http" && uri.host().is_some_and(is_of_clarifai) => {
            refuse("would send the key in clear: write https://")
        }
        Ok(_) => Ok(base.trim_end_matches('/').to_owned()),
        Err(_) => refuse("is not a URL: write https://host or https://host:port"),
    }
}

fn is_of_clarifai(host: &str) -> bool {
    host == "clarifai.com" || host.ends_with(".clarifai.com")
}

/// The current context of the file that `clarifai login` writes.
#[derive(Default)]
struct Context(HashMap<String, Value>);

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
        Ok(Self(settings))
    }

    fn get(&self, name: &str) -> Option<String> {
        let short = name.trim_start_matches("CLARIFAI_").to_lowercase();
        match self.0.get(name).or_else(|| self.0.get(&short)) {
            // The SDK's way to say: only from the environment.
            Some(Value::Text(text)) if text.is_empty() || text == "ENVVAR" => None,
            Some(Value::Text(text)) => Some(text.clone()),
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
        assert!(!base("https://user:secret@host").unwrap_err().contains("secret"));
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
