//! The table: rules, facts, environment and action, and the decision that must come out; each case with a name.
//!
//! A file of `table/` has sets of rules (`set NAME`), each with its cases (`case NAME`). A case says in clauses, separated
//! by `;`, what is asked and what comes out:
//!
//! ```text
//! deploy in eu-prod private region=eu-west stage=production; linux/amd64 data=PII; signers ci => denied forbidden RULE…
//! ```
//!
//! An action in an environment (name, cloud, then members and labels; `public` and `private` alone are places of that
//! cloud, `nowhere` is one that nobody described); a platform with its labels; `image REFERENCE`, `collection`, `signers`,
//! `conflicts`, `tags`, `signed`, `moved`, `not-moved`, `annotations`, `stated`, `root`, `now`, `no-facts`. `data` is short for the
//! one governed key. Behind `=>`: `allowed` or `denied CAUSE`, the deciding rules, and after `on` the platforms they
//! decided. What is not said is as in `common::subject`: one platform without labels, signed by alice and ci.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use trust_image::{Digest, PlatformFacts, Reference};
use trust_policy::{Action, Cause, Cloud, Environment, Policy, Source, Subject, shipped};

use crate::common::{KEY, NOW, dictionary, identity, source, subject};

const FILES: &[(&str, &str)] = &[
    ("actions.txt", include_str!("table/actions.txt")),
    ("dictionary.txt", include_str!("table/dictionary.txt")),
    ("environment.txt", include_str!("table/environment.txt")),
    ("members.txt", include_str!("table/members.txt")),
    ("operators.txt", include_str!("table/operators.txt")),
    ("platforms.txt", include_str!("table/platforms.txt")),
    ("shipped.txt", include_str!("table/shipped.txt")),
];

/// One case, ready to be decided.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) environment: Environment,
    pub(crate) action: Action,
    pub(crate) subject: Subject,
    pub(crate) now: i64,
    expected: Expected,
}

/// What must come out.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    cause: String,
    rules: Vec<String>,
    /// Platforms that the rules decided, where the case says them.
    platforms: Option<BTreeSet<String>>,
}

/// A set of rules with its cases.
pub(crate) struct Set {
    pub(crate) sources: Vec<Source>,
    pub(crate) cases: Vec<Case>,
}

impl Set {
    pub(crate) fn load(&self) -> Policy {
        Policy::load(&self.sources, identity()).unwrap_or_else(|error| panic!("{:?}: {error}", self.cases[0].name))
    }
}

/// All sets of all files.
pub(crate) fn sets() -> Vec<Set> {
    FILES.iter().flat_map(|(file, text)| read(text).unwrap_or_else(|error| panic!("{file}: {error}"))).collect()
}

fn read(text: &str) -> Result<Vec<Set>, String> {
    let mut sets: Vec<Set> = Vec::new();
    // Rules and cases of the set at hand, and the clauses of the case at hand.
    let mut blocks: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            Some(inner) => blocks.last_mut().ok_or("a line before any set")?.1.push(inner.trim()),
            None => blocks.push((line.trim().to_owned(), Vec::new())),
        }
    }
    for (head, lines) in blocks {
        match head.split_once(' ') {
            Some(("set", _)) => sets.push(Set { sources: sources(&lines)?, cases: Vec::new() }),
            Some(("case", name)) => {
                let case = case(name, &lines.join(" ")).map_err(|error| format!("{name}: {error}"))?;
                sets.last_mut().ok_or("a case before any set")?.cases.push(case);
            }
            _ => return Err(format!("neither a set nor a case: {head}")),
        }
    }
    Ok(sets)
}

fn sources(lines: &[&str]) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    let mut rules = String::new();
    let mut labels = Some(dictionary());
    for line in lines {
        if let Some(path) = line.strip_prefix("+ shipped ") {
            let (_, text) = shipped::FILES.iter().find(|(known, _)| *known == path).ok_or(format!("no file {path}"))?;
            sources.push(source(&format!("_{}", path.trim_end_matches(".example")), text));
        } else if let Some(json) = line.strip_prefix("+ dictionary ") {
            labels = Some(source("_labels/data.json", json));
        } else if *line == "+ no dictionary" {
            labels = None;
        } else {
            rules.push_str(line);
            rules.push('\n');
        }
    }
    if !rules.is_empty() {
        sources.push(source("_policy/table.cedar", &rules));
    }
    sources.extend(labels);
    Ok(sources)
}

