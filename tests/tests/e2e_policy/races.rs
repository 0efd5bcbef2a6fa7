//! Publishers in different roles at the same time, and role files that are withheld: nothing that stands in one role is lost
//! or contradicted unseen because of another.

use std::sync::mpsc;

use super::*;

/// A publication on its way to the server.
const PUBLICATION: &str = "/_publications";
/// A rule that reads a second label.
const READS_STAGE: &str = "@id(\"stage-known\")\nforbid (principal, action, resource)\n\
    when { principal.cloud == \"public\" }\nunless { resource.fit.contains(\"com.example.stage\") };\n";
/// The dictionary of that label.
const STAGE: &str = "{\"schema\":\"trust/labels/v1\",\"labels\":{\"com.example.stage\":\
    {\"values\":{\"live\":{\"fit\":[\"public\",\"private\"]}}}}}\n";

/// What one person does while the publication of another is held back; what it said comes out of the receiver.
fn meanwhile(middle: &Proxy, person: &Person, arguments: &[&str]) -> mpsc::Receiver<Said> {
    meanwhile_and(middle, person, arguments, |_| {})
}

/// The same, and the publication that was held back goes on changed.
fn meanwhile_and(
    middle: &Proxy,
    person: &Person,
    arguments: &[&str],
    change: impl FnOnce(&mut Vec<u8>) + Send + 'static,
) -> mpsc::Receiver<Said> {
    let (said, receiver) = mpsc::channel();
    let (person, arguments) = (person.clone(), arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
    middle.before(PUBLICATION, move |body| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        said.send(trust(&person, &arguments)).unwrap();
        change(body);
    });
    receiver
}

/// Revocations with a key of their own in the collection of the images, and two images that alice signed.
struct Revocations {
    rig: Rig,
    secops: Person,
    middle: Proxy,
    images: [String; 2],
}

impl Revocations {
    fn start(dir: &Path) -> Self {
        let rig = Rig::start(dir);
        let secops = rig.person("secops");
        let middle = Proxy::start(&rig.stack.server_address()).unwrap();
        rig.give("_revoked", &rig.pay, &secops);
        let images = ["one", "two"].map(|name| {
            let image = rig.image(dir, name, &[("com.example.name", name)]);
            rig.sign(name, &image).ends(0, &[]);
            format!("{}/{name}@{}", rig.pay, image.digest)
        });
        Self { rig, secops, middle, images }
    }

    fn revoke<'a>(&'a self, image: &'a str, name: &'a str) -> [&'a str; 6] {
        ["revoke", image, "--reason", "leaks", "--confirm", name]
    }

    fn name(&self, image: &str) -> String {
        image.split_once('@').unwrap().0.to_owned()
    }

    /// Alice removes the role; her way to the server leads through the middle man.
    fn remove(&self, more: &[&str]) -> Said {
        let (pay, server) = (self.rig.pay.as_str(), self.middle.url());
        let words = ["signer", "remove", "_revoked", pay, "--server", &server];
        trust(&self.rig.alice, &[&words[..], more].concat())
    }
}

#[test]
fn a_role_file_that_is_withheld_or_broken_does_not_pass_for_one_that_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Revocations::start(dir.path());
    let (pay, image) = (scene.rig.pay.as_str(), scene.images[0].as_str());
    trust(&scene.secops, &scene.revoke(image, &scene.name(image))).ends(0, &["_revoked v2"]);
    for answer in [Answer::status(404), Answer::ok("{}")] {
        scene.middle.answer("2._revoked.json", answer);
        let refused = scene.remove(&[]).ends(40, &["unknown number of revocations", "cannot be read"]);
        assert!(!refused.all.contains("no revocations in force"), "{}", refused.all);
        let dry = scene.remove(&["--dry-run"]).ends(0, &["unknown number of revocations"]);
        assert!(!dry.all.contains("no revocations in force"), "{}", dry.all);
        let json = scene.remove(&["--dry-run", "-o", "json"]).ends(0, &[]).json();
        assert!(json["files_unread"].as_str().is_some_and(|why| why.contains("E")), "{json}");
        assert_eq!(json["files"], serde_json::json!([]), "{json}");
        scene.middle.honest();
    }
    trust(&scene.secops, &["verify", image]).ends(17, &["leaks"]);
    // Where the file is there, what it holds is said; on another machine, as this one would keep the file.
    let elsewhere = Person { home: dir.path().join("elsewhere") };
    copy(&scene.rig.alice.home, &elsewhere.home);
    trust(&elsewhere, &["signer", "remove", "_revoked", pay]).ends(40, &["1 file of `_revoked`", "accepted again"]);
    // Somebody who says so all the same can, for a file that is lost for good.
    scene.middle.answer("2._revoked.json", Answer::status(404));
    scene.remove(&["--confirm", pay]).ends(0, &["an unknown number of revocations"]);
}

