//! What containerd's image verifier does: read its arguments, ask the gate on this machine, and tell the answer.
//!
//! containerd takes exit code 0 for yes and everything else for no. Invariants: yes only if the gate says so, in time, for exactly
//! the digest that was asked about; standard input is never read; what is printed is one short line. Deliberately absent:
//! verifying anything, and any other way to say yes.

mod args;
mod ask;
mod place;

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long it may take as a whole. containerd's own patience (`per_verifier_timeout`) is longer.
pub const DEADLINE: Duration = Duration::from_millis(2_500);
/// The longest sentence that is told, in bytes.
const MAX_SENTENCE: usize = 2_048;

/// What containerd is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the image may come in.
    pub is_allowed: bool,
    /// One line for people.
    pub reason: String,
}

impl Verdict {
    fn deny(reason: impl Into<String>) -> Self {
        Self { is_allowed: false, reason: sentence(&reason.into()) }
    }
}

/// Answers the question in these arguments, in time. `program` is the file that runs: its configuration may lie near it.
pub fn answer(arguments: Vec<std::ffi::OsString>, program: Option<&Path>) -> Verdict {
    let question = match args::parse(arguments) {
        Ok(question) => question,
        Err(why) => return Verdict::deny(why),
    };
    let socket = match place::socket(program) {
        Ok(socket) => socket,
        Err(why) => return Verdict::deny(why),
    };
    // A connection to a socket whose queue is full has no time-out of its own.
    let (tell, told) = channel();
    let shown = socket.display().to_string();
    let asking = std::thread::Builder::new().spawn(move || drop(tell.send(ask::ask(&socket, &question, DEADLINE))));
    if asking.is_err() {
        return Verdict::deny("this machine gives no thread to ask with");
    }
    match told.recv_timeout(DEADLINE) {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(why)) => Verdict::deny(format!("the gate of this machine ({shown}) cannot be asked: {why}")),
        Err(_) => Verdict::deny(format!("the gate of this machine ({shown}) gives no answer within {DEADLINE:?}")),
    }
}

/// One printable line of bounded length.
fn sentence(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_SENTENCE));
    for c in text.chars() {
        if line.len() >= MAX_SENTENCE {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}
