//! Whether containerd really asks: its configuration, and the folder of its verifiers.
//!
//! containerd allows everything if the folder is absent or empty, passes over what comes after the first few files, and, for
//! Kubernetes, pulls without asking at all once some unrelated setting makes it fall back. None of this shows. Invariant: what
//! cannot be read is a problem, and never passed over. Deliberately absent: changing anything, and patterns of imports beyond one `*`: they
//! are a problem.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use toml::{Table, Value};

use crate::cli::Failure;

/// The name of the verifier's program.
pub const VERIFIER: &str = "trust-containerd-verifier";
/// Where containerd looks if nothing is said.
const BIN_DIR: &str = "/opt/containerd/image-verifier/bin";
/// How many it asks if nothing is said.
const MAX_VERIFIERS: i64 = 10;
/// The verifier's own time, and some to start.
const MIN_TIMEOUT: Duration = Duration::from_secs(4);
/// Files that one configuration imports, directly or through others.
const MAX_FILES: usize = 100;
/// The largest configuration, in bytes.
const MAX_CONFIG: u64 = 1024 * 1024;

const VERIFIERS: &str = "io.containerd.image-verifier.v1.bindir";
const TRANSFER: &str = "io.containerd.transfer.v1.local";
/// Where the settings of Kubernetes' images stand: in files of version 3, and of version 2.
const IMAGES: &str = "io.containerd.cri.v1.images";
const CRI: &str = "io.containerd.grpc.v1.cri";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// Somebody has to look.
    Note(String),
    /// An image can come in unasked, or none at all.
    Problem(String),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Good(text) => write!(f, "good     {text}"),
            Self::Note(text) => write!(f, "note     {text}"),
            Self::Problem(text) => write!(f, "problem  {text}"),
        }
    }
}

fn good(text: impl Into<String>) -> Finding {
    Finding::Good(text.into())
}

fn problem(text: impl Into<String>) -> Finding {
    Finding::Problem(text.into())
}

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The configuration of containerd.
    #[arg(long, value_name = "FILE", default_value = "/etc/containerd/config.toml")]
    containerd: PathBuf,
}

/// Tells what is found on this machine. A problem is a failure.
pub(crate) fn run(command: &Doctor) -> Result<(), Failure> {
    let found = examine(&command.containerd, 0);
    let mut text = String::new();
    for finding in &found {
        text.push_str(&format!("{finding}\n"));
    }
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(Failure::local(e)),
        _ => {}
    }
    let problems = found.iter().filter(|finding| matches!(finding, Finding::Problem(_))).count();
    if problems == 0 {
        return Ok(());
    }
    Err(Failure::Found(format!("images can come in here unasked, or none at all: {problems} problem(s), see above")))
}

/// Looks at a configuration of containerd, and at what it names. Files must belong to `owner`.
pub fn examine(config: &Path, owner: u32) -> Vec<Finding> {
    let mut found = Vec::new();
    let tables = with_imports(config, &mut found);
    let before = found.len();
    for (path, table) in &tables {
        settings(path, table, &mut found);
    }
    if found.len() == before {
        found.push(good("nothing makes the pulls of Kubernetes fall back to the old way (containerd 2.1 and newer)"));
    }
    // Of files that say the same, containerd takes the last one.
    let last = |name: &str| tables.iter().rev().find_map(|(_, table)| section(table, VERIFIERS)?.get(name));
    let folder = match last("bin_dir") {
        None => Some(BIN_DIR),
        Some(folder) => folder.as_str(),
    };
    let most = last("max_verifiers").map_or(Some(MAX_VERIFIERS), Value::as_integer);
    match (folder, most) {
        (Some(folder), Some(most)) => verifiers(Path::new(folder), most, owner, &mut found),
        _ => found.push(problem("bin_dir is no text, or max_verifiers is no number")),
    }
    found
}

