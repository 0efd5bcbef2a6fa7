//! Configurations that are refused, with the words that people read.

use std::path::PathBuf;

use trust_reader::anchor;

use super::*;

const ROOT: &str = "{\"signed\":{}}";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pay.root.json"), ROOT).unwrap();
        Self(dir)
    }

    fn read(&self, text: &str) -> Result<Config, String> {
        let path = self.0.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|e| e.to_string())
    }
}

fn good() -> String {
    let fingerprint = anchor::fingerprint(ROOT.as_bytes());
    format!(
        "state = 'state'\nlog = '/var/log/d.log'\npolicy = 'registry.example.com/pay'\n\
         [[collections]]\nname = 'registry.example.com/pay'\nroot = 'pay.root.json'\nfingerprint = '{fingerprint}'\n\
         server = 'https://trust.example.com'\n\
         [environment]\nname = 'public-eu'\ncloud = 'public'\n\
         [admission]\nlisten = '127.0.0.1:0'\ncertificate = 'tls.crt'\nkey = '/etc/tls.key'\n"
    )
}

#[test]
fn what_is_not_said_has_the_strict_default() {
    let folder = Folder::new();
    let config = folder.read(&good()).unwrap();
    assert_eq!((config.refresh, config.max_staleness), (Duration::from_secs(60), Duration::from_secs(3_600)));
    assert_eq!(config.state, folder.0.path().join("state"));
    assert_eq!(config.log, PathBuf::from("/var/log/d.log"));
    let unsaid = folder.read(&good().replacen("log = '/var/log/d.log'\n", "", 1)).unwrap();
    assert_eq!(unsaid.log, folder.0.path().join("state/decisions.log"), "there is no gate without a log");
    assert_eq!(config.collections[0].root, ROOT.as_bytes());
    let admission = config.admission().unwrap();
    assert_eq!(
        (admission.mode, admission.recheck_unchanged, admission.pin),
        (Mode::Enforce, Recheck::Never, Pin::Workloads)
    );
    assert_eq!(admission.certificate, folder.0.path().join("tls.crt"));
    assert_eq!(admission.key, PathBuf::from("/etc/tls.key"));
    assert_eq!(config.registry().unwrap_err().to_string(), "the configuration has no section [registry]");
}

#[test]
fn mirrors_are_read_and_bad_ones_refused() {
    let folder = Folder::new();
    let with =
        |mirrors: &str| folder.read(&good().replace("[environment]", &format!("mirrors = {mirrors}\n[environment]")));
    let config = with("['https://a.example', 'https://b.example/x']").unwrap();
    assert_eq!(config.collections[0].mirrors, ["https://a.example", "https://b.example/x"]);
    for (mirrors, says) in [
        ("'https://a.example'", "expected a sequence"),
        ("['a.example']", "mirrors of registry.example.com/pay: mirror a.example"),
        ("['https://trust.example.com/']", "is named twice, or is the server itself"),
        ("['https://u:hidden@a.example']", "holds a user name or password"),
    ] {
        let refused = with(mirrors).unwrap_err();
        assert!(refused.contains(says) && !refused.contains("hidden"), "{mirrors}: {refused}");
    }
    let one = folder.read(&good().replace("[environment]", "mirror = ['https://a.example']\n[environment]"));
    assert!(one.unwrap_err().contains("did you mean `mirrors`?"));
}

#[test]
fn a_misspelt_member_is_refused_with_the_one_that_was_meant() {
    let folder = Folder::new();
    for (old, new, says) in [
        ("[admission]\n", "[admission]\nrecheck_unchaged = 'always'\n", "did you mean `recheck_unchanged`?"),
        ("state =", "max_stalenes = '1h'\nstate =", "did you mean `max_staleness`?"),
        ("root =", "fingerprnt = ''\nroot =", "did you mean `fingerprint`?"),
        ("[environment]\n", "[environment]\nclowd = 'private'\n", "did you mean \"cloud\"?"),
        ("[environment]", "[enviroment]", "did you mean `environment`?"),
        ("state =", "zzz = 1\nstate =", "unknown field `zzz`"),
    ] {
        let text = good().replace(old, new);
        assert_ne!(text, good());
        let error = folder.read(&text).unwrap_err();
        assert!(error.contains(says), "{new}: {error}");
    }
}

