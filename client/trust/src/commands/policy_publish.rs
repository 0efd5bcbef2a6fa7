//! `trust policy publish` and `trust labels publish`: the files of a folder become what a collection has in force, all at
//! once; of a policy rules and dictionary, of labels the dictionary alone.
//!
//! Invariants: what does not load strictly, together with what stays in force, is not signed; what is no longer in the folder
//! is removed, so that the folder is what is in force afterwards. Each kind is signed in its one role: the role of its name
//! where `targets` delegates it, else `targets`. What is allowed or denied changes only where somebody says so with the
//! collection's name (a new rule that forbids and a new label excepted); what somebody else published in between is never
//! taken back unseen, and what is checked together stays together, whoever signs which part of it; and a collection that
//! carries images gets no policy at all. The cases of the folder are decided as they say, or somebody said that they are
//! skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use trust_policy::{Dictionary, Policy, PolicyIdentity, Severity, Source};
use trust_reader::verdict::Problem;
use trust_tuf::{RoleName, TargetInfo, reserved};

use super::policy_test;
use crate::app::App;
use crate::cli::policy::PolicyPublish;
use crate::keyring::{Keyring, Kind};
use crate::output::{PolicyChanges, PolicyPublished};
use crate::policy::difference::{self, New};
use crate::policy::folder::{Folder, KINDS};
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::{fault, images, roles};
use crate::printer::{Answer, Printer};
use crate::publish::{self, Change};
use crate::session::Session;
use crate::settings::Pin;
use crate::signing;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, printer: &Printer, args: &PolicyPublish) -> Result<PolicyPublished, Problem> {
    app.need_network("publishing a policy")?;
    let folder = Folder::read(&args.folder)?;
    let cases = Cases::of(printer, args, &folder.load()?)?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    let (folder, sources) = (args.folder.as_path(), folder.sources.as_slice());
    let work = Work { folder, sources, labels_only: false, cases, dry_run: args.change.dry_run };
    work.publish(app, printer, &mut keyring, pin)
}

/// How the cases of the folder came out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cases {
    /// How many there are, if they were run: all passed.
    passed: Option<usize>,
    /// Whether somebody said that they are not run.
    skipped: bool,
}

impl Cases {
    /// Runs them. One that fails refuses, with what differs.
    fn of(printer: &Printer, args: &PolicyPublish, policy: &Policy) -> Result<Self, Problem> {
        if args.skip_tests {
            return Ok(Self { passed: None, skipped: true });
        }
        let Some(tested) = policy_test::of_folder(&args.folder, policy)? else { return Ok(Self::default()) };
        let Some((problem, differences)) = tested.refusal(&args.folder) else {
            return Ok(Self { passed: Some(tested.passed()), skipped: false });
        };
        for line in differences.iter().flat_map(|difference| difference.lines()) {
            printer.note(line);
        }
        Err(problem)
    }
}

/// What is to be published.
pub struct Work<'a> {
    /// The folder that it is in, as it was named.
    pub folder: &'a Path,
    /// Its files.
    pub sources: &'a [Source],
    /// Whether rules stay as they are.
    pub labels_only: bool,
    /// How its cases came out.
    pub cases: Cases,
    /// Whether nothing is published.
    pub dry_run: bool,
}

/// What would be in force after a publication.
struct Candidate {
    sources: Vec<Source>,
    policy: Option<Policy>,
    dictionary: Dictionary,
    warnings: Vec<String>,
}

