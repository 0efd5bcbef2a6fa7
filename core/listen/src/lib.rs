//! The accept loop: limits on connections and on the time for a head, optional TLS, graceful stop.
//!
//! `axum::serve` has neither a time-out for heads nor TLS, so that this is our own, on hyper. HTTP/1.1 only.

mod certificate;

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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

pub use certificate::{Certificate, TlsError, tls};

/// Connections at one time.
const CONNECTIONS: usize = 1_024;
/// How long a client may take for a TLS handshake, for the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(10);
/// How long a client may take none of an answer.
const STALL: Duration = Duration::from_secs(20);
/// How long running requests may take once the server stops.
const DRAIN: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// Serves until `stop`, then lets running requests end, at most 30 seconds.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            // One more connection only if there is a place: others wait in the backlog of the socket.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (Ok(place), Ok((stream, _))) = (place, accepted) else {
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
    drop(listener);
    tracing::info!("stopping");
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running after the time to drain");
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, watcher: Watcher) -> io::Result<()> {
    stream.set_nodelay(true)?;
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
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Impatient::new(stream)), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(io::Error::other)
}

/// A stream that ends when its peer takes nothing of what is written: otherwise those who ask and do not read keep all
/// places for ever.
struct Impatient<S> {
    stream: S,
    /// Since when nothing could be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    const fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let end = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + STALL)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
        let written = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;

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
}
