//! From a pin to the root file that it names.
//!
//! Invariant: the bytes of an anchor always have the pinned fingerprint, whoever delivered them. The file is kept beside the
//! configuration so that the next run needs no server for it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use trust_reader::anchor::{self, Anchor};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, limits};

use crate::app::App;
use crate::fault;
use crate::server;
use crate::settings::Pin;

/// The pin of exactly this collection.
pub fn pin_of<'a>(app: &'a App, collection: &CollectionName) -> Result<&'a Pin, Problem> {
    app.settings.pin(collection.as_str()).ok_or_else(|| fault::not_pinned(collection.as_str()))
}

/// The file of a pinned root, if it is on this machine: beside the file with the pin, or beside the user's.
pub fn root_file(app: &App, pin: &Pin) -> Option<PathBuf> {
    let name = format!("{}.root.json", pin.fingerprint);
    let beside = pin.file.parent().map(|folder| folder.join("roots").join(name));
    [beside, Some(app.settings.paths.pinned_root(&pin.fingerprint))].into_iter().flatten().find(|path| path.exists())
}

/// The anchor of a pin. Without its file on this machine, the server delivers it.
pub fn load(app: &App, pin: &Pin) -> Result<Anchor, Problem> {
    let collection = CollectionName::parse(&pin.collection).map_err(|e| fault::configuration(&e.to_string()))?;
    let Some(path) = root_file(app, pin) else { return fetch(app, pin, &collection) };
    let root = read_root(&path)?;
    let found = anchor::fingerprint(&root);
    if found != pin.fingerprint {
        return Err(Problem::new(Code::PinnedRootBroken)
            .cause("the file was changed after it was pinned")
            .fact("collection", &pin.collection)
            .fact("file", path.display())
            .fact("pinned", &pin.fingerprint)
            .fact("found", found));
    }
    Ok(Anchor { collection, root })
}

fn fetch(app: &App, pin: &Pin, collection: &CollectionName) -> Result<Anchor, Problem> {
    if app.settings.offline.value {
        return Err(Problem::new(Code::NothingStored)
            .fact("collection", &pin.collection)
            .cause("the pinned root is not on this machine yet, and offline it cannot be fetched"));
    }
    let address = server::address(app, Some(pin))?;
    let sources = server::with_mirrors(app, server::anonymous(app, &address)?, &server::mirrors(app, Some(pin)))?;
    let anchor = app.wait(anchor::fetch_pinned_from(&sources, collection, &pin.fingerprint))?;
    keep(app, &anchor.root)?;
    Ok(anchor)
}

/// Reads a root file of at most the limit.
pub fn read_root(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut root = Vec::new();
    let file = crate::settings::paths::open_now(path).map_err(|e| fault::file(path, &e))?;
    file.take(limits::ROOT_BYTES.saturating_add(1)).read_to_end(&mut root).map_err(|e| fault::file(path, &e))?;
    if u64::try_from(root.len()).is_ok_and(|n| n > limits::ROOT_BYTES) {
        return Err(fault::bad_file(path, "too large for a root file"));
    }
    Ok(root)
}

/// Keeps a root file beside the user's configuration, under its fingerprint.
pub fn keep(app: &App, root: &[u8]) -> Result<PathBuf, Problem> {
    let path = app.settings.paths.pinned_root(&anchor::fingerprint(root));
    let folder = path.parent().unwrap_or(Path::new("."));
    crate::settings::paths::create_private_folder(folder).map_err(|e| fault::file(folder, &e))?;
    write_whole(&path, root).map_err(|e| fault::file(&path, &e))?;
    Ok(path)
}

/// Writes a file so that it is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    let mut file = std::fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
