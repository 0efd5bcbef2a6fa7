//! One question to the gate: a POST over its Unix socket, and an answer that says which digest it is about.
//!
//! Invariant: it is a yes only if status and first line both say so, the line names the digest that was asked about, and the answer
//! came whole. Deliberately absent: everything of HTTP that the gate's answer does not need.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::args::Question;
use crate::{Verdict, sentence};

/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 16 * 1024;

/// Asks. An error is no answer.
pub(crate) fn ask(socket: &Path, question: &Question, wait: Duration) -> io::Result<Verdict> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let body = format!("{}\n{}\n", question.name, question.digest);
    let request = format!(
        "POST /containerd/verify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).map_err(|_| invalid("it is not text"))?;
    read(&answer, question).ok_or_else(|| invalid("its answer is cut off, or not one of a gate"))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn read(answer: &str, question: &Question) -> Option<Verdict> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut head = head.split("\r\n");
    let status = head.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let length = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    };
    // An answer without a stated length could be cut off.
    if head.find_map(length)? != body.len() {
        return None;
    }
    let (verdict, reason) = body.split_once('\n')?;
    let is_allowed = match (status, verdict.strip_prefix("allow ")) {
        ("200", Some(digest)) if digest == question.digest => true,
        ("403", None) if verdict == "deny" => false,
        _ => return None,
    };
    Some(Verdict { is_allowed, reason: sentence(reason.trim_end()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { name: "registry.example.com/app:v1".to_owned(), digest: format!("sha256:{}", "a".repeat(64)) }
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn only_a_whole_yes_for_this_digest_is_a_yes() {
        let digest = question().digest;
        let yes = http("200 OK", &format!("allow {digest}\nsigned by targets\n"));
        let wanted = Verdict { is_allowed: true, reason: "signed by targets".to_owned() };
        assert_eq!(read(&yes, &question()), Some(wanted));
        for end in 0..yes.len() {
            assert_eq!(read(yes.get(..end).unwrap(), &question()), None, "{end}");
        }
        let other = format!("sha256:{}", "b".repeat(64));
        for text in [
            http("200 OK", &format!("allow {other}\n\n")),
            http("200 OK", "allow \n\n"),
            http("200 OK", "deny\nno\n"),
            http("200 OK", "ok\n"),
            http("403 Forbidden", &format!("allow {digest}\n\n")),
            http("500 Internal Server Error", &format!("allow {digest}\n\n")),
            format!("HTTP/1.1 200 OK\r\n\r\nallow {digest}\n\n"),
            format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nallow {digest}\n\n"),
            format!("allow {digest}\n\n"),
            String::new(),
        ] {
            assert_eq!(read(&text, &question()), None, "{text}");
        }
    }

    #[test]
    fn a_no_keeps_its_reason_on_one_short_line() {
        let verdict = read(&http("403 Forbidden", "deny\nnot signed (E1001)\u{1b}[31m\n"), &question()).unwrap();
        assert_eq!(verdict, Verdict { is_allowed: false, reason: "not signed (E1001) [31m".to_owned() });
        let long = read(&http("403 Forbidden", &format!("deny\n{}\n", "é".repeat(5_000))), &question()).unwrap();
        assert!(!long.is_allowed && long.reason.len() < 3_000);
    }
}
