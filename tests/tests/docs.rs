//! What docs/gates.md shows is what the program reads.

use std::fs;
use std::path::{Path, PathBuf};

use trust_gate::config::{Config, Environments};
use trust_policy::Cloud;
use trust_reader::anchor;

const ROOT: &[u8] = b"{}";

/// The TOML blocks of the page.
fn blocks() -> Vec<String> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/gates.md");
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.map(|block| block.to_owned() + "\n").collect()
}

fn read(folder: &Path, text: &str) -> Result<Config, String> {
    for root in ["pay.root.json", "policy.root.json"] {
        fs::write(folder.join(root), ROOT).unwrap();
    }
    let path = folder.join("gate.toml");
    fs::write(&path, text.replace(&"0".repeat(64), &anchor::fingerprint(ROOT))).unwrap();
    Config::read(&path).map_err(|error| error.to_string())
}

#[test]
fn the_configuration_that_the_page_on_gates_shows_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    let whole = &blocks[0];
    let config = read(folder.path(), whole).unwrap();
    assert_eq!(config.collections.len(), 2);
    assert!(
        config.policy.is_some()
            && config.admission.is_some()
            && config.registry.is_some()
            && config.metrics.admission.is_some()
    );
    assert!(
        matches!(&config.environments, Environments::Fixed(e) if e.name == "public-eu" && e.cloud == Cloud::Public)
    );

    let by_namespace = blocks.iter().find(|block| block.starts_with("[namespaces]")).unwrap();
    let (before, rest) = whole.split_once("[environment]").unwrap();
    let after = rest.split_once("[registry]").unwrap().1;
    let config = read(folder.path(), &format!("{before}\n{by_namespace}\n[registry]{after}")).unwrap();
    let Environments::Namespaces(map) = &config.environments else { panic!("{:?}", config.environments) };
    assert_eq!(map["payroll"].cloud, Cloud::Private);
    assert_eq!(map["shop"].cloud, Cloud::Public);
    // A fingerprint that is not the file's ends it.
    let wrong = whole.replacen(&"0".repeat(64), &"1".repeat(64), 1);
    assert!(read(folder.path(), &wrong).unwrap_err().contains("fingerprint"));
}

#[test]
fn every_member_that_the_page_on_gates_names_exists() {
    let folder = tempfile::tempdir().unwrap();
    let whole = blocks().remove(0);
    let more = whole
        .replace("refresh =", "signers = [\"alice\"]\nmin_signers = 2\nrefresh =")
        .replacen("server =", "plain_http = true\nserver =", 1)
        .replace(
            "upstream =",
            "certificate = \"tls.crt\"\nkey = \"tls.key\"\nca = \"ca.pem\"\nauth = \"auth.json\"\nredirects = [\"storage.example.com\"]\nupstream =",
        )
        .replace("mode =", "recheck_unchanged = \"warn\"\npin = \"pods\"\ndrain = \"5s\"\nmode =");
    let config = read(folder.path(), &more).unwrap();
    assert_eq!((config.signers.len(), config.min_signers), (1, 2));
    assert_eq!(config.registry.unwrap().redirects.len(), 1);
    for member in ["signers", "min_signers", "plain_http", "recheck_unchanged", "pin", "drain", "auth", "redirects"] {
        let page = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/gates.md")).unwrap();
        assert!(page.contains(&format!("`{member}`")), "{member}");
    }
}

#[test]
fn the_kinds_of_others_and_the_other_doors_that_the_page_on_gates_shows_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    let kinds = blocks.iter().find(|block| block.starts_with("[[admission.kinds]]")).unwrap();
    let whole =
        blocks[0].replace("mode = \"warn\"", "pin = \"off\"\ntags = \"allow\"\nimage_review = true\nmode = \"warn\"");
    let more = "[admission.gatekeeper]\nnamespace = \"shop\"\n";
    let admission = read(folder.path(), &format!("{whole}\n{kinds}\n{more}")).unwrap().admission.unwrap();
    assert!(admission.kinds.has("argoproj.io", "Rollout") && admission.kinds.has("tekton.dev", "Task"));
    assert!(admission.image_review && admission.gatekeeper.is_some());
}
