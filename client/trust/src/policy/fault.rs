//! What is said when a policy, an environment or an image under it is refused.
//!
//! Invariant: exit codes and ids come only from the catalogue, and no sentence names a way around a rule.

use std::path::Path;

use trust_policy::{Cause, Decision, Effect, FactKind, LoadError};
use trust_reader::catalogue::Code;
use trust_reader::verdict::Problem;

use super::folder;

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
    Problem::new(Code::PolicyRefused)
        .headline(format!("{} would not be published", path.display()))
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
        .remedy(match above(path) {
            Some(above) => vec![
                format!("this is a part of a policy; name the folder above: {above}"),
                "or write one to begin with: trust policy init DIR".to_owned(),
            ],
            None => vec![format!("write one to begin with: trust policy init {}", path.display())],
        })
}

/// The folder of the policy that `path` is a part of.
fn above(path: &Path) -> Option<String> {
    let name = path.file_name()?;
    let above = path.parent()?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let is_part = folder::KINDS.iter().any(|(part, ..)| name == *part) && above.join("policy").is_dir();
    is_part.then(|| above.display().to_string())
}

/// A file of `policy init` that is there.
pub fn there_already(path: &Path) -> Problem {
    crate::fault::usage(&format!("{} is there already", path.display()))
        .cause("nothing is ever overwritten, and nothing was written")
        .remedy(["name another folder: trust policy init DIR"])
}

/// As the files are called here, so that an editor opens them.
fn on_disk(path: &Path, text: &str) -> String {
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
        .remedy([
            "name it once: trust policy use COLLECTION",
            "or try the rules of a folder that nobody signed yet: --policy DIR",
        ])
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
        let value = fact.value.as_ref().map_or("is absent".to_owned(), |value| format!("= {value:?}"));
        problem = problem.fact("fact", format!("{} {value}  {}", fact.name, fact.origin));
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
