//! The built program: exit codes, streams and documents, without a server.

#![expect(clippy::unwrap_used, reason = "the functions here are parts of tests")]

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A home of its own, and an environment with nothing of the outside.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trust"));
        command.args(arguments).env_clear().env("HOME", self.path()).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn config(&self, text: &str) {
        let folder = self.path().join(".config/trust");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.toml"), text).unwrap();
    }

    fn secret(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn document(output: &Output) -> serde_json::Value {
    let text = stdout(output);
    assert_eq!(text.lines().count(), 1, "exactly one document: {text}");
    serde_json::from_str(&text).unwrap()
}

const PINNED: &str = "[contexts.a]\nserver = 'http://127.0.0.1:9'\nidentity = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n\
    [[pins]]\ncollection = 'r.example/pay'\nfingerprint = 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'\n";

#[test]
fn without_a_terminal_nobody_is_asked_and_it_ends_with_40_at_once_naming_the_answer() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let made = home.run(&["key", "generate", "known", "--passphrase-file", &home.secret("pass", "hunter2"), "--dev"]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let digest = "a".repeat(64);
    let image = format!("r.example/pay/api:v1@sha256:{digest}");
    for (arguments, answer) in [
        (vec!["key", "generate", "new"], "TRUST_PASSPHRASE_FILE"),
        (vec!["sign", &image], "--passphrase-file"),
        (vec!["sign", "r.example/pay/api:v1"], "--expect"),
        (vec!["init", "r.example/other"], "TRUST_ROOT_PASSPHRASE_FILE"),
        (vec!["unsign", "r.example/pay/api:v1"], "--yes"),
        (vec!["revoke", "r.example/pay/api:v1", "--reason", "x"], "--confirm r.example/pay/api"),
        (vec!["pin", "remove", "r.example/pay"], "--confirm r.example/pay"),
        (vec!["signer", "remove", "alice", "r.example/pay"], "--confirm"),
        (vec!["rotate", "root", "r.example/pay"], "TRUST_ROOT_PASSPHRASE"),
    ] {
        let began = Instant::now();
        let output = home.run(&arguments);
        let took = began.elapsed();
        assert_eq!(code(&output), 40, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(answer), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        // The promise is 100 ms; a debug build on a busy machine gets some room, a wait for input would be for ever.
        assert!(took < Duration::from_millis(1_000), "{arguments:?}: {took:?}");
    }
}

#[test]
fn json_is_one_document_also_on_every_failure_and_says_the_exit_code() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    for arguments in [
        vec!["-o", "json", "verify", "r.example/none/x:v1"],
        vec!["verify", "-o=json", "r.example/pay/x:v1"],
        vec!["--output", "json", "verify"],
        vec!["-ojson", "nonsense"],
        vec!["-o", "json", "--context", "typo", "pin", "list"],
        vec!["-o", "json", "resolve", "r.example/pay/x:v1", "--offline"],
        vec!["-o", "json", "key", "show", "nobody"],
        vec!["-o", "json", "exec", "--", "sh", "-c", "true"],
        vec!["-o", "json"],
    ] {
        let output = home.run(&arguments);
        let document = document(&output);
        assert_eq!(document["schema"], "trust/v1", "{arguments:?}");
        assert_eq!(document["ok"], false, "{arguments:?}");
        assert_eq!(document["exit"], code(&output), "{arguments:?}");
        assert_ne!(code(&output), 0, "{arguments:?}");
        assert!(document["code"].as_str().unwrap().starts_with('E'), "{arguments:?} {document}");
    }
}

#[test]
fn a_variable_with_junk_is_an_error_for_every_command_that_resolves() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    for variable in ["TRUST_REQUIRE", "DOCKER_CONTENT_TRUST"] {
        for arguments in [
            vec!["resolve", "--offline", "r.example/pay/x:v1"],
            vec!["verify", "--offline", "r.example/pay/x:v1"],
            vec!["exec", "--offline", "--", "docker", "run", "r.example/pay/x:v1"],
        ] {
            for (value, expected) in
                [(None, 10), (Some("0"), 10), (Some("1"), 10), (Some("true"), 10), (Some(""), 10), (Some("junk"), 3)]
            {
                let mut command = home.command(&arguments);
                if let Some(value) = value {
                    command.env(variable, value);
                }
                let output = command.output().unwrap();
                assert_eq!(code(&output), expected, "{variable}={value:?} {arguments:?}: {}", stderr(&output));
            }
        }
    }
}

