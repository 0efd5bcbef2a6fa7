//! What a decision costs at most, known before it is made: a hostile label, an image of many platforms or rules of many
//! words must not hold a gate up.
//!
//! Cedar has no loops, so that the tree of a rule says how much is done: a step for each of its parts, and more where a
//! text is searched or a set is gone through, by the length of the fact at hand. Invariant: the steps depend on rules and
//! facts alone, never on a clock, so that one image has one answer everywhere. Deliberately absent: measuring.

use std::collections::BTreeMap;

use cedar_policy::pst::{BinaryOp, Clause, Expr, Literal, Template, UnaryOp, Var};
use trust_image::PlatformFacts;

use crate::environment::Environment;
use crate::subject::Subject;

/// Steps that the decision on one platform may take. A step is about 20 ns (`make bench` measures it), so that this is about
/// 10 ms.
pub const MAX_STEPS: u64 = 500_000;

/// A rule that is asked, beside its condition.
const RULE: u64 = 40;
/// A member or label of an entity, which is looked up each time.
const LOOKED_UP: u64 = 20;
/// An item of a list that stands in the rule: the list is built each time.
const ITEM: u64 = 5;
/// A time or another value that is read from text each time.
const PARSED: u64 = 60;
/// Characters that are compared in one step; what a step is in the weight of a length.
const CHARACTERS: u64 = 32;

/// A fact whose length counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Label(String),
    Annotation(String),
    Stated(String),
    Repository,
    /// The longest of the other members and of the labels of the environment.
    Member,
    Tags,
    Signers,
    Conflicts,
    Platforms,
    /// The longest of all: what is compared is not written out.
    Any,
}

/// The steps of one rule or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Whatever the facts are.
    fixed: u64,
    /// For each character or item of a fact, in parts of [`CHARACTERS`].
    by_length: BTreeMap<Fact, u64>,
}

impl Cost {
    /// Of one rule.
    pub(crate) fn of(rule: &Template) -> Cost {
        let mut cost = Cost { fixed: RULE, by_length: BTreeMap::new() };
        for clause in rule.clauses() {
            let (Clause::When(expr) | Clause::Unless(expr)) = clause;
            cost.visit(expr);
        }
        cost
    }

    /// Both.
    pub(crate) fn add(&mut self, other: &Cost) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        for (fact, weight) in &other.by_length {
            self.weigh(fact.clone(), *weight);
        }
    }

    /// The steps on an image that says nothing: what every image takes.
    pub(crate) fn fixed(&self) -> u64 {
        self.fixed
    }

    /// The steps on that one of these platforms that takes most, at most.
    pub(crate) fn steps(&self, env: &Environment, subject: &Subject, platforms: &[&PlatformFacts]) -> u64 {
        let by = |weight: &u64, length: usize| weight.saturating_mul(length as u64).div_ceil(CHARACTERS);
        let shared = |(fact, weight)| by(weight, length(fact, env, subject, platforms));
        let shared = self.by_length.iter().map(shared).fold(self.fixed, u64::saturating_add);
        let own = |platform: &&PlatformFacts| {
            let of = |(fact, weight): (&Fact, &u64)| match fact {
                Fact::Label(key) => platform.labels.get(key).map_or(0, |value| by(weight, value.len())),
                _ => 0,
            };
            self.by_length.iter().map(of).fold(0, u64::saturating_add)
        };
        shared.saturating_add(platforms.iter().map(own).max().unwrap_or(0))
    }

    fn weigh(&mut self, fact: Fact, weight: u64) {
        let of = self.by_length.entry(fact).or_default();
        *of = of.saturating_add(weight);
    }

    fn step(&mut self, steps: u64) {
        self.fixed = self.fixed.saturating_add(steps);
    }

    fn visit(&mut self, expr: &Expr) {
        self.step(1);
        match expr {
            Expr::Literal(_) | Expr::Var(_) => {}
            Expr::UnaryOp { op, expr } => {
                if matches!(op, UnaryOp::Datetime | UnaryOp::Duration | UnaryOp::Decimal | UnaryOp::Ip) {
                    self.step(PARSED);
                }
                self.visit(expr);
            }
            Expr::BinaryOp { op, left, right } => {
                match op {
                    BinaryOp::GetTag | BinaryOp::HasTag => self.step(LOOKED_UP),
                    // Of two sets Cedar goes through the smaller one; a list in the rule was counted item by item.
                    BinaryOp::ContainsAll | BinaryOp::ContainsAny
                        if matches!(**left, Expr::Set(_)) || matches!(**right, Expr::Set(_)) => {}
                    BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                        self.through(left, CHARACTERS);
                        self.through(right, CHARACTERS);
                    }
                    BinaryOp::Contains => self.through(left, CHARACTERS),
                    // A text in the rule ends the comparison where it ends.
                    BinaryOp::Eq | BinaryOp::NotEq if literal(left).is_none() && literal(right).is_none() => {
                        self.through(left, CHARACTERS);
                        self.through(right, CHARACTERS);
                    }
                    BinaryOp::Eq | BinaryOp::NotEq => {
                        let texts = [left, right].into_iter().filter_map(|side| literal(side));
                        let length = texts.map(|text| text.len() as u64).min().unwrap_or(0);
                        self.step(length / CHARACTERS);
                    }
                    _ => {}
                }
                self.visit(left);
                self.visit(right);
            }
            Expr::Like { expr, pattern } => {
                match literal(expr) {
                    Some(text) => self.step(text.len().saturating_mul(pattern.len()) as u64 / CHARACTERS),
                    None => self.weigh(fact(expr), pattern.len() as u64),
                }
                self.visit(expr);
            }
            Expr::GetAttr { expr, .. } | Expr::HasAttr { expr, .. } => {
                self.step(LOOKED_UP);
                self.visit(expr);
            }
            Expr::Is { expr, in_expr, .. } => {
                self.visit(expr);
                in_expr.iter().for_each(|expr| self.visit(expr));
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                [cond, then_expr, else_expr].into_iter().for_each(|expr| self.visit(expr));
            }
            Expr::Set(items) => {
                self.step(ITEM.saturating_mul(items.len() as u64));
                items.iter().for_each(|item| self.visit(item));
            }
            Expr::Record(members) => {
                self.step(ITEM.saturating_mul(members.len() as u64));
                members.values().for_each(|member| self.visit(member));
            }
            // Such a rule does not load.
            _ => self.step(MAX_STEPS),
        }
    }

    /// Something is gone through from end to end.
    fn through(&mut self, expr: &Expr, weight: u64) {
        if !matches!(expr, Expr::Set(_)) && literal(expr).is_none() {
            self.weigh(fact(expr), weight);
        }
    }
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(Literal::String(text)) => Some(text.as_str()),
        Expr::Literal(_) | Expr::Var(_) => Some(""),
        _ => None,
    }
}

