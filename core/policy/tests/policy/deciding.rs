//! Attacks on the decision, and what it says.

use crate::common::{
    KEY, NOW, identity, labels, load, marked, platform, private, public, shipped_policy, source, subject,
};
use trust_image::Reference;
use trust_policy::{Action, Cause, Cloud, Decision, Environment, FactKind, Policy, Subject, Verdict};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn deploy(policy: &Policy, env: &Environment, subject: &Subject) -> Decision {
    let decision = policy.decide(env, Action::Deploy, subject, NOW);
    assert_eq!(decision.allowed, decision.cause == Cause::Permitted);
    assert_eq!(decision.exit() == 0, decision.allowed);
    decision
}

fn in_public(subject: &Subject) -> Decision {
    deploy(&shipped_policy(), &public(), subject)
}

#[test]
fn a_forbid_that_fails_beside_a_permit_denies() {
    // An overflow is the failure that strict validation lets through.
    let rules = format!(
        "{PERMIT}@id(\"fails\") forbid (principal, action, resource)\nwhen {{ 9223372036854775807 + 1 == 0 && principal.cloud == \"public\" }};"
    );
    let decision = deploy(&load(&rules).unwrap(), &public(), &marked("public"));
    assert_eq!((decision.cause, decision.exit()), (Cause::Error, 21));
    assert_eq!(decision.rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["fails"]);
    assert!(
        decision.errors[0].contains("fails") && decision.errors[0].starts_with("linux/amd64: "),
        "{:?}",
        decision.errors
    );
    assert!(decision.text().starts_with("DENY  rule fails could not be evaluated"), "{}", decision.text());
}

#[test]
fn a_permit_that_fails_beside_another_permit_denies() {
    let rules = format!(
        "{PERMIT}@id(\"fails\") permit (principal, action, resource)\nwhen {{ 9223372036854775807 + 1 == 0 }};"
    );
    assert_eq!(deploy(&load(&rules).unwrap(), &private(), &marked("public")).cause, Cause::Error);
}

#[test]
fn a_failure_and_a_forbid_together_are_a_failure_that_no_exception_lifts() {
    let rules = "@id(\"fails\") permit (principal, action, resource)\nwhen { 9223372036854775807 + 1 == 0 };\n\
                 @id(\"no\") forbid (principal, action, resource);";
    assert_eq!(deploy(&load(rules).unwrap(), &private(), &marked("public")).exit(), 21);
}

#[test]
fn what_forbids_wins_and_what_nobody_permits_is_denied() {
    let rules = format!("{PERMIT}@id(\"no\") forbid (principal, action == Action::\"pull\", resource);");
    let policy = load(&rules).unwrap();
    assert_eq!(policy.decide(&private(), Action::Pull, &marked("public"), NOW).cause, Cause::Forbidden);
    assert!(policy.decide(&private(), Action::Deploy, &marked("public"), NOW).allowed);
    assert!(policy.decide(&private(), Action::Promote, &marked("public"), NOW).allowed);
    let only = load("@id(\"pulls\") permit (principal, action in [Action::\"pull\", Action::\"promote\"], resource);")
        .unwrap();
    let denied = deploy(&only, &private(), &marked("public"));
    assert_eq!((denied.cause, denied.exit()), (Cause::NothingPermits, 20));
    assert!(only.decide(&private(), Action::Promote, &marked("public"), NOW).allowed);
}

