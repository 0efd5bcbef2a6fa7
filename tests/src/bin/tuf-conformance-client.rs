//! The client that the public TUF conformance suite drives: the shipped reader behind the suite's command line
//! (`trust_tests::conformance`).

use std::process::ExitCode;

use trust_tests::conformance;

fn main() -> ExitCode {
    conformance::main(std::env::args_os().skip(1))
}