/// The fact that a part of a rule reads.
fn fact(expr: &Expr) -> Fact {
    let key = |key: &Expr| match key {
        Expr::Literal(Literal::String(text)) => Some(text.to_string()),
        _ => None,
    };
    let is = |expr: &Expr, var: Var| *expr == Expr::Var(var);
    match expr {
        Expr::BinaryOp { op: BinaryOp::GetTag, left, right } => match (&**left, key(right)) {
            (of, Some(key)) if is(of, Var::Resource) => Fact::Label(key),
            (of, Some(_)) if is(of, Var::Principal) => Fact::Member,
            (Expr::GetAttr { attr, .. }, Some(key)) if attr == "annotations" => Fact::Annotation(key),
            (Expr::GetAttr { attr, .. }, Some(key)) if attr == "stated" => Fact::Stated(key),
            _ => Fact::Any,
        },
        Expr::GetAttr { expr, attr } if is(expr, Var::Resource) => match attr.as_str() {
            "repository" => Fact::Repository,
            "tags" => Fact::Tags,
            "signers" => Fact::Signers,
            "conflicts" => Fact::Conflicts,
            "platforms" => Fact::Platforms,
            _ => Fact::Member,
        },
        Expr::GetAttr { expr, .. } if is(expr, Var::Principal) => Fact::Member,
        // Numbers, times and truth have no length.
        Expr::UnaryOp { .. } | Expr::HasAttr { .. } | Expr::Like { .. } | Expr::Is { .. } => Fact::Member,
        _ => Fact::Any,
    }
}

