//! Servers, registries and logins that fail: while reading, while publishing, and for good.

use std::fs;

use trust_tests::stack::proxy::Answer;
use trust_tests::stack::write_private;

use super::cli_world::World;
use super::cli_world::hostile::{Login, Wire, gate, wire};
use super::{SOON, WRONG_SECRET, api, bot};

/// Servers that refuse, fail, lie or are slow, while reading.
pub fn servers(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let middle = world.server.url();
    for (status, exit, id) in [
        (400, 34, "E3405"),
        (401, 31, "E3101"),
        (403, 31, "E3102"),
        // It had the collection before: to say "not signed" now is what somebody who withholds it would want.
        (404, 34, "E3406"),
        (418, 34, "E3405"),
        (429, 33, "E3301"),
        (500, 34, "E3401"),
        (502, 34, "E3401"),
        (503, 34, "E3401"),
        (302, 34, "E3405"),
        (204, 34, "E3405"),
    ] {
        world
            .server
            .answer("/_metadata/timestamp.json", Answer::status(status).header("location", "http://127.0.0.1:1/"));
        world.refused(&format!("server: {status}"), &ops, &["resolve", "--server", &middle, &api], exit, &[id]);
        world.server.honest();
    }
    world.server.answer("/_metadata/timestamp.json", Answer::status(429).header("retry-after", "17"));
    world.refused("server: 429 says when", &ops, &["resolve", "--server", &middle, &api], 33, &["17 s"]);
    world.server.honest();
    for (what, body) in [
        ("nothing", Vec::new()),
        ("no JSON", b"<html>".to_vec()),
        ("deep JSON", b"[".repeat(100_000)),
        ("a member twice", b"{\"signed\":{},\"signed\":{},\"signatures\":[]}".to_vec()),
        ("too much", vec![b' '; 4 << 20]),
    ] {
        world.server.answer("/_metadata/timestamp.json", Answer::ok(body));
        let run = world.run(&ops, &["resolve", "--server", &middle, &api]);
        let refused = [12, 34].contains(&run.exit) && run.took < SOON;
        world.check(&format!("server: {what} as timestamp"), refused, &format!("exit {}\n{}", run.exit, run.said()));
        world.server.honest();
    }
    for (kind, exit) in [
        (Wire::Closes, 30),
        (Wire::HalfHeader, 30),
        (Wire::ShortBody, 30),
        (Wire::Garbage, 30),
        (Wire::Compressed, 34),
        (Wire::Silent, 30),
        (Wire::Drips, 30),
        (Wire::Endless, 34),
    ] {
        let url = wire(kind);
        let run = world.run(&ops, &["resolve", "--timeout", "1s", "--server", &url, &api]);
        world.expect(&format!("server: {kind:?}"), &run, exit, &["E3"]);
        world.check(&format!("server: {kind:?}: in time"), run.took < SOON, &format!("{:?}", run.took));
    }
    world.refused(
        "server: down",
        &ops,
        &["resolve", "--server", "http://127.0.0.1:1", &api],
        30,
        &["E3001", "127.0.0.1:1"],
    );
    world.refused(
        "server: no such host",
        &ops,
        &["resolve", "--server", "https://no-such-host.invalid", &api],
        30,
        &["E3001"],
    );
    let secure = middle.replace("http://", "https://");
    world.refused(
        "server: speaks no TLS",
        &ops,
        &["resolve", "--timeout", "3s", "--server", &secure, &api],
        30,
        &["E300"],
    );
    for bad in ["ftp://x", "not a url", "http://", "http://127.0.0.1:1/?q=1"] {
        world.refused(&format!("server: {bad}"), &ops, &["resolve", "--server", bad, &api], 3, &["E0003"]);
    }
    world.refused(
        "plain HTTP to another machine",
        &ops,
        &["resolve", "--server", "http://trust.example.com", &api],
        3,
        &["E0006"],
    );
    world.server.answer("/_metadata/timestamp.json", Answer::status(404));
    let run = world.refused("withheld", &ops, &["verify", "--server", &middle, &api], 34, &["E3406", "seen before"]);
    world.check("withheld: not called unsigned", !run.said().contains("not signed"), &run.said());
    world.server.honest();
    let nowhere = world.demo.replace("/demo", "/nowhere");
    world.refused("no such collection", &ops, &["pin", "add", &nowhere, "--first-use", "--yes"], 10, &["E3604"]);
    world.refused(
        "no such collection, by fingerprint",
        &ops,
        &["pin", "add", &nowhere, &"0".repeat(64)],
        10,
        &["E3604"],
    );
    world.refused("after all that the state is whole", &ops, &["resolve", &api], 0, &[]);
}

