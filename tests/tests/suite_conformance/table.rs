//! The page of the documents that says which function of the suite is which test of ours.

use std::path::Path;

/// The suite, 2.4.0.
const FUNCTIONS: usize = 56;
const CASES: u32 = 113;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_on_conformance_names_a_test_that_exists_for_every_function_of_the_suite() {
    let page = read("../docs/conformance.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `test_"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let functions: std::collections::BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!((rows.len(), functions.len()), (FUNCTIONS, FUNCTIONS));
    assert_eq!(rows.iter().map(|row| row[1].parse::<u32>().unwrap()).sum::<u32>(), CASES);
    for row in rows {
        for name in row[2].split('`').skip(1).step_by(2) {
            // `FILE::TEST`, or `suite::MODULE::TEST` for this binary; without TEST several of the file.
            let name = name.replacen("suite::", "suite_conformance/", 1);
            let (file, test) = name.split_once("::").unwrap_or((&name, ""));
            exists(&format!("tests/{file}.rs"), test);
        }
    }
}

#[track_caller]
fn exists(file: &str, test: &str) {
    let text = read(file);
    assert!(test.is_empty() || text.contains(&format!("fn {test}(")), "{file} has no test {test}");
}
