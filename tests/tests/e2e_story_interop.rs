//! The demo's story on a real stack, read after every stage by the clients that are not ours: python-tuf, tough and
//! sigstore-tuf, over HTTP from the running server, from `1.root.json` as the anchor. Each comes as a new client and as one
//! that was there from the first stage on, and must find the target with the signed bytes.

use std::path::Path;

use trust_image::Digest;
use trust_tests::interop::{Loaded, Readers, Source, load_everywhere};
use trust_tests::stack::scene::{Scene, assert_exit, number};
use trust_tests::stack::{Options, Person, images, run};

/// What a reader cannot load: reader, stage, reason. A line here that is no longer true fails the test.
const UNREADABLE: [(&str, &str, &str); 0] = [];

struct Story {
    scene: Scene,
    qa: Person,
    root: Vec<u8>,
    source: Source,
    kept: Readers,
}

impl Story {
    /// Runs a command that must end 0.
    fn done(&self, person: &Person, args: &[&str]) {
        let output = run(person.trust().args(args)).unwrap();
        assert_exit(&output, 0, &format!("trust {}", args.join(" ")));
    }

    /// The stage as all readers see it: a target and its digest, or that it is gone.
    fn read(&mut self, stage: &str, target: &str, digest: Option<&str>) {
        let (source, root, kept) = (&self.source, self.root.as_slice(), &mut self.kept);
        let (new, kept) = std::thread::scope(|scope| {
            let new = scope.spawn(|| load_everywhere(source, root, target));
            let kept = kept.load(source, root, target);
            (new.join().unwrap(), kept)
        });
        for (who, loaded) in [("a new client", new), ("a client of old", kept)] {
            let known = |error: &str| UNREADABLE.iter().find(|(r, s, _)| *s == stage && error.starts_with(r));
            match loaded {
                Ok(Loaded { versions, target: found }) => {
                    assert!(!UNREADABLE.iter().any(|(_, s, _)| *s == stage), "{stage}: all can read it now");
                    let found = found.map(|bytes| Digest::of(&bytes).to_string());
                    assert_eq!(found.as_deref(), digest, "{stage}: {target}, by {who}");
                    let (timestamp, snapshot) = self.scene.versions();
                    assert_eq!((versions[1], versions[2]), (timestamp, snapshot), "{stage}, by {who}");
                }
                Err(error) => match known(&error) {
                    Some((reader, _, reason)) => println!("{stage}: {reader} cannot load it: {reason}"),
                    None => panic!("{stage}: {who} cannot load it: {error}"),
                },
            }
        }
    }

    /// Whether the newest snapshot lists a role.
    fn listed(&self, role: &str) -> bool {
        let (_, snapshot) = self.scene.versions();
        let snapshot = self.scene.metadata(&format!("{snapshot}.snapshot.json")).json();
        number(&snapshot["signed"]["meta"][format!("{role}.json")]["version"]) > 0
    }
}

fn story(dir: &Path) -> Story {
    let scene = Scene::start(dir, "story", Options::default());
    let token = scene.stack.token("qa", &format!("{}=read,publish", scene.collection)).unwrap();
    let qa = scene.stack.person("qa", Some(&token)).unwrap();
    let root = scene.metadata("1.root.json").body;
    let source = Source::Http(format!("{}/tuf/{}", scene.stack.server_url, scene.collection));
    Story { scene, qa, root, source, kept: Readers::new() }
}

