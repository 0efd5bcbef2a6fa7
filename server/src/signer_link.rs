//! The way to the signer: one request, one reply, over its Unix socket.
//!
//! Nothing is verified here; what comes back is a claim that the caller checks like a client. Errors are of two kinds
//! only: the signer said no (a rule), or it could not be asked. Deliberately absent: retries beyond one reconnection,
//! queues, any knowledge of what the messages mean.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use trust_wire::signer::{Reply, Request, decode, read_frame, write_frame};

use crate::{Fut, here};

/// How long the signer may take to take a request, and to give its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are kept for later.
const KEPT: usize = 4;
/// Publications that are with the signer at one time; it handles one after the other.
const PUBLICATIONS: usize = 16;
/// Bytes that are taken from the socket at a time.
const PIECE: usize = 16 * 1024;

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
    idle: Arc<Idle>,
    publications: Semaphore,
}

type Idle = Mutex<Vec<UnixStream>>;

impl SocketLink {
    /// Uses this socket. Nothing is connected before the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), idle: Arc::default(), publications: Semaphore::new(PUBLICATIONS) }
    }
}

impl SignerLink for SocketLink {
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>> {
        Box::pin(async move {
            let reply = if matches!(request, Request::Publish { .. }) {
                // The thread that has just stored the candidate asks, and waits: waking another one and being woken by it
                // takes longer than the signer's work. Only so many, because a signer that hangs holds them.
                let _place = self.publications.acquire().await;
                here(|| ask(&self.socket, &self.idle, &request))
            } else {
                let (socket, idle) = (self.socket.clone(), Arc::clone(&self.idle));
                let work = tokio::task::spawn_blocking(move || ask(&socket, &idle, &request));
                work.await.unwrap_or_else(|_| Err(io::Error::other("the request was broken off")))
            };
            sort(reply.map_err(|e| SignerError::Unavailable(e.to_string()))?)
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

fn ask(socket: &Path, idle: &Idle, request: &Request) -> io::Result<Reply> {
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
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    exchange(stream, idle, request)
}

fn exchange(mut stream: UnixStream, idle: &Idle, request: &Request) -> io::Result<Reply> {
    write_frame(&mut stream, request)?;
    let answer = Answer { stream: &stream, until: Instant::now().checked_add(PATIENCE) };
    let mut answer = BufReader::with_capacity(PIECE, answer);
    let body = read_frame(&mut answer)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let reply = decode(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    if !answer.buffer().is_empty() {
        // More than was asked for: whatever it is, the next request does not begin with it.
        return Ok(reply);
    }
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < KEPT {
        idle.push(stream);
    }
    Ok(reply)
}

/// The socket until an answer is late: a signer that drips bytes holds nobody for longer than twice the time.
struct Answer<'a> {
    stream: &'a UnixStream,
    until: Option<Instant>,
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut stream = self.stream;
        stream.read(buffer)
    }
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