/// The configuration, and all that it imports, in the order in which containerd reads them.
fn with_imports(config: &Path, found: &mut Vec<Finding>) -> Vec<(PathBuf, Table)> {
    let mut tables: Vec<(PathBuf, Table)> = Vec::new();
    let mut waiting = VecDeque::from([config.to_owned()]);
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        // Each file once, however it is reached; of one that is not there the reading tells.
        if !seen.insert(std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone())) {
            continue;
        }
        if tables.len() >= MAX_FILES {
            found.push(problem(format!("more than {MAX_FILES} files are imported: not all were looked at")));
            break;
        }
        let table = match read(&path) {
            Ok(Some(table)) => table,
            Ok(None) if tables.is_empty() => {
                found
                    .push(Finding::Note(format!("{} is not there: containerd runs with its defaults", path.display())));
                Table::from_iter([("version".to_owned(), Value::Integer(3))])
            }
            Ok(None) => {
                found.push(problem(format!("{} is imported, and is not there", path.display())));
                continue;
            }
            Err(why) => {
                found.push(problem(format!("{}: {why}", path.display())));
                continue;
            }
        };
        for import in table.get("imports").and_then(Value::as_array).into_iter().flatten() {
            match import.as_str().map(|import| matching(&path.parent().unwrap_or(Path::new("/")).join(import))) {
                Some(Ok(files)) => waiting.extend(files),
                _ => found
                    .push(problem(format!("the import {import} cannot be followed: look for the same settings there"))),
            }
        }
        tables.push((path, table));
    }
    tables
}

/// The files that a path means, which may have one `*` in its last part.
fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let (folder, name) = (pattern.parent().ok_or_else(invalid)?, pattern.file_name().ok_or_else(invalid)?);
    let name = name.to_str().ok_or_else(invalid)?;
    let is_pattern = |text: &str| text.contains(['*', '?', '[', '\\']);
    if folder.to_str().is_none_or(is_pattern) {
        return Err(invalid());
    }
    let Some((before, after)) = name.split_once('*') else {
        return if is_pattern(name) { Err(invalid()) } else { Ok(vec![pattern.to_owned()]) };
    };
    if is_pattern(before) || is_pattern(after) {
        return Err(invalid());
    }
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // Nothing matches.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let fits =
            |name: &str| name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after);
        if name.to_str().is_some_and(fits) {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether nothing is wrong.
pub fn is_good(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| matches!(finding, Finding::Problem(_)))
}

/// `None`: there is no such file.
fn read(path: &Path) -> Result<Option<Table>, String> {
    let mut text = String::new();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let length = file.take(MAX_CONFIG + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if u64::try_from(length).map_or(true, |length| length > MAX_CONFIG) {
        return Err(format!("larger than {MAX_CONFIG} bytes"));
    }
    text.parse::<Table>().map(Some).map_err(|e| e.to_string().trim_end().to_owned())
}

fn section<'t>(table: &'t Table, plugin: &str) -> Option<&'t Table> {
    table.get("plugins")?.as_table()?.get(plugin)?.as_table()
}

/// What stands in one file.
fn settings(path: &Path, table: &Table, found: &mut Vec<Finding>) {
    let path = path.display();
    let version = table.get("version").and_then(Value::as_integer);
    if !matches!(version, Some(2 | 3)) {
        found
            .push(problem(format!("{path}: its version is neither 2 nor 3: such a containerd has no image verifiers")));
    }
    let disabled = table.get("disabled_plugins").and_then(Value::as_array).into_iter().flatten();
    for plugin in disabled.filter_map(Value::as_str).filter(|name| [VERIFIERS, TRANSFER].contains(name)) {
        found.push(problem(format!("{path}: disabled_plugins holds {plugin}: no verifier is asked")));
    }
    let timeout = section(table, VERIFIERS).and_then(|s| s.get("per_verifier_timeout"));
    if let Some(timeout) = timeout
        && timeout.as_str().and_then(go_duration).is_none_or(|timeout| timeout < MIN_TIMEOUT)
    {
        let wanted = MIN_TIMEOUT.as_secs();
        found.push(problem(format!(
            "{path}: per_verifier_timeout = {timeout} is below {wanted}s: a slow answer has no reason then"
        )));
    }
    falls_back(&path, table, found);
}

