//! Bad input of every kind to the built `trust`: references, keys, passphrases, stored state, settings, servers and
//! registries that fail. Each ends with the promised code, says what to do, and leaves nothing half done.

mod cli_world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_world::World;
use cli_world::hostile::{Login, Wire, gate, wire};
use trust_tests::stack::proxy::Answer;
use trust_tests::stack::{Person, built, write_private};

const SOON: Duration = Duration::from_secs(4);
const WRONG_SECRET: &str = "hunter2-is-not-to-be-seen";

/// The world with one collection of two signed images and one image that nobody signed.
fn prepared() -> World {
    let mut world = World::start();
    world.secret(WRONG_SECRET);
    world.create_demo();
    let demo = world.demo.clone();
    let api = world.push("api", "demo/api:v1", false);
    let web = world.push("web", "demo/web:v1", true);
    world.push("other", "demo/api:unsigned", false);
    world.sign(&format!("{demo}/api:v1@{}", api.digest));
    world.sign(&format!("{demo}/web:v1@{}", web.digest));
    // A signer whose key opens at once: most of what is tried does not depend on a passphrase.
    let (alice, token) = (world.alice.clone(), world.dir.join("stack/alice.token"));
    let bot = world.stack.person("bot", Some(&token)).unwrap();
    world.pin(&bot);
    let (public, file) =
        (bot.home.join("bot.pub").display().to_string(), bot.home.join("bot.json").display().to_string());
    for (person, arguments) in [
        (&bot, vec!["key", "generate", "bot", "--no-passphrase"]),
        (&bot, vec!["key", "export", "bot", "--out", &public]),
        (&bot, vec!["signer", "accept", "bot", &demo, "--key", "bot", "--no-passphrase", "--out", &file]),
        (&alice, vec!["signer", "add", "bot", &demo, "--public-key", &public, "--accept", &file]),
    ] {
        world.refused("a signer without a passphrase", person, &arguments, 0, &[]);
    }
    let ops = world.ops.clone();
    world.refused("ops verifies", &ops, &["verify", &format!("{demo}/api:v1")], 0, &[]);
    world
}

fn bot(world: &World) -> Person {
    Person { home: world.dir.join("stack/people/bot") }
}

