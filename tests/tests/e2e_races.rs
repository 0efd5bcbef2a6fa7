//! Publishers at the same time, and readers beside them: nothing is lost, versions rise by exactly one, and nobody who
//! reads notices anything.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use trust_tests::stack::scene::{Scene, Watch, assert_exit, number};
use trust_tests::stack::{Options, Person, images, run};

const ROUNDS: usize = 10;

/// A reader with a state of its own that resolves the same tag again and again; gives the number of looks.
struct Looker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize, String>>,
}

impl Looker {
    fn start(scene: &Scene, name: &str) -> Self {
        let person = scene.stack.person(name, None).unwrap();
        scene.pin(&person);
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, reference) = (Arc::clone(&stop), format!("{}/app:v0", scene.collection));
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !flag.load(Ordering::SeqCst) {
                let output = run(person.trust().args(["resolve", &reference])).map_err(|e| e.to_string())?;
                if output.status.code() != Some(0) {
                    return Err(format!("look {looks}: {}", String::from_utf8_lossy(&output.stderr)));
                }
                looks += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(looks)
        });
        Self { stop, thread }
    }

    fn looks(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().unwrap_or_else(|error| panic!("a reader saw an error: {error}"))
    }
}

/// What one publisher signs in each round.
struct Publisher {
    person: Person,
    prefix: &'static str,
    more: &'static [&'static str],
}

impl Publisher {
    fn sign(&self, scene: &Scene, tag: &str) -> Output {
        run(scene.sign_command(&self.person, tag).args(self.more)).unwrap()
    }
}

/// Rounds in which all sign at once. Whoever lost too often (32) signs again alone. Gives the tags, and how often 32 came.
fn race(scene: &Scene, publishers: &[Publisher]) -> (Vec<String>, usize) {
    let (mut acknowledged, mut lost) = (vec!["v0".to_owned()], 0);
    for round in 0..ROUNDS {
        let tags: Vec<String> = publishers.iter().map(|p| format!("{}{round}", p.prefix)).collect();
        let outputs: Vec<Output> = std::thread::scope(|scope| {
            let running: Vec<_> =
                publishers.iter().zip(&tags).map(|(p, tag)| scope.spawn(move || p.sign(scene, tag))).collect();
            running.into_iter().map(|r| r.join().unwrap()).collect()
        });
        for ((publisher, tag), output) in publishers.iter().zip(&tags).zip(outputs) {
            if output.status.code() == Some(32) {
                lost += 1;
                assert_exit(&publisher.sign(scene, tag), 0, tag);
            } else {
                assert_exit(&output, 0, tag);
            }
        }
        acknowledged.extend(tags);
    }
    (acknowledged, lost)
}

/// What must hold after a race, whoever ran.
fn after(scene: &Scene, watch: Watch, lookers: Vec<Looker>, acknowledged: &[String]) {
    let report = watch.report();
    assert_eq!(report.wrong, Vec::<String>::new());
    assert_eq!(report.down, 0, "the server answered always");
    assert!(report.versions.len() > ROUNDS, "the observer saw it happen: {:?}", report.versions);
    for looker in lookers {
        assert!(looker.looks() > ROUNDS / 2, "the reader looked all the time");
    }
    scene.check(acknowledged);
    // One entry for each signature, none twice: the first publication, and one for each tag.
    let log = scene.log();
    let publications = log.iter().filter(|e| e["token"].as_str().is_some_and(|t| !t.starts_with('('))).count();
    assert!(publications > acknowledged.len(), "{log:#?}");
}

fn lookers(scene: &Scene) -> Vec<Looker> {
    vec![Looker::start(scene, "looker")]
}

/// A second person with a role and a key of their own.
fn second_signer(scene: &Scene, dir: &Path) -> Person {
    let token = scene.stack.token("qa", &format!("{}=read,publish", scene.collection)).unwrap();
    let qa = scene.stack.person("qa", Some(&token)).unwrap();
    scene.pin(&qa);
    let (public, accepted) = (dir.join("qa.pub"), dir.join("qa.json"));
    let (public, accepted) = (public.to_str().unwrap(), accepted.to_str().unwrap());
    let collection = scene.collection.as_str();
    for (person, args) in [
        (&qa, &["key", "generate", "qa"][..]),
        (&qa, &["key", "export", "qa", "--out", public]),
        (&qa, &["signer", "accept", "qa", collection, "--key", "qa", "--out", accepted]),
        (&scene.alice, &["signer", "add", "qa", collection, "--public-key", public, "--accept", accepted]),
    ] {
        assert_exit(&run(person.trust().args(args)).unwrap(), 0, &args.join(" "));
    }
    qa
}

#[test]
fn two_people_with_two_keys_publish_at_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "people", Options::default());
    let qa = second_signer(&scene, dir.path());
    let (watch, lookers) = (Watch::start(&scene), lookers(&scene));
    let publishers = [
        Publisher { person: scene.alice.clone(), prefix: "a", more: &["--as", "targets"] },
        Publisher { person: qa, prefix: "q", more: &["--as", "qa", "--key", "qa"] },
    ];
    let (acknowledged, lost) = race(&scene, &publishers);
    assert_eq!(lost, 0, "two roles are never in each other's way");
    after(&scene, watch, lookers, &acknowledged);
}

#[test]
fn two_processes_with_the_same_key_publish_at_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "processes", Options::default());
    let (watch, lookers) = (Watch::start(&scene), lookers(&scene));
    let of_alice = |prefix| Publisher { person: scene.alice.clone(), prefix, more: &[] };
    let (acknowledged, _) = race(&scene, &[of_alice("x"), of_alice("y")]);
    after(&scene, watch, lookers, &acknowledged);
}

#[test]
fn two_who_sign_one_tag_for_two_digests_end_with_one_of_them_and_both_are_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "one-tag", Options::default());
    let other = images::single(&dir.path().join("other"), "another image", &[]).unwrap();
    images::push(&other, &format!("{}/app:other", scene.collection)).unwrap();
    let reference = format!("{}/app:latest", scene.collection);
    let sign = |digest: &str| {
        let mut command = scene.alice.trust();
        command.args(["sign", &format!("{reference}@{digest}")]);
        move || run(&mut command).unwrap()
    };
    let before = scene.log().len();
    let (mut one, mut two) = (sign(&scene.image.digest), sign(&other.digest));
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(&mut one);
        (two(), one.join().unwrap())
    });
    for output in [&one, &two] {
        assert_exit(output, 0, "sign");
    }
    let log = scene.log();
    assert_eq!(log.len(), before + 2);
    let last = log.last().map(|entry| number(&entry["roles"]["targets"])).unwrap();
    let file = scene.metadata(&format!("{last}.targets.json")).json();
    let hash = file["signed"]["targets"]["app/latest"]["hashes"]["sha256"].as_str().unwrap().to_owned();
    assert!([&scene.image.digest, &other.digest].iter().any(|d| **d == format!("sha256:{hash}")));
    let resolved = run(scene.reader.trust().args(["resolve", &reference])).unwrap();
    assert_exit(&resolved, 0, "resolve");
    assert!(String::from_utf8_lossy(&resolved.stdout).contains(&hash), "the last one holds");
}
