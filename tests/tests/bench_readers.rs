//! The benchmark of readers works: tiny repositories, every contestant, no figure judged.

use std::path::PathBuf;

use trust_tests::bench::readers::worker::Programs;
use trust_tests::bench::readers::{Sizes, report};
use trust_tests::interop::python;

#[test]
fn every_reader_finds_its_target_and_every_goal_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs { bench: PathBuf::from(env!("CARGO_BIN_EXE_trust-bench")), python: python() };
    let has_python = programs.python.is_some();
    if !has_python {
        println!("SKIPPED: python-tuf: target/tools/venv is missing (make tools)");
    }
    let report = report(folder.path(), &programs, Sizes::TINY).unwrap();
    let rows: Vec<String> = report.rows.iter().map(ToString::to_string).collect();
    // At ten moments, and in three other ways where everything is known.
    let python_rows = if has_python { 10 + 4 * 3 } else { 0 };
    assert_eq!(rows.len(), 7 + python_rows, "{rows:#?}");
    assert!(report.rows.iter().all(|row| row.goal.is_some() && row.wall.as_nanos() > 0), "{rows:#?}");

    // Of the repository with bins, which two of them cannot read, and of no other.
    let refused: Vec<&String> = report.notes.iter().filter(|line| line.starts_with("Cannot read")).collect();
    assert!(refused.iter().all(|line| line.contains("bins: ")), "{refused:#?}");
    for reader in ["sigstore-tuf", "tough"] {
        assert!(refused.iter().any(|line| line.contains(&format!("bins: {reader}"))), "{reader}: {refused:#?}");
    }
    let versions = report.notes.last().unwrap();
    assert!(versions.contains("sigstore-tuf 0.") && versions.contains("tough 0."), "{versions}");
}
