//! Questions to the engine itself, over its own socket: what it holds under a name.
//!
//! The engine asks this door about these questions, too, and they pass as all that only reads. Invariants: an answer is whole,
//! bounded and in time, or it is none; what is believed of it is what the engine itself hashed. Deliberately absent: changing
//! anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use trust_image::json;

/// How long an answer may take.
const WAIT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Names of one image by digest.
const MAX_DIGESTS: usize = 64;
/// The longest name that is asked for, in bytes.
const MAX_NAME: usize = 1_024;

/// Why the engine gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    /// No connection, or it broke.
    #[error("the engine does not answer on {path}: {why}")]
    Away {
        /// Its socket.
        path: String,
        /// Why.
        why: String,
    },
    /// Too slow.
    #[error("the engine gives no answer within {} s", WAIT.as_secs())]
    Late,
    /// Another status than 200 and 404.
    #[error("the engine answers with status {0}")]
    Status(u16),
    /// Not what engines answer.
    #[error("the engine's answer cannot be used: {0}")]
    Answer(&'static str),
}

/// An image that the engine holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The engine's own name for it.
    pub(super) id: String,
    /// `NAME@DIGEST`, as far as it came from a registry or went there.
    pub(super) digests: Vec<String>,
}

/// Where the engine is.
pub(super) enum Engine {
    Socket(PathBuf),
    #[cfg(test)]
    Fake(std::sync::Arc<super::testing::FakeEngine>),
}

impl Engine {
    pub(super) fn at(path: &Path) -> Self {
        Self::Socket(path.to_owned())
    }

    /// The image that the engine means by this name, ID or part of an ID; `None` if it has none.
    pub(super) async fn image(&self, name: &str) -> Result<Option<Held>, EngineError> {
        let Some(image) = self.ask(&format!("/images/{}/json", fit(name)?)).await? else { return Ok(None) };
        let id = text(&image, "Id")?.to_owned();
        let digests = match member(&image, "RepoDigests")? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(digests)) if digests.len() <= MAX_DIGESTS => {
                let texts = digests.iter().map(|digest| digest.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or(EngineError::Answer("RepoDigests"))?
            }
            Some(_) => return Err(EngineError::Answer("RepoDigests")),
        };
        Ok(Some(Held { id, digests }))
    }

    /// The ID of the image that a container was made of; `None` if there is no such container.
    pub(super) async fn image_of(&self, container: &str) -> Result<Option<String>, EngineError> {
        let Some(container) = self.ask(&format!("/containers/{}/json", fit(container)?)).await? else {
            return Ok(None);
        };
        let id = text(&container, "Image")?;
        let hex = id.strip_prefix("sha256:").unwrap_or_default();
        let is_id = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id { Ok(Some(id.to_owned())) } else { Err(EngineError::Answer("the container's Image is no ID")) }
    }

    async fn ask(&self, path: &str) -> Result<Option<Map<String, Value>>, EngineError> {
        let (status, bytes) = match self {
            Self::Socket(socket) => {
                tokio::time::timeout(WAIT, get(socket, path)).await.map_err(|_| EngineError::Late)??
            }
            #[cfg(test)]
            Self::Fake(engine) => engine.get(path),
        };
        match status {
            StatusCode::OK => match json::parse(&bytes) {
                Ok(Value::Object(answer)) => Ok(Some(answer)),
                _ => Err(EngineError::Answer("no JSON object, or an ambiguous one")),
            },
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(EngineError::Status(other.as_u16())),
        }
    }
}

async fn get(socket: &Path, path: &str) -> Result<(StatusCode, Vec<u8>), EngineError> {
    let away =
        |why: &dyn std::fmt::Display| EngineError::Away { path: socket.display().to_string(), why: why.to_string() };
    let stream = UnixStream::connect(socket).await.map_err(|e| away(&e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| away(&e))?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let request = Request::builder().method(Method::GET).uri(path).header(http::header::HOST, "engine");
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|_| EngineError::Answer("no address"))?;
        let answer = sender.send_request(request).await.map_err(|e| away(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| EngineError::Answer("it is cut off or too large"))?;
        Ok((status, body.to_bytes().to_vec()))
    };
    let answer = answer.await;
    connection.abort();
    answer
}

/// A name as it can stand in a path as it is. No name or ID of an image or container holds another character.
fn fit(name: &str) -> Result<&str, EngineError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    let is_clean = !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_plain) && is_clean;
    if fits { Ok(name) } else { Err(EngineError::Answer("this can be no name")) }
}

fn member<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a Value>, EngineError> {
    json::member(object, name).map_err(|_| EngineError::Answer(name))
}

fn text<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, EngineError> {
    member(object, name)?.and_then(Value::as_str).ok_or(EngineError::Answer(name))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// An engine that answers with these bytes, and then hangs or hangs up.
    fn engine(dir: &Path, answer: Vec<u8>, hangs: bool) -> Engine {
        let path = dir.join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4_096];
            let count = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(head.get(..count).unwrap()).into_owned();
            assert!(head.starts_with("GET /images/app:v1/json HTTP/1.1\r\n"), "{head}");
            let _ = stream.write_all(&answer).await;
            if hangs {
                std::future::pending::<()>().await;
            }
        });
        Engine::at(&path)
    }

    async fn ask(answer: impl Into<Vec<u8>>, hangs: bool) -> Result<Option<Held>, EngineError> {
        let dir = tempfile::tempdir().unwrap();
        engine(dir.path(), answer.into(), hangs).image("app:v1").await
    }

    #[tokio::test]
    async fn a_whole_answer_is_read_also_in_pieces_of_unknown_length() {
        let body = r#"{"Id":"sha256:x","RepoDigests":["r.io/app@sha256:y"],"Size":1}"#;
        let held = Held { id: "sha256:x".to_owned(), digests: vec!["r.io/app@sha256:y".to_owned()] };
        let stated = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(ask(stated, true).await, Ok(Some(held.clone())));
        let pieces =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        assert_eq!(ask(pieces, true).await, Ok(Some(held)));
        let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(ask(none, true).await, Ok(None));
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_too_large_or_none_is_an_error() {
        let begin = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":\"x\",\"RepoDigests\":[]}";
        assert!(ask(begin, false).await.is_err());
        let piece = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n{\"Id\":\"x\",\"RepoDigests\":[]}\r\n";
        assert!(ask(piece, false).await.is_err());
        let large = [b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".to_vec(), vec![b' '; 5_000_000]].concat();
        assert!(ask(large, true).await.is_err());
        assert!(matches!(ask("nonsense\r\n\r\n", false).await, Err(EngineError::Away { .. })));
        let away = Engine::at(Path::new("/nonexistent/engine.sock")).image("app:v1").await;
        assert!(matches!(away, Err(EngineError::Away { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_answer_is_not_waited_for() {
        assert_eq!(ask("HTTP/1.1 200 OK\r\n", true).await, Err(EngineError::Late));
    }
}
