//! A hostile middle man on loopback: passes requests on, records them, and answers some of them itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An answer that the proxy gives itself.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// 200 with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }

    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With one header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Answers of the past, by `METHOD PATH`.
pub type Recording = BTreeMap<String, Vec<u8>>;

/// What runs before a request is passed on, with its body.
type Hook = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    hooks: Mutex<BTreeMap<String, Hook>>,
    recorded: Mutex<Recording>,
    requests: Mutex<Vec<String>>,
    replayed: Mutex<Option<Recording>>,
    stop: AtomicBool,
}

/// The proxy; it ends when it is dropped.
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// In front of `127.0.0.1:PORT`.
    pub fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared::default());
        let (inner, upstream) = (Arc::clone(&shared), upstream.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (inner, upstream) = (Arc::clone(&inner), upstream.clone());
                std::thread::spawn(move || {
                    let _ = serve(stream, &upstream, &inner);
                });
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Its `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests whose `METHOD PATH` ends like this by itself.
    pub fn answer(&self, ends_with: &str, answer: Answer) {
        self.shared.answers.lock().unwrap().insert(ends_with.to_owned(), answer);
    }

    /// Holds the next request whose `METHOD PATH` ends like this until `work` is done, which may also change its body.
    pub fn before(&self, ends_with: &str, work: impl FnOnce(&mut Vec<u8>) + Send + 'static) {
        self.shared.hooks.lock().unwrap().insert(ends_with.to_owned(), Box::new(work));
    }

    /// Passes everything on again.
    pub fn honest(&self) {
        self.shared.answers.lock().unwrap().clear();
        *self.shared.replayed.lock().unwrap() = None;
    }

    /// What it saw so far: a world that was valid once.
    pub fn recording(&self) -> Recording {
        self.shared.recorded.lock().unwrap().clone()
    }

    /// From now on answers with what it saw then. What it had not seen is 404.
    pub fn replay(&self, recording: Recording) {
        *self.shared.replayed.lock().unwrap() = Some(recording);
    }

    /// The requests so far (`METHOD PATH`), and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The head of an HTTP message: its first line and its headers, names in lower case.
type Head = (String, Vec<(String, String)>);

fn head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Some((first.trim_end().to_owned(), headers))),
        }
    }
}

fn length(headers: &[(String, String)]) -> Option<usize> {
    headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok())
}

fn serve(stream: TcpStream, upstream: &str, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some((line, mut headers)) = head(&mut reader)? {
        let mut body = vec![0; length(&headers).unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let key = line.rsplit_once(' ').map_or(line.as_str(), |(key, _)| key).to_owned();
        shared.requests.lock().unwrap().push(key.clone());
        let hook = {
            let mut hooks = shared.hooks.lock().unwrap();
            let end = hooks.keys().find(|end| key.ends_with(end.as_str())).cloned();
            end.and_then(|end| hooks.remove(&end))
        };
        if let Some(work) = hook {
            work(&mut body);
            let stated = headers.iter_mut().filter(|(name, _)| name == "content-length");
            stated.for_each(|(_, value)| *value = body.len().to_string());
        }
        let own =
            shared.answers.lock().unwrap().iter().find(|(end, _)| key.ends_with(end.as_str())).map(|(_, a)| a.clone());
        let replayed = shared.replayed.lock().unwrap().as_ref().map(|old| old.get(&key).cloned());
        let is_head = key.starts_with("HEAD");
        if let Some(answer) = own {
            write_answer(&mut writer, &answer, is_head)?;
        } else if let Some(old) = replayed {
            match old {
                Some(bytes) => writer.write_all(&bytes)?,
                None => write_answer(&mut writer, &Answer::status(404), is_head)?,
            }
        } else {
            let bytes = forward(upstream, &line, &headers, &body, is_head)?;
            shared.recorded.lock().unwrap().insert(key, bytes.clone());
            writer.write_all(&bytes)?;
        }
        writer.flush()?;
    }
    Ok(())
}

/// One GET; the body of a 200.
pub fn get(address: &str, path: &str) -> io::Result<Vec<u8>> {
    let host = [("host".to_owned(), address.to_owned())];
    let answer = forward(address, &format!("GET {path} HTTP/1.1"), &host, &[], false)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(format!("GET {path}: {}", String::from_utf8_lossy(&answer[..end]))));
    }
    Ok(answer[end + 4..].to_vec())
}

fn write_answer(writer: &mut impl Write, answer: &Answer, is_head: bool) -> io::Result<()> {
    write!(writer, "HTTP/1.1 {} X\r\n", answer.status)?;
    for (name, value) in &answer.headers {
        write!(writer, "{name}: {value}\r\n")?;
    }
    write!(writer, "content-length: {}\r\n\r\n", answer.body.len())?;
    if is_head { Ok(()) } else { writer.write_all(&answer.body) }
}

/// Passes a request on and reads the whole answer, which is given back with a `Content-Length`.
fn forward(
    upstream: &str,
    line: &str,
    headers: &[(String, String)],
    body: &[u8],
    is_head: bool,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut request = format!("{line}\r\n");
    for (name, value) in headers.iter().filter(|(n, _)| n != "connection" && n != "if-none-match") {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let Some((status, headers)) = head(&mut reader)? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v.contains("chunked"));
    let mut content = Vec::new();
    if is_head {
        // No body follows.
    } else if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk)?;
            let mut end = String::new();
            reader.read_line(&mut end)?;
            if size == 0 {
                break;
            }
            content.extend(chunk);
        }
    } else {
        match length(&headers) {
            Some(n) => {
                content.resize(n, 0);
                reader.read_exact(&mut content)?;
            }
            None => {
                reader.read_to_end(&mut content)?;
            }
        }
    }
    let mut out = format!("{status}\r\n").into_bytes();
    for (name, value) in &headers {
        if !matches!(name.as_str(), "connection" | "transfer-encoding" | "content-length") {
            out.extend(format!("{name}: {value}\r\n").bytes());
        }
    }
    let stated = if is_head { length(&headers).unwrap_or(0) } else { content.len() };
    out.extend(format!("content-length: {stated}\r\n\r\n").bytes());
    out.extend(content);
    Ok(out)
}
