//! Files of container tools that lead around a gate, or that nobody can read: `trust doctor` says so.

use std::fs;
use std::path::Path;

use super::cli_world::World;
use super::fifo;

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What a machine's own files say, and those of a disk that is mounted somewhere.
pub fn nodes(world: &mut World) {
    let (ops, registry) = (world.ops.clone(), world.registry.address().to_owned());
    let around =
        format!("[[registry]]\nlocation = \"{registry}\"\n[[registry.mirror]]\nlocation = \"gate.example.com\"\n");
    let says = ["✗ containers", "around the gate", "no [[registry.mirror]]"];

    let own = ops.home.join(".config/containers/registries.conf");
    write(&own, &around);
    world.refused("my own file of mirrors", &ops, &["doctor"], 60, &says);
    let arguments = ["doctor", "--gate", "gate.example.com"];
    world.refused("a mirror that is the gate goes around it all the same", &ops, &arguments, 60, &says);
    fs::remove_file(&own).unwrap();
    world.refused("no file of mirrors", &ops, &["doctor"], 0, &["healthy"]);
    let given = ops.home.join("given.conf");
    write(&given, &around);
    let run = world.run_with(&ops, &["doctor"], |c| {
        c.env("CONTAINERS_REGISTRIES_CONF", &given);
    });
    world.expect("a file of mirrors in a variable", &run, 60, &says);
    let run = world.run_with(&ops, &["doctor"], |c| {
        c.env("CONTAINERS_REGISTRIES_CONF", "/nowhere/x");
    });
    world.expect("a file in a variable that is not there", &run, 0, &["! containers", "unknown: ", "warnings: 1"]);

    // What is not understood is unknown: a warning where nobody asked for it, a problem where somebody did.
    let conf = "etc/containers/registries.conf";
    let cases: [(&str, &str, Vec<u8>); 7] = [
        ("no TOML", conf, b"[[registry".to_vec()),
        ("another type", conf, b"registry = 5".to_vec()),
        ("bytes", conf, vec![0xff, 0xfe]),
        ("too large", conf, vec![b'#'; 2 * 1024 * 1024]),
        ("deep TOML", "etc/containerd/config.toml", format!("a = {}", "[".repeat(100_000)).into_bytes()),
        ("deep JSON", "etc/docker/daemon.json", "[".repeat(100_000).into_bytes()),
        ("no JSON", "etc/docker/daemon.json", b"{".to_vec()),
    ];
    for (what, file, text) in cases {
        let node = ops.home.join("bad-node");
        write(&node.join(file), text);
        world.refused(&format!("{what} in {file}"), &ops, &["doctor", "--node-root", "bad-node"], 60, &["unknown: "]);
        fs::remove_dir_all(node).unwrap();
    }
    let node = ops.home.join("bad-node");
    fs::create_dir_all(node.join("etc/containers")).unwrap();
    fifo(&node.join(conf));
    world.refused("a pipe", &ops, &["doctor", "--node-root", "bad-node"], 60, &["unknown: ", "is no file"]);
    fs::remove_dir_all(&node).unwrap();

    // Where the gate is known, what is not configured pulls past it, and a folder without any tool is no node.
    let arguments = ["doctor", "--node-root", "bad-node", "--gate", "gate.example.com"];
    fs::create_dir(&node).unwrap();
    world.refused("an empty disk", &ops, &arguments, 60, &["✗ node", "no container tool is seen", "--node-root DIR"]);
    for (tool, program) in [("containers", "podman"), ("containerd", "containerd"), ("docker", "dockerd")] {
        write(&node.join("usr/bin").join(program), "");
        let says = [&format!("✗ {tool}")[..], "nothing is configured", "past the gate gate.example.com", "is there)"];
        world.refused(&format!("{tool} without settings"), &ops, &arguments, 60, &says);
        fs::remove_dir_all(node.join("usr")).unwrap();
    }
    write(&node.join("etc/docker/daemon.json"), r#"{"authorization-plugins": ["trustgate"]}"#);
    world.refused("the plugin", &ops, &arguments, 0, &["by the authorization plugin trustgate", "healthy"]);
    world.refused("no such disk", &ops, &["doctor", "--node-root", "nowhere"], 35, &["nowhere"]);
    let arguments = ["doctor", "--offline", "--unreachable", &registry];
    world.refused("offline nothing is tried", &ops, &arguments, 0, &["! reach", "not tried: offline"]);
}
