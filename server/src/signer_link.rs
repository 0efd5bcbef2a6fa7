//! The way to the signer: one request, one reply, over its Unix socket.
//!
//! Nothing is verified here; what comes back is a claim that the caller checks like a client. Errors are of two kinds
//! only: the signer said no (a rule), or it could not be asked. Deliberately absent: retries beyond one reconnection,
//! queues, any knowledge of what the messages mean.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use trust_wire::signer::{Reply, Request, decode, read_frame, write_frame};

use crate::Fut;

/// How long the signer may take for one read or write.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are kept for later.
const KEPT: usize = 4;

/// Why there is no answer to go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The request breaks a rule of the signer.
    #[error("the signer refused by rule {rule}: {reason}")]
    Refused {
        /// `S1` to `S16`, or `request`.
        rule: String,
        /// One sentence for people.
        reason: String,
    },
    /// It does not answer, answers what cannot be read, or cannot do it now.
    #[error("the signer is not available: {0}")]
    Unavailable(String),
}

/// What the server needs of a signer. The one implementation beside those of tests is [`SocketLink`].
pub trait SignerLink: Send + Sync {
    /// Sends one request. `Refused` and `Failed` replies come back as errors.
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>>;
}

/// The signer behind a Unix socket.
pub struct SocketLink {
    socket: PathBuf,
    idle: Arc<Mutex<Vec<UnixStream>>>,
}

impl SocketLink {
    /// Uses this socket. Nothing is connected before the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), idle: Arc::default() }
    }
}

impl SignerLink for SocketLink {
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>> {
        let (socket, idle) = (self.socket.clone(), Arc::clone(&self.idle));
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || ask(&socket, &idle, &request));
            match work.await {
                Ok(Ok(reply)) => sort(reply),
                Ok(Err(e)) => Err(SignerError::Unavailable(e.to_string())),
                Err(_) => Err(SignerError::Unavailable("the request was broken off".to_owned())),
            }
        })
    }
}

/// Splits refusals and failures from answers.
pub fn sort(reply: Reply) -> Result<Reply, SignerError> {
    match reply {
        Reply::Refused { rule, reason } => Err(SignerError::Refused { rule: short(&rule), reason: short(&reason) }),
        Reply::Failed { reason } => Err(SignerError::Unavailable(short(&reason))),
        reply => Ok(reply),
    }
}

// The signer's text goes into logs and answers: bounded, and without control characters.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(400).collect()
}

fn ask(socket: &Path, idle: &Mutex<Vec<UnixStream>>, request: &Request) -> io::Result<Reply> {
    let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(stream) = kept {
        // A kept connection may have died with a restart of the signer: then once more on a new one. A signer that is
        // merely slow is not asked twice.
        match exchange(stream, idle, request) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            done => return done,
        }
        idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    exchange(UnixStream::connect(socket)?, idle, request)
}

fn exchange(mut stream: UnixStream, idle: &Mutex<Vec<UnixStream>>, request: &Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_frame(&mut stream, request)?;
    let body = read_frame(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let reply = decode(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < KEPT {
        idle.push(stream);
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn health() -> Reply {
        Reply::Health { identity: serde_json::Value::Null, collections: 0 }
    }

    #[tokio::test]
    async fn a_signer_that_is_not_there_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let link = SocketLink::new(dir.path().join("none"));
        assert!(matches!(link.call(Request::Health {}).await, Err(SignerError::Unavailable(_))));
    }

    #[tokio::test]
    async fn garbage_and_cut_off_replies_are_unavailable_and_the_next_request_reconnects() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            // 1: garbage; 2: announces more than it sends; 3: a good answer, then closes; 4: a good answer.
            for round in 0..4 {
                let (mut stream, _) = listener.accept().unwrap();
                read_frame(&mut stream).unwrap().unwrap();
                match round {
                    0 => stream.write_all(b"\0\0\0\x02{x").unwrap(),
                    1 => stream.write_all(b"\0\0\x01\0{").unwrap(),
                    _ => write_frame(&mut stream, &health()).unwrap(),
                }
            }
        });
        let link = SocketLink::new(path);
        for round in 0..4 {
            let answer = link.call(Request::Health {}).await;
            assert_eq!(answer.is_ok(), round >= 2, "round {round}: {answer:?}");
        }
        server.join().unwrap();
    }

    #[test]
    fn refusals_are_errors_with_their_rule_and_bounded_text() {
        let reply = Reply::Refused { rule: "S6".to_owned(), reason: "x\n".repeat(1_000) };
        let Err(SignerError::Refused { rule, reason }) = sort(reply) else { panic!() };
        assert_eq!(rule, "S6");
        assert_eq!(reason, "x".repeat(400));
    }
}
