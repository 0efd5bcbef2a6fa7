//! The shipped `trust` with mirrors: configuration, what is said of them, and what they never get.

use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use trust_tests::hostile::{self, Home, Hostile};
use trust_tests::simulator::{Delegate, Fault, Repository};

const IMAGE: &str = "registry.example.com/pay/api:v1";
const TOKEN: &str = "s3cret-t0ken";

fn repository() -> Repository {
    let mut repo = Repository::new();
    let key = repo.new_key();
    repo.delegate("targets", &Delegate::new("alice", &key, &["api/*"]));
    repo.add_target("alice", "api/v1", b"content");
    repo.role("targets").bump();
    repo.publish();
    repo
}

fn run(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    home.trust(arguments).envs(environment.iter().copied()).output().unwrap()
}

#[track_caller]
fn assert_exit(output: &Output, exit: i32) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn down() -> Hostile {
    Hostile::serve(|_, _| hostile::status(500))
}

#[test]
fn a_mirror_helps_where_it_is_named_and_only_there() {
    let repo = repository();
    let (server, mirror) = (down(), Hostile::wire(Arc::clone(&repo.wire), |_| None));
    let plain = format!("server = \"{}\"", server.url());
    let with_mirror = format!("{plain}\nmirrors = [\"{}\"]", mirror.url());
    let resolve = ["resolve", IMAGE];

    assert_exit(&run(&Home::new(&repo.pinned, &plain), &resolve, &[]), 34);
    assert_exit(&run(&Home::new(&repo.pinned, &with_mirror), &resolve, &[]), 0);
    let home = Home::new(&repo.pinned, &plain);
    assert_exit(&run(&home, &["resolve", IMAGE, "--mirror", &mirror.url()], &[]), 0);
    let many = format!("{} {}", server.url().replace("127.0.0.1", "localhost"), mirror.url());
    assert_exit(&run(&home, &resolve, &[("TRUST_MIRRORS", &many)]), 0);
    // A server that was typed is another one than the context's: its mirrors are not known.
    let typed = Home::new(&repo.pinned, &with_mirror);
    assert_exit(&run(&typed, &["resolve", IMAGE, "--server", &server.url()], &[]), 34);
    assert_exit(&run(&typed, &resolve, &[("TRUST_MIRRORS", "ftp://x")]), 3);
}

#[test]
fn the_error_after_all_places_failed_names_each() {
    let repo = repository();
    let (server, mirror) = (down(), Hostile::serve(|_, _| hostile::status(403)));
    let home = Home::new(&repo.pinned, &format!("server = \"{}\"\nmirrors = [\"{}\"]", server.url(), mirror.url()));
    let output = run(&home, &["resolve", IMAGE], &[]);
    assert_exit(&output, 34);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!("{}: 2.root.json: status 500", server.url())), "{text}");
    assert!(text.contains(&format!("{}: 2.root.json: access is denied", mirror.url())), "{text}");
}

#[test]
fn the_token_goes_to_the_server_that_asks_for_it_and_never_to_a_mirror_that_does() {
    let repo = repository();
    let wire = Arc::new(repo.wire.copy());
    let server = Hostile::serve(move |path, head| {
        if !head.contains(&format!("Bearer {TOKEN}")) {
            return hostile::status(401);
        }
        let file = path.rsplit('/').next().unwrap_or_default();
        wire.file(file).map_or_else(|| hostile::status(404), |bytes| hostile::ok(&bytes))
    });
    for (mirror, answers) in [
        (Hostile::serve(|_, _| hostile::status(401)), "asks for it"),
        (Hostile::wire(Arc::clone(&repo.wire), |_| None), "does not"),
    ] {
        let home = Home::new(&repo.pinned, &format!("server = \"{}\"\nmirrors = [\"{}\"]", server.url(), mirror.url()));
        assert_exit(&run(&home, &["resolve", IMAGE], &[("TRUST_TOKEN", TOKEN)]), 0);
        assert!(!mirror.heads().is_empty(), "{answers}: it was asked");
        for head in mirror.heads() {
            let head = head.to_lowercase();
            assert!(!head.contains("authorization") && !head.contains(&TOKEN.to_lowercase()), "{answers}: {head}");
        }
    }
    assert!(server.heads().iter().any(|head| head.contains(TOKEN)));
}

#[test]
fn doctor_and_status_say_what_each_place_gave() {
    let mut repo = repository();
    let old = Arc::new(repo.wire.copy());
    repo.publish();
    let broken = Arc::new(repo.wire.copy());
    broken.fault("timestamp.json", Fault::Status(500));
    let server = Hostile::wire(Arc::clone(&repo.wire), |_| None);
    let mirrors = [Hostile::wire(old, |_| None), Hostile::wire(broken, |_| None)];
    let list = mirrors.iter().map(|mirror| format!("\"{}\",", mirror.url())).collect::<String>();
    let home = Home::new(&repo.pinned, &format!("server = \"{}\"\nmirrors = [{list}]", server.url()));

    let status = json(&run(&home, &["status", "-o", "json"], &[]));
    let sources = status["collections"][0]["sources"].as_array().unwrap();
    let states: Vec<&str> = sources.iter().map(|source| source["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["current", "behind", "failed"], "{status:#}");
    assert_eq!(sources[0]["address"], server.url());
    let text = run(&home, &["status"], &[]);
    let text = String::from_utf8_lossy(&text.stdout);
    let line = text.lines().find(|line| line.starts_with(&format!("mirror {}: ", mirrors[1].url())));
    assert!(line.is_some_and(|line| line.ends_with("failed: timestamp.json: status 500")), "{text}");

    let doctor = json(&run(&home, &["doctor", "-o", "json", "--timeout", "5s"], &[]));
    let of = |name: &str| -> Vec<(String, String)> {
        let all = doctor["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.map(|check| (text(&check["state"]), text(&check["found"]))).collect()
    };
    assert_eq!(of("server")[0].0, "ok", "{doctor:#}");
    let found = of("mirror");
    assert!(found[0].0 == "warning" && found[0].1.contains("behind"), "{found:?}");
    assert!(found[1].0 == "problem" && found[1].1.contains("status 500"), "{found:?}");
}

#[test]
fn a_context_keeps_its_mirrors_and_refuses_what_is_none() {
    let repo = repository();
    let server = Hostile::wire(Arc::clone(&repo.wire), |_| None);
    let home = Home::new(&repo.pinned, &format!("server = \"{}\"", server.url()));
    let add = |name: &str, mirror: &str| {
        run(&home, &["context", "add", name, "--server", "https://s.example", "--mirror", mirror], &[])
    };
    assert_exit(&add("a", "https://m.example/"), 0);
    let listed = json(&run(&home, &["context", "list", "-o", "json"], &[]));
    let entry = listed["contexts"].as_array().unwrap().iter().find(|context| context["name"] == "a").unwrap();
    assert_eq!(entry["mirrors"], serde_json::json!(["https://m.example"]));
    for bad in ["m.example", "https://s.example", "https://u:hidden@m.example"] {
        let output = add("b", bad);
        assert_ne!(output.status.code(), Some(0), "{bad}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hidden"), "{bad}");
    }
}
