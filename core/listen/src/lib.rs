//! The accept loop: limits on connections and on the time for a head, optional TLS, graceful stop. When all places are taken,
//! connections without a request make room.
//!
//! `axum::serve` has neither a time-out for heads nor TLS, so that this is our own, on hyper. HTTP/1.1 only.

mod certificate;
mod crowd;
mod expiry;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use self::crowd::{Answer, Crowd, Member};

pub use certificate::{Certificate, TlsError, expires, is_believed, tls};

/// Connections at one time.
const CONNECTIONS: usize = 1_024;
/// How long a client may take for a TLS handshake, for the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may take for the next [`PROGRESS`] bytes of an answer.
const STALL: Duration = Duration::from_secs(20);
/// What a client that keeps the server waiting takes at least in that time, in bytes.
const PROGRESS: usize = 64 * 1024;
/// How long running requests may take once the server stops.
const DRAIN: Duration = Duration::from_secs(30);
/// Room for what comes from a client, in bytes. It may be exceeded by one read: the program judges the head itself.
const BUFFER_BYTES: usize = 32 * 1024;
/// Headers of a request.
const HEADERS: usize = 100;
/// How often somebody is asked to make room for one who waits.
const ROOM: Duration = Duration::from_millis(100);

/// Where connections come from.
trait Source {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one. Nothing is lost when this is given up.
    async fn next(&self) -> io::Result<Self::Stream>;
}

impl Source for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A Unix socket for some users of this machine.
struct Local<'u> {
    listener: UnixListener,
    users: &'u [u32],
}

impl Source for Local<'_> {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if self.users.contains(&peer.uid()) => return Ok(stream),
                Ok(peer) => tracing::warn!(user = peer.uid(), "a user who may not speak here"),
                Err(error) => tracing::debug!(%error, "connection"),
            }
        }
    }
}

/// Serves until `stop`, then lets running requests end, at most 30 seconds.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: impl Future<Output = ()>) {
    serve_from(CONNECTIONS, listener, tls, router, stop).await;
}

/// The same on a Unix socket, for these users alone: whoever else connects is cut off without an answer.
pub async fn serve_local(listener: UnixListener, users: &[u32], router: Router, stop: impl Future<Output = ()>) {
    serve_from(CONNECTIONS, Local { listener, users }, None, router, stop).await;
}

async fn serve_from(
    connections: usize,
    source: impl Source,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections));
    let crowd = Crowd::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            // One more than there are places: others wait in the backlog of the socket.
            let accepted = source.next().await;
            (place(&places, &crowd).await, accepted)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (Some(place), Ok(stream)) = (place, accepted) else {
            // Out of descriptors, or the peer was gone already.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        let membership = crowd.join();
        tokio::spawn(async move {
            let member = &membership.member;
            tokio::select! {
                ended = connection(stream, tls, router, watcher, member) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection");
                    }
                }
                () = member.told_to_leave() => tracing::debug!("a silent connection made room"),
            }
            drop((membership, place));
        });
    }
    drop(source);
    tracing::info!("stopping");
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running after the time to drain");
    }
}

