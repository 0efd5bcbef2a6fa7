//! What is said when a policy, an environment or an image under it is refused.
//!
//! Invariant: exit codes and ids come only from the catalogue, and no sentence names a way around a rule.

use std::path::{Path, PathBuf};

use trust_policy::cases::{CaseError, CaseReport, Difference};
use trust_policy::{Cause, Decision, Effect, FactKind, LoadError};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::folder;

/// Cases that are named in a refusal.
const MAX_TOLD: usize = 8;

/// A folder or a file in it that cannot be a policy.
pub fn folder(path: &Path, why: &str) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(format!("{}: {why}", path.display()))
        .fact("file", path.display())
        .cause("a policy is read as a whole: a rule that is missed could be the one that forbids")
        .remedy(["correct what is named above, then run the command again"])
}

/// A file that would not be published.
pub fn stray_file(path: &Path, folder: &str, ending: &str) -> Problem {
    let used = if folder == folder::TESTS { "run" } else { "published" };
    Problem::new(Code::PolicyRefused)
        .headline(format!("{} would not be {used}", path.display()))
        .fact("file", path.display())
        .cause(format!("only files NAME.{ending} count in {folder}/, with a name of a-z, A-Z, 0-9, `.`, `_` and `-`"))
        .remedy(["rename the file, or move it out of the folder"])
}

/// A folder without rules.
pub fn no_files(path: &Path) -> Problem {
    Problem::new(Code::NoPolicy)
        .headline(format!("there is no policy in {}", path.display()))
        .fact("folder", path.display())
        .cause("rules are files policy/NAME.cedar in it, and there is none")
        .remedy(match (above(path), below(path)) {
            (Some(above), _) => vec![
                format!("this is a part of a policy; name the folder above: {above}"),
                "or write one to begin with: trust policy init DIR".to_owned(),
            ],
            (None, Some(below)) => vec![format!("did you mean {below}?")],
            (None, None) => vec![format!("write one to begin with: trust policy init {}", path.display())],
        })
}

/// A folder that has the folder of a policy in it: its `policy` is no folder of rules.
pub fn one_above(path: &Path) -> Option<Problem> {
    let below = below(path).filter(|_| path.join("policy").join("policy").is_dir())?;
    let problem = Problem::new(Code::NoPolicy)
        .headline(format!("{} is not the folder of a policy, and one is in it", path.display()))
        .fact("folder", path.display())
        .cause("rules are files policy/NAME.cedar in the folder that is named");
    Some(problem.remedy([format!("did you mean {below}?")]))
}

/// A folder without a dictionary.
pub fn no_dictionary(path: &Path) -> Problem {
    Problem::new(Code::NoPolicy)
        .headline(format!("there is no dictionary of labels in {}", path.display()))
        .fact("folder", path.display())
        .cause("a dictionary is files labels/NAME.json in it, and there is none")
        .remedy(match above(path) {
            Some(above) => vec![format!("this is a part of a policy; name the folder above: {above}")],
            None => vec![format!("write one to begin with: trust policy init {}", path.display())],
        })
}

/// Nothing is governed.
pub fn no_labels_in_force(collection: &str) -> Problem {
    Problem::new(Code::NoPolicy)
        .headline(format!("no dictionary of labels is in force in {collection}"))
        .fact("collection", collection)
        .cause("none was published there; no label is governed")
        .remedy([format!("publish one: trust labels publish DIR {collection}")])
}

/// A file of a collection that cannot be written into a folder.
pub fn not_for_a_folder(collection: &str, path: &str) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(format!("{} in {collection} has no place in a folder", crate::style::plain(path)))
        .fact("collection", collection)
        .cause("a folder holds policy/NAME.cedar and labels/NAME.json; another program published this one")
        .remedy([format!("look at it: trust policy show {collection} --raw {}", crate::style::plain(path))])
}

/// A file in the way of `policy pull`.
pub fn in_the_way(path: &Path, is_other: bool) -> Problem {
    let problem = crate::fault::usage(&format!("{} is there already", path.display())).fact("file", path.display());
    match is_other {
        true => problem
            .cause("it is not in force, and publishing the folder would publish it too; nothing was written")
            .remedy(["move it out of the folder, or name another folder"]),
        false => problem
            .cause("it is not what is in force; nothing was written")
            .remedy(["name another folder", "or overwrite what is there: --force"]),
    }
}

/// A folder that is not what is in force.
pub fn differs(folder: &str, collection: &str, version: u64) -> Problem {
    Problem::new(Code::FolderDiffers)
        .headline(format!("{folder} is not what is in force in {collection} (v{version})"))
        .fact("folder", folder)
        .fact("collection", collection)
        .remedy([
            format!("to put it in force: trust policy publish {folder} {collection}"),
            format!("to take what is in force: trust policy pull DIR {collection}"),
        ])
}

