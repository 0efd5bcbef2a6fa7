//! Servers that behave badly on the wire, and a registry that wants a login.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What a broken server does with each connection.
#[derive(Debug, Clone, Copy)]
pub enum Wire {
    /// Closes at once.
    Closes,
    /// Stops in the middle of the header.
    HalfHeader,
    /// Says a length and sends less.
    ShortBody,
    /// Takes the request and never answers.
    Silent,
    /// A byte now and then.
    Drips,
    /// A body without an end.
    Endless,
    /// Something that is not HTTP.
    Garbage,
    /// A compressed body nobody asked for.
    Compressed,
}

/// Starts such a server; its URL. It lives as long as the test's process.
pub fn wire(kind: Wire) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || misbehave(stream, kind));
        }
    });
    url
}

fn misbehave(stream: TcpStream, kind: Wire) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    if matches!(kind, Wire::Closes) {
        return None;
    }
    head(&mut BufReader::new(stream))?;
    let ok = "HTTP/1.1 200 OK\r\n";
    let mut say = |text: &str| writer.write_all(text.as_bytes()).ok();
    match kind {
        Wire::Closes => {}
        Wire::HalfHeader => say("HTTP/1.1 200 OK\r\nContent-Le")?,
        Wire::ShortBody => say(&format!("{ok}content-length: 500\r\n\r\n{{\"signed\":"))?,
        Wire::Garbage => say("220 mail.example.com ready\r\n\r\n")?,
        Wire::Compressed => say(&format!("{ok}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}"))?,
        Wire::Silent => std::thread::sleep(Duration::from_secs(30)),
        Wire::Drips => {
            say(&format!("{ok}content-length: 400\r\n\r\n"))?;
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(300));
                say(" ")?;
            }
        }
        Wire::Endless => {
            say(&format!("{ok}transfer-encoding: chunked\r\n\r\n"))?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
            for _ in 0..10_000 {
                say(&chunk)?;
            }
        }
    }
    Some(())
}

/// How a [`gate`] wants its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// The password with each request.
    Basic,
    /// A token, given for the password.
    Token,
}

/// A registry that wants a login, in front of `upstream`; its `127.0.0.1:PORT`. `basic` is base64 of `USER:PASSWORD`.
pub fn gate(upstream: &str, login: Login, basic: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (upstream, basic, own) = (upstream.to_owned(), format!("Basic {basic}"), address.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (upstream, basic, own) = (upstream.clone(), basic.clone(), own.clone());
            std::thread::spawn(move || admit(stream, &upstream, login, &basic, &own));
        }
    });
    address
}

fn admit(stream: TcpStream, upstream: &str, login: Login, basic: &str, own: &str) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let lines = head(&mut BufReader::new(stream))?;
    let given = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let given = given.unwrap_or_default();
    let mut answer = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        writer.write_all(text.as_bytes()).ok()
    };
    const TOKEN: &str = "a-token-of-the-registry";
    if login == Login::Token && lines.first()?.starts_with("GET /token") {
        return match given == basic {
            true => answer("200", "", &format!("{{\"token\": \"{TOKEN}\"}}")),
            false => answer("401", "", ""),
        };
    }
    let (wanted, challenge) = match login {
        Login::Basic => (basic.to_owned(), "Basic realm=\"team\"".to_owned()),
        Login::Token => (format!("Bearer {TOKEN}"), format!("Bearer realm=\"http://{own}/token\",service=\"team\"")),
    };
    if given != wanted {
        return answer("401", &format!("www-authenticate: {challenge}\r\n"), "");
    }
    let mut through = TcpStream::connect(upstream).ok()?;
    let kept = lines.iter().filter(|line| !line.to_ascii_lowercase().starts_with("authorization"));
    let mut request: String = kept.map(|line| format!("{line}\r\n")).collect();
    request.push_str("connection: close\r\n\r\n");
    through.write_all(request.as_bytes()).ok()?;
    let mut all = Vec::new();
    through.read_to_end(&mut all).ok()?;
    writer.write_all(&all).ok()
}

/// The lines of a request's head.
fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(lines),
            line => lines.push(line.to_owned()),
        }
    }
}
