//! The grammar of the configuration files. Unknown keys are errors.
//!
//! Two grammars, because of who writes them: the user's (and the system's) file may say everything; `.trust.toml` in a
//! checked-out tree comes with other people's code and may only say how things are displayed.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use trust_reader::sources::check_mirrors;

use super::SettingsError;
use crate::cli::values;

/// Largest configuration file that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1024 * 1024;
/// The display settings of a checked-out tree.
pub const PROJECT_FILE: &str = ".trust.toml";

/// `config.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The context in use.
    pub context: Option<String>,
    /// `text`, `json` or `jsonl`.
    pub output: Option<String>,
    /// `auto`, `always` or `never`.
    pub color: Option<String>,
    /// The collection whose policy decides, where the context names none.
    pub policy: Option<String>,
    /// Servers and what belongs to them.
    #[serde(default)]
    pub contexts: BTreeMap<String, ContextEntry>,
    /// Which root is trusted for which collection.
    #[serde(default)]
    pub pins: Vec<PinEntry>,
}

/// One context.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextEntry {
    /// The server's address.
    pub server: Option<String>,
    /// Mirrors of the server: further addresses to read from.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Certificate authorities of server and mirrors.
    pub ca: Option<PathBuf>,
    /// The certificate authorities of registries.
    pub registry_ca: Option<PathBuf>,
    /// A file that holds the token for publishing.
    pub token_file: Option<PathBuf>,
    /// Fingerprint of the signer's identity key.
    pub identity: Option<String>,
    /// Hosts that may be reached by plain HTTP.
    #[serde(default)]
    pub plain_http: Vec<String>,
    /// The collection whose policy decides.
    pub policy: Option<String>,
    /// Rules for signing.
    #[serde(default)]
    pub sign: SignEntry,
}

/// Rules for signing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignEntry {
    /// Refuse to sign a tag unless its digest is given.
    #[serde(default)]
    pub require_digest: bool,
}

/// One pin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinEntry {
    /// The collection.
    pub collection: String,
    /// SHA-256 of the root file.
    pub fingerprint: String,
    /// The server of this collection, if it is another than the context's.
    pub server: Option<String>,
    /// Mirrors of that server.
    #[serde(default)]
    pub mirrors: Vec<String>,
}

/// `.trust.toml`: display only.
#[derive(Debug, Clone, Default)]
pub struct ProjectFile {
    /// `text`, `json` or `jsonl`.
    pub output: Option<String>,
    /// `auto`, `always` or `never`.
    pub color: Option<String>,
    /// The collection that this tree's images belong to.
    pub collection: Option<String>,
}

/// Reads a configuration file; `None` if there is none.
pub fn read_config(path: &Path) -> Result<Option<ConfigFile>, SettingsError> {
    let Some(text) = read_if(path, not_open_to_all)? else { return Ok(None) };
    let mut file: ConfigFile = toml::from_str(&text).map_err(|e| syntax(path, &e))?;
    let wrong = |what: String| SettingsError::Value { path: path.to_owned(), what };
    if let Some(policy) = &file.policy {
        values::collection(policy).map_err(|e| wrong(format!("policy: {e}")))?;
    }
    for (name, context) in &mut file.contexts {
        check_context_name(name).map_err(|e| wrong(format!("contexts.{name}: {e}")))?;
        if let Some(policy) = &context.policy {
            values::collection(policy).map_err(|e| wrong(format!("contexts.{name}.policy: {e}")))?;
        }
        if let Some(identity) = &context.identity {
            values::fingerprint(identity).map_err(|e| wrong(format!("contexts.{name}.identity: {e}")))?;
        }
        check_mirrors(context.server.as_deref(), &context.mirrors)
            .map_err(|e| wrong(format!("contexts.{name}.mirrors: {e}")))?;
        // Relative to the file, so that it does not matter where the command is run.
        for path_in in [&mut context.ca, &mut context.registry_ca, &mut context.token_file].into_iter().flatten() {
            if let Some(folder) = path.parent() {
                *path_in = folder.join(&*path_in);
            }
        }
    }
    let mut seen = Vec::new();
    for pin in &file.pins {
        values::collection(&pin.collection).map_err(|e| wrong(format!("pins: {e}")))?;
        values::fingerprint(&pin.fingerprint).map_err(|e| wrong(format!("pins: {}: {e}", pin.collection)))?;
        check_mirrors(pin.server.as_deref(), &pin.mirrors)
            .map_err(|e| wrong(format!("pins: {}: mirrors: {e}", pin.collection)))?;
        if pin.server.is_none() && !pin.mirrors.is_empty() {
            return Err(wrong(format!("pins: {}: `mirrors` go with a `server`", pin.collection)));
        }
        if seen.contains(&&pin.collection) {
            return Err(wrong(format!("pins: {} is pinned twice", pin.collection)));
        }
        seen.push(&pin.collection);
    }
    Ok(Some(file))
}