/// Two versions that are not the same.
pub fn versions_differ(role: &str, collection: &str, from: u64, to: u64) -> Problem {
    Problem::new(Code::FolderDiffers)
        .headline(format!("v{from} and v{to} of `{role}` in {collection} are not the same"))
        .fact("collection", collection)
        .cause("something was published in between")
        .remedy([format!("see when and by whose keys: trust policy log {collection}")])
}

/// The folder of the policy that `path` is a part of.
fn above(path: &Path) -> Option<String> {
    let name = path.file_name()?;
    let above = path.parent()?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let is_part = folder::KINDS.iter().any(|(part, ..)| name == *part) && above.join("policy").is_dir();
    is_part.then(|| above.display().to_string())
}

/// The folder of a policy that stands in `path`, by its rules; one that is called `policy` first.
fn below(path: &Path) -> Option<String> {
    let is_rule = |entry: std::fs::DirEntry| entry.path().extension().is_some_and(|ending| ending == "cedar");
    let has_rules = |folder: &Path| {
        std::fs::read_dir(folder.join("policy")).is_ok_and(|mut files| files.any(|file| file.is_ok_and(is_rule)))
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|folder| has_rules(folder));
    found.sort_by_key(|folder| (folder.file_name().is_none_or(|name| name != "policy"), folder.clone()));
    found.first().map(|folder| folder.display().to_string())
}

/// A file of `policy init` that is there.
pub fn there_already(path: &Path) -> Problem {
    crate::fault::usage(&format!("{} is there already", path.display()))
        .cause("nothing is ever overwritten, and nothing was written")
        .remedy(["name another folder: trust policy init DIR"])
}

/// A folder without cases.
pub fn no_cases(path: &Path) -> Problem {
    let file = path.join(folder::TESTS).join("NAME.toml");
    Problem::new(Code::CasesRefused)
        .headline(format!("there are no cases in {}", path.join(folder::TESTS).display()))
        .fact("folder", path.display())
        .cause("cases are files tests/NAME.toml in it, and there is none; where nothing was tried, nothing passed")
        .remedy([
            format!("write one, for example {}:", file.display()),
            "[[case]]".to_owned(),
            "name = \"PII does not run in a public cloud\"".to_owned(),
            "environment = { name = \"public\", cloud = \"public\" }".to_owned(),
            "[case.image]".to_owned(),
            "reference = \"registry.example.com/hr/payroll:7\"".to_owned(),
            "labels = { \"com.example.data\" = \"PII\" }".to_owned(),
            "[case.expect]".to_owned(),
            "decision = \"deny\"".to_owned(),
        ])
}

/// A file of cases. What is wrong stands in the headline.
pub fn cases(error: &CaseError) -> Problem {
    Problem::new(Code::CasesRefused)
        .headline(error)
        .fact("file", &error.place.path)
        .cause("cases are read as a whole, so that none is missed; none was run")
}

/// Cases that do not hold.
pub fn cases_failed(path: &Path, report: &CaseReport) -> Problem {
    let (failed, of) = (report.failed, report.cases.len());
    Problem::new(Code::CasesFailed)
        .headline(format!("{failed} of {of} cases are not decided as they say"))
        .fact("folder", path.display())
        .remedy([format!("correct the rules or the cases, then: trust policy test {}", path.display())])
}

/// Cases that do not hold in a folder that is to be published.
pub fn cases_failed_unpublished(path: &Path, report: &CaseReport) -> Problem {
    let problem = cases_failed(path, report);
    let headline = format!("{}; nothing was published", problem.headline);
    let told = report.cases.iter().filter(|case| !case.passed).take(MAX_TOLD).map(|case| {
        let differs = |d: &Difference| format!("{}: expected {}, found {}", d.what, d.expected, d.found);
        let differences: Vec<String> = case.differences.iter().map(differs).collect();
        format!("{}:{}: {}; {}", case.path, case.line, case.name, differences.join("; "))
    });
    told.fold(problem.headline(headline), |problem, case| problem.fact("case", case)).remedy([
        format!("correct the rules or the cases, then: trust policy test {}", path.display()),
        "or publish all the same: --skip-tests".to_owned(),
    ])
}

/// Warnings where none are wanted.
pub fn warned(path: &Path, warnings: usize) -> Problem {
    let what = if warnings == 1 { "there is a warning".to_owned() } else { format!("there are {warnings} warnings") };
    Problem::new(Code::Findings)
        .headline(format!("{what} about {}", path.display()))
        .fact("folder", path.display())
        .cause("it loads, and --strict takes what is probably not meant for an error")
        .remedy([format!("correct what is warned of, then: trust policy check {} --strict", path.display())])
}

