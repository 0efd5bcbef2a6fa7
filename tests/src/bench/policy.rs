//! A decision by policy, beside a bare Cedar call that builds the same input and explains nothing.

use super::report::{Row, time};
use super::{beside, ratio};
use trust_image::{Digest, ImageFacts, PlatformFacts, Reference};
use trust_policy::floor::Bare;
use trust_policy::{Action, Environment, Policy, PolicyIdentity, Source, Subject, shipped};

const ROUNDS: usize = 20;
const OPERATIONS: u32 = 500;
const KEY: &str = "com.example.data";
const NOW: i64 = 1_900_000_000;
const NOW_TEXT: &str = "2030-03-17T17:46:40Z";

/// The shipped files, and this many rules more.
fn sources(more: usize) -> Vec<Source> {
    let published = shipped::FILES.iter().filter(|(path, _)| path.ends_with(".cedar") || path.ends_with(".json"));
    let source = |(path, text): &(&str, &str)| Source { path: format!("_{path}"), bytes: text.as_bytes().to_vec() };
    let mut sources: Vec<Source> = published.map(source).collect();
    let rule = |n: usize| {
        format!(
            "@id(\"r{n}\") forbid (principal, action, resource) when {{ resource.repository == \"x{n}\" && resource.signers.contains(\"s{n}\") }};\n"
        )
    };
    let rules: String = (0..more).map(rule).collect();
    sources.push(Source { path: "_policy/more.cedar".to_owned(), bytes: rules.into_bytes() });
    sources
}

/// An image of this many platforms with labels as images have them.
fn subject(platforms: usize, value: &str) -> Subject {
    let labels = [
        (KEY, value),
        ("org.opencontainers.image.source", "https://git.example.com/pay/api"),
        ("org.opencontainers.image.version", "1.2.3"),
        ("org.opencontainers.image.revision", "5f2a9c1"),
    ];
    let platform = |name: &&str| PlatformFacts {
        platform: (*name).to_owned(),
        digest: Digest::of(name.as_bytes()),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    Subject {
        reference: Reference::parse("registry.example.com/pay/api:v1").unwrap(),
        digest: Digest::of(b"index"),
        collection: "registry.example.com/pay".to_owned(),
        signers: vec!["alice".to_owned(), "ci".to_owned()],
        conflicts: Vec::new(),
        tag_moved: None,
        root_version: 1,
        facts: Some(ImageFacts {
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            signed: "2030-01-01T00:00:00Z".to_owned(),
            tags: vec!["stable".to_owned(), "v1".to_owned()],
            platforms: ["linux/amd64", "linux/arm64"].iter().take(platforms).map(platform).collect(),
            annotations: Default::default(),
        }),
    }
}

fn environment() -> Environment {
    let text = "name = \"public\"\ncloud = \"public\"\nregion = \"eu\"\n[labels]\nstage = \"production\"\n";
    Environment::from_toml(text, "public.toml").unwrap()
}

/// Both sides on one input: ours with its explanation, and the bare call.
fn sides(rules: usize) -> (Policy, Bare) {
    let sources = sources(rules);
    (Policy::load(&sources, PolicyIdentity::folder()).unwrap(), Bare::new(&sources).unwrap())
}

/// Measures and tells.
pub fn rows() -> Vec<Row> {
    run([(0, 1, "public"), (0, 2, "public"), (0, 2, "PII"), (200, 1, "public")])
}

/// Measures cases of (rules beside the shipped ones, platforms, value of the governed label).
pub fn run<const N: usize>(cases: [(usize, usize, &str); N]) -> Vec<Row> {
    let row = |(rules, platforms, value): (usize, usize, &str)| {
        let (policy, bare) = sides(rules);
        let (env, subject) = (environment(), subject(platforms, value));
        let fit: &[&str] = if value == "public" { &[KEY] } else { &[] };
        let (ours, floor) = beside(
            ROUNDS,
            OPERATIONS,
            || assert_eq!(policy.decide(&env, Action::Deploy, &subject, NOW).allowed, value == "public"),
            || assert_eq!(bare.ask(&env, Action::Deploy, &subject, fit, NOW_TEXT), Ok(value == "public")),
        );
        let ratio = ratio(ours.cpu(), floor.cpu());
        let answer = if value == "public" { "allowed" } else { "denied" };
        Row {
            what: format!(
                "policy decision, {} rules, {platforms} platform(s), {answer}, explained",
                policy.rules().count()
            ),
            wall: ours.wall(),
            worst: ours.worst(),
            cpu: Some(ours.cpu()),
            peak: None,
            beside: format!("bare Cedar call, same input: CPU {}", time(floor.cpu())),
            ratio: Some(ratio),
            goal: Some(("CPU ≤ 1.3 × the floor's".to_owned(), ratio <= 1.3)),
        }
    };
    cases.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_the_figure_decide_alike() {
        let (policy, bare) = sides(3);
        for (value, fit) in [("public", &[KEY][..]), ("PII", &[])] {
            let subject = subject(2, value);
            let ours = policy.decide(&environment(), Action::Deploy, &subject, NOW).allowed;
            assert_eq!(ours, value == "public");
            assert_eq!(bare.ask(&environment(), Action::Deploy, &subject, fit, NOW_TEXT), Ok(ours));
        }
    }
}
