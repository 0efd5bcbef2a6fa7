//! The command line of the public TUF conformance suite on the shipped reader, for any TUF repository.
//!
//! The metadata folder of the protocol is the reader's own state: what the suite reads there is what `trust` keeps. The
//! root that `init` was given is the only trust, and stays the pinned one.
//!
//! The exit code is 0 or 1 whatever happens, a wrong command line and a panic included; what went wrong stands on stderr.
//! Deliberately absent: anything that the reader does not do for its own collections but for the plain search.

mod args;
mod client;
pub mod scene;

use std::ffi::OsString;
use std::process::ExitCode;

pub use args::{Command, Download, Refresh, parse};
pub use client::{Failed, download, init, refresh, run};

/// The whole program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let outcome = std::panic::catch_unwind(|| match parse(args) {
        Ok(command) => run(&command).map_err(|failed| failed.to_string()),
        Err(wrong) => Err(format!("{wrong}\n{}", args::USAGE)),
    });
    match outcome {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(text)) => eprintln!("{text}"),
        // The hook has said where.
        Err(_) => eprintln!("this is a bug"),
    }
    ExitCode::FAILURE
}
