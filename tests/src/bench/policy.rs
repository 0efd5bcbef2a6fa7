//! A decision by policy, beside a bare Cedar call that builds the same input and explains nothing; and loading, beside
//! Cedar's parsing and strict validation of the same text.

use std::time::Duration;

use super::report::{Row, time};
use super::{Rounds, beside, ratio};
use trust_image::{Digest, ImageFacts, PlatformFacts, Reference};
use trust_policy::floor::{Bare, Loader};
use trust_policy::{Action, Environment, Policy, PolicyIdentity, Source, Subject, shipped};

const ROUNDS: usize = 20;
const OPERATIONS: u32 = 500;
const KEY: &str = "com.example.data";
const NOW: i64 = 1_900_000_000;
const NOW_TEXT: &str = "2030-03-17T17:46:40Z";

/// So many rules: one that permits, or the shipped ones and more in the form that people write.
fn sources(rules: usize) -> Vec<Source> {
    let published = shipped::FILES.iter().filter(|(path, _)| path.ends_with(".cedar") || path.ends_with(".json"));
    let source = |path: &str, text: &str| Source { path: format!("_{path}"), bytes: text.as_bytes().to_vec() };
    let mut sources: Vec<Source> = published
        .filter(|(path, _)| rules > 1 || path.ends_with(".json"))
        .map(|(path, text)| source(path, text))
        .collect();
    let mut text = String::new();
    if rules == 1 {
        text.push_str(
            "@id(\"fit\") permit (principal, action, resource) when { resource.fit.contains(\"com.example.data\") };\n",
        );
    }
    let shipped = sources.iter().filter(|s| s.path.ends_with(".cedar"));
    let shipped: usize = shipped.map(|s| String::from_utf8_lossy(&s.bytes).matches("@id(").count()).sum();
    for n in 0..rules.saturating_sub(shipped.max(1)) {
        text.push_str(&match n % 4 {
            0 => format!(
                "@id(\"r{n}\")\n@title(\"Team {n} alone signs its images\")\n@contact(\"team{n}@example.com\")\nforbid (principal, action, resource)\nwhen {{ resource.repository like \"team{n}/*\" }}\nunless {{ resource.signers.contains(\"team{n}\") }};\n"
            ),
            1 => format!(
                "@id(\"r{n}\")\n@title(\"Region of {n}\")\n@contact(\"team{n}@example.com\")\nforbid (principal, action, resource)\nwhen {{ resource.repository == \"x{n}/api\" }}\nunless {{ principal has region && [\"eu-{n}\", \"eu-central\"].contains(principal.region) }};\n"
            ),
            2 => format!(
                "@id(\"r{n}\")\n@title(\"No tag of {n}\")\nforbid (principal, action == Action::\"deploy\", resource)\nwhen {{ principal.cloud == \"public\" && resource has tag && resource.tag == \"t{n}\" }};\n"
            ),
            _ => format!(
                "@id(\"r{n}\")\n@title(\"Pulled for {n}\")\npermit (principal == Environment::\"e{n}\", action == Action::\"pull\", resource)\nwhen {{ resource.hasTag(\"com.example.data\") && resource.getTag(\"com.example.data\") == \"internal\" }};\n"
            ),
        });
    }
    if !text.is_empty() {
        sources.push(source("policy/more.cedar", &text));
    }
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
            stated: Default::default(),
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
    let mut rows = run([
        (1, 1, "public"),
        (4, 1, "public"),
        (4, 2, "public"),
        (4, 2, "PII"),
        (100, 1, "public"),
        (1_000, 1, "public"),
    ]);
    rows.extend([1, 100, 1_000].map(loading));
    rows.extend(WORST.map(worst));
    rows
}

/// What is nearly too much: a name, rules, the condition that each has so often, and the length of the label `l`.
const WORST: [(&str, usize, &str, usize, usize); 5] = [
    ("rules of many members", 500, "resource.tag_moved", 40, 0),
    ("rules of one member", 1_000, "principal.name == \"x\"", 1, 0),
    ("times", 180, "context.now < datetime(\"2030-01-01\")", 30, 0),
    ("sets of a hundred", 50, "!resource.signers.containsAll(resource.signers)", 36, 0),
    ("patterns of 1,900 letters", 2, "(resource.hasTag(\"l\") && resource.getTag(\"l\") like \"PATTERN\")", 1, 1_900),
];

