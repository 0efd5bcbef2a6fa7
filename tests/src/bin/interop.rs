//! `make interop`: the gates against real counterparts. Its argument is the list that tests/tools/interop.sh wrote; `KEEP=1`
//! leaves the folder with every log.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use trust_tests::interop_real;
use trust_tests::stack::tools_dir;

fn main() -> ExitCode {
    let Some(list) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: trust-interop LIST, as tests/tools/interop.sh writes it (make interop)");
        return ExitCode::from(2);
    };
    let parent = tools_dir().parent().map(|p| p.join("interop")).unwrap_or_default();
    let dir = parent.join(std::process::id().to_string());
    let outcome = std::fs::create_dir_all(&dir).and_then(|()| interop_real::run(&dir, &list));
    let kept = keeps(&dir, matches!(outcome, Ok(true)));
    if kept {
        eprintln!("logs: {}", dir.display());
    }
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the run could not begin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the folder with the logs stays: after a failure, and if somebody wants it.
fn keeps(dir: &Path, well: bool) -> bool {
    let wanted = std::env::var("KEEP").is_ok_and(|v| v == "1");
    !(well && !wanted && std::fs::remove_dir_all(dir).is_ok())
}