/// Servers that refuse or fail while something is published.
pub fn publications(world: &mut World) {
    let (bot, demo) = (bot(world), world.demo.clone());
    let middle = world.server.url();
    let sign = format!("{demo}/api:v3@{}", world.images["api"].digest);
    let body = |code: &str| format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"\\u001b[31mno\"}}}}").into_bytes();
    let answer = |status: u16, body: Vec<u8>| Answer { status, headers: Vec::new(), body };
    for (what, answer, exit) in [
        ("401", answer(401, body("unauthorized")), 31),
        ("403", answer(403, body("forbidden")), 31),
        ("429", answer(429, body("rate_limited")), 33),
        ("500", answer(500, body("internal")), 34),
        ("503", answer(503, body("signer_unavailable")), 34),
        ("500 of a stranger", answer(500, b"<html>".to_vec()), 34),
        ("413", answer(413, Vec::new()), 2),
        ("200 that is nothing", answer(200, b"{}".to_vec()), 34),
        ("200 that is no JSON", answer(200, b"<html>".to_vec()), 34),
        ("302", answer(302, Vec::new()).header("location", "http://127.0.0.1:1/"), 34),
    ] {
        world.server.answer("/_publications", answer);
        let run = world.run(&bot, &["sign", &sign, "--no-passphrase", "--server", &middle]);
        world.expect(&format!("publishing: {what}"), &run, exit, &["error[E3"]);
        world.check(&format!("publishing: {what}: no escape"), !run.said().contains('\u{1b}'), &run.said());
        world.server.honest();
    }
    let ops = world.ops.clone();
    world.refused("nothing was published", &ops, &["resolve", &format!("{demo}/api:v3")], 10, &["E1001"]);
    let reading = world.stack.token("reader", &format!("{demo}=read")).unwrap();
    let token = reading.display().to_string();
    let run = world.run_with(&bot, &["sign", &sign, "--no-passphrase"], |c| {
        c.env("TRUST_TOKEN_FILE", &token);
    });
    world.expect("a token that may only read", &run, 31, &["E3102"]);
}

pub fn registries(world: &mut World) {
    let (ops, alice, api) = (world.ops.clone(), world.alice.clone(), api(world));
    for (status, exit, id) in [
        (401, 31, "E3111"),
        (403, 31, "E3112"),
        (404, 11, "E1401"),
        (429, 33, "E3301"),
        (500, 34, "E3411"),
        (503, 34, "E3411"),
        (302, 34, "E3411"),
    ] {
        world
            .registry
            .answer("/demo/api/manifests/v1", Answer::status(status).header("location", "http://127.0.0.1:1/"));
        world.refused(&format!("registry: {status}"), &ops, &["verify", &api], exit, &[id]);
        world.registry.honest();
    }
    let digest = world.images["api"].digest.clone();
    for (what, body) in [("nothing", Vec::new()), ("other bytes", b"{}".to_vec()), ("too much", vec![b' '; 8 << 20])] {
        world.registry.answer(&format!("/manifests/{digest}"), Answer::ok(body));
        let run = world.run(&alice, &["sign", &format!("{api}@{digest}")]);
        let refused = [13, 34].contains(&run.exit);
        world.check(&format!("registry: {what} as manifest"), refused, &format!("exit {}\n{}", run.exit, run.said()));
        world.registry.honest();
    }
    let dead = "127.0.0.1:1/dead".to_owned();
    let root = world.stack.create(&alice, &dead).unwrap();
    let reference = format!("{dead}/a:v1@{digest}");
    world.refused("registry: down", &alice, &["sign", &reference], 30, &["E3011", "127.0.0.1:1"]);
    world.refused(
        "registry: down is not asked by resolve",
        &alice,
        &["resolve", &format!("{dead}/a:v1")],
        10,
        &["E1001"],
    );
    world.check("a root of its own", root != world.root, "");
}

