use super::*;
use crate::node::rooted::Root;

const NAME: &str = "registry.example.com/pay";

struct Node(tempfile::TempDir);

impl Node {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn question(&self, name: &str) -> Question {
        Question {
            root: Root::at(self.0.path()),
            homes: vec!["/root".into()],
            registries_conf: None,
            names: vec![Name::of(name).unwrap()],
            gate: None,
        }
    }

    /// The worst of this tool, in words.
    fn worst(&self, tool: &str, name: &str) -> (State, String) {
        worst(tool, look(&self.question(name)))
    }
}

fn worst(tool: &str, findings: Vec<Finding>) -> (State, String) {
    let of = findings.into_iter().filter(|finding| finding.tool == tool);
    let worst = of.max_by_key(|finding| finding.state).expect("something is said of each tool");
    assert_eq!(worst.fix.is_empty(), worst.state == State::Fine, "{worst:?}");
    (worst.state, format!("{} | {}", worst.found, worst.fix))
}

const CONF: &str = "etc/containers/registries.conf";
const HOSTS: &str = "etc/containerd/certs.d/registry.example.com/hosts.toml";

#[test]
fn a_mirror_of_containers_tools_is_a_way_around_and_a_rewritten_place_is_none() {
    let mirror = "[[registry]]\nprefix = \"registry.example.com\"\nlocation = \"registry.example.com\"\n[[registry.mirror]]\nlocation = \"gate.example.com:5001\"\n";
    for text in [
        mirror.to_owned(),
        mirror.replace("prefix = \"registry.example.com\"\n", ""),
        mirror.replace("[[registry]]", "[[Registry]]").replace("[[registry.mirror]]", "[[Registry.Mirror]]"),
        mirror.replace("prefix = \"registry.example.com\"", "prefix = \"*.example.com\""),
        mirror.replace("prefix = \"registry.example.com\"", "prefix = \"registry.example.com/pay/api\""),
        // The gate's name with the registry as its mirror is one as well.
        mirror
            .replace("\nlocation = \"registry", "\nlocation = \"gate")
            .replace("gate.example.com:5001", "other.example.com"),
    ] {
        let (state, said) = Node::new(&[(CONF, &text)]).worst("containers", NAME);
        assert_eq!(state, State::Around, "{text}: {said}");
        assert!(said.contains("when that says no") && said.contains("no [[registry.mirror]]"), "{said}");
    }
    let rewritten = "[[registry]]\nprefix = \"registry.example.com\"\nlocation = \"gate.example.com:5001\"\n";
    for text in [
        rewritten.to_owned(),
        String::new(),
        "unqualified-search-registries = [\"docker.io\"]\n".to_owned(),
        mirror.replace("registry.example.com", "other.example.com"),
        mirror.replace("prefix = \"registry.example.com\"", "prefix = \"registry.example.co\""),
        mirror.replace("prefix = \"registry.example.com\"", "prefix = \"registry.example.com/payroll\""),
        mirror.replace("[[registry.mirror]]", "blocked = true\n[[registry.mirror]]"),
        // The longest prefix alone counts.
        format!(
            "{mirror}{}",
            rewritten.replace("prefix = \"registry.example.com", "prefix = \"registry.example.com/pay")
        ),
    ] {
        let (state, said) = Node::new(&[(CONF, &text)]).worst("containers", NAME);
        assert_eq!(state, State::Fine, "{text}: {said}");
    }
}

