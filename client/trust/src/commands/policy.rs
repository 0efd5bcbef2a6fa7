//! `trust policy init | check | show | use`; `explain` and `publish` have files of their own.

use std::path::{Path, PathBuf};

use serde_json::Value;
use trust_policy::{Severity, shipped};
use trust_reader::verdict::Problem;

use crate::app::App;
use crate::cli::policy::{PolicyCheck, PolicyCommand, PolicyInit, PolicyShow, PolicyUse};
use crate::output::{PolicyChecked, PolicyInUse, PolicyRaw, PolicyShown, PolicyWritten};
use crate::policy::exceptions::Granted;
use crate::policy::fault;
use crate::policy::folder::{self, Folder};
use crate::policy::images;
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::printer::{Answer, Printer};
use crate::session::Session;
use crate::settings::edit;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, printer: &Printer, command: &PolicyCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        PolicyCommand::Init(args) => Ok(Box::new(init(args)?)),
        PolicyCommand::Check(args) => Ok(Box::new(check(args)?)),
        PolicyCommand::Fmt(args) => Ok(Box::new(super::policy_fmt::run(args)?)),
        PolicyCommand::Test(args) => Ok(Box::new(super::policy_test::run(args)?)),
        PolicyCommand::Explain(args) => Ok(Box::new(super::policy_explain::run(app, args)?)),
        PolicyCommand::Publish(args) => Ok(Box::new(super::policy_publish::run(app, printer, args)?)),
        PolicyCommand::Show(args) => show(app, args),
        PolicyCommand::Pull(args) => Ok(Box::new(super::policy_pull::run(app, args)?)),
        PolicyCommand::Diff(args) => super::policy_history::diff(app, args),
        PolicyCommand::Log(args) => Ok(Box::new(super::policy_history::log(app, args)?)),
        PolicyCommand::Use(args) => Ok(Box::new(select(app, args)?)),
    }
}

fn init(args: &PolicyInit) -> Result<PolicyWritten, Problem> {
    let paths = match args.change.dry_run {
        true => shipped::FILES.iter().map(|(name, _)| args.folder.join(name)).collect(),
        false => folder::write_new(&args.folder, shipped::FILES)?,
    };
    Ok(PolicyWritten {
        folder: args.folder.display().to_string(),
        files: paths.iter().map(|path| path.display().to_string()).collect(),
        dry_run: args.change.dry_run,
    })
}

fn check(args: &PolicyCheck) -> Result<Checked, Problem> {
    let folder = Folder::read(&args.folder)?;
    let policy = folder.load()?;
    let findings = Some(trust_policy::lint(&policy, &folder.sources));
    let report = PolicyChecked { findings, ..PolicyChecked::of(&policy, &folder.sources) };
    let found = report.findings.iter().flatten().filter(|finding| finding.severity == Severity::Warning).count();
    let warnings = report.warnings.len().saturating_add(found);
    let warned = (args.strict && warnings > 0).then(|| fault::warned(&args.folder, warnings));
    Ok(Checked { report, folder: args.folder.clone(), warned })
}

/// A folder that loads.
struct Checked {
    report: PolicyChecked,
    folder: PathBuf,
    /// The refusal that warnings are with `--strict`.
    warned: Option<Problem>,
}

fn show(app: &App, args: &PolicyShow) -> Result<Box<dyn Answer>, Problem> {
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut session = Session::open(app, pin)?;
    let found = InForce::read(app, &mut session)?;
    if let Some(name) = &args.raw {
        return Ok(Box::new(raw(&found, name)?));
    }
    if found.sources.is_empty() {
        return Err(fault::nothing_in_force(&found.identity.collection));
    }
    let (now, granted) = (app.now()?, Granted::read(app, &mut session));
    let loaded = found.load();
    let fault = loaded.as_ref().err().cloned();
    let report = PolicyShown {
        collection: found.identity.collection.clone(),
        role: found.rules.name.clone(),
        version: found.identity.version,
        signed_by: found.rules.keys.clone(),
        expires: found.expires.to_string(),
        labels_role: found.labels.name.clone(),
        labels_version: found.labels.version,
        labels_signed_by: found.labels.keys.clone(),
        exceptions: granted.role.as_ref().and_then(|_| u64::try_from(granted.in_force(now).len()).ok()),
        loaded: loaded.ok().map(|policy| PolicyChecked::of(&policy, &found.sources)),
        fault: fault.as_ref().map(|problem| problem.headline.clone()),
    };
    let when = style::relative(found.expires, now);
    Ok(Box::new(Shown { report, when, fault, unread: granted.unread }))
}

