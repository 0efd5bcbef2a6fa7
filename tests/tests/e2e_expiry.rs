//! Everything expires while nobody looks: clients say so, and the people who hold the keys get out of it again.

use std::path::Path;
use std::process::Command;

use trust_tests::stack::{Options, Person, Stack, images, run, tool};

/// The variables that shift the wall clock of a program, as the `faketime` of this machine sets them.
fn shifted(days: u32) -> Option<Vec<(String, String)>> {
    let output = run(Command::new(tool("faketime")?).args(["-f", &format!("+{days}d"), "env"])).ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let lines = text.lines().filter_map(|l| l.split_once('='));
    let ours = lines.filter(|(name, _)| *name == "LD_PRELOAD" || name.starts_with("FAKETIME"));
    Some(ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

struct Scene {
    stack: Stack,
    alice: Person,
    name: String,
    collection: String,
    digest: String,
    clock: Vec<(String, String)>,
}

impl Scene {
    /// Restarts signer and server with another clock.
    fn wait_days(&mut self, days: u32) {
        self.clock = shifted(days).unwrap();
        let clock: Vec<(&str, &str)> = self.clock.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        self.stack.set_environment(&clock);
        let address = self.stack.server_address();
        self.stack.server = None;
        self.stack.start_signer().unwrap();
        self.stack.start_server(Some(address)).unwrap();
        // The online roles are renewed by themselves; the sweep runs at least once a second.
        std::thread::sleep(std::time::Duration::from_secs(3));
    }

    fn trust(&self, arguments: &[&str], exit: i32, says: &str) {
        let mut command = self.alice.trust();
        command.args(arguments).envs(self.clock.iter().map(|(n, v)| (n, v)));
        let output = run(&mut command).unwrap();
        let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(exit), "trust {arguments:?}: {all}");
        assert!(all.contains(says), "trust {arguments:?} does not say `{says}`: {all}");
    }
}

fn scene(dir: &Path) -> Scene {
    let stack = Stack::start(dir, Options::default()).unwrap();
    let token = stack.token("alice", "*=read,publish,admin").unwrap();
    let alice = stack.person("alice", Some(&token)).unwrap();
    let collection = format!("{}/late", stack.registry);
    stack.create(&alice, &collection).unwrap();
    let image = images::single(&dir.join("image"), "long ago", &[]).unwrap();
    images::push(&image, &format!("{collection}/app:v1")).unwrap();
    let name = format!("{collection}/app:v1");
    Scene { stack, alice, name, collection, digest: image.digest, clock: Vec::new() }
}

#[test]
fn expired_roles_are_refused_and_can_be_renewed_by_those_who_hold_their_keys() {
    if shifted(1).is_none_or(|clock| clock.is_empty()) {
        println!(
            "SKIPPED: expired_roles_are_refused_and_can_be_renewed_by_those_who_hold_their_keys: faketime is missing"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut scene = scene(dir.path());
    let pinned = format!("{}@{}", scene.name, scene.digest);
    let (name, collection) = (scene.name.clone(), scene.collection.clone());
    scene.trust(&["sign", &pinned], 0, "signed");
    scene.trust(&["key", "generate", "bob"], 0, "bob");
    scene.trust(&["signer", "add", "bob", &collection, "--signer-key", "bob"], 0, "bob");
    scene.trust(&["verify", &name], 0, "verified");

    // The token of 90 days has expired with the rest: a new one is made by the server's operator.
    let renew_token = |scene: &mut Scene, n: u32| {
        let file = scene.stack.token(&format!("alice-{n}"), "*=read,publish,admin").unwrap();
        std::fs::copy(file, scene.stack.dir.join("alice.token")).unwrap();
    };

    // Targets and bob live 180 days, the root 365.
    scene.wait_days(200);
    renew_token(&mut scene, 1);
    scene.trust(&["verify", &name], 14, "E1312");
    scene.trust(&["sign", &pinned, "--as", "targets"], 0, "signed");
    scene.trust(&["verify", &name], 0, "verified");
    // Bob's file is expired still; whatever only he could have signed cannot be decided.
    scene.trust(&["sign", &pinned, "--as", "bob", "--key", "bob"], 0, "signed");
    scene.trust(&["verify", &name, "--signer", "bob"], 0, "bob");

    scene.wait_days(600);
    renew_token(&mut scene, 2);
    scene.trust(&["verify", &name], 14, "E1313");
    // Perhaps it is not the newest root, and the server holds that one back: somebody has to say that they looked.
    scene.trust(&["rotate", "targets", &collection], 40, "second root");
    scene.trust(&["rotate", "targets", &collection, "--dry-run"], 0, "second root");
    scene.trust(&["verify", &name], 14, "E1313");
    scene.trust(&["rotate", "targets", &collection, "--confirm", &collection], 0, "rotated");
    scene.trust(&["verify", &name], 0, "verified");
}