/// Files that `policy fmt --check` would change.
pub fn not_formatted(path: &Path, files: &[String]) -> Problem {
    let what = match files.len() {
        1 => "a file is".to_owned(),
        n => format!("{n} files are"),
    };
    let problem =
        Problem::new(Code::NotFormatted).headline(format!("{what} not written the one way in {}", path.display()));
    files
        .iter()
        .fold(problem, |problem, file| problem.fact("file", file))
        .remedy([format!("format them: trust policy fmt {}", path.display())])
}

/// A file that stays as it is.
pub fn not_formattable(path: &Path, why: &str) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(on_disk(path, why))
        .fact("folder", path.display())
        .cause("what does not parse is not formatted; the file stays as it is")
        .remedy(["correct what is named above, then run the command again"])
}

/// As the files are called here, so that an editor opens them.
pub fn on_disk(path: &Path, text: &str) -> String {
    folder::KINDS.into_iter().fold(text.to_owned(), |text, (name, _, kind)| {
        text.replace(&format!("{kind}/"), &format!("{}/", path.join(name).display()))
    })
}

/// A folder that does not load.
pub fn refused_folder(path: &Path, error: &LoadError) -> Problem {
    let text = on_disk(path, &error.to_string());
    let mut problem = Problem::new(Code::PolicyRefused).headline(text).fact("folder", path.display()).cause("");
    if let LoadError::Invalid { found } = error {
        for more in found.iter().skip(1) {
            problem = problem.fact("also", on_disk(path, more));
        }
    }
    problem.remedy([
        format!("correct the line that is named above, then: trust policy check {}", path.display()),
        "what rules can read stands in the README.md that trust policy init writes".to_owned(),
    ])
}

/// A dictionary that does not load together with the rules that stay in force.
pub fn refused_with_rules(path: &Path, collection: &str, error: &LoadError) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(format!("the dictionary does not load together with the rules in force: {error}"))
        .fact("folder", path.display())
        .fact("collection", collection)
        .cause("rules read labels and values that the dictionary must have; no gate would load the two together")
        .remedy([
            "keep what the rules read in the dictionary".to_owned(),
            format!("or change rules and dictionary in one publication: trust policy publish DIR {collection}"),
        ])
}

/// What is in force changed while something was published.
pub fn changed_meanwhile(collection: &str, changes: [(&str, Vec<String>); 3]) -> Problem {
    let mut problem = Problem::new(Code::Conflict)
        .headline(format!("somebody else changed what is in force in {collection}; nothing was published"))
        .fact("collection", collection);
    for (what, files) in changes.into_iter().filter(|(_, files)| !files.is_empty()) {
        problem = problem.fact(what, files.join(", "));
    }
    problem.cause("publishing this folder now would take their change back, which nobody has seen").remedy([
        format!("see what is in force now: trust policy diff DIR {collection}"),
        "take their change into the folder, then publish it again".to_owned(),
    ])
}

/// A published policy that does not load.
pub fn refused_collection(collection: &str, version: u64, error: &LoadError) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(format!("the policy in force does not load: {error}"))
        .fact("collection", collection)
        .fact("version", version)
        .remedy([
            format!("look at it: trust policy show {collection} --raw NAME"),
            format!("publish one that loads: trust policy publish DIR {collection}"),
        ])
}

/// What is in force after a publication does not load.
pub fn published_unloadable(collection: &str, published: &str, error: &LoadError) -> Problem {
    Problem::new(Code::PolicyRefused)
        .headline(format!("it was published, and what is in force in {collection} now does not load: {error}"))
        .fact("collection", collection)
        .fact("published", published)
        .cause("rules and dictionary have changed in different roles at once; no gate loads the two as they are now")
        .remedy([
            format!("see what is in force: trust policy pull DIR {collection}"),
            format!("then publish rules and dictionary that load together: trust policy publish DIR {collection}"),
        ])
}

/// A collection without a policy.
pub fn nothing_in_force(collection: &str) -> Problem {
    Problem::new(Code::NoPolicy)
        .headline(format!("no policy is in force in {collection}"))
        .fact("collection", collection)
        .cause("none was published there; without one nothing is allowed")
        .remedy([format!("publish one: trust policy publish DIR {collection}")])
}

/// Nobody said which policy.
pub fn no_policy_collection() -> Problem {
    Problem::new(Code::NoPolicy)
        .headline("no policy collection is named")
        .cause("neither the command line nor the configuration says whose policy decides")
        .remedy(["name it once: trust policy use COLLECTION"])
}

/// The same where there is another way: `or` says which.
pub fn or_else(problem: Problem, or: &str) -> Problem {
    match problem.code {
        Code::NoPolicy => problem.remedy(["name it once: trust policy use COLLECTION", or]),
        _ => problem,
    }
}