fn raw(found: &InForce, name: &str) -> Result<PolicyRaw, Problem> {
    // With or without its folder, as it is called on disk or as a target.
    let matches = |path: &str| path == name || path.rsplit('/').next() == Some(name) || path.get(1..) == Some(name);
    let fitting: Vec<_> = found.sources.iter().filter(|source| matches(&source.path)).collect();
    match fitting.as_slice() {
        [source] => Ok(PolicyRaw {
            collection: found.identity.collection.clone(),
            path: source.path.clone(),
            content: String::from_utf8_lossy(&source.bytes).into_owned(),
        }),
        _ => {
            let known: Vec<String> = found.sources.iter().map(|source| source.path.clone()).collect();
            Err(fault::no_such_file(name, &known))
        }
    }
}

fn select(app: &App, args: &PolicyUse) -> Result<PolicyInUse, Problem> {
    let collection = args.collection.as_str();
    let pin = app.settings.pin(collection).ok_or_else(|| crate::fault::not_pinned(collection))?;
    images::refuse(app, &mut Session::open(app, pin)?)?;
    let config = &app.settings.paths.config;
    let context = app.settings.context.as_ref().map(|context| context.value.clone());
    // A context of the system's file is not ours to change: then it stands above all of them.
    let own = context.filter(|name| app.settings.contexts.get(name).is_some_and(|(_, file)| file == config));
    edit::edit(config, |document| edit::set_policy(document, own.as_deref(), collection))?;
    Ok(PolicyInUse { collection: collection.to_owned(), context: own })
}

impl Answer for PolicyWritten {
    fn command(&self) -> &'static str {
        "policy init"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        self.files.iter().map(|file| format!("{}\n", style::plain(file))).collect()
    }

    fn report(&self, style: Style) -> String {
        let folder = style::plain(&self.folder);
        if self.dry_run {
            return format!("{} {folder}: nothing was written\n", style.warn("dry run"));
        }
        let head = format!("{} {} files in {folder}\n", style.good("written"), self.files.len());
        let steps = [
            "say in labels/ which labels count, and change the rules in policy/".to_owned(),
            format!("trust policy check {folder}"),
            format!("trust policy test {folder}"),
            format!("trust policy explain --image REF --env {folder}/environments/FILE --policy {folder}"),
            format!("trust policy publish {folder} COLLECTION, a collection that carries nothing else"),
        ];
        let steps = steps.iter().enumerate().map(|(at, step)| (if at == 0 { "next" } else { "" }, step.as_str()));
        format!("{head}{}", style::facts(steps))
    }
}

/// Rules and dictionary as text.
pub fn checked_text(checked: &PolicyChecked, folder: Option<&Path>) -> String {
    let mut rows = vec![["RULE", "EFFECT", "FILE", "WHAT IT SAYS"].map(str::to_owned).to_vec()];
    for rule in &checked.rules {
        let said = rule.title.as_ref().or(rule.reason.as_ref()).map_or("-".to_owned(), |text| style::plain(text));
        let effect = match rule.effect {
            trust_policy::Effect::Permit => "permit",
            trust_policy::Effect::Forbid => "forbid",
        };
        let effect = match rule.mode {
            trust_policy::RuleMode::Enforce => effect.to_owned(),
            mode => format!("{effect} ({})", mode.as_str()),
        };
        let path = folder.map_or(rule.path.clone(), |f| folder::on_disk(f, &rule.path).display().to_string());
        let place = format!("{}:{}", style::plain(&path), rule.line);
        rows.push(vec![style::plain(&rule.id), effect, place, said]);
    }
    let mut text = style::table(&rows);
    if !checked.dictionary.is_empty() {
        let mut rows = vec![["LABEL", "VALUE", "FIT FOR"].map(str::to_owned).to_vec()];
        for (key, values) in &checked.dictionary {
            for value in values {
                let fit = if value.fit.is_empty() { "no cloud".to_owned() } else { value.fit.join(", ") };
                rows.push(vec![style::plain(key), style::plain(&value.value), fit]);
            }
        }
        text.push('\n');
        text.push_str(&style::table(&rows));
    }
    text
}