#[test]
fn every_stage_of_the_story_is_loaded_by_python_tuf_tough_and_sigstore_tuf() {
    let dir = tempfile::tempdir().unwrap();
    let mut story = story(dir.path());
    let (alice, qa, collection) = (story.scene.alice.clone(), story.qa.clone(), story.scene.collection.clone());
    let app = story.scene.image.digest.clone();
    story.read("init, sign single", "app/v0", Some(&app));

    let web = images::index(&dir.path().join("web"), "web", &[]).unwrap();
    images::push(&web, &format!("{collection}/web:v1")).unwrap();
    let web_ref = format!("{collection}/web:v1@{}", web.digest);
    story.done(&alice, &["sign", &web_ref]);
    story.read("sign index", "web/v1", Some(&web.digest));
    let by_digest = format!("web/@{}", web.digest.replace(':', "-"));
    story.read("sign index, by digest", &by_digest, Some(&web.digest));

    let (public, accepted) = (dir.path().join("qa.pub"), dir.path().join("qa.json"));
    let (public, accepted) = (public.to_str().unwrap(), accepted.to_str().unwrap());
    story.scene.pin(&qa);
    story.done(&qa, &["key", "generate", "qa"]);
    story.done(&qa, &["key", "export", "qa", "--out", public]);
    story.done(&qa, &["signer", "accept", "qa", &collection, "--key", "qa", "--out", accepted]);
    story.done(&alice, &["signer", "add", "qa", &collection, "--public-key", public, "--accept", accepted]);
    story.read("signer add", "web/v1", Some(&web.digest));

    story.done(&qa, &["sign", &web_ref, "--as", "qa", "--key", "qa"]);
    let qa_tag = format!("{collection}/app:by-qa@{app}");
    story.done(&qa, &["sign", &qa_tag, "--as", "qa", "--key", "qa"]);
    story.read("second signer", "app/by-qa", Some(&app));

    story.done(&qa, &["unsign", &web_ref, "--as", "qa", "--key", "qa", "--yes"]);
    story.read("unsign", "web/v1", Some(&web.digest));
    story.done(&alice, &["sign", &format!("{collection}/app:short@{app}")]);
    story.done(&alice, &["unsign", &format!("{collection}/app:short"), "--as", "targets", "--yes"]);
    story.read("unsign, of the only signature", "app/short", None);

    for (stage, args) in [
        ("rotate timestamp, step 1", &["rotate", "timestamp", &collection, "--overlap", "0s"][..]),
        ("rotate timestamp, step 2", &["rotate", "timestamp", &collection, "--finish"]),
        ("rotate snapshot --emergency", &["rotate", "snapshot", &collection, "--emergency"]),
        ("rotate targets", &["rotate", "targets", &collection]),
        ("rotate root", &["rotate", "root", &collection]),
    ] {
        story.done(&alice, args);
        story.read(stage, "web/v1", Some(&web.digest));
    }

    // The role's new key signs what the role holds, so that both people must be one for this: alice takes qa's place.
    story.done(&alice, &["key", "generate", "dev"]);
    story.done(&alice, &["signer", "add", "dev", &collection, "--signer-key", "dev"]);
    story.done(&alice, &["sign", &format!("{collection}/app:by-dev@{app}"), "--as", "dev", "--key", "dev"]);
    story.done(&alice, &["rotate", "signer:dev", &collection]);
    story.read("rotate signer:NAME", "app/by-dev", Some(&app));

    story.done(&alice, &["signer", "remove", "qa", &collection, "--yes", "--confirm", &collection]);
    assert!(story.listed("qa"), "an undelegated role stays in the snapshot");
    story.read("signer remove", "app/by-qa", None);

    let revoked = format!("{collection}/app");
    story.done(&alice, &["revoke", &format!("{revoked}:v0"), "--reason", "a test", "--confirm", &revoked]);
    story.read("revoke", "web/v1", Some(&web.digest));

    // The tombstone leaves with the snapshot key.
    story.done(&alice, &["rotate", "snapshot", &collection, "--overlap", "0s"]);
    story.done(&alice, &["rotate", "snapshot", &collection, "--finish"]);
    story.read("rotate snapshot in two steps", "web/v1", Some(&web.digest));

    // Revocations in a role of their own: what stood in `targets` is found there by everybody, and nothing else changes.
    story.done(&alice, &["signer", "add", "_revoked", &collection, "--signer-key", "revoker"]);
    let file = story.scene.metadata("1._revoked.json").json();
    let sum = file["signed"]["targets"]["_revoked/app/v0.json"]["hashes"]["sha256"].as_str().unwrap().to_owned();
    story.read("signer add _revoked", "_revoked/app/v0.json", Some(&format!("sha256:{sum}")));
    story.done(&alice, &["revoke", &format!("{revoked}@{app}"), "--reason", "a test", "--confirm", &revoked]);
    story.read("revoke by the role", "web/v1", Some(&web.digest));
    story.scene.check_history();
}
