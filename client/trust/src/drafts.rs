//! What a command that is run again goes on with. Of `trust init`: the signed files of a first publication, so that it does
//! not make new keys. Of `trust rotate`: when the old online key may leave. Nothing here is secret, and nothing here decides
//! about trust; the folder is private all the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trust_reader::state::StateStore;
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, RoleType, limits};

use crate::anchors::write_whole;
use crate::app::App;
use crate::fault;

/// The signed files of a first publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFiles {
    /// Root version 1.
    pub root: Vec<u8>,
    /// Targets version 1.
    pub targets: Vec<u8>,
}

fn folder(app: &App, collection: &CollectionName) -> PathBuf {
    app.settings.paths.drafts.join(StateStore::folder_name(collection))
}

/// The files of an earlier run, if there are any.
pub fn load(app: &App, collection: &CollectionName) -> Result<Option<FirstFiles>, Problem> {
    let folder = folder(app, collection);
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(fault::file(&path, &e)),
            Ok(found) if found.len() > limits::PUBLISH_BYTES => {
                Err(fault::bad_file(&path, "too large for a role file"))
            }
            Ok(_) => std::fs::read(&path).map(Some).map_err(|e| fault::file(&path, &e)),
        }
    };
    // The root is written last: without it the draft is not whole and is made again.
    match (read("root.json")?, read("targets.json")?) {
        (Some(root), Some(targets)) => Ok(Some(FirstFiles { root, targets })),
        _ => Ok(None),
    }
}

/// Keeps the files.
pub fn keep(app: &App, collection: &CollectionName, files: &FirstFiles) -> Result<(), Problem> {
    let folder = folder(app, collection);
    crate::settings::paths::create_private_folder(&folder).map_err(|e| fault::file(&folder, &e))?;
    for (name, bytes) in [("targets.json", &files.targets), ("root.json", &files.root)] {
        let path = folder.join(name);
        write_whole(&path, bytes).map_err(|e| fault::file(&path, &e))?;
    }
    Ok(())
}

/// The first of two steps of an online key's rotation was done on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// Ids of the keys that are both valid, the old one first.
    pub keys: Vec<String>,
    /// From when on the old one may leave (`YYYY-MM-DDTHH:MM:SSZ`).
    pub finish_after: String,
}

/// Largest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 64 * 1024;

fn overlap_file(app: &App, collection: &CollectionName, role: RoleType) -> PathBuf {
    folder(app, collection).join(format!("rotation-{role}.json"))
}

/// The note of the first step, if this machine made it. One that cannot be read counts as none.
pub fn overlap(app: &App, collection: &CollectionName, role: RoleType) -> Option<Overlap> {
    let path = overlap_file(app, collection, role);
    let found = std::fs::metadata(&path).ok()?;
    if !found.is_file() || found.len() > MAX_NOTE_BYTES {
        return None;
    }
    serde_json::from_slice(&std::fs::read(&path).ok()?).ok()
}

/// Notes the first step.
pub fn keep_overlap(app: &App, collection: &CollectionName, role: RoleType, note: &Overlap) -> Result<(), Problem> {
    let folder = folder(app, collection);
    crate::settings::paths::create_private_folder(&folder).map_err(|e| fault::file(&folder, &e))?;
    let path = overlap_file(app, collection, role);
    let bytes = serde_json::to_vec(note).map_err(|e| fault::internal(&e.to_string()))?;
    write_whole(&path, &bytes).map_err(|e| fault::file(&path, &e))
}

/// Forgets the note, after the second step.
pub fn forget_overlap(app: &App, collection: &CollectionName, role: RoleType) {
    // A note that is left behind names keys that are no longer the role's: it counts for nothing.
    let _ = std::fs::remove_file(overlap_file(app, collection, role));
}

/// Forgets the files, once they are published.
pub fn forget(app: &App, collection: &CollectionName) {
    // What is left behind is compared with what is published when it is found again.
    let _ = std::fs::remove_dir_all(folder(app, collection));
}