#[test]
fn values_that_cannot_be_used_are_refused_with_their_member() {
    let folder = Folder::new();
    let fingerprint = anchor::fingerprint(ROOT.as_bytes());
    for (old, new, says) in [
        (fingerprint.as_str(), &"0".repeat(64), "has the fingerprint"),
        (&fingerprint, &"abc".to_owned(), "64 hex digits"),
        ("'pay.root.json'", &"'other.json'".to_owned(), "other.json"),
        ("policy = 'registry.example.com/pay'", &"policy = 'registry.example.com/policy'".to_owned(), "neither"),
        ("policy = 'registry.example.com/pay'\n", &String::new(), "say policy = \"signatures-alone\""),
        ("state =", &"refresh = '1 minute'\nstate =".to_owned(), "no duration"),
        ("state =", &"refresh = 60\nstate =".to_owned(), "invalid type"),
        ("state =", &"refresh = '0s'\nstate =".to_owned(), "refresh"),
        ("state =", &"refresh = '2h'\nstate =".to_owned(), "max_staleness"),
        ("state =", &"max_staleness = '8d'\nstate =".to_owned(), "at most 7d"),
        ("state = 'state'\n", &String::new(), "missing field `state`"),
        ("'public'", &"'hybrid'".to_owned(), "\"public\" or \"private\""),
        ("'public-eu'", &"'Public EU'".to_owned(), "the name of an environment"),
        ("'https://trust.example.com'", &"'ftp://x'".to_owned(), "is an address"),
        ("name = 'registry.example.com/pay'", &"name = 'Pay'".to_owned(), "collection \"Pay\""),
        ("[admission]", &"[admission]\nmode = 'audti'".to_owned(), "did you mean `audit`?"),
        ("[admission]", &"[admission]\ndrain = '5m'".to_owned(), "at most 60s"),
        ("listen = '127.0.0.1:0'", &"listen = 'localhost'".to_owned(), "listen"),
        ("[environment]\nname = 'public-eu'\ncloud = 'public'\n", &String::new(), "environment: is missing"),
        ("[admission]", &"[namespaces]\nshop = 'x'\n[admission]".to_owned(), "exclude each other"),
        ("[admission]", &"[environments.x]\ncloud = 'public'\n[admission]".to_owned(), "only for [namespaces]"),
    ] {
        let text = good().replacen(old, new, 1);
        assert_ne!(text, good(), "{old}");
        let error = folder.read(&text).unwrap_err();
        assert!(error.contains(says), "{new:?}: {error}");
    }
    assert!(folder.read("state = ").unwrap_err().contains("line 1"));
    assert!(folder.read(&format!("#{}", "x".repeat(1024 * 1024))).unwrap_err().contains("larger than"));
    assert!(Config::read(std::path::Path::new("/nonexistent")).is_err());
}

#[test]
fn a_registry_door_is_open_to_the_network_without_tls_only_if_that_is_said() {
    let folder = Folder::new();
    let door = |listen: &str, more: &str| {
        let section = "[registry]\nupstream = 'https://registry.internal:5000'\nhost = 'registry.example.com'\n";
        folder.read(&format!("{}{section}listen = '{listen}'\n{more}", good()))
    };
    for listen in ["0.0.0.0:5001", "[::]:5001", "10.0.0.1:5001"] {
        let error = door(listen, "").unwrap_err();
        assert!(error.contains("plain_http = true"), "{error}");
        assert!(door(listen, "plain_http = true\n").is_ok());
        assert!(door(listen, "certificate = 'a'\nkey = 'b'\n").is_ok());
    }
    for listen in ["127.0.0.1:5001", "[::1]:5001", "[::ffff:127.0.0.1]:5001"] {
        assert!(door(listen, "").is_ok(), "{listen}");
    }
}

#[test]
fn a_collection_named_twice_is_refused() {
    let folder = Folder::new();
    let entry = good().lines().skip(3).take(5).collect::<Vec<_>>().join("\n");
    let text = good().replace("[environment]", &format!("{entry}\n[environment]"));
    assert!(folder.read(&text).unwrap_err().contains("named twice"));
}

