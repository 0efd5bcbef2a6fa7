//! What `trust policy init` writes: rules, dictionary, environments and cases that work at once, with comments for people.
//!
//! Invariants (tested): the files that are in force load without a warning and a finding, alone and with each example renamed
//! into force; their cases pass then, and touch every rule. Deliberately absent: names of a user's own signers, registries or
//! labels.

/// Path in the folder, and content. Files below `policy/` and `labels/` that end in `.cedar` and `.json` are published.
pub const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("../shipped/README.md")),
    ("policy/pii.cedar", include_str!("../shipped/policy/pii.cedar")),
    ("policy/tag-pii.cedar", include_str!("../shipped/policy/tag-pii.cedar")),
    ("policy/pii-forbid.cedar.example", include_str!("../shipped/policy/pii-forbid.cedar.example")),
    ("policy/signers.cedar.example", include_str!("../shipped/policy/signers.cedar.example")),
    ("policy/two-teams.cedar.example", include_str!("../shipped/policy/two-teams.cedar.example")),
    ("policy/release.cedar.example", include_str!("../shipped/policy/release.cedar.example")),
    ("policy/promotion.cedar.example", include_str!("../shipped/policy/promotion.cedar.example")),
    ("policy/regions.cedar.example", include_str!("../shipped/policy/regions.cedar.example")),
    ("policy/fresh.cedar.example", include_str!("../shipped/policy/fresh.cedar.example")),
    ("labels/data.json", include_str!("../shipped/labels/data.json")),
    ("environments/public.toml", include_str!("../shipped/environments/public.toml")),
    ("environments/private.toml", include_str!("../shipped/environments/private.toml")),
    ("tests/pii.toml", include_str!("../shipped/tests/pii.toml")),
    ("tests/tag-pii.toml", include_str!("../shipped/tests/tag-pii.toml")),
    ("tests/pii-forbid.toml.example", include_str!("../shipped/tests/pii-forbid.toml.example")),
    ("tests/signers.toml.example", include_str!("../shipped/tests/signers.toml.example")),
    ("tests/two-teams.toml.example", include_str!("../shipped/tests/two-teams.toml.example")),
    ("tests/release.toml.example", include_str!("../shipped/tests/release.toml.example")),
    ("tests/promotion.toml.example", include_str!("../shipped/tests/promotion.toml.example")),
    ("tests/regions.toml.example", include_str!("../shipped/tests/regions.toml.example")),
    ("tests/fresh.toml.example", include_str!("../shipped/tests/fresh.toml.example")),
];

/// Files that an example stands in place of: `policy/NAME.cedar` and `tests/NAME.toml` are removed.
pub const INSTEAD: &[(&str, &str)] = &[("pii-forbid", "pii")];