/// A place for one more connection; who says nothing makes room for it.
async fn place(places: &Arc<Semaphore>, crowd: &Crowd) -> Option<OwnedSemaphorePermit> {
    loop {
        let waiting = Arc::clone(places).acquire_owned();
        match tokio::time::timeout(ROOM, waiting).await {
            Ok(place) => return place.ok(),
            Err(_) => crowd.make_room(),
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
    member: &Arc<Member>,
) -> io::Result<()> {
    match tls {
        None => http(stream, router, watcher, member).await,
        Some(tls) => {
            let stream = tokio::time::timeout(HEAD, tls.accept(stream)).await??;
            http(stream, router, watcher, member).await
        }
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
    member: &Arc<Member>,
) -> io::Result<()> {
    let service = TowerToHyperService::new(router);
    let counted = service_fn(|request: Request<Incoming>| {
        let running = member.run();
        let answer = service.call(request);
        async move { answer.await.map(|response| response.map(|body| Body::new(Answer::new(body, running)))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Impatient::new(stream, Arc::clone(member))), counted);
    watcher.watch(connection).await.map_err(io::Error::other)
}

/// A stream that ends when its peer takes nothing, or next to nothing, of what is written: otherwise those who ask and do
/// not read keep all places, and what they asked for in memory, for ever.
struct Impatient<S> {
    stream: S,
    member: Arc<Member>,
    /// Since something could not be written: until when there must be progress, and how much there was.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Impatient<S> {
    const fn new(stream: S, member: Arc<Member>) -> Self {
        Self { stream, member, waiting: None }
    }

    fn judge(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => {
                self.member.touch();
                if let Some((_, progress)) = &mut self.waiting {
                    *progress = progress.saturating_add(*count);
                    if *progress >= PROGRESS {
                        self.waiting = None;
                    }
                }
                return written;
            }
            Poll::Ready(Err(_)) => return written,
            Poll::Pending => {}
        }
        let (end, _) =
            self.waiting.get_or_insert_with(|| (Box::pin(tokio::time::sleep_until(Instant::now() + STALL)), 0));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Everything that there was to write is written: whoever is asked again begins anew.
    fn flushed(&mut self, flushed: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if flushed.is_ready() {
            self.waiting = None;
        }
        flushed
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.member.touch();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.flushed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(shut)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn those_who_say_nothing_make_room_one_by_one_and_requests_stay() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = Arc::new(tokio::sync::Notify::new());
        let hold = Arc::clone(&held);
        let router = Router::new().route("/", get(|| async { "answer" })).route(
            "/held",
            get(move || async move {
                hold.notified().await;
                "held"
            }),
        );
        let served = tokio::spawn(serve_from(8, listener, None, router, std::future::pending()));
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_all(b"GET /held HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut silent = Vec::new();
        for n in 0..7 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Half a head is not a request either.
            stream.write_all(if n % 2 == 0 { b"GET / HT" } else { b"" }).await.unwrap();
            silent.push(stream);
        }
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 15];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            silent.push(client);
        }
        // Only as many left as were needed: their own time is not over.
        let is_open = |stream: &TcpStream| !matches!(stream.try_read(&mut [0; 64]), Ok(0));
        let open = silent.iter().filter(|stream| is_open(stream)).count();
        assert_eq!(open, 7, "two of nine made room");
        held.notify_one();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("held"), "{answer}");
        served.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_and_never_reads_loses_its_place() {
        let (mut client, stream) = tokio::io::duplex(4_096);
        let router = Router::new().route("/", get(|| async { vec![0_u8; 1024 * 1024] }));
        let graceful = GracefulShutdown::new();
        let served = tokio::spawn(alone(stream, router, graceful.watcher()));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let ended = tokio::time::timeout(3 * STALL, served).await;
        assert!(ended.expect("the connection is still held").unwrap().is_err());
        drop(client);
    }

    /// One connection, which nobody asks to leave.
    async fn alone(stream: tokio::io::DuplexStream, router: Router, watcher: Watcher) -> io::Result<()> {
        let membership = Crowd::new().join();
        http(stream, router, watcher, &membership.member).await
    }

    fn serve_large(graceful: &GracefulShutdown) -> (tokio::io::DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (client, stream) = tokio::io::duplex(4_096);
        let router = Router::new().route("/", get(|| async { vec![0_u8; 1024 * 1024] }));
        (client, tokio::spawn(alone(stream, router, graceful.watcher())))
    }

    #[tokio::test]
    async fn on_a_local_socket_users_who_may_not_speak_get_no_answer_and_the_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door.sock");
        let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(dir.path()).unwrap());
        for (users, is_answered) in [(vec![me], true), (vec![me.wrapping_add(1)], false), (Vec::new(), false)] {
            let listener = UnixListener::bind(&path).unwrap();
            let router = Router::new().route("/", get(|| async { "secret" }));
            let (tell, told) = tokio::sync::oneshot::channel::<()>();
            let door =
                tokio::spawn(async move { serve_local(listener, &users, router, async { drop(told.await) }).await });
            for _ in 0..3 {
                let mut client = UnixStream::connect(&path).await.unwrap();
                let _ = client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
                let mut answer = Vec::new();
                let _ = client.read_to_end(&mut answer).await;
                assert_eq!(answer.ends_with(b"secret"), is_answered);
                assert_eq!(answer.is_empty(), !is_answered);
            }
            drop(tell);
            door.await.unwrap();
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_an_answer_byte_by_byte_loses_its_place() {
        let graceful = GracefulShutdown::new();
        let (mut client, served) = serve_large(&graceful);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let drip = tokio::spawn(async move {
            let mut taken = 0_usize;
            while let Ok(1..) = client.read(&mut [0; 100]).await {
                taken += 1;
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            taken
        });
        let ended = tokio::time::timeout(10 * STALL, served).await;
        assert!(ended.expect("the connection is still held").unwrap().is_err());
        drop(drip);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_gets_on_gets_the_whole_answer() {
        let graceful = GracefulShutdown::new();
        let (mut client, served) = serve_large(&graceful);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut taken = 0;
        loop {
            let mut piece = [0; 4_096];
            let count = client.read(&mut piece).await.unwrap();
            if count == 0 {
                break;
            }
            taken += count;
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        assert!(taken > 1024 * 1024, "{taken}");
        served.await.unwrap().unwrap();
    }
}