/// A decision that takes nearly as many steps as its budget has.
fn worst((name, rules, condition, times, length): (&str, usize, &str, usize, usize)) -> Row {
    let condition = condition.replace("PATTERN", &format!("*{}b*", "a".repeat(length)));
    let condition = vec![condition; times].join(" || ");
    let rule = |n: usize| format!("@id(\"r{n}\") permit (principal, action, resource) when {{ {condition} }};\n");
    let mut sources = Vec::new();
    for file in 0..rules.div_ceil(25) {
        let text: String = (file * 25..rules.min((file + 1) * 25)).map(rule).collect();
        sources.push(Source { path: format!("_policy/f{file}.cedar"), bytes: text.into_bytes() });
    }
    let policy = Policy::load(&sources, PolicyIdentity::folder()).unwrap();
    let mut image = subject(1, "public");
    image.signers = (0..100).map(|n| format!("signer{n}")).collect();
    if let Some(platform) = image.facts.as_mut().and_then(|facts| facts.platforms.first_mut()) {
        platform.labels.insert("l".to_owned(), "a".repeat(2 * length).chars().take(4_000).collect());
    }
    let env = environment();
    let mut ours = Rounds::default();
    let cause = policy.decide(&env, Action::Deploy, &image, NOW).cause;
    for _ in 0..ROUNDS {
        ours.round(5, || assert_eq!(policy.decide(&env, Action::Deploy, &image, NOW).cause, cause));
    }
    let refused = if cause == trust_policy::Cause::Error { ", refused" } else { "" };
    Row {
        what: format!(
            "policy decision near its budget of {} steps: {name}, {rules} rules{refused}",
            trust_policy::MAX_STEPS
        ),
        wall: ours.wall(),
        worst: ours.worst(),
        cpu: Some(ours.cpu()),
        peak: None,
        beside: "–".to_owned(),
        ratio: None,
        goal: Some(("CPU ≤ 10 ms".to_owned(), ours.cpu() <= Duration::from_millis(10))),
    }
}

/// Loading so many rules, with all that is checked beyond Cedar.
fn loading(rules: usize) -> Row {
    let sources = sources(rules);
    let text: String = sources
        .iter()
        .filter(|s| s.path.ends_with(".cedar"))
        .map(|s| String::from_utf8_lossy(&s.bytes).into_owned())
        .collect();
    let loader = Loader::new().unwrap();
    let operations = u32::try_from(1_000 / rules.max(1)).unwrap_or(1).max(1);
    let (ours, floor) = beside(
        ROUNDS,
        operations,
        || assert_eq!(Policy::load(&sources, PolicyIdentity::folder()).unwrap().rules().count(), rules),
        || assert_eq!(loader.load(&text), Ok(rules)),
    );
    let ratio = ratio(ours.cpu(), floor.cpu());
    Row {
        what: format!("policy loading, {rules} rules ({} bytes)", text.len()),
        wall: ours.wall(),
        worst: ours.worst(),
        cpu: Some(ours.cpu()),
        peak: None,
        beside: format!("Cedar: the same text parsed and strictly validated: CPU {}", time(floor.cpu())),
        ratio: Some(ratio),
        goal: (rules == 1_000).then(|| ("CPU ≤ 1.3 × the floor's".to_owned(), ratio <= 1.3)),
    }
}

/// Measures cases of (rules, platforms, value of the governed label).
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
        let (policy, bare) = sides(12);
        assert_eq!(policy.rules().count(), 12);
        assert_eq!(sides(1).0.rules().count(), 1);
        for (value, fit) in [("public", &[KEY][..]), ("PII", &[])] {
            let subject = subject(2, value);
            let ours = policy.decide(&environment(), Action::Deploy, &subject, NOW).allowed;
            assert_eq!(ours, value == "public");
            assert_eq!(bare.ask(&environment(), Action::Deploy, &subject, fit, NOW_TEXT), Ok(ours));
        }
    }
}
