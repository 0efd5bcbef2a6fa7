//! Services that stop, die, come back, and come back older: an acknowledged publication is never lost (I2), another one is
//! wholly there or not at all (I3), and no client ever sees a version go back (I4).
//!
//! Tests run in the order of their names: the one that mostly waits is the first, so that the others run beside it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trust_tests::stack::scene::{HttpAnswer, Scene, Watch, ask, assert_exit};
use trust_tests::stack::{Options, Person, images, run};

/// How long is waited for a service's return (I11 promises 5 s on a machine that has nothing else to do).
const RECOVERY: Duration = Duration::from_secs(20);
/// Server or signer not available.
const UNAVAILABLE: i32 = 34;

fn start(dir: &Path, name: &str) -> Scene {
    Scene::start(dir, name, Options::default())
}

fn readiness(scene: &Scene) -> u16 {
    ask(&scene.stack.server_address(), "GET", "/readyz", &[]).unwrap().status
}

fn becomes_ready(scene: &Scene, status: u16) -> bool {
    let until = Instant::now() + RECOVERY;
    while Instant::now() < until {
        if readiness(scene) == status {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}

#[test]
fn a_hanging_signer_means_34_and_the_publication_is_there_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let scene = start(dir.path(), "hangs");
    let (signer, before) = (scene.stack.signer.as_ref().unwrap(), scene.versions());
    let watch = Watch::start(&scene);
    signer.signal("STOP");
    let signing = {
        let mut command = scene.sign_command(&scene.alice, "hung");
        std::thread::spawn(move || run(&mut command).unwrap())
    };
    let mut looks = 0;
    while !signing.is_finished() {
        assert_eq!(scene.resolve("v0"), Some(0), "reads go on");
        looks += 1;
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(looks > 3);
    let output = signing.join().unwrap();
    assert_exit(&output, UNAVAILABLE, "the signer hangs");
    assert!(String::from_utf8_lossy(&output.stderr).contains("E3402"));
    assert_eq!(scene.versions(), before);
    assert!(becomes_ready(&scene, 503), "not ready without a signer");
    signer.signal("CONT");
    assert!(scene.comes("hung", RECOVERY), "it was kept");
    assert!(becomes_ready(&scene, 200));
    assert_exit(&scene.sign("next"), 0, "the next");
    let report = watch.report();
    assert_eq!((report.wrong, report.down), (Vec::new(), 0));
    scene.check(&["v0", "hung", "next"].map(str::to_owned));
}

#[test]
fn a_signer_that_is_gone_means_34_and_the_publication_is_there_when_it_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), "gone");
    let (before, watch) = (scene.versions(), Watch::start(&scene));
    scene.stack.signer.as_mut().unwrap().kill();
    assert_exit(&scene.sign("kept"), UNAVAILABLE, "no signer");
    assert_eq!(scene.resolve("v0"), Some(0), "reads go on");
    // Another one waits behind the first: it is refused before it is stored.
    assert_exit(&scene.sign("refused"), UNAVAILABLE, "no signer, and an open publication");
    assert_eq!(scene.versions(), before);
    assert!(becomes_ready(&scene, 503));
    scene.stack.start_signer().unwrap();
    assert!(scene.comes("kept", RECOVERY), "it was kept");
    assert_ne!(scene.resolve("refused"), Some(0), "wholly there or wholly absent");
    assert_exit(&scene.sign("refused"), 0, "again");
    let report = watch.report();
    assert_eq!((report.wrong, report.down), (Vec::new(), 0));
    scene.check(&["v0", "kept", "refused"].map(str::to_owned));
}

#[test]
fn a_kept_publication_survives_the_restart_of_both_services() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), "both");
    let (address, watch) = (scene.stack.server_address(), Watch::start(&scene));
    scene.stack.signer.as_mut().unwrap().kill();
    assert_exit(&scene.sign("kept"), UNAVAILABLE, "no signer");
    scene.stack.server.as_mut().unwrap().kill();
    scene.stack.start_server(Some(address)).unwrap();
    // Its promotion may have been shown before: until the signer has answered, nothing is shown.
    let held = ask(&scene.stack.server_address(), "GET", &scene.path("timestamp.json"), &[]).unwrap();
    assert!(matches!(held.status, 200 | 503), "{held:?}");
    scene.stack.start_signer().unwrap();
    assert!(scene.comes("kept", RECOVERY), "it was kept");
    let report = watch.report();
    assert_eq!(report.wrong, Vec::<String>::new());
    scene.check(&["v0", "kept"].map(str::to_owned));
}

