//! Rules in trial: what they would decide is told, and they decide nothing.

use trust_policy::{Action, Cause, Decision, Effect, LoadError, RuleMode, Subject};

use crate::common::{NOW, load, marked, platform, public, subject};

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);\n";

fn decided(rules: &str, image: &Subject) -> Decision {
    load(rules).unwrap().decide(&public(), Action::Deploy, image, NOW)
}

#[test]
fn a_rule_that_forbids_in_trial_denies_nothing_and_says_what_it_would_deny() {
    for (mode, of) in [("warn", RuleMode::Warn), ("audit", RuleMode::Audit)] {
        let rules = format!(
            "{PERMIT}@id(\"no-arm\") @title(\"arm is slow\") @mode(\"{mode}\") forbid (principal, action, resource) \
             when {{ resource.platform == \"linux/arm64\" }};"
        );
        let decision = decided(&rules, &subject(vec![platform("linux/amd64", &[]), platform("linux/arm64", &[])]));
        assert_eq!((decision.allowed, decision.cause, decision.exit()), (true, Cause::Permitted, 0));
        let [trial] = decision.trials.as_slice() else { panic!("{:?}", decision.trials) };
        assert_eq!((trial.mode, trial.allowed, trial.cause), (of, false, Cause::Forbidden));
        assert_eq!(trial.rules[0].platforms, ["linux/arm64"]);
        assert_eq!(trial.line(), format!("would be denied by rule no-arm: arm is slow (rules in trial, @mode {mode})"));
        assert!(decision.text().contains("would be denied by rule no-arm"), "{}", decision.text());
        assert!(!decision.line().contains("no-arm"), "{}", decision.line());
        assert_eq!(decided(&rules, &marked("public")).trials, [], "what would not change is not told");
    }
}

#[test]
fn a_rule_that_permits_in_trial_opens_nothing() {
    for mode in ["warn", "audit"] {
        let decision = decided(&PERMIT.replace("permit", &format!("@mode(\"{mode}\") permit")), &marked("public"));
        assert_eq!((decision.allowed, decision.cause), (false, Cause::NothingPermits), "{mode}");
        assert!(decision.rules.is_empty(), "a rule in trial is none that was not met: {:?}", decision.rules);
        assert_eq!((decision.trials[0].allowed, decision.trials[0].rules[0].id.as_str()), (true, "all"));
    }
}

#[test]
fn a_rule_that_fails_in_trial_stops_nothing_and_is_told() {
    let fails =
        "@id(\"x\") @mode(\"audit\") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };";
    let decision = decided(&format!("{PERMIT}{fails}"), &marked("public"));
    assert_eq!((decision.cause, decision.errors.len()), (Cause::Permitted, 0));
    assert_eq!((decision.trials[0].cause, decision.trials[0].errors.len()), (Cause::Error, 1));
    assert!(decision.trials[0].line().starts_with("would be denied: linux/amd64: "), "{}", decision.trials[0].line());
}

#[test]
fn rules_of_two_modes_are_tried_apart_and_each_with_those_that_decide() {
    let rules = format!(
        "{PERMIT}@id(\"no\") forbid (principal, action, resource) when {{ resource.platform == \"linux/s390x\" }};\n\
         @id(\"w\") @mode(\"warn\") forbid (principal, action, resource);\n\
         @id(\"a\") @mode(\"audit\") forbid (principal, action == Action::\"deploy\", resource);"
    );
    let told = |decision: &Decision| -> Vec<(RuleMode, Vec<String>)> {
        let ids = |t: &trust_policy::Trial| t.rules.iter().map(|r| r.id.clone()).collect();
        decision.trials.iter().map(|t| (t.mode, ids(t))).collect()
    };
    let decision = decided(&rules, &marked("public"));
    assert_eq!(told(&decision), [(RuleMode::Warn, vec!["w".to_owned()]), (RuleMode::Audit, vec!["a".to_owned()])]);
    let pulled = load(&rules).unwrap().decide(&public(), Action::Pull, &marked("public"), NOW);
    assert_eq!(told(&pulled), [(RuleMode::Warn, vec!["w".to_owned()])], "`a` is for another action");
    let denied = decided(&rules, &subject(vec![platform("linux/s390x", &[])]));
    assert_eq!((denied.cause, denied.trials.len()), (Cause::Forbidden, 0), "it is denied either way");
}

#[test]
fn a_mode_that_is_none_does_not_load_and_every_rule_tells_its_own() {
    for given in ["Audit", "off", ""] {
        let error = load(&PERMIT.replace("permit", &format!("@mode(\"{given}\") permit"))).unwrap_err();
        assert!(matches!(error, LoadError::Mode { .. }), "{error:?}");
        assert!(error.to_string().contains("\"enforce\", \"warn\" or \"audit\""), "{error}");
    }
    let text = "@id(\"a\") @mode(\"enforce\") permit (principal, action, resource);\n\
                @id(\"b\") @mode(\"audit\") permit (principal, action, resource);";
    let policy = load(text).unwrap();
    let modes: Vec<_> = policy.rules().map(|rule| (rule.id.as_str(), rule.mode, rule.effect)).collect();
    assert_eq!(modes, [("a", RuleMode::Enforce, Effect::Permit), ("b", RuleMode::Audit, Effect::Permit)]);
    assert_eq!(policy.deciding_rules().count(), 1);
}

#[test]
fn a_set_of_nothing_but_trials_is_told_to_permit_nothing() {
    let policy = load("@id(\"a\") @mode(\"warn\") permit (principal, action, resource);").unwrap();
    assert!(policy.warnings().iter().any(|w| w.contains("no rule permits anything")), "{:?}", policy.warnings());
    assert!(!policy.warnings().iter().any(|w| w.contains("may be used everywhere")), "{:?}", policy.warnings());
}
