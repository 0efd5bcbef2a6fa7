//! The other side of a measurement, as a process of its own: a handler that reads what it is sent and answers a constant, and
//! a proxy that copies what it fetches and hashes it on the way.
//!
//! The handler stands behind the listener of the gates; the proxy has nothing of theirs: it is what must be done for a byte
//! that is hashed on its way. Both serve until they are ended.

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::task::{Context, Poll};

use aws_lc_rs::digest::{self, SHA256};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Empty;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::stack::{Process, built, wait_for_file};

/// The first argument: `trust-bench --nothing handler|proxy DIR`.
pub const NOTHING: &str = "--nothing";

/// What answers with a constant.
const HANDLER: &str = "handler";
/// What copies and hashes.
const PROXY: &str = "proxy";

/// A process that does nothing; it ends with this value.
pub(super) struct Nothing {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

impl Nothing {
    /// A handler that answers every request with these bytes and headers; by TLS if `certificate` holds a pair.
    pub(super) fn handler(
        dir: &Path,
        answer: &[u8],
        headers: &[(&str, &str)],
        certificate: Option<&Path>,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("answer"), answer)?;
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        fs::write(dir.join("headers"), lines.concat())?;
        Self::start(HANDLER, dir, certificate)
    }

    /// A proxy in front of this address.
    pub(super) fn proxy(dir: &Path, upstream: SocketAddr, certificate: Option<&Path>) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("upstream"), upstream.to_string())?;
        Self::start(PROXY, dir, certificate)
    }

    /// The command, which serves on a free port, or where the file `listen` in the folder says.
    fn command(kind: &str, dir: &Path, certificate: Option<&Path>) -> io::Result<Command> {
        for name in ["tls.crt", "tls.key"] {
            match certificate {
                Some(from) => drop(fs::copy(from.join(name), dir.join(name))?),
                None => drop(fs::remove_file(dir.join(name))),
            }
        }
        let mut command = Command::new(built("trust-bench"));
        command.env_clear().arg(NOTHING).arg(kind).arg(dir);
        Ok(command)
    }

    fn start(kind: &str, dir: &Path, certificate: Option<&Path>) -> io::Result<Self> {
        let ready = dir.join("ready");
        let _ = fs::remove_file(&ready);
        let mut command = Self::command(kind, dir, certificate)?;
        let mut process = Process::start("trust-bench --nothing", &mut command, &dir.join("log"))?;
        let address = wait_for_file(&mut process, &ready)?;
        Ok(Self { process, address: address.trim().parse().map_err(io::Error::other)? })
    }

    /// The command of a handler whose folder was made by [`Self::handler`].
    pub(super) fn handler_command(dir: &Path, certificate: Option<&Path>) -> io::Result<Command> {
        Self::command(HANDLER, dir, certificate)
    }
}

/// The other side of [`Nothing`].
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> io::Result<ExitCode> {
    let usage = || io::Error::other("usage: --nothing handler|proxy DIR");
    let kind = arguments.next().ok_or_else(usage)?;
    let dir = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let acceptor = match dir.join("tls.crt").exists() {
        true => Some(trust_listen::tls(&dir.join("tls.crt"), &dir.join("tls.key")).map_err(io::Error::other)?),
        false => None,
    };
    // As the gates have it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = fs::read_to_string(dir.join("listen")).unwrap_or_else(|_| "127.0.0.1:0".to_owned());
        let listener = TcpListener::bind(listen.trim()).await?;
        let (new, ready) = (dir.join("ready.new"), dir.join("ready"));
        fs::write(&new, listener.local_addr()?.to_string())?;
        fs::rename(new, ready)?;
        match kind.to_str() {
            Some(HANDLER) => {
                trust_listen::serve(listener, acceptor, handler(&dir)?, std::future::pending()).await;
                Ok(())
            }
            Some(PROXY) => {
                let upstream = fs::read_to_string(dir.join("upstream"))?.parse().map_err(io::Error::other)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        match acceptor {
                            None => proxy(stream, upstream).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    proxy(stream, upstream).await;
                                }
                            }
                        }
                    });
                }
            }
            _ => Err(usage()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The body is read, as every handler must, and a constant is answered.
fn handler(dir: &Path) -> io::Result<Router> {
    let answer = Bytes::from(fs::read(dir.join("answer"))?);
    let mut headers = HeaderMap::new();
    for line in fs::read_to_string(dir.join("headers"))?.lines() {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        headers.insert(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
    }
    Ok(Router::new().fallback(move |_: Bytes| {
        let (headers, answer) = (headers.clone(), answer.clone());
        std::future::ready((headers, answer))
    }))
}

async fn proxy(stream: impl AsyncRead + AsyncWrite + Unpin, upstream: SocketAddr) {
    let service = service_fn(move |request| forward(request, upstream));
    // A client that leaves is no concern of anybody else.
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(request: Request<Incoming>, upstream: SocketAddr) -> io::Result<Response<Hashed>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let (head, _) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let ask = Request::builder().method(head.method).uri(path).header("host", upstream.to_string());
    let ask = ask.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let answer = sender.send_request(ask).await.map_err(io::Error::other)?;
    Ok(answer.map(|body| Hashed { body, hash: digest::Context::new(&SHA256) }))
}

/// A body that is hashed as it comes.
struct Hashed {
    body: Incoming,
    hash: digest::Context,
}

impl Body for Hashed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.hash.update(bytes);
                }
            }
            Poll::Ready(None) => drop(black_box(self.hash.clone().finish())),
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
