//! Changes to the user's configuration file: what the user wrote stays as it is, with its comments.
//!
//! Invariant: the file is replaced as a whole (written beside, synced, renamed) under a lock, so that no other command sees
//! or loses half of a change; the result is read back by the ordinary grammar before it takes the old one's place.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::file::{self, PinEntry};
use super::{SettingsError, paths};

/// Changes the file by `change`; an error in it leaves the file as it was.
pub fn edit(
    path: &Path,
    change: impl FnOnce(&mut DocumentMut) -> Result<(), SettingsError>,
) -> Result<(), SettingsError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    paths::create_private_folder(folder).map_err(|e| unwritable(folder, &e))?;
    let lock_path = folder.join(".config.lock");
    let lock = File::create(&lock_path).map_err(|e| unwritable(&lock_path, &e))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|e| unwritable(&lock_path, &e.into()))?;

    let text = file::read(path)?.unwrap_or_default();
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| SettingsError::Syntax {
        path: path.to_owned(),
        what: e.message().to_owned(),
    })?;
    change(&mut document)?;
    replace(path, folder, document.to_string().as_bytes())
}

fn replace(path: &Path, folder: &Path, bytes: &[u8]) -> Result<(), SettingsError> {
    let new = path.with_extension("toml.new");
    let write = || {
        // Whatever the umask lets through, nobody else may write it.
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| unwritable(&new, &e))?;
    if let Err(error) = file::read_config(&new) {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    std::fs::rename(&new, path).and_then(|()| File::open(folder)?.sync_all()).map_err(|e| unwritable(path, &e))
}

/// Sets the pin of a collection: the one that is there is changed in its place, with its comments.
pub fn set_pin(document: &mut DocumentMut, pin: &PinEntry) -> Result<(), SettingsError> {
    let place = document.entry("pins").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let Some(pins) = place.as_array_of_tables_mut() else {
        return Err(SettingsError::Form { what: "pins".to_owned() });
    };
    let is_this = |table: &Table| table.get("collection").and_then(Item::as_str) == Some(&pin.collection);
    let found = pins.iter().position(is_this);
    let at = match found {
        Some(at) => at,
        None => {
            pins.push(Table::new());
            pins.len().saturating_sub(1)
        }
    };
    if let Some(table) = pins.get_mut(at) {
        table.insert("collection", value(pin.collection.as_str()));
        table.insert("fingerprint", value(pin.fingerprint.as_str()));
        match &pin.server {
            Some(server) => table.insert("server", value(server.as_str())),
            None => table.remove("server"),
        };
        match pin.mirrors.is_empty() {
            false => table.insert("mirrors", list(&pin.mirrors)),
            true => table.remove("mirrors"),
        };
    }
    Ok(())
}

/// Removes the pin of a collection; false if there was none.
pub fn remove_pin(document: &mut DocumentMut, collection: &str) -> bool {
    let Some(pins) = document.get_mut("pins").and_then(Item::as_array_of_tables_mut) else { return false };
    let before = pins.len();
    pins.retain(|pin| pin.get("collection").and_then(Item::as_str) != Some(collection));
    let removed = pins.len() < before;
    if pins.is_empty() {
        document.remove("pins");
    }
    removed
}

/// What a context is set to.
#[derive(Debug, Default)]
pub struct NewContext {
    /// The server's address.
    pub server: String,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// Certificate authorities of both.
    pub ca: Option<PathBuf>,
    /// The certificate authorities of registries.
    pub registry_ca: Option<PathBuf>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// Fingerprint of the signer's identity key.
    pub identity: Option<String>,
    /// Hosts that may be reached by plain HTTP.
    pub plain_http: Vec<String>,
    /// Refuse to sign a tag unless its digest is given.
    pub require_digest: bool,
}

fn list(items: &[String]) -> Item {
    value(items.iter().map(String::as_str).collect::<toml_edit::Array>())
}

/// Writes a context. What another one of this name says besides stays, if it is about the same server: a token or an identity
/// key belongs to one server alone.
pub fn set_context(document: &mut DocumentMut, name: &str, new: &NewContext) -> Result<(), SettingsError> {
    let before = document.get("contexts").and_then(|contexts| contexts.get(name)).and_then(Item::as_table);
    let is_same = |table: &&Table| table.get("server").and_then(Item::as_str) == Some(&new.server);
    let mut table = before.filter(is_same).cloned().unwrap_or_default();
    table.insert("server", value(new.server.as_str()));
    if !new.mirrors.is_empty() {
        table.insert("mirrors", list(&new.mirrors));
    }
    for (key, path) in [("ca", &new.ca), ("registry_ca", &new.registry_ca), ("token_file", &new.token_file)] {
        if let Some(path) = path {
            let text = path.to_str().ok_or_else(|| SettingsError::PathText { path: path.clone() })?;
            table.insert(key, value(text));
        }
    }
    if let Some(identity) = &new.identity {
        table.insert("identity", value(identity.as_str()));
    }
    if !new.plain_http.is_empty() {
        table.insert("plain_http", list(&new.plain_http));
    }
    if new.require_digest {
        let mut sign = Table::new();
        sign.insert("require_digest", value(true));
        table.insert("sign", Item::Table(sign));
    }
    let contexts = document.entry("contexts").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    match contexts.as_table_mut() {
        Some(contexts) => {
            contexts.insert(name, Item::Table(table));
            Ok(())
        }
        None => Err(SettingsError::Form { what: "contexts".to_owned() }),
    }
}

/// Names the policy collection: in this context, or above all of them.
pub fn set_policy(document: &mut DocumentMut, context: Option<&str>, collection: &str) -> Result<(), SettingsError> {
    let Some(name) = context else {
        document.insert("policy", value(collection));
        return Ok(());
    };
    let contexts = document.get_mut("contexts").and_then(Item::as_table_like_mut);
    match contexts.and_then(|contexts| contexts.get_mut(name)).and_then(Item::as_table_like_mut) {
        Some(context) => {
            context.insert("policy", value(collection));
            Ok(())
        }
        None => Err(SettingsError::Form { what: format!("contexts.{name}") }),
    }
}

/// Selects a context.
pub fn use_context(document: &mut DocumentMut, name: &str) {
    document.insert("context", value(name));
}

/// Removes a context; false if there was none. If it was the selected one, none is selected afterwards.
pub fn remove_context(document: &mut DocumentMut, name: &str) -> bool {
    let removed = document
        .get_mut("contexts")
        .and_then(Item::as_table_mut)
        .is_some_and(|contexts| contexts.remove(name).is_some());
    if document.get("context").and_then(Item::as_str) == Some(name) {
        document.remove("context");
    }
    removed
}

fn unwritable(path: &Path, error: &std::io::Error) -> SettingsError {
    SettingsError::Unwritable { path: path.to_owned(), kind: error.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(collection: &str, digit: &str) -> PinEntry {
        PinEntry { collection: collection.to_owned(), fingerprint: digit.repeat(64), server: None, mirrors: Vec::new() }
    }

    #[test]
    fn a_change_that_would_not_be_read_back_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "context = 'a' # mine\n").unwrap();
        let result = edit(&path, |document| set_pin(document, &pin("not canonical", "a")));
        assert!(matches!(result, Err(SettingsError::Value { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "context = 'a' # mine\n");
    }

    #[test]
    fn comments_survive_and_pins_are_replaced_not_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust/config.toml");
        edit(&path, |document| set_pin(document, &pin("r.example/a", "a"))).unwrap();
        let with_comment = format!("# mine\n{}", std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, with_comment).unwrap();
        edit(&path, |document| set_pin(document, &pin("r.example/b", "b"))).unwrap();
        edit(&path, |document| set_pin(document, &pin("r.example/a", "c"))).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# mine\n"), "{text}");
        let file = file::read_config(&path).unwrap().unwrap();
        assert_eq!(file.pins, [pin("r.example/a", "c"), pin("r.example/b", "b")]);
    }

    #[test]
    fn a_context_that_is_replaced_keeps_what_is_not_given_anew_for_the_same_server_and_nothing_for_another() {
        let mut document = DocumentMut::new();
        let first = NewContext {
            server: "https://trust.example.com".to_owned(),
            identity: Some("a".repeat(64)),
            token_file: Some("/etc/token".into()),
            ..NewContext::default()
        };
        set_context(&mut document, "prod", &first).unwrap();
        set_policy(&mut document, Some("prod"), "r.example/policy").unwrap();
        let server = first.server.clone();
        let mirrors = vec!["https://mirror.example.com".to_owned()];
        let with_mirror = NewContext { server, mirrors, ..NewContext::default() };
        set_context(&mut document, "prod", &with_mirror).unwrap();
        let kept = document["contexts"]["prod"].to_string();
        for word in ["/etc/token", &"a".repeat(64), "r.example/policy", "mirror.example.com"] {
            assert!(kept.contains(word), "{word}: {kept}");
        }
        let other = NewContext { server: "https://other.example.com".to_owned(), ..NewContext::default() };
        set_context(&mut document, "prod", &other).unwrap();
        assert_eq!(document["contexts"]["prod"].as_table().unwrap().len(), 1, "no token for another server");
    }

    #[test]
    fn contexts_are_written_selected_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let new = NewContext {
            server: "https://trust.example.com".to_owned(),
            identity: Some("a".repeat(64)),
            require_digest: true,
            plain_http: vec!["r.example:5000".to_owned()],
            ..NewContext::default()
        };
        edit(&path, |document| {
            set_context(document, "prod", &new)?;
            use_context(document, "prod");
            Ok(())
        })
        .unwrap();
        let file = file::read_config(&path).unwrap().unwrap();
        assert_eq!(file.context.as_deref(), Some("prod"));
        assert!(file.contexts["prod"].sign.require_digest);
        edit(&path, |document| {
            assert!(remove_context(document, "prod"));
            Ok(())
        })
        .unwrap();
        let file = file::read_config(&path).unwrap().unwrap();
        assert_eq!((file.context, file.contexts.len()), (None, 0));
    }
}
