//! `make bench`: figures beside their floors, as the table of docs/performance.md. Figures only, never a verdict.
//!
//! usage: trust-bench [chain|readers|commands|publication|policy|decisions|admission|cold|registry|blobs]…     default: all

use std::io;
use std::process::ExitCode;

use trust_tests::bench::readers::worker::{Programs, READER};
use trust_tests::bench::readers::{self, Sizes};
use trust_tests::bench::{
    admission, blobs, chain, cold, commands, decisions, nothing, policy, process, publication, registry_gate, report,
    rig,
};

/// What can be measured, in its order.
const PARTS: [&str; 10] =
    ["chain", "readers", "commands", "publication", "policy", "decisions", "admission", "cold", "registry", "blobs"];

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|a| a == process::ONCE) {
        return process::once(arguments.skip(1));
    }
    if arguments.peek().is_some_and(|a| a == nothing::NOTHING) {
        return nothing::serve(arguments.skip(1));
    }
    if arguments.peek().is_some_and(|a| a == READER) {
        return readers::worker::serve(arguments.skip(1));
    }
    if arguments.peek().is_some_and(|a| a == process::RANDOM) {
        aws_lc_rs::rand::fill(&mut [0; 32]).map_err(io::Error::other)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);

    println!("{}\n\n{}", report::machine(), report::HEAD);
    let dir = tempfile::tempdir_in(trust_tests::stack::target_dir())?;
    let mut notes = Vec::new();
    let mut measured = |name: &str| match name {
        "admission" => admission::rows(&dir.path().join(name), rig::Sizes::FULL),
        "blobs" => blobs::rows(&dir.path().join(name), rig::Sizes::FULL),
        "cold" => cold::rows(&dir.path().join(name), rig::Sizes::FULL),
        "chain" => Ok(chain::rows()),
        "commands" => commands::rows(&dir.path().join(name)),
        "decisions" => decisions::rows(&dir.path().join(name)),
        "policy" => Ok(policy::rows()),
        "readers" => {
            let programs = Programs { bench: std::env::current_exe()?, python: trust_tests::interop::python() };
            let report = readers::report(&dir.path().join(name), &programs, Sizes::FULL)?;
            notes = report.notes;
            Ok(report.rows)
        }
        "registry" => registry_gate::rows(&dir.path().join(name), rig::Sizes::FULL),
        _ => publication::rows(&dir.path().join(name)),
    };
    let (mut left_out, mut loads) = (Vec::new(), Vec::new());
    for name in PARTS.into_iter().filter(|name| is_wanted(name)) {
        loads.push(format!("{name} {}", report::load()));
        match measured(name) {
            Ok(rows) => rows.iter().for_each(|row| println!("{row}")),
            Err(error) => left_out.push(format!("left out: {name}: {error}")),
        }
    }
    println!("\nLoad before each part: {}.", loads.join(", "));
    notes.iter().for_each(|line| println!("{line}"));
    left_out.iter().for_each(|line| println!("\n{line}"));
    Ok(if left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
