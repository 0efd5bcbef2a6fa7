//! Case files: what is refused, what is taken as given, and what a difference says.

use trust_policy::cases::{self, Case, CaseError};
use trust_policy::{Action, Cause, Cloud, Environment};

use crate::common::{KEY, load, shipped_policy};

const CASE: &str = "[[case]]\nname = \"one\"\nenvironment = { name = \"eu\", cloud = \"public\" }\n[case.image]\nreference = \"registry.example.com/hr/payroll:7\"\n[case.expect]\ndecision = \"deny\"\n";

fn read(text: &str) -> Result<Vec<Case>, CaseError> {
    cases::read("tests/a.toml", text.as_bytes(), |name| match name {
        "environments/eu.toml" => Ok(Environment::new("eu", Cloud::Private).unwrap()),
        other => Err(format!("{other}: no such file")),
    })
}

fn one(text: &str) -> Case {
    read(text).unwrap_or_else(|e| panic!("{e}\n{text}")).remove(0)
}

fn refused(text: &str) -> String {
    read(text).map(|cases| panic!("{cases:?}\n{text}")).unwrap_err().to_string()
}

fn with(old: &str, new: &str) -> String {
    assert!(CASE.contains(old));
    CASE.replace(old, new)
}

#[test]
fn a_case_that_says_little_is_a_verified_image_of_one_platform() {
    let case = one(CASE);
    assert_eq!((case.name.as_str(), case.place.to_string().as_str()), ("one", "tests/a.toml:2:8"));
    assert_eq!((case.environment.cloud, case.action, case.expected.allowed), (Cloud::Public, Action::Deploy, false));
    assert_eq!((case.expected.rules, case.expected.cause), (None, None));
    let subject = case.subject;
    assert_eq!((subject.collection.as_str(), subject.root_version), ("registry.example.com/hr/payroll", 1));
    assert_eq!((subject.signers.join(" ").as_str(), subject.conflicts.len(), subject.tag_moved), ("targets", 0, None));
    let facts = subject.facts.unwrap();
    assert_eq!((facts.tags.join(" ").as_str(), facts.platforms[0].platform.as_str()), ("7", "linux/amd64"));
    assert_eq!((facts.platforms.len(), facts.signed.as_str(), case.now), (1, "2026-01-01T00:00:00Z", 1_767_225_600));
}

#[test]
fn all_that_a_case_says_reaches_the_rules() {
    let zeros = format!("sha256:{}", "0".repeat(64));
    let case = one(&format!(
        "[[case]]\nname = \"all\"\nenvironment = \"environments/eu.toml\"\naction = \"promote\"\nnow = 2026-03-01T00:00:00Z\n[case.image]\nreference = \"registry.example.com/hr/payroll:7\"\ndigest = \"{zeros}\"\ncollection = \"registry.example.com/hr\"\nsigners = [\"ci\"]\nconflicts = [\"bob\"]\ntag_moved = true\nsigned = \"2026-02-01T00:00:00Z\"\ntags = [\"b\", \"a\", \"b\"]\nannotations = {{ team = \"hr\" }}\nstated = {{ ticket = \"12\" }}\nroot_version = 4\nplatforms = [{{ platform = \"linux/amd64\" }}, {{ platform = \"linux/arm64\", labels = {{ \"{KEY}\" = \"PII\" }} }}]\n[case.expect]\ndecision = \"allow\"\nrules = [\"b\", \"a\"]\ncause = \"permitted\"\n"
    ));
    assert_eq!((case.action, case.now, case.environment.cloud), (Action::Promote, 1_772_323_200, Cloud::Private));
    assert_eq!((case.expected.rules.unwrap().join(" ").as_str(), case.expected.cause), ("a b", Some(Cause::Permitted)));
    let subject = case.subject;
    assert_eq!((subject.digest.to_string(), subject.collection.as_str()), (zeros, "registry.example.com/hr"));
    assert_eq!((subject.signers.join(" ").as_str(), subject.conflicts.join(" ").as_str()), ("ci", "bob"));
    assert_eq!((subject.tag_moved, subject.root_version), (Some(true), 4));
    let facts = subject.facts.unwrap();
    assert_eq!((facts.signed.as_str(), facts.tags.join(" ").as_str()), ("2026-02-01T00:00:00Z", "a b"));
    assert_eq!(facts.stated["ticket"], "12");
    assert_eq!((facts.annotations["team"].as_str(), facts.platforms[1].labels[KEY].as_str()), ("hr", "PII"));
    assert_ne!(facts.platforms[0].digest, facts.platforms[1].digest);
}

