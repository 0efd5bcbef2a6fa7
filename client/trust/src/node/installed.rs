//! Whether a container tool is on a machine at all, by its programs and folders.
//!
//! Invariant: what shows a tool is named; where nothing shows one, it is told as not seen and not as absent: a program may lie
//! elsewhere. Deliberately absent: databases of packages, and running programs.

use std::path::{Path, PathBuf};

use super::Question;

/// Where programs lie.
const FOLDERS: [&str; 9] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/bin",
    "/sbin",
    "/opt/bin",
    "/snap/bin",
    "/run/current-system/sw/bin",
];

/// What shows a tool.
struct Signs {
    tool: &'static str,
    /// Programs in one of the folders.
    programs: &'static [&'static str],
    /// Folders of its settings and images.
    folders: &'static [&'static str],
    /// The same below a home.
    of_users: &'static [&'static str],
}

const SIGNS: [Signs; 3] = [
    Signs {
        tool: super::containers::TOOL,
        programs: &["podman", "skopeo", "buildah", "crio", "cri-o"],
        folders: &["/etc/containers", "/etc/crio", "/var/lib/containers"],
        of_users: &[".config/containers", ".local/share/containers"],
    },
    Signs {
        tool: super::containerd::TOOL,
        programs: &["containerd", "k3s", "rke2", "k0s"],
        folders: &[
            "/etc/containerd",
            "/var/lib/containerd",
            "/etc/rancher",
            "/var/lib/rancher",
            "/var/lib/k0s",
            "/var/snap/microk8s",
        ],
        of_users: &[".local/share/containerd"],
    },
    Signs {
        tool: super::engine::TOOL,
        programs: &["dockerd"],
        folders: &["/etc/docker", "/var/lib/docker", "/var/snap/docker"],
        of_users: &[".config/docker", ".local/share/docker"],
    },
];

/// The programs that are looked for, in words.
pub fn programs(tool: &str) -> String {
    let of = SIGNS.iter().filter(|signs| signs.tool == tool).flat_map(|signs| signs.programs);
    of.copied().collect::<Vec<_>>().join(", ")
}

/// What shows that the tool is there; `None` if nothing does.
pub fn sign(question: &Question, tool: &str) -> Result<Option<PathBuf>, String> {
    for signs in SIGNS.iter().filter(|signs| signs.tool == tool) {
        let programs =
            FOLDERS.iter().flat_map(|folder| signs.programs.iter().map(|program| Path::new(folder).join(program)));
        let folders = signs.folders.iter().map(PathBuf::from);
        let of_users = question.homes.iter().flat_map(|home| signs.of_users.iter().map(|folder| home.join(folder)));
        for path in programs.chain(folders).chain(of_users) {
            if question.root.is_there(&path)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
