//! Whether two texts are one rule.
//!
//! Invariant: what decides counts (effect, scope, conditions, and whether it is in trial), as Cedar reads it; other annotations, comments and layout do not.
//! Deliberately absent: whether two different texts decide alike.

use crate::load::RuleInfo;

impl RuleInfo {
    /// Whether this rule decides what the other one decides. Texts that are no rules are only the same letter by letter.
    pub fn decides_like(&self, other: &RuleInfo) -> bool {
        if self.mode != other.mode {
            return false;
        }
        if self.source == other.source {
            return true;
        }
        match (bare(&self.source), bare(&other.source)) {
            (Some(one), Some(two)) => one == two,
            _ => false,
        }
    }
}

/// The rule without its annotations.
fn bare(source: &str) -> Option<serde_json::Value> {
    let mut rule = cedar_policy::Policy::parse(None, source).ok()?.to_json().ok()?;
    rule.as_object_mut()?.remove("annotations");
    Some(rule)
}

#[cfg(test)]
mod tests {
    use crate::load::{Policy, PolicyIdentity, Source};

    fn rule(text: &str) -> crate::RuleInfo {
        let source = Source { path: "_policy/a.cedar".to_owned(), bytes: text.as_bytes().to_vec() };
        Policy::load(&[source], PolicyIdentity::folder()).unwrap().rules().next().unwrap().clone()
    }

    #[test]
    fn words_about_a_rule_are_not_the_rule_and_one_condition_less_is_another_rule() {
        let first = rule("@id(\"a\")\nforbid (principal, action, resource)\nwhen { resource.tag_moved };\n");
        let titled = "@id(\"a\") @title(\"t\") @contact(\"c\") // why\nforbid(principal,action,resource) when { resource.tag_moved };";
        assert!(first.decides_like(&rule(titled)));
        for other in [
            "@id(\"a\") permit (principal, action, resource) when { resource.tag_moved };",
            "@id(\"a\") @mode(\"audit\") forbid (principal, action, resource) when { resource.tag_moved };",
            "@id(\"a\") forbid (principal, action, resource) unless { resource.tag_moved };",
            "@id(\"a\") forbid (principal, action == Action::\"pull\", resource) when { resource.tag_moved };",
        ] {
            assert!(!first.decides_like(&rule(other)), "{other}");
        }
    }
}
