//! Where the gate's socket is.
//!
//! containerd gives no arguments of ours, and its environment is not looked at. Everything in its folder of verifiers is executed,
//! so that a configuration cannot lie beside this program: it lies in `etc` beside the program's folder
//! (`/opt/containerd/image-verifier/etc`). Invariant: a file, folder or socket that belongs to
//! somebody else than root or this user, or that others can write to, is a doubt, and so is each folder above. Deliberately absent: any
//! other setting.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the gate listens if nothing is said.
const SOCKET: &str = "/run/trust-gate/containerd.sock";
/// The name of the configuration.
const CONFIG: &str = "trust-containerd-verifier.conf";
/// The largest configuration, in bytes.
const MAX_CONFIG: u64 = 4_096;

/// The socket to ask on.
pub(crate) fn socket(program: Option<&Path>) -> Result<PathBuf, String> {
    let near = program.and_then(Path::parent).and_then(Path::parent).map(|folder| folder.join("etc").join(CONFIG));
    let socket = match near {
        Some(config) => read(&config)?.unwrap_or_else(|| PathBuf::from(SOCKET)),
        None => PathBuf::from(SOCKET),
    };
    let folder = socket.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        return Err(format!(
            "the gate of this machine is not there ({}): start trust-gate containerd",
            socket.display()
        ));
    }
    is_private(folder)?;
    // One that is not there cannot be asked: that is told then.
    if fs::symlink_metadata(&socket).is_ok_and(|found| !is_ours(&found)) {
        return Err(format!("{} belongs to another user", socket.display()));
    }
    Ok(socket)
}

/// The socket that a configuration names; `None` if there is no such file.
fn read(config: &Path) -> Result<Option<PathBuf>, String> {
    let shown = config.display();
    match fs::metadata(config) {
        Ok(found) if found.is_file() => {}
        // Nothing else is opened: a FIFO would wait for its writer.
        Ok(_) => return Err(format!("{shown} is not a file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && fs::symlink_metadata(config).is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(format!("{shown}: {error}")),
    }
    is_private(config)?;
    let file = fs::File::open(config).map_err(|error| format!("{shown}: {error}"))?;
    let mut text = String::new();
    file.take(MAX_CONFIG).read_to_string(&mut text).map_err(|error| format!("{shown}: {error}"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut socket = None;
    for line in lines {
        let value = match line.split_once('=') {
            Some((name, value)) if name.trim() == "socket" => value.trim(),
            _ => return Err(format!("{shown} has a line that is not socket = /PATH")),
        };
        if !value.starts_with('/') || socket.replace(PathBuf::from(value)).is_some() {
            return Err(format!("{shown}: socket is one whole path"));
        }
    }
    Ok(socket)
}

/// Whether nobody but root and this user can put something else at this place, or above it.
fn is_private(path: &Path) -> Result<(), String> {
    let error = |error| format!("{}: {error}", path.display());
    let real = path.canonicalize().map_err(error)?;
    for (above, place) in real.ancestors().enumerate() {
        let found = fs::metadata(place).map_err(error)?;
        if !is_ours(&found) {
            return Err(format!("{} belongs to another user", place.display()));
        }
        // In a folder like /tmp others can make files of their own, and cannot replace ours.
        let is_shared = above > 0 && found.mode() & 0o1000 != 0;
        if found.mode() & 0o022 != 0 && !is_shared {
            return Err(format!("others can write to {}", place.display()));
        }
    }
    Ok(())
}

/// Whether it belongs to root, or to the user that this program runs as.
fn is_ours(found: &fs::Metadata) -> bool {
    let me = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    found.uid() == 0 || found.uid() == me
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Prefix(tempfile::TempDir);

    impl Prefix {
        fn new(config: &str) -> Self {
            let prefix = Self(tempfile::tempdir().unwrap());
            for folder in ["bin", "etc", "run"] {
                fs::create_dir(prefix.0.path().join(folder)).unwrap();
                prefix.mode(folder, 0o755);
            }
            fs::write(prefix.0.path().join("etc").join(CONFIG), config).unwrap();
            prefix.mode(&format!("etc/{CONFIG}"), 0o644);
            prefix
        }

        fn mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.0.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn socket(&self) -> Result<PathBuf, String> {
            socket(Some(&self.0.path().join("bin/verifier")))
        }
    }

    #[test]
    fn the_configuration_near_the_program_names_the_socket() {
        let prefix = Prefix::new("");
        let wanted = prefix.0.path().join("run/gate.sock");
        let text = format!("# the gate\n\nsocket = {}\n", wanted.display());
        fs::write(prefix.0.path().join("etc").join(CONFIG), text).unwrap();
        assert_eq!(prefix.socket(), Ok(wanted));
    }

    #[test]
    fn what_others_can_write_to_or_nobody_understands_is_a_doubt() {
        for config in
            ["socket = relative\n", "socket\n", "timeout = 5\n", "socket = /a/b\nsocket = /c/d\n", "socket = \n"]
        {
            assert!(Prefix::new(config).socket().is_err(), "{config}");
        }
        let prefix = Prefix::new("");
        let text = format!("socket = {}\n", prefix.0.path().join("run/gate.sock").display());
        fs::write(prefix.0.path().join("etc").join(CONFIG), text).unwrap();
        for (name, mode) in [("run", 0o777), ("run", 0o1777), (&*format!("etc/{CONFIG}"), 0o666)] {
            prefix.mode(name, mode);
            assert!(prefix.socket().unwrap_err().contains("others can write"), "{name}");
            prefix.mode(name, if name == "run" { 0o755 } else { 0o644 });
        }
        assert!(prefix.socket().is_ok());
        prefix.mode("etc", 0o777);
        assert!(prefix.socket().unwrap_err().contains("others can write"), "whoever writes there replaces the file");
    }

    #[test]
    fn what_belongs_to_another_user_is_a_doubt_also_behind_a_link() {
        let prefix = Prefix::new("");
        let at = |name: &str| prefix.0.path().join(name);
        let config = at("etc").join(CONFIG);
        fs::write(&config, format!("socket = {}\n", at("run/gate.sock").display())).unwrap();
        assert!(prefix.socket().is_ok());
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            return;
        }
        let nobody = |name: &str| std::os::unix::fs::chown(at(name), Some(65_534), Some(65_534)).unwrap();
        let root = |name: &str| std::os::unix::fs::chown(at(name), Some(0), Some(0)).unwrap();
        for name in ["run", "etc", &format!("etc/{CONFIG}")] {
            nobody(name);
            assert!(prefix.socket().unwrap_err().contains("belongs to another user"), "{name}");
            root(name);
        }
        assert!(prefix.socket().is_ok());
        fs::create_dir(at("theirs")).unwrap();
        fs::rename(&config, at("theirs/conf")).unwrap();
        std::os::unix::fs::symlink(at("theirs/conf"), &config).unwrap();
        nobody("theirs");
        assert!(prefix.socket().unwrap_err().contains("belongs to another user"));
        root("theirs");
        fs::remove_file(&config).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), &config).unwrap();
        assert!(prefix.socket().is_err(), "a link to nothing is not the same as no file");
        fs::remove_file(&config).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&config).status().unwrap();
        assert!(made.success() && prefix.socket().unwrap_err().contains("not a file"));
    }
}
