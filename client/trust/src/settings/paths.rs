//! Where things are: settings, keys, trusted metadata. The XDG folders, and nothing else.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::SettingsError;
use super::environment::Environment;

/// The folders and files of one user.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `config.toml`.
    pub config: PathBuf,
    /// The system's `config.toml`.
    pub system: PathBuf,
    /// Folder of private keys.
    pub keys: PathBuf,
    /// Folder of trusted metadata. It is state: wiping it removes the protection against rollback.
    pub state: PathBuf,
    /// Folder of drafts that a command goes on with when it is run again.
    pub drafts: PathBuf,
}

impl Paths {
    /// From the environment; `config` is `--config`.
    pub fn find(environment: &Environment, config: Option<&Path>) -> Result<Self, SettingsError> {
        let home = environment.raw("HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        // A relative XDG folder is to be ignored (XDG Base Directory Specification).
        let folder = |name: &'static str, below_home: &str| {
            environment
                .raw(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
                .or_else(|| home.as_ref().filter(|h| h.is_absolute()).map(|home| home.join(below_home)))
                .ok_or(SettingsError::NoHome { variable: name })
        };
        let state = folder("XDG_STATE_HOME", ".local/state")?.join("trust");
        let config = match config {
            Some(path) => std::path::absolute(path)
                .map_err(|e| SettingsError::Unreadable { path: path.to_owned(), kind: e.kind() })?,
            None => folder("XDG_CONFIG_HOME", ".config")?.join("trust/config.toml"),
        };
        Ok(Self {
            config,
            system: PathBuf::from("/etc/trust/config.toml"),
            keys: folder("XDG_DATA_HOME", ".local/share")?.join("trust/keys"),
            drafts: state.join("drafts"),
            state: state.join("tuf"),
        })
    }

    /// The file of a pinned root, beside the configuration.
    pub fn pinned_root(&self, fingerprint: &str) -> PathBuf {
        let folder = self.config.parent().unwrap_or(Path::new("."));
        folder.join("roots").join(format!("{fingerprint}.root.json"))
    }
}

/// Opens a file for reading. A pipe that nobody writes to is empty; it is not waited for.
pub fn open_now(path: &Path) -> std::io::Result<std::fs::File> {
    let waiting = rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(waiting.bits()).map_err(std::io::Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // From here on as usual: whoever writes into a pipe may take their time.
    let kept = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, kept.difference(waiting))?;
    Ok(file)
}

/// Makes a folder that only its owner can use, with those above it.
pub fn create_private_folder(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_xdg_folder_is_ignored_and_no_home_is_an_error() {
        let environment = Environment::fixed([("HOME", "/home/ada"), ("XDG_STATE_HOME", "relative")]);
        let paths = Paths::find(&environment, None).unwrap();
        assert_eq!(paths.state, Path::new("/home/ada/.local/state/trust/tuf"));
        assert_eq!(paths.config, Path::new("/home/ada/.config/trust/config.toml"));
        assert!(matches!(Paths::find(&Environment::fixed([]), None), Err(SettingsError::NoHome { .. })));
    }

    #[test]
    fn the_xdg_folders_count() {
        let environment =
            Environment::fixed([("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "/d"), ("XDG_STATE_HOME", "/s")]);
        let paths = Paths::find(&environment, None).unwrap();
        assert_eq!(paths.config, Path::new("/c/trust/config.toml"));
        assert_eq!(paths.keys, Path::new("/d/trust/keys"));
        assert_eq!(paths.state, Path::new("/s/trust/tuf"));
        assert_eq!(paths.pinned_root("ab"), Path::new("/c/trust/roots/ab.root.json"));
    }
}