/// Reads the display settings of the tree that `start` is in: the nearest `.trust.toml` upwards.
pub fn read_project(start: &Path) -> Result<Option<(ProjectFile, PathBuf)>, SettingsError> {
    for folder in start.ancestors().take(64) {
        let path = folder.join(PROJECT_FILE);
        if let Some(text) = read(&path)? {
            return parse_project(&text, &path).map(|file| Some((file, path)));
        }
    }
    Ok(None)
}

fn parse_project(text: &str, path: &Path) -> Result<ProjectFile, SettingsError> {
    let table: toml::Table = toml::from_str(text).map_err(|e| syntax(path, &e))?;
    let mut file = ProjectFile::default();
    for (key, value) in table {
        let place = match key.as_str() {
            "output" => &mut file.output,
            "color" => &mut file.color,
            "collection" => &mut file.collection,
            _ => return Err(SettingsError::Project { path: path.to_owned(), key: key.escape_debug().to_string() }),
        };
        let toml::Value::String(text) = value else {
            return Err(SettingsError::Value { path: path.to_owned(), what: format!("{key} is not text") });
        };
        *place = Some(text);
    }
    if let Some(collection) = &file.collection {
        values::collection(collection)
            .map_err(|e| SettingsError::Value { path: path.to_owned(), what: format!("collection: {e}") })?;
    }
    Ok(file)
}

/// A context's name: letters, digits, `_` and `-`.
pub fn check_context_name(name: &str) -> Result<(), &'static str> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && !name.starts_with('-');
    if fits { Ok(()) } else { Err("a context's name is 1 to 64 letters, digits, `_` and `-`") }
}

/// The text of a file; `None` if there is none. Anything else that is not a readable file is an error.
pub fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    read_if(path, |_, _| Ok(()))
}