#[test]
fn values_outside_the_dictionary_deny_everywhere_and_are_shown_escaped() {
    for (value, shown) in [
        ("Pii", "\"Pii\""),
        ("PII ", "\"PII \""),
        ("", "\"\""),
        ("РII", "\"РII\" (with U+0420)"),
        ("P\u{200b}II", "\"P\\u{200b}II\""),
        ("public\u{1b}[2J\n", "\"public\\u{1b}[2J\\u{a}\""),
        ("PII,public", "\"PII,public\""),
        ("[\"PII\"]", "\"[\\\"PII\\\"]\""),
    ] {
        for env in [public(), private()] {
            let decision = deploy(&shipped_policy(), &env, &marked(value));
            assert_eq!((decision.cause, decision.exit()), (Cause::LabelOutside, 20), "{value:?}");
            for text in [decision.text(), decision.line()] {
                assert!(text.contains(shown), "{value:?}: {text}");
                assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            }
            assert_eq!(decision.line().lines().count(), 1);
            assert!(decision.line().contains("\"PII\", \"internal\", \"public\"; ask data-protection@example.com"));
        }
    }
}

#[test]
fn a_value_outside_the_dictionary_on_one_platform_denies_all_before_any_rule() {
    let image = subject(vec![platform("linux/amd64", &[(KEY, "public")]), platform("linux/arm64", &[(KEY, "Public")])]);
    let decision = in_public(&image);
    assert_eq!(decision.cause, Cause::LabelOutside);
    let verdicts: Vec<_> = decision.platforms.iter().map(|p| p.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotReached, Verdict::LabelOutside]);
    assert_eq!(decision.rules_not_reached.len(), 4);
    assert!(decision.rules.is_empty());
}

#[test]
fn an_alias_counts_as_its_value() {
    let decision = in_public(&marked("pii"));
    assert_eq!(decision.cause, Cause::Forbidden);
    let label = decision.facts.iter().find(|f| f.name == KEY).unwrap();
    assert_eq!(label.value.as_deref(), Some("pii"));
    assert_eq!(
        label.origin,
        "from image config of linux/amd64, covered by signed digest; means \"PII\"; not fit for public by the dictionary"
    );
    let rules = format!(
        "{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ resource.hasTag(\"{KEY}\") && resource.getTag(\"{KEY}\") == \"PII\" }};"
    );
    assert_eq!(deploy(&load(&rules).unwrap(), &private(), &marked("pii")).cause, Cause::Forbidden);
}

#[test]
fn pii_is_denied_in_public_and_allowed_in_private() {
    let denied = in_public(&marked("PII"));
    assert_eq!((denied.cause, denied.exit()), (Cause::Forbidden, 20));
    let expected = "\
DENY  rule pii-not-in-public  (policy registry.example.com/policy v12, signed by secops)
  environment  cloud = \"public\"          from public-eu.toml (operator-set)
  image label  com.example.data = \"PII\"  from image config of linux/amd64, covered by signed digest; not fit for public by the dictionary
  rule         pii-not-in-public: Only what is marked as fit for public clouds runs there
  reason       The label com.example.data must be present with a value that the dictionary marks as fit for public
  contact      data-protection@example.com
  not reached  pii-fit-for-public, pii-private-clouds, tag-pii-not-in-public";
    assert_eq!(denied.text(), expected);
    assert_eq!(
        denied.line(),
        "rule pii-not-in-public; Only what is marked as fit for public clouds runs there; cloud = \"public\" from \
         public-eu.toml (operator-set); com.example.data = \"PII\" from image config of linux/amd64, covered by signed \
         digest; not fit for public by the dictionary; contact data-protection@example.com; policy \
         registry.example.com/policy v12, signed by secops"
    );
    let allowed = deploy(&shipped_policy(), &private(), &marked("PII"));
    assert!(allowed.allowed);
    assert_eq!(allowed.rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["pii-private-clouds"]);
    assert!(allowed.text().starts_with("ALLOW  rule pii-private-clouds  ("), "{}", allowed.text());
    assert!(in_public(&marked("public")).allowed);
    assert!(!in_public(&marked("internal")).allowed);
}

