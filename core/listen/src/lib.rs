//! The accept loop: limits on connections and on the time for a head, optional TLS, graceful stop.
//!
//! `axum::serve` has neither a time-out for heads nor TLS, so that this is our own, on hyper. HTTP/1.1 only.

mod certificate;
mod expiry;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

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
    serve_from(listener, tls, router, stop).await;
}

/// The same on a Unix socket, for these users alone: whoever else connects is cut off without an answer.
pub async fn serve_local(listener: UnixListener, users: &[u32], router: Router, stop: impl Future<Output = ()>) {
    serve_from(Local { listener, users }, None, router, stop).await;
}

async fn serve_from(source: impl Source, tls: Option<TlsAcceptor>, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            // One more connection only if there is a place: others wait in the backlog of the socket.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, source.next().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (Ok(place), Ok(stream)) = (place, accepted) else {
            // Out of descriptors, or the peer was gone already.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection(stream, tls, router, watcher).await {
                tracing::debug!(%error, "connection");
            }
            drop(place);
        });
    }
    drop(source);
    tracing::info!("stopping");
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running after the time to drain");
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: Option<TlsAcceptor>,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    match tls {
        None => http(stream, router, watcher).await,
        Some(tls) => {
            let stream = tokio::time::timeout(HEAD, tls.accept(stream)).await??;
            http(stream, router, watcher).await
        }
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Impatient::new(stream)), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(io::Error::other)
}

/// A stream that ends when its peer takes nothing, or next to nothing, of what is written: otherwise those who ask and do
/// not read keep all places, and what they asked for in memory, for ever.
struct Impatient<S> {
    stream: S,
    /// Since something could not be written: until when there must be progress, and how much there was.
    waiting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Impatient<S> {
    const fn new(stream: S) -> Self {
        Self { stream, waiting: None }
    }

    fn judge(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => {
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_and_never_reads_loses_its_place() {
        let (mut client, stream) = tokio::io::duplex(4_096);
        let router = Router::new().route("/", get(|| async { vec![0_u8; 1024 * 1024] }));
        let graceful = GracefulShutdown::new();
        let served = tokio::spawn(http(stream, router, graceful.watcher()));
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let ended = tokio::time::timeout(3 * STALL, served).await;
        assert!(ended.expect("the connection is still held").unwrap().is_err());
        drop(client);
    }
    fn serve_large(graceful: &GracefulShutdown) -> (tokio::io::DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (client, stream) = tokio::io::duplex(4_096);
        let router = Router::new().route("/", get(|| async { vec![0_u8; 1024 * 1024] }));
        (client, tokio::spawn(http(stream, router, graceful.watcher())))
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
