//! That none of the ways around a gate is forgotten: each has a test that begins with its number.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The numbers with which the name of a test begins: `g08_g09_…` has two.
fn numbers(name: &str) -> Vec<u32> {
    let words = name.split('_').map_while(|word| word.strip_prefix('g').filter(|digits| digits.len() == 2));
    words.map_while(|digits| digits.parse().ok()).collect()
}

/// The functions of a file that are tests.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let functions = lines.windows(2).filter(move |pair| is_test(pair[0])).map(|pair| pair[1]).collect::<Vec<_>>();
    functions.into_iter().filter_map(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
        line.split('(').next()
    })
}

#[test]
fn each_of_the_forty_ways_around_a_gate_has_a_test_by_its_number() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in [here.join("src/registry"), here.join("../../tests/tests")] {
        for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is_ours = file.extension().is_some_and(|end| end == "rs")
                && (file.parent().unwrap().ends_with("registry")
                    || file.file_name().unwrap().to_string_lossy().starts_with("gate_registry"));
            if is_ours {
                found.extend(tests(&fs::read_to_string(&file).unwrap()).flat_map(numbers));
            }
        }
    }
    let missing: Vec<u32> = (1..=40).filter(|number| !found.contains(number)).collect();
    assert_eq!(missing, [0_u32; 0]);
    assert_eq!(numbers("g08_g09_other_bytes"), [8, 9]);
    assert_eq!(numbers("the_g01_test"), [0_u32; 0]);
}