#[test]
fn an_image_without_the_label_and_one_with_a_misspelt_key_are_denied_in_public() {
    for labels in [
        &[][..],
        &[("com.example.dta", "public")],
        &[("Com.Example.Data", "public")],
        &[("com.example.data ", "public")],
    ] {
        let image = subject(vec![platform("linux/amd64", labels)]);
        let denied = in_public(&image);
        assert_eq!(denied.cause, Cause::Forbidden, "{labels:?}");
        assert!(denied.text().contains("com.example.data is absent"), "{}", denied.text());
        assert!(deploy(&shipped_policy(), &private(), &image).allowed);
    }
}

#[test]
fn one_bad_platform_of_two_denies_and_is_named() {
    for order in [["linux/amd64", "linux/arm64"], ["linux/arm64", "linux/amd64"]] {
        let image = subject(vec![platform(order[0], &[(KEY, "public")]), platform(order[1], &[(KEY, "PII")])]);
        let denied = in_public(&image);
        assert_eq!(denied.cause, Cause::Forbidden);
        assert_eq!(denied.rules[0].platforms, [order[1]]);
        assert_eq!(
            denied.platforms.iter().map(|p| p.verdict).collect::<Vec<_>>(),
            [Verdict::Permitted, Verdict::Forbidden]
        );
        let label = denied.facts.iter().find(|f| f.name == KEY).unwrap();
        assert!(label.origin.contains(order[1]) && !label.origin.contains(order[0]), "{}", label.origin);
        assert!(
            denied.text().contains(&format!("{} permitted, {} forbidden", order[0], order[1])),
            "{}",
            denied.text()
        );
    }
    let absent = subject(vec![platform("linux/amd64", &[(KEY, "public")]), platform("linux/arm64", &[])]);
    assert!(!in_public(&absent).allowed, "nor does one platform's label speak for another");
}

#[test]
fn attestations_are_never_evaluated() {
    let hostile = platform("unknown/unknown", &[(KEY, "Pii")]);
    let image = subject(vec![platform("linux/amd64", &[(KEY, "public")]), hostile.clone()]);
    let decision = in_public(&image);
    assert!(decision.allowed);
    assert_eq!(decision.platforms.len(), 1);
    let alone = in_public(&subject(vec![hostile]));
    assert_eq!((alone.cause, alone.exit()), (Cause::NoFacts, 20));
    assert!(alone.line().contains("no platform that a runtime can start"), "{}", alone.line());
}

#[test]
fn no_facts_and_no_platform_deny_whatever_is_permitted() {
    let policy = load(PERMIT).unwrap();
    let mut without = marked("public");
    without.facts = None;
    for image in [without, subject(vec![])] {
        for env in [public(), private()] {
            let denied = deploy(&policy, &env, &image);
            assert_eq!((denied.cause, denied.exit()), (Cause::NoFacts, 20));
            assert!(
                denied.text().contains("is absent") && denied.text().contains("signed by alice, ci"),
                "{}",
                denied.text()
            );
        }
    }
}

#[test]
fn all_eight_spellings_of_a_tag_called_pii_are_denied_in_public() {
    for bits in 0..8_u8 {
        let tag: String = "pii"
            .chars()
            .enumerate()
            .map(|(n, c)| if bits >> n & 1 == 1 { c.to_ascii_uppercase() } else { c })
            .collect();
        let mut asked = marked("public");
        asked.reference = Reference::parse(&format!("registry.example.com/hr/payroll:{tag}")).unwrap();
        let mut signed = marked("public");
        signed.facts.as_mut().unwrap().tags = vec![tag.clone()];
        for image in [asked, signed] {
            let denied = in_public(&image);
            assert_eq!(
                denied.rules.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(),
                ["tag-pii-not-in-public"],
                "{tag}"
            );
            assert!(denied.line().contains(&tag), "{}", denied.line());
            assert!(deploy(&shipped_policy(), &private(), &image).allowed);
        }
    }
}

#[test]
fn a_pinned_image_still_has_the_tags_that_it_was_signed_under() {
    let mut image = marked("public");
    let digest = image.digest;
    image.reference = image.reference.pinned(digest);
    image.facts.as_mut().unwrap().tags = vec!["PII".to_owned()];
    assert!(!in_public(&image).allowed);
}