#[test]
fn the_time_of_a_case_is_that_of_its_signature_where_it_states_one_alone() {
    let signed = with("[case.expect]", "signed = 2026-05-01T00:00:00Z\n[case.expect]");
    assert_eq!(one(&signed).now, 1_777_593_600);
    let now = with("[case.image]", "now = \"2026-05-01T00:00:00Z\"\n[case.image]");
    assert_eq!(one(&now).subject.facts.unwrap().signed, "2026-05-01T00:00:00Z");
}

#[test]
fn a_misspelt_member_is_refused_at_its_place_with_the_one_that_was_meant() {
    for (old, new, told) in [
        ("name = \"one\"", "nmae = \"one\"", "tests/a.toml:2:1: unknown field `nmae`"),
        ("[case.image]", "[case.imgae]", "tests/a.toml:4:7: unknown field `imgae`"),
        ("reference =", "referense =", "tests/a.toml:5:1: unknown field `referense`"),
        ("decision =", "decisoin =", "tests/a.toml:7:1: unknown field `decisoin`"),
        ("[[case]]", "[[caes]]", "tests/a.toml:1:3: unknown field `caes`"),
    ] {
        let refused = refused(&with(old, new));
        assert!(refused.starts_with(told) && refused.contains("; did you mean `"), "{refused}");
    }
    let inline = refused(&with("cloud =", "clowd ="));
    assert!(inline.contains("tests/a.toml:3:15: ") && inline.contains("did you mean \"cloud\"?"), "{inline}");
    let cause = refused(&format!("{CASE}cause = \"nothing-permit\"\n"));
    assert!(cause.starts_with("tests/a.toml:8:9: ") && cause.contains("did you mean nothing-permits?"), "{cause}");
    assert!(refused(&format!("{CASE}cause = \"excepted\"\n")).contains("a cause is one of"), "nothing is lifted here");
}

#[test]
fn what_no_image_can_be_is_refused() {
    let image = |more: &str| with("[case.expect]", &format!("{more}\n[case.expect]"));
    for (text, told) in [
        (with("hr/payroll:7", "HR/payroll:7"), "tests/a.toml:5:13: "),
        (image("digest = \"sha256:0\""), "tests/a.toml:6:10: "),
        (image("signed = 2026-02-01"), "tests/a.toml:6:10: a time is written as"),
        (image("signed = \"yesterday\""), "a time is written as"),
        (image("signed = 7"), "a time is written as"),
        (image("labels = {}\nplatforms = [{ platform = \"linux/amd64\" }]"), "not both"),
        (image("platforms = []"), "1 to 64 platforms"),
        (image("platforms = [{ platform = \"linux\" }]"), "the platforms in the facts are not valid"),
        (image("tags = [\"a b\"]"), "the tags in the facts are not valid"),
        (image(&format!("labels = {{ a = \"{}\" }}", "x".repeat(20_000))), "bytes, more than 16384"),
        (image(&format!("signers = [{}]", "\"a\",".repeat(1_001))), "at most 1000 signers"),
        (
            with(":7\"", &format!(":7@sha256:{}\"\ndigest = \"sha256:{}\"", "0".repeat(64), "1".repeat(64))),
            "another one than",
        ),
        (with("decision = \"deny\"", "decision = \"denied\""), "a decision is \"allow\" or \"deny\""),
        (with("[case.image]", "action = \"run\"\n[case.image]"), "an action is deploy, pull or promote"),
        (with("{ name = \"eu\", cloud = \"public\" }", "7"), "an environment is the path of a file, or a table"),
        (
            with("{ name = \"eu\", cloud = \"public\" }", "\"environments/us.toml\""),
            "environments/us.toml: no such file",
        ),
        (with("name = \"one\"", "name = \" \""), "the name of a case is"),
        (with("name = \"one\"", "name = \"\\u202e\""), "the name of a case is"),
        (with("[case.expect]\ndecision = \"deny\"\n", ""), "missing field `expect`"),
        (
            with(
                "[case.image]\nreference = \"registry.example.com/hr/payroll:7\"",
                "image = [\"registry.example.com/hr/payroll:7\"]",
            ),
            "tests/a.toml:",
        ),
        (format!("{CASE}{CASE}"), "tests/a.toml:9:8: this name is also that of the case at line 2"),
        (String::new(), "there is no case in it"),
        (format!("# {}", "x".repeat(cases::MAX_FILE_LEN)), "at most 262144 bytes"),
        ((0..=cases::MAX_CASES).map(|n| with("one", &format!("{n}"))).collect(), "at most 1000 cases"),
    ] {
        let refused = refused(&text);
        assert!(refused.contains(told), "{refused}, not {told}");
    }
    let encoding = cases::read("tests/a.toml", &[0xff], |_| Err(String::new())).unwrap_err();
    assert!(encoding.to_string().contains("not UTF-8"), "{encoding}");
}