#[test]
fn a_policy_whose_file_cannot_be_read_is_not_said_to_be_empty() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(dir.path());
    let (secops, middle) = (rig.person("secops"), Proxy::start(&rig.stack.server_address()).unwrap());
    let policy = rig.policy.as_str();
    rig.give("_policy", policy, &secops);
    edit(&secops, "policy/pii.cedar", RULE.0, RULE.1);
    trust(&secops, &["policy", "publish", "policy", policy, "--confirm", policy]).ends(0, &["_policy v2"]);
    middle.answer("2._policy.json", Answer::status(404));
    let server = middle.url();
    let remove = ["signer", "remove", "_policy", policy, "--server", &server];
    trust(&rig.alice, &remove).ends(40, &["what stands there is not known", "nothing is allowed"]);
    trust(&rig.alice, &[&remove[..], &["--confirm", policy]].concat()).ends(0, &["what stood there is not known"]);
}

#[test]
fn a_revocation_that_comes_before_its_role_is_removed_is_never_lost_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Revocations::start(dir.path());
    let (pay, [one, two]) = (scene.rig.pay.as_str(), &scene.images);
    trust(&scene.secops, &scene.revoke(one, &scene.name(one))).ends(0, &[]);
    // It was confirmed for one revocation, and a second one comes on the way to the server.
    let revoked = meanwhile(&scene.middle, &scene.secops, &scene.revoke(two, &scene.name(two)));
    let digest = two.rsplit_once(':').unwrap().1;
    scene.remove(&["--confirm", pay]).ends(32, &["somebody else changed", "came", digest, "nothing was published"]);
    revoked.recv().unwrap().ends(0, &["_revoked v3"]);
    for image in [one, two] {
        trust(&scene.secops, &["verify", image]).ends(17, &["leaks"]);
    }
    // The same image is revoked again, for another reason: that is something else than was confirmed, too.
    let name = scene.name(two);
    let again = ["revoke", two, "--reason", "worse", "--confirm", &name];
    let revoked = meanwhile(&scene.middle, &scene.secops, &again);
    scene.remove(&["--confirm", pay]).ends(32, &["changed", digest]);
    revoked.recv().unwrap().ends(0, &["_revoked v4"]);
    // Another role of the collection changes: nothing of this one is taken back, and the removal is built again on that.
    let other = ["signer", "add", "bob", pay, "--signer-key", "bob"];
    let other_machine = Person { home: dir.path().join("other") };
    copy(&scene.rig.alice.home, &other_machine.home);
    let added = meanwhile(&scene.middle, &other_machine, &other);
    scene.remove(&["--confirm", pay]).ends(0, &["1 more", "someone published first"]);
    added.recv().unwrap().ends(0, &[]);
}

/// Rules and labels with keys of their own, and a label that no rule reads yet.
struct TwoRoles {
    rig: Rig,
    rules: Person,
    labels: Person,
    middle: Proxy,
}

impl TwoRoles {
    fn start(dir: &Path) -> Self {
        let rig = Rig::start(dir);
        let policy = rig.policy.as_str();
        std::fs::write(rig.alice.home.join("policy/labels/stage.json"), STAGE).unwrap();
        trust(&rig.alice, &["policy", "publish", "policy", policy, "--confirm", policy]).ends(0, &[]);
        let (rules, labels) = (rig.person("rules"), rig.person("labels"));
        for (role, person) in [("_policy", &rules), ("_labels", &labels)] {
            std::fs::write(person.home.join("policy/labels/stage.json"), STAGE).unwrap();
            rig.give(role, policy, person);
        }
        std::fs::write(rules.home.join("policy/policy/stage.cedar"), READS_STAGE).unwrap();
        std::fs::remove_file(labels.home.join("policy/labels/stage.json")).unwrap();
        let middle = Proxy::start(&rig.stack.server_address()).unwrap();
        Self { rig, rules, labels, middle }
    }