/// A file that `policy show --raw` was asked for.
pub fn no_such_file(name: &str, known: &[String]) -> Problem {
    crate::fault::usage(&format!("`{}` is not in force", crate::style::plain(name))).fact("files", known.join(", "))
}

/// An environment file.
pub fn environment(path: &Path, why: &impl std::fmt::Display) -> Problem {
    Problem::new(Code::EnvironmentRefused).headline(format!("{}: {why}", path.display())).fact("file", path.display())
}

/// A file of facts.
pub fn facts(path: &Path, why: &str) -> Problem {
    crate::fault::usage(&format!("{}: {why}", path.display()))
        .remedy(["make one from a verified image: trust verify REF -o json --out FILE"])
}

/// The refusal that a denial is, with the file that the environment was read from; `None` if the image may pass.
pub fn denial(image: &str, decision: &Decision, env: Option<&Path>) -> Option<Problem> {
    let environment = &decision.environment;
    let rules: Vec<&str> = decision.rules.iter().map(|rule| rule.id.as_str()).collect();
    let (code, headline) = match decision.cause {
        Cause::Permitted if decision.allowed => return None,
        Cause::Excepted if decision.allowed && decision.exception.is_some() => return None,
        // A decision that contradicts itself allows nothing.
        Cause::Permitted | Cause::Excepted | Cause::Error => {
            (Code::PolicyFailed, format!("the policy could not be evaluated on {image} in {}", environment.name))
        }
        Cause::Forbidden => {
            (Code::PolicyDenied, format!("{image} is denied in {} by rule {}", environment.name, rules.join(", ")))
        }
        Cause::NothingPermits => {
            (Code::PolicyDenied, format!("{image} is denied in {}: no rule permits it there", environment.name))
        }
        Cause::NoFacts => (
            Code::PolicyDenied,
            format!("{image} is denied in {}: its signature says nothing about its content", environment.name),
        ),
        Cause::LabelMissing => (
            Code::LabelMissing,
            format!("{image} is denied in {}: a label is missing that the dictionary requires", environment.name),
        ),
        Cause::LabelOutside => (
            Code::LabelOutside,
            format!("{image} is denied in {}: a label has a value that is not in the dictionary", environment.name),
        ),
    };
    let place = format!("{} (cloud {})  from {}", environment.name, environment.cloud, environment.origin);
    let mut problem = Problem::new(code).headline(headline).fact("image", image).fact("environment", place);
    let several = decision.cause == Cause::Forbidden && decision.rules.len() > 1;
    for rule in &decision.rules {
        let said = rule.title.as_ref().or(rule.reason.as_ref());
        let said = said.map(|text| format!(": {text}")).unwrap_or_default();
        let label = if rule.effect == Effect::Forbid { "forbidden by" } else { "not met" };
        problem = problem.fact(label, format!("{}{said}", rule.id));
        if several {
            for (label, said) in [("reason", &rule.reason), ("contact", &rule.contact)] {
                problem = said.iter().fold(problem, |problem, said| problem.fact(label, said));
            }
        }
    }
    for fact in decision.facts.iter().filter(|fact| fact.kind != FactKind::Environment) {
        problem = problem.fact("fact", format!("{}  {}", fact.said(), fact.origin));
    }
    for error in &decision.errors {
        problem = problem.fact("found", error);
    }
    problem = problem.fact("policy", source_text(decision));
    let reason = decision.rules.iter().find_map(|rule| rule.reason.as_ref());
    if several {
        problem = problem.cause("several rules forbid it, each for the reason that stands behind it");
    } else if let Some(reason) = reason {
        problem = problem.cause(reason);
    }
    let mut contacts: Vec<&str> = Vec::new();
    for contact in decision.rules.iter().filter_map(|rule| rule.contact.as_deref()) {
        if !contacts.contains(&contact) {
            contacts.push(contact);
        }
    }
    if problem.code == Code::PolicyDenied {
        let ask = match (several, contacts.as_slice()) {
            (_, []) => "ask the people who sign the policy".to_owned(),
            (true, _) => format!("ask {}", contacts.join(" and ")),
            (false, [first, ..]) => format!("ask {first}"),
        };
        let env = env.map_or("FILE".to_owned(), |file| word(&file.display().to_string()));
        let explain = format!("see the whole evaluation: trust policy explain --image {} --env {env}", word(image));
        problem = problem.remedy([format!("run it where it is allowed, or {ask}"), explain]);
    }
    Some(problem)
}

/// As it is typed into a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@' | '+' | ',' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Which policy decided: `registry.example.com/policy v12, signed by key 5f70bf18a086`.
pub fn source_text(decision: &Decision) -> String {
    let policy = &decision.policy;
    if policy.version == 0 {
        return format!("{}, NOT SIGNED", policy.collection);
    }
    format!("{} v{}, signed by {}", policy.collection, policy.version, policy.signed_by.join(", "))
}
