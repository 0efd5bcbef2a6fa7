//! docs/attacks.md names every advisory, and only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the page must speak of.
const ADVISORIES: &[&str] = &[
    "CVE-2025-2885",
    "CVE-2025-2886",
    "CVE-2025-2887",
    "CVE-2025-2888",
    "GHSA-j8x2-777p-23fc",
    "CVE-2026-6966",
    "CVE-2026-6967",
    "CVE-2026-6968",
    "CVE-2021-41149",
    "CVE-2021-41150",
    "CVE-2020-15093",
    "CVE-2026-23991",
    "CVE-2026-23992",
    "CVE-2026-24686",
    "CVE-2024-47534",
    "CVE-2022-29173",
    "go-tuf PR 652",
    "TOB-SIGSTORE-14",
    "CVE-2020-15163",
    "GMS-2022-4197",
    "CVE-2020-6174",
    "CVE-2020-6173",
    "CVE-2021-41131",
    "GHSA-77hh-43cm-v8j6",
    "TUF-CR-22-01",
    "php-tuf",
    "Rugged",
    "CVE-2015-9258",
    "CVE-2015-9259",
    "Uptane issues 36, 268",
    "sigstore-java PR 1061",
    "sigstore-ruby PR 89",
    "Sigstore root v11",
    "tough 950, 952",
];

/// The attacks of the specification.
const ATTACKS: &[&str] = &[
    "arbitrary installation",
    "endless data",
    "slow retrieval",
    "extraneous dependencies",
    "fast-forward",
    "indefinite freeze",
    "malicious mirrors",
    "mix and match",
    "rollback",
    "key compromise",
    "wrong software",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap_or_default());
        if entry.file_type().unwrap().is_dir() {
            // What was built; a module may have that name too.
            let built = path.join("CACHEDIR.TAG").exists();
            if !built && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The names of all functions that are tests: by attribute, or inside the macro of attacks.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&workspace(), &mut files);
    assert!(files.len() > 100);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            let code = line.strip_prefix("async ").unwrap_or(line);
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(rest) = code.strip_prefix("fn ") {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                if is_test || rest.ends_with("(w) {") {
                    names.insert(name.to_owned());
                }
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn the_page_on_attacks_names_every_attack_and_advisory_and_only_tests_that_exist() {
    let page = fs::read_to_string(workspace().join("docs/attacks.md")).unwrap();
    for id in ADVISORIES {
        assert!(page.contains(&format!("| {id}")) || page.contains(&format!(" {id}")), "{id} is not there");
    }
    for attack in ATTACKS {
        assert!(page.contains(&format!("| **{attack}**")), "{attack} is not there");
    }
    let tests = tests();
    let quoted = page.split('`').skip(1).step_by(2);
    let named: BTreeSet<&str> = quoted
        .filter(|word| {
            let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            plain && word.matches('_').count() > 2
        })
        .collect();
    assert!(named.len() > 100, "{}", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    // Every row that says what proves it names a test.
    for row in page.lines().filter(|line| line.starts_with("| CVE-") || line.starts_with("| GHSA-")) {
        assert!(named.iter().any(|name| row.contains(*name)) || row.contains("as above"), "{row}");
    }
    // And what carries the id of an advisory is spoken of.
    let prefixes = [
        "cve_",
        "ghsa_",
        "gms_",
        "tob_",
        "tuf_cr_",
        "uptane_",
        "go_tuf_pr_",
        "sigstore_root_",
        "sigstore_java_",
        "tough_",
    ];
    for test in tests.iter().filter(|test| prefixes.iter().any(|p| test.starts_with(p))) {
        assert!(named.contains(test.as_str()), "{test} is not on the page");
    }
}