fn warnings_text(checked: &PolicyChecked, style: Style) -> String {
    checked.warnings.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text))).collect()
}

impl Answer for Checked {
    fn command(&self) -> &'static str {
        "policy check"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, _: Style) -> String {
        checked_text(&self.report, Some(&self.folder))
    }

    fn report(&self, style: Style) -> String {
        let (rules, labels) = (self.report.rules.len(), self.report.dictionary.len());
        let counts = format!("rules: {rules}, governed labels: {labels}; nothing was published");
        let here = |text: &str| style::plain(&fault::on_disk(&self.folder, text));
        let mut text: String =
            self.report.warnings.iter().map(|told| format!("{} {}\n", style.warn("warning"), here(told))).collect();
        for finding in self.report.findings.iter().flatten() {
            let word = match finding.severity {
                Severity::Warning => style.warn("warning"),
                Severity::Note => "note".to_owned(),
            };
            text.push_str(&format!("{word} {}\n", here(&finding.to_string())));
        }
        match self.warned {
            Some(_) => text,
            None => format!("{text}{} {counts}\n", style.good("loads")),
        }
    }

    fn problems(&self) -> Vec<&Problem> {
        self.warned.iter().collect()
    }
}

struct Shown {
    report: PolicyShown,
    when: String,
    fault: Option<Problem>,
    /// Exceptions that cannot be read.
    unread: Vec<String>,
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "policy show"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, _: Style) -> String {
        let report = &self.report;
        let head = format!("{}   policy v{}\n", report.collection, report.version);
        let short = |keys: &[String]| keys.iter().map(|id| style::short(id)).collect::<Vec<_>>().join(", ");
        let mut facts = vec![("role", style::plain(&report.role)), ("signed by", short(&report.signed_by))];
        if report.labels_role != report.role {
            let (role, version) = (style::plain(&report.labels_role), report.labels_version);
            facts.push(("labels", format!("{role} v{version}, signed by {}", short(&report.labels_signed_by))));
        }
        facts.push(("expires", format!("{}   {}", report.expires, self.when)));
        facts.push((
            "exceptions",
            match report.exceptions {
                Some(0) => "none in force".to_owned(),
                Some(n) => format!("{n} in force   (trust exception list {})", report.collection),
                None => "cannot be read; none lifts anything".to_owned(),
            },
        ));
        let facts = style::facts(facts);
        let loaded =
            report.loaded.as_ref().map(|loaded| format!("\n{}", checked_text(loaded, None))).unwrap_or_default();
        format!("{head}{facts}{loaded}")
    }

    fn report(&self, style: Style) -> String {
        let warnings = self.report.loaded.as_ref().map(|loaded| warnings_text(loaded, style)).unwrap_or_default();
        let unread = self.unread.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text)));
        unread.fold(warnings, |text, line| text + &line)
    }

    fn problems(&self) -> Vec<&Problem> {
        self.fault.iter().collect()
    }
}

impl Answer for PolicyRaw {
    fn command(&self) -> &'static str {
        "policy show"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    // What steers a terminal is escaped by line; the lines and tabs stay.
    fn text(&self, _: Style) -> String {
        let shown = |c: char| match c {
            '\n' | '\t' => c.to_string(),
            c if trust_reader::verdict::is_unprintable(c) => c.escape_unicode().to_string(),
            c => c.to_string(),
        };
        self.content.chars().map(shown).collect()
    }
}

impl Answer for PolicyInUse {
    fn command(&self) -> &'static str {
        "policy use"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let place = self.context.as_ref().map_or("in every context".to_owned(), |name| format!("in context {name}"));
        format!("{} {}: its policy decides, {place}\n", style.good("in use"), self.collection)
    }
}
