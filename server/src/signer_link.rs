//! The way to the signer: one request, one reply, over its Unix socket.
//!
//! Nothing is verified here; what comes back is a claim that the caller checks like a client. Errors are of two kinds
//! only: the signer said no (a rule), or it could not be asked. A publication may be shown to the signer before it is asked
//! for ([`SignerLink::announce`]); that asks for nothing, and dropping it takes it back. Deliberately absent: retries beyond
//! one reconnection, queues, any knowledge of what the messages mean.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust_wire::signer::{Reply, Request, decode, read_frame, write_frame};

use crate::{Fut, here};

/// How long the signer may take to take a request, and to give its answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that are kept for later.
const KEPT: usize = 4;
/// Publications that are with the signer at one time; it handles one after the other.
const PUBLICATIONS: usize = 16;
/// Bytes of files up to which a publication is shown to the signer beforehand: they fit into the socket's own buffer, so
/// that showing them waits for nobody.
const ANNOUNCED: usize = 64 * 1024;
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

    /// Shows the signer a publication (`publish`) that may be asked for in a moment, so that it verifies it meanwhile. Nothing
    /// becomes durable by this. A link that cannot do it does nothing.
    fn announce(&self, _publication: &Request) -> Announced {
        Announced::default()
    }

    /// Asks for the publication that was shown, or for one that was not. It must be the same one.
    fn publish(&self, announced: Announced, publication: Request) -> Fut<'_, Result<Reply, SignerError>> {
        drop(announced);
        self.call(publication)
    }
}

/// A publication that was shown to the signer, or was not. Dropped, it is taken back: the connection ends.
#[derive(Debug, Default)]
pub struct Announced(Option<(UnixStream, OwnedSemaphorePermit)>);

/// The signer behind a Unix socket.
pub struct SocketLink {
    socket: PathBuf,
    idle: Arc<Idle>,
    publications: Arc<Semaphore>,
}

type Idle = Mutex<Vec<UnixStream>>;

impl SocketLink {
    /// Uses this socket. Nothing is connected before the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), idle: Arc::default(), publications: Arc::new(Semaphore::new(PUBLICATIONS)) }
    }
}

