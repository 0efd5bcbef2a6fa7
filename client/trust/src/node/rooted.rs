//! Reading files of a machine whose disk is mounted somewhere.
//!
//! Invariant: nothing outside of the given folder is read: a link is followed as the machine itself would follow it, with
//! that folder as its `/`. Files are bounded; what is there and cannot be read is told apart from what is not there.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use crate::settings::paths;

/// Largest file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Entries of one folder.
const MAX_ENTRIES: usize = 1_000;
/// Links on the way to one file.
const MAX_LINKS: usize = 40;

/// The folder that is a machine's `/`.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

/// What is at a place; the error says why it is not known.
pub type Found<T> = Result<Option<T>, String>;

impl Root {
    /// This folder.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The text of a file.
    pub fn text(&self, path: &Path) -> Found<String> {
        let Some(real) = self.resolve(path)? else { return Ok(None) };
        let why = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let file = match paths::open_now(&real) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(why(error)),
        };
        let kind = file.metadata().map_err(why)?.file_type();
        // A link to /dev/null is how a file is masked.
        if !kind.is_file() && !kind.is_char_device() {
            return Err(format!("{} is no file", path.display()));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(why)?;
        if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_BYTES) {
            return Err(format!("{} has more than {MAX_BYTES} bytes", path.display()));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| format!("{} is no text", path.display()))
    }

    /// The names in a folder, in order.
    pub fn names(&self, path: &Path) -> Found<Vec<String>> {
        let Some(real) = self.resolve(path)? else { return Ok(None) };
        let why = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let entries = match std::fs::read_dir(&real) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(why(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(why)?.file_name();
            names.push(name.into_string().map_err(|_| format!("{} holds a name that is no text", path.display()))?);
            if names.len() > MAX_ENTRIES {
                return Err(format!("{} has more than {MAX_ENTRIES} entries", path.display()));
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// Whether there is a folder of this name.
    pub fn is_folder(&self, path: &Path) -> Result<bool, String> {
        Ok(self.resolve(path)?.is_some_and(|real| real.is_dir()))
    }

    /// Whether there is anything of this name.
    pub fn is_there(&self, path: &Path) -> Result<bool, String> {
        Ok(self.resolve(path)?.is_some())
    }

    /// Whether this is a file that can be executed.
    pub fn is_program(&self, path: &Path) -> Result<bool, String> {
        let Some(real) = self.resolve(path)? else { return Ok(false) };
        let why = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let metadata = std::fs::symlink_metadata(real).map_err(why)?;
        Ok(metadata.is_file() && metadata.mode() & 0o111 != 0)
    }

    /// Where a path of the machine is here; `None` if there is nothing.
    fn resolve(&self, path: &Path) -> Found<PathBuf> {
        fn steps(path: &Path) -> Vec<Option<OsString>> {
            let step = |part: Component<'_>| match part {
                Component::Normal(name) => Some(Some(name.to_owned())),
                Component::ParentDir => Some(None),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
            };
            path.components().filter_map(step).collect()
        }
        let mut left: VecDeque<Option<OsString>> = steps(path).into();
        let (mut at, mut links) = (Vec::<OsString>::new(), 0_usize);
        while let Some(step) = left.pop_front() {
            let Some(name) = step else {
                at.pop();
                continue;
            };
            let here = at.iter().fold(self.0.clone(), |folder, name| folder.join(name)).join(&name);
            let metadata = match std::fs::symlink_metadata(&here) {
                Ok(metadata) => metadata,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return Ok(None);
                }
                Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
            };
            if !metadata.is_symlink() {
                at.push(name);
                continue;
            }
            links = links.saturating_add(1);
            if links > MAX_LINKS {
                return Err(format!("{}: links lead in a circle", path.display()));
            }
            let target =
                std::fs::read_link(&here).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            if target.is_absolute() {
                at.clear();
            }
            for step in steps(&target).into_iter().rev() {
                left.push_front(step);
            }
        }
        Ok(Some(at.iter().fold(self.0.clone(), |folder, name| folder.join(name))))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside_of_the_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (top, outside) = (folder.path().join("node"), folder.path().join("etc"));
        std::fs::create_dir_all(top.join("etc/x")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret"), "outside").unwrap();
        std::fs::write(top.join("etc/real"), "inside").unwrap();
        symlink("/etc/real", top.join("etc/absolute")).unwrap();
        symlink("../real", top.join("etc/x/relative")).unwrap();
        symlink(outside.join("secret"), top.join("etc/out")).unwrap();
        symlink("../../../../../etc/secret", top.join("etc/up")).unwrap();
        symlink("circle", top.join("etc/circle")).unwrap();
        symlink("/etc", top.join("link")).unwrap();
        let root = Root::at(&top);
        let text = |path: &str| root.text(Path::new(path));
        for inside in ["/etc/real", "/etc/absolute", "/etc/x/relative", "/link/real", "/link/../etc/real", "etc/real"] {
            assert_eq!(text(inside), Ok(Some("inside".to_owned())), "{inside}");
        }
        for absent in ["/etc/out", "/etc/up", "/etc/none", "/etc/real/more"] {
            assert_eq!(text(absent), Ok(None), "{absent}");
        }
        assert!(text("/etc/circle").unwrap_err().contains("circle"));
        assert!(text("/etc/x").unwrap_err().contains("is no file"));
        assert_eq!(root.names(Path::new("/link/x")), Ok(Some(vec!["relative".to_owned()])));
        assert_eq!(root.is_folder(Path::new("/link/x")), Ok(true));
    }

    #[test]
    fn what_is_too_large_or_no_text_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large"), vec![b'a'; usize::try_from(MAX_BYTES).unwrap() + 1]).unwrap();
        std::fs::write(folder.path().join("bytes"), [0xff]).unwrap();
        let root = Root::at(folder.path());
        assert!(root.text(Path::new("/large")).unwrap_err().contains("more than"));
        assert!(root.text(Path::new("/bytes")).unwrap_err().contains("no text"));
    }
}