/// The settings with which containerd pulls for Kubernetes without the transfer service, and so without verifiers.
fn falls_back(path: &dyn std::fmt::Display, table: &Table, found: &mut Vec<Finding>) {
    let mut push = |name: &str| {
        found.push(problem(format!(
            "{path}: {name}: with it containerd pulls for Kubernetes without asking any verifier; remove it"
        )));
    };
    for (plugin, inner) in [(IMAGES, None), (CRI, None), (CRI, Some("containerd"))] {
        let Some(images) = section(table, plugin) else { continue };
        let images = match inner {
            None => images,
            Some(inner) => match images.get(inner).and_then(Value::as_table) {
                Some(images) => images,
                None => continue,
            },
        };
        let registry = images.get("registry").and_then(Value::as_table);
        for name in ["mirrors", "configs", "auths"] {
            if registry.and_then(|r| r.get(name)).and_then(Value::as_table).is_some_and(|t| !t.is_empty()) {
                push(&format!("registry.{name} is set (use registry.config_path)"));
            }
        }
        let is = |name: &str, bad: bool| images.get(name).is_some_and(|value| value.as_bool().is_none_or(|v| v == bad));
        for (name, bad) in [
            ("use_local_image_pull", true),
            ("discard_unpacked_layers", true),
            ("disable_snapshot_annotations", false),
            ("image_pull_with_sync_fs", true),
        ] {
            if is(name, bad) {
                push(&format!("{name} = {bad}"));
            }
        }
        if images.get("max_concurrent_downloads").is_some_and(|value| value.as_integer() != Some(3)) {
            push("max_concurrent_downloads is not 3");
        }
    }
}

/// What is executed: every file of the folder, in the order of names, the first `most`.
fn verifiers(folder: &Path, most: i64, owner: u32, found: &mut Vec<Finding>) {
    let shown = folder.display();
    let mut names: Vec<_> = match std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>())
    {
        Ok(names) => names,
        Err(error) => {
            found.push(problem(format!("{shown}: {error}: without this folder containerd allows everything")));
            return;
        }
    };
    names.sort();
    if let Err(why) = is_safe(folder, owner) {
        found.push(problem(format!("{shown} {why}")));
    }
    let Some(at) = names.iter().position(|name| name.to_string_lossy().ends_with(VERIFIER)) else {
        found.push(problem(match names.is_empty() {
            true => format!("{shown} is empty: containerd allows everything"),
            false => format!("{shown} holds no {VERIFIER}: images are not verified here"),
        }));
        return;
    };
    if most >= 0 && usize::try_from(most).is_ok_and(|most| at >= most) {
        let place = at.saturating_add(1);
        found.push(problem(format!(
            "{VERIFIER} is number {place} in {shown}, and containerd runs the first {most} (max_verifiers) and passes over the rest in silence"
        )));
    }
    for name in names.iter().filter(|name| !name.to_string_lossy().ends_with(VERIFIER)) {
        found.push(Finding::Note(format!("{} is executed as a verifier, too", folder.join(name).display())));
    }
    if let Some(name) = names.get(at) {
        let file = folder.join(name);
        let Ok(real) = std::fs::canonicalize(&file) else {
            found.push(problem(format!("{} leads nowhere: every pull fails", file.display())));
            return;
        };
        let is_program = std::fs::metadata(&real).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
        if !is_program {
            found.push(problem(format!("{} cannot be executed: every pull fails", real.display())));
        }
        for path in [real.as_path(), real.parent().unwrap_or(Path::new("/"))] {
            if let Err(why) = is_safe(path, owner) {
                found.push(problem(format!("{} {why}", path.display())));
            }
        }
    }
    if is_good(found) {
        found.push(good(format!("{VERIFIER} is asked about each pull that goes through the transfer service")));
    }
}

