//! Stored registry credentials: Docker's `config.json` and Podman's `auth.json`, read and never written.
//!
//! Invariant: a secret has no debug form, and what is wrong with a file is said without its content. Entries count for a
//! host or, as Podman writes them, for a path prefix of whole components; the longest counts. Deliberately absent: logging
//! in, and credentials from arguments.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use serde_json::{Map, Value};
use trust_image::reference::{DOCKER_HUB, canonical_domain};

use super::error::Reason;
use super::helper;

/// Largest auth file that is read, in bytes.
const MAX_AUTH_FILE_LEN: u64 = 1024 * 1024;
/// How Docker spells its own registry in auth files and towards helpers.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSources {
    /// Files in the order in which they are asked. The first that knows the image counts.
    pub files: Vec<PathBuf>,
    /// Whether a file that does not exist is an error: so for files that somebody named, not for the usual places.
    pub files_must_exist: bool,
    /// Folder in which credential helpers are looked for; PATH if `None`.
    pub helper_folder: Option<PathBuf>,
    /// How long a credential helper may take.
    pub helper_timeout: Duration,
}

impl AuthSources {
    /// No credentials at all.
    pub fn none() -> AuthSources {
        AuthSources::named(Vec::new())
    }

    /// Exactly these files, which must exist.
    pub fn named(files: Vec<PathBuf>) -> AuthSources {
        AuthSources { files, files_must_exist: true, helper_folder: None, helper_timeout: Duration::from_secs(10) }
    }

    /// The usual places: `$REGISTRY_AUTH_FILE`, Podman's `auth.json` under `$XDG_RUNTIME_DIR` and the configuration folder,
    /// Docker's `config.json` under `$DOCKER_CONFIG` or `~/.docker`.
    pub fn from_environment() -> AuthSources {
        AuthSources::from_variables(|name| std::env::var_os(name))
    }

    /// As [`AuthSources::from_environment`], with the environment as argument. Relative and empty values are ignored.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> AuthSources {
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("HOME");
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let files = [
            variable("REGISTRY_AUTH_FILE").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty()),
            folder("XDG_RUNTIME_DIR").map(|path| path.join("containers/auth.json")),
            folder("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(|path| path.join("containers/auth.json")),
            folder("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|path| path.join("config.json")),
        ];
        AuthSources { files: files.into_iter().flatten().collect(), files_must_exist: false, ..AuthSources::none() }
    }

    /// The credentials for an image (canonical `HOST[:PORT]` and path), if a file or helper has some.
    pub(crate) async fn find(&self, host: &str, path: &str) -> Result<Option<Credentials>, Reason> {
        for file in &self.files {
            let Some(content) = self.read(file)? else { continue };
            let bad = |why: String| Reason::AuthFile { path: file.clone(), why };
            let content = trust_image::json::parse(&content).map_err(|error| bad(error.to_string()))?;
            let content = content.as_object().ok_or_else(|| bad("it is not a JSON object".to_owned()))?;
            if let Some(name) = best_entry(content.get("credHelpers"), host, "").and_then(|(_, name)| name.as_str())
                && let Some(found) = self.ask(name, host).await?
            {
                return Ok(Some(found));
            }
            if let Some((key, entry)) = best_entry(content.get("auths"), host, path) {
                let found = of_entry(entry).map_err(|why| bad(format!("the entry \"{key}\" {why}")))?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            if let Some(name) = content.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty())
                && let Some(found) = self.ask(name, host).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn ask(&self, name: &str, host: &str) -> Result<Option<Credentials>, Reason> {
        let host = if host == DOCKER_HUB { DOCKER_HUB_LOGIN } else { host };
        helper::ask(name, host, self.helper_folder.as_deref(), self.helper_timeout).await
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Reason> {
        let bad = |why: String| Reason::AuthFile { path: path.to_owned(), why };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.files_must_exist => return Ok(None),
            Err(error) => return Err(bad(error.kind().to_string())),
        };
        let mut bytes = Vec::new();
        file.take(MAX_AUTH_FILE_LEN + 1).read_to_end(&mut bytes).map_err(|error| bad(error.kind().to_string()))?;
        match u64::try_from(bytes.len()) {
            // An empty file is what `touch` and a fresh mount leave: nothing stored.
            Ok(0) => Ok(None),
            Ok(len) if len <= MAX_AUTH_FILE_LEN => Ok(Some(bytes)),
            _ => Err(bad("it is too large".to_owned())),
        }
    }
}

/// Something secret: no debug form, no display.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What is stored for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// `user:password`, for Basic and for the token exchange.
    Basic(Secret),
    /// A refresh token for the token exchange (`identitytoken`).
    IdentityToken(Secret),
    /// A ready bearer token (`registrytoken`).
    Bearer(Secret),
}

impl Credentials {
    pub(crate) fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic(Secret(format!("{user}:{password}")))
    }

    /// The value of an `Authorization: Basic` header, if these are user and password.
    pub(crate) fn basic_header(&self) -> Option<Secret> {
        match self {
            Credentials::Basic(pair) => {
                Some(Secret(format!("Basic {}", Base64::encode_string(pair.reveal().as_bytes()))))
            }
            _ => None,
        }
    }

    /// The user's name, for the token exchange.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Credentials::Basic(pair) => pair.reveal().split_once(':').map(|(user, _)| user),
            _ => None,
        }
    }
}

/// The entry of an `auths` or `credHelpers` object whose key is the longest that covers the image.
fn best_entry<'a>(entries: Option<&'a Value>, host: &str, path: &str) -> Option<(&'a str, &'a Value)> {
    let entries: &Map<String, Value> = entries?.as_object()?;
    let covering = entries.iter().filter_map(|(key, entry)| {
        let (key_host, key_path) = normal_key(key)?;
        let rest = path.strip_prefix(key_path)?;
        let whole = key_path.is_empty() || rest.is_empty() || rest.starts_with('/');
        (key_host == host && whole).then_some((key_path.len(), key.as_str(), entry))
    });
    covering.max_by_key(|(len, _, _)| *len).map(|(_, key, entry)| (key, entry))
}

/// A key of an auth file as canonical host and path prefix. What Docker wrote as a URL counts for the whole host.
fn normal_key(key: &str) -> Option<(String, &str)> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = bare.unwrap_or(key).split_once('/').unwrap_or((bare.unwrap_or(key), ""));
    let path = if bare.is_some() { "" } else { path.trim_end_matches('/') };
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    Some((canonical_domain(host).ok()?, path))
}

fn of_entry(entry: &Value) -> Result<Option<Credentials>, &'static str> {
    let entry = match entry {
        Value::Null => return Ok(None),
        Value::Object(entry) => entry,
        _ => return Err("is not a JSON object"),
    };
    let text = |name: &str| match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err("has a member that is not a string"),
    };
    if let Some(token) = text("registrytoken")? {
        return Ok(Some(Credentials::Bearer(Secret::new(token))));
    }
    if let Some(token) = text("identitytoken")? {
        return Ok(Some(Credentials::IdentityToken(Secret::new(token))));
    }
    if let Some(auth) = text("auth")? {
        let pair = Base64::decode_vec(auth.trim()).map_err(|_| "is not valid base64")?;
        let pair = String::from_utf8(pair).map_err(|_| "is not text")?;
        let (user, password) = pair.split_once(':').ok_or("is not USER:PASSWORD")?;
        return Ok(Some(Credentials::basic(user, password.trim_end_matches('\0'))));
    }
    match (text("username")?, text("password")?) {
        (Some(user), Some(password)) => Ok(Some(Credentials::basic(user, password))),
        _ => Ok(None),
    }
}
