//! The manifest files of a folder, a file or stdin.
//!
//! Invariant: every `.yaml`, `.yml` and `.json` file below the folder is read whole, or the run is an error: also one that is
//! too large, no text, or a link out of the folder. Names that begin with a dot are no exception: kubectl applies them. Only
//! folders called `.git` are left out. What kustomize, Helm or helmfile make manifests from is an error.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use trust_reader::verdict::Problem;

use super::{helm, is_kustomization, kustomization, refused};
use crate::settings::paths;

/// Largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// All files of one run, in bytes.
const MAX_ALL_BYTES: usize = 64 * 1024 * 1024;
/// Files below one folder.
pub const MAX_FILES: usize = 1_000;
/// Folders in folders.
const MAX_FOLDERS_DEEP: usize = 32;
/// Entries of all folders that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// UTF-8's byte order mark.
pub const MARK: &str = "\u{feff}";

/// One file.
#[derive(Debug)]
pub struct Input {
    /// As it is named in answers; `-` for stdin.
    pub name: String,
    /// Where it is; `None` for stdin.
    pub path: Option<PathBuf>,
    /// Its text, with its byte order mark if it has one.
    pub text: String,
}

impl Input {
    /// The text without its byte order mark.
    pub fn body(&self) -> &str {
        self.text.strip_prefix(MARK).unwrap_or(&self.text)
    }
}