fn is_safe(path: &Path, owner: u32) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if found.uid() != owner {
        return Err(format!("belongs to user {}, and not to root", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("has mode {:04o}: others can put their own program there", found.mode() & 0o7777));
    }
    Ok(())
}

/// A duration as Go writes it, as far as whole parts go: `10s`, `1m30s`, `500ms`.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at_checked(digits)?;
        let number: u32 = number.parse().ok()?;
        let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at_checked(unit)?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number)?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A node with the verifier where it belongs.
    struct Node {
        dir: tempfile::TempDir,
    }

    impl Node {
        fn new() -> Self {
            let node = Self { dir: tempfile::tempdir().unwrap() };
            std::fs::create_dir(node.bin()).unwrap();
            std::fs::set_permissions(node.bin(), std::fs::Permissions::from_mode(0o755)).unwrap();
            node.program(VERIFIER);
            node
        }

        fn bin(&self) -> PathBuf {
            self.dir.path().join("bin")
        }

        fn program(&self, name: &str) {
            std::fs::write(self.bin().join(name), "#!/bin/sh\n").unwrap();
            self.mode(name, 0o755);
        }

        fn mode(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.bin().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn examine(&self, more: &str) -> Vec<Finding> {
            let bin = self.bin();
            let (top, more) = more.split_once("\n\n").unwrap_or(("", more));
            let text = format!("version = 3\n{top}\n[plugins.'{VERIFIERS}']\nbin_dir = '{}'\n{more}\n", bin.display());
            let file = self.dir.path().join("config.toml");
            std::fs::write(&file, text).unwrap();
            let owner = std::fs::metadata(&bin).unwrap().uid();
            examine(&file, owner)
        }

        #[track_caller]
        fn assert_problem(&self, more: &str, words: &str) {
            let found = self.examine(more);
            let hit = |finding: &Finding| matches!(finding, Finding::Problem(text) if text.contains(words));
            assert!(found.iter().any(hit), "{words}: {found:?}");
        }
    }

    #[test]
    fn a_node_as_it_should_be_has_no_problem() {
        let node = Node::new();
        for more in [
            "",
            "max_verifiers = -1",
            "per_verifier_timeout = '1m'",
            "[plugins.'io.containerd.cri.v1.images']\nmax_concurrent_downloads = 3\ndisable_snapshot_annotations = true\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'",
        ] {
            assert!(is_good(&node.examine(more)), "{:?}", node.examine(more));
        }
    }

    #[test]
    fn a_folder_that_is_absent_or_empty_allows_everything_and_is_told() {
        let node = Node::new();
        std::fs::remove_file(node.bin().join(VERIFIER)).unwrap();
        node.assert_problem("", "is empty: containerd allows everything");
        node.program("other");
        node.assert_problem("", "holds no trust-containerd-verifier");
        let missing = "version = 3\n[plugins.'io.containerd.image-verifier.v1.bindir']\nbin_dir = '/nonexistent'\n";
        let file = node.dir.path().join("other.toml");
        std::fs::write(&file, missing).unwrap();
        let found = examine(&file, 0);
        assert!(
            found.iter().any(|f| f.to_string().contains("without this folder containerd allows everything")),
            "{found:?}"
        );
        assert!(!is_good(&examine(&node.dir.path().join("none.toml"), 0)));
    }

    #[test]
    fn a_verifier_beyond_the_first_few_is_passed_over_and_is_told() {
        let node = Node::new();
        for n in 0..10 {
            node.program(&format!("a{n}"));
        }
        node.assert_problem("", "number 11");
        node.assert_problem("max_verifiers = 0", "runs the first 0");
        assert!(is_good(&node.examine("max_verifiers = 11")));
        node.assert_problem("max_verifiers = 'many'", "no number");
    }

    #[test]
    fn a_verifier_that_cannot_run_or_that_others_can_change_is_told() {
        let node = Node::new();
        node.mode(VERIFIER, 0o644);
        node.assert_problem("", "cannot be executed");
        node.mode(VERIFIER, 0o775);
        node.assert_problem("", "others can put their own program there");
        node.mode(VERIFIER, 0o755);
        std::fs::set_permissions(node.bin(), std::fs::Permissions::from_mode(0o777)).unwrap();
        node.assert_problem("", "others can put their own program there");
        std::fs::set_permissions(node.bin(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = node.dir.path().join("config.toml");
        assert!(!is_good(&examine(&file, u32::MAX)));
        std::fs::remove_file(node.bin().join(VERIFIER)).unwrap();
        std::os::unix::fs::symlink("/nonexistent", node.bin().join(VERIFIER)).unwrap();
        node.assert_problem("", "leads nowhere");
    }

    #[test]
    fn each_setting_that_makes_pulls_fall_back_is_told() {
        let node = Node::new();
        let images = "[plugins.'io.containerd.cri.v1.images']\n";
        let old = "[plugins.'io.containerd.grpc.v1.cri']\n";
        for (setting, words) in [
            ("use_local_image_pull = true", "use_local_image_pull"),
            ("max_concurrent_downloads = 5", "max_concurrent_downloads"),
            ("discard_unpacked_layers = true", "discard_unpacked_layers"),
            ("disable_snapshot_annotations = false", "disable_snapshot_annotations"),
            ("image_pull_with_sync_fs = true", "image_pull_with_sync_fs"),
            ("registry.mirrors.'docker.io'.endpoint = ['https://m']", "registry.mirrors"),
            ("registry.configs.x.tls.insecure_skip_verify = true", "registry.configs"),
            ("registry.auths.x.username = 'u'", "registry.auths"),
        ] {
            node.assert_problem(&format!("{images}{setting}"), words);
            node.assert_problem(&format!("{old}{setting}"), words);
        }
        node.assert_problem(&format!("{old}containerd.discard_unpacked_layers = true"), "discard_unpacked_layers");
    }

    #[test]
    fn a_plugin_that_is_off_or_too_little_time_is_told() {
        let node = Node::new();
        node.assert_problem(&format!("disabled_plugins = ['{VERIFIERS}']\n\n"), "no verifier is asked");
        node.assert_problem(&format!("disabled_plugins = ['{TRANSFER}']\n\n"), "no verifier is asked");
        node.assert_problem("per_verifier_timeout = '500ms'", "below 4s");
        node.assert_problem("per_verifier_timeout = 'soon'", "below 4s");
    }

    #[test]
    fn what_is_imported_is_looked_at_too() {
        let node = Node::new();
        let folder = node.dir.path().join("conf.d");
        let imports = "imports = ['conf.d/*.toml']\n\n";
        assert!(is_good(&node.examine(imports)), "a pattern that nothing matches: {:?}", node.examine(imports));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("note.txt"), "no configuration").unwrap();
        assert!(is_good(&node.examine(imports)));
        std::fs::write(folder.join("a.toml"), "version = 3\nimports = ['../last.toml', '../config.toml']\n").unwrap();
        node.assert_problem(imports, "is imported, and is not there");
        let last = node.dir.path().join("last.toml");
        std::fs::write(&last, "version = 3\n[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = true\n")
            .unwrap();
        node.assert_problem(imports, "last.toml: use_local_image_pull");
        std::fs::write(&last, format!("version = 3\n[plugins.'{VERIFIERS}']\nbin_dir = '/nonexistent'\n")).unwrap();
        node.assert_problem(imports, "without this folder");
        std::fs::write(&last, "not TOML").unwrap();
        node.assert_problem(imports, "last.toml");
        for import in ["/etc/*/x.toml", "/etc/[a-z].toml", "/etc/a*b*.toml", "/etc/x?.toml"] {
            node.assert_problem(&format!("imports = ['{import}']\n\n"), "cannot be followed");
        }
        node.assert_problem("imports = [7]\n\n", "cannot be followed");
    }
}
