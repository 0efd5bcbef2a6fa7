//! What `trust policy init` writes works at once, and so does every example in it and in docs/policy.md.

use crate::common::{KEY, NOW, dictionary, identity, marked, platform, public, shipped_sources, source, subject};
use trust_policy::{Action, Cloud, Environment, Policy, cases, lint, shipped};

/// The blocks of one language in a text.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn shipped(path: &str) -> &'static str {
    shipped::FILES.iter().find(|(p, _)| *p == path).unwrap().1
}

#[test]
fn the_shipped_set_loads_without_a_warning() {
    let policy = Policy::load(&shipped_sources(), identity()).unwrap();
    assert_eq!(policy.warnings(), Vec::<String>::new());
    assert!(!policy.reads_time());
}

/// The files with these examples renamed into force, and without those that they stand in place of.
fn with_examples(names: &[&str]) -> Vec<(String, &'static str)> {
    let is_replaced = |path: &str| {
        shipped::INSTEAD.iter().any(|(name, old)| {
            names.contains(name)
                && [format!("policy/{old}.cedar"), format!("tests/{old}.toml")].contains(&path.to_owned())
        })
    };
    let renamed = |path: &str| {
        let stem = path.split_once('/').and_then(|(_, file)| file.split_once('.')).map_or("", |(stem, _)| stem);
        path.strip_suffix(".example").filter(|_| names.contains(&stem)).unwrap_or(path).to_owned()
    };
    let files = shipped::FILES.iter().filter(|(path, _)| !is_replaced(path));
    files.map(|(path, text)| (renamed(path), *text)).collect()
}

fn examples() -> Vec<&'static str> {
    let name = |path: &'static str| path.strip_prefix("policy/")?.strip_suffix(".cedar.example");
    shipped::FILES.iter().filter_map(|(path, _)| name(path)).collect()
}