pub fn logins(world: &mut World) {
    use base64ct::{Base64, Encoding};
    let alice = world.alice.clone();
    let basic = Base64::encode_string(format!("robot:{WRONG_SECRET}").as_bytes());
    world.secret(&basic);
    let api = world.images["api"].clone();
    for login in [Login::Basic, Login::Token] {
        let locked = gate(&world.stack.registry.clone(), login, &basic);
        let collection = format!("{locked}/demo");
        world.stack.create(&alice, &collection).unwrap();
        let reference = format!("{collection}/api:v1@{}", api.digest);
        let folder = alice.home.join(format!("docker-{login:?}"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        let at = folder.display().to_string();
        let mut with = |what: &str, text: Option<String>, exit: i32, says: &[&str]| {
            match text {
                Some(text) => write_private(&file, text.as_bytes()).unwrap(),
                None => drop(fs::remove_file(&file)),
            }
            let run = world.run_with(&alice, &["sign", &reference, "--dry-run"], |c| {
                c.env("DOCKER_CONFIG", &at);
            });
            world.expect(&format!("{login:?} login: {what}"), &run, exit, says);
        };
        let auths = |basic: &str| format!("{{\"auths\":{{\"{locked}\":{{\"auth\":\"{basic}\"}}}}}}");
        with("nothing stored", None, 31, &["E3111", "docker login"]);
        with("wrong password", Some(auths("cm9ib3Q6d3Jvbmc=")), 31, &["E3111"]);
        with("another registry", Some(auths(&basic).replace(&locked, "r.example")), 31, &["E3111"]);
        with("file cut off", Some(auths(&basic)[..40].to_owned()), 31, &["E3111"]);
        with("no base64", Some(auths("*")), 31, &["E3111"]);
        with(
            "helper that is missing",
            Some("{\"credsStore\":\"of-nowhere\"}".to_owned()),
            31,
            &["E3111", "of-nowhere"],
        );
        with("right", Some(auths(&basic)), 0, &["dry run"]);
    }
}

/// The server stops, and what was verified before still holds offline.
pub fn outage(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let fresh = world.stack.person("fresh", None).unwrap();
    world.pin(&fresh);
    world.refused("offline, nothing stored", &fresh, &["resolve", "--offline", &api], 10, &["E1003"]);
    world.refused(
        "offline cannot sign",
        &world.alice.clone(),
        &["sign", &format!("{api}@{}", world.images["api"].digest), "--offline"],
        2,
        &["--offline"],
    );
    world.refused("before", &ops, &["resolve", &api], 0, &[]);
    let address = world.stack.server_address();
    world.stack.signer.as_ref().unwrap().signal("STOP");
    let sign = format!("{}/api:v4@{}", world.demo, world.images["api"].digest);
    let run = world.run(&world.alice.clone(), &["sign", &sign, "--timeout", "3s"]);
    let unavailable = [30, 34].contains(&run.exit);
    world.check(
        "the signer hangs: 34, or the deadline of the command",
        unavailable,
        &format!("exit {}\n{}", run.exit, run.said()),
    );
    world.stack.signer.as_ref().unwrap().signal("CONT");
    world.stack.signer = None;
    let run = world.run(&world.alice.clone(), &["sign", &sign, "--timeout", "5s"]);
    let known = run.exit == 34;
    world.check("the signer is down: 34", known, &format!("exit {}\n{}", run.exit, run.said()));
    world.stack.server.as_ref().unwrap().signal("STOP");
    let run = world.refused("the server hangs", &ops, &["resolve", "--timeout", "1s", &api], 30, &["E3002"]);
    world.check("the server hangs: in time", run.took < SOON, &format!("{:?}", run.took));
    world.stack.server = None;
    world.refused("the server is down", &ops, &["resolve", &api], 30, &["E3001"]);
    world.refused("the server is down, offline", &ops, &["resolve", "--offline", &api], 0, &[]);
    let run = world.run_with(&ops, &["verify", &api], |c| {
        c.env("TRUST_OFFLINE", "1");
    });
    world.expect("the server is down, TRUST_OFFLINE=1", &run, 0, &["verified"]);
    world.refused(
        "offline, unsigned",
        &ops,
        &["resolve", "--offline", &format!("{}/api:unsigned", world.demo)],
        10,
        &["E1001"],
    );
    world.stack.start_signer().unwrap();
    world.stack.start_server(Some(address)).unwrap();
    world.refused("the server is back", &ops, &["resolve", &api], 0, &[]);
    world.refused("the publication goes on", &world.alice.clone(), &["sign", &sign], 0, &[]);
}
