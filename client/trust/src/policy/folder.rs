//! A policy folder: `policy/NAME.cedar`, `labels/NAME.json`, and examples that are not published.
//!
//! Invariant: what stands in `policy` and `labels` is read as a whole or not at all. A file there that would not be
//! published is an error: a rule in a misnamed file must not be missed in silence. (Names that begin with a dot are the
//! editor's and the system's, `.example` says what it is.) Deliberately absent: what the files mean.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use trust_policy::{Policy, PolicyIdentity, Source};
use trust_reader::reserved::{MAX_ENTRIES, MAX_ENTRY_BYTES, MAX_SET_BYTES};
use trust_reader::verdict::Problem;

use super::fault;
use crate::settings::paths;

/// (Folder on disk, ending of its files, kind of reserved target).
pub const KINDS: [(&str, &str, &str); 2] = [("policy", "cedar", "_policy"), ("labels", "json", "_labels")];

/// Folder of the cases, which are not published.
pub const TESTS: &str = "tests";

/// Ending of files that are shown and not in force.
const EXAMPLE: &str = ".example";

/// A policy folder that was read.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Where it is, as it was named.
    pub path: PathBuf,
    /// The files, by their target path.
    pub sources: Vec<Source>,
}

impl Folder {
    /// Reads every file.
    pub fn read(path: &Path) -> Result<Folder, Problem> {
        let read = Self::read_kinds(path, &KINDS).map_err(|problem| fault::one_above(path).unwrap_or(problem))?;
        match read.sources.iter().any(|source| source.path.starts_with("_policy/")) {
            true => Ok(read),
            false => Err(fault::no_files(path)),
        }
    }

    /// Reads every file; there may be none.
    pub fn read_any(path: &Path) -> Result<Folder, Problem> {
        Self::read_kinds(path, &KINDS)
    }

    /// Reads the dictionary alone.
    pub fn read_labels(path: &Path) -> Result<Folder, Problem> {
        let read = Self::read_kinds(path, KINDS.get(1..).unwrap_or_default())?;
        if read.sources.is_empty() { Err(fault::no_dictionary(path)) } else { Ok(read) }
    }