/// What every user of the machine may write says nothing about whom to trust: pins are in there.
fn not_open_to_all(path: &Path, metadata: &Metadata) -> Result<(), SettingsError> {
    if metadata.is_file() && metadata.mode() & 0o002 != 0 {
        return Err(SettingsError::TooOpen { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    Ok(())
}

fn read_if(
    path: &Path,
    check: impl Fn(&Path, &Metadata) -> Result<(), SettingsError>,
) -> Result<Option<String>, SettingsError> {
    let unreadable = |source: std::io::Error| SettingsError::Unreadable { path: path.to_owned(), kind: source.kind() };
    let file = match super::paths::open_now(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    // Settings that are half there would be other settings: a pipe is none, an empty device is.
    let metadata = file.metadata().map_err(unreadable)?;
    check(path, &metadata)?;
    let is_settings = metadata.is_file() || path == Path::new("/dev/null");
    if !is_settings {
        return Err(SettingsError::NoFile { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MAX_CONFIG_BYTES) {
        return Err(SettingsError::TooLarge { path: path.to_owned() });
    }
    Ok(Some(text))
}

fn syntax(path: &Path, error: &toml::de::Error) -> SettingsError {
    SettingsError::Syntax { path: path.to_owned(), what: error.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Option<ConfigFile>, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        read_config(&path)
    }

    #[test]
    fn unknown_keys_are_errors_in_every_place() {
        for text in [
            "servr = 'x'",
            "[contexts.a]\nsever = 'x'",
            "[contexts.a.sign]\nrequire = true",
            "[contexts.a]\npolicies = 'r.example/policy'",
            "[contexts.a]\nmirror = ['https://m.example']",
            "[contexts.a]\nmirrors = 'https://m.example'",
            "[[pins]]\ncollection = 'r.example/a'\nfingerprint = '00'\nfoo = 1",
        ] {
            assert!(matches!(config(text), Err(SettingsError::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn bad_pins_are_errors_and_never_skipped() {
        let hex = "a".repeat(64);
        for text in [
            format!("[[pins]]\ncollection = 'R.example/a'\nfingerprint = '{hex}'"),
            "[[pins]]\ncollection = 'r.example/a'\nfingerprint = 'ab'".to_owned(),
            format!("[[pins]]\ncollection = 'r.example:443/a'\nfingerprint = '{hex}'"),
            format!(
                "[[pins]]\ncollection = 'r.example/a'\nfingerprint = '{hex}'\n[[pins]]\ncollection = 'r.example/a'\nfingerprint = '{hex}'"
            ),
        ] {
            assert!(matches!(config(&text), Err(SettingsError::Value { .. })), "{text}");
        }
    }

    #[test]
    fn a_policy_collection_that_is_none_is_an_error() {
        for text in ["policy = 'R.example/policy'", "policy = ''", "[contexts.a]\npolicy = './policy'"] {
            assert!(matches!(config(text), Err(SettingsError::Value { .. })), "{text}");
        }
        assert!(config("policy = 'r.example/policy'").is_ok());
    }

    #[test]
    fn mirrors_that_cannot_be_used_are_errors_and_never_left_out() {
        let pin = format!("[[pins]]\ncollection = 'r.example/a'\nfingerprint = '{}'\n", "a".repeat(64));
        let many = format!(
            "[contexts.a]\nmirrors = [{}]",
            (0..9).map(|n| format!("'https://m{n}.example',")).collect::<String>()
        );
        for text in [
            "[contexts.a]\nmirrors = ['ftp://m.example']".to_owned(),
            "[contexts.a]\nmirrors = ['https://user:hush@m.example']".to_owned(),
            "[contexts.a]\nmirrors = ['https://m.example', 'https://m.example/']".to_owned(),
            "[contexts.a]\nserver = 'https://s.example/'\nmirrors = ['https://s.example']".to_owned(),
            many,
            format!("{pin}mirrors = ['https://m.example']"),
            format!("{pin}server = 'https://s.example'\nmirrors = ['x']"),
        ] {
            let refused = config(&text);
            assert!(matches!(refused, Err(SettingsError::Value { .. })), "{text}: {refused:?}");
            assert!(!refused.unwrap_err().to_string().contains("hush"), "{text}");
        }
        let file =
            config("[contexts.a]\nserver = 'https://s.example'\nmirrors = ['https://m.example']").unwrap().unwrap();
        assert_eq!(file.contexts["a"].mirrors, ["https://m.example"]);
    }

    #[test]
    fn an_unreadable_file_is_not_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_config(&folder.path().join("none.toml")).unwrap().is_none());
        assert!(matches!(read_config(folder.path()), Err(SettingsError::NoFile { .. })));
        let path = folder.path().join("binary.toml");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read_config(&path), Err(SettingsError::Unreadable { .. })));
        std::fs::write(&path, vec![b'\n'; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1]).unwrap();
        assert!(matches!(read_config(&path), Err(SettingsError::TooLarge { .. })));
    }

    #[test]
    fn a_tree_cannot_choose_server_pins_or_rules() {
        for text in [
            "server = 'https://evil.example'",
            "context = 'evil'",
            "require = false",
            "[[pins]]\ncollection = 'r.example/a'\nfingerprint = 'x'",
            "[contexts.a]\nserver = 'https://evil.example'",
            "policy = 'x'",
        ] {
            let result = parse_project(text, Path::new(PROJECT_FILE));
            assert!(matches!(result, Err(SettingsError::Project { .. })), "{text}");
        }
        let fine = parse_project("output = 'json'\ncollection = 'r.example/a'", Path::new(PROJECT_FILE)).unwrap();
        assert_eq!(fine.output.as_deref(), Some("json"));
    }

    #[test]
    fn the_nearest_file_upwards_counts() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(folder.path().join(PROJECT_FILE), "output = 'json'").unwrap();
        let (file, path) = read_project(&inner).unwrap().unwrap();
        assert_eq!((file.output.as_deref(), path), (Some("json"), folder.path().join(PROJECT_FILE)));
    }
}
