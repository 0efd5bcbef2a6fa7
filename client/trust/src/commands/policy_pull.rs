//! `trust policy pull`: what is in force, as the folder that `policy publish` would publish unchanged.
//!
//! Invariants: nothing is written outside the folder, whatever a signed path says; nothing is overwritten without `--force`
//! and nothing is removed; all is looked at before the first file is written.

use std::path::PathBuf;

use serde_json::Value;
use trust_reader::verdict::Problem;

use crate::anchors::write_whole;
use crate::app::App;
use crate::cli::policy::PolicyPull;
use crate::output::PolicyPulled;
use crate::policy::fault;
use crate::policy::folder::{self, Folder};
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::printer::Answer;
use crate::session::Session;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &PolicyPull) -> Result<PolicyPulled, Problem> {
    let mut session = Session::open(app, pin_of_policy(app, args.collection.as_ref())?)?;
    let found = InForce::read(app, &mut session)?;
    let collection = found.identity.collection;
    if found.sources.is_empty() {
        return Err(fault::nothing_in_force(&collection));
    }
    if let Some(stray) = found.sources.iter().find(|source| !folder::is_publishable(&source.path)) {
        return Err(fault::not_for_a_folder(&collection, &stray.path));
    }
    // What is there already and would be published with it.
    let there = match args.folder.symlink_metadata() {
        Ok(_) => Folder::read_any(&args.folder)?.sources,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(crate::fault::file(&args.folder, &e)),
    };
    if let Some(other) = there.iter().find(|file| !found.sources.iter().any(|source| source.path == file.path)) {
        return Err(fault::in_the_way(&folder::on_disk(&args.folder, &other.path), true));
    }
    let (mut written, mut unchanged): (Vec<(PathBuf, &[u8])>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    for source in &found.sources {
        let path = folder::on_disk(&args.folder, &source.path);
        match there.iter().find(|file| file.path == source.path) {
            Some(same) if same.bytes == source.bytes => unchanged.push(path),
            Some(_) if !args.force => return Err(fault::in_the_way(&path, false)),
            _ => written.push((path, &source.bytes)),
        }
    }
    if !args.change.dry_run {
        for (path, bytes) in &written {
            if let Some(above) = path.parent() {
                std::fs::create_dir_all(above).map_err(|e| crate::fault::file(above, &e))?;
            }
            write_whole(path, bytes).map_err(|e| crate::fault::file(path, &e))?;
        }
    }
    Ok(PolicyPulled {
        collection,
        version: found.identity.version,
        folder: args.folder.display().to_string(),
        written: written.iter().map(|(path, _)| path.display().to_string()).collect(),
        unchanged: unchanged.iter().map(|path| path.display().to_string()).collect(),
        dry_run: args.change.dry_run,
    })
}

impl Answer for PolicyPulled {
    fn command(&self) -> &'static str {
        "policy pull"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.written.iter().map(|file| format!("{}\n", style::plain(file))).collect()
    }

    fn report(&self, style: Style) -> String {
        let (folder, collection) = (style::plain(&self.folder), &self.collection);
        if self.dry_run {
            return format!("{} {folder}: nothing was written\n", style.warn("dry run"));
        }
        let counts = format!("files: {} written, {} the same already", self.written.len(), self.unchanged.len());
        format!("{} {collection} v{} into {folder}   {counts}\n", style.good("pulled"), self.version)
    }
}