    fn read_kinds(path: &Path, kinds: &[(&str, &str, &str)]) -> Result<Folder, Problem> {
        let mut sources = Vec::new();
        for (folder, ending, kind) in kinds {
            let mut total = 0_u64;
            for (name, file) in files_of(path, folder, ending)? {
                if sources.len() >= MAX_ENTRIES {
                    return Err(fault::folder(path, &format!("it has more than {MAX_ENTRIES} files")));
                }
                let bytes = read_file(&file)?;
                total = total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                if total > MAX_SET_BYTES {
                    return Err(fault::folder(path, &format!("its {folder} have more than {MAX_SET_BYTES} bytes")));
                }
                sources.push(Source { path: format!("{kind}/{name}"), bytes });
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Folder { path: path.to_owned(), sources })
    }

    /// Loads the files strictly.
    pub fn load(&self) -> Result<Policy, Problem> {
        Policy::load(&self.sources, PolicyIdentity::folder()).map_err(|error| fault::refused_folder(&self.path, &error))
    }
}

/// The files of cases below a folder (`tests/NAME.toml`): path and content, sorted.
pub fn cases(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Problem> {
    let files = files_of(root, TESTS, "toml")?;
    files.into_iter().map(|(_, path)| read_file(&path).map(|bytes| (path, bytes))).collect()
}

/// The file on disk of a target path.
pub fn on_disk(folder: &Path, target: &str) -> PathBuf {
    let kind = KINDS.iter().find_map(|(name, _, kind)| {
        target.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/')).map(|file| folder.join(name).join(file))
    });
    kind.unwrap_or_else(|| folder.join(target))
}

/// Name and path of the files of one kind, sorted.
fn files_of(root: &Path, folder: &str, ending: &str) -> Result<Vec<(String, PathBuf)>, Problem> {
    let folder_path = root.join(folder);
    let entries = match std::fs::read_dir(&folder_path) {
        Ok(entries) => entries,
        // Without labels there is no dictionary; without rules there is no policy, which is said above.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && root.is_dir() => return Ok(Vec::new()),
        Err(e) => return Err(crate::fault::file(if root.is_dir() { &folder_path } else { root }, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| crate::fault::file(&folder_path, &e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with('.') || name.ends_with(EXAMPLE) {
            continue;
        }
        let stem = name.strip_suffix(ending).and_then(|stem| stem.strip_suffix('.')).unwrap_or_default();
        if !is_name(stem) {
            return Err(fault::stray_file(&path, folder, ending));
        }
        if !path.is_file() {
            return Err(fault::folder(&path, "it is not a regular file"));
        }
        found.push((name, path));
        if found.len() > MAX_ENTRIES {
            return Err(fault::folder(&folder_path, &format!("it has more than {MAX_ENTRIES} files")));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file of a collection would be published from a folder under this target path.
pub fn is_publishable(target: &str) -> bool {
    KINDS.iter().any(|(_, ending, kind)| {
        let name = target.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
        let stem = name.and_then(|name| name.strip_suffix(ending)).and_then(|stem| stem.strip_suffix('.'));
        stem.is_some_and(|stem| is_name(stem) && !stem.ends_with(EXAMPLE))
    })
}

/// What the name of a file may be: it becomes a target path that every TUF client reads alike.
fn is_name(stem: &str) -> bool {
    let first = stem.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    first && stem.len() <= 64 && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Reads one file of at most the limit of a reserved target.
fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = paths::open_now(path).map_err(|e| crate::fault::file(path, &e))?;
    let mut bytes = Vec::new();
    let limit = MAX_ENTRY_BYTES.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|e| crate::fault::file(path, &e))?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_ENTRY_BYTES) {
        return Err(fault::folder(path, &format!("it has more than {MAX_ENTRY_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Writes files into a folder; nothing at all if one of them is there already.
pub fn write_new(root: &Path, files: &[(&str, &str)]) -> Result<Vec<PathBuf>, Problem> {
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| root.join(name)).collect();
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(fault::there_already(there));
    }
    for (path, (_, text)) in paths.iter().zip(files) {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| crate::fault::file(folder, &e))?;
        }
        // Created and never opened: what appeared in between stays as it is.
        let made = std::fs::File::options().write(true).create_new(true).open(path);
        made.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| crate::fault::file(path, &e))?;
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use trust_reader::catalogue::Code;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_rule_in_a_misnamed_file_is_not_missed_in_silence() {
        for name in ["policy/deny.ceder", "policy/deny.cedar~", "policy/README", "labels/data.yaml", "policy/ä.cedar"]
        {
            let folder = folder(&[("policy/main.cedar", "x"), (name, "forbid(principal, action, resource);")]);
            let problem = Folder::read(folder.path()).unwrap_err();
            assert_eq!(problem.code, Code::PolicyRefused, "{name}");
            assert!(problem.text().contains(Path::new(name).file_name().unwrap().to_str().unwrap()), "{name}");
        }
        let below = folder(&[("policy/main.cedar", "x"), ("policy/more/b.cedar", "x")]);
        assert!(Folder::read(below.path()).is_err());
    }

    #[test]
    fn a_folder_without_rules_or_that_is_none_is_an_error() {
        let labels_only = folder(&[("labels/data.json", "{}")]);
        assert_eq!(Folder::read(labels_only.path()).unwrap_err().code, Code::NoPolicy);
        assert_eq!(Folder::read(tempfile::tempdir().unwrap().path()).unwrap_err().code, Code::NoPolicy);
        assert_eq!(Folder::read(Path::new("/nonexistent/x")).unwrap_err().code, Code::FileIo);
        let file = folder(&[("policy/main.cedar", "x")]);
        assert_eq!(Folder::read(&file.path().join("policy/main.cedar")).unwrap_err().code, Code::FileIo);
    }

    #[test]
    fn a_file_over_the_limit_is_refused_before_it_is_read_whole() {
        let long = "x".repeat(usize::try_from(MAX_ENTRY_BYTES).unwrap() + 1);
        let folder = folder(&[("policy/main.cedar", &long)]);
        assert_eq!(Folder::read(folder.path()).unwrap_err().code, Code::PolicyRefused);
    }

    #[test]
    fn files_become_targets_and_what_begins_with_a_dot_is_not_read() {
        let folder = folder(&[
            ("policy/b.cedar", "b"),
            ("policy/a.cedar", "a"),
            ("policy/.b.cedar.swp", "x"),
            ("policy/c.cedar.example", "x"),
            ("labels/data.json", "{}"),
            ("environments/public.toml", "x"),
        ]);
        let read = Folder::read(folder.path()).unwrap();
        let paths: Vec<&str> = read.sources.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(paths, ["_labels/data.json", "_policy/a.cedar", "_policy/b.cedar"]);
        assert_eq!(on_disk(Path::new("d"), "_labels/data.json"), Path::new("d/labels/data.json"));
    }

    #[test]
    fn a_file_that_publishing_would_miss_or_that_leads_elsewhere_is_not_publishable() {
        assert!(is_publishable("_policy/main.cedar") && is_publishable("_labels/data.json"));
        for path in
            ["_policy/../../x.cedar", "_policy/a/b.cedar", "_policy/.cedar", "_policy/main.json", "_labels/x.cedar"]
        {
            assert!(!is_publishable(path), "{path}");
        }
    }

    #[test]
    fn a_dictionary_alone_is_read_without_rules() {
        let folder = folder(&[("labels/data.json", "{}"), ("policy/broken.ceder", "x")]);
        let read = Folder::read_labels(folder.path()).unwrap();
        assert_eq!(read.sources.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["_labels/data.json"]);
        assert_eq!(Folder::read_labels(tempfile::tempdir().unwrap().path()).unwrap_err().code, Code::NoPolicy);
    }

    #[test]
    fn nothing_is_overwritten_and_then_nothing_at_all_is_written() {
        let folder = folder(&[("labels/data.json", "mine")]);
        let files = [("policy/main.cedar", "new"), ("labels/data.json", "new")];
        assert!(write_new(folder.path(), &files).is_err());
        assert_eq!(std::fs::read_to_string(folder.path().join("labels/data.json")).unwrap(), "mine");
        assert!(!folder.path().join("policy").exists());
    }

    #[test]
    fn the_folder_above_a_policy_is_told_from_one_and_the_policy_in_it_is_named() {
        for name in ["policy", "rules"] {
            let above =
                folder(&[(&format!("{name}/policy/main.cedar"), "x"), (&format!("{name}/labels/a.json"), "{}")]);
            let problem = Folder::read(above.path()).unwrap_err();
            assert_eq!(problem.code, Code::NoPolicy, "{name}");
            let meant = format!("did you mean {}?", above.path().join(name).display());
            assert!(problem.text().contains(&meant), "{}", problem.text());
        }
        // A folder of rules with a folder in it is still that.
        let stray = folder(&[("policy/main.cedar", "x"), ("policy/more/b.cedar", "x")]);
        assert_eq!(Folder::read(stray.path()).unwrap_err().code, Code::PolicyRefused);
    }
}
