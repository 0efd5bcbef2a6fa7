//! A signer with hash bins (TAP 15) on a real stack: added, signed with, split anew while clients are running, rotated,
//! laid back into one file, removed. python-tuf reads every stage; what the other two readers make of it is written down
//! in the test, because the documents say so.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use trust_image::Digest;
use trust_tests::interop::{Readers, Source};
use trust_tests::stack::scene::{Scene, Watch, assert_exit};
use trust_tests::stack::{Options, Person, run};
use trust_tuf::Bins;

struct Story {
    scene: Scene,
    source: Source,
    root: Vec<u8>,
    kept: Readers,
}

impl Story {
    fn start(dir: &Path) -> Self {
        let scene = Scene::start(dir, "bins", Options::default());
        let root = scene.metadata("1.root.json").body;
        let source = Source::Http(format!("{}/tuf/{}", scene.stack.server_url, scene.collection));
        Self { scene, source, root, kept: Readers::new() }
    }

    fn trust(&self, person: &Person, args: &[&str]) -> Output {
        let mut command = person.trust();
        run(command.args(args)).unwrap()
    }

    #[track_caller]
    fn done(&self, args: &[&str]) -> Output {
        let output = self.trust(&self.scene.alice, args);
        assert_exit(&output, 0, &format!("trust {}", args.join(" ")));
        output
    }

    #[track_caller]
    fn signer(&self, verb: &str, more: &[&str]) -> Output {
        let collection = self.scene.collection.clone();
        self.done(&[&["signer", verb, "dev", &collection], more].concat())
    }

    #[track_caller]
    fn sign(&self, tag: &str) {
        let image = format!("{}/app:{tag}@{}", self.scene.collection, self.scene.image.digest);
        self.done(&["sign", &image, "--as", "dev"]);
    }

    /// The roles of the last publication.
    fn published(&self) -> Vec<String> {
        let log = self.scene.log();
        log.last().unwrap()["roles"].as_object().unwrap().keys().cloned().collect()
    }

    /// A client of old and a new one of this kind look for a tag: its digest, nothing, or why not.
    fn read_by(&self, reader: &str, tag: &str) -> Vec<Result<Option<String>, String>> {
        let path = format!("app/{tag}");
        let new = Readers::new();
        let all = [&self.kept, &new].map(|readers| readers.load_by(reader, &self.source, &self.root, &path));
        let digest = |target: Option<Vec<u8>>| target.map(|bytes| Digest::of(&bytes).to_string());
        all.into_iter().flatten().map(|loaded| loaded.map(|loaded| digest(loaded.target))).collect()
    }

    #[track_caller]
    fn python_finds(&self, tag: &str, is_there: bool) {
        let expected = is_there.then(|| self.scene.image.digest.clone());
        for found in self.read_by("python-tuf", tag) {
            assert_eq!(found.as_ref(), Ok(&expected), "{tag} by python-tuf");
        }
    }

    /// The homes of a tag and of its digest entry.
    fn homes(&self, bins: &Bins, tag: &str) -> Vec<String> {
        let by_digest = format!("app/@{}", self.scene.image.digest.replace(':', "-"));
        let mut homes = vec![bins.name_for(&format!("app/{tag}")), bins.name_for(&by_digest)];
        homes.sort();
        homes.dedup();
        homes
    }

    /// What `trust list` says of a tag: who signed it.
    fn listed(&self, person: &Person, tag: &str) -> Vec<String> {
        let out = self.trust(person, &["list", &self.scene.collection, "-o", "json"]);
        assert_exit(&out, 0, "trust list");
        let value: Value = serde_json::from_slice(&out.stdout).unwrap();
        let entries = value["entries"].as_array().unwrap();
        let entry = entries.iter().find(|e| e["reference"].as_str().unwrap().ends_with(&format!("app:{tag}")));
        let signers = entry.and_then(|e| e["signers"].as_array().cloned()).unwrap_or_default();
        signers.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    }
}

fn bins(prefix: &str, bits: u32) -> Bins {
    Bins::new(prefix, bits).unwrap()
}