impl Work<'_> {
    /// Publishes it, or shows what that would change.
    pub fn publish(
        &self,
        app: &App,
        printer: &Printer,
        keyring: &mut Keyring<'_>,
        pin: &Pin,
    ) -> Result<PolicyPublished, Problem> {
        let mut seen = None;
        publish::with_retries(
            |text| printer.note(text),
            || {
                let session = Session::for_change(app, pin)?;
                self.attempt(app, printer, keyring, session, &mut seen)
            },
        )?
    }

    /// One attempt. The inner error ends the command: after a lost race it would be tried again.
    fn attempt(
        &self,
        app: &App,
        printer: &Printer,
        keyring: &mut Keyring<'_>,
        mut session: Session,
        seen: &mut Option<Vec<Source>>,
    ) -> Result<Result<PolicyPublished, Problem>, Problem> {
        images::refuse(app, &mut session)?;
        let before = InForce::read(app, &mut session)?;
        let of_ours: Vec<Source> = before.sources.iter().filter(|s| self.is_ours(&s.path)).cloned().collect();
        match seen {
            Some(first) if *first != of_ours => return Ok(Err(changed_meanwhile(&before, first, &of_ours))),
            _ => *seen = Some(of_ours),
        }
        let candidate = self.candidate(&before)?;
        let Candidate { sources, policy, dictionary, warnings } = &candidate;
        let new = New { sources, policy: policy.as_ref(), dictionary: Some(dictionary) };
        let changes = difference::compare(&before, &new);
        // Before it is signed, so that whoever is asked for a passphrase has seen what for.
        let mut lines = difference::text(&before.sources, sources, &changes);
        if lines.is_empty() {
            lines.push("  nothing changes but the version and the expiry".to_owned());
        }
        for line in lines {
            printer.note(&line);
        }
        let publication = match self.dry_run {
            true => None,
            false => {
                confirm(app, &before.identity.collection, &changes)?;
                let change = self.signed(app, keyring, &mut session, &changes)?;
                let (mut session, publication) = publish::publish(app, session, &change)?;
                // Keeps the contents that are in force now, so that this machine decides by them offline too.
                let now = InForce::read(app, &mut session)?;
                if let Err(error) = now.check() {
                    let (collection, published) = (&now.identity.collection, super::sign::published_text(&publication));
                    return Ok(Err(fault::published_unloadable(collection, &published, &error)));
                }
                Some(publication)
            }
        };
        Ok(Ok(PolicyPublished {
            collection: before.identity.collection,
            folder: self.folder.display().to_string(),
            labels_only: self.labels_only,
            changes,
            warnings: warnings.clone(),
            cases_passed: self.cases.passed,
            tests_skipped: self.cases.skipped,
            publication,
        }))
    }

    fn is_ours(&self, path: &str) -> bool {
        !self.labels_only || path.starts_with("_labels/")
    }

    /// What would be in force: the files of the folder, and what stays. It loads.
    fn candidate(&self, before: &InForce) -> Result<Candidate, Problem> {
        let mut sources: Vec<Source> = before.sources.iter().filter(|s| !self.is_ours(&s.path)).cloned().collect();
        sources.extend(self.sources.iter().cloned());
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        let refused = |error| match self.labels_only {
            true => fault::refused_with_rules(self.folder, &before.identity.collection, &error),
            false => fault::refused_folder(self.folder, &error),
        };
        let (dictionary, mut warnings) =
            Dictionary::load(&sources).map_err(|e| fault::refused_folder(self.folder, &e))?;
        let policy = match sources.iter().any(|source| source.path.starts_with("_policy/")) {
            true => Some(Policy::load(&sources, PolicyIdentity::folder()).map_err(refused)?),
            false => None,
        };
        if let Some(policy) = &policy {
            warnings = policy.warnings().to_vec();
            let found = trust_policy::lint(policy, &sources).into_iter();
            warnings.extend(found.filter(|f| f.severity == Severity::Warning).map(|finding| finding.to_string()));
        }
        Ok(Candidate { sources, policy, dictionary, warnings })
    }

    /// The next versions of the roles, signed, with the contents.
    fn signed(
        &self,
        app: &App,
        keyring: &mut Keyring<'_>,
        session: &mut Session,
        changes: &PolicyChanges,
    ) -> Result<Change, Problem> {
        let kinds = KINDS.iter().map(|(.., kind)| *kind).filter(|kind| self.is_ours(&format!("{kind}/")));
        let mut by_role: BTreeMap<RoleName, Vec<&str>> = BTreeMap::new();
        for kind in kinds {
            by_role.entry(roles::role_of(session, kind)).or_default().push(kind);
        }
        let touched: BTreeSet<&str> = [&changes.files_added, &changes.files_removed, &changes.files_changed]
            .into_iter()
            .flatten()
            .filter_map(|path| reserved::kind(path))
            .collect();
        let mut signing: Vec<RoleName> = Vec::new();
        for (role, kinds) in &by_role {
            // A role whose files stay is not signed again, unless everything stays: then this renews what my keys can.
            let signs = match touched.is_empty() {
                false => kinds.iter().any(|kind| touched.contains(kind)),
                true => match session.keys_of(role) {
                    Some(keys) => keyring.may_hold(&keys)?,
                    None => false,
                },
            };
            if signs {
                signing.push(role.clone());
            }
        }
        if signing.is_empty() {
            // Nobody's keys are here: says which are missing.
            signing.extend(by_role.keys().next().cloned());
        }
        let only_named = signing.len() == 1;
        // The set was loaded as a whole: what others sign of it must be what it was.
        let mut change = Change { rests_on: roles::of_policy(session), ..Change::default() };
        for role in signing {
            let kinds = by_role.get(&role).map(Vec::as_slice).unwrap_or_default();
            let file = session.role(app, role.as_str())?;
            let mut draft = signing::next_version(app, &file)?;
            let is_of_role = |path: &str| reserved::kind(path).is_some_and(|kind| kinds.contains(&kind));
            for path in file.paths().filter(|path| is_of_role(path)) {
                draft.remove_target(path);
            }
            for source in self.sources.iter().filter(|source| is_of_role(&source.path)) {
                draft.set_target(&source.path, &TargetInfo::of(&source.bytes));
                change.blobs.push((source.path.clone(), source.bytes.clone()));
            }
            let bytes = signing::sign_as(session, keyring, &role, &draft, only_named)?;
            change.roles.insert(role, bytes);
        }
        Ok(change)
    }
}

