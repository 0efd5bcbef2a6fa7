//! `trust policy test`: the cases of a folder, decided by its rules.
//!
//! Invariant: nothing passes where nothing was tried: without a case there is no answer but an error. Deliberately absent:
//! images and registries; the facts are what the cases say.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use trust_policy::Policy;
use trust_policy::cases::{self, Case, CaseResult};
use trust_policy::environment::{Environment, MAX_FILE_LEN};
use trust_reader::verdict::Problem;

use crate::cli::policy::PolicyFolder;
use crate::output::PolicyTested;
use crate::policy::fault;
use crate::policy::folder::{self, Folder};
use crate::printer::Answer;
use crate::settings::paths;
use crate::style::{self, Style};

/// How the cases came out.
pub struct Tested {
    report: PolicyTested,
    failed: Option<Problem>,
}

/// Runs the command.
pub fn run(args: &PolicyFolder) -> Result<Tested, Problem> {
    let folder = Folder::read(&args.folder)?;
    of_folder(&args.folder, &folder.load()?)?.ok_or_else(|| fault::no_cases(&args.folder))
}

/// The cases of a folder, decided by its policy; `None` if there are none.
pub fn of_folder(folder: &Path, policy: &Policy) -> Result<Option<Tested>, Problem> {
    let files = folder::cases(folder)?;
    if files.is_empty() {
        return Ok(None);
    }
    let mut environments: BTreeMap<String, Result<Environment, String>> = BTreeMap::new();
    let mut all: Vec<Case> = Vec::new();
    for (path, bytes) in &files {
        let environment =
            |name: &str| environments.entry(name.to_owned()).or_insert_with(|| read_environment(folder, name)).clone();
        let read = cases::read(&path.display().to_string(), bytes, environment);
        all.extend(read.map_err(|error| fault::cases(&error))?);
    }
    let report = cases::run(policy, &all);
    let failed = (report.failed > 0).then(|| fault::cases_failed(folder, &report));
    Ok(Some(Tested { report: PolicyTested { folder: folder.display().to_string(), report }, failed }))
}

impl Tested {
    /// How many cases were decided as they say.
    pub fn passed(&self) -> usize {
        self.report.report.passed
    }

    /// The refusal to publish, with what differs in each case that failed; `None` if none did.
    pub fn refusal(&self, folder: &Path) -> Option<(Problem, Vec<String>)> {
        self.failed.as_ref()?;
        let report = &self.report.report;
        let failed = report.cases.iter().filter(|case| !case.passed);
        let differences = failed.map(|case| difference(case, Style::default()).trim().to_owned()).collect();
        Some((fault::cases_failed_unpublished(folder, report), differences))
    }
}

/// An environment file, by its path below the folder.
fn read_environment(root: &Path, name: &str) -> Result<Environment, String> {
    let below = Path::new(name);
    if name.is_empty() || !below.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("the environment {name:?} is not the path of a file below the folder"));
    }
    let path: PathBuf = root.join(below);
    let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let file = paths::open_now(&path).map_err(|e| told(&e))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE_LEN).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|e| told(&e))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| told(&"the file is not UTF-8 text"))?;
    Environment::from_toml(text, name).map_err(|e| told(&e))
}

/// What differs in one case, below its name.
fn difference(case: &CaseResult, style: Style) -> String {
    let mut text =
        format!("\n{} {}\n  at  {}:{}:{}\n", style.bad("failed"), case.name, case.path, case.line, case.column);
    for line in case.text().lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

impl Answer for Tested {
    fn command(&self) -> &'static str {
        "policy test"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, style: Style) -> String {
        let cases = &self.report.report.cases;
        let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for case in cases {
            let (all, failed) = files.entry(&case.path).or_default();
            *all = all.saturating_add(1);
            *failed = failed.saturating_add(usize::from(!case.passed));
        }
        let mut rows = vec![["FILE", "CASES", "FAILED"].map(str::to_owned).to_vec()];
        rows.extend(
            files.iter().map(|(file, (all, failed))| vec![style::plain(file), all.to_string(), failed.to_string()]),
        );
        let failed = cases.iter().filter(|case| !case.passed);
        style::table(&rows) + &failed.map(|case| difference(case, style)).collect::<String>()
    }

    fn report(&self, style: Style) -> String {
        let report = &self.report.report;
        let untouched = report.untouched.iter();
        let mut text: String = untouched
            .map(|id| format!("{} no case touches rule {}\n", style.warn("warning"), style::plain(id)))
            .collect();
        if self.failed.is_none() {
            text.push_str(&format!("{} all {} cases\n", style.good("passed"), report.passed));
        }
        text
    }

    fn problems(&self) -> Vec<&Problem> {
        self.failed.iter().collect()
    }
}
