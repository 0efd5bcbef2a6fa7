//! A wire as a server: as the reader's transport, for programs that are driven in one process; over HTTP, for all others.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use tokio::sync::Semaphore;
use trust_reader::transport::{FetchError, Transport};

use super::{Wire, WireError};

/// A wire as the server of one collection.
pub struct Served {
    /// What is served.
    pub wire: Arc<Wire>,
    /// `tuf/COLLECTION/`: what every path begins with.
    pub folder: String,
    /// Every request takes one while it runs: who takes all lets the server hang.
    pub permits: Arc<Semaphore>,
}

/// Requests at one time.
pub const PERMITS: u32 = 64;

impl Transport for Served {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        let _permit = self.permits.acquire().await.expect("never closed");
        let file = path.strip_prefix(&self.folder).unwrap_or_else(|| panic!("{path} is not below {}", self.folder));
        let file = match file.strip_prefix("_metadata/") {
            Some(file) => file.to_owned(),
            None => file.replacen("_targets/", "targets/", 1),
        };
        self.wire.fetch(&file, limit).map(Into::into).map_err(|error| match error {
            WireError::NotFound => FetchError::NotFound,
            WireError::Status(status) => FetchError::Status(status),
            WireError::Reset => FetchError::Unreachable("connection refused"),
            WireError::TooLarge => FetchError::TooLarge { limit },
        })
    }

    fn describe(&self) -> String {
        "https://trust.example.com".to_owned()
    }
}

/// Serves a wire as HTTP/1.0 on loopback until the process ends, one connection after the other. `name` turns the path of a
/// request into a file of the wire; `None` is a 404 that nobody asked the wire for.
pub fn over_http(wire: &Arc<Wire>, name: fn(&str) -> Option<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let wire = Arc::clone(wire);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who hangs up early is no concern of the others.
            let _ = answer(&stream, |path| name(path).map(|file| wire.fetch(&file, u64::MAX)));
        }
    });
    address
}

fn answer(mut stream: &TcpStream, file: impl Fn(&str) -> Option<Result<Vec<u8>, WireError>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let (status, body) = match file(&path) {
        Some(Ok(bytes)) => (200, bytes),
        Some(Err(WireError::Status(status))) => (status, Vec::new()),
        Some(Err(WireError::Reset | WireError::TooLarge)) => return Ok(()),
        Some(Err(WireError::NotFound)) | None => (404, Vec::new()),
    };
    let head = format!("HTTP/1.0 {status} -\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat())
}
