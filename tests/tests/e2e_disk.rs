//! Full disks: the server's, the signer's, the client's. A clean error, reads that go on, nothing half written, and when
//! there is space again everything continues.

use std::path::Path;
use std::time::Duration;

use trust_tests::stack::disk::{Disk, in_namespace};
use trust_tests::stack::gate::{Gate, GateOptions};
use trust_tests::stack::scene::{HttpAnswer, Scene, Watch, ask, assert_exit};
use trust_tests::stack::{Options, Stack, built, run};

/// How long is waited for what comes by itself.
const SOON: Duration = Duration::from_secs(20);

/// The codes with which a publication may fail while a service has no space: server or signer not available.
const UNAVAILABLE: i32 = 34;

/// A scene of which this folder lies on a small disk.
fn scene(dir: &Path, name: &str, folder: impl FnOnce(&Stack) -> std::path::PathBuf, kilobytes: usize) -> (Scene, Disk) {
    let stack = Stack::registry_only(dir).unwrap();
    let disk = Disk::mount(&folder(&stack), kilobytes).unwrap();
    let stack = stack.with_services(Options::default()).unwrap();
    (Scene::on(stack, dir, name), disk)
}

#[test]
fn a_server_without_space_refuses_publications_with_34_and_serves_reads_and_goes_on_afterwards() {
    in_namespace("a server without space", || {
        let dir = tempfile::tempdir().unwrap();
        let (scene, disk) = scene(dir.path(), "full-server", Stack::server_data, 16 * 1024);
        let mut acknowledged = vec!["v0".to_owned()];
        let mut refused = Vec::new();
        let watch = Watch::start(&scene);
        // Each step of the publication is the one that finds no more space: the candidate, its promotion, the timestamp.
        for (n, free) in [0_u64, 8, 16, 32, 64].into_iter().enumerate() {
            let before = scene.versions();
            disk.fill_but(free).unwrap();
            let tag = format!("f{n}");
            let output = scene.sign(&tag);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let code = output.status.code();
            assert!(matches!(code, Some(0 | UNAVAILABLE)), "{free} KiB free: {code:?} {said}");
            assert_eq!(scene.resolve("v0"), Some(0), "{free} KiB free: reads go on");
            if free == 0 {
                assert_eq!(code, Some(UNAVAILABLE), "{said}");
                assert_eq!(scene.versions(), before, "nothing became current");
                assert!(said.contains("disk"), "the message names the disk: {said}");
            }
            disk.empty().unwrap();
            if code != Some(0) {
                refused.push(free);
                assert_exit(&scene.sign(&tag), 0, "again, with space");
            }
            assert!(scene.comes(&tag, SOON), "{tag}");
            acknowledged.push(tag);
        }
        println!("refused with so many KiB free: {refused:?}");
        let report = watch.report();
        assert_eq!((report.wrong, report.down), (Vec::new(), 0));
        scene.check(&acknowledged);
    });
}

#[test]
fn a_server_that_is_started_on_a_full_disk_says_so_or_serves_and_loses_nothing() {
    in_namespace("a server started without space", || {
        let dir = tempfile::tempdir().unwrap();
        let (mut scene, disk) = scene(dir.path(), "full-start", Stack::server_data, 16 * 1024);
        assert_exit(&scene.sign("v1"), 0, "sign");
        let (before, address) = (scene.versions(), scene.stack.server_address());
        if let Some(server) = scene.stack.server.as_mut() {
            server.kill();
        }
        disk.fill().unwrap();
        match scene.stack.start_server(Some(address.clone())) {
            Ok(()) => assert_eq!(scene.versions(), before, "reads go on"),
            Err(error) => {
                let log = std::fs::read_to_string(scene.stack.dir.join("server.log")).unwrap();
                assert!(log.contains("full"), "{error}: {log}");
            }
        }
        disk.empty().unwrap();
        scene.stack.start_server(Some(address)).unwrap();
        assert_exit(&scene.sign("v2"), 0, "sign, with space");
        scene.check(&["v0".to_owned(), "v1".to_owned(), "v2".to_owned()]);
    });
}