/// Reads the files; those that cannot be read as problems.
pub fn read(from: &Path) -> Result<(Vec<Input>, Vec<Problem>), Problem> {
    if from == Path::new("-") {
        let text = read_text(std::io::stdin().lock(), "-", Path::new("stdin"))?;
        return Ok((vec![Input { name: "-".to_owned(), path: None, text }], Vec::new()));
    }
    let metadata = std::fs::metadata(from).map_err(|e| crate::fault::file(from, &e))?;
    if !metadata.is_dir() {
        // What a link leads to is what `--pin` replaces, and not the link. A pipe has no other name.
        let real = if metadata.is_file() { from.canonicalize().ok() } else { None };
        if let Some(chart) = real.as_deref().and_then(helm::chart_of) {
            return Err(helm::chart(&chart));
        }
        return Ok((vec![read_file(real.as_deref().unwrap_or(from), from)?], Vec::new()));
    }
    let top = from.canonicalize().map_err(|e| crate::fault::file(from, &e))?;
    if let Some(chart) = helm::chart_of(&top) {
        return Err(helm::chart(&chart));
    }
    let mut search = Search { seen: BTreeSet::from([top.clone()]), top, ..Search::default() };
    search.folder(from, 0)?;
    let (mut inputs, mut problems, mut bytes) = (Vec::new(), search.problems, 0_usize);
    for (real, name) in search.files {
        match read_file(&real, &name) {
            Ok(input) => {
                bytes = bytes.saturating_add(input.text.len());
                if bytes > MAX_ALL_BYTES {
                    let why = format!("the manifests have more than {MAX_ALL_BYTES} bytes together");
                    return Err(refused(&from.display().to_string(), &why));
                }
                inputs.push(input);
            }
            Err(problem) => problems.push(problem),
        }
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((inputs, problems))
}

fn read_file(real: &Path, name: &Path) -> Result<Input, Problem> {
    let shown = name.display().to_string();
    if is_kustomization(name) || is_kustomization(real) {
        return Err(kustomization(&shown));
    }
    if helm::is_helmfile(name) || helm::is_helmfile(real) {
        return Err(helm::helmfile(&shown));
    }
    if helm::is_chart_file(name) || helm::is_chart_file(real) {
        return Err(helm::chart(name.parent().unwrap_or(name)));
    }
    let file = paths::open_now(real).map_err(|e| crate::fault::file(name, &e))?;
    let text = read_text(file, &shown, name)?;
    Ok(Input { name: shown, path: Some(real.to_owned()), text })
}

fn read_text(from: impl Read, shown: &str, path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| crate::fault::file(path, &e))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_FILE_BYTES) {
        return Err(refused(shown, &format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    // A tool might read UTF-16; we do not, so nothing may hide in it.
    String::from_utf8(bytes).map_err(|_| refused(shown, "it is not UTF-8 text"))
}

#[derive(Default)]
struct Search {
    /// The folder without links: nothing outside of it is read.
    top: PathBuf,
    entries: usize,
    /// Real path and name, each real path once.
    files: Vec<(PathBuf, PathBuf)>,
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
}

impl Search {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), Problem> {
        let shown = folder.display().to_string();
        if depth > MAX_FOLDERS_DEEP {
            return Err(refused(&shown, &format!("folders are nested deeper than {MAX_FOLDERS_DEEP}")));
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| crate::fault::file(folder, &e))? {
            names.push(entry.map_err(|e| crate::fault::file(folder, &e))?.path());
            self.entries = self.entries.saturating_add(1);
            if self.entries > MAX_ENTRIES {
                return Err(refused(&shown, &format!("there are more than {MAX_ENTRIES} files and folders")));
            }
        }
        names.sort();
        // Its values and templates are no manifests, and what they make depends on more than the folder.
        if names.iter().any(|path| helm::is_chart_file(path)) {
            self.problems.push(helm::chart(folder));
            return Ok(());
        }
        for path in names {
            if path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            self.entry(path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, depth: usize) -> Result<(), Problem> {
        let is_manifest = is_manifest(&path);
        let real = match path.canonicalize() {
            Ok(real) => real,
            // A link to nothing matters only where it is called like a manifest.
            Err(_) if !is_manifest => return Ok(()),
            Err(e) => {
                self.problems.push(crate::fault::file(&path, &e));
                return Ok(());
            }
        };
        if !real.is_dir() && !is_manifest {
            return Ok(());
        }
        if !real.starts_with(&self.top) {
            let why = "it is a link that leads out of the folder, and is not followed";
            self.problems.push(refused(&path.display().to_string(), why));
            return Ok(());
        }
        // What two names lead to is read once; so is a folder that a link leads back to.
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        if real.is_dir() {
            return self.folder(&path, depth.saturating_add(1));
        }
        if self.files.len() >= MAX_FILES {
            return Err(refused(
                &self.top.display().to_string(),
                &format!("there are more than {MAX_FILES} manifests"),
            ));
        }
        self.files.push((real, path));
        Ok(())
    }
}

/// By the end of its name, in bytes: `.yaml` alone is a name too, and a name need not be text.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
    let endings: [&[u8]; 3] = [b".yaml", b".yml", b".json"];
    endings.iter().any(|ending| name.ends_with(ending)) || is_kustomization(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_out_of_the_folder_is_an_error_and_is_not_read() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.yaml"), "a: 1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        symlink(outside.path().join("secret.yaml"), folder.path().join("a.yaml")).unwrap();
        symlink(outside.path(), folder.path().join("more")).unwrap();
        symlink("nowhere", folder.path().join("b.yml")).unwrap();
        let (inputs, problems) = read(folder.path()).unwrap();
        assert!(inputs.is_empty());
        assert_eq!(problems.len(), 3);
    }

    #[test]
    fn a_link_inside_is_followed_once_and_never_in_a_circle() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("base")).unwrap();
        std::fs::write(folder.path().join("base/a.yaml"), "a: 1").unwrap();
        symlink("a.yaml", folder.path().join("base/b.yaml")).unwrap();
        symlink("..", folder.path().join("base/circle")).unwrap();
        let (inputs, problems) = read(folder.path()).unwrap();
        assert_eq!((inputs.len(), problems.len()), (1, 0));
    }

    #[test]
    fn a_name_that_begins_with_a_dot_or_is_no_text_hides_no_manifest() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for name in [".x/.y", ".git", ".github"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let names: [&[u8]; 7] =
            [b".b.yaml", b".yaml", b".yml", b".json", b".x/.y/c.yaml", b".github/d.YML", b"\xff.yaml"];
        for name in names {
            std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "a: 1").unwrap();
        }
        std::fs::write(folder.path().join(".git/e.yaml"), "a: 1").unwrap();
        std::fs::write(folder.path().join("yaml"), "a: 1").unwrap();
        let (inputs, problems) = read(folder.path()).unwrap();
        assert_eq!((inputs.len(), problems.len()), (names.len(), 0));
    }

    #[test]
    fn a_file_for_kustomize_is_an_error_under_each_name_that_kustomize_reads() {
        for name in ["kustomization.yaml", "kustomization.yml", "Kustomization"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(name), "resources: [a.yaml]").unwrap();
            let (inputs, problems) = read(folder.path()).unwrap();
            assert_eq!((inputs.len(), problems.len()), (0, 1), "{name}");
            assert!(problems[0].remedy.iter().any(|line| line.contains("kustomize build DIR | trust verify")));
            assert!(read(&folder.path().join(name)).is_err());
            symlink(name, folder.path().join("a.yaml")).unwrap();
            assert!(read(&folder.path().join("a.yaml")).is_err());
        }
    }

    #[test]
    fn a_link_is_named_as_given_and_is_the_file_that_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::fs::write(folder.path().join("real/a.yaml"), "a: 1").unwrap();
        let link = folder.path().join("link.yaml");
        symlink("real/a.yaml", &link).unwrap();
        let input = read(&link).unwrap().0.remove(0);
        assert_eq!(input.name, link.display().to_string());
        assert_eq!(input.path, Some(folder.path().canonicalize().unwrap().join("real/a.yaml")));
    }

    #[test]
    fn what_is_no_text_or_too_large_is_an_error_beside_the_others() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), [0xff, 0xfe, b'a', 0]).unwrap();
        std::fs::write(folder.path().join("b.json"), vec![b' '; usize::try_from(MAX_FILE_BYTES).unwrap() + 1]).unwrap();
        std::fs::write(folder.path().join("c.YAML"), "a: 1").unwrap();
        std::fs::write(folder.path().join("d.txt"), "a: 1").unwrap();
        let (inputs, problems) = read(folder.path()).unwrap();
        assert_eq!(inputs.len(), 1);
        assert_eq!(problems.len(), 2);
        assert!(read(&folder.path().join("none")).is_err());
    }

    #[test]
    fn files_that_are_too_large_together_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let text = vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()];
        for n in 0..=MAX_ALL_BYTES / text.len() {
            std::fs::write(folder.path().join(format!("{n}.yaml")), &text).unwrap();
        }
        assert!(read(folder.path()).unwrap_err().headline.contains("together"));
    }

    #[test]
    fn more_files_than_the_limit_are_an_error_and_not_a_part() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..=MAX_FILES {
            std::fs::write(folder.path().join(format!("{n}.yaml")), "a: 1").unwrap();
        }
        assert!(read(folder.path()).is_err());
    }
}
