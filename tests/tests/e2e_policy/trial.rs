//! A rule in trial from the folder to the gate: told everywhere, decided by nowhere, until somebody confirms.

use super::*;

#[test]
fn a_rule_in_trial_is_told_to_who_checks_verifies_and_deploys_and_stops_nobody_before_it_decides() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path());
    let alice = &rig.alice;
    let image = rig.image(dir.path(), "api", &[("com.example.data", "public")]);
    rig.sign("api", &image).ends(0, &[]);
    let rule = "@id(\"no-api\")\n@title(\"api is to leave\")\n@mode(\"warn\")\nforbid (principal, action, resource)\n\
                when { resource.repository == \"pay/api\" };\n";
    std::fs::write(alice.home.join("policy/policy/leave.cedar"), rule).unwrap();
    trust(alice, &["policy", "check", "policy"]).ends(0, &["forbid (warn)"]);
    trust(alice, &["policy", "publish", "policy", &rig.policy]).ends(0, &[]);
    trust(alice, &["policy", "use", &rig.policy]).ends(0, &[]);

    let name = format!("{}/api:v1", rig.pay);
    let verify = ["verify", name.as_str(), "--env", "policy/environments/public.toml"];
    let told = "would be denied by rule no-api: api is to leave (rules in trial, @mode warn)";
    trust(alice, &verify).ends(0, &[told]);
    let json = trust(alice, &[&verify[..], &["-o", "json"]].concat()).ends(0, &[]).json().to_string();
    assert!(json.contains("\"trials\":[{\"mode\":\"warn\",\"allowed\":false"), "{json}");

    let options = GateOptions {
        policy: Some(rig.policy.clone()),
        ..GateOptions::new("trial", &rig.stack, &[&rig.pay, &rig.policy])
    };
    let gate = Gate::launch(&rig.stack, alice, "admission", &options).unwrap();
    let ask = || {
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": format!("{}/api@{}", rig.pay, image.digest)}]}});
        let review = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop", "operation": "CREATE", "userInfo": {"username": "dev"}, "object": pod}});
        gate.post("/validate", review.to_string().as_bytes()).unwrap().json()["response"].clone()
    };
    let answer = ask();
    assert_eq!(answer["allowed"], true, "{answer}");
    let warned = answer["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    // What is longer than a warning may be goes on in the next one, with a mark at both ends.
    assert!(warned.replace(" … … ", " ").contains("would be denied by rule no-api"), "{warned}");

    // To take a rule that decides into trial opens something; to let it decide only closes.
    edit(alice, "policy/leave.cedar", "@mode(\"warn\")\n", "");
    trust(alice, &["policy", "publish", "policy", &rig.policy]).ends(0, &[]);
    trust(alice, &verify).ends(20, &["no-api"]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while ask()["allowed"] == true {
        assert!(std::time::Instant::now() < until, "the gate does not follow");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    edit(alice, "policy/leave.cedar", "forbid", "@mode(\"audit\")\nforbid");
    trust(alice, &["policy", "publish", "policy", &rig.policy]).ends(40, &["does not decide any more: it is in trial"]);
    trust(alice, &["policy", "publish", "policy", &rig.policy, "--confirm", &rig.policy]).ends(0, &[]);
    trust(alice, &verify).ends(0, &["@mode audit"]);
}