#[test]
fn namespaces_name_environments_that_exist() {
    let folder = Folder::new();
    let map = |text: &str| good().replace("[environment]\nname = 'public-eu'\ncloud = 'public'\n", text);
    let config = folder
        .read(&map("[namespaces]\nshop = 'public-eu'\npayroll = 'own-dc'\n[environments.public-eu]\ncloud = 'public'\n[environments.own-dc]\ncloud = 'private'\nregion = 'x'\n"))
        .unwrap();
    let Environments::Namespaces(namespaces) = config.environments else { panic!("a map") };
    assert_eq!(namespaces["payroll"].name, "own-dc");
    assert_eq!(namespaces["shop"].cloud, trust_policy::Cloud::Public);
    for (text, says) in [
        (
            "[namespaces]\nshop = 'public'\n[environments.public-eu]\ncloud = 'public'\n",
            "there is no [environments.public]",
        ),
        (
            "[namespaces]\nshop = 'unknown'\n[environments.unknown]\ncloud = 'private'\n",
            "is the name of the place that nobody described",
        ),
        ("[namespaces]\nshop = 'own-cd'\n[environments.own-dc]\ncloud = 'public'\n", "did you mean `own-dc`?"),
        ("[namespaces]\n'Shop ' = 'a'\n[environments.a]\ncloud = 'public'\n", "no name of a namespace"),
        ("[namespaces]\nshop = 'a'\n[environments.a]\nname = 'b'\ncloud = 'public'\n", "another `name`"),
        ("[namespaces]\nshop = 'a'\n[environments.a]\nregion = 'x'\n", "environments.a: "),
    ] {
        let error = folder.read(&map(text)).unwrap_err();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}

#[test]
fn the_namespace_of_gatekeeper_is_one_of_the_map_and_a_misspelt_one_is_told_the_one_that_was_meant() {
    let folder = Folder::new();
    let map = "[namespaces]\nshop = 'dc'\npayroll = 'dc'\n[environments.dc]\ncloud = 'private'\n";
    let with = |namespace: &str| {
        let mapped = good().replace("[environment]\nname = 'public-eu'\ncloud = 'public'\n", map);
        folder.read(&format!("{mapped}[admission.gatekeeper]\nnamespace = '{namespace}'\n"))
    };
    assert_eq!(with("shop").unwrap().admission.unwrap().gatekeeper.unwrap().namespace.as_deref(), Some("shop"));
    let refused = with("shopp").unwrap_err();
    let says = "admission.gatekeeper.namespace: \"shopp\" is not in [namespaces], did you mean `shop`?";
    assert!(refused.ends_with(says), "{refused}");
    assert!(with("something-else").unwrap_err().ends_with("is not in [namespaces]"));
    // With one environment for everything there is no map that it could be absent from.
    let fixed = folder.read(&format!("{}[admission.gatekeeper]\nnamespace = 'shopp'\n", good()));
    assert!(fixed.is_ok());
}

#[test]
fn a_file_that_would_wait_for_its_writer_is_refused_at_once() {
    let folder = Folder::new();
    let fifo = |name: &str| {
        let path = folder.0.path().join(name);
        let _ = std::fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    };
    let error = Config::read(&fifo("fifo.toml")).unwrap_err().to_string();
    assert!(error.contains("fifo.toml: not a regular file"), "{error}");
    fifo("pay.root.json");
    let error = folder.read(&good()).unwrap_err();
    assert!(error.contains("pay.root.json: not a regular file"), "{error}");
}

#[test]
fn a_password_in_the_address_of_the_registry_is_refused_and_not_shown() {
    let folder = Folder::new();
    let section = "[registry]\nlisten = '127.0.0.1:0'\nhost = 'registry.example.com'\n";
    let text = format!("{}{section}upstream = 'http://robot:SECPW@127.0.0.1:1'\n", good());
    let config = folder.read(&text).unwrap();
    let error = crate::registry::check(config.registry().unwrap()).unwrap_err().to_string();
    assert!(error.contains("holds a name or password") && !error.contains("SECPW"), "{error}");
}