    /// Publishes the folder; confirmed, and without cases, which are not the matter here.
    fn publish_rules(&self) -> [&str; 7] {
        let policy = self.rig.policy.as_str();
        ["policy", "publish", "policy", policy, "--confirm", policy, "--skip-tests"]
    }

    fn publish_labels(&self) -> [&str; 6] {
        let policy = self.rig.policy.as_str();
        ["labels", "publish", "policy", policy, "--confirm", policy]
    }

    /// The same through the middle man.
    fn late(&self, person: &Person, words: &[&str]) -> Said {
        let server = self.middle.url();
        trust(person, &[words, &["--server", &server]].concat())
    }

    #[track_caller]
    fn loads(&self) -> Said {
        trust(&self.rig.person("reader"), &["policy", "show"]).ends(0, &[])
    }
}

#[test]
fn a_label_that_leaves_late_does_not_take_from_a_rule_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let scene = TwoRoles::start(dir.path());
    let published = meanwhile(&scene.middle, &scene.rules, &scene.publish_rules());
    let late = scene.late(&scene.labels, &scene.publish_labels());
    published.recv().unwrap().ends(0, &["_policy v2"]);
    late.ends(21, &["someone published first", "does not load together with the rules in force", "com.example.stage"]);
    assert!(scene.loads().all.contains("stage-known"));
}

#[test]
fn a_rule_that_comes_late_does_not_read_a_label_that_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let scene = TwoRoles::start(dir.path());
    let published = meanwhile(&scene.middle, &scene.labels, &scene.publish_labels());
    let late = scene.late(&scene.rules, &scene.publish_rules());
    published.recv().unwrap().ends(0, &["_labels v2"]);
    late.ends(32, &["somebody else changed", "_labels/stage.json"]);
    assert!(!scene.loads().all.contains("stage-known"));
}

#[test]
fn an_exception_that_comes_late_does_not_lift_a_rule_that_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let scene = TwoRoles::start(dir.path());
    let lead = scene.rig.person("lead");
    scene.rig.give("_exceptions", &scene.rig.policy, &lead);
    trust(&scene.rules, &scene.publish_rules()).ends(0, &[]);
    std::fs::remove_file(scene.rules.home.join("policy/policy/stage.cedar")).unwrap();
    let published = meanwhile(&scene.middle, &scene.rules, &scene.publish_rules());
    let image = format!("{}/payroll@sha256:{}", scene.rig.pay, "a".repeat(64));
    let grant =
        ["exception", "grant", &scene.rig.policy, "--image", &image, "--env", "public", "--rule", "stage-known"];
    let late = scene.late(&lead, &[&grant[..], &["--reason", "x", "--for", "1h"]].concat());
    published.recv().unwrap().ends(0, &["_policy v3"]);
    late.ends(2, &["no rule `stage-known` is in force"]);
    trust(&lead, &["exception", "list"]).ends(0, &["no exception is in force"]);
}

#[test]
fn a_publication_after_which_the_set_does_not_load_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let scene = TwoRoles::start(dir.path());
    // As a publisher that looks at its own role alone: what it rests on is not asked for.
    let published = meanwhile_and(&scene.middle, &scene.rules, &scene.publish_rules(), |body| {
        let mut request: Value = serde_json::from_slice(body).unwrap();
        assert!(request["expected"]["roles"].as_object_mut().unwrap().remove("_policy").is_some());
        *body = serde_json::to_vec(&request).unwrap();
    });
    let late = scene.late(&scene.labels, &scene.publish_labels());
    published.recv().unwrap().ends(0, &[]);
    late.ends(21, &["E2103", "was published", "does not load", "com.example.stage"]);
    trust(&scene.rig.person("reader"), &["policy", "check", "policy"]).ends(0, &[]);
}
