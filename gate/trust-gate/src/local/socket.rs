//! The socket of a local door: where it may lie, and who may connect.
//!
//! Invariants: the folder belongs to root or to this user, and nobody else can put a socket of their own there; a socket that a
//! dead door left is replaced, one that answers is not; only root and this user connect (by mode 0600, and by what the kernel
//! says of each peer). Deliberately absent: what is said on it.

use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use axum::Router;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// A folder that others can write to, or no folder.
    #[error("folder {} of the socket {why}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another program answers there.
    #[error("another program answers on {}", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{} is there and is not a socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that is bound. Its file goes with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// Device and inode: a file that is not ours any more is not removed.
    identity: (u64, u64),
}

impl LocalSocket {
    /// Binds it, and makes its folder if there is none.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let error = |source| SocketError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        check_folder(folder)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(SocketError::InUse { path: path.to_owned() }),
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(error)?,
                Err(e) => return Err(error(e)),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(error(e)),
        }
        // Whoever connects before the next line is told apart by the kernel's word.
        let listener = UnixListener::bind(path).map_err(error)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let found = std::fs::symlink_metadata(path).map_err(error)?;
        Ok(Self { listener: Some(listener), path: path.to_owned(), identity: (found.dev(), found.ino()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until `stop`; then lets running requests end.
    pub(crate) async fn serve(mut self, router: Router, stop: impl Future<Output = ()>) -> Result<(), SocketError> {
        let error = |source| SocketError::Io { path: self.path.clone(), source };
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let listener = tokio::net::UnixListener::from_std(listener).map_err(error)?;
        let users = [0, rustix::process::geteuid().as_raw()];
        trust_listen::serve_local(listener, &users, router, stop).await;
        Ok(())
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        let is_ours = |found: std::fs::Metadata| (found.dev(), found.ino()) == self.identity;
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn check_folder(folder: &Path) -> Result<(), SocketError> {
    let bad = |why: String| SocketError::Folder { path: folder.to_owned(), why };
    if !folder.exists() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
        made.map_err(|e| bad(format!("cannot be made: {e}")))?;
    }
    let found = std::fs::metadata(folder).map_err(|e| bad(e.to_string()))?;
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me && found.uid() != 0 {
        return Err(bad(format!("belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        return Err(bad(format!("has mode {mode:04o}: others can put a socket of their own there")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    #[test]
    fn a_socket_is_for_its_user_alone_and_goes_with_its_door() {
        let dir = folder();
        let path = dir.path().join("deep/er/gate.sock");
        let socket = LocalSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o022, 0);
        assert!(matches!(LocalSocket::bind(&path), Err(SocketError::InUse { .. })));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_door_left_is_replaced_and_nothing_else_is() {
        let dir = folder();
        let path = dir.path().join("gate.sock");
        drop(UnixListener::bind(&path).unwrap());
        let socket = LocalSocket::bind(&path).unwrap();
        // Somebody has put another file in its place: that one stays.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        drop(socket);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert!(matches!(LocalSocket::bind(&path), Err(SocketError::NotASocket { .. })));
    }

    #[test]
    fn a_folder_in_which_others_can_write_is_refused() {
        let dir = folder();
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let error = LocalSocket::bind(&dir.path().join("gate.sock")).unwrap_err();
            assert!(error.to_string().contains("others can put a socket of their own there"), "{error}");
        }
    }
}