#[test]
fn a_timestamp_is_signed_again_at_half_life_and_never_expires_while_both_services_run() {
    let dir = tempfile::tempdir().unwrap();
    let lifetimes = vec![("REGISTRY/short".to_owned(), "4s".to_owned())];
    let scene = Scene::start(dir.path(), "short", Options { lifetimes, ..Options::default() });
    let (first, watch) = (scene.versions(), Watch::start(&scene));
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        assert_eq!(scene.resolve("v0"), Some(0), "always fresh");
        std::thread::sleep(Duration::from_millis(200));
    }
    let report = watch.report();
    assert_eq!((report.wrong, report.down), (Vec::new(), 0));
    let risen: Vec<u64> = (first.0..first.0 + report.versions.len() as u64).collect();
    assert_eq!(report.versions, risen, "one by one");
    assert!((4..=8).contains(&report.versions.len()), "at half life, and not all the time: {:?}", report.versions);
    assert_eq!(scene.versions().1, first.1, "the snapshot stays");
    assert_exit(&scene.sign("v1"), 0, "sign");
    scene.check(&["v0", "v1"].map(str::to_owned));
}

#[test]
fn a_server_restored_from_an_old_copy_adopts_what_the_signer_has_and_no_client_sees_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), "restored");
    assert_exit(&scene.sign("v1"), 0, "sign");
    let old_client = scene.stack.person("old-client", None).unwrap();
    scene.pin(&old_client);
    assert_exit(&scene.resolve_as(&old_client, "v1"), 0, "before");
    let (address, data) = (scene.stack.server_address(), scene.stack.server_data());
    let copy = scene.stack.dir.join("copy");
    scene.stack.server.as_mut().unwrap().kill();
    copy_folder(&data, &copy);
    scene.stack.start_server(Some(address.clone())).unwrap();
    for tag in ["v2", "v3", "v4"] {
        assert_exit(&scene.sign(tag), 0, tag);
    }
    // An image that the copy knows nothing of.
    let other = images::single(&dir.path().join("other"), "later", &[]).unwrap();
    images::push(&other, &format!("{}/other:v1", scene.collection)).unwrap();
    let late = format!("{}/other:v1@{}", scene.collection, other.digest);
    assert_exit(&run(scene.alice.trust().args(["sign", &late])).unwrap(), 0, "another image");
    assert_exit(&run(scene.alice.trust().args(["rotate", "targets", &scene.collection])).unwrap(), 0, "rotate");
    let newest = scene.versions();
    assert_eq!(scene.resolve("v4"), Some(0));
    let watch = Watch::start(&scene);
    std::thread::sleep(Duration::from_millis(100));
    scene.stack.server.as_mut().unwrap().kill();
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    scene.stack.start_server(Some(address)).unwrap();
    let shown = scene.metadata("timestamp.json");
    if shown.status == 200 {
        assert!(scene.versions() >= newest, "{:?} is shown after {newest:?}", scene.versions());
    }
    assert!(scene.comes("v4", RECOVERY));
    assert!(scene.versions() >= newest);
    let report = watch.report();
    assert_eq!(report.wrong, Vec::<String>::new());
    assert_exit(&scene.resolve_as(&old_client, "v4"), 0, "a client of before the copy");
    assert_exit(&scene.sign("v5"), 0, "and on");
    scene.check(&["v0", "v1", "v2", "v3", "v4", "v5"].map(str::to_owned));
    // The signer keeps metadata, not manifests: they come back when the image is signed again.
    let hash = other.digest.trim_start_matches("sha256:");
    let content = format!("/tuf/{}/_targets/other/{hash}.v1", scene.collection);
    let status = || ask(&scene.stack.server_address(), "GET", &content, &[]).unwrap().status;
    assert_eq!(status(), 404);
    assert_exit(&run(scene.alice.trust().args(["resolve", &late])).unwrap(), 0, "verified by us without it");
    assert_exit(&run(scene.alice.trust().args(["sign", &late])).unwrap(), 0, "once more");
    assert_eq!(status(), 200);
}