#[test]
fn a_secret_given_in_the_wrong_place_is_not_repeated() {
    let home = Home::new();
    let secret = "-----BEGIN-hunter2:hunter2";
    for arguments in [
        vec!["key", "show", secret],
        vec!["key", "show", "hunter2:x"],
        vec!["sign", "r.example/pay/x:v1", "--key", secret],
        vec!["sign", "r.example/pay/x:v1", "--passphrase-fd", "hunter2"],
        vec!["sign", "r.example/pay/x:v1", "--passphrase=hunter2"],
        vec!["sign", "r.example/pay/x:v1", "-phunter2"],
    ] {
        let output = home.run(&arguments);
        assert_ne!(code(&output), 0);
        assert!(!stderr(&output).contains("hunter2") && !stdout(&output).contains("hunter2"), "{}", stderr(&output));
    }
    let mut command = home.command(&["key", "generate", "a"]);
    let output = command.env("TRUST_PASSPHRASE", "hunter2").env("TRUST_PASSPHRASE_FILE", "/x").output().unwrap();
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(!stderr(&output).contains("hunter2"));
}

#[test]
fn a_token_file_that_others_can_read_is_refused() {
    let home = Home::new();
    let token = home.secret("token", "abc");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.config(&format!(
        "context = 'a'\n{}",
        PINNED.replace("identity", &format!("token_file = '{token}'\nidentity"))
    ));
    let output = home.run(&["log", "r.example/pay"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("chmod 600"), "{}", stderr(&output));
}

#[test]
fn plain_http_to_another_machine_is_refused_before_anything_is_sent() {
    let home = Home::new();
    home.config(PINNED);
    let output = home.run(&["--server", "http://192.0.2.1", "verify", "r.example/pay/x:v1"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(stderr(&output).contains("E0006"), "{}", stderr(&output));
}

#[test]
fn a_server_that_is_down_is_a_fault_of_the_network_and_never_not_signed() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let output = home.run(&["verify", "r.example/pay/x:v1"]);
    assert_eq!(code(&output), 30, "{}", stderr(&output));
}

#[test]
fn exec_runs_nothing_without_a_positive_verdict() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let tool = home.path().join("docker");
    std::fs::write(&tool, "#!/bin/sh\ntouch ran\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (image, expected) in [("r.example/pay/x:v1", 30), ("r.example/none/x:v1", 10), ("r.example/pay/X:v1", 2)] {
        let output = home.run(&["exec", "--", tool.to_str().unwrap(), "run", image]);
        assert_eq!(code(&output), expected, "{}", stderr(&output));
        assert!(!home.path().join("ran").exists());
    }
}

#[test]
fn a_list_of_nothing_never_ends_with_0_and_says_what_to_do_next() {
    let home = Home::new();
    for (arguments, exit, id, says) in [
        (["key", "list"].as_slice(), 42, "E4201", "trust key generate NAME"),
        (&["pin", "list"], 10, "E1002", "trust pin add COLLECTION FINGERPRINT"),
        (&["list"], 10, "E1002", "trust pin add COLLECTION FINGERPRINT"),
    ] {
        let output = home.run(arguments);
        assert_eq!(code(&output), exit, "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && stderr(&output).contains(id), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
        let document = document(&home.run(&[arguments, &["-o", "json"]].concat()));
        assert_eq!((&document["ok"], &document["exit"]), (&false.into(), &exit.into()), "{arguments:?}");
    }
    // A folder that holds no key any more is the same as none.
    assert_eq!(code(&home.run(&["key", "generate", "one", "--no-passphrase"])), 0);
    for file in std::fs::read_dir(home.path().join(".local/share/trust/keys")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(code(&home.run(&["key", "list"])), 42);
    home.config(&format!("context = 'a'\n{PINNED}"));
    for arguments in [["pin", "list"].as_slice(), &["list"]] {
        assert_eq!(code(&home.run(arguments)), 0, "{arguments:?}");
    }
}

#[test]
fn a_failure_names_its_subject_for_programs_before_anything_was_reached() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let image = "r.example/pay/api:v1";
    for (arguments, exit) in [(vec!["resolve", image], 30), (vec!["resolve", "r.example/other:v1"], 10)] {
        let document = document(&home.run(&[&arguments[..], &["-o", "json"]].concat()));
        assert_eq!(document["exit"], exit, "{document}");
        assert_eq!(document["subject"]["reference"], arguments[1], "{document}");
        let collection = document["subject"].get("collection").and_then(|c| c.as_str());
        assert_eq!(collection, (exit == 30).then_some("r.example/pay"), "{document}");
        assert!(document["subject"].get("expected_digest").is_none(), "{document}");
    }
    let verified = document(&home.run(&["verify", image, "-o", "json"]));
    assert_eq!(verified["images"][0]["subject"]["reference"], image, "{verified}");
}

#[test]
fn keys_are_made_listed_shown_exported_and_imported() {
    let home = Home::new();
    let pass = home.secret("pass", "hunter2\n");
    let made = home.run(&["key", "generate", "alice", "--passphrase-file", &pass, "--dev"]);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let id = stdout(&made).trim().to_owned();
    let again = home.run(&["key", "generate", "alice", "--passphrase-file", &pass, "--dev"]);
    assert_eq!(code(&again), 42, "never overwritten: {}", stderr(&again));

    let list = document(&home.run(&["key", "list", "-o", "json"]));
    assert_eq!(list["keys"][0]["key_id"], id.as_str());
    assert_eq!(list["keys"][0]["encrypted"], true);

    let out = home.path().join("alice.pub");
    assert_eq!(code(&home.run(&["key", "export", "alice", "--out", out.to_str().unwrap()])), 0);
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));

    let copy = home.path().join("copy.pem");
    let new = home.secret("new", "other");
    let export =
        ["key", "export", "alice", "--private", "--passphrase-file", &pass, "--new-passphrase-file", &new, "--dev"];
    let refused = home.run(&export);
    assert_eq!(code(&refused), 2, "a private key never goes to stdout: {}", stderr(&refused));
    let exported = home.run(&[&export[..], &["--out", copy.to_str().unwrap()]].concat());
    assert_eq!(code(&exported), 0, "{}", stderr(&exported));
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&copy).unwrap().contains("ENCRYPTED PRIVATE KEY"));

    let uri = format!("file:{}", copy.display());
    let wrong = home.run(&["key", "import", &uri, "bob", "--passphrase-file", &pass, "--dev"]);
    assert_eq!(code(&wrong), 41, "{}", stderr(&wrong));
    let right = home.run(&["key", "import", &uri, "bob", "--passphrase-file", &new, "--dev"]);
    assert_eq!(code(&right), 0, "{}", stderr(&right));
    assert_eq!(stdout(&right).trim(), id);
    let missing = home.run(&["key", "show", "carol"]);
    assert_eq!(code(&missing), 42);
}

