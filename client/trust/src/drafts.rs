//! What `trust init` has made so far, so that running it again goes on instead of making new keys: the signed files of a
//! first publication. They hold nothing secret; the folder is private all the same.

use std::path::PathBuf;

use trust_reader::state::StateStore;
use trust_reader::verdict::Problem;
use trust_tuf::{CollectionName, limits};

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

/// Forgets the files, once they are published.
pub fn forget(app: &App, collection: &CollectionName) {
    // What is left behind is compared with what is published when it is found again.
    let _ = std::fs::remove_dir_all(folder(app, collection));
}