#[test]
fn drop_ins_and_files_of_users_count_as_the_tools_read_them() {
    let entry = |mirror: &str| format!("[[registry]]\nlocation = \"registry.example.com\"\n{mirror}");
    let (with, without) = (entry("[[registry.mirror]]\nlocation = \"gate:1\"\n"), entry(""));
    let drop_in = "etc/containers/registries.conf.d/50.conf";
    let (own, own_drop_in) =
        ("root/.config/containers/registries.conf", "root/.config/containers/registries.conf.d/a.conf");
    for (files, expected) in [
        (vec![(drop_in, with.as_str())], State::Around),
        (vec![(CONF, &without), (drop_in, &with)], State::Around),
        (vec![(CONF, &with), (drop_in, &without)], State::Fine),
        (vec![("etc/containers/registries.conf.d/50.conf.bak", &with)], State::Fine),
        (vec![(own, &with)], State::Around),
        (vec![(own_drop_in, &with)], State::Around),
        // The system's tools read the system's file all the same.
        (vec![(CONF, &with), (own, &without)], State::Around),
        (vec![(CONF, "[[registry")], State::Unknown),
        (vec![(CONF, "registry = 5")], State::Unknown),
        (vec![(CONF, "[[registry]]\nblocked = \"no\"\nlocation = \"a\"")], State::Unknown),
        (vec![(CONF, "[[registry]]\ninsecure = true")], State::Unknown),
        (vec![(CONF, "[[registry]]\nprefix = \"registry.example.com\"")], State::Unknown),
        (vec![(CONF, "[[registry]]\nprefix = \"*.example.com\"")], State::Fine),
        (vec![(drop_in, "\u{0}")], State::Unknown),
    ] {
        let (state, said) = Node::new(&files).worst("containers", NAME);
        assert_eq!(state, expected, "{files:?}: {said}");
    }
    let node = Node::new(&[("given.conf", &with)]);
    let mut question = node.question(NAME);
    question.registries_conf = Some("/given.conf".into());
    assert_eq!(worst("containers", look(&question)).0, State::Around);
    question.registries_conf = Some("/none.conf".into());
    assert_eq!(worst("containers", look(&question)).0, State::Unknown);
}

