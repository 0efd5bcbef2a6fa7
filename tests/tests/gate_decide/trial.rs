//! Rules in trial at a gate: they decide nothing, and what they would decide is in the log and in the counts.

use serde_json::json;
use trust_policy::RuleMode;

use super::scene::{API, Scene, allowed, ask};

/// The rules of the scene, and one in trial that forbids everything.
fn with_trial(mode: &str) -> String {
    format!(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"nothing\") @title(\"nothing runs\") @mode(\"{mode}\") forbid (principal, action, resource);\n"
    )
}

#[tokio::test]
async fn a_rule_in_trial_stops_nothing_and_the_log_says_what_it_would_stop() {
    for (word, mode) in [("warn", RuleMode::Warn), ("audit", RuleMode::Audit)] {
        let mut scene = Scene::new();
        scene.set_rules(&with_trial(word));
        let decider = scene.start().await;
        for _ in 0..2 {
            // The second answer comes from the cache, and says the same.
            let passed = allowed(&ask(&decider, API));
            let trials = &passed.decision.as_ref().expect("decided").trials;
            assert_eq!(trials.iter().map(|t| (t.mode, t.allowed)).collect::<Vec<_>>(), [(mode, false)]);
        }
        let lines = scene.lines();
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(line["answer"], "allow");
            assert_eq!(line["trials"], json!([{"mode": word, "would": "deny", "rules": ["nothing"]}]));
        }
        let stats = decider.stats();
        assert_eq!((stats.answers, stats.trials.get(&(word, "deny"))), ([2, 0, 0, 0], Some(&2)));
    }
}

#[tokio::test]
async fn a_rule_that_leaves_its_trial_decides_with_the_next_refresh() {
    let mut scene = Scene::new();
    scene.set_rules(&with_trial("audit"));
    let decider = scene.start().await;
    assert!(ask(&decider, API).is_allowed());
    scene.set_rules(&with_trial("enforce"));
    decider.refresh().await;
    assert!(!ask(&decider, API).is_allowed());
}
