//! What must not load, each with its reason; what loads with a warning.

use crate::common::{KEY, dictionary, identity, load, shipped_sources, source};
use trust_policy::{DictionaryError, LoadError, Policy, ReadProblem};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn refused(rules: &str) -> LoadError {
    load(rules).map(|policy| policy.warnings().to_vec()).unwrap_err()
}

fn invalid(rules: &str) -> String {
    match refused(rules) {
        LoadError::Invalid { found } => found.join("\n"),
        other => panic!("{other:?}"),
    }
}

fn reads(rules: &str) -> ReadProblem {
    match refused(rules) {
        LoadError::Reads { problem, .. } => *problem,
        other => panic!("{rules}: {other:?}"),
    }
}

fn rule(condition: &str) -> String {
    format!("@id(\"rule\")\nforbid (principal, action, resource)\nwhen {{ {condition} }};\n")
}

#[test]
fn a_forbid_that_reads_a_label_without_asking_for_it_cannot_pass() {
    let told = invalid(&format!("{PERMIT}{}", rule(&format!("resource.getTag(\"{KEY}\") == \"PII\""))));
    assert!(told.starts_with("_policy/main.cedar:4:8: rule rule: "), "{told}");
    assert!(told.contains(KEY), "{told}");
}

#[test]
fn a_misspelt_member_or_type_or_action_is_refused() {
    for (wrong, word) in [
        (rule("principal.clowd == \"public\""), "clowd"),
        (rule("resource.signer.contains(\"ci\")"), "signer"),
        (rule("resource.tag == \"x\""), "tag"),
        (rule("principal.region == \"eu\""), "region"),
        (rule("context.time > datetime(\"2030-01-01\")"), "time"),
        (rule("resource.signers.contains(1)"), ""),
        (rule("principal.cloud"), ""),
        ("@id(\"a\") permit (principal, action == Action::\"deplyo\", resource);".to_owned(), "deplyo"),
        ("@id(\"a\") permit (principal is Env, action, resource);".to_owned(), "Env"),
    ] {
        let told = invalid(&wrong);
        assert!(told.contains(word), "{wrong}: {told}");
    }
}

#[test]
fn a_misspelt_member_is_told_in_the_words_of_the_rule_with_the_nearest_of_all_members() {
    let told = invalid(&rule("resource.signerz.contains(\"ci\")"));
    assert!(told.ends_with("resource has no member signerz; did you mean resource.signers?"), "{told}");
    let told = invalid(&rule("principal.zzzzzz == \"x\""));
    assert!(told.ends_with("principal has no member zzzzzz; it has name, cloud, region"), "{told}");
    let alias = reads(&rule(&format!("resource.hasTag(\"{KEY}\") && resource.getTag(\"{KEY}\") == \"pii\"")));
    assert!(alias.to_string().contains("\"pii\", which is an alias of \"PII\""), "{alias}");
}

#[test]
fn all_errors_of_a_set_are_told_at_once_and_in_order() {
    let rules: String =
        (0..20).map(|n| rule("principal.clowd == \"x\"").replace("\"rule\"", &format!("\"r{n}\""))).collect();
    let told = invalid(&rules);
    assert_eq!(told.lines().count(), 10, "{told}");
    assert!(told.starts_with("_policy/main.cedar:3:8: rule r0: "), "{told}");
    let line = refused(&rules).to_string();
    assert!(line.ends_with(" (and 9 more)") && line.lines().count() == 1, "{line}");
}

#[test]
fn a_rule_without_an_id_and_an_id_given_twice_are_refused() {
    assert!(matches!(refused("permit (principal, action, resource);"), LoadError::NoId { .. }));
    let LoadError::IdTwice { place, id, first } = refused(&format!("{PERMIT}\n{PERMIT}")) else { panic!() };
    assert_eq!((place.line, id.as_str(), first.line), (3, "all", 1));
    let two = [source("_policy/a.cedar", PERMIT), source("_policy/b.cedar", &PERMIT.replace("permit", "forbid"))];
    assert!(matches!(Policy::load(&two, identity()), Err(LoadError::IdTwice { .. })), "also in two files");
    for id in ["", "A", "a b", "-a", "a\\u{202e}", "é", &"a".repeat(65)] {
        let text = PERMIT.replace("all", id);
        assert!(matches!(refused(&text), LoadError::Id { .. }), "{id}");
    }
    assert!(matches!(refused("@id(\"a\") @id(\"b\") permit (principal, action, resource);"), LoadError::Syntax { .. }));
}