#[test]
fn an_old_copy_served_while_the_signer_is_away_is_refused_by_clients_as_a_rollback_until_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), "old-copy");
    let (address, data, copy) = (scene.stack.server_address(), scene.stack.server_data(), scene.stack.dir.join("copy"));
    scene.stack.server.as_mut().unwrap().kill();
    copy_folder(&data, &copy);
    scene.stack.start_server(Some(address.clone())).unwrap();
    assert_exit(&scene.sign("v1"), 0, "sign");
    assert_eq!(scene.resolve("v1"), Some(0));
    scene.stack.server.as_mut().unwrap().kill();
    scene.stack.signer.as_mut().unwrap().kill();
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    scene.stack.start_server(Some(address)).unwrap();
    for tag in ["v0", "v1"] {
        let output = scene.resolve_as(&scene.reader, tag);
        assert_exit(&output, 15, "older than this client has seen");
        assert!(output.stdout.is_empty());
    }
    scene.stack.start_signer().unwrap();
    assert!(scene.comes("v1", RECOVERY), "the signer's set is adopted");
    scene.check(&["v0", "v1"].map(str::to_owned));
}

#[test]
fn a_signer_restored_from_an_old_copy_cannot_make_the_server_show_older_versions() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), "rolled-back");
    let (data, copy) = (scene.stack.signer_data(), scene.stack.dir.join("copy"));
    scene.stack.signer.as_mut().unwrap().kill();
    copy_folder(&data, &copy);
    scene.stack.start_signer().unwrap();
    for tag in ["v1", "v2"] {
        assert_exit(&scene.sign(tag), 0, tag);
    }
    let newest = scene.versions();
    scene.stack.signer.as_mut().unwrap().kill();
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&copy, &data);
    let watch = Watch::start(&scene);
    scene.stack.start_signer().unwrap();
    let output = scene.sign("v3");
    assert_ne!(output.status.code(), Some(0), "nothing is acknowledged that this signer cannot cover");
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(scene.versions(), newest, "what was shown stays");
    for tag in ["v0", "v1", "v2"] {
        assert_eq!(scene.resolve(tag), Some(0), "{tag}");
    }
    let report = watch.report();
    assert_eq!((report.wrong, report.down), (Vec::new(), 0));
}

fn copy_folder(from: &Path, to: &Path) {
    let output = run(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
    assert_exit(&output, 0, "cp");
}

/// Small and repeatable; the seed is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x7275_7374_2026_1121);
    println!("SEED={seed}");
    seed
}

/// Signs tag after tag until it is told to stop; gives those that were acknowledged. A tag that failed for a reason that
/// an outage may have is tried again.
fn publisher(scene: &Scene, person: &Person, prefix: &'static str, stop: &Arc<AtomicBool>) -> Loop<Vec<String>> {
    let (person, stop) = (person.clone(), Arc::clone(stop));
    let (name, digest) = (format!("{}/app", scene.collection), scene.image.digest.clone());
    std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let tag = format!("{prefix}{}", acknowledged.len());
            let mut command = person.trust();
            command.args(["sign", &format!("{name}:{tag}@{digest}"), "--as", "targets"]);
            let output = run(&mut command).map_err(|e| e.to_string())?;
            match output.status.code() {
                Some(0) => acknowledged.push(tag),
                Some(30 | 32 | 34) => std::thread::sleep(Duration::from_millis(50)),
                code => return Err(format!("{tag}: {code:?} {}", String::from_utf8_lossy(&output.stderr))),
            }
        }
        Ok(acknowledged)
    })
}

type Loop<T> = std::thread::JoinHandle<Result<T, String>>;