#[test]
fn a_signer_without_space_signs_nothing_and_the_same_publication_succeeds_afterwards() {
    in_namespace("a signer without space", || {
        let dir = tempfile::tempdir().unwrap();
        let (scene, disk) = scene(dir.path(), "full-signer", Stack::signer_data, 16 * 1024);
        let before = scene.versions();
        disk.fill().unwrap();
        let refused = scene.sign("f0");
        assert_exit(&refused, UNAVAILABLE, "the signer's disk is full");
        // Nothing leaves it: neither this snapshot nor another timestamp, however often it is asked.
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(scene.versions(), before);
        assert_eq!(scene.metadata(&format!("{}.snapshot.json", before.1 + 1)).status, 404);
        assert_eq!(scene.resolve("v0"), Some(0), "reads go on");
        assert_ne!(scene.resolve("f0"), Some(0));
        let state = ask(&scene.stack.server_address(), "GET", "/livez", &[]).unwrap();
        assert_eq!(state.status, 200);
        disk.empty().unwrap();
        // It was kept, and goes on by itself; the same command then says that it is done.
        assert!(scene.comes("f0", SOON), "the kept publication goes on when there is space");
        assert_exit(&scene.sign("f0"), 0, "the same publication again");
        // Space for a part of what one transaction writes: all of it, or nothing.
        let mut acknowledged = ["v0", "f0"].map(str::to_owned).to_vec();
        for free in [8, 32] {
            disk.fill_but(free).unwrap();
            let (tag, before) = (format!("p{free}"), scene.versions());
            let output = scene.sign(&tag);
            match output.status.code() {
                Some(0) => {}
                Some(UNAVAILABLE) => assert_eq!(scene.versions(), before, "{free} KiB free"),
                code => panic!("{free} KiB free: {code:?} {}", String::from_utf8_lossy(&output.stderr)),
            }
            disk.empty().unwrap();
            assert!(scene.comes(&tag, SOON), "{tag}");
            acknowledged.push(tag);
        }
        assert_exit(&scene.sign("f1"), 0, "the next");
        acknowledged.push("f1".to_owned());
        scene.check(&acknowledged);
    });
}

#[test]
fn a_signer_that_is_started_on_a_full_disk_says_so_or_serves_and_loses_nothing() {
    in_namespace("a signer started without space", || {
        let dir = tempfile::tempdir().unwrap();
        let (mut scene, disk) = scene(dir.path(), "full-signer-start", Stack::signer_data, 16 * 1024);
        scene.stack.signer.as_mut().unwrap().kill();
        disk.fill().unwrap();
        if let Err(error) = scene.stack.start_signer() {
            let log = std::fs::read_to_string(scene.stack.dir.join("signer.log")).unwrap();
            assert!(log.contains("full"), "{error}: {log}");
        }
        assert_eq!(scene.resolve("v0"), Some(0), "reads go on");
        assert_exit(&scene.sign("v1"), UNAVAILABLE, "no signatures");
        disk.empty().unwrap();
        scene.stack.start_signer().unwrap();
        assert!(scene.comes("v1", SOON));
        scene.check(&["v0", "v1"].map(str::to_owned));
    });
}

#[test]
fn a_publisher_without_space_is_told_so_and_never_told_that_something_is_published() {
    in_namespace("a publisher without space", || {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), "full-publisher", Options::default());
        let state = scene.alice.home.join("state");
        std::fs::remove_dir_all(&state).unwrap();
        let disk = Disk::mount(&state, 512).unwrap();
        assert_eq!(scene.resolve_as(&scene.alice, "v0").status.code(), Some(0));
        disk.fill().unwrap();
        // The server takes the files, but this machine cannot keep the timestamp that would prove it.
        let output = scene.sign("v1");
        assert_exit(&output, 35, "no space for what it must remember");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("E3505") && said.contains("could not be verified") && !said.contains('✓'), "{said}");
        disk.empty().unwrap();
        assert_exit(&scene.sign("v1"), 0, "with space");
        scene.check(&["v0", "v1"].map(str::to_owned));
    });
}

