//! `trust-gate audit`: whether the audit log is whole.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use trust_decide::Decider;
use trust_decide::audit::{Broken, Head, Whole, verify};

use crate::cli::Failure;
use crate::config::Config;

/// `trust-gate audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that no line of the log was changed, removed, added or moved.
    ///
    /// Each line has the digest of the one before. A log that lost its end is whole in itself: it is found by a head that was
    /// kept elsewhere, as the state folder of the gate keeps one (`--config`), or you (`--head`; `/readyz?verbose` tells it).
    Verify(Verify),
}

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The files of the log, the oldest first; without them, the log that the configuration names.
    #[arg(value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// A gate's configuration: where its log is, and its state folder with the head that was written last.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A line that must be in it, NUMBER:DIGEST, as the gate told it. May be given several times.
    #[arg(long, value_name = "HEAD", value_parser = head)]
    head: Vec<Head>,
    /// Tell it as JSON.
    #[arg(long)]
    json: bool,
}

fn head(text: &str) -> Result<Head, String> {
    Head::parse(text).ok_or_else(|| "a head is NUMBER:sha256:HEX, as /readyz?verbose tells it in `log`".to_owned())
}

/// Runs a command.
pub(crate) fn run(command: Audit) -> Result<(), Failure> {
    let Audit::Verify(Verify { mut files, config, mut head, json }) = command;
    if let Some(path) = config {
        let config = Config::read(&path)?;
        let kept = Decider::kept_head(&config.state);
        head.push(kept.map_err(|problem| Failure::Local(problem.text().trim_end().to_owned()))?);
        if files.is_empty() {
            files.push(config.log);
        }
    }
    let mut opened = Vec::with_capacity(files.len());
    for path in files {
        let name = path.display().to_string();
        let file = File::open(&path).map_err(|error| Failure::Local(format!("{name}: {error}")))?;
        opened.push((name, BufReader::new(file)));
    }
    let whole = verify(opened, &head).map_err(|broken| match broken {
        Broken::Read { .. } => Failure::Local(broken.to_string()),
        _ => Failure::Found(format!("the log is not whole: {broken}")),
    })?;
    let text = if json { format!("{}\n", whole.json()) } else { told(&whole) };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::local(error)),
        _ => Ok(()),
    }
}

fn told(whole: &Whole) -> String {
    let [allowed, denied, warned, audited] = whole.answers;
    let (from, to) = &whole.times;
    let what = if whole.first > 1 { "this part of the log is whole" } else { "the log is whole" };
    let mut text = format!(
        "{what}: {} lines, {from} to {to}\n  answers  {allowed} allowed, {denied} denied, {warned} warned, \
         {audited} in audit\n  head     {}\n",
        whole.lines, whole.head
    );
    if whole.first > 1 {
        text.push_str(&format!(
            "  begins   with line {}: what was written before is in files that were not given, or is gone\n",
            whole.first
        ));
    }
    if whole.torn > 0 {
        text.push_str(&format!("  torn     {} incomplete lines, each told by the line after it\n", whole.torn));
    }
    if whole.unfinished > 0 {
        text.push_str(&format!("  end      {} bytes of a line that is not whole\n", whole.unfinished));
    }
    text
}