impl SignerLink for SocketLink {
    fn call(&self, request: Request) -> Fut<'_, Result<Reply, SignerError>> {
        Box::pin(async move {
            if matches!(request, Request::Publish { .. }) {
                return self.publish(Announced::default(), request).await;
            }
            let (socket, idle) = (self.socket.clone(), Arc::clone(&self.idle));
            let work = tokio::task::spawn_blocking(move || ask(&socket, &idle, &request));
            let reply = work.await.unwrap_or_else(|_| Err(io::Error::other("the request was broken off")));
            sort(reply.map_err(|e| SignerError::Unavailable(e.to_string()))?)
        })
    }

    fn announce(&self, publication: &Request) -> Announced {
        let Request::Publish { collection, roots, roles, grant } = publication else { return Announced::default() };
        let bytes = roots.iter().chain(roles.values()).chain(grant).map(|file| file.0.len());
        if bytes.fold(0, usize::saturating_add) > ANNOUNCED {
            return Announced::default();
        }
        let request = Request::Prepare {
            collection: collection.clone(),
            roots: roots.clone(),
            roles: roles.clone(),
            grant: grant.clone(),
        };
        let Ok(place) = Arc::clone(&self.publications).try_acquire_owned() else { return Announced::default() };
        // On a connection that is there: making one is for whoever really asks.
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let sent = kept.and_then(|mut stream| write_frame(&mut stream, &request).ok().map(|()| stream));
        Announced(sent.map(|stream| (stream, place)))
    }

    fn publish(&self, announced: Announced, publication: Request) -> Fut<'_, Result<Reply, SignerError>> {
        Box::pin(async move {
            // The thread that has just stored the candidate asks, and waits: waking another one and being woken by it takes
            // longer than the signer's work. Only so many, because a signer that hangs holds them.
            let (shown, _place) = match announced.0 {
                Some((stream, place)) => (Some(stream), Some(place)),
                None => (None, Arc::clone(&self.publications).acquire_owned().await.ok()),
            };
            let reply = here(|| match shown.map(|stream| exchange(stream, &self.idle, &Request::Commit {})) {
                // It ended with what was shown: then the whole publication. A signer that is merely slow is not asked twice.
                None => ask(&self.socket, &self.idle, &publication),
                Some(Err(e)) if !is_late(&e) => ask(&self.socket, &self.idle, &publication),
                Some(done) => done,
            });
            sort(reply.map_err(|e| SignerError::Unavailable(e.to_string()))?)
        })
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
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
            Err(e) if !is_late(&e) => {}
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
    if !answer.buffer().is_empty() || matches!(reply, Reply::Refused { .. } | Reply::Failed { .. }) {
        // More than was asked for, or an answer to something that was only shown: the next request does not begin with it.
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

    fn publication() -> Request {
        Request::Publish {
            collection: "r/a".to_owned(),
            roots: Vec::new(),
            roles: [("targets".to_owned(), b"bytes".to_vec().into())].into(),
            grant: None,
        }
    }

    fn next(stream: &mut UnixStream) -> Option<Request> {
        read_frame(stream).ok()?.map(|body| decode(&body).unwrap())
    }

    /// A link with one kept connection, and the signer's end of it.
    async fn connected(listener: &UnixListener, path: &Path) -> (SocketLink, UnixStream) {
        let link = SocketLink::new(path);
        let end = std::thread::scope(|scope| {
            let end = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                next(&mut stream).unwrap();
                write_frame(&mut stream, &health()).unwrap();
                stream
            });
            let (socket, idle) = (link.socket.clone(), Arc::clone(&link.idle));
            ask(&socket, &idle, &Request::Health {}).unwrap();
            end.join().unwrap()
        });
        (link, end)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_publication_that_was_shown_is_committed_on_the_same_connection_and_only_when_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (link, mut end) = connected(&listener, &path).await;
        let announced = link.announce(&publication());
        assert!(announced.0.is_some());
        assert!(matches!(next(&mut end), Some(Request::Prepare { roles, .. }) if roles.contains_key("targets")));
        end.set_nonblocking(true).unwrap();
        assert!(end.read(&mut [0]).is_err_and(|e| is_late(&e)), "nothing is asked by showing it");
        end.set_nonblocking(false).unwrap();
        let signer = std::thread::spawn(move || {
            assert!(matches!(next(&mut end), Some(Request::Commit {})));
            write_frame(&mut end, &health()).unwrap();
            end
        });
        assert!(matches!(link.publish(announced, publication()).await, Ok(Reply::Health { .. })));
        let mut end = signer.join().unwrap();
        // Dropped, it is taken back: the connection ends without a word.
        drop(link.announce(&publication()));
        assert!(matches!(next(&mut end), Some(Request::Prepare { .. })));
        assert!(next(&mut end).is_none());
        assert_eq!(link.publications.available_permits(), PUBLICATIONS);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_signer_that_ended_after_it_was_shown_a_publication_is_asked_for_the_whole_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        for before_commit in [true, false] {
            let (link, mut end) = connected(&listener, &path).await;
            let announced = link.announce(&publication());
            next(&mut end).unwrap();
            let again = listener.try_clone().unwrap();
            let signer = std::thread::spawn(move || {
                if !before_commit {
                    next(&mut end).unwrap();
                }
                drop(end);
                let (mut stream, _) = again.accept().unwrap();
                assert!(matches!(next(&mut stream), Some(Request::Publish { .. })));
                write_frame(&mut stream, &health()).unwrap();
            });
            assert!(link.publish(announced, publication()).await.is_ok(), "{before_commit}");
            signer.join().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_to_what_was_only_shown_is_never_taken_for_the_answer_to_the_next_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (link, mut end) = connected(&listener, &path).await;
        let announced = link.announce(&publication());
        let signer = std::thread::spawn(move || {
            // As a signer of before this protocol: it answers both.
            let no = || Reply::Refused { rule: "S13".to_owned(), reason: "what is that".to_owned() };
            next(&mut end).unwrap();
            write_frame(&mut end, &no()).unwrap();
            next(&mut end).unwrap();
            let _ = write_frame(&mut end, &no());
            let (mut stream, _) = listener.accept().unwrap();
            next(&mut stream).unwrap();
            write_frame(&mut stream, &health()).unwrap();
        });
        assert!(matches!(link.publish(announced, publication()).await, Err(SignerError::Refused { .. })));
        assert!(matches!(link.call(Request::Health {}).await, Ok(Reply::Health { .. })));
        signer.join().unwrap();
    }

    #[test]
    fn a_large_publication_is_not_shown_beforehand() {
        let link = SocketLink::new("/nonexistent");
        let large = Request::Publish {
            collection: "r/a".to_owned(),
            roots: Vec::new(),
            roles: [("targets".to_owned(), vec![b' '; ANNOUNCED + 1].into())].into(),
            grant: None,
        };
        assert!(link.announce(&large).0.is_none());
        assert_eq!(link.publications.available_permits(), PUBLICATIONS);
    }

    #[test]
    fn refusals_are_errors_with_their_rule_and_bounded_text() {
        let reply = Reply::Refused { rule: "S6".to_owned(), reason: "x\n".repeat(1_000) };
        let Err(SignerError::Refused { rule, reason }) = sort(reply) else { panic!() };
        assert_eq!(rule, "S6");
        assert_eq!(reason, "x".repeat(400));
    }
}