fn case(name: &str, text: &str) -> Result<Case, String> {
    let (facts, expected) = text.rsplit_once("=>").ok_or("nothing is expected")?;
    let mut subject = subject(vec![]);
    let facts_of = |subject: &mut Subject| subject.facts.take().ok_or("there are no facts".to_owned());
    let (mut asked, mut now, mut tags, mut without) = (None, NOW, None, false);
    for clause in clauses(facts)? {
        let (first, rest) = clause.split_first().ok_or("an empty clause")?;
        let words = || rest.iter().map(|word| word.key.clone()).collect::<Vec<_>>();
        let one = || rest.first().map(|word| word.key.as_str()).ok_or(format!("{} what?", first.key));
        let mut facts = facts_of(&mut subject)?;
        match first.key.as_str() {
            "deploy" | "pull" | "promote" => asked = Some((first.key.parse::<Action>().unwrap(), environment(rest)?)),
            "image" => subject.reference = Reference::parse(one()?).map_err(|e| e.to_string())?,
            "collection" => subject.collection = one()?.to_owned(),
            "signers" => subject.signers = words(),
            "conflicts" => subject.conflicts = words(),
            "tags" => tags = Some(words()),
            "signed" => facts.signed = one()?.to_owned(),
            "annotations" => facts.annotations = pairs(rest)?,
            "stated" => facts.stated = pairs(rest)?,
            "root" => subject.root_version = one()?.parse().map_err(|_| "not a version")?,
            "now" => now = seconds(one()?)?,
            "moved" => subject.tag_moved = Some(true),
            "not-moved" => subject.tag_moved = Some(false),
            "no-facts" => without = true,
            platform if platform.contains('/') && first.value.is_none() => facts.platforms.push(PlatformFacts {
                platform: platform.to_owned(),
                digest: Digest::of(platform.as_bytes()),
                labels: pairs(rest)?,
            }),
            other => return Err(format!("unknown clause {other}")),
        }
        subject.facts = Some(facts);
    }
    let mut facts = facts_of(&mut subject)?;
    if facts.platforms.is_empty() {
        facts.platforms.push(crate::common::platform("linux/amd64", &[]));
    }
    facts.platforms.retain(|platform| platform.platform != "none/none");
    facts.tags = tags.unwrap_or_else(|| subject.reference.tag().map(str::to_owned).into_iter().collect());
    subject.facts = Some(facts).filter(|_| !without);
    let (action, environment) = asked.ok_or("nothing is asked")?;
    Ok(Case { name: name.to_owned(), environment, action, subject, now, expected: expectation(expected)? })
}

fn expectation(text: &str) -> Result<Expected, String> {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let on = words.iter().position(|word| word == "on");
    let platforms = on.map(|at| words.drain(at..).skip(1).collect());
    let denied = match words.first().map(String::as_str) {
        Some("allowed") => false,
        Some("denied") => true,
        other => return Err(format!("{other:?} is neither allowed nor denied")),
    };
    words.remove(0);
    let cause = match denied {
        true if words.is_empty() => return Err("denied why?".to_owned()),
        true => words.remove(0),
        false => "permitted".to_owned(),
    };
    Ok(Expected { cause, rules: words, platforms })
}

fn environment(words: &[Word]) -> Result<Environment, String> {
    let [preposition, name, rest @ ..] = words else {
        return Err("an action is followed by in ENVIRONMENT".to_owned());
    };
    if preposition.key != "in" {
        return Err("an action is followed by in ENVIRONMENT".to_owned());
    }
    if name.key == "nowhere" {
        return Ok(Environment::strictest());
    }
    let cloud = |word: &str| Cloud::ALL.into_iter().find(|cloud| cloud.as_str() == word);
    let (kind, rest) = match rest.split_first() {
        Some((kind, rest)) if kind.value.is_none() => (kind, rest),
        _ => (name, rest),
    };
    let kind = cloud(&kind.key).ok_or(format!("{} is no cloud", kind.key))?;
    let mut environment = Environment::new(&name.key, kind).map_err(|error| error.to_string())?;
    for (key, value) in pairs(rest)? {
        match key.as_str() {
            "region" => environment.region = Some(value),
            _ => drop(environment.labels.insert(key, value)),
        }
    }
    Ok(environment)
}

fn pairs(words: &[Word]) -> Result<BTreeMap<String, String>, String> {
    let mut pairs = BTreeMap::new();
    for word in words {
        let value = word.value.clone().ok_or(format!("{} has no value", word.key))?;
        let key = if word.key == "data" { KEY } else { &word.key };
        if pairs.insert(key.to_owned(), value).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    Ok(pairs)
}

/// `KEY` or `KEY=VALUE`; each as it is or as a JSON string.
#[derive(Debug)]
struct Word {
    key: String,
    value: Option<String>,
}

/// The clauses and their words.
fn clauses(text: &str) -> Result<Vec<Vec<Word>>, String> {
    let mut clauses = vec![Vec::new()];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(';') {
            clauses.push(Vec::new());
            rest = behind.trim_start();
            continue;
        }
        let (key, behind) = part(rest)?;
        let (value, behind) = match behind.strip_prefix('=') {
            Some(behind) => part(behind).map(|(value, behind)| (Some(value), behind))?,
            None => (None, behind),
        };
        clauses.last_mut().ok_or("no clause")?.push(Word { key, value });
        rest = behind.trim_start();
    }
    Ok(clauses)
}

