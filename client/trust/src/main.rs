//! The program `trust`. Everything is in the library, so that tests can look at its parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(trust::run(std::env::args_os().collect()))
}