#[test]
fn a_difference_names_what_was_expected_and_what_was_found() {
    let policy = shipped_policy();
    let fails = format!("{}rules = [\"pii-not-in-publik\"]\ncause = \"forbidden\"\n", with("\"deny\"", "\"allow\""));
    let report = cases::run(&policy, &read(&fails).unwrap());
    assert_eq!((report.passed, report.failed), (0, 1));
    let told = report.cases[0].text();
    let expected = "decision  expected allow\n          found    deny\nrules     expected pii-not-in-publik (there is no rule pii-not-in-publik, did you mean pii-not-in-public?)\n          found    pii-not-in-public\nDENY  rule pii-not-in-public";
    assert!(told.starts_with(expected), "{told}");
    assert!(report.cases[0].decision.as_ref().is_some_and(|decision| !decision.allowed));
    // What is expected and comes out is no difference, and is not told.
    let passes = format!("{CASE}rules = [\"pii-not-in-public\"]\ncause = \"forbidden\"\n");
    let report = cases::run(&policy, &read(&passes).unwrap());
    assert_eq!((report.passed, report.cases[0].text().as_str()), (1, ""));
    assert!(report.cases[0].decision.is_none());
}

#[test]
fn exactly_the_named_rules_must_decide() {
    let rules = "@id(\"a\") forbid (principal, action, resource);\n@id(\"b\") forbid (principal, action, resource) when { resource.tags.contains(\"7\") };";
    let policy = load(rules).unwrap();
    let passes = |rules: &str| cases::run(&policy, &read(&format!("{CASE}rules = {rules}\n")).unwrap()).passed == 1;
    assert!(passes("[\"b\", \"a\"]") && !passes("[\"a\"]") && !passes("[]") && !passes("[\"a\", \"b\", \"c\"]"));
    // Where nothing permits, no rule decides.
    let nothing = load("@id(\"p\") permit (principal, action, resource) when { resource.tag_moved };").unwrap();
    let report = cases::run(&nothing, &read(&format!("{CASE}rules = []\ncause = \"nothing-permits\"\n")).unwrap());
    assert_eq!((report.passed, report.untouched), (1, vec!["p".to_owned()]));
}

#[test]
fn a_rule_is_touched_where_it_decides_one_platform_and_only_then() {
    let policy = shipped_policy();
    let report = cases::run(&policy, &read(CASE).unwrap());
    assert_eq!(report.untouched, ["pii-fit-for-public", "pii-private-clouds", "tag-pii-not-in-public"]);
    let mixed = with(
        "[case.expect]",
        &format!(
            "platforms = [{{ platform = \"linux/amd64\", labels = {{ \"{KEY}\" = \"public\" }} }}, {{ platform = \"linux/arm64\" }}]\n[case.expect]"
        ),
    );
    let report = cases::run(&policy, &read(&mixed).unwrap());
    assert_eq!(report.untouched, ["pii-private-clouds", "tag-pii-not-in-public"]);
}
