//! python-tuf, as one process that lives as long as the test: a line of JSON to it for each update, a line back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::readers::{Found, Observed, Oracle, Who};
use crate::interop::{python, script};
use crate::simulator::{NOW, Wire};

/// The process.
pub struct Interpreter {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    clients: u64,
}

impl Interpreter {
    /// Starts it; `None` where python-tuf is not there (`make tools`).
    pub fn start() -> Option<Self> {
        let python = python()?;
        let mut child = Command::new(python)
            .arg(script("judge_repository.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Some(Self { child, input, output, clients: 0 })
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").expect("python listens");
        self.input.flush().expect("python listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("python answers");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("python answered {line:?}: {e}"))
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One client in the process.
pub struct Python {
    process: Arc<Mutex<Interpreter>>,
    wire: Arc<Wire>,
    pinned: Vec<u8>,
    number: u64,
}

impl Python {
    /// A client that has never updated.
    pub fn new(process: &Arc<Mutex<Interpreter>>, pinned: &[u8], wire: &Arc<Wire>) -> Self {
        let mut inside = process.lock().expect("nobody panics inside");
        inside.clients += 1;
        Self { process: Arc::clone(process), wire: Arc::clone(wire), pinned: pinned.to_vec(), number: inside.clients }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        if let Ok(mut process) = self.process.lock() {
            process.ask(&json!({"end": self.number}));
        }
    }
}

impl Oracle for Python {
    fn who(&self) -> Who {
        Who::Python
    }

    fn observe(&mut self, paths: &[String]) -> Observed {
        let answers = |name: &String| match self.wire.fetch(name, u64::MAX) {
            Ok(bytes) => json!(hex::encode(bytes)),
            Err(crate::simulator::WireError::Status(status)) => json!(status),
            Err(crate::simulator::WireError::NotFound) => json!(404),
            Err(_) => json!(0),
        };
        let names = self.wire.names();
        let files: BTreeMap<&String, Value> = names.iter().map(|name| (name, answers(name))).collect();
        let question = json!({
            "client": self.number, "root": hex::encode(&self.pinned), "now": NOW, "files": files, "paths": paths,
        });
        let answer = self.process.lock().expect("nobody panics inside").ask(&question);
        let kept = ["root", "timestamp", "snapshot", "targets"].map(|r| answer["kept"][r].as_u64().unwrap_or(0));
        if let Some(error) = answer["error"].as_str() {
            return Observed { refresh: Err(error.to_owned()), kept: Some(kept), found: Vec::new() };
        }
        let found = answer["found"].as_array().into_iter().flatten().map(|found| {
            if found.is_null() {
                return Found::Nothing;
            }
            if let Some(error) = found["error"].as_str() {
                return Found::Failed(error.to_owned());
            }
            let hashes = found["hashes"].as_object().into_iter().flatten();
            let hashes = hashes.filter(|(name, _)| *name == "sha256" || *name == "sha512");
            let text = |hash: &Value| hash.as_str().unwrap_or("").to_lowercase();
            Found::Target {
                length: found["length"].as_u64().unwrap_or(0),
                hashes: hashes.map(|(name, hash)| (name.clone(), text(hash))).collect(),
            }
        });
        Observed { refresh: Ok(()), kept: Some(kept), found: found.collect() }
    }
}
