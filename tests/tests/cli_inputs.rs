//! Bad input of every kind to the built `trust`: references, keys, passphrases, stored state, settings, servers and
//! registries that fail. Each ends with the promised code, says what to do, and leaves nothing half done.

mod cli_world;
#[path = "cli_inputs/manifests.rs"]
mod manifests;
#[path = "cli_inputs/network.rs"]
mod network;
#[path = "cli_inputs/nodes.rs"]
mod nodes;
#[path = "cli_inputs/policies.rs"]
mod policies;
#[path = "cli_inputs/reserved.rs"]
mod reserved;
#[path = "cli_inputs/stored.rs"]
mod stored;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use cli_world::World;
use cli_world::hostile::{Wire, wire};
use network::{logins, outage, publications, registries, servers};
use stored::{other_owners, state};
use trust_tests::stack::{Person, write_private};

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
    let sections: [(&str, Section); 18] = [
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
        ("policies", policies::policies),
        ("reserved", reserved::reserved),
        ("manifests", manifests::manifests),
        ("nodes", nodes::nodes),
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