#[test]
fn a_client_without_space_ends_with_35_and_its_state_is_whole() {
    in_namespace("a client without space", || {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), "full-client", Options::default());
        let person = scene.stack.person("cramped", None).unwrap();
        let disk = Disk::mount(&person.home.join("state"), 512).unwrap();
        scene.pin(&person);
        assert_exit(&scene.resolve_as(&person, "v0"), 0, "with space");
        let offline = |what: &str, exit: i32| {
            let reference = format!("{}/app:v0", scene.collection);
            let output = run(person.trust().args(["resolve", "--offline", &reference])).unwrap();
            assert_exit(&output, exit, what);
        };
        let stored = files(&person.state());
        assert!(!stored.is_empty());
        assert_exit(&scene.sign("v1"), 0, "something new");
        disk.fill().unwrap();
        for tag in ["v0", "v1"] {
            let output = scene.resolve_as(&person, tag);
            assert_exit(&output, 35, tag);
            assert!(output.stdout.is_empty(), "no digest without a state to keep");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("E3505"), "{said}");
        }
        for (path, bytes) in &stored {
            if path.extension().is_some_and(|e| e == "json") {
                let now = std::fs::read(path).unwrap();
                assert!(
                    now == *bytes || serde_json::from_slice::<serde_json::Value>(&now).is_ok(),
                    "{}",
                    path.display()
                );
                assert!(!now.is_empty(), "{} is half written", path.display());
            }
        }
        offline("what it had verified is still there", 0);
        disk.empty().unwrap();
        for tag in ["v0", "v1"] {
            assert_exit(&scene.resolve_as(&person, tag), 0, "with space again");
        }
        let left: Vec<_> =
            files(&person.state()).into_keys().filter(|p| p.to_string_lossy().contains(".new")).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    });
}

#[test]
fn a_first_use_on_a_full_disk_is_refused_and_leaves_nothing_that_counts_as_a_state() {
    in_namespace("a first use without space", || {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), "full-first", Options::default());
        let person = scene.stack.person("cramped", None).unwrap();
        scene.pin(&person);
        let state = person.home.join("state");
        let _ = std::fs::remove_dir_all(&state);
        let disk = Disk::mount(&state, 256).unwrap();
        for free in [0, 4, 12] {
            disk.fill_but(free).unwrap();
            let output = scene.resolve_as(&person, "v0");
            let code = output.status.code();
            assert!(code == Some(35) || code == Some(0) && free > 0, "{free} KiB free: {code:?}");
            assert_eq!(code == Some(0), !output.stdout.is_empty(), "a digest only with 0");
            disk.empty().unwrap();
        }
        assert_exit(&scene.resolve_as(&person, "v0"), 0, "with space");
    });
}

/// A gate whose audit log lies on a disk that is full denies everything, and says why; with space again it goes on, and the
/// log is whole. The same where the folder of its state is full: nothing is denied for that.
#[test]
fn a_gate_that_cannot_write_its_audit_log_lets_nothing_through_and_goes_on_with_space() {
    in_namespace("a gate without space", || {
        let dir = tempfile::tempdir().unwrap();
        let scene = Scene::start(dir.path(), "full-gate", Options::default());
        let options = GateOptions::new("full", &scene.stack, &[&scene.collection]);
        let folder = Gate::prepare(&scene.stack, &scene.alice, &options).unwrap();
        let path = folder.join("gate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"decisions.log\"", "\"logs/decisions.log\"")).unwrap();
        std::fs::create_dir(folder.join("logs")).unwrap();
        std::fs::create_dir(folder.join("state")).unwrap();
        let logs = Disk::mount(&folder.join("logs"), 256).unwrap();
        let state = Disk::mount(&folder.join("state"), 4 * 1024).unwrap();
        let gate = Gate::start(&folder, "registry").unwrap();
        let pull = || ask(&gate.address, "GET", "/v2/full-gate/app/manifests/v0", &[]).unwrap();
        assert_eq!(pull().status, 200);
        for _ in 0..3 {
            // Full to the last byte, or with room for a part of a line.
            logs.fill().unwrap();
            let denied = until_denied(&pull);
            let message = denied.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains("E3509"), "{message}");
            assert_eq!(ask(&gate.address, "GET", "/readyz", &[]).unwrap().status, 503);
            logs.empty().unwrap();
            assert_eq!(pull().status, 200);
            assert_eq!(ask(&gate.address, "GET", "/readyz", &[]).unwrap().status, 200);
        }
        state.fill().unwrap();
        assert_eq!(pull().status, 200, "what was verified goes on");
        state.empty().unwrap();
        let mut verify = std::process::Command::new(built("trust-gate"));
        let output = run(verify.args(["audit", "verify"]).arg(folder.join("logs/decisions.log"))).unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_exit(&output, 0, &told);
    });
}

/// A full disk may still take what fits into the last block of the file.
fn until_denied(pull: &impl Fn() -> HttpAnswer) -> HttpAnswer {
    (0..200).map(|_| pull()).find(|answer| answer.status == 403).expect("a full disk denies")
}

fn files(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}
