//! What `trust policy init` writes: rules, dictionary and environments that work at once, with comments for people.
//!
//! Invariant (tested): the files that are in force load without a warning, alone and with each example renamed into force.
//! Deliberately absent: names of a user's own signers, registries or labels.

/// Path in the folder, and content. Files below `policy/` and `labels/` that end in `.cedar` and `.json` are published.
pub const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("../shipped/README.md")),
    ("policy/pii.cedar", include_str!("../shipped/policy/pii.cedar")),
    ("policy/tag-pii.cedar", include_str!("../shipped/policy/tag-pii.cedar")),
    ("policy/pii-forbid.cedar.example", include_str!("../shipped/policy/pii-forbid.cedar.example")),
    ("policy/signers.cedar.example", include_str!("../shipped/policy/signers.cedar.example")),
    ("labels/data.json", include_str!("../shipped/labels/data.json")),
    ("environments/public.toml", include_str!("../shipped/environments/public.toml")),
    ("environments/private.toml", include_str!("../shipped/environments/private.toml")),
];