#[test]
fn an_unknown_place_is_public() {
    let decision = deploy(&shipped_policy(), &Environment::strictest(), &marked("PII"));
    assert_eq!(decision.cause, Cause::Forbidden);
    assert!(decision.text().contains("of environment unknown: nobody described this place"), "{}", decision.text());
}

#[test]
fn every_fact_that_is_promised_can_be_read() {
    let mut image = subject(vec![platform("linux/arm64/v8", &[("org.example.a", "b")])]);
    image.reference = Reference::parse(
        "Registry.Example.com:443/hr/payroll:8@sha256:1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e1c8f0e9a02",
    )
    .unwrap();
    image.conflicts = vec!["bob".to_owned()];
    image.tag_moved = Some(true);
    let env = Environment::from_toml(
        "name = \"eu\"\ncloud = \"private\"\nregion = \"eu-west\"\n[labels]\nstage = \"prod\"",
        "x",
    )
    .unwrap();
    let digest = image.digest.to_string();
    let conditions = [
        "resource.collection == \"registry.example.com/hr\"",
        "resource.registry == \"registry.example.com\"",
        "resource.repository == \"hr/payroll\"",
        &format!("resource.digest == \"{digest}\""),
        "resource.platform == \"linux/arm64/v8\"",
        "resource has tag && resource.tag == \"8\"",
        "resource.tags.containsAll([\"7\", \"8\"])",
        "resource.tag_moved",
        "resource.signers == [\"ci\", \"alice\"]",
        "resource.conflicts == [\"bob\"]",
        "resource has signed && resource.signed == datetime(\"2030-01-01\")",
        "resource.hasTag(\"org.example.a\") && resource.getTag(\"org.example.a\") == \"b\"",
        "principal.name == \"eu\"",
        "principal == Environment::\"eu\"",
        "principal has region && principal.region == \"eu-west\"",
        "principal.hasTag(\"stage\") && principal.getTag(\"stage\") == \"prod\"",
        "action == Action::\"deploy\"",
        "context.now == datetime(\"2030-03-17T17:46:40Z\")",
        "context.now.durationSince(datetime(\"2030-01-01\")) > duration(\"30d\")",
    ];
    for condition in conditions {
        let rules = format!("@id(\"r\") permit (principal, action, resource) when {{ {condition} }};");
        let decision = deploy(&load(&rules).unwrap(), &env, &image);
        assert!(decision.allowed, "{condition}: {}", decision.text());
        let told = decision.facts.len();
        assert!(told == 1 || condition.starts_with("action"), "{condition}: {:?}", decision.facts);
        assert!(decision.facts.iter().all(|f| f.value.is_some()), "{condition}: {:?}", decision.facts);
        let not = format!("@id(\"r\") permit (principal, action, resource) unless {{ {condition} }};");
        assert!(!deploy(&load(&not).unwrap(), &env, &image).allowed, "{condition}");
    }
    let rules = "@id(\"r\") permit (principal == Environment::\"eu\", action, resource);";
    assert!(deploy(&load(rules).unwrap(), &env, &image).allowed);
    assert!(!deploy(&load(rules).unwrap(), &private(), &image).allowed);
}

#[test]
fn a_tag_that_may_have_moved_counts_as_moved() {
    let policy =
        load(&format!("{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ resource.tag_moved }};"))
            .unwrap();
    let mut image = marked("public");
    assert!(deploy(&policy, &public(), &image).allowed, "only a tag was asked for");
    let digest = image.digest;
    image.reference = Reference::parse(&format!("registry.example.com/hr/payroll:7@{digest}")).unwrap();
    assert!(!deploy(&policy, &public(), &image).allowed, "not known");
    image.tag_moved = Some(false);
    assert!(deploy(&policy, &public(), &image).allowed);
}