#[test]
fn a_host_of_containerd_beside_another_server_is_a_way_around() {
    for text in [
        "server = \"https://registry.example.com\"\n[host.\"https://gate.example.com:5001\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        "[host.\"https://gate.example.com:5001\"]\n",
        "server = \"https://gate.example.com:5001\"\n[host.\"https://registry.example.com\"]\n",
        "[host.\"https://gate.example.com:5001\"]\n[host.\"https://gate2.example.com\"]\n",
    ] {
        let (state, said) = Node::new(&[(HOSTS, text)]).worst("containerd", NAME);
        assert_eq!(state, State::Around, "{text}: {said}");
        assert!(said.contains("when that says no") && said.contains("no [host]"), "{said}");
    }
    for text in [
        "server = \"https://gate.example.com:5001\"\n",
        "server = \"https://gate.example.com:5001\"\n[host.\"https://gate.example.com:5001/v2/\"]\n",
        "server = \"https://gate.example.com:5001\"\n[host.\"https://registry.example.com\"]\ncapabilities = [\"push\"]\n",
        "server = \"https://registry.example.com\"\ncapabilities = [\"push\"]\n[host.\"https://gate.example.com:5001\"]\n",
        "",
    ] {
        let (state, said) = Node::new(&[(HOSTS, text)]).worst("containerd", NAME);
        assert_eq!(state, State::Fine, "{text}: {said}");
    }
    for text in [
        "server = 5",
        "server = [",
        "host = 5",
        "[host]\nx = 5",
        "capabilities = \"pull\"",
        "Server = \"a\"\nserver = \"b\"",
    ] {
        let (state, said) = Node::new(&[(HOSTS, text)]).worst("containerd", NAME);
        assert_eq!(state, State::Unknown, "{text}: {said}");
    }
}

#[test]
fn containerd_is_read_where_its_configuration_says() {
    let way_around = "[host.\"https://gate.example.com\"]\n";
    let fine = "server = \"https://gate.example.com\"\n";
    let config =
        |plugin: &str| format!("version = 2\n[plugins.\"{plugin}\".registry]\nconfig_path = \"/opt/certs:/x\"\n");
    let old = "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"registry.example.com\"]\nendpoint = [\"https://gate\"]\n";
    let main = "etc/containerd/config.toml";
    for (files, expected) in [
        (
            vec![
                (main, config("io.containerd.grpc.v1.cri")),
                ("opt/certs/registry.example.com/hosts.toml", way_around.into()),
            ],
            State::Around,
        ),
        (
            vec![(main, config("io.containerd.cri.v1.images")), ("opt/certs/_default/hosts.toml", way_around.into())],
            State::Around,
        ),
        (
            vec![
                (main, "[plugins.\"io.containerd.transfer.v1.local\"]\nconfig_path = \"/x\"".into()),
                ("x/_default/hosts.toml", way_around.into()),
            ],
            State::Around,
        ),
        (vec![("etc/containerd/certs.d/_default/hosts.toml", way_around.into()), (HOSTS, fine.into())], State::Fine),
        (vec![(main, old.into())], State::Around),
        (vec![(main, old.replace("registry.example.com", "*"))], State::Around),
        (vec![(main, old.replace("registry.example.com", "other"))], State::Fine),
        (
            vec![(main, "imports = [\"conf.d/*.toml\"]".into()), ("etc/containerd/conf.d/a.toml", old.into())],
            State::Around,
        ),
        (vec![(main, "imports = [\"/a/*/b.toml\"]".into())], State::Unknown),
        (vec![(main, "x".into())], State::Unknown),
        (vec![("etc/rancher/k3s/registries.yaml", "mirrors: {}".into())], State::Unknown),
        (vec![], State::Fine),
    ] {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let (state, said) = Node::new(&files).worst("containerd", NAME);
        assert_eq!(state, expected, "{files:?}: {said}");
    }
    let name = "registry.example.com:5000/pay";
    for folder in ["registry.example.com_5000_", "registry.example.com:5000"] {
        let path = format!("etc/containerd/certs.d/{folder}/hosts.toml");
        assert_eq!(Node::new(&[(&path, way_around)]).worst("containerd", name).0, State::Around, "{folder}");
    }
}

#[test]
fn mirrors_of_docker_are_a_way_around_for_the_hub_and_nothing_for_others() {
    let file = "etc/docker/daemon.json";
    let text = r#"{"registry-mirrors": ["https://gate.example.com"], "log-level": "warn"}"#;
    let node = Node::new(&[(file, text)]);
    let (state, said) = node.worst("docker", "docker.io/library");
    assert!(state == State::Around && said.contains("goes on to docker.io"), "{said}");
    let (state, said) = node.worst("docker", NAME);
    assert!(state == State::Note && said.contains("Docker Hub's names alone"), "{said}");
    for (text, expected) in [
        ("{}", State::Fine),
        ("", State::Fine),
        (r#"{"registry-mirrors": []}"#, State::Fine),
        ("{", State::Unknown),
        ("[]", State::Unknown),
        (r#"{"registry-mirrors": "https://gate"}"#, State::Unknown),
        (r#"{"registry-mirrors": [], "Registry-Mirrors": ["https://gate"]}"#, State::Unknown),
    ] {
        assert_eq!(Node::new(&[(file, text)]).worst("docker", "docker.io/library").0, expected, "{text}");
    }
    let rootless = Node::new(&[("root/.config/docker/daemon.json", text)]);
    assert_eq!(rootless.worst("docker", "docker.io/library").0, State::Around);
}

#[test]
fn where_the_gate_is_known_every_other_place_is_past_it() {
    let (conf, hosts) = (
        "[[registry]]\nprefix = \"registry.example.com\"\nlocation = \"GATE/registry\"\n",
        "server = \"https://GATE\"\n",
    );
    for (gate, expected) in [("gate.example.com", State::Fine), ("elsewhere.example.com", State::Around)] {
        let (conf, hosts) = (conf.replace("GATE", gate), hosts.replace("GATE", gate));
        let node = Node::new(&[(CONF, &conf), (HOSTS, &hosts)]);
        let mut question = node.question(NAME);
        question.gate = Some("gate.example.com:443".to_owned());
        for tool in ["containers", "containerd"] {
            let (state, said) = worst(tool, look(&question));
            assert_eq!(state, expected, "{said}");
        }
        // Nothing of docker's leads there, if there is a docker.
        assert_eq!(worst("docker", look(&question)).0, State::Note);
    }
    // A tool that is there and knows of no gate goes past it.
    let files = [(CONF, ""), ("etc/containerd/config.toml", "version = 2\n"), ("etc/docker/daemon.json", "{}")];
    let node = Node::new(&files);
    let mut question = node.question(NAME);
    question.gate = Some("gate.example.com".to_owned());
    for tool in ["containers", "containerd", "docker"] {
        let (state, said) = worst(tool, look(&question));
        assert!(state == State::Around && said.contains("past the gate"), "{said}");
    }
}

/// The worst of each tool, and of the node, where the gate is known.
fn with_gate(files: &[(&str, &str)], gate: &str, tool: &str) -> (State, String) {
    let node = Node::new(files);
    let mut question = node.question(NAME);
    question.gate = Some(gate.to_owned());
    worst(tool, look(&question))
}

#[test]
fn a_tool_that_is_there_and_has_no_settings_goes_past_the_gate() {
    let gate = "gate.example.com";
    for (tool, sign) in [
        ("containers", "usr/bin/podman"),
        ("containers", "usr/sbin/crio"),
        ("containers", "root/.local/share/containers/x"),
        ("containerd", "usr/local/bin/containerd"),
        ("containerd", "var/lib/rancher/x"),
        ("docker", "usr/bin/dockerd"),
        ("docker", "var/lib/docker/x"),
    ] {
        let (state, said) = with_gate(&[(sign, "")], gate, tool);
        assert_eq!(state, State::Around, "{sign}: {said}");
        let shown = sign.trim_end_matches("/x");
        assert!(said.contains("nothing is configured") && said.contains(&format!("(/{shown} is there)")), "{said}");
        for other in ["containers", "containerd", "docker"].into_iter().filter(|other| *other != tool) {
            let (state, said) = with_gate(&[(sign, "")], gate, other);
            assert!(state == State::Note && said.contains("no such tool is seen"), "{sign}: {said}");
        }
        assert_eq!(Node::new(&[(sign, "")]).worst(tool, NAME).0, State::Fine, "no gate is known: {sign}");
    }
}

#[test]
fn a_node_on_which_nothing_is_seen_is_not_called_healthy() {
    let (state, said) = with_gate(&[("etc/hostname", "x")], "gate.example.com", "node");
    assert!(state == State::Unknown && said.contains("no container tool is seen"), "{said}");
    assert!(said.contains("podman") && said.contains("containerd") && said.contains("dockerd"), "{said}");
    let node = Node::new(&[("usr/bin/podman", "")]);
    let mut question = node.question(NAME);
    question.gate = Some("gate.example.com".to_owned());
    assert!(look(&question).iter().all(|finding| finding.tool != "node"));
    question.gate = None;
    assert!(look(&question).iter().all(|finding| finding.tool != "node"));
}

#[test]
fn an_engine_that_asks_the_plugin_goes_around_nothing() {
    let file = "etc/docker/daemon.json";
    let repository = include_str!("../../../../deploy/docker/daemon.json");
    for text in [
        repository,
        r#"{"authorization-plugins": ["other", "trustgate"], "registry-mirrors": ["https://m.example.com"]}"#,
    ] {
        let (state, said) = with_gate(&[(file, text)], "gate.example.com", "docker");
        assert!(state == State::Fine && said.contains("by the authorization plugin trustgate"), "{said}");
        assert_eq!(Node::new(&[(file, text)]).worst("docker", "docker.io/library").0, State::Fine, "{text}");
    }
    let other = r#"{"authorization-plugins": ["opa"]}"#;
    let (state, said) = with_gate(&[(file, other)], "gate.example.com", "docker");
    assert!(state == State::Note && said.contains("by the authorization plugin opa, if that is trust-gate"), "{said}");
    for (text, expected) in [
        (r#"{"authorization-plugins": []}"#, State::Around),
        (r#"{"authorization-plugins": "trustgate"}"#, State::Unknown),
        (r#"{"authorization-plugins": ["trustgate"], "Authorization-Plugins": []}"#, State::Unknown),
    ] {
        assert_eq!(with_gate(&[(file, text)], "gate.example.com", "docker").0, expected, "{text}");
    }
}

#[test]
fn a_containerd_that_asks_the_image_verifier_goes_around_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let (main, program) = ("etc/containerd/config.toml", "trust-containerd-verifier");
    let folder = "opt/containerd/image-verifier/bin";
    let repository = include_str!("../../../../deploy/containerd/config.toml");
    let look_at = |config: Option<&str>, files: &[&str], mode: u32| {
        let node = Node::new(&[]);
        let write = |path: &str, text: &str, mode: u32| {
            let path = node.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        config.iter().for_each(|config| write(main, config, 0o644));
        // A mirror before the registry, which goes around a gate.
        write(HOSTS, "[host.\"https://gate.example.com\"]\n", 0o644);
        files.iter().for_each(|file| write(file, "", mode));
        let mut question = node.question(NAME);
        question.gate = Some("gate.example.com".to_owned());
        worst("containerd", look(&question))
    };
    let usual = format!("{folder}/{program}");
    let usual: &[&str] = &[&usual];
    for (config, files) in [
        (Some(repository), usual),
        (None, usual),
        (
            Some(&repository.replace("/opt/", "/srv/")),
            &["srv/containerd/image-verifier/bin/00-trust-containerd-verifier"],
        ),
    ] {
        let (state, said) = look_at(config, files, 0o755);
        assert!(state == State::Fine && said.contains("by the image verifier /"), "{config:?}: {said}");
    }
    let elsewhere = repository.replace("/opt/", "/srv/");
    for (config, files) in
        [(repository, &[][..]), (repository, &["opt/containerd/image-verifier/bin/other"]), (&elsewhere, usual)]
    {
        let (state, said) = look_at(Some(config), files, 0o755);
        assert!(state == State::Around && !said.contains("image verifier"), "{config}: {said}");
    }
    let images = "[plugins.\"io.containerd.cri.v1.images\"]\n";
    let cri = "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n";
    let kubernetes = |setting: &str| format!("{repository}\n{setting}\n");
    for config in [
        repository.replace("version = 3", "version = 1"),
        format!("disabled_plugins = [\"io.containerd.image-verifier.v1.bindir\"]\n{repository}"),
        format!("disabled_plugins = [\"io.containerd.transfer.v1.local\"]\n{repository}"),
        repository.replace("max_verifiers = 10", "max_verifiers = 0"),
        kubernetes(&format!("{images}use_local_image_pull = true")),
        kubernetes(&format!("{images}max_concurrent_downloads = 5")),
        kubernetes(&format!("{cri}disable_snapshot_annotations = false")),
        kubernetes("[plugins.\"io.containerd.cri.v1.images\".registry.configs.\"a\"]\nx = 1"),
    ] {
        let (state, said) = look_at(Some(&config), usual, 0o755);
        assert!(state == State::Around && said.contains("containerd"), "{config}: {said}");
        assert!(said.contains("is not asked about every pull") || said.contains("when that says no"), "{said}");
    }
    assert_eq!(
        look_at(Some(&kubernetes(&format!("{images}max_concurrent_downloads = 3"))), usual, 0o755).0,
        State::Fine
    );
    assert_eq!(look_at(Some(repository), usual, 0o644).0, State::Around, "a program that cannot run");
    assert_eq!(look_at(Some(&repository.replace("= 10", "= \"x\"")), usual, 0o755).0, State::Around);
}

#[test]
fn an_import_of_an_import_is_read_too() {
    let old = "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"registry.example.com\"]\nendpoint = [\"https://gate\"]\n";
    let files = [
        ("etc/containerd/config.toml", "imports = [\"conf.d/a.toml\"]"),
        ("etc/containerd/conf.d/a.toml", "imports = [\"more/*.toml\", \"../config.toml\"]"),
        ("etc/containerd/conf.d/more/b.toml", old),
    ];
    let (state, said) = Node::new(&files).worst("containerd", NAME);
    assert!(state == State::Around && said.contains("/more/b.toml"), "{said}");
}

#[test]
fn the_scheme_by_which_a_node_reaches_the_gate_is_the_one_that_is_advised() {
    let gate = "gate.example.com:5001";
    for (given, scheme, expected) in [
        (gate, "http", "server = \"http://gate.example.com:5001\""),
        (gate, "https", "server = \"https://gate.example.com:5001\""),
        ("https://gate.example.com:5001", "http", "server = \"http://gate.example.com:5001\""),
    ] {
        let hosts = format!("server = \"http://registry.example.com\"\n[host.\"{scheme}://{gate}\"]\n");
        let (state, said) = with_gate(&[(HOSTS, &hosts)], given, "containerd");
        assert!(state == State::Around && said.contains(expected), "{said}");
    }
    let (_, said) = with_gate(&[(HOSTS, "server = \"http://registry.example.com\"")], gate, "containerd");
    assert!(said.contains("server = \"https://gate.example.com:5001\""), "{said}");
    let mirror = "[[registry]]\nlocation = \"registry.example.com\"\n[[registry.mirror]]\nlocation = \"gate.example.com:5001\"\n";
    let (_, said) = with_gate(&[(CONF, mirror)], "http://gate.example.com:5001", "containers");
    assert!(said.contains("location = \"gate.example.com:5001\""), "{said}");
}

#[test]
fn nothing_pinned_is_nothing_to_look_for() {
    let node = Node::new(&[(CONF, "[[registry")]);
    let mut question = node.question(NAME);
    question.names.clear();
    assert!(look(&question).is_empty());
}
