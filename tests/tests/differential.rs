//! Ours against sigstore-tuf, tough and python-tuf on repositories made by a seed: see `docs/disagreements.md`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use trust_tests::differential::kinds::KINDS;
use trust_tests::differential::python::Interpreter;
use trust_tests::differential::{Case, Report, run};

/// Judges the cases of these seeds on two threads. Every eighth is judged by the shipped reader as well, and the first of
/// them by python-tuf, as many as it says.
fn judge(seeds: std::ops::Range<u64>, python: u64) -> Report {
    let process = Interpreter::start().map(|p| Arc::new(Mutex::new(p)));
    if process.is_none() {
        println!("SKIPPED: python-tuf: target/tools/venv is missing (make tools)");
    }
    let start = seeds.start;
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let (seeds, process) = (seeds.clone(), process.clone());
                scope.spawn(move || {
                    let mut report = Report::default();
                    for seed in seeds.filter(|seed| seed % 2 == thread) {
                        let python = process.clone().filter(|_| seed - start < python);
                        report.add(run(&Case { seed, reader: seed % 8 == 0, python }));
                    }
                    report
                })
            })
            .collect();
        for thread in threads {
            report.add(thread.join().expect("no reader panics"));
        }
    });
    report
}

fn say(report: &Report) {
    println!("{} cases, ours accepted {} updates and refused {}", report.cases, report.verdicts[0], report.verdicts[1]);
    for (who, n) in &report.compared {
        println!("  {n} updates of {who} compared");
    }
    for (kind, n) in &report.kinds {
        println!("  {n} of {kind}");
    }
    for one in report.unexplained.iter().take(20) {
        println!("UNEXPLAINED seed {}: {}", one.seed, one.text);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn every_disagreement_with_another_reader_is_of_an_explained_kind() {
    let start = number("SEED", 0);
    let report = judge(start..start + number("CASES", 1_000), number("PYTHON_CASES", 100));
    say(&report);
    assert!(report.unexplained.is_empty(), "{} of no explained kind", report.unexplained.len());
    // Both sides of each question were asked.
    assert!(report.cases < 100 || report.verdicts.iter().all(|n| *n > report.cases / 4), "{:?}", report.verdicts);
}

/// Other seeds than those above: as many as SOAK says.
#[test]
fn soak_disagreements_with_other_readers_are_of_explained_kinds() {
    let cases = number("SOAK", 20);
    let report = judge(10_000_000..10_000_000 + cases, cases.min(300));
    say(&report);
    assert!(report.unexplained.is_empty(), "{} of no explained kind", report.unexplained.len());
}

#[test]
fn kinds_of_disagreement_in_the_code_and_in_the_document_are_the_same() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/disagreements.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(id, _)| id);
    let documented: Vec<&str> = rows.collect();
    let distinct: BTreeSet<&str> = documented.iter().copied().collect();
    assert_eq!(documented.len(), distinct.len(), "a kind stands twice");
    assert_eq!(distinct, KINDS.iter().map(|kind| kind.id).collect());
}