#[test]
fn facts_that_cannot_be_put_before_the_rules_deny() {
    let policy = load(PERMIT).unwrap();
    let mut image = marked("public");
    image.facts.as_mut().unwrap().signed = "2030-13-45T99:00:00Z".to_owned();
    let denied = deploy(&policy, &public(), &image);
    assert_eq!((denied.cause, denied.exit()), (Cause::Error, 21));
    let decision = policy.decide(&public(), Action::Deploy, &marked("public"), i64::MAX);
    assert_eq!(decision.cause, Cause::Error);
}

#[test]
fn one_policy_keeps_environments_of_one_name_and_moments_apart() {
    let rules = "@id(\"later\") permit (principal, action, resource)\nwhen { principal.cloud == \"private\" && context.now >= datetime(\"2030-01-01\") };";
    let policy = load(rules).unwrap();
    let start = 1_893_456_000; // 2030-01-01
    for _ in 0..2 {
        for (cloud, now, allowed) in [
            (Cloud::Public, start, false),
            (Cloud::Private, start - 1, false),
            (Cloud::Private, start, true),
            (Cloud::Public, start + 1, false),
            (Cloud::Private, i64::MIN, false),
        ] {
            let env = Environment::new("eu", cloud).unwrap();
            assert_eq!(policy.decide(&env, Action::Deploy, &marked("public"), now).allowed, allowed, "{cloud} {now}");
        }
    }
    for n in 0..200 {
        let env = Environment::new(&format!("e{n}"), Cloud::Private).unwrap();
        assert!(policy.decide(&env, Action::Deploy, &marked("public"), start).allowed);
    }
}

#[test]
fn each_of_several_rules_that_forbid_keeps_its_own_reason_and_contact() {
    let one = |id: &str| {
        format!(
            "@id(\"{id}\") @title(\"T{id}\") @reason(\"R{id}\") @contact(\"{id}@example.com\") forbid (principal, action, resource);"
        )
    };
    let denied = deploy(&load(&format!("{}{}", one("a"), one("b"))).unwrap(), &public(), &marked("public"));
    let text = denied.text();
    let rows: Vec<String> = text.lines().skip(1).map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let wanted =
        ["rule a: Ta", "reason Ra", "contact a@example.com", "rule b: Tb", "reason Rb", "contact b@example.com"];
    assert_eq!(rows, wanted, "{text}");
    let line = denied.line();
    assert!(
        line.contains("a: Ta, reason Ra, contact a@example.com; b: Tb, reason Rb, contact b@example.com"),
        "{line}"
    );
}

#[test]
fn a_denial_because_nothing_permits_names_what_could_have() {
    let rules = "@id(\"a\") @title(\"Team A\") @contact(\"a@example.com\") permit (principal, action, resource)\nwhen { resource.signers.contains(\"release\") };";
    let denied = deploy(&load(rules).unwrap(), &public(), &marked("public"));
    assert_eq!(denied.cause, Cause::NothingPermits);
    let text = denied.text();
    assert!(text.starts_with("DENY  no rule permits it  ("), "{text}");
    assert!(text.contains("no match  a: Team A") && text.contains("signers = \"alice, ci\""), "{text}");
    assert!(denied.line().contains("contact a@example.com"), "{}", denied.line());
}

#[test]
fn the_same_value_on_two_platforms_is_one_fact() {
    let image = subject(vec![platform("linux/amd64", &[(KEY, "PII")]), platform("linux/arm64", &[(KEY, "PII")])]);
    let denied = in_public(&image);
    let labels: Vec<_> = denied.facts.iter().filter(|f| f.name == KEY).collect();
    assert_eq!(labels.len(), 1);
    assert!(labels[0].origin.contains("linux/amd64, linux/arm64"), "{}", labels[0].origin);
}