/// The first word of a text, and what is behind it.
fn part(text: &str) -> Result<(String, &str), String> {
    if text.starts_with('"') {
        let mut read = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let word = read.next().ok_or("no string")?.map_err(|error| format!("{text}: {error}"))?;
        return Ok((word, text.split_at(read.byte_offset()).1));
    }
    let end = text.find(|c: char| c.is_whitespace() || c == ';' || c == '=').unwrap_or(text.len());
    if end == 0 {
        return Err(format!("no word in {text:?}"));
    }
    let (word, behind) = text.split_at(end);
    Ok((word.to_owned(), behind))
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SSZ`, day by day: slow, and another way than the program's.
fn seconds(text: &str) -> Result<i64, String> {
    let numbers: Vec<i64> = text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { return Err(format!("{text} is no time")) };
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |month: i64, year: i64| match month {
        2 => 28 + i64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let years: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months: i64 = (1..month).map(|month| days_of(month, year)).sum();
    Ok((((years + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}

/// The other way round.
pub(crate) fn written(unix: i64) -> String {
    let (mut days, time) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    let (mut year, mut month) = (1970, 1);
    let length = |year: i64, month: i64| seconds(&first(year, month)).unwrap_or(0) / 86_400;
    while days >= length(year + 1, 1) - length(1970, 1) {
        year += 1;
    }
    days -= length(year, 1);
    while month < 12 && days >= length(year, month + 1) - length(year, 1) {
        month += 1;
    }
    days -= length(year, month) - length(year, 1);
    format!("{year}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", days + 1, time / 3_600, time / 60 % 60, time % 60)
}

fn first(year: i64, month: i64) -> String {
    format!("{year}-{month}-1T0:0:0Z")
}

#[test]
fn every_case_of_the_table_is_decided_as_it_says() {
    let mut failed = String::new();
    let mut names = BTreeSet::new();
    for set in sets() {
        let policy = set.load();
        for case in &set.cases {
            assert!(names.insert(case.name.clone()), "two cases are called {:?}", case.name);
            let decision = policy.decide(&case.environment, case.action, &case.subject, case.now);
            let platforms = decision.rules.iter().flat_map(|rule| rule.platforms.iter().cloned());
            let got = Expected {
                cause: serde_json::to_value(decision.cause).unwrap().as_str().unwrap().to_owned(),
                rules: decision.rules.iter().map(|rule| rule.id.clone()).collect(),
                platforms: case.expected.platforms.as_ref().map(|_| platforms.collect()),
            };
            let exit = match decision.cause {
                Cause::Permitted => 0,
                Cause::Error => 21,
                _ => 20,
            };
            if got != case.expected || decision.allowed != (got.cause == "permitted") || decision.exit() != exit {
                let told = decision.text().replace('\n', "\n    ");
                let _ = writeln!(failed, "{:?}\n  wanted {:?}\n  got    {got:?}\n    {told}", case.name, case.expected);
            }
        }
    }
    assert!(names.len() >= 200, "only {} cases", names.len());
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn every_shipped_file_of_rules_has_cases_in_the_table() {
    let sets = sets();
    for (path, _) in shipped::FILES.iter().filter(|(path, _)| path.starts_with("policy/")) {
        let path = format!("_{}", path.trim_end_matches(".example"));
        let cases: usize =
            sets.iter().filter(|set| set.sources.iter().any(|s| s.path == path)).map(|set| set.cases.len()).sum();
        assert!(cases >= 5, "{path} has {cases} cases in table/shipped.txt");
    }
}

#[test]
fn every_member_of_the_schema_and_every_operator_is_read_by_a_rule_of_the_table() {
    let sources: Vec<Source> = sets().into_iter().flat_map(|set| set.sources).collect();
    let rules: String = sources
        .iter()
        .filter(|source| source.path.ends_with(".cedar"))
        .map(|source| String::from_utf8_lossy(&source.bytes).into_owned())
        .collect();
    let mut word = "";
    let mut members = 0;
    for line in trust_policy::SCHEMA.lines().map(str::trim) {
        word = match line {
            line if line.starts_with("entity Environment") => "principal",
            line if line.starts_with("entity Platform") => "resource",
            line if line.starts_with("context:") => "context",
            line if line.starts_with("entity ") || line.starts_with("action ") => "",
            _ => word,
        };
        let member = line.split_once(':').map(|(name, _)| name.trim_end_matches('?'));
        let is_member = |name: &&str| {
            !word.is_empty() && *name != "context" && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        if let Some(member) = member.filter(is_member) {
            assert!(rules.contains(&format!("{word}.{member}")), "no rule of the table reads {word}.{member}");
            members += 1;
        }
    }
    assert!(members >= 18, "only {members} members were found in the schema");
    for operator in [
        " == ",
        " != ",
        " < ",
        " <= ",
        " > ",
        " >= ",
        " && ",
        " || ",
        "!(",
        " + ",
        " - ",
        " * ",
        "if ",
        " has ",
        " like ",
        " in ",
        " is ",
        "unless",
        ".contains(",
        ".containsAll(",
        ".containsAny(",
        ".isEmpty(",
        ".hasTag(",
        ".getTag(",
        "datetime(",
        "duration(",
        "decimal(",
        ".offset(",
        ".durationSince(",
        ".toDate(",
        ".toTime(",
        ".toDays(",
        "action in [",
        "action == ",
        "principal == Environment",
        "resource.annotations.",
        "resource.stated.",
    ] {
        assert!(rules.contains(operator), "no rule of the table has {operator}");
    }
}

#[test]
fn a_table_that_cannot_be_read_is_no_table() {
    for (text, word) in [
        ("case x\n  deploy in public => allowed", "before any set"),
        ("set x\n  permit;\ncase y\n  deploy in public", "nothing is expected"),
        ("set x\ncase y\n  deploy in public => denied", "denied why"),
        ("set x\ncase y\n  deploy in public => perhaps", "neither allowed nor denied"),
        ("set x\ncase y\n  deploy in eu => allowed", "is no cloud"),
        ("set x\ncase y\n  deploy in public; signed => allowed", "signed what"),
        ("set x\ncase y\n  deploy in public; sigend x => allowed", "unknown clause"),
        ("set x\ncase y\n  deploy in public; linux/amd64 a=1 a=2 => allowed", "twice"),
        ("set x\ncase y\n  linux/amd64 => allowed", "nothing is asked"),
        ("rules x", "neither a set nor a case"),
    ] {
        let error = read(text).err().unwrap_or_else(|| panic!("{text}"));
        assert!(error.contains(word), "{text}: {error}");
    }
    assert_eq!(seconds("2030-03-17T17:46:40Z"), Ok(NOW));
    assert_eq!(seconds("2000-02-29T00:00:00Z"), Ok(951_782_400));
}

/// What must hold of every case, whatever its rules are.
#[test]
fn every_case_of_the_table_stays_as_it_is_with_an_attestation_more_and_with_its_files_in_another_order() {
    for set in sets() {
        let policy = set.load();
        let mut turned = set.sources.clone();
        turned.reverse();
        let turned = Policy::load(&turned, identity()).unwrap();
        for case in &set.cases {
            let decide = |policy: &Policy, subject| policy.decide(&case.environment, case.action, subject, case.now);
            let decision = decide(&policy, &case.subject);
            assert_eq!(decide(&turned, &case.subject), decision, "{:?}", case.name);
            let mut more = case.subject.clone();
            if let Some(facts) = &mut more.facts {
                let hostile = [(KEY.to_owned(), "Pii".to_owned()), ("x".to_owned(), "y".to_owned())].into();
                let digest = Digest::of(b"attestation");
                facts
                    .platforms
                    .insert(0, PlatformFacts { platform: "unknown/unknown".to_owned(), digest, labels: hostile });
            }
            assert_eq!(decide(&policy, &more), decision, "{:?}", case.name);
        }
    }
}

#[test]
fn no_case_of_the_table_is_allowed_beside_a_rule_that_forbids_all() {
    let (mut allowed, mut cases) = (0, 0);
    for set in sets() {
        let before = set.load();
        let mut sources = set.sources.clone();
        sources.push(source("_policy/zz.cedar", "@id(\"zz-no\") forbid (principal, action, resource);"));
        let after = Policy::load(&sources, identity()).unwrap();
        for case in &set.cases {
            allowed += usize::from(before.decide(&case.environment, case.action, &case.subject, case.now).allowed);
            let decision = after.decide(&case.environment, case.action, &case.subject, case.now);
            assert!(!decision.allowed, "{:?}", case.name);
            cases += 1;
        }
    }
    assert!(
        allowed * 5 > cases && allowed < cases,
        "{allowed} of {cases} are allowed: a table of one answer proves little"
    );
}
