//! `kill -9` inside a publication: server and signer die at each of their fail points, once each. Afterwards the
//! publication is wholly there or wholly absent, a retry succeeds, and everybody can go on (invariants I1 to I10).

use std::path::Path;
use std::time::Duration;

use trust_tests::stack::{Options, Person, Stack, images, run};

/// The steps of a publication in the server, in order: read, judged, before and after the candidate is stored, before
/// and after the signer is asked, verified, current in the store, shown, answered.
const SERVER: [&str; 10] = [
    "server.P2",
    "server.P4",
    "server.P5",
    "server.P6",
    "server.P7",
    "server.P10",
    "server.P12",
    "server.P13",
    "server.P14",
    "server.P15",
];
/// The steps in the signer: judged and signed, inside the transaction, after it.
const SIGNER: [&str; 4] =
    ["signer.prepared", "signer.before_mark", "signer.before_commit", "signer.after_commit_before_reply"];

struct Scene {
    stack: Stack,
    alice: Person,
    reader: Person,
    image: images::Image,
    collection: String,
}

fn scene(dir: &Path) -> Scene {
    let stack = Stack::start(dir, Options::default()).unwrap();
    let token = stack.token("alice", "*=read,publish,admin").unwrap();
    let alice = stack.person("alice", Some(&token)).unwrap();
    let reader = stack.person("reader", None).unwrap();
    let collection = format!("{}/crash", stack.registry);
    let fingerprint = stack.create(&alice, &collection).unwrap();
    let image = images::single(&dir.join("image"), "survives", &[]).unwrap();
    images::push(&image, &format!("{collection}/app:v0")).unwrap();
    let pin = run(reader.trust().args(["pin", "add", &collection, &fingerprint])).unwrap();
    assert!(pin.status.success(), "{pin:?}");
    let scene = Scene { stack, alice, reader, image, collection };
    scene.sign("v0", 0);
    scene
}

impl Scene {
    fn sign_now(&self, tag: &str) -> std::process::Output {
        let reference = format!("{}/app:{tag}@{}", self.collection, self.image.digest);
        run(self.alice.trust().args(["sign", &reference, "--timeout", "15s"])).unwrap()
    }

    fn sign(&self, tag: &str, exit: i32) {
        let output = self.sign_now(tag);
        assert_eq!(output.status.code(), Some(exit), "{tag}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn resolve(&self, tag: &str) -> Option<i32> {
        let reference = format!("{}/app:{tag}", self.collection);
        run(self.reader.trust().args(["resolve", &reference])).unwrap().status.code()
    }

    /// Everything that was acknowledged is there, for a client with an old cache too, and the audit log is whole.
    fn invariants(&self, acknowledged: &[String]) {
        for tag in acknowledged {
            assert_eq!(self.resolve(tag), Some(0), "acknowledged tag {tag} is lost");
        }
        let mut audit = std::process::Command::new(trust_tests::stack::built("trust-signer"));
        audit.args(["audit", "verify", "--data"]).arg(self.stack.signer_data());
        let audit = run(&mut audit).unwrap();
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
    }
}

fn die_at_each(points: &[&str], server: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = scene(dir.path());
    let address = scene.stack.server_address();
    let mut acknowledged = vec!["v0".to_owned()];
    for (n, point) in points.iter().enumerate() {
        scene.stack.set_environment(&[("TRUST_FAIL_POINT", point)]);
        if server {
            scene.stack.start_server(Some(address.clone())).unwrap();
        } else {
            scene.stack.start_signer().unwrap();
        }
        if *point == "signer.prepared" {
            // A server that has just lost its connection shows nothing beforehand; the next time it does.
            let first = format!("first{n}");
            scene.sign(&first, 0);
            acknowledged.push(first);
        }
        let tag = format!("v{}", n + 1);
        let output = scene.sign_now(&tag);
        let process = if server { &mut scene.stack.server } else { &mut scene.stack.signer };
        let died = process.as_mut().unwrap().wait(Duration::from_secs(5));
        assert!(died.is_some(), "{point} was never reached");
        assert_ne!(output.status.code(), Some(0), "{point}: acknowledged by a dead process");
        // Before the restart a reader sees the old world or none, never a mixture.
        scene.stack.set_environment(&[]);
        if server {
            scene.stack.start_server(Some(address.clone())).unwrap();
        } else {
            scene.stack.start_signer().unwrap();
        }
        scene.sign(&tag, 0);
        acknowledged.push(tag);
        scene.invariants(&acknowledged);
    }
}

#[test]
fn the_server_is_killed_at_each_step_of_a_publication() {
    die_at_each(&SERVER, true);
}

#[test]
fn the_signer_is_killed_at_each_step_of_a_publication() {
    die_at_each(&SIGNER, false);
}