#[test]
fn the_json_of_a_decision_has_the_promised_members() {
    let json = serde_json::to_value(in_public(&marked("PII"))).unwrap();
    assert_eq!(json["cause"], "forbidden");
    assert_eq!(json["environment"], serde_json::json!({"name": "public-eu", "cloud": "public"}));
    assert_eq!(json["rules"][0]["id"], "pii-not-in-public");
    assert_eq!(json["facts"][1]["kind"], "image-label");
    assert_eq!(json["policy"]["version"], 12);
    assert_eq!(json["platforms"][0]["verdict"], "forbidden");
}

#[test]
fn the_hash_of_an_environment_covers_all_that_rules_read_and_nothing_else() {
    let base = public();
    let mut all = vec![base.clone()];
    for change in [
        |e: &mut Environment| e.name = "other".to_owned(),
        |e: &mut Environment| e.cloud = Cloud::Private,
        |e: &mut Environment| e.region = Some("eu".to_owned()),
        |e: &mut Environment| drop(e.labels.insert("a".to_owned(), "b".to_owned())),
        |e: &mut Environment| drop(e.labels.insert("b".to_owned(), "a".to_owned())),
    ] {
        let mut env = base.clone();
        change(&mut env);
        all.push(env);
    }
    let hashes: std::collections::BTreeSet<_> = all.iter().map(Environment::hash).collect();
    assert_eq!(hashes.len(), all.len());
    let moved = Environment { origin: "elsewhere.toml".to_owned(), ..base.clone() };
    assert_eq!(moved.hash(), base.hash());
}

/// An image with one platform, a label and annotations.
fn annotated(value: &str, annotations: &[(&str, &str)]) -> Subject {
    let mut subject = marked(value);
    subject.facts.as_mut().unwrap().annotations = labels(annotations);
    subject
}

#[test]
fn an_annotation_that_says_what_is_not_fit_takes_the_fitness_of_a_label() {
    let decide = |subject: &Subject, env| shipped_policy().decide(&env, Action::Deploy, subject, NOW);
    assert!(decide(&annotated("public", &[(KEY, "public")]), public()).allowed);
    let contradicted = decide(&annotated("public", &[(KEY, "pii")]), public());
    assert_eq!(contradicted.cause, Cause::Forbidden);
    assert!(contradicted.text().contains("image annotation  com.example.data = \"pii\""), "{}", contradicted.text());
    assert!(decide(&annotated("public", &[(KEY, "pii")]), private()).allowed);
    let lowered = decide(&annotated("PII", &[(KEY, "public")]), public());
    assert_eq!(lowered.cause, Cause::Forbidden, "an annotation never makes a label fit");
    let mut alone = subject(vec![platform("linux/amd64", &[])]);
    alone.facts.as_mut().unwrap().annotations = labels(&[(KEY, "public")]);
    assert_eq!(decide(&alone, public()).cause, Cause::Forbidden, "an annotation is no label");
}

#[test]
fn a_governed_annotation_with_an_unknown_value_denies_everywhere() {
    let decision = shipped_policy().decide(&private(), Action::Pull, &annotated("public", &[(KEY, "Pii")]), NOW);
    assert_eq!((decision.cause, decision.exit()), (Cause::LabelOutside, 20));
    let line = decision.line();
    assert!(
        line.contains("the annotation com.example.data is \"Pii\"") && line.contains("ask data-protection"),
        "{line}"
    );
}

