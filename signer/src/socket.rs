//! The Unix socket: who may speak, how much, how long.
//!
//! Invariants: a peer whose user is not allowed gets no answer but the refusal (rule S16); a frame that has begun must come
//! within its time; at most one large message is in memory. Deliberately absent: what requests mean.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trust_tuf::UtcTime;
use trust_wire::signer::{FRAME_BYTES, PREPARE_BYTES, Reply, Request, decode, read_frame, write_frame};

use crate::core::SignerCore;
use crate::prepare::Prepared;
use crate::refusal::{No, RuleId, fail, refuse};

/// Connections at one time.
pub const CONNECTIONS: usize = 64;
/// How long a frame may take from its first byte to its last, and an answer to be taken.
pub const FRAME_TIME: Duration = Duration::from_secs(30);
/// Frames larger than this are read and handled one at a time, in bytes.
const LARGE: usize = 1024 * 1024;
/// Bytes that are taken from the socket at a time: a small request in one piece.
const PIECE: usize = 16 * 1024;

/// Where the signer listens, and for whom.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The socket.
    pub path: PathBuf,
    /// The users that may speak.
    pub allowed: Vec<u32>,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
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

/// Binds the socket. One that a dead signer left is replaced; one that answers is not.
pub fn bind(endpoint: &Endpoint) -> Result<UnixListener, SocketError> {
    let path = endpoint.path.as_path();
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
    // The process has umask 077: until the next line nobody else can connect.
    let listener = UnixListener::bind(path).map_err(error)?;
    let me = rustix::process::geteuid().as_raw();
    let only_me = endpoint.allowed.iter().all(|uid| *uid == me);
    let mode = if only_me { 0o600 } else { 0o660 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(error)?;
    Ok(listener)
}

fn check_folder(folder: &Path) -> Result<(), SocketError> {
    use std::os::unix::fs::DirBuilderExt;
    let bad = |why: String| SocketError::Folder { path: folder.to_owned(), why };
    if !folder.exists() {
        std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(|e| bad(format!("cannot be made: {e}")))?;
    }
    let found = std::fs::metadata(folder).map_err(|e| bad(e.to_string()))?;
    let me = rustix::process::geteuid().as_raw();
    if found.uid() != me && found.uid() != 0 {
        return Err(bad(format!("belongs to user {}", found.uid())));
    }
    if found.mode() & 0o022 != 0 {
        return Err(bad(format!("has mode {:04o}: others can put a socket of their own there", found.mode() & 0o7777)));
    }
    Ok(())
}

/// The signer's own clock; `None` outside the years that files can state.
pub fn clock() -> Option<UtcTime> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    UtcTime::from_unix(i64::try_from(since.as_secs()).ok()?)
}

/// Serves for ever. Each connection has a thread of its own; one request at a time is handled.
pub fn serve(listener: &UnixListener, core: SignerCore, endpoint: &Endpoint) -> ! {
    let shared = Arc::new(Shared {
        core: Mutex::new(core),
        large: Mutex::new(()),
        open: AtomicUsize::new(0),
        allowed: endpoint.allowed.clone(),
    });
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => continue,
            Err(e) => {
                // Out of descriptors or memory: it passes, and spinning would not help.
                tracing::warn!(error = %e, "accept");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        let spawned = std::thread::Builder::new().name("connection".to_owned()).spawn(move || shared.welcome(stream));
        if let Err(e) = spawned {
            tracing::warn!(error = %e, "no thread for a connection");
        }
    }
}

struct Shared {
    core: Mutex<SignerCore>,
    large: Mutex<()>,
    open: AtomicUsize,
    allowed: Vec<u32>,
}

/// Counts a connection as long as it lives.
struct Slot<'a>(&'a AtomicUsize);

impl<'a> Slot<'a> {
    fn take(open: &'a AtomicUsize) -> Option<Self> {
        let slot = Self(open);
        (open.fetch_add(1, Ordering::SeqCst) < CONNECTIONS).then_some(slot)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn welcome(&self, mut stream: UnixStream) {
        let _ = stream.set_write_timeout(Some(FRAME_TIME));
        let Some(_slot) = Slot::take(&self.open) else {
            let _ = write_frame(&mut stream, &fail("too many connections").into_reply());
            return;
        };
        match rustix::net::sockopt::socket_peercred(stream.as_fd()) {
            Ok(peer) if self.allowed.contains(&peer.uid.as_raw()) => {}
            Ok(peer) => {
                let uid = peer.uid.as_raw();
                tracing::warn!(rule = "S16", uid, "a peer that is not allowed");
                let no = refuse(RuleId::S16, format!("user {uid} may not speak to this signer"));
                let _ = write_frame(&mut stream, &no.into_reply());
                return;
            }
            Err(e) => {
                tracing::warn!(error = %e, "no credentials of a peer");
                return;
            }
        }
        if let Err(e) = self.converse(&stream) {
            tracing::debug!(error = %e, "a connection ended");
        }
    }

    fn converse(&self, mut stream: &UnixStream) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(PIECE, Started { stream, deadline: None, timeout: None });
        let mut prepared = None;
        loop {
            // What of the next frame came with the last one has begun already; and what is prepared does not wait for ever.
            let begun = !reader.buffer().is_empty() || prepared.is_some();
            reader.get_mut().deadline = begun.then(|| Instant::now().checked_add(FRAME_TIME)).flatten();
            let mut length = [0_u8; 4];
            match reader.read(&mut length)? {
                0 => return Ok(()),
                n => reader.read_exact(length.get_mut(n..).unwrap_or(&mut []))?,
            }
            let announced = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if announced > FRAME_BYTES {
                let no = refuse(RuleId::S13, format!("a frame of {announced} bytes; the limit is {FRAME_BYTES}"));
                return write_frame(&mut stream, &no.into_reply());
            }
            let _turn = (announced > LARGE).then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
            let Some(body) = read_frame(&mut length.as_slice().chain(&mut reader))? else { return Ok(()) };
            let reply = self.reply(&body, &mut prepared);
            drop(body);
            if let Some(reply) = reply {
                send(stream, &reply)?;
            }
        }
    }