/// Whoever changes what is allowed or denied names the collection.
fn confirm(app: &App, collection: &str, changes: &PolicyChanges) -> Result<(), Problem> {
    if changes.to_confirm.is_empty() {
        return Ok(());
    }
    let what = format!("What {collection} allows or denies changes: {}.", changes.to_confirm.join("; "));
    app.terminal.confirm_name(&what, collection, app.globals.confirm.as_deref())
}

/// Somebody else changed what is in force while this was published: going on would take that back unseen.
fn changed_meanwhile(now: &InForce, first: &[Source], then: &[Source]) -> Problem {
    let (added, removed, changed, _) = difference::split(&difference::by_path(first), &difference::by_path(then));
    fault::changed_meanwhile(&now.identity.collection, [("came", added), ("left", removed), ("changed", changed)])
}

impl Answer for PolicyPublished {
    fn command(&self) -> &'static str {
        if self.labels_only { "labels publish" } else { "policy publish" }
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        String::new()
    }

    fn report(&self, style: Style) -> String {
        let changes = &self.changes;
        let rules = changes.rules_added.len() + changes.rules_changed.len() + changes.rules_unchanged.len();
        let warnings: String =
            self.warnings.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text))).collect();
        let head = match &self.publication {
            Some(publication) => format!(
                "{} {} as the {} of {}   {}\n",
                style.good("published"),
                style::plain(&self.folder),
                if self.labels_only { "label dictionary" } else { "policy" },
                self.collection,
                super::sign::published_text(publication)
            ),
            None => format!("{} {}: nothing was published\n", style.warn("dry run"), self.collection),
        };
        let counts = format!(
            "{rules}: {} new, {} changed, {} removed",
            changes.rules_added.len(),
            changes.rules_changed.len(),
            changes.rules_removed.len()
        );
        let mut facts = vec![match self.labels_only {
            true => ("labels", labels_text(changes)),
            false => ("rules", counts),
        }];
        match (self.cases_passed, self.tests_skipped) {
            (_, true) => facts.push(("cases", "not run (--skip-tests)".to_owned())),
            (Some(passed), false) => facts.push(("cases", format!("{passed} decided as they say"))),
            (None, false) => {}
        }
        format!("{warnings}{head}{}", style::facts(facts))
    }
}

/// How many files of the dictionary are touched.
fn labels_text(changes: &PolicyChanges) -> String {
    let (new, changed, removed) = (changes.files_added.len(), changes.files_changed.len(), changes.files_removed.len());
    format!("files: {new} new, {changed} changed, {removed} removed; the rules in force stay")
}
