//! Rotation step by step, killed between any two writes, and what is refused.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

const NAME: &str = "trust-gate.trust-gate.svc";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn names() -> Vec<String> {
    vec![NAME.to_owned(), "127.0.0.1".to_owned()]
}

fn made() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).unwrap();
    folder.make(&names(), 365, now()).unwrap();
    (dir, folder)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Whoever believes the bundle believes what is served.
#[track_caller]
fn holds_together(dir: &Path) {
    let (chain, bundle) = (fs::read(dir.join("tls.crt")).unwrap(), fs::read(dir.join("bundle.crt")).unwrap());
    is_believed(&chain, &bundle, NAME, now()).unwrap();
    Certificate::load(&dir.join("tls.crt"), &dir.join("tls.key")).unwrap();
}

fn authorities(dir: &Path) -> usize {
    fs::read_to_string(dir.join("bundle.crt")).unwrap().matches("BEGIN CERTIFICATE").count()
}

#[test]
fn what_is_made_is_believed_for_its_names_alone_and_until_its_end() {
    let (dir, folder) = made();
    let (chain, bundle) =
        (fs::read(dir.path().join("tls.crt")).unwrap(), fs::read(dir.path().join("bundle.crt")).unwrap());
    for name in names() {
        is_believed(&chain, &bundle, &name, now()).unwrap();
        is_believed(&chain, &bundle, &name, now() + 364 * DAY).unwrap();
        assert!(is_believed(&chain, &bundle, &name, now() + 366 * DAY).is_err());
        assert!(is_believed(&chain, &bundle, &name, now() - DAY).is_err());
    }
    assert!(is_believed(&chain, &bundle, "other.trust-gate.svc", now()).is_err());
    let other = made();
    let strange = fs::read(other.0.path().join("bundle.crt")).unwrap();
    assert!(is_believed(&chain, &strange, NAME, now()).is_err());
    for (name, mode) in [("authority.key", 0o600), ("tls.key", 0o600), ("authority.crt", 0o644), ("bundle.crt", 0o644)]
    {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(folder.ca_bundle().unwrap(), Base64::encode_string(&bundle));
    let shown = folder.show(now()).unwrap().holds.join("\n");
    assert!(shown.contains("certificate until 2028-01-15T08:00:00Z, by the authority, for trust-gate"), "{shown}");
}

#[test]
fn what_is_there_is_not_made_again() {
    let (dir, folder) = made();
    let before = files(dir.path());
    let report = folder.make(&names(), 365, now()).unwrap();
    assert!(report.done.is_empty());
    assert_eq!(files(dir.path()), before);
    // An expired one is issued anew, by the same authority.
    let report = folder.make(&names(), 365, now() + 366 * DAY).unwrap();
    assert_eq!(report.done, ["issued the certificate"]);
    assert_eq!(files(dir.path())["authority.crt"], before["authority.crt"]);
    assert_eq!(files(dir.path())["bundle.crt"], before["bundle.crt"]);
}

#[test]
fn an_authority_is_rotated_with_overlap_and_each_step_may_be_repeated() {
    let (dir, folder) = made();
    let old = files(dir.path());
    assert!(folder.rotate(Step::Switch, 365, now()).unwrap_err().to_string().contains("introduce"));
    for _ in 0..2 {
        folder.rotate(Step::Introduce, 365, now()).unwrap();
        assert_eq!(authorities(dir.path()), 2);
        assert_eq!(files(dir.path())["tls.crt"], old["tls.crt"], "the old one serves on");
        holds_together(dir.path());
    }
    let introduced = files(dir.path());
    let refused = folder.rotate(Step::Retire, 365, now()).unwrap_err().to_string();
    assert!(refused.contains("still one of the old authority"), "{refused}");
    assert_eq!(files(dir.path()), introduced, "a refused step changes nothing");
    let mut served = Vec::new();
    for _ in 0..2 {
        folder.rotate(Step::Switch, 365, now()).unwrap();
        served.push(files(dir.path())["tls.crt"].clone());
        assert_eq!(authorities(dir.path()), 2);
        holds_together(dir.path());
    }
    assert_eq!(served[0], served[1]);
    // Who only knows the old bundle does not believe it: which is why the bundle goes first.
    assert!(is_believed(&served[0], &old["bundle.crt"], NAME, now()).is_err());
    is_believed(&served[0], &introduced["bundle.crt"], NAME, now()).unwrap();
    for _ in 0..2 {
        folder.rotate(Step::Retire, 365, now()).unwrap();
        assert_eq!(authorities(dir.path()), 1);
        holds_together(dir.path());
        assert!(is_believed(&old["tls.crt"], &files(dir.path())["bundle.crt"], NAME, now()).is_err());
        assert!(!dir.path().join("next-authority.key").exists());
    }
    // And once more, from the beginning.
    for step in [Step::Introduce, Step::Switch, Step::Retire] {
        folder.rotate(step, 365, now()).unwrap();
        holds_together(dir.path());
    }
}

#[test]
fn a_renewal_in_the_middle_of_a_rotation_stays_with_the_authority_that_serves() {
    let (dir, folder) = made();
    folder.rotate(Step::Introduce, 365, now()).unwrap();
    folder.renew(30, now()).unwrap();
    assert!(is_believed(&files(dir.path())["tls.crt"], &files(dir.path())["authority.crt"], NAME, now()).is_ok());
    folder.rotate(Step::Switch, 365, now()).unwrap();
    folder.renew(30, now()).unwrap();
    assert!(is_believed(&files(dir.path())["tls.crt"], &files(dir.path())["next-authority.crt"], NAME, now()).is_ok());
    folder.make(&names(), 365, now()).unwrap();
    assert!(is_believed(&files(dir.path())["tls.crt"], &files(dir.path())["next-authority.crt"], NAME, now()).is_ok());
    folder.rotate(Step::Retire, 365, now()).unwrap();
    holds_together(dir.path());
}

/// The folder after every write of a step, as if it had been killed there: each file as before or as after, in the order in
/// which the step writes.
fn killed(
    before: &BTreeMap<String, Vec<u8>>,
    after: &BTreeMap<String, Vec<u8>>,
    order: &[&str],
) -> Vec<BTreeMap<String, Vec<u8>>> {
    let mut states = vec![before.clone()];
    for name in order {
        let mut state = states.last().unwrap().clone();
        match after.get(*name) {
            Some(bytes) => state.insert((*name).to_owned(), bytes.clone()),
            None => state.remove(*name),
        };
        states.push(state);
    }
    assert_eq!(states.last(), Some(after), "the order names every file that changes");
    states
}

fn put(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn a_step_that_was_killed_after_any_of_its_writes_is_repeated_and_ends_where_it_would_have() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::look(dir.path());
    type Work = Box<dyn Fn(&Folder) -> Result<Report, CertificateError>>;
    let rotate = |step| -> Work { Box::new(move |folder: &Folder| folder.rotate(step, 365, now())) };
    let steps: [(Work, &[&str], usize); 4] = [
        (
            Box::new(|folder: &Folder| folder.make(&names(), 365, now())),
            &["names", "authority.key", "authority.crt", "bundle.crt", "tls.key", "tls.crt"],
            1,
        ),
        (rotate(Step::Introduce), &["next-authority.key", "next-authority.crt", "bundle.crt"], 2),
        (rotate(Step::Switch), &["tls.key", "tls.crt"], 2),
        (
            rotate(Step::Retire),
            &["authority.crt", "next-authority.crt", "authority.key", "next-authority.key", "bundle.crt"],
            1,
        ),
    ];
    for (number, (work, order, wanted)) in steps.iter().enumerate() {
        let before = files(dir.path());
        work(&folder).unwrap();
        let after = files(dir.path());
        for (at, state) in killed(&before, &after, order).into_iter().enumerate() {
            // A rename takes away and gives at once.
            if number == 3 && matches!(at, 1 | 3) {
                continue;
            }
            put(dir.path(), &state);
            // What a killed write leaves beside is in nobody's way.
            fs::write(dir.path().join(".tls.crt.new"), "half").unwrap();
            work(&folder).unwrap_or_else(|error| panic!("step {number}, killed after {at} writes: {error}"));
            holds_together(dir.path());
            assert_eq!(authorities(dir.path()), *wanted, "step {number}, killed after {at} writes");
            assert_eq!(dir.path().join("next-authority.key").exists(), *wanted == 2, "step {number}, {at}");
        }
        put(dir.path(), &after);
    }
}

#[test]
fn names_that_no_certificate_has_and_folders_of_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::take(dir.path()).unwrap();
    for name in ["", "a b", "Trust.svc", "*.svc", "a..b", "-a", "a-", "x\n", "https://a", &"a".repeat(64)] {
        assert!(matches!(folder.make(&[name.to_owned()], 365, now()), Err(CertificateError::Name(_))), "{name}");
    }
    for days in [0, MAX_DAYS + 1] {
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::take(dir.path()).unwrap().make(&names(), days, now()).is_err(), "{days}");
    }
    assert!(folder.rotate(Step::Introduce, 365, now()).unwrap_err().to_string().contains("begin with `make`"));
    assert!(folder.show(now()).is_err());
    assert!(Folder::take(dir.path()).is_err(), "one process at a time");
    folder.make(&names(), 365, now()).unwrap();
    let refused = folder.make(&["other.svc".to_owned()], 365, now()).unwrap_err().to_string();
    assert!(refused.contains("this folder is for trust-gate.trust-gate.svc"), "{refused}");
    // The key of an authority that is gone is not replaced by another behind everybody's back.
    fs::remove_file(dir.path().join("authority.key")).unwrap();
    assert!(folder.make(&names(), 365, now()).unwrap_err().to_string().contains("bring the key back"));
}