/// Loads the files that are in force and decides their cases; what is told about them.
fn told(files: &[(String, &'static str)]) -> Vec<String> {
    let is_published = |path: &str| path.ends_with(".cedar") || path.ends_with(".json");
    let published = files.iter().filter(|(path, _)| is_published(path));
    let sources: Vec<_> = published.map(|(path, text)| source(&format!("_{path}"), text)).collect();
    let policy = Policy::load(&sources, identity()).unwrap();
    let mut told = policy.warnings().to_vec();
    told.extend(lint(&policy, &sources).into_iter().map(|finding| finding.message));
    let mut all = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.starts_with("tests/") && path.ends_with(".toml")) {
        let environment = |path: &str| Ok(Environment::from_toml(shipped(path), path).unwrap());
        all.extend(cases::read(path, text.as_bytes(), environment).unwrap());
    }
    let report = cases::run(&policy, &all);
    assert!(report.passed > 0 && report.passed + report.failed == all.len());
    let failed = report.cases.iter().filter(|result| !result.passed);
    told.extend(failed.map(|result| format!("{}: {}\n{}", result.path, result.name, result.text())));
    told.extend(report.untouched.into_iter().map(|id| format!("no case touches {id}")));
    told
}

#[test]
fn the_shipped_rules_decide_as_their_cases_say_and_every_rule_is_touched() {
    assert_eq!(told(&with_examples(&[])), Vec::<String>::new());
}

#[test]
fn each_shipped_example_works_when_it_is_renamed_into_force_and_all_cases_hold() {
    let examples = examples();
    assert_eq!(examples.len(), 7);
    for example in &examples {
        assert_eq!(told(&with_examples(&[example])), Vec::<String>::new(), "{example}");
        let cases = format!("tests/{example}.toml.example");
        assert!(shipped::FILES.iter().any(|(path, _)| *path == cases), "{example} has no cases");
        assert!(shipped("README.md").contains(&format!("| `{example}` |")), "the README does not tell of {example}");
    }
}

#[test]
fn a_case_that_does_not_hold_is_noticed() {
    let mut files = with_examples(&[]);
    let rules = files.iter_mut().find(|(path, _)| path == "policy/pii.cedar").unwrap();
    rules.1 = "@id(\"pii-private-clouds\") permit (principal, action, resource);";
    let told = told(&files);
    assert!(told.iter().any(|told| told.contains("expected deny") && told.contains("found    allow")), "{told:?}");
    assert!(told.iter().any(|told| told.contains("there is no rule pii-not-in-public")), "{told:?}");
}

#[test]
fn the_shipped_environments_are_what_their_names_say() {
    for cloud in Cloud::ALL {
        let path = format!("environments/{cloud}.toml");
        let env = Environment::from_toml(shipped(&path), &path).unwrap();
        assert_eq!((env.cloud, env.name.as_str()), (cloud, cloud.as_str()));
    }
}

#[test]
fn a_rule_that_permits_more_does_not_open_the_shipped_allow_list() {
    let mut sources = shipped_sources();
    sources.push(source("_policy/more.cedar", "@id(\"team\") permit (principal, action, resource);"));
    let policy = Policy::load(&sources, identity()).unwrap();
    for image in [marked("PII"), marked("internal"), subject(vec![platform("linux/amd64", &[])])] {
        assert!(!policy.decide(&public(), Action::Deploy, &image, NOW).allowed);
    }
    assert!(policy.decide(&public(), Action::Deploy, &marked("public"), NOW).allowed);
}

#[test]
fn the_forbid_variant_is_weaker_as_it_says() {
    let sources = [source("_policy/a.cedar", shipped("policy/pii-forbid.cedar.example")), dictionary()];
    let policy = Policy::load(&sources, identity()).unwrap();
    let allowed = |image| policy.decide(&public(), Action::Deploy, &image, NOW).allowed;
    assert!(!allowed(marked("PII")) && !allowed(marked("pii")) && !allowed(marked("Pii")));
    assert!(
        allowed(marked("internal")) && allowed(subject(vec![platform("linux/amd64", &[("com.example.dta", "PII")])]))
    );
}

#[test]
fn the_signers_example_demands_them_and_denies_their_conflicts() {
    let permit = source("_policy/b.cedar", "@id(\"all\") permit (principal, action, resource);");
    let sources = [source("_policy/a.cedar", shipped("policy/signers.cedar.example")), permit, dictionary()];
    let policy = Policy::load(&sources, identity()).unwrap();
    let decided = |change: fn(&mut trust_policy::Subject)| {
        let mut image = marked("public");
        change(&mut image);
        let decision = policy.decide(&public(), Action::Deploy, &image, NOW);
        decision.rules.iter().map(|r| r.id.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(decided(|_| {}), "all");
    assert_eq!(decided(|i| i.signers = vec!["alice".to_owned()]), "signers-ci-everywhere");
    assert_eq!(decided(|i| i.signers = vec!["ci".to_owned()]), "signers-release-in-public");
    assert_eq!(decided(|i| i.conflicts = vec!["bob".to_owned()]), "signers-no-conflict");
    assert_eq!(decided(|i| i.conflicts = vec!["mallory".to_owned()]), "all");
    assert_eq!(decided(|i| i.tag_moved = Some(true)), "signers-tag-not-moved");
}

#[test]
fn every_example_of_the_documentation_loads() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let mut seen = 0;
    for text in [docs.as_str(), shipped("README.md")] {
        for rules in blocks(text, "cedar") {
            let permit = source("_policy/p.cedar", "@id(\"all-of-the-test\") permit (principal, action, resource);");
            let sources = [source("_policy/a.cedar", rules), permit, dictionary()];
            let policy = Policy::load(&sources, identity()).unwrap_or_else(|e| panic!("{e}\n{rules}"));
            assert!(
                policy.warnings().iter().all(|w| w.contains("is not in the dictionary")),
                "{:?}",
                policy.warnings()
            );
            seen += 1;
        }
        for file in blocks(text, "toml") {
            if file.contains("[[case]]") {
                let environment = |path: &str| Ok(Environment::from_toml(shipped(path), path).unwrap());
                cases::read("tests/a.toml", file.as_bytes(), environment).unwrap_or_else(|e| panic!("{e}\n{file}"));
                continue;
            }
            Environment::from_toml(file, "x").unwrap_or_else(|e| panic!("{e}\n{file}"));
        }
        for file in blocks(text, "json") {
            let sources = [
                source("_policy/a.cedar", "@id(\"a\") permit (principal, action, resource);"),
                source("_labels/a.json", file),
            ];
            let policy = Policy::load(&sources, identity()).unwrap_or_else(|e| panic!("{e}\n{file}"));
            assert!(policy.dictionary().governs(KEY), "the one label key of all examples is {KEY}");
        }
    }
    assert!(seen >= 6, "only {seen}");
}

#[test]
fn the_findings_that_the_documentation_shows_are_what_the_program_says() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let docs = std::fs::read_to_string(format!("{root}/docs/policy.md")).unwrap();
    let said = std::fs::read_to_string(format!("{root}/tests/transcripts/policy-check-findings.txt")).unwrap();
    let block = blocks(&docs, "text").into_iter().find(|block| block.contains(" never matches: ")).unwrap();
    for line in block.lines() {
        assert!(said.contains(&format!("warning {line}\n")), "{line}\n{said}");
    }
}

#[test]
fn the_text_of_the_documentation_is_what_the_program_says() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let policy = Policy::load(&shipped_sources(), identity()).unwrap();
    let denied = policy.decide(&public(), Action::Deploy, &marked("PII"), NOW).text();
    // As a program names who signed.
    let denied = denied.replace("signed by secops", "signed by key 5f70bf18a086");
    assert!(
        blocks(&docs, "text").iter().any(|block| block.trim_end() == denied),
        "docs/policy.md shows another text than\n{denied}"
    );
}
