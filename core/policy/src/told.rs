//! The engine's words about a rule, in the words of the rule.

use cedar_policy::ffi::DetailedError;

use crate::text;

/// Members that rules read, by the word in the rule and Cedar's word for what it is.
pub(crate) const MEMBERS: [(&str, &str, &[&str]); 3] = [
    ("principal", "entity type `Environment`", &["name", "cloud", "region"]),
    (
        "resource",
        "entity type `Platform`",
        &[
            "collection",
            "registry",
            "repository",
            "digest",
            "platform",
            "platforms",
            "annotations",
            "stated",
            "tag",
            "tags",
            "tag_moved",
            "signers",
            "conflicts",
            "signed",
            "root_version",
            "fit",
        ],
    ),
    ("context", "context", &["now"]),
];

/// A misspelt member, in the words of the rule: what Cedar suggests is another member by chance.
fn no_such_member(message: &str) -> Option<String> {
    let (_, rest) = message.strip_suffix(" not found")?.split_once("attribute `")?;
    let (member, of) = rest.split_once('`')?;
    let (word, _, members) = MEMBERS.into_iter().find(|(_, of_type, _)| of.contains(of_type))?;
    let help = match text::nearest(member, members.iter().copied()) {
        Some(nearest) => format!("did you mean {word}.{nearest}?"),
        None => format!("it has {}", members.join(", ")),
    };
    Some(format!("{word} has no member {}; {help}", text::printable(member)))
}

/// Cedar's words and its advice, on one line.
pub(crate) fn told(error: &DetailedError) -> String {
    let label = error.source_locations.first().and_then(|at| at.label.as_deref());
    if let Some(told) = no_such_member(&error.message) {
        return told;
    }
    let parts = [Some(error.message.as_str()), label, error.help.as_deref()];
    let mut told = String::new();
    for part in parts.into_iter().flatten().filter(|part| !part.is_empty()) {
        if !told.is_empty() {
            told.push_str("; ");
        }
        told.push_str(&text::printable(part));
    }
    told
}
