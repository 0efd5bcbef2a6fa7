//! The house rules that the compiler does not keep: which of our crates may use which, where the HTTP client, SQL and
//! private-key code may be linked, and how manifests are written. What may be linked at all is judged by `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Who may use whom at most, as normal dependencies among our crates. The tests may use everything and are used by nobody.
const TABLE: &[(&str, &[&str])] = &[
    ("trust-tuf", &[]),
    ("trust-image", &[]),
    ("trust-keys", &["trust-tuf"]),
    ("trust-wire", &["trust-tuf", "trust-image"]),
    ("trust-server", &["trust-listen", "trust-tuf", "trust-image", "trust-wire"]),
    ("trust-signer", &["trust-tuf", "trust-keys", "trust-wire"]),
    ("trust-reader", &["trust-tuf", "trust-image", "trust-wire"]),
    ("trust-policy", &["trust-image"]),
    // What listens, the same for all programs that do.
    ("trust-listen", &[]),
    // The command also names the types that reader and keys take and give.
    ("trust", &["trust-reader", "trust-keys", "trust-policy", "trust-tuf", "trust-image", "trust-wire"]),
    ("trust-decide", &["trust-reader", "trust-policy", "trust-tuf", "trust-image"]),
    // containerd starts it for each pull, as root: nothing but the standard library.
    ("trust-containerd-verifier", &[]),
    // The doors name the types that decide, reader and policy take and give.
    ("trust-gate", &["trust-decide", "trust-listen", "trust-reader", "trust-policy", "trust-tuf", "trust-image"]),
];
const TESTS: &str = "trust-tests";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The graph of this platform, from what is already on disk: no registry is asked.
fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--offline".to_owned(), "--filter-platform".to_owned(), platform])
        .exec()
        .expect("cargo metadata")
}

fn name<'a>(metadata: &'a Metadata, id: &PackageId) -> &'a str {
    metadata[id].name.as_str()
}

/// The crates that `id` uses directly, with a dependency of kind `kind`.
fn direct<'a>(metadata: &'a Metadata, id: &PackageId, kind: DependencyKind) -> Vec<&'a PackageId> {
    let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
    let node = nodes.iter().find(|node| node.id == *id).expect("a node for each package");
    node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|k| k.kind == kind)).map(|dep| &dep.pkg).collect()
}

/// Names of all crates that are linked into the member `start` as it is built alone: its closure over normal
/// dependencies, with `start`. Asked of `cargo tree`, because the graph of `cargo metadata` also holds edges that no
/// feature switches on.
fn closure(start: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--quiet",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            start,
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names in UTF-8");
    let names: BTreeSet<String> = tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(start), "cargo tree is not read as it is written: {tree}");
    names
}

/// The members whose closure holds `crate_name`.
fn linked_into(crate_name: &str) -> BTreeSet<String> {
    static CLOSURES: OnceLock<BTreeMap<String, BTreeSet<String>>> = OnceLock::new();
    let closures = CLOSURES.get_or_init(|| {
        let metadata = metadata();
        metadata.workspace_packages().iter().map(|p| (p.name.to_string(), closure(&p.name))).collect()
    });
    closures.iter().filter(|(_, linked)| linked.contains(crate_name)).map(|(member, _)| member.clone()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_verifier_of_containerd_links_the_standard_library_alone() {
    assert_eq!(closure("trust-containerd-verifier"), set(&["trust-containerd-verifier"]));
}

#[test]
fn the_dependency_table_among_our_crates_is_kept_exactly() {
    let metadata = metadata();
    let members: BTreeSet<String> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let mut expected: BTreeSet<String> = TABLE.iter().map(|(member, _)| (*member).to_owned()).collect();
    expected.insert(TESTS.to_owned());
    assert_eq!(members, expected, "a crate joins or leaves the workspace together with its line in the table");

    for (member, allowed) in TABLE {
        let package = metadata.workspace_packages().into_iter().find(|p| p.name.as_str() == *member).unwrap();
        let ours: BTreeSet<String> = direct(&metadata, &package.id, DependencyKind::Normal)
            .into_iter()
            .filter(|id| metadata.workspace_members.contains(id))
            .map(|id| name(&metadata, id).to_owned())
            .collect();
        let more: Vec<_> = ours.difference(&set(allowed)).cloned().collect();
        assert!(more.is_empty(), "{member} may not use {more:?}");
        for kind in [DependencyKind::Build, DependencyKind::Development] {
            for id in direct(&metadata, &package.id, kind) {
                assert_ne!(name(&metadata, id), TESTS, "{member} uses the tests");
            }
        }
    }
}

#[test]
fn the_http_client_is_linked_only_into_the_reader_and_what_uses_it() {
    assert_eq!(linked_into("reqwest"), set(&["trust-reader", "trust", "trust-decide", "trust-gate", TESTS]));
}

#[test]
fn private_key_code_is_linked_only_into_the_signer_and_the_command() {
    for private in ["trust-keys", "pkcs8", "scrypt"] {
        assert_eq!(linked_into(private), set(&["trust-keys", "trust-signer", "trust", TESTS]), "{private}");
    }
}

#[test]
fn sql_is_linked_only_into_the_two_stores() {
    for sql in ["rusqlite", "libsqlite3-sys"] {
        assert_eq!(linked_into(sql), set(&["trust-server", "trust-signer", TESTS]), "{sql}");
    }
}

#[test]
fn the_trust_rules_are_linked_with_nothing_that_does_io() {
    let linked = closure("trust-tuf");
    for io in
        ["tokio", "async-trait", "futures-util", "reqwest", "hyper", "http", "rustls", "rustix", "rusqlite", "tempfile"]
    {
        assert!(!linked.contains(io), "trust-tuf is linked with {io}");
    }
}

#[test]
fn second_opinions_are_linked_into_no_program() {
    for crate_name in ["ring", "tough", "sigstore-tuf", "ed25519-dalek", "olpc-cjson", "openssl-sys", "rsa"] {
        // The crate of the tests itself loads repositories with them.
        let linked = linked_into(crate_name);
        assert!(linked.is_subset(&set(&["trust-tests"])), "{crate_name}: {linked:?}");
    }
}

// --- how manifests are written ---

/// One `key = value` line of a manifest, with its section and whether a comment stands above it in its block of lines.
#[derive(Debug, PartialEq)]
struct Line {
    section: String,
    key: String,
    value: String,
    explained: bool,
}

/// Reads a manifest by lines. Our manifests keep to one line an entry, which `cargo metadata` reading the same files
/// would not tell us; an entry over several lines is refused here by the callers, because its first line does not close.
fn lines(manifest: &str) -> Vec<Line> {
    let mut section = String::new();
    let mut explained = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header.trim().to_owned();
            explained = false;
        } else if let Some((key, value)) = line.split_once('=') {
            found.push(Line {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                explained,
            });
        }
    }
    found
}