#[test]
fn a_statement_is_told_as_the_signers_own_and_never_as_part_of_the_image() {
    let stated = |value: &str, statement: &str| {
        let mut subject = marked(value);
        subject.facts.as_mut().unwrap().stated = labels(&[(KEY, statement)]);
        subject
    };
    let decide = |subject: &Subject, env| shipped_policy().decide(&env, Action::Deploy, subject, NOW);
    let contradicted = decide(&stated("public", "pii"), public());
    assert_eq!(contradicted.cause, Cause::Forbidden);
    let text = contradicted.text();
    let told = "stated when signing, not covered by the digest; not fit for public by the dictionary";
    assert!(text.contains("statement") && text.contains(told) && !text.contains("annotation"), "{text}");
    let outside = decide(&stated("public", "Public"), private());
    assert_eq!((outside.cause, outside.exit()), (Cause::LabelOutside, 20));
    let line = outside.line();
    assert!(
        line.contains("the statement com.example.data is \"Public\"") && line.contains("ask data-protection"),
        "{line}"
    );
    assert!(outside.text().contains("stated when signing, not covered by the digest; not in the dictionary"));
    // Where both speak, both are told, each with its origin.
    let mut both = stated("public", "PII");
    both.facts.as_mut().unwrap().annotations = labels(&[(KEY, "public")]);
    let facts = decide(&both, public()).facts;
    let of = |kind| facts.iter().find(|f| f.kind == kind).and_then(|f| f.value.clone());
    assert_eq!(of(FactKind::ImageAnnotation).as_deref(), Some("public"));
    assert_eq!(of(FactKind::ImageStatement).as_deref(), Some("PII"));
}

#[test]
fn a_rule_that_reads_a_statement_tells_it_and_the_whole_of_them_is_not_read() {
    let rule = "@id(\"held\") forbid (principal, action, resource) when { resource.stated.hasTag(\"hold\") };";
    let policy = load(rule).unwrap();
    let mut held = marked("public");
    held.facts.as_mut().unwrap().stated = labels(&[("hold", "until \u{202e}Monday")]);
    let decision = policy.decide(&private(), Action::Deploy, &held, NOW);
    assert_eq!(decision.cause, Cause::Forbidden);
    let told = decision.facts.iter().find(|f| f.kind == FactKind::ImageStatement).unwrap();
    assert_eq!((told.name.as_str(), told.value.as_deref()), ("hold", Some("until \\u{202e}Monday")));
    assert_eq!(told.origin, "stated when signing, not covered by the digest");
    assert!(load(&rule.replace("resource.stated.hasTag(\"hold\")", "resource.stated == resource.stated")).is_err());
    let misspelt = load(&rule.replace("resource.stated", "resource.statd")).err().unwrap().to_string();
    assert!(misspelt.contains("did you mean resource.stated?"), "{misspelt}");
}

#[test]
fn a_required_label_that_is_missing_on_one_platform_denies_before_any_rule() {
    let dictionary = r#"{"schema":"trust/labels/v1","labels":{"com.example.data":{"owner":"dpo@example.com",
        "required":["registry.example.com/hr"],"values":{"public":{"fit":["public","private"]}}}}}"#;
    let all = source("_policy/all.cedar", "@id(\"all\") permit (principal, action, resource);");
    let policy = Policy::load(&[all, source("_labels/data.json", dictionary)], identity()).unwrap();
    let decide = |subject: &Subject| policy.decide(&private(), Action::Deploy, subject, NOW);
    let half = subject(vec![platform("linux/amd64", &[(KEY, "public")]), platform("linux/arm64", &[])]);
    let decision = decide(&half);
    assert_eq!((decision.cause, decision.exit()), (Cause::LabelMissing, 20));
    let verdicts: Vec<_> = decision.platforms.iter().map(|platform| platform.verdict).collect();
    assert_eq!(verdicts, [Verdict::NotReached, Verdict::LabelMissing]);
    let line = decision.line();
    assert!(line.contains("missing on linux/arm64") && line.contains("\"public\"; ask dpo@example.com"), "{line}");
    let attested = subject(vec![platform("linux/amd64", &[(KEY, "public")]), platform("unknown/unknown", &[])]);
    assert!(decide(&attested).allowed, "an attestation needs no label");
    let elsewhere = Reference::parse("registry.example.com/hrx/payroll:7").unwrap();
    assert!(decide(&Subject { reference: elsewhere, ..half }).allowed);
}
