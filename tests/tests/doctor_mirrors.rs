//! What `trust doctor` says of a `registries.conf` is what a client does with it: it goes around a gate that denies, or not.

use std::fs;

use trust_tests::stack::proxy::{Answer, Proxy};
use trust_tests::stack::scene::Scene;
use trust_tests::stack::{Options, run, tool};

#[test]
fn doctor_names_each_way_around_a_gate_that_a_real_client_takes() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::start(dir.path(), "demo", Options::default());
    let registry = scene.stack.registry.clone();
    // A gate that denies everything.
    let gate = Proxy::start(&registry).unwrap();
    gate.answer("/app/manifests/v0", Answer::status(403));
    let gate = gate.address().to_owned();
    let entry = |rest: &str| format!("[[registry]]\nprefix = \"{registry}\"\ninsecure = true\n{rest}");
    let mirror = format!("[[registry.mirror]]\nlocation = \"{gate}\"\ninsecure = true\n");
    let away = format!("location = \"{gate}\"\n");
    let here = format!("location = \"{registry}\"\n");
    let inner = |rest: &str| entry(rest).replace(&format!("\"{registry}\"\ni"), &format!("\"{registry}/demo\"\ni"));
    for (what, conf, around) in [
        ("a mirror", entry(&format!("{here}{mirror}")), true),
        ("a mirror for digests", entry(&format!("mirror-by-digest-only = true\n{here}{mirror}")), true),
        (
            "a mirror in other letters",
            entry(&format!("{here}{mirror}")).replace("registry.mirror", "registry.Mirror"),
            true,
        ),
        (
            "a mirror of a part",
            format!("{}{}", entry(&away), inner(&format!("location = \"{registry}/demo\"\n{mirror}"))),
            true,
        ),
        ("another place", entry(&away), false),
        ("a mirror that is the place", entry(&format!("{away}{mirror}")), false),
        (
            "another place for a part",
            format!("{}{}", entry(&format!("{here}{mirror}")), inner(&format!("location = \"{gate}/demo\"\n"))),
            false,
        ),
        ("blocked", entry(&format!("blocked = true\n{here}{mirror}")), false),
    ] {
        // What is installed on this machine does not matter.
        let node = dir.path().join("node");
        let path = node.join("etc/containers/registries.conf");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &conf).unwrap();
        let mut skopeo = std::process::Command::new(tool("skopeo").expect("skopeo: run tests/tools/fetch.sh"));
        skopeo.args(["--insecure-policy", "--registries-conf"]).arg(&path).args([
            "inspect",
            "--raw",
            "--tls-verify=false",
        ]);
        skopeo.arg(format!("docker://{}/app:v0", scene.collection));
        let pulled = run(&mut skopeo).unwrap();
        let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
        assert_eq!(pulled.status.success(), around, "{what}: skopeo: {said}\n{conf}");

        let mut doctor = scene.reader.trust();
        doctor.args(["doctor", "--gate", &gate, "--node-root"]).arg(&node);
        let told = run(&mut doctor).unwrap();
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        assert_eq!(told.status.code(), Some(if around { 60 } else { 0 }), "{what}: {said}\n{conf}");
        assert_eq!(said.contains("around the gate"), around, "{what}: {said}");
    }
}