#[test]
fn a_signer_with_bins_is_one_signer_in_every_command_and_to_running_clients() {
    let dir = tempfile::tempdir().unwrap();
    let story = Story::start(dir.path());
    let (reader, watch) = (story.scene.reader.clone(), Watch::start(&story.scene));
    story.done(&["key", "generate", "dev"]);
    let added = story.signer("add", &["--signer-key", "dev", "--bins", "2^2"]);
    let said = String::from_utf8_lossy(&added.stderr).into_owned();
    assert!(said.contains("tough") && said.contains("python-tuf"), "who reads bins is said: {said}");
    assert_eq!(story.published().len(), 6, "targets, dev and four bins at once");

    story.sign("one");
    story.sign("two");
    assert_eq!(story.published(), story.homes(&bins("dev.b1", 2), "two"), "nothing but the touched bins");
    assert_eq!(story.scene.resolve("two"), Some(0));
    assert_eq!(story.listed(&reader, "two"), ["dev"], "a bin is no signer of its own");
    story.python_finds("two", true);
    story.python_finds("v0", true);
    for found in story.read_by("sigstore-tuf", "two") {
        assert_eq!(found, Ok(None), "sigstore-tuf does not look into bins");
    }
    for found in story.read_by("tough", "v0") {
        assert!(found.is_err(), "tough cannot load a collection with bins: {found:?}");
    }

    // A client that is on the way holds the old list: what it names stays.
    let old = story.homes(&bins("dev.b1", 2), "two");
    let split = story.signer("bins", &["16"]);
    assert_eq!(story.published().len(), 17, "{}", String::from_utf8_lossy(&split.stderr));
    for bin in &old {
        assert!((1..=3).any(|v| story.scene.metadata(&format!("{v}.{bin}.json")).status == 200), "{bin}");
    }
    let offline = story.trust(&reader, &["resolve", &format!("{}/app:two", story.scene.collection), "--offline"]);
    assert_exit(&offline, 0, "with the old files");
    assert_eq!(story.scene.resolve("two"), Some(0), "with the new ones");
    assert_eq!(story.listed(&reader, "one"), ["dev"]);
    story.python_finds("two", true);
    story.sign("three");
    assert_eq!(story.published(), story.homes(&bins("dev.b2", 4), "three"));

    let image = format!("{}/app:one", story.scene.collection);
    story.done(&["unsign", &image, "--as", "dev", "--yes"]);
    assert_eq!(story.published(), [bins("dev.b2", 4).name_for("app/one")]);
    assert_eq!(story.scene.resolve("one"), Some(10));
    story.python_finds("one", false);

    let collection = story.scene.collection.clone();
    story.done(&["rotate", "signer:dev", &collection]);
    assert_eq!(story.published().len(), 18, "the new key signs all bins in the same publication");
    story.python_finds("three", true);
    assert_eq!(story.scene.resolve("three"), Some(0));
    story.sign("four");

    story.signer("bins", &["16"]);
    assert_eq!(story.published().len(), 17, "the same number signs all files again");
    story.signer("bins", &["none"]);
    assert_eq!(story.published(), ["dev"]);
    for reader in ["python-tuf", "sigstore-tuf", "tough"] {
        for found in story.read_by(reader, "four") {
            assert_eq!(found, Ok(Some(story.scene.image.digest.clone())), "{reader}");
        }
    }
    story.signer("bins", &["2"]);
    let named: Vec<String> = ["v0", "two", "three", "four"].map(str::to_owned).to_vec();
    story.scene.check(&named);

    story.signer("remove", &["--confirm", &collection]);
    assert_eq!(story.scene.resolve("four"), Some(10));
    story.python_finds("four", false);
    let seen = watch.report();
    assert!(seen.wrong.is_empty() && seen.versions.len() > 5, "{seen:?}");
    story.scene.check_history();
}

#[test]
fn what_is_signed_while_bins_are_split_anew_is_never_lost() {
    let dir = tempfile::tempdir().unwrap();
    let story = Story::start(dir.path());
    story.done(&["key", "generate", "dev"]);
    story.signer("add", &["--signer-key", "dev", "--bins", "2"]);
    let image = |tag: &str| format!("{}/app:{tag}@{}", story.scene.collection, story.scene.image.digest);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let signing = scope.spawn(|| {
            let sign = |tag: &String| {
                let args = ["sign", &image(tag), "--as", "dev"];
                story.trust(&story.scene.alice, &args).status.code() == Some(0)
            };
            (0..6).map(|n| format!("t{n}")).filter(sign).collect()
        });
        for count in ["4", "8", "none"] {
            // On another machine: a state of its own. Whoever comes second too often is told so, and tries again.
            let split = || {
                let mut command = story.scene.alice.trust();
                command.env("XDG_STATE_HOME", dir.path().join("elsewhere"));
                run(command.args(["signer", "bins", "dev", &story.scene.collection, count])).unwrap()
            };
            assert!((0..5).any(|_| split().status.code() == Some(0)), "{count}");
        }
        signing.join().unwrap()
    });
    assert!(!acknowledged.is_empty());
    story.scene.check(&acknowledged);
}

#[test]
fn bins_where_some_readers_would_not_look_further_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let story = Story::start(dir.path());
    let collection = story.scene.collection.clone();
    for name in ["dev", "ci"] {
        story.done(&["key", "generate", name]);
        story.done(&["signer", "add", name, &collection, "--signer-key", name]);
    }
    let refused = story.trust(&story.scene.alice, &["signer", "bins", "dev", &collection, "4"]);
    assert_exit(&refused, 2, "ci stands behind dev");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("trust signer last dev {collection}")), "{said}");
    story.done(&["signer", "last", "dev", &collection]);
    story.done(&["signer", "bins", "dev", &collection, "4"]);
    // The server holds to it, whatever a client does.
    let back = story.trust(&story.scene.alice, &["signer", "last", "ci", &collection]);
    assert_exit(&back, 12, "ci behind the bins of dev");
    // A new signer stands in front of the bins; a second one with bins has to have other paths.
    story.done(&["key", "generate", "qa"]);
    story.done(&["signer", "add", "qa", &collection, "--signer-key", "qa"]);
    let out = story.done(&["signer", "list", &collection, "-o", "json"]);
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    let names: Vec<&str> = value["signers"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["targets", "ci", "qa", "dev"]);
    assert_eq!(value["signers"][3]["bins"], 4);
    story.done(&["key", "generate", "web"]);
    let add = ["signer", "add", "web", &collection, "--signer-key", "web", "--bins", "4"];
    assert_exit(&story.trust(&story.scene.alice, &add), 2, "two signers with bins for the same paths");
    story.done(&[&["signer", "remove", "dev", &collection, "--confirm", &collection][..]].concat());
    story.done(&add);
}