    /// The answer to a request; none yet to one that prepares. What was prepared belongs to the request after it alone.
    fn reply(&self, body: &[u8], prepared: &mut Option<Prepared>) -> Option<Reply> {
        let waiting = prepared.take();
        let request = match decode::<Request>(body) {
            Ok(request) => request,
            Err(why) => {
                let why: String = why.chars().take(200).flat_map(char::escape_default).collect();
                let no = refuse(RuleId::S13, format!("not a request of this protocol: {why}"));
                return Some(log(no).into_reply());
            }
        };
        if matches!(request, Request::Prepare { .. }) && body.len() > PREPARE_BYTES {
            let no = refuse(RuleId::S13, format!("more than {PREPARE_BYTES} bytes are not prepared"));
            return Some(log(no).into_reply());
        }
        let mut core = self.core.lock().unwrap_or_else(|poisoned| {
            // A thread died in the middle of a request. What is durable is whole; what is in memory may not be.
            let mut core = poisoned.into_inner();
            core.forget();
            core
        });
        self.core.clear_poison();
        // Read while nobody else is handled: a time that was read before another request's signature would be behind it
        // whenever a second begins between the two, and rule S9 would refuse a request that is in order.
        let Some(now) = clock() else { return Some(fail("S9: the signer's clock is out of range").into_reply()) };
        let reply = match (request, waiting) {
            (Request::Prepare { collection, roots, roles, grant }, _) => {
                *prepared = Some(core.prepare(now, &collection, roots, roles, grant));
                return None;
            }
            (Request::Commit {}, Some(waiting)) => core.commit_prepared(now, waiting),
            (request, _) => core.handle(now, request),
        };
        if let Reply::Refused { rule, reason } = &reply {
            tracing::warn!(rule, reason, "refused");
        }
        if let Reply::Failed { reason } = &reply {
            tracing::error!(reason, "failed");
        }
        if core.is_broken() {
            // Nothing may be answered from here on; whoever started this process starts it again.
            tracing::error!("a write was not confirmed: this process ends");
            std::process::abort();
        }
        Some(reply)
    }
}

fn log(no: No) -> No {
    tracing::warn!(reason = %no, "refused");
    no
}

fn send(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    match write_frame(&mut stream, reply) {
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
            write_frame(&mut stream, &fail("the answer is larger than a frame").into_reply())
        }
        other => other,
    }
}

/// Waits for the first byte for ever, and for all that follow until the deadline: so a peer that drips bytes ends as well.
struct Started<'a> {
    stream: &'a UnixStream,
    deadline: Option<Instant>,
    /// The time-out that the socket has now.
    timeout: Option<Duration>,
}

impl Read for Started<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Some(left)
            }
        };
        if left != self.timeout {
            self.stream.set_read_timeout(left)?;
            self.timeout = left;
        }
        let mut stream = self.stream;
        let count = stream.read(buffer)?;
        if self.deadline.is_none() {
            self.deadline = Instant::now().checked_add(FRAME_TIME);
        }
        Ok(count)
    }
}

/// Writes the file that tells whoever started this process that it listens.
pub fn write_ready_file(path: &Path, socket: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    writeln!(file, "{}", socket.display())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use trust_keys::Passphrase;

    use super::*;
    use crate::config::Config;
    use crate::store::Store;
    use crate::vault::{DEV_COST, OsEntropy, Vault, new_identity};

    #[test]
    fn a_request_that_waited_while_another_one_signed_in_a_new_second_is_not_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let passphrase = Passphrase::new("p").unwrap();
        let identity = new_identity(&passphrase, DEV_COST).unwrap();
        Store::create(dir.path(), &identity).unwrap();
        let vault = Arc::new(Vault::open(&identity, &passphrase).unwrap());
        let store = Store::open(dir.path()).unwrap();
        let core = SignerCore::new(store, vault, Box::new(OsEntropy), Config::default(), true);
        let shared = Arc::new(Shared {
            core: Mutex::new(core),
            large: Mutex::new(()),
            open: AtomicUsize::new(0),
            allowed: Vec::new(),
        });
        let request = Request::Publish {
            collection: "r.example/a".to_owned(),
            roots: vec![b"no root".to_vec().into()],
            roles: BTreeMap::new(),
            grant: None,
        };
        let frame = serde_json::to_vec(&request).unwrap();
        let mut held = shared.core.lock().unwrap();
        let other = Arc::clone(&shared);
        let waiting = std::thread::spawn(move || other.reply(&frame, &mut None));
        std::thread::sleep(Duration::from_millis(100));
        let before = clock();
        while clock() == before {
            std::thread::sleep(Duration::from_millis(5));
        }
        held.signed_at(clock().unwrap());
        drop(held);
        // The root is refused for what it is; S9 would be a failure of the signer.
        assert!(matches!(waiting.join().unwrap(), Some(Reply::Refused { .. })));
    }
}