/// A reader with a state that looks all the time: found, or nobody there; never a refusal.
fn looker(scene: &Scene, person: &Person, stop: &Arc<AtomicBool>) -> Loop<usize> {
    let (person, stop, reference) = (person.clone(), Arc::clone(stop), format!("{}/app:v0", scene.collection));
    std::thread::spawn(move || {
        let mut found = 0;
        while !stop.load(Ordering::SeqCst) {
            let output = run(person.trust().args(["resolve", &reference])).map_err(|e| e.to_string())?;
            match output.status.code() {
                Some(0) => found += 1,
                Some(30 | 34) => {}
                code => return Err(format!("{code:?} {}", String::from_utf8_lossy(&output.stderr))),
            }
            std::thread::sleep(Duration::from_millis(80));
        }
        Ok(found)
    })
}

/// Kills one of the services at random times while two processes publish and one reads.
fn chaos(name: &str, kills: usize, victim: impl Fn(&mut Scene)) {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = start(dir.path(), name);
    let token = scene.stack.token("second", "*=read,publish").unwrap();
    // The same keys in another home: a machine of its own.
    let second = scene.stack.person("second", Some(&token)).unwrap();
    copy_folder(&scene.alice.home.join("data"), &second.home);
    std::fs::copy(scene.alice.home.join("passphrase"), second.home.join("passphrase")).unwrap();
    scene.pin(&second);
    let (alice, reader, stop) = (scene.alice.clone(), scene.reader.clone(), Arc::new(AtomicBool::new(false)));
    let publishers = [publisher(&scene, &alice, "a", &stop), publisher(&scene, &second, "b", &stop)];
    let (looker, watch) = (looker(&scene, &reader, &stop), Watch::start(&scene));
    let mut random = Random(seed());
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(150 + random.below(700)));
        let began = Instant::now();
        victim(&mut scene);
        assert!(becomes_ready(&scene, 200), "ready in time after a kill");
        slowest = slowest.max(began.elapsed());
    }
    std::thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = vec!["v0".to_owned()];
    for publisher in publishers {
        acknowledged.extend(publisher.join().unwrap().unwrap());
    }
    let report = watch.report();
    assert_eq!(report.wrong, Vec::<String>::new());
    let found = looker.join().unwrap().unwrap();
    println!("{name}: {} signatures, {found} looks, slowest recovery {slowest:?}", acknowledged.len());
    assert!(acknowledged.len() > 2 && found > 0, "work went on between the kills");
    assert_exit(&scene.sign("last"), 0, "afterwards");
    acknowledged.push("last".to_owned());
    scene.check(&acknowledged);
}

#[test]
fn a_server_killed_ten_times_under_publications_loses_nothing_that_it_acknowledged() {
    let turn = std::cell::Cell::new(false);
    chaos("killed-server", 10, |scene| {
        let (address, server) = (scene.stack.server_address(), scene.stack.server.as_mut().unwrap());
        // Every other time it is asked to stop.
        if turn.replace(!turn.get()) {
            server.signal("TERM");
            assert!(server.wait(RECOVERY).is_some(), "it ends when it is asked to");
        } else {
            server.kill();
        }
        scene.stack.start_server(Some(address)).unwrap();
    });
}

#[test]
fn a_signer_killed_six_times_under_publications_loses_nothing_that_was_acknowledged() {
    chaos("killed-signer", 6, |scene| {
        scene.stack.signer.as_mut().unwrap().kill();
        scene.stack.start_signer().unwrap();
    });
}

