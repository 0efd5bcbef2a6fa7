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

#[test]
fn nothing_pinned_is_nothing_to_look_for() {
    let node = Node::new(&[(CONF, "[[registry")]);
    let mut question = node.question(NAME);
    question.names.clear();
    assert!(look(&question).is_empty());
}
