//! The built program against hostile servers and settings.

#![expect(clippy::unwrap_used, reason = "the functions here are parts of tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trust_keys::{Algorithm, LocalKey, Protection, SigningKey, private_pem};
use trust_reader::state::StateStore;
use trust_tuf::draft::Draft;
use trust_tuf::{CollectionName, MetaEntry, RoleType, UtcTime, Version};

const TOKEN: &str = "trust-token-of-our-own-server";

/// A server that asks everybody for a token, and keeps the heads of all requests.
struct Curious {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Curious {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                kept.lock().unwrap().push(head.join("\n"));
                let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

struct Home(tempfile::TempDir);

impl Home {
    /// A context with a token, and a pin whose server is another one.
    fn new(own: &str, pinned: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = folder.path().join(".config/trust");
        std::fs::create_dir_all(&config).unwrap();
        let text = format!(
            "context = 'own'\n[contexts.own]\nserver = '{own}'\ntoken_file = '{}'\n[[pins]]\ncollection = \
             'r.example/a'\nfingerprint = '{}'\nserver = '{pinned}'\n",
            token.display(),
            "a".repeat(64)
        );
        std::fs::write(config.join("config.toml"), text).unwrap();
        Self(folder)
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust"));
        command.args(arguments).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap()
    }
}

#[test]
fn a_server_that_only_a_pin_names_cannot_fetch_our_token_by_asking_for_one() {
    let (own, other) = (Curious::start(), Curious::start());
    let home = Home::new(&own.address, &other.address);
    for variables in [&[][..], &[("TRUST_TOKEN", TOKEN)][..]] {
        for arguments in [["log", "r.example/a"], ["verify", "r.example/a:v1"], ["inspect", "r.example/a"]] {
            let output = home.run(&arguments, variables);
            assert_eq!(output.status.code(), Some(31), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            let heads = other.heads();
            assert!(!heads.is_empty(), "{arguments:?}: it was asked");
            assert!(heads.iter().all(|head| !head.to_ascii_lowercase().contains("authorization")), "{heads:?}");
        }
    }
    // The server of the context, and one that somebody types, get it.
    home.run(&["log", "r.example/b"], &[]);
    assert!(own.heads().iter().any(|head| head.contains(TOKEN)));
    home.run(&["log", "r.example/a", "--server", &other.address], &[]);
    assert!(other.heads().iter().any(|head| head.contains(TOKEN)));
}

#[test]
fn a_format_that_a_command_does_not_have_is_refused_before_anything_is_done() {
    let own = Curious::start();
    let home = Home::new(&own.address, &own.address);
    let tree = home.0.path().join(".trust.toml");
    for by_tree in [false, true] {
        if by_tree {
            std::fs::write(&tree, "output = 'jsonl'").unwrap();
        }
        let flag: &[&str] = if by_tree { &[] } else { &["-o", "jsonl"] };
        let output = home.run(&[&["context", "add", "new", "--server", "https://s.example"], flag].concat(), &[]);
        assert_eq!(output.status.code(), Some(2));
        let config = std::fs::read_to_string(home.0.path().join(".config/trust/config.toml")).unwrap();
        assert!(!config.contains("contexts.new"), "{config}");
        let output = home.run(&[&["verify", "r.example/a:v1"], flag].concat(), &[]);
        assert_eq!((output.status.code(), own.heads().len()), (Some(2), 0));
    }
}

#[test]
fn pins_that_every_user_of_the_machine_can_change_are_not_read() {
    let own = Curious::start();
    let home = Home::new(&own.address, &own.address);
    let config = home.0.path().join(".config/trust/config.toml");
    for (mode, exit) in [(0o666, 3), (0o646, 3), (0o600, 31), (0o644, 31)] {
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = home.run(&["verify", "r.example/a:v1"], &[]);
        assert_eq!(output.status.code(), Some(exit), "{mode:o}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // And this command writes no such file, under any umask.
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 0; exec \"$0\" context add new --server https://s.example", env!("CARGO_BIN_EXE_trust")]);
    assert!(shell.env_clear().env("HOME", home.0.path()).output().unwrap().status.success());
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o644);
}

/// A server that takes every connection and never answers.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().map(Result::unwrap).collect::<Vec<_>>());
    address
}

#[test]
fn two_commands_that_name_the_same_collections_in_another_order_do_not_wait_for_each_other() {
    let (server, folder) = (silent(), tempfile::tempdir().unwrap());
    let key = Rc::new(LocalKey::generate(Algorithm::Ed25519).unwrap());
    let mut draft = Draft::root(UtcTime::parse("9000-01-01T00:00:00Z").unwrap());
    for role in RoleType::ALL {
        draft.set_role(role, &[key.public().clone()], 1);
    }
    let root = folder.path().join("root.json");
    std::fs::write(&root, trust::keyring::sign(&draft, &[key]).unwrap()).unwrap();
    let trust = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust"));
        command.args(arguments).env_clear().env("HOME", folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    for collection in ["r.example/a", "r.example/b"] {
        assert!(trust(&["pin", "add", collection, "--root", root.to_str().unwrap()]).status().unwrap().success());
    }
    let state = folder.path().join(".local/state/trust/tuf");
    let lock =
        |collection| state.join(StateStore::folder_name(&CollectionName::parse(collection).unwrap())).join("lock");
    for images in [["r.example/a:v1", "r.example/b:v1"], ["r.example/b:v1", "r.example/a:v1"]] {
        let _ = std::fs::remove_dir_all(&state);
        let mut child = trust(&["verify", images[0], images[1], "--server", &server]).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while !(lock("r.example/a").exists() || lock("r.example/b").exists()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let taken = (lock("r.example/a").exists(), lock("r.example/b").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(taken, (true, false), "{images:?}: the locks are taken in the order of the names");
    }
}

/// A server that shows a collection as it was long ago and holds back every newer root; gives its address and what it was
/// sent.
fn withholding(files: Vec<(String, Vec<u8>)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let found = files.iter().find(|(name, _)| first.contains(&format!("/_metadata/{name} ")));
            let (status, body) = found.map_or(("404 Not Found", &b"{}"[..]), |(_, bytes)| ("200 OK", bytes));
            kept.lock().unwrap().push(first);
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (address, asked)
}

#[test]
fn a_server_that_holds_back_a_newer_root_gets_no_second_one_signed_on_an_expired_one() {
    let key = Rc::new(LocalKey::generate(Algorithm::Ed25519).unwrap());
    let expired = UtcTime::parse("2020-01-01T00:00:00Z").unwrap();
    let sign = |draft: &Draft| trust::keyring::sign(draft, &[Rc::clone(&key)]).unwrap();
    let mut root = Draft::root(expired);
    for role in RoleType::ALL {
        root.set_role(role, &[key.public().clone()], 1);
    }
    let root = sign(&root);
    let targets = sign(&Draft::targets(expired));
    let entry = MetaEntry::of(Version::ONE, &targets);
    let snapshot = sign(&Draft::snapshot(Version::ONE, expired, [("targets", &entry)]));
    let timestamp = sign(&Draft::timestamp(Version::ONE, expired, &MetaEntry::of(Version::ONE, &snapshot)));
    let named = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    let (server, asked) = withholding(vec![
        named("timestamp.json", timestamp),
        named("1.snapshot.json", snapshot),
        named("1.targets.json", targets),
    ]);

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let pem = file("key.pem", private_pem(&key, Protection::Unencrypted).unwrap().as_bytes());
    let (root, token) = (file("root.json", &root), file("token", TOKEN.as_bytes()));
    let trust = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust"));
        command.args(arguments).env_clear().env("HOME", folder.path()).env("TRUST_TOKEN_FILE", &token);
        command.env("TRUST_SERVER", &server).stdin(Stdio::null()).output().unwrap()
    };
    assert!(trust(&["key", "import", &format!("file:{pem}"), "old", "--no-passphrase"]).status.success());
    assert!(trust(&["pin", "add", "r.example/a", "--root", &root]).status.success());
    let keys = || std::fs::read_dir(folder.path().join(".local/share/trust/keys")).unwrap().count();
    let keys_before = keys();

    for role in ["root", "targets", "timestamp", "snapshot"] {
        let rotate = ["rotate", role, "r.example/a", "--no-passphrase", "--identity", &"a".repeat(64)];
        asked.lock().unwrap().clear();
        let output = trust(&rotate);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(40), "{role}: {text}");
        for part in ["E4002", "v1, expired 2020-01-01T00:00:00Z", "second root", "--confirm r.example/a", "holders"] {
            assert!(text.contains(part), "{role}: {part}: {text}");
        }
        let other = trust(&[&rotate[..], &["--confirm", "r.example/b"]].concat());
        assert_eq!(other.status.code(), Some(2), "{role}: another name confirms nothing");
        let asked = asked.lock().unwrap();
        assert!(asked.iter().any(|line| line.contains("timestamp.json")), "{role}: {asked:?}");
        assert!(asked.iter().all(|line| line.starts_with("GET ")), "{role}: nothing was sent: {asked:?}");
    }
    assert_eq!(keys(), keys_before, "no key was made");

    // Whoever looked and says so goes on.
    asked.lock().unwrap().clear();
    let rotate = ["rotate", "root", "r.example/a", "--no-passphrase", "--confirm", "r.example/a"];
    let output = trust(&rotate);
    let sent = asked.lock().unwrap().iter().any(|line| line.starts_with("POST ") && line.contains("_publications"));
    assert!(sent, "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}
