//! The tour in the README, run as it stands: every block marked `sh tour`, in order, in one shell. Only the ports are
//! others, so that it can run beside everything else, and the programs are the built ones.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use trust_tests::stack::{target_dir, tool, tools_dir, write_private};

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The lines of the tour, without the block that builds and fetches.
fn tour() -> Vec<String> {
    let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let blocks: Vec<&str> = text.split("```sh tour\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() > 8, "the tour has only {} blocks", blocks.len());
    assert!(blocks[0].contains("cargo build"), "the first block builds");
    blocks[1..].iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
}

#[test]
fn the_tour_of_the_readme_does_what_it_says() {
    for program in ["docker-registry", "skopeo"] {
        if tool(program).is_none() {
            println!("SKIPPED: the_tour_of_the_readme_does_what_it_says: {program} is missing");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (registry, server) = (format!("127.0.0.1:{}", port()), format!("127.0.0.1:{}", port()));
    let mut script =
        String::from("set -u\nexport XDG_CONFIG_HOME=$PWD/config XDG_DATA_HOME=$PWD/data XDG_STATE_HOME=$PWD/state\n");
    let mut checked = 0;
    // Inside `<<END … END`: lines of a file, and no commands.
    let mut in_file = false;
    for line in tour() {
        let line = line.replace("127.0.0.1:5000", &registry).replace("127.0.0.1:4480", &server);
        if in_file || line.ends_with("<<END") {
            in_file = line != "END";
            script.push_str(&format!("{line}\n"));
            continue;
        }
        // The last block takes the folder away; here the test does.
        if line.starts_with("cd ..") || line.starts_with("rm -r") {
            continue;
        }
        let (command, exit) = match line.rsplit_once("# exit ") {
            Some((command, exit)) => (command.trim_end().to_owned(), exit.trim().parse::<u8>().unwrap()),
            None => (line.clone(), 0),
        };
        script.push_str(&format!("{command}\n"));
        let runs_on = command.trim_end().ends_with('&') || command.contains("() {") || command.trim().is_empty();
        if !runs_on && !command.starts_with("kill") {
            checked += 1;
            script.push_str(&format!("code=$?; [ $code -eq {exit} ] || {{ echo \"TOUR: exit $code, not {exit}: \"'{}'; kill $(jobs -p); exit 1; }}\n", command.replace('\'', "'\\''")));
        }
    }
    script.push_str("kill $(jobs -p) 2>/dev/null; wait; exit 0\n");
    assert!(checked > 20, "only {checked} lines are checked");
    let passphrase = dir.path().join("passphrase");
    write_private(&passphrase, b"the passphrase of the tour\n").unwrap();
    let work = dir.path().join("tour");
    fs::create_dir(&work).unwrap();
    fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("timeout")
        .args(["--kill-after=5", "120", "bash", "-m", "-c", &script])
        .current_dir(&work)
        .env_clear()
        .env("PATH", format!("{}:{}:{path}", target_dir().display(), tools_dir().join("bin").display()))
        .env("HOME", dir.path())
        .env("TRUST_PASSPHRASE_FILE", &passphrase)
        .env("TRUST_ROOT_PASSPHRASE_FILE", &passphrase)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
