//! The fuzz targets on stable: every input of `tests/corpus`, and small changes of them.
//!
//! An input that breaks a target is printed; it belongs into `tests/corpus/NAME/` before it is mended. Files that end in
//! `.hex` are bytes in hex.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trust_tests::fuzz::mutate::mutated;
use trust_tests::fuzz::{TARGETS, Target};
use trust_tests::property::dice::Dice;

/// Nothing takes as long: a generous bound that says that it ends.
const ENDS: Duration = Duration::from_secs(60);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn corpus(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let folder = folder(target.name);
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).unwrap();
        let bytes = if name.ends_with(".hex") {
            let digits: Vec<u8> = bytes.into_iter().filter(|b| !b.is_ascii_whitespace()).collect();
            hex::decode(digits).unwrap_or_else(|e| panic!("{name}: {e}"))
        } else {
            bytes
        };
        (name, bytes)
    };
    names(&folder).into_iter().map(read).collect()
}

fn run(target: &Target, from: &str, input: &[u8]) {
    let began = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        println!("{} broken by {from}:\n{}\nas hex: {}", target.name, input.escape_ascii(), hex::encode(input));
        resume_unwind(panic);
    }
    assert!(began.elapsed() < ENDS, "{}: {from} takes {:?}", target.name, began.elapsed());
}

fn changed(target: &Target, seed: u64, cases: usize) {
    let inputs: Vec<Vec<u8>> = corpus(target).into_values().collect();
    let mut dice = Dice::new(seed);
    for case in 0..cases {
        let input = mutated(&inputs, &mut dice);
        run(target, &format!("change {case} of seed {seed}"), &input);
    }
}

#[test]
fn every_target_has_inputs_and_a_program_and_every_input_a_target() {
    let targets: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
    for name in names(&folder(".")) {
        assert!(name == "seeds" || targets.contains(&name.as_str()), "tests/corpus/{name} has no target");
    }
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(programs.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        assert!(!corpus(target).is_empty(), "{} has no inputs", target.name);
        let program = std::fs::read_to_string(programs.join(format!("fuzz_targets/{}.rs", target.name)));
        let program = program.unwrap_or_else(|e| panic!("{}: {e}", target.name));
        assert!(program.contains(&format!("trust_tests::fuzz::{}(data)", target.name)), "{}", target.name);
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{} is no program of fuzz/", target.name);
    }
    assert_eq!(names(&programs.join("fuzz_targets")).len(), TARGETS.len(), "a program without a target");
}

#[test]
fn kept_inputs_break_no_target() {
    for target in TARGETS {
        for (name, input) in corpus(target) {
            run(target, &name, &input);
        }
    }
}

#[test]
fn changed_inputs_break_no_target() {
    for target in TARGETS {
        changed(target, 1, target.cases);
    }
}

#[test]
fn soak_of_changed_inputs() {
    let size: usize = std::env::var("SOAK").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut total = 0;
    for target in TARGETS {
        // As many as the costs allow: the cheapest get `SOAK` and more, the whole update a hundredth.
        let cases = (size * target.cases).div_ceil(3_000);
        changed(target, 0x50ac, cases);
        total += cases;
    }
    println!("{total} changed inputs for {} targets", TARGETS.len());
}
