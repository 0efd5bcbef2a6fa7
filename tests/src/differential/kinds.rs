//! The table of kinds: see [`super::explain`] and `docs/disagreements.md`.

use super::case::Facts;
use super::explain::{Difference, Further, Kind};
use super::readers::{Found, Who};
use super::scene::Feature;

const SIGSTORE: &[Who] = &[Who::Sigstore];
const TOUGH: &[Who] = &[Who::Tough];
const PYTHON: &[Who] = &[Who::Python];
const ALL: &[Who] = &[Who::Sigstore, Who::Tough, Who::Python];

fn always(_: &Difference<'_>, _: &Facts) -> bool {
    true
}

const fn stricter(
    id: &'static str,
    who: &'static [Who],
    reasons: &'static [&'static str],
    when: fn(&Difference<'_>, &Facts) -> bool,
) -> Kind {
    Kind { id, who, further: Further::Theirs, reasons, when }
}

const fn laxer(
    id: &'static str,
    who: &'static [Who],
    reasons: &'static [&'static str],
    when: fn(&Difference<'_>, &Facts) -> bool,
) -> Kind {
    Kind { id, who, further: Further::Ours, reasons, when }
}

const fn other(id: &'static str, who: &'static [Who], when: fn(&Difference<'_>, &Facts) -> bool) -> Kind {
    Kind { id, who, further: Further::Neither, reasons: &[], when }
}

/// Of what tough says, not of the files that every reader loads first.
fn in_targets(difference: &Difference<'_>) -> bool {
    let top = ["root metadata", "timestamp metadata", "snapshot metadata", "timestamp.json", ".snapshot.json"];
    difference.theirs.is_some_and(|text| !top.iter().any(|t| text.contains(t)))
}

fn nothing_there(difference: &Difference<'_>) -> bool {
    matches!(difference.found, Some((_, Found::Nothing)))
}

/// Changes that put an odd text into a tree.
const TEXTS: &[&str] = &["member-odd-text", "member-odd-name", "target-path"];

/// Changes that put a member where tough does not keep it.
const MEMBERS: &[&str] = &["delegations-member", "grant-member", "key-member", "member-unknown", "delegation-both"];

/// All kinds.
pub const KINDS: &[Kind] = &[
    // What does not fit the others: bins are not known to two of them.
    stricter("sigstore-bins", SIGSTORE, &[], |d, f| f.is(Feature::Succinct) && nothing_there(d)),
    other("sigstore-bins", SIGSTORE, |d, f| f.is(Feature::Succinct) && nothing_there(d)),
    laxer("tough-bins", TOUGH, &["missing field `roles`"], |_, f| f.is(Feature::Succinct)),
    // Ours stops.
    stricter("duplicate-member", ALL, &["DuplicateMember"], always),
    stricter(
        "root-status",
        &[Who::Tough, Who::Python],
        &[".root.json\", error: Status(", ".root.json\", error: Reset"],
        always,
    ),
    stricter("spec-version", ALL, &["Metadata(SpecVersion)"], always),
    stricter("timestamp-meta", ALL, &["Metadata(Meta)"], always),
    stricter("version-range", ALL, &["Metadata(Version)"], always),
    stricter("threshold-range", ALL, &["Metadata(Threshold("], always),
    stricter("expires-instant", &[Who::Sigstore, Who::Tough], &["Expired {"], |_, f| f.did("expires-now")),
    stricter("one-key-twice", ALL, &["Signatures {"], |_, f| f.did_any(&["key-two-ids", "key-two-spellings"])),
    stricter("type-and-scheme", ALL, &["Signatures {"], |_, f| f.did_any(&["key-kind-changed", "key-scheme-changed"])),
    stricter("tough-type", TOUGH, &["WrongType"], always),
    stricter("tough-reserialises", TOUGH, &["Signatures {"], |_, f| f.did("file-flip")),
    stricter("tough-hashes", TOUGH, &["reason: Hash }"], |_, f| f.did("entry-hash-sha512-wrong")),
    stricter("tough-length", TOUGH, &["reason: Length {"], always),
    laxer("tough-equal-timestamp", TOUGH, &[], |d, f| d.path.is_none() && f.warm && equal_timestamp(f)),
    stricter("tough-equal-timestamp", TOUGH, &[], |_, f| f.warm && equal_timestamp(f)),
    other("tough-equal-timestamp", TOUGH, |_, f| f.warm && equal_timestamp(f)),
    stricter("hash-form", ALL, &["Metadata(Hashes)"], always),
    stricter("expires-form", ALL, &["Metadata(Expires)"], always),
    stricter("keyids-double", ALL, &["DuplicateKeyId"], always),
    stricter("signature-double", ALL, &["DuplicateSignature"], always),
    stricter("delegated-name", ALL, &["Metadata(RoleName("], always),
    stricter("delegation-paths", ALL, &["Metadata(Exclusive("], always),
    stricter("hash-prefix-form", ALL, &["Metadata(HashPrefix("], always),
    stricter("pattern-undefined", ALL, &["reason: Pattern("], always),
    stricter("target-path", ALL, &["Undecided(Path {"], always),
    stricter("not-in-snapshot", ALL, &["NotInSnapshot"], always),
    stricter("json-depth", ALL, &["kind: TooDeep"], always),
    stricter("json-number", ALL, &["kind: NotAnInteger"], always),
    stricter("member-shape", ALL, &["Metadata(Missing(", "kind: Expected("], always),
    // Theirs stops.
    laxer("python-role-set", PYTHON, &["Role names must be the top-level metadata roles"], always),
    laxer("python-key-kinds", PYTHON, &["Unsupported public key"], always),
    laxer("python-hash-algorithms", PYTHON, &["Unsupported algorithm"], always),
    laxer("pattern-three-stars", SIGSTORE, &["invalid delegation path pattern"], always),
    laxer(
        "key-object",
        ALL,
        &["missing field `keytype`", "missing field `scheme`", "missing field `keyval`"],
        |_, f| f.did("key-junk"),
    ),
    laxer("tough-hashes", TOUGH, &["missing field `sha256`"], always),
    laxer("tough-outside", TOUGH, &["Target file not delegated"], |_, f| {
        f.is(Feature::Outside) || f.is(Feature::Diamond) || f.is(Feature::Cycle) || f.did_any(&["target-path"])
    }),
    laxer("tough-key-kinds", TOUGH, &["Invalid SubjectPublicKeyInfo", "Invalid PEM string", "unknown variant"], always),
    laxer("tough-key-id", TOUGH, &["Invalid key ID"], always),
    laxer("tough-hex", TOUGH, &["Invalid hex string"], always),
    laxer("tough-consistent", TOUGH, &["missing field `consistent_snapshot`"], always),
    laxer("tough-nfc", TOUGH, &["Signature threshold"], |_, f| f.did_any(TEXTS)),
    laxer("tough-reserialises", TOUGH, &["Signature threshold"], |_, f| f.did_any(MEMBERS)),
    laxer("tough-eager", TOUGH, &[], |d, f| {
        d.path.is_none() && in_targets(d) && (f.delegated() || f.above_delegated())
    }),
    laxer("tough-diamond", TOUGH, &["Signature threshold"], |_, f| f.is(Feature::Diamond) || f.is(Feature::Cycle)),
    laxer("local-file", &[Who::Sigstore, Who::Tough], &[], |_, f| f.warm && f.changed_under_its_version()),
    stricter("local-file", &[Who::Sigstore, Who::Tough], &[], |_, f| f.warm && f.changed_under_its_version()),
    stricter("tough-diamond", TOUGH, &["Signatures {"], |_, f| f.is(Feature::Diamond) || f.is(Feature::Cycle)),
    other("local-file", &[Who::Sigstore, Who::Tough], |_, f| f.warm && f.changed_under_its_version()),
    laxer("local-file", &[Who::Sigstore, Who::Tough], &[], |_, f| {
        let by_version = ["snapshot", "timestamp"].iter().any(|role| f.made("entry-version-lower", role));
        f.warm && (by_version || equal_timestamp(f))
    }),
    stricter("rotation-floor", &[Who::Sigstore, Who::Tough], &["RoleLowered", "RoleRemoved", "Rollback"], |_, f| {
        f.warm && f.is(Feature::Rotated)
    }),
    laxer("version-range", TOUGH, &["Found version"], |_, f| f.did("version-over")),
    laxer("version-range", SIGSTORE, &[], |d, f| d.path.is_none() && d.ours.is_some() && f.did("version-zero")),
    laxer("tough-target-names", TOUGH, &["The target name"], |_, f| f.did("target-path")),
    stricter("sigstore-local-snapshot", SIGSTORE, &["snapshot"], |_, f| {
        f.warm && f.all().any(|a| a.role == "timestamp" && a.what.starts_with("entry-version"))
    }),
    laxer("python-hash-case", PYTHON, &["does not match expected hash"], |_, f| f.did("entry-hash-upper")),
    other("not-in-snapshot", TOUGH, |_, f| f.did_any(&["delegation-ghost", "entry-lost"])),
    // Both answer, and not the same.
    other("tough-star", TOUGH, |d, f| {
        d.path.is_some_and(|path| path.contains('/')) || f.did_any(&["pattern-stars", "pattern-stars-deep"])
    }),
    other("tough-braces", TOUGH, |_, f| f.did("pattern-braces")),
    other("tough-backslash", TOUGH, |_, f| f.did("pattern-backslash")),
    other("tough-diamond", TOUGH, |d, f| nothing_there(d) && (f.is(Feature::Diamond) || f.is(Feature::Cycle))),
];

/// Whether the timestamp says something new under a version that was trusted before.
fn equal_timestamp(facts: &Facts) -> bool {
    facts.all().any(|a| a.role == "timestamp" && ["version-lower", "version-ahead", "file-old"].contains(&a.what))
}
