//! What `trust policy init` writes works at once, and so does every example in it and in docs/policy.md.

use crate::common::{KEY, NOW, dictionary, identity, marked, platform, public, shipped_sources, source, subject};
use trust_policy::{Action, Cloud, Environment, Policy, shipped};

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

#[test]
fn every_shipped_example_loads_when_it_is_renamed_into_force() {
    let mut examples = 0;
    for (path, text) in shipped::FILES.iter().filter(|(path, _)| path.ends_with(".example")) {
        let mut sources = shipped_sources();
        sources.push(source(&format!("_{}", path.trim_end_matches(".example")), text));
        let policy = Policy::load(&sources, identity()).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(policy.warnings(), Vec::<String>::new(), "{path}");
        examples += 1;
    }
    assert_eq!(examples, 2);
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
fn the_text_of_the_documentation_is_what_the_program_says() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let policy = Policy::load(&shipped_sources(), identity()).unwrap();
    let denied = policy.decide(&public(), Action::Deploy, &marked("PII"), NOW).text();
    assert!(
        blocks(&docs, "text").iter().any(|block| block.trim_end() == denied),
        "docs/policy.md shows another text than\n{denied}"
    );
}
