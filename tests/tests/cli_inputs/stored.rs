//! The trusted state on disk: damaged, of a wrong kind, put back, or of another owner.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use trust_tests::stack::{Person, built};

use super::cli_world::World;
use super::{SOON, api, chmod, copy_all, fifo};

/// The trusted state of `ops`, damaged in many ways. Nothing of it may be taken for a first use.
pub fn state(world: &mut World) {
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
pub fn other_owners(world: &mut World) {
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