/// The length of a fact that all platforms share, in characters or items.
fn length(fact: &Fact, env: &Environment, subject: &Subject, platforms: &[&PlatformFacts]) -> usize {
    let facts = subject.facts.as_ref();
    let reference = &subject.reference;
    let longest = |texts: &mut dyn Iterator<Item = &str>| texts.map(str::len).max().unwrap_or(0);
    match fact {
        // Counted for each platform.
        Fact::Label(_) => 0,
        Fact::Annotation(key) => facts.and_then(|facts| facts.annotations.get(key)).map_or(0, String::len),
        Fact::Stated(key) => facts.and_then(|facts| facts.stated.get(key)).map_or(0, String::len),
        Fact::Repository => reference.canonical_path().len(),
        Fact::Tags => facts.map_or(0, |facts| facts.tags.len()).saturating_add(1),
        Fact::Signers => subject.signers.len(),
        Fact::Conflicts => subject.conflicts.len(),
        Fact::Platforms => platforms.len(),
        Fact::Member => {
            let of_image = [&subject.collection, reference.canonical_domain(), reference.tag().unwrap_or_default()];
            let of_place = [env.name.as_str(), env.region.as_deref().unwrap_or_default()];
            let platforms = platforms.iter().map(|platform| platform.platform.as_str());
            let labels = env.labels.values().map(String::as_str);
            // A digest is as long as it is written.
            longest(&mut of_image.into_iter().chain(of_place).chain(platforms).chain(labels)).max(72)
        }
        Fact::Any => {
            let labels = platforms.iter().flat_map(|platform| platform.labels.values()).map(String::as_str);
            let said = facts.into_iter().flat_map(|facts| facts.annotations.values().chain(facts.stated.values()));
            let said = said.map(String::as_str);
            let others = [Fact::Repository, Fact::Member, Fact::Tags, Fact::Signers, Fact::Conflicts, Fact::Platforms];
            let others = others.iter().map(|fact| length(fact, env, subject, platforms)).max().unwrap_or(0);
            longest(&mut labels.chain(said)).max(others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Cloud;
    use trust_image::{Digest, ImageFacts, Reference};

    fn cost(condition: &str) -> Cost {
        let rule = format!("permit (principal, action, resource) when {{ {condition} }};");
        Cost::of(cedar_policy::Policy::parse(None, rule).unwrap().to_pst().unwrap().body())
    }

    fn steps(condition: &str, label: &str, platforms: usize) -> u64 {
        let platform = |n: usize| PlatformFacts {
            platform: format!("linux/p{n}"),
            digest: Digest::of(b"p"),
            labels: [("l".to_owned(), label.to_owned())].into(),
        };
        let subject = Subject {
            reference: Reference::parse("registry.example.com/pay/api:v1").unwrap(),
            digest: Digest::of(b"i"),
            collection: "registry.example.com/pay".to_owned(),
            signers: vec!["a".to_owned(); 100],
            conflicts: Vec::new(),
            tag_moved: None,
            root_version: 1,
            facts: Some(ImageFacts {
                media_type: String::new(),
                signed: String::new(),
                tags: Vec::new(),
                platforms: (0..platforms).map(platform).collect(),
                annotations: [("l".to_owned(), label.to_owned())].into(),
                stated: [("s".to_owned(), label.to_owned())].into(),
            }),
        };
        let runnable: Vec<&PlatformFacts> = subject.facts.as_ref().unwrap().platforms.iter().collect();
        cost(condition).steps(&Environment::new("eu", Cloud::Public).unwrap(), &subject, &runnable)
    }

    #[test]
    fn a_search_in_a_long_label_costs_its_length_times_that_of_the_pattern() {
        let like = |n: usize| format!("resource.getTag(\"l\") like \"*{}\"", "a".repeat(n));
        let (short, long) = (steps(&like(7), &"a".repeat(16_000), 1), steps(&like(7_999), &"a".repeat(16_000), 1));
        assert!(short < 5_000 && long > 3_900_000, "{short} {long}");
        assert!(steps(&like(7_999), "a", 1) < 500, "a short label is searched at once");
        let other = "resource.getTag(\"m\") like \"*aaaa\"";
        assert!(steps(other, &"a".repeat(16_000), 1) < 100, "another label is not searched");
        for hidden in
            ["(if resource.tag_moved then resource.getTag(\"l\") else \"x\")", "{a: resource.getTag(\"l\")}.a"]
        {
            let pattern = "a".repeat(8_000);
            let asked = format!("{hidden} like \"*{pattern}\"");
            assert!(steps(&asked, &"a".repeat(16_000), 1) > 3_900_000, "{hidden}");
        }
        let annotation = "resource.annotations.getTag(\"l\") like \"*aaaaaaaaaaaaaaa\"";
        assert!(steps(annotation, &"a".repeat(16_000), 3) > 7_900);
        let statement = "resource.stated.getTag(\"s\") like \"*aaaaaaaaaaaaaaa\"";
        assert!(steps(statement, &"a".repeat(16_000), 3) > 7_900);
    }

    #[test]
    fn every_part_of_a_rule_counts_and_the_platform_that_takes_most() {
        let one = steps("resource.tag_moved", "x", 1);
        assert_eq!(steps("resource.tag_moved", "x", 64), one, "each platform has its own budget");
        let long = vec!["resource.tag_moved"; 100].join(" || ");
        assert!(steps(&long, "x", 1) >= 300, "{}", steps(&long, "x", 1));
        let set = steps("resource.signers.containsAll(resource.signers)", "x", 1);
        assert!(set >= 200, "{set}");
        let list = format!("[{}].contains(resource.repository)", vec!["\"x\""; 100].join(","));
        assert!(steps(&list, "x", 1) >= 600);
        let times = ["context.now > datetime(\"2030-01-01\")"; 10].join(" || ");
        assert!(steps(&times, "x", 1) >= 600);
    }

    #[test]
    fn ordinary_rules_are_far_from_the_limit() {
        let ordinary = [
            "resource.repository like \"pay/*\" && !(principal has region && [\"eu-west\", \"eu-central\"].contains(principal.region))",
            "principal.hasTag(\"stage\") && principal.getTag(\"stage\") == \"production\" && !resource.signers.containsAny([\"alice\", \"bob\"])",
            "resource has signed && context.now.durationSince(resource.signed) < duration(\"180d\")",
            "resource.hasTag(\"l\") && resource.getTag(\"l\") like \"https://git.example.com/*\"",
        ];
        for condition in ordinary {
            let one = steps(condition, "https://git.example.com/pay/api", 1);
            assert!(one < 250, "{condition}: {one}");
        }
    }
}
