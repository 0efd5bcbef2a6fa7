//! Reserved targets: policy, labels, exceptions and revocations. Each kind counts in exactly one role.

/// The kinds that have a meaning today. Every path that looks reserved is bound to its one role, known kind or not.
pub const KINDS: [&str; 4] = ["_policy", "_labels", "_exceptions", "_revoked"];

/// The first segment of a reserved path: two or more segments, the first beginning with `_`. A tag `_x` alone is a
/// plain image.
pub fn kind(path: &str) -> Option<&str> {
    let (first, rest) = path.split_once('/')?;
    (first.starts_with('_') && !rest.is_empty()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_tag_with_an_underscore_is_a_plain_image() {
        assert_eq!(kind("_x"), None);
        assert_eq!(kind("api/_x"), None);
        assert_eq!(kind("_policy/main.cedar"), Some("_policy"));
        assert_eq!(kind("_revoked/api/v1.json"), Some("_revoked"));
        assert_eq!(kind("_other/x"), Some("_other"));
    }
}
