//! `[docker]`: the authorization plugin of a Docker Engine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Mode;

/// What becomes of a pull by tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullByTag {
    /// It is denied, with the digest to pull.
    #[default]
    Denied,
    /// It passes if the tag is signed and allowed. What the registry then gives is judged when a container is made of it.
    Verified,
}

/// `[docker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerConfig {
    /// Where the engine finds the plugin, `/run/docker/plugins/trustgate.sock` if not said: the file's name is the plugin's.
    #[serde(default = "socket")]
    pub socket: PathBuf,
    /// The engine's own socket, `/run/docker.sock` if not said.
    #[serde(default = "engine")]
    pub engine: PathBuf,
    /// `enforce` if not said.
    #[serde(default)]
    pub mode: Mode,
    /// `denied` if not said.
    #[serde(default)]
    pub pull_by_tag: PullByTag,
    /// Whether containers are made only from names by digest and whole image IDs.
    #[serde(default)]
    pub digest_only: bool,
    /// Whether each start looks at the image again; `true` if not said.
    #[serde(default = "yes")]
    pub recheck_start: bool,
    /// Whether builds pass, unseen.
    #[serde(default)]
    pub builds: bool,
    /// Whether plugins may be installed.
    #[serde(default)]
    pub plugins: bool,
    /// Whether the engine may found or join a swarm.
    #[serde(default)]
    pub swarm: bool,
}

impl DockerConfig {
    /// With paths that are relative to the configuration's folder.
    pub(super) fn complete(self, folder: &Path) -> Self {
        Self { socket: folder.join(self.socket), engine: folder.join(self.engine), ..self }
    }
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            socket: socket(),
            engine: engine(),
            mode: Mode::Enforce,
            pull_by_tag: PullByTag::Denied,
            digest_only: false,
            recheck_start: true,
            builds: false,
            plugins: false,
            swarm: false,
        }
    }
}

fn socket() -> PathBuf {
    PathBuf::from("/run/docker/plugins/trustgate.sock")
}

fn engine() -> PathBuf {
    PathBuf::from("/run/docker.sock")
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_safe_one_and_a_misspelt_member_is_none() {
        let empty: DockerConfig = toml::from_str("").unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", DockerConfig::default()));
        assert!(empty.recheck_start && !empty.builds && !empty.plugins && !empty.swarm);
        assert_eq!((empty.pull_by_tag, empty.mode), (PullByTag::Denied, Mode::Enforce));
        assert!(toml::from_str::<DockerConfig>("recheck_starts = true").is_err());
        let at = empty.complete(Path::new("/etc/trust-gate"));
        assert_eq!(at.socket, socket());
    }
}