fn api(world: &World) -> String {
    format!("{}/api:v1", world.demo)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn copy_all(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn bad_input_of_every_kind_is_refused_with_its_code_and_leaves_nothing_behind() {
    let mut world = prepared();
    type Section = fn(&mut World);
    let sections: [(&str, Section); 14] = [
        ("references", references),
        ("questions", questions),
        ("keys", keys),
        ("passphrases", passphrases),
        ("settings", settings),
        ("switches", switches),
        ("state", state),
        ("other_owners", other_owners),
        ("servers", servers),
        ("publications", publications),
        ("registries", registries),
        ("logins", logins),
        ("secrets", secrets),
        ("outage", outage),
    ];
    for (name, section) in sections {
        let began = std::time::Instant::now();
        section(&mut world);
        eprintln!("{name}: {:.1} s", began.elapsed().as_secs_f64());
    }
    world.finish(300);
}

/// References as Docker reads them, and what is none.
fn references(world: &mut World) {
    let ops = world.ops.clone();
    let hex = "0123456789abcdef".repeat(4);
    let (long_tag, long_path) = (format!("r.io/a:{}", "x".repeat(129)), format!("r.io/{}", "a".repeat(256)));
    let (upper, short) = (format!("r.io/a@sha256:{}", hex.to_uppercase()), format!("r.io/a@sha256:{}", &hex[..40]));
    let unknown = format!("r.io/a@md5:{}", &hex[..32]);
    for bad in [
        hex.as_str(),
        &upper,
        &short,
        &unknown,
        "Ubuntu",
        "a___b",
        "a..b",
        "a_-b",
        "a-",
        "a//b",
        "/a",
        "a/",
        "",
        " a",
        "a ",
        "a:",
        "a@",
        "a:b:c",
        "a b",
        "a:-v1",
        "r.io/A",
        "r.io:x/a",
        "r.io/é",
        "http://r.io/a",
        &long_tag,
        &long_path,
        "r.io/a\u{202e}b",
        "r.io/a\u{1b}[31m",
        "a@sha256:",
        "a@",
        "[::1/a",
    ] {
        let run = world.run(&ops, &["resolve", bad]);
        world.expect(&format!("reference {bad:?}"), &run, 2, &["error[E0004]"]);
        let raw = run.said().chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
        world.check(&format!("reference {bad:?}: nothing steers the terminal"), !raw, &run.said());
    }
    let digest = format!("r.io/a:1@sha256:{hex}");
    for (good, read) in [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("myhost/app", "docker.io/myhost/app:latest"),
        ("a:5000", "docker.io/library/a:5000"),
        ("a:5000/b", "a:5000/b:latest"),
        ("example.com", "docker.io/library/example.com:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("a__b", "docker.io/library/a__b:latest"),
        ("a---b", "docker.io/library/a---b:latest"),
        ("registry-1.docker.io/library/ubuntu", "registry-1.docker.io/library/ubuntu:latest"),
        (&digest, &digest),
    ] {
        // Well understood, and belongs to no pinned collection.
        let run = world.run(&ops, &["resolve", good]);
        world.expect(&format!("reference {good}"), &run, 10, &["E1002", &format!("{read}\n")]);
    }
    let (unsigned, other) = (format!("{}/api:unsigned", world.demo), world.images["other"].digest.clone());
    world.refused("unsigned tag", &ops, &["verify", &unsigned], 10, &["E1001", "signed tags"]);
    let api = api(world);
    world.refused(":T@D of another image", &ops, &["verify", &format!("{api}@{other}")], 13, &["E1405"]);
    let signed = world.images["api"].digest.clone();
    world.refused(":T@D as signed", &ops, &["verify", &format!("{api}@{signed}")], 0, &[]);
    world.refused("signed digest", &ops, &["verify", &format!("{}/api@{signed}", world.demo.clone())], 0, &[&signed]);
    world.refused("unsigned digest", &ops, &["verify", &format!("{}/api@{other}", world.demo.clone())], 10, &["E1001"]);
    let elsewhere = format!("{}/web@{signed}", world.demo);
    world.refused("digest of another image", &ops, &["verify", "--no-registry", &elsewhere], 10, &["E1001"]);
    let neighbour = format!("{}x/api:v1", world.demo);
    world.refused("prefix of half a component", &ops, &["resolve", &neighbour], 10, &["E1002"]);
}

/// Nobody is there to be asked.
fn questions(world: &mut World) {
    let (alice, demo, api) = (world.alice.clone(), world.demo.clone(), api(world));
    let by_digest = format!("{api}@{}", world.images["api"].digest);
    let fresh = world.demo.replace("/demo", "/fresh");
    let cases: [(&[&str], &str); 9] = [
        (&["key", "generate", "new"], "TRUST_PASSPHRASE_FILE"),
        (&["init", &fresh], "TRUST_ROOT_PASSPHRASE_FILE"),
        (&["sign", &by_digest], "TRUST_PASSPHRASE_FILE"),
        (&["sign", &api], "--expect"),
        (&["unsign", &api], "--yes"),
        (&["revoke", &api, "--reason", "x"], "--confirm"),
        (&["signer", "remove", "nobody", &demo], "--confirm"),
        (&["pin", "remove", &demo], "--confirm"),
        (&["rotate", "root", &demo], "TRUST_ROOT_PASSPHRASE_FILE"),
    ];
    let mut slowest = Duration::ZERO;
    for (arguments, answer) in cases {
        let run = world.run_with(&alice, arguments, |command| {
            for name in ["TRUST_PASSPHRASE_FILE", "TRUST_ROOT_PASSPHRASE_FILE", "TRUST_NON_INTERACTIVE"] {
                command.env_remove(name);
            }
        });
        world.expect(&format!("no terminal: {}", arguments.join(" ")), &run, 40, &["E400", answer]);
        world.check("no terminal: soon", run.took < Duration::from_secs(1), &format!("{:?} {arguments:?}", run.took));
        slowest = slowest.max(run.took);
    }
    eprintln!("exit 40 without a terminal: at most {} ms (goal: 100 ms)", slowest.as_millis());
    let keys = fs::read_dir(alice.home.join("data/trust/keys")).unwrap().count();
    world.check("no key was made by a command that could not ask", keys == 4, &format!("{keys} files"));
}

/// Key files of every bad kind.
fn keys(world: &mut World) {
    let alice = world.alice.clone();
    let by_digest = format!("{}@{}", api(world), world.images["api"].digest);
    let folder = alice.home.join("data/trust/keys");
    let targets = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).find(|p| {
        p.extension().is_some_and(|e| e == "pem") && p.file_stem().unwrap().to_string_lossy().ends_with("targets")
    });
    let good = fs::read(targets.unwrap()).unwrap();
    let bad = alice.home.join("bad");
    fs::create_dir_all(&bad).unwrap();
    chmod(&bad, 0o700);
    let file = |name: &str, bytes: &[u8], mode: u32| {
        let path = bad.join(name);
        fs::write(&path, bytes).unwrap();
        chmod(&path, mode);
        path
    };
    let mut cases: Vec<(PathBuf, &str)> = vec![
        (file("0644", &good, 0o644), "E4203"),
        (file("0640", &good, 0o640), "E4203"),
        (file("empty", b"", 0o600), "E4203"),
        (file("cut", &good[..good.len() / 2], 0o600), "E4203"),
        (file("cut-at-the-end", &good[..good.len() - 30], 0o600), "E4203"),
        (file("junk", b"\x00\xff\xfe not a key", 0o600), "E4203"),
        (file("two", &[good.clone(), good.clone()].concat(), 0o600), "E4203"),
        (file("huge", &vec![b'A'; 2_000_000], 0o600), "E4203"),
        (bad.clone(), "E4203"),
        (bad.join("nowhere"), "E4201"),
    ];
    std::os::unix::fs::symlink(file("fine", &good, 0o600), bad.join("link")).unwrap();
    cases.push((bad.join("link"), "E4203"));
    fifo(&bad.join("fifo"));
    chmod(&bad.join("fifo"), 0o600);
    cases.push((bad.join("fifo"), "E4203"));
    for (path, id) in cases {
        let uri = format!("file:{}", path.display());
        let run = world.run(&alice, &["sign", &by_digest, "--as", "targets", "--key", &uri]);
        let name = path.display().to_string();
        world.expect(&format!("key file {name}"), &run, 42, &[id, &name]);
        world.check(&format!("key file {name}: soon"), run.took < SOON, &format!("{:?}", run.took));
    }
    let fine = format!("file:{}", bad.join("fine").display());
    world.refused("the key itself is fine", &alice, &["sign", &by_digest, "--as", "targets", "--key", &fine], 0, &[]);
    world.refused("no such key", &alice, &["sign", &by_digest, "--key", "nobody"], 42, &["E4201", "nobody"]);
    world.refused("no such variable", &alice, &["sign", &by_digest, "--key", "env:NOT_SET"], 42, &["E4201", "NOT_SET"]);
    world.refused("nothing on stdin", &alice, &["sign", &by_digest, "--key", "-"], 42, &["E42"]);
    world.refused("unknown scheme", &alice, &["sign", &by_digest, "--key", "nosuch://x"], 2, &["E0002"]);
    let stranger = world.run(&alice, &["key", "generate", "stranger"]);
    world.expect("a key of no role", &stranger, 0, &[]);
    world.refused(
        "a key of another role",
        &alice,
        &["sign", &by_digest, "--as", "targets", "--key", "stranger"],
        42,
        &["E4202"],
    );
    chmod(&folder, 0o755);
    world.refused("key folder 0755", &alice, &["sign", &by_digest], 42, &["E4203", "chmod 700"]);
    chmod(&folder, 0o700);
    let before = fs::read(folder.join("stranger.pem")).unwrap();
    world.refused("keys are not overwritten", &alice, &["key", "generate", "stranger"], 42, &["E4204"]);
    world.check("the key is the same", fs::read(folder.join("stranger.pem")).unwrap() == before, "");
    for bad in ["../x", "A", "", "a b", "-x", &"a".repeat(65)] {
        let run = world.run(&alice, &["key", "generate", "--", bad]);
        world.expect(&format!("key name {bad:?}"), &run, 2, &["E0002"]);
    }
}

fn passphrases(world: &mut World) {
    let alice = world.alice.clone();
    let by_digest = format!("{}@{}", api(world), world.images["api"].digest);
    let secret = alice.home.join("wrong-passphrase");
    write_private(&secret, WRONG_SECRET.as_bytes()).unwrap();
    let wrong = secret.display().to_string();
    world.refused("wrong passphrase", &alice, &["sign", &by_digest, "--passphrase-file", &wrong], 41, &["E4101"]);
    let unset = |command: &mut Command| {
        command.env_remove("TRUST_PASSPHRASE_FILE");
    };
    let run = world.run_with(&alice, &["sign", &by_digest], |c| {
        unset(c);
        c.env("TRUST_PASSPHRASE", WRONG_SECRET);
    });
    world.expect("wrong passphrase in a variable", &run, 41, &["E4101"]);
    let run = world.run_with(&alice, &["sign", &by_digest], |c| {
        unset(c);
        c.env("TRUST_PASSPHRASE", "");
    });
    world.expect("set but empty is the empty passphrase", &run, 41, &["E4101"]);
    let run = world.run_with(&alice, &["sign", &by_digest], |c| {
        c.env("TRUST_PASSPHRASE", WRONG_SECRET);
    });
    world.expect("variable and file", &run, 3, &["E0003", "TRUST_PASSPHRASE_FILE"]);
    chmod(&secret, 0o644);
    world.refused(
        "passphrase file 0644",
        &alice,
        &["sign", &by_digest, "--passphrase-file", &wrong],
        3,
        &["chmod 600"],
    );
    world.refused(
        "no passphrase file",
        &alice,
        &["sign", &by_digest, "--passphrase-file", "/nowhere"],
        3,
        &["/nowhere"],
    );
    world.refused(
        "a folder as passphrase file",
        &alice,
        &["sign", &by_digest, "--passphrase-file", "/"],
        3,
        &["E0003"],
    );
    let closed =
        world.refused("closed descriptor", &alice, &["sign", &by_digest, "--passphrase-fd", "9"], 3, &["E0003"]);
    world.check("closed descriptor: soon", closed.took < SOON, "");
    world.refused("our own output as descriptor", &alice, &["sign", &by_digest, "--passphrase-fd", "2"], 3, &["E0003"]);
    let unencrypted = world.run(&alice, &["key", "generate", "plain", "--no-passphrase"]);
    world.expect("an unencrypted key", &unencrypted, 0, &["not encrypted"]);
    world.refused(
        "an unencrypted key needs a word",
        &alice,
        &["key", "export", "plain", "--private", "--out", "x.pem"],
        42,
        &["E4203", "--no-passphrase"],
    );
}

fn settings(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let config = ops.home.join("config/trust/config.toml");
    let good = fs::read_to_string(&config).unwrap();
    let cases: [(&str, String); 9] = [
        ("unknown key", format!("servr = \"x\"\n{good}")),
        ("unknown key of a context", good.replace("identity", "identiti")),
        ("no TOML", "context = ".to_owned()),
        ("another type", format!("output = 7\n{good}")),
        ("unknown value", format!("output = \"xml\"\n{good}")),
        ("a fingerprint of the wrong length", good.replace("fingerprint = \"", "fingerprint = \"00")),
        (
            "a collection twice",
            format!("{good}\n[[pins]]\ncollection = \"{}\"\nfingerprint = \"{}\"\n", world.demo, world.root),
        ),
        ("a context that is not there", good.replace("context = \"default\"", "context = \"gone\"")),
        ("over a megabyte", format!("{good}\n#{}", "x".repeat(1_100_000))),
    ];
    for (what, text) in cases {
        fs::write(&config, text).unwrap();
        world.refused(&format!("configuration: {what}"), &ops, &["resolve", &api], 3, &["E0003"]);
    }
    fs::write(&config, b"\xff\xfe").unwrap();
    world.refused("configuration: not text", &ops, &["resolve", &api], 3, &["E0003"]);
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    world.refused("configuration: a folder", &ops, &["resolve", &api], 3, &["E0003"]);
    fs::remove_dir(&config).unwrap();
    fifo(&config);
    let hung = world.refused("configuration: a pipe", &ops, &["resolve", &api, "--timeout", "2s"], 3, &["E0003"]);
    world.check("configuration: a pipe is not waited for", hung.took < SOON, &format!("{:?}", hung.took));
    fs::remove_file(&config).unwrap();
    fs::write(&config, &good).unwrap();
    world.refused(
        "configuration: named but not there",
        &ops,
        &["resolve", &api, "--config", "/nowhere/x.toml"],
        3,
        &["E0003"],
    );
    world.refused("unknown context", &ops, &["resolve", &api, "--context", "us"], 3, &["E0003", "us"]);

    let tree = ops.home.join("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    for text in [
        "server = \"http://127.0.0.1:1\"",
        "[[pins]]\ncollection = \"a/b\"",
        "context = \"x\"",
        "require = false",
        "key = \"x\"",
    ] {
        fs::write(tree.join(".trust.toml"), text).unwrap();
        let run = world.run_with(&ops, &["resolve", &api], |c| {
            c.current_dir(tree.join("deep"));
        });
        world.expect(&format!(".trust.toml with {text}"), &run, 3, &["E0003", ".trust.toml"]);
    }
    fs::remove_file(tree.join(".trust.toml")).unwrap();
    fifo(&tree.join(".trust.toml"));
    let hung = world.run_with(&ops, &["resolve", &api], |c| {
        c.current_dir(&tree);
    });
    world.expect(".trust.toml is a pipe", &hung, 3, &["E0003"]);
    world.check(".trust.toml: a pipe is not waited for", hung.took < SOON, &format!("{:?}", hung.took));
    let homeless = world.run_with(&ops, &["resolve", &api], |c| {
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"] {
            c.env_remove(name);
        }
    });
    world.expect("no HOME", &homeless, 3, &["E0003", "HOME"]);

    let pinned = ops.home.join("config/trust/roots").join(format!("{}.root.json", world.root));
    let root = fs::read(&pinned).unwrap();
    fs::write(&pinned, &root[..root.len() / 2]).unwrap();
    world.refused("the pinned root is cut off", &ops, &["resolve", &api], 16, &["E16"]);
    fs::write(&pinned, &root).unwrap();
    world.refused("all is well again", &ops, &["resolve", &api], 0, &[]);
}

fn switches(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let scripts: [&[&str]; 3] = [
        &["resolve", &api],
        &["verify", "--no-registry", &api],
        &["exec", "--", "skopeo", "inspect", "--raw", "--tls-verify=false", &format!("docker://{api}")],
    ];
    for name in ["TRUST_REQUIRE", "DOCKER_CONTENT_TRUST"] {
        for (value, exit) in [("0", 0), ("1", 0), ("true", 0), ("false", 0), ("", 0), ("yes", 3), ("junk", 3), ("2", 3)]
        {
            for arguments in scripts {
                let run = world.run_with(&ops, arguments, |c| {
                    c.env(name, value);
                });
                let says = if exit == 3 { vec![name, "E0003"] } else { Vec::new() };
                world.expect(&format!("{name}={value:?} {}", arguments[0]), &run, exit, &says);
            }
        }
    }
    let unsigned = format!("{}/api:unsigned", world.demo);
    for value in ["0", "false", ""] {
        let run = world.run_with(&ops, &["resolve", &unsigned], |c| {
            c.env("TRUST_REQUIRE", value).env("DOCKER_CONTENT_TRUST", value);
        });
        world.expect(&format!("TRUST_REQUIRE={value:?} turns no check off"), &run, 10, &["E1001"]);
    }
    for (name, value) in [
        ("TRUST_OFFLINE", "yes"),
        ("TRUST_NON_INTERACTIVE", "maybe"),
        ("TRUST_OUTPUT", "xml"),
        ("TRUST_CONTEXT", "nowhere"),
    ] {
        let run = world.run_with(&ops, &["resolve", &api], |c| {
            c.env(name, value);
        });
        world.expect(&format!("{name}={value}"), &run, 3, &["E0003"]);
    }
    let (alice, bot) = (world.alice.clone(), bot(world));
    let token = world.dir.join("stack/alice.token");
    let text = fs::read_to_string(&token).unwrap().trim().to_owned();
    let by_digest = format!("{api}@{}", world.images["api"].digest);
    let mut with = |what: &str, variables: &[(&str, &str)], exit: i32, says: &[&str]| {
        let run = world.run_with(&bot, &["sign", &by_digest, "--no-passphrase"], |c| {
            c.envs(variables.iter().copied());
        });
        world.expect(what, &run, exit, says);
    };
    let file = token.display().to_string();
    with("token and token file", &[("TRUST_TOKEN", &text), ("TRUST_TOKEN_FILE", &file)], 3, &["TRUST_TOKEN_FILE"]);
    with("no token file", &[("TRUST_TOKEN_FILE", "/nowhere")], 3, &["/nowhere"]);
    with("a folder as token file", &[("TRUST_TOKEN_FILE", "/")], 3, &["E0003"]);
    with("token with a blank", &[("TRUST_TOKEN", "hunter2-is-not-to-be-seen x")], 3, &["TRUST_TOKEN"]);
    with("wrong token", &[("TRUST_TOKEN", WRONG_SECRET)], 31, &["E31"]);
    chmod(&token, 0o644);
    with("token file 0644", &[], 3, &["chmod 600", &file]);
    chmod(&token, 0o600);
    let pipe = alice.home.join("token-pipe");
    fifo(&pipe);
    chmod(&pipe, 0o600);
    let path = pipe.display().to_string();
    with("a pipe that nobody writes to as token file", &[("TRUST_TOKEN_FILE", &path)], 3, &["E0003"]);
}

/// The trusted state of `ops`, damaged in many ways. Nothing of it may be taken for a first use.
fn state(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let folder = fs::read_dir(ops.state()).unwrap().next().unwrap().unwrap().path();
    let kept = ops.home.join("kept-state");
    copy_all(&ops.state(), &kept);
    let restore = || {
        let _ = fs::remove_dir_all(ops.state());
        let _ = fs::remove_file(ops.state());
        copy_all(&kept, &ops.state());
    };
    let file = |name: &str| folder.join(name);
    // Online the files of roles are guarded by the snapshot and fetched again; offline nothing can stand in for them.
    for (name, online) in [("timestamp.json", 35), ("snapshot.json", 35), ("format", 35), ("targets.json", 0)] {
        let bytes = fs::read(file(name)).unwrap();
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            for (flag, exit) in [("--offline", 35), ("--quiet", online)] {
                fs::write(file(name), &bytes[..length]).unwrap();
                let what = format!("state: {name} cut to {length} {flag}");
                let run = world.run(&ops, &["resolve", flag, &api]);
                let says: &[&str] = if exit == 35 { &["E350", name] } else { &[] };
                world.expect(&what, &run, exit, says);
                restore();
            }
        }
        fs::remove_file(file(name)).unwrap();
        let run = world.run(&ops, &["resolve", "--quiet", &api]);
        world.expect(
            &format!("state: {name} deleted"),
            &run,
            online,
            if online == 35 { &["E3502", "first use"] } else { &[] },
        );
        restore();
        let mut changed = bytes.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        fs::write(file(name), &changed).unwrap();
        let run = world.run(&ops, &["resolve", "--offline", &api]);
        world.check(
            &format!("state: a bit of {name} changed"),
            run.exit != 0,
            &format!("exit {}\n{}", run.exit, run.said()),
        );
        restore();
    }
    let (one, two) = (fs::read(file("timestamp.json")).unwrap(), fs::read(file("snapshot.json")).unwrap());
    fs::write(file("timestamp.json"), two).unwrap();
    fs::write(file("snapshot.json"), one).unwrap();
    world.refused("state: files swapped", &ops, &["resolve", &api], 35, &["E3502"]);
    restore();
    for (name, exit) in [("timestamp.json", 35), ("targets.json", 35), ("format", 35)] {
        chmod(&file(name), 0o666);
        world.refused(&format!("state: {name} 0666"), &ops, &["resolve", &api], exit, &["E3503", name]);
        restore();
        fs::rename(file(name), file("elsewhere")).unwrap();
        std::os::unix::fs::symlink(file("elsewhere"), file(name)).unwrap();
        world.refused(&format!("state: {name} is a link"), &ops, &["resolve", &api], exit, &["E3503", name]);
        restore();
        fs::remove_file(file(name)).unwrap();
        fifo(&file(name));
        let run = world.refused(&format!("state: {name} is a pipe"), &ops, &["resolve", &api], exit, &["E350", name]);
        world.check("state: a pipe is not waited for", run.took < SOON, &format!("{:?}", run.took));
        restore();
        fs::remove_file(file(name)).unwrap();
        fs::create_dir(file(name)).unwrap();
        world.refused(&format!("state: {name} is a folder"), &ops, &["resolve", &api], exit, &["E350", name]);
        restore();
        fs::File::create(file(name)).unwrap().set_len(8 << 30).unwrap();
        let run = world.refused(&format!("state: {name} of 8 GB"), &ops, &["resolve", &api], exit, &["E350", name]);
        world.check("state: a huge file is not read", run.took < SOON, &format!("{:?}", run.took));
        restore();
    }
    for mode in [0o777, 0o770, 0o702] {
        chmod(&folder, mode);
        world.refused(&format!("state: folder {mode:o}"), &ops, &["resolve", &api], 35, &["E3503"]);
        restore();
    }
    fs::rename(&folder, ops.home.join("moved")).unwrap();
    std::os::unix::fs::symlink(ops.home.join("moved"), &folder).unwrap();
    world.refused("state: the folder is a link", &ops, &["resolve", &api], 35, &["E3503"]);
    fs::remove_dir_all(ops.home.join("moved")).unwrap();
    restore();
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    world.refused("state: a file in place of the folder", &ops, &["resolve", &api], 35, &["E350"]);
    restore();
    // Stored by a run on a newer state, then put back: the record does not move back with the file.
    let older = fs::read(file("timestamp.json")).unwrap();
    let by_digest = format!("{}/api:v2@{}", world.demo, world.images["api"].digest);
    world.sign(&by_digest);
    world.refused("state: newer state is stored", &ops, &["resolve", &api], 0, &[]);
    fs::write(file("timestamp.json"), &older).unwrap();
    world.refused("state: an older timestamp put back", &ops, &["resolve", "--offline", &api], 35, &["E3502", "older"]);
    world.refused("state: an older timestamp put back, online", &ops, &["resolve", &api], 35, &["E3502", "older"]);
    restore();
    world.refused("state: whole again", &ops, &["resolve", &api], 0, &[]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = ops.trust();
    let status =
        command.args(["resolve", &api]).stdin(Stdio::null()).stdout(full).stderr(Stdio::null()).status().unwrap();
    world.check("the answer cannot be written: not 0", status.code() == Some(35), &format!("{status:?}"));
}

/// Files that belong to somebody else.
fn other_owners(world: &mut World) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: files of other owners were not tried");
        return;
    }
    const NOBODY: u32 = 65534;
    let (ops, alice, api) = (world.ops.clone(), world.alice.clone(), api(world));
    let chown = |path: &Path, owner: u32| {
        let status = Command::new("chown").arg("-R").arg(format!("{owner}:{owner}")).arg(path).status().unwrap();
        assert!(status.success());
    };
    chown(&ops.state(), NOBODY);
    world.refused("state of another user", &ops, &["resolve", &api], 35, &["E3503", "another user"]);
    chown(&ops.state(), 0);
    let keys = alice.home.join("data/trust/keys");
    let by_digest = format!("{api}@{}", world.images["api"].digest);
    chown(&keys, NOBODY);
    world.refused("key folder of another user", &alice, &["sign", &by_digest], 42, &["E4203", "65534"]);
    chown(&keys, 0);

    // The other way round: an ordinary user before root's files.
    let home = world.dir.join("nobody");
    copy_all(&ops.home, &home);
    // Not in the world's folder, which may be small.
    let elsewhere = tempfile::Builder::new().prefix("cli").tempdir().unwrap();
    chmod(elsewhere.path(), 0o755);
    let program = elsewhere.path().join("trust");
    fs::copy(built("trust"), &program).unwrap();
    chmod(&program, 0o755);
    chmod(&world.dir, 0o755);
    chown(&home, NOBODY);
    let state = home.join("state");
    let nobody = Person { home: home.clone() };
    let as_nobody = |world: &mut World, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        nobody.environment(&mut command);
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
            .arg(&program)
            .args(arguments);
        command.current_dir(&home);
        world.run_command(&mut command)
    };
    let run = as_nobody(world, &["resolve", &api]);
    world.expect("an ordinary user with files of their own", &run, 0, &[]);
    chown(&state.join("trust"), 0);
    for mode in ["a+rX", "a+rwX"] {
        assert!(Command::new("chmod").args(["-R", mode]).arg(&state).status().unwrap().success());
        let run = as_nobody(world, &["resolve", &api]);
        world.expect(&format!("an ordinary user and root's state {mode}"), &run, 35, &["E350"]);
    }
    chown(&state, NOBODY);
    fs::remove_dir_all(&state).unwrap();
    fs::create_dir(&state).unwrap();
    chmod(&state, 0o555);
    let run = as_nobody(world, &["resolve", &api]);
    world.expect("a state folder that cannot be made", &run, 35, &["E350"]);
    chmod(&state, 0o700);
    chown(&state, NOBODY);
    chmod(&home.join("config/trust/config.toml"), 0o600);
    chown(&home.join("config/trust/config.toml"), 0);
    let run = as_nobody(world, &["resolve", &api]);
    world.expect("a configuration that cannot be read", &run, 3, &["E0003"]);
    chmod(&world.dir, 0o700);
}