#[test]
fn what_is_not_one_rule_after_the_other_is_refused_with_its_line() {
    for (text, line) in [
        ("\n\npermit (principal, action);", 3),
        ("@id(\"a\") permit (principal, action, resource)", 1),
        ("@id(\"a\") permit (principal, action, resource); ;", 1),
        ("\n@id(\"a\") permit (principal, action, resource)\nwhen { true } }\n;", 3),
        ("hello", 1),
        ("@id(\"a\") permit (principal, action, resource) when { \"open };", 1),
    ] {
        match refused(text) {
            LoadError::Syntax { place, message } => {
                assert_eq!(place.line, line, "{text}: {message}");
                assert_eq!(message.lines().count(), 1, "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_template_that_would_never_apply_is_refused() {
    let template = "@id(\"a\") forbid (principal == ?principal, action, resource);";
    assert!(matches!(refused(template), LoadError::Template { .. }));
}

#[test]
fn nothing_at_all_is_no_policy() {
    assert_eq!(refused(""), LoadError::Empty);
    assert_eq!(refused("// only a comment"), LoadError::Empty);
    assert_eq!(Policy::load(&[], identity()).unwrap_err(), LoadError::Empty);
    assert_eq!(Policy::load(&[dictionary()], identity()).unwrap_err(), LoadError::Empty);
}

#[test]
fn a_rule_on_fitness_does_not_load_without_the_dictionary_of_its_key() {
    let pii: Vec<_> = shipped_sources().into_iter().filter(|s| s.path == "_policy/pii.cedar").collect();
    let refused = Policy::load(&pii, identity()).unwrap_err();
    let LoadError::Reads { problem, .. } = refused else { panic!("{refused}") };
    assert_eq!(*problem, ReadProblem::FitKey { key: format!("\"{KEY}\"") });
    assert_eq!(
        reads(&rule("resource.fit.contains(\"com.example.dta\")")),
        ReadProblem::FitKey { key: "\"com.example.dta\"".to_owned() }
    );
    let list = rule(&format!("resource.fit.containsAny([\"{KEY}\", \"other\"])"));
    assert!(matches!(reads(&list), ReadProblem::FitKey { .. }));
}

#[test]
fn fitness_cannot_be_asked_in_a_way_that_hides_the_key() {
    for hidden in [
        "resource.fit.isEmpty()",
        "resource.fit == [\"com.example.data\"]",
        "resource.fit.contains(principal.name)",
        "[\"com.example.data\"].containsAll(resource.fit)",
        "resource.tags.containsAny(resource.fit)",
        "(if true then resource.fit else resource.fit).contains(\"x\")",
        "{a: resource.fit}.a.contains(\"x\")",
    ] {
        assert_eq!(reads(&rule(hidden)), ReadProblem::FitForm, "{hidden}");
    }
    for whole in [
        "(if principal.cloud == \"public\" then resource else resource).fit.contains(\"x\")",
        "{a: resource}.a.fit.contains(\"x\")",
        "resource == Platform::\"linux/amd64\"",
    ] {
        assert_eq!(reads(&rule(whole)), ReadProblem::Whole, "{whole}");
    }
    let scope = "@id(\"a\") permit (principal, action, resource == Platform::\"x\");";
    assert_eq!(reads(scope), ReadProblem::Whole);
}

#[test]
fn labels_are_read_by_names_that_are_written_out() {
    let computed = "resource.hasTag(principal.name) && resource.getTag(principal.name) == \"x\"";
    assert_eq!(reads(&rule(computed)), ReadProblem::ComputedKey);
}

#[test]
fn a_forbid_that_compares_with_what_can_never_be_is_refused() {
    let compared = |with: &str| format!("resource.hasTag(\"{KEY}\") && {with}");
    let get = format!("resource.getTag(\"{KEY}\")");
    for wrong in [
        format!("{get} == \"Pii\""),
        format!("\"pii\" == {get}"), // an alias: rules see the value that it means
        format!("{get} != \"РII\""),
        format!("[\"PII\", \"secret\"].contains({get})"),
    ] {
        assert!(matches!(reads(&rule(&compared(&wrong))), ReadProblem::Value { .. }), "{wrong}");
    }
    assert!(load(&rule(&compared(&format!("[\"PII\", \"internal\"].contains({get})")))).is_ok());
    for wrong in [
        "principal.cloud == \"Public\"",
        "\"prod\" != principal.cloud",
        "[\"public\", \"x\"].contains(principal.cloud)",
    ] {
        assert!(matches!(reads(&rule(wrong)), ReadProblem::Cloud { .. }), "{wrong}");
    }
}

#[test]
fn a_comparison_that_can_never_be_true_cannot_hide_in_another_form() {
    for hidden in [
        "[\"Public\", \"PUBLIC\"].containsAny([principal.cloud])",
        "[\"public\"].containsAll([principal.cloud])",
        "[principal.cloud].contains(\"Public\")",
        "principal.cloud like \"Public*\"",
        "(if true then principal.cloud else \"x\") == \"Public\"",
        "(if principal.name == \"eu\" then \"Public\" else \"PUBLIC\") == principal.cloud",
        "[principal.cloud] == [\"Public\"]",
        "{a: principal.cloud}.a == \"Public\"",
        "{a: \"Public\"}.a == principal.cloud",
        "principal.cloud == principal.name",
        "principal.cloud == principal.cloud",
        "principal[\"cloud\"] like \"*\"",
        "resource.tags.contains(principal.cloud)",
        "[\"public\", principal.name].contains(principal.cloud)",
        "principal has region && principal.region == principal.cloud",
    ] {
        assert_eq!(reads(&rule(hidden)), ReadProblem::CloudForm, "{hidden}");
    }
    let get = format!("resource.getTag(\"{KEY}\")");
    for hidden in [
        format!("{get} like \"pii\""),
        format!("[{get}].contains(\"pii\")"),
        format!("[{get}] == [\"pii\"]"),
        format!("[\"pii\"].containsAny([{get}])"),
        format!("(if true then {get} else \"x\") == \"pii\""),
        format!("{{a: {get}}}.a == \"pii\""),
        format!("{get} == {{a: \"pii\"}}.a"),
        format!("{get} == principal.name"),
        format!("principal.name == {get}"),
        format!("resource.tags.contains({get})"),
        format!("[\"PII\", principal.name].contains({get})"),
    ] {
        let asked = rule(&format!("resource.hasTag(\"{KEY}\") && {hidden}"));
        assert_eq!(reads(&asked), ReadProblem::LabelForm { key: format!("\"{KEY}\"") }, "{hidden}");
    }
    let told = refused(&rule("principal.cloud like \"Public*\"")).to_string();
    assert!(told.contains("principal.cloud == \"public\"") && told.lines().count() == 1, "{told}");
}

#[test]
fn an_environment_that_no_name_fits_is_refused() {
    for wrong in [
        "principal == Environment::\"Public-EU\"",
        "Environment::\"\" != principal",
        "principal in [Environment::\"eu\", Environment::\"EU\"]",
        "principal.name == \"Public EU\"",
        "\"-eu\" != principal.name",
        "principal.name == \"eu.west\"",
        "[\"eu\", \"EU\"].contains(principal.name)",
        "principal.name like \"EU-*\"",
        "principal.name like \"-*\"",
        "principal.name like \"*eu_*\"",
    ] {
        assert!(matches!(reads(&rule(wrong)), ReadProblem::Name { .. }), "{wrong}");
    }
    for scope in ["==", "in", "is Environment in"] {
        let scope = format!("@id(\"a\") forbid (principal {scope} Environment::\"Public-EU\", action, resource);");
        assert!(matches!(reads(&scope), ReadProblem::Name { .. }), "{scope}");
    }
    for hidden in [
        "[\"Public EU\"].containsAny([principal.name])",
        "[principal.name] == [\"Public EU\"]",
        "{a: principal.name}.a == \"Public EU\"",
        "(if true then principal.name else \"x\") == \"Public EU\"",
    ] {
        assert_eq!(reads(&rule(hidden)), ReadProblem::NameForm, "{hidden}");
    }
    let longest = "a".repeat(63);
    for right in [
        "principal == Environment::\"public-eu\"",
        "principal in [Environment::\"eu\", Environment::\"us\"]",
        "action in [Action::\"deploy\", Action::\"pull\"] && action != Action::\"pull\"",
        "principal has cloud && !(principal.cloud == \"public\")",
        "principal.name like \"*-eu\"",
        "principal.name like \"public-*\"",
        "principal.name like \"*\"",
        "resource.signers.contains(principal.name)",
        "[\"eu\", \"us\"].contains(principal.name)",
        "[\"public\"].contains(principal.cloud)",
        "\"private\" != principal.cloud",
        &format!("principal.name == \"{longest}\""),
        "resource.hasTag(\"org.example.free\") && resource.getTag(\"org.example.free\") like \"Any *\"",
        "principal.hasTag(\"com.example.data\") && principal.getTag(\"com.example.data\") like \"Any *\"",
    ] {
        assert!(load(&rule(right)).is_ok(), "{right}: {:?}", load(&rule(right)).err());
    }
    assert!(load(&rule(&format!("principal.name == \"{longest}a\""))).is_err());
}

#[test]
fn files_that_are_none_of_a_policy_are_refused() {
    for path in [
        "policy/a.cedar",
        "_policy/a.json",
        "_policy/.cedar",
        "_policy/../a.cedar",
        "_policy/b/a.cedar",
        "_policy/a.cedar\n",
        "_labels/a.cedar",
        "_labels/.a.json",
        "_policy/é.cedar",
        "_exceptions/a.json",
        "",
        "_policy/",
        "_policy/.hidden.cedar",
    ] {
        let refused = Policy::load(&[source(path, PERMIT)], identity()).unwrap_err();
        assert!(matches!(refused, LoadError::Path { .. }), "{path:?}: {refused:?}");
        assert!(!refused.to_string().contains('\n'));
    }
    let twice = [source("_policy/a.cedar", PERMIT), source("_policy/a.cedar", "")];
    assert!(matches!(Policy::load(&twice, identity()), Err(LoadError::PathTwice { .. })));
    let mut bytes = source("_policy/a.cedar", PERMIT);
    bytes.bytes.push(0xff);
    assert!(matches!(Policy::load(&[bytes], identity()), Err(LoadError::Encoding { .. })));
}

#[test]
fn a_dictionary_with_a_key_twice_is_refused_with_its_file() {
    let again = source("_labels/more.json", std::str::from_utf8(&dictionary().bytes).unwrap());
    let refused = Policy::load(&[source("_policy/a.cedar", PERMIT), dictionary(), again], identity()).unwrap_err();
    let key = "\"com.example.data\"".to_owned();
    assert_eq!(
        refused,
        LoadError::Dictionary {
            path: "_labels/more.json".to_owned(),
            at: Some((4, 5)),
            error: DictionaryError::KeyTwice { key }
        }
    );
}

#[test]
fn huge_policies_are_refused_by_the_limit_that_they_break() {
    let long = format!("{PERMIT}//{}", " ".repeat(256 * 1024));
    assert!(matches!(refused(&long), LoadError::TooLong { .. }));
    let files: Vec<_> = (0..65).map(|n| source(&format!("_policy/f{n}.cedar"), "")).collect();
    assert_eq!(Policy::load(&files, identity()).unwrap_err(), LoadError::TooManySources);
    let rules: String = (0..=1_000).map(|n| PERMIT.replace("all", &format!("r{n}"))).collect();
    assert_eq!(refused(&rules), LoadError::TooManyRules);
    let deep = rule(&format!("{}true{}", "(".repeat(100_000), ")".repeat(100_000)));
    assert!(matches!(refused(&deep), LoadError::Excess { .. }));
    let wide = rule(&format!("{} true", "true || ".repeat(10_000)));
    assert!(matches!(refused(&wide), LoadError::Excess { .. }));
    let title = "t".repeat(1_025);
    assert!(matches!(refused(&format!("@title(\"{title}\") {PERMIT}")), LoadError::Annotation { name: "title", .. }));
}

#[test]
fn what_is_within_the_limits_fits_the_stack_of_a_small_thread() {
    let deepest = [
        format!("{} true", "true || ".repeat(320)),
        format!("{} true", "true && ".repeat(320)),
        format!("{}1 > 1", "1 + ".repeat(490)),
        format!("{}true{}", "if true then ".repeat(190), " else true".repeat(190)),
        format!("{}true{}", "(".repeat(14), ")".repeat(14)),
        format!("{}true{}", "!(".repeat(14), ")".repeat(14)),
        format!("{} resource.tag_moved || true", "resource.tag_moved || ".repeat(190)),
        format!("resource{}.a == 1", ".a".repeat(400)),
        format!("[{}1].isEmpty() || true", "1, ".repeat(480)),
        format!("{}[]{} == []", "[".repeat(13), "]".repeat(13)),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let mut decided = 0;
        for condition in deepest {
            // Most are refused for their types; none may take the process with it.
            if let Ok(policy) = load(&format!("{PERMIT}{}", rule(&condition))) {
                let decision = policy.decide(
                    &crate::common::public(),
                    trust_policy::Action::Deploy,
                    &crate::common::marked("public"),
                    0,
                );
                assert!(!decision.allowed, "{condition}");
                decided += 1;
            }
        }
        assert!(decided >= 7, "only {decided} were deep and valid");
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn as_many_rules_as_the_limit_says_load() {
    let one = "@id(\"rN\") forbid (principal, action, resource) when { principal.cloud == \"public\" && resource.signers.contains(\"sN\") };\n";
    let rules: String = (0..1_000).map(|n| one.replace('N', &n.to_string())).collect();
    assert_eq!(load(&rules).unwrap().rules().count(), 1_000);
}

#[test]
fn what_is_probably_not_meant_loads_with_a_warning() {
    let warned = |rules: &str, word: &str| {
        let policy = load(rules).unwrap();
        let found = policy.warnings().join("\n");
        assert!(found.contains(word), "{rules}: {found}");
    };
    warned(&format!("{PERMIT}{}", rule("resource.hasTag(\"com.example.dta\")")), "com.example.dta");
    warned(&format!("{PERMIT}{}", rule("false")), "rule rule");
    warned(&format!("{PERMIT}{}", rule("resource.signers.contains(\"аlice\")")), "rule rule"); // the first letter is Cyrillic
    warned(&PERMIT.replace("permit", "@reson(\"x\") permit"), "did you mean @reason?");
    warned(&rule("principal.cloud == \"public\""), "no rule permits anything");
    warned(PERMIT, "rule all permits without a condition");
    warned(&format!("{PERMIT}@id(\"b\") permit (principal, action, resource) when {{ false }};"), "rule all permits");
    let stopped = format!("{PERMIT}{}", rule("principal.cloud == \"public\""));
    assert_eq!(load(&stopped).unwrap().warnings(), Vec::<String>::new());
}

#[test]
fn ids_titles_and_places_of_rules_are_told() {
    let policy = crate::common::shipped_policy();
    let rules: Vec<_> = policy.rules().map(|rule| (rule.id.as_str(), rule.path.as_str())).collect();
    assert_eq!(
        rules,
        [
            ("pii-fit-for-public", "_policy/pii.cedar"),
            ("pii-not-in-public", "_policy/pii.cedar"),
            ("pii-private-clouds", "_policy/pii.cedar"),
            ("tag-pii-not-in-public", "_policy/tag-pii.cedar"),
        ]
    );
    let rule = policy.rules().nth(1).unwrap();
    assert!(rule.source.starts_with("@id(\"pii-not-in-public\")") && rule.source.ends_with(";"), "{}", rule.source);
    assert_eq!(rule.contact.as_deref(), Some("data-protection@example.com"));
}

#[test]
fn the_identity_names_the_content_and_not_the_order() {
    let of = |sources: &[trust_policy::Source]| Policy::load(sources, identity()).unwrap().identity().digest.clone();
    let mut sources = shipped_sources();
    let digest = of(&sources);
    assert!(digest.starts_with("sha256:"));
    sources.reverse();
    assert_eq!(of(&sources), digest);
    sources[0].bytes.push(b'\n');
    assert_ne!(of(&sources), digest);
}

#[test]
fn the_time_is_known_to_be_read() {
    assert!(!load(PERMIT).unwrap().reads_time());
    assert!(load(&rule("context.now > datetime(\"2030-01-01\")")).unwrap().reads_time());
    assert!(matches!(refused(&rule("context == {now: datetime(\"2030-01-01\")}")), LoadError::Reads { .. }));
}

#[test]
fn a_rule_that_needs_a_later_schema_says_so_whatever_else_is_unknown_in_it() {
    let needs = |rule: &str| match load(rule).unwrap_err() {
        LoadError::Schema { place, needed } => (place.line, needed),
        other => panic!("{other}"),
    };
    let rule = |more: &str| format!("\n@id(\"a\")\n@schema( \"2\" )\nforbid (principal, action, resource){more};");
    assert_eq!(needs(&rule("")), (3, 2));
    assert_eq!(needs(&rule(" when { resource.sbom.contains(\"x\") }")).1, 2, "a member that is not known here");
    assert_eq!(needs(&rule(" whenever { new syntax }")), (3, 2), "syntax that is not known here");
    let told = load(&rule("")).unwrap_err().to_string();
    assert!(told.contains("needs version 2 of the policy schema, and this program knows 1"), "{told}");
}

#[test]
fn a_policy_states_the_least_schema_that_it_needs() {
    let rule = |schema: &str| format!("@id(\"a\") {schema} permit (principal, action, resource);");
    assert_eq!(load(&rule("")).unwrap().schema_needed(), 1);
    assert_eq!(load(&rule("@schema(\"1\")")).unwrap().schema_needed(), trust_policy::SCHEMA_VERSION);
    for wrong in ["@schema", "@schema(\"\")", "@schema(\"0\")", "@schema(\"01\")", "@schema(\"+1\")", "@schema(\"v1\")"]
    {
        assert!(matches!(load(&rule(wrong)), Err(LoadError::SchemaStated { .. })), "{wrong}");
    }
    let huge = "@schema(\"99999999999999999999\")";
    assert!(matches!(load(&rule(huge)), Err(LoadError::SchemaStated { .. })));
}