#[test]
fn metadata_is_answered_as_caches_need_it() {
    let dir = tempfile::tempdir().unwrap();
    let scene = start(dir.path(), "routes");
    let address = scene.stack.server_address();
    let get = |file: &str, headers: &[(&str, &str)]| ask(&address, "GET", &scene.path(file), headers).unwrap();
    let cache = |answer: &HttpAnswer| answer.header("cache-control").unwrap_or_default().to_owned();
    let (_, snapshot) = scene.versions();
    let immutable = ["1.root.json".to_owned(), format!("{snapshot}.snapshot.json"), "1.targets.json".to_owned()];
    for file in immutable.iter().map(String::as_str).chain(["timestamp.json"]) {
        let whole = get(file, &[]);
        assert_eq!((whole.status, whole.header("content-type")), (200, Some("application/json")), "{file}");
        let etag = whole.header("etag").unwrap().to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 32, "{etag}");
        let is_timestamp = file == "timestamp.json";
        assert_eq!(cache(&whole).contains("immutable"), !is_timestamp, "{file}: {}", cache(&whole));
        assert!(!is_timestamp || cache(&whole).contains("max-age=1,"), "{file}: {}", cache(&whole));
        assert!(whole.header("content-encoding").is_none() && whole.header("set-cookie").is_none());
        for tag in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let same = get(file, &[("if-none-match", &tag)]);
            assert_eq!((same.status, same.body.len()), (304, 0), "{file}: {tag}");
            assert_eq!((same.header("etag"), cache(&same)), (Some(etag.as_str()), cache(&whole)), "{file}");
        }
        let other = get(file, &[("if-none-match", "\"0000\"")]);
        assert_eq!((other.status, &other.body), (200, &whole.body), "{file}");
        let head = ask(&address, "HEAD", &scene.path(file), &[]).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{file}");
        for name in ["content-length", "etag", "cache-control", "content-type"] {
            assert_eq!(head.header(name), whole.header(name), "{file}: {name}");
        }
        assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));
        // Compression is not for this client, even if it is offered.
        let plain = get(file, &[("accept-encoding", "gzip, br")]);
        assert_eq!((plain.header("content-encoding"), &plain.body), (None, &whole.body), "{file}");
        for method in ["PUT", "POST", "DELETE"] {
            let refused = ask(&address, method, &scene.path(file), &[]).unwrap();
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method} {file}");
        }
    }
    // The next root is asked for all the time, and must be seen as soon as it is there.
    let next = get("2.root.json", &[]);
    assert_eq!((next.status, cache(&next).as_str()), (404, "no-store"));
    assert_exit(&run(scene.alice.trust().args(["rotate", "root", &scene.collection])).unwrap(), 0, "rotate root");
    assert_eq!(get("2.root.json", &[]).status, 200);
    // A new timestamp has another tag; the old versions of the others stay.
    let before = get("timestamp.json", &[]).header("etag").unwrap().to_owned();
    assert_exit(&scene.sign("v1"), 0, "sign");
    assert_eq!(get("timestamp.json", &[("if-none-match", &before)]).status, 200);
    for file in &immutable {
        assert_eq!(get(file, &[]).status, 200, "{file} stays");
    }
    for file in [
        "root.json",
        "0.root.json",
        "01.root.json",
        "9.snapshot.json",
        "1.timestamp.json",
        "1.nobody.json",
        "..%2fserver.db",
        "1.root.json/",
        "%2e%2e/1.root.json",
        "1.root.json%00",
        "timestamp.json.gz",
        "",
    ] {
        let answer = get(file, &[]);
        assert_eq!((answer.status, cache(&answer).as_str()), (404, "no-store"), "{file}");
    }
    let nowhere = ask(&address, "GET", "/tuf/127.0.0.1:1/none/_metadata/timestamp.json", &[]).unwrap();
    assert_eq!((nowhere.status, cache(&nowhere).as_str()), (404, "no-store"));
    // The content of a target, under both names that readers ask for.
    let hash = scene.image.digest.trim_start_matches("sha256:");
    let targets = format!("/tuf/{}/_targets", scene.collection);
    for path in [format!("{targets}/app/{hash}.v0"), format!("{targets}/{hash}.app/v0")] {
        let content = ask(&address, "GET", &path, &[]).unwrap();
        assert_eq!(content.status, 200, "{path}");
        assert_eq!(trust_image::Digest::of(&content.body).to_string(), scene.image.digest);
        assert!(cache(&content).contains("immutable"));
    }
    let other = hash.replace(|c: char| c.is_ascii_digit(), "0");
    let wrong = ask(&address, "GET", &format!("{targets}/app/{other}.v0"), &[]).unwrap();
    assert_eq!((wrong.status, cache(&wrong).as_str()), (404, "no-store"));
}