/// Servers that refuse, fail, lie or are slow, while reading.
fn servers(world: &mut World) {
    let (ops, api) = (world.ops.clone(), api(world));
    let middle = world.server.url();
    for (status, exit, id) in [
        (400, 34, "E3405"),
        (401, 31, "E3101"),
        (403, 31, "E3102"),
        (404, 10, "E3604"),
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
fn publications(world: &mut World) {
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

fn registries(world: &mut World) {
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

fn logins(world: &mut World) {
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

/// What looks like a secret is not repeated, wherever it was typed.
fn secrets(world: &mut World) {
    let (alice, api) = (world.alice.clone(), api(world));
    let by_digest = format!("{api}@{}", world.images["api"].digest);
    for arguments in [
        vec!["sign", &by_digest, "--passphrase", WRONG_SECRET],
        vec!["sign", &by_digest, "--token", WRONG_SECRET],
        vec!["key", "generate", "x", "--password", WRONG_SECRET],
    ] {
        // What was typed is in the process list already; the message must not spread it further.
        let run = world.run(&alice, &arguments);
        world.expect(&format!("no argument takes a secret: {}", arguments[2]), &run, 2, &["E0002"]);
    }
    let url = format!("http://user:{WRONG_SECRET}@127.0.0.1:1/");
    world.refused("a password in the server's address", &alice, &["resolve", &api, "--server", &url], 3, &["E0003"]);
    world.refused("a password in a context", &alice, &["context", "add", "x", "--server", &url], 2, &["password"]);
    for arguments in [["env", "-q"], ["config", "show"]] {
        let run = world.run_with(&alice, &arguments, |c| {
            c.env("TRUST_SERVER", &url);
        });
        world.expect("a password in TRUST_SERVER is not shown", &run, 0, &["127.0.0.1:1"]);
    }
    let run = world.run_with(&alice, &["env"], |c| {
        c.env_remove("TRUST_PASSPHRASE_FILE").env("TRUST_PASSPHRASE", WRONG_SECRET).env("TRUST_TOKEN", WRONG_SECRET);
    });
    world.expect("env masks secrets", &run, 0, &["TRUST_TOKEN"]);
    let run = world.run_with(&alice, &["config", "show", "--origin", "-vv"], |c| {
        c.env("TRUST_TOKEN", WRONG_SECRET);
    });
    world.expect("config show masks secrets", &run, 0, &["TRUST_TOKEN"]);
    // Every stream of `-vv` is searched by the harness.
    world.refused("-vv says no secret", &alice, &["sign", &by_digest, "-vv"], 0, &[]);
    world.refused("-vv says no secret, verify", &alice, &["verify", &api, "-vv"], 0, &[]);
    // Of the running program too.
    let slow = wire(Wire::Silent);
    let mut command = alice.trust();
    command.args(["sign", &by_digest, "--server", &slow, "--timeout", "2s"]).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let line = fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let line = String::from_utf8_lossy(&line).into_owned();
    world.check("the process list shows no secret", !line.contains("passphrase of") && line.contains("sign"), &line);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The server stops, and what was verified before still holds offline.
fn outage(world: &mut World) {
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
    let known = [0, 32, 34].contains(&run.exit);
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