/// What is wrong with the dependencies of a member: each must take its version from the workspace.
fn versions_of_their_own(manifest: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    for header in manifest.lines().map(str::trim).filter(|line| line.starts_with('[')) {
        // `[dependencies.NAME]` would hide an entry from the rule below.
        let path: Vec<&str> = header.trim_matches(['[', ']']).split('.').collect();
        if path.iter().rev().skip(1).any(|part| kinds.contains(part)) {
            wrong.push(header.to_owned());
        }
    }
    for line in lines(manifest) {
        let section = line.section.rsplit('.').next().unwrap_or_default();
        let inherits = (line.key.ends_with(".workspace") && line.value == "true")
            || (line.value.starts_with("{ workspace = true")
                && line.value.ends_with('}')
                && !line.value.contains("version"));
        if kinds.contains(&section) && !inherits {
            wrong.push(format!("{} = {}", line.key, line.value));
        }
    }
    wrong
}

/// The third-party entries of `[workspace.dependencies]`: name → whether a comment explains them or their group.
fn workspace_dependencies(manifest: &str) -> BTreeMap<String, bool> {
    let all = lines(manifest).into_iter().filter(|line| line.section == "workspace.dependencies");
    all.filter(|line| !line.value.contains("path =")).map(|line| (line.key, line.explained)).collect()
}

/// Whether a manifest takes the lints of the workspace.
fn inherits_lints(manifest: &str) -> bool {
    lines(manifest).iter().any(|line| line.section == "lints" && line.key == "workspace" && line.value == "true")
}

/// Name and manifest of each member.
fn manifests() -> Vec<(String, String)> {
    let metadata = metadata();
    let members = metadata.workspace_packages();
    members.iter().map(|p| (p.name.to_string(), std::fs::read_to_string(&p.manifest_path).unwrap())).collect()
}

#[test]
fn a_version_in_a_member_an_unexplained_entry_and_missing_lints_are_seen() {
    let bad = "[dependencies]\na = \"1\"\nb = { version = \"1\" }\nc.workspace = true\nd = { workspace = true, features = [\"x\"] }\n\
               e = { workspace = true, version = \"1\" }\n\n[dependencies.f]\nversion = \"1\"\n\n\
               [target.'cfg(unix)'.dev-dependencies]\ng = \"1\"\n\n[features]\nh = []\n";
    let wrong = versions_of_their_own(bad).join(" | ");
    for name in ["a = ", "b = ", "e = ", "[dependencies.f]", "g = "] {
        assert!(wrong.contains(name), "{name} is not seen in {wrong}");
    }
    assert_eq!(versions_of_their_own(bad).len(), 5, "{wrong}");

    let root = "[workspace.dependencies]\nours = { path = \"x\" }\n\n# why\na = \"1\"\nb = \"1\"\n\nc = \"1\"\n[other]\nd = \"1\"\n";
    let found = workspace_dependencies(root);
    assert_eq!(found, BTreeMap::from([("a".into(), true), ("b".into(), true), ("c".into(), false)]));

    assert!(inherits_lints("[lints]\nworkspace = true\n"));
    assert!(!inherits_lints("[lints.rust]\nunsafe_code = \"allow\"\n[package]\nworkspace = true\n"));
}

#[test]
fn every_crate_but_the_tests_takes_the_lints_of_the_workspace() {
    for (member, manifest) in manifests() {
        assert_eq!(inherits_lints(&manifest), member != TESTS, "{member}");
    }
}

#[test]
fn every_version_stands_in_the_root_manifest_with_its_reason_and_is_used() {
    let root = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let entries = workspace_dependencies(&root);
    assert!(entries.len() > 10, "the root manifest is not read as it is written: {entries:?}");
    for (entry, explained) in &entries {
        assert!(explained, "{entry} stands in [workspace.dependencies] without a comment above it or its group");
    }
    let mut used = BTreeSet::new();
    for (member, manifest) in manifests() {
        assert_eq!(versions_of_their_own(&manifest), Vec::<String>::new(), "{member}");
        used.extend(lines(&manifest).into_iter().map(|line| line.key.trim_end_matches(".workspace").to_owned()));
    }
    for entry in entries.keys() {
        assert!(used.contains(entry), "{entry} stands in [workspace.dependencies] and nobody uses it");
    }
}