#[test]
fn an_unencrypted_key_needs_to_be_wanted() {
    let home = Home::new();
    assert_eq!(code(&home.run(&["key", "generate", "robot", "--no-passphrase"])), 0);
    let list = document(&home.run(&["key", "list", "-o", "json"]));
    assert_eq!(list["keys"][0]["encrypted"], false);
    let file = format!("file:{}", home.path().join(".local/share/trust/keys/robot.pem").display());
    let accept = ["signer", "accept", "robot", "r.example/pay", "--key", &file];
    assert_eq!(code(&home.run(&accept)), 42);
    assert_eq!(code(&home.run(&[&accept[..], &["--no-passphrase"]].concat())), 0);
}

#[test]
fn help_works_where_the_configuration_does_not() {
    let home = Home::new();
    home.config("nonsense = [");
    for arguments in [
        vec!["help", "config"],
        vec!["help", "E1403"],
        vec!["version"],
        vec!["--help"],
        vec!["sign", "-h"],
        vec!["completion", "bash"],
    ] {
        let output = home.run(&arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(code(&home.run(&["pin", "list"])), 3);
    assert_eq!(code(&home.run(&["help", "nothing"])), 2);
    assert_eq!(code(&home.run(&[])), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_no_panic() {
    let home = Home::new();
    let mut child =
        home.command(&["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(text.is_empty(), "{text}");
}

#[test]
fn a_full_disk_is_told() {
    let home = Home::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = home.command(&["help", "exit-codes"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 35, "{}", stderr(&output));
}

#[test]
fn man_pages_are_written_for_every_command() {
    let home = Home::new();
    let output = home.run(&["man", "--dir", "man1"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for page in ["trust.1", "trust-sign.1", "trust-key-generate.1"] {
        let text = std::fs::read_to_string(home.path().join("man1").join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
}

#[test]
fn contexts_and_pins_are_kept_in_the_configuration() {
    let home = Home::new();
    let fingerprint = "c".repeat(64);
    let add = ["context", "add", "prod", "--server", "https://trust.example.com", "--identity", &fingerprint];
    assert_eq!(code(&home.run(&add)), 0);
    assert_eq!(code(&home.run(&add)), 2, "never replaced by accident");
    let list = document(&home.run(&["context", "list", "-o", "json"]));
    assert_eq!((&list["contexts"][0]["name"], &list["contexts"][0]["in_use"]), (&"prod".into(), &true.into()));
    assert_eq!(code(&home.run(&["context", "use", "typo"])), 3);
    assert_eq!(code(&home.run(&["context", "remove", "prod"])), 0);
    let broken = home.path().join("root.json");
    std::fs::write(&broken, "{}").unwrap();
    let pin = home.run(&["pin", "add", "r.example/pay", "--root", broken.to_str().unwrap()]);
    assert_eq!(code(&pin), 16, "{}", stderr(&pin));
}

#[test]
fn a_root_file_that_was_changed_after_it_was_pinned_breaks_the_pin() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let roots = home.path().join(".config/trust/roots");
    std::fs::create_dir_all(&roots).unwrap();
    std::fs::write(roots.join(format!("{}.root.json", "b".repeat(64))), "{}").unwrap();
    let output = home.run(&["verify", "r.example/pay/x:v1"]);
    assert_eq!(code(&output), 16, "{}", stderr(&output));
    assert!(stderr(&output).contains("E1601"));
}

#[test]
fn a_command_that_fails_leaves_no_new_key_behind() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let public = home.run(&["key", "generate", "known", "--no-passphrase"]);
    assert_eq!(code(&public), 0);
    for arguments in [
        vec!["signer", "add", "bob", "r.example/pay", "--signer-key", "fresh", "--no-passphrase"],
        vec!["signer", "add", "bob", "r.example/pay", "--signer-key", "fresh", "--no-passphrase", "--threshold", "2"],
        vec!["rotate", "targets", "r.example/pay", "--new-key", "fresh", "--no-passphrase"],
        vec!["init", "r.example/other", "--no-passphrase"],
    ] {
        let output = home.run(&arguments);
        assert_ne!(code(&output), 0, "{arguments:?}");
        let list = document(&home.run(&["key", "list", "-o", "json"]));
        assert_eq!(list["keys"].as_array().unwrap().len(), 1, "{arguments:?}: {list}");
    }
}

#[test]
fn a_root_or_targets_key_that_is_named_has_to_be_there() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    for flag in ["--root-key", "--targets-key"] {
        let output = home.run(&["init", "r.example/other", flag, "nobody", "--no-passphrase"]);
        assert_eq!(code(&output), 42, "{}", stderr(&output));
        assert!(stderr(&output).contains("E4201") && stderr(&output).contains("nobody"), "{}", stderr(&output));
        assert!(!home.path().join(".local/share/trust/keys/nobody.pem").exists());
    }
}

#[test]
fn a_usage_error_names_the_help_of_its_command_and_has_no_empty_words() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    for (arguments, help) in [
        (vec!["pin", "add", "r.example/pay"], "trust pin add --help"),
        (vec!["rotate", "root", "r.example/pay", "--overlap", "1h"], "trust rotate --help"),
        (vec!["rotate", "timestamp", "r.example/pay", "--overlap", "1h", "--finish"], "trust rotate --help"),
        (vec!["rotate", "targets", "r.example/pay", "--finish"], "trust rotate --help"),
    ] {
        let output = home.run(&arguments);
        assert_eq!(code(&output), 2, "{}", stderr(&output));
        assert!(stderr(&output).contains(help), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("an argument is missing, unknown"), "{}", stderr(&output));
    }
    let usage = stderr(&home.run(&["pin", "add", "r.example/pay"]));
    assert!(usage.contains("trust pin add [OPTIONS] <COLLECTION> <FINGERPRINT|"), "{usage}");
}

#[test]
fn the_name_of_a_collection_where_an_image_is_wanted_is_told() {
    let home = Home::new();
    home.config(&format!("context = 'a'\n{PINNED}"));
    let output = home.run(&["sign", "r.example/pay"]);
    assert!(stderr(&output).contains("r.example/pay is a collection; name an image below it"), "{}", stderr(&output));
    let output = home.run(&["sign", "r.example/pay/api"]);
    assert!(!stderr(&output).contains("is a collection"), "{}", stderr(&output));
}
