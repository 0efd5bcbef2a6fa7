//! `trust labels check | show | publish`: the dictionary of labels, and what it makes of an image.
//!
//! Invariant: an image passes `check` only where no gate would refuse it because of its labels. Whether a rule allows it
//! somewhere is another question (`policy explain`).

use std::path::Path;

use serde_json::Value;
use trust_image::Reference;
use trust_policy::{Dictionary, Source};
use trust_reader::registry::RegistryClient;
use trust_reader::verdict::Problem;
use trust_tuf::UtcTime;

use crate::app::App;
use crate::cli::labels::{LabelsCheck, LabelsCommand, LabelsPublish, LabelsShow};
use crate::keyring::{Keyring, Kind};
use crate::output::{
    GovernedLabel, ImageLabels, LabelsChecked, LabelsOfImages, LabelsShown, PlatformLabels, PolicyFile, PolicyPublished,
};
use crate::policy::fault;
use crate::policy::folder::Folder;
use crate::policy::in_force::{InForce, pin_of_policy};
use crate::policy::labels::{self, LabelReport, LabelState};
use crate::printer::{Answer, Printer};
use crate::server;
use crate::session::Session;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, printer: &Printer, command: &LabelsCommand) -> Result<Box<dyn Answer>, Problem> {
    match command {
        LabelsCommand::Check(args) if args.image.is_empty() => Ok(Box::new(check_folder(args)?)),
        LabelsCommand::Check(args) => Ok(Box::new(check_images(app, args)?)),
        LabelsCommand::Show(args) => Ok(Box::new(show(app, args)?)),
        LabelsCommand::Publish(args) => Ok(Box::new(publish(app, printer, args)?)),
    }
}

/// A dictionary, and where it is from.
struct Loaded {
    dictionary: Dictionary,
    warnings: Vec<String>,
    sources: Vec<Source>,
    words: String,
    signed: bool,
}

fn of_folder(path: &Path) -> Result<Loaded, Problem> {
    let folder = Folder::read_labels(path)?;
    let loaded = Dictionary::load(&folder.sources);
    let (dictionary, warnings) = loaded.map_err(|error| fault::refused_folder(path, &error))?;
    Ok(Loaded { dictionary, warnings, sources: folder.sources, words: path.display().to_string(), signed: false })
}

/// The dictionary in force, whether the rules beside it load or not.
fn of_collection(found: InForce) -> Result<Loaded, Problem> {
    let (collection, version) = (&found.identity.collection, found.labels.version);
    let sources: Vec<Source> = found.sources.into_iter().filter(|s| s.path.starts_with("_labels/")).collect();
    if sources.is_empty() {
        return Err(fault::no_labels_in_force(collection));
    }
    let loaded = Dictionary::load(&sources);
    let (dictionary, warnings) = loaded.map_err(|error| fault::refused_collection(collection, version, &error))?;
    Ok(Loaded { dictionary, warnings, sources, words: format!("{collection} v{version}"), signed: true })
}

fn check_folder(args: &LabelsCheck) -> Result<LabelsChecked, Problem> {
    let folder = args.folder.as_deref().unwrap_or(Path::new("."));
    let loaded = of_folder(folder)?;
    Ok(LabelsChecked {
        folder: folder.display().to_string(),
        files: loaded.sources.iter().map(PolicyFile::of).collect(),
        labels: GovernedLabel::all(&loaded.dictionary),
        warnings: loaded.warnings,
    })
}

fn check_images(app: &App, args: &LabelsCheck) -> Result<Checked, Problem> {
    app.need_network("fetching the labels of an image")?;
    let loaded = match &args.folder {
        Some(folder) => of_folder(folder)?,
        None => {
            let or = "or look by the dictionary of a folder: trust labels check DIR --image REF";
            let pin = pin_of_policy(app, None).map_err(|problem| fault::or_else(problem, or))?;
            let mut session = Session::open(app, pin)?;
            of_collection(InForce::read(app, &mut session)?)?
        }
    };
    let registry = server::registry(app)?;
    let mut images = Vec::new();
    let (mut refused, mut near) = (Vec::new(), Vec::new());
    for image in &args.image {
        let looked = look(app, &registry, &loaded, image)?;
        images.push(looked.report);
        refused.extend(looked.refused);
        near.extend(looked.near);
    }
    Ok(Checked { report: LabelsOfImages { dictionary: loaded.words, signed: loaded.signed, images }, refused, near })
}

/// One image, what refuses it, and what is probably not meant.
struct Looked {
    report: ImageLabels,
    refused: Option<Problem>,
    near: Vec<String>,
}

/// Looks at one image as signing does: by the digest that the registry names now, and content that it covers.
fn look(app: &App, registry: &RegistryClient, loaded: &Loaded, image: &Reference) -> Result<Looked, Problem> {
    let digest = match image.digest() {
        Some(digest) => *digest,
        None => app.wait(async { registry.head_manifest(image).await.map_err(|error| Problem::from(&error)) })?,
    };
    let pinned = image.pinned(digest);
    let content = app.wait(async { registry.inspect(&pinned).await.map_err(|error| Problem::from(&error)) })?;
    let (mut platforms, mut refused, mut near) = (Vec::new(), None, Vec::new());
    for platform in content.platforms.iter().filter(|platform| platform.runnable) {
        let labels = labels::judge(&loaded.dictionary, image.name(), &platform.labels);
        near.extend(labels.iter().filter_map(|label| label.warning(image, &platform.platform)));
        let problem = |label: &LabelReport| label.problem(image, &platform.platform, "is refused", &loaded.words);
        refused = refused.or_else(|| labels.iter().find_map(problem));
        platforms.push(PlatformLabels { platform: platform.platform.clone(), labels });
    }
    let report =
        ImageLabels { reference: image.to_string(), digest: digest.to_string(), refused: refused.is_some(), platforms };
    Ok(Looked { report, refused, near })
}

fn show(app: &App, args: &LabelsShow) -> Result<Shown, Problem> {
    let mut session = Session::open(app, pin_of_policy(app, args.collection.as_ref())?)?;
    let found = InForce::read(app, &mut session)?;
    let (collection, role) = (found.identity.collection.clone(), found.labels.clone());
    let loaded = of_collection(found)?;
    let report = LabelsShown {
        collection,
        role: role.name,
        version: role.version,
        signed_by: role.keys,
        expires: role.expires.to_string(),
        labels: GovernedLabel::all(&loaded.dictionary),
        warnings: loaded.warnings,
    };
    Ok(Shown { report, expires: role.expires, now: app.now()? })
}

fn publish(app: &App, printer: &Printer, args: &LabelsPublish) -> Result<PolicyPublished, Problem> {
    app.need_network("publishing a dictionary")?;
    let loaded = of_folder(&args.folder)?;
    let pin = pin_of_policy(app, args.collection.as_ref())?;
    let mut keyring = Keyring::new(app, &args.keys)?;
    if !args.change.dry_run {
        keyring.expect_answer(Kind::Other)?;
    }
    let work = super::policy_publish::Work {
        folder: &args.folder,
        sources: &loaded.sources,
        labels_only: true,
        cases: super::policy_publish::Cases::default(),
        dry_run: args.change.dry_run,
    };
    work.publish(app, printer, &mut keyring, pin)
}

/// Labels of images, with what refuses them.
struct Checked {
    report: LabelsOfImages,
    refused: Vec<Problem>,
    near: Vec<String>,
}

/// The governed labels as a table, with what is known about each above it.
fn dictionary_text(labels: &[GovernedLabel]) -> String {
    let mut text = String::new();
    for label in labels {
        text.push_str(&format!("\n{}\n", style::plain(&label.key)));
        let mut facts = Vec::new();
        facts.extend(label.description.as_ref().map(|said| ("meaning", style::plain(said))));
        facts.extend(label.owner.as_ref().map(|owner| ("owner", style::plain(owner))));
        if !label.required.is_empty() {
            facts.push(("required", format!("at and below {}", label.required.join(", "))));
        }
        text.push_str(&style::facts(facts));
        let mut rows = vec![["VALUE", "FIT FOR", "ALSO WRITTEN"].map(str::to_owned).to_vec()];
        for value in &label.values {
            let fit = if value.fit.is_empty() { "no cloud".to_owned() } else { value.fit.join(", ") };
            let aliases = value.aliases.iter().map(|alias| style::plain(alias)).collect::<Vec<_>>().join(", ");
            rows.push(vec![style::plain(&value.value), fit, if aliases.is_empty() { "-".to_owned() } else { aliases }]);
        }
        text.extend(style::table(&rows).lines().map(|line| format!("  {line}\n")));
    }
    text
}

fn warnings_text(warnings: &[String], style: Style) -> String {
    warnings.iter().map(|text| format!("{} {}\n", style.warn("warning"), style::plain(text))).collect()
}

impl Answer for LabelsChecked {
    fn command(&self) -> &'static str {
        "labels check"
    }

    fn json(&self) -> Value {
        crate::output::value(self)
    }

    fn text(&self, _: Style) -> String {
        dictionary_text(&self.labels).trim_start().to_owned()
    }

    fn report(&self, style: Style) -> String {
        let counts =
            format!("governed labels: {}, in {} files; nothing was published", self.labels.len(), self.files.len());
        format!("{}{} {counts}\n", warnings_text(&self.warnings, style), style.good("loads"))
    }
}

struct Shown {
    report: LabelsShown,
    expires: UtcTime,
    now: UtcTime,
}

impl Answer for Shown {
    fn command(&self) -> &'static str {
        "labels show"
    }

    fn json(&self) -> Value {
        crate::output::value(&self.report)
    }

    fn text(&self, _: Style) -> String {
        let report = &self.report;
        let keys: Vec<String> = report.signed_by.iter().map(|id| style::short(id)).collect();
        let facts = style::facts([
            ("role", style::plain(&report.role)),
            ("signed by", keys.join(", ")),
            ("expires", format!("{}   {}", report.expires, style::relative(self.expires, self.now))),
        ]);
        format!("{}   labels v{}\n{facts}{}", report.collection, report.version, dictionary_text(&report.labels))
    }

    fn report(&self, style: Style) -> String {
        warnings_text(&self.report.warnings, style)
    }
}

/// What a label is, for people.
fn state_text(label: &LabelReport, style: Style) -> String {
    match label.state {
        LabelState::Known => {
            let fit = if label.fit.is_empty() { "no cloud".to_owned() } else { label.fit.join(", ") };
            let means = label.means.as_ref().filter(|means| label.value.as_ref() != Some(means));
            let means = means.map(|means| format!("means {means:?}, ")).unwrap_or_default();
            format!("{means}fit for {fit}")
        }
        LabelState::Outside => style.bad("not in the dictionary"),
        LabelState::Missing => style.bad("required, and missing"),
        LabelState::Near => style.warn(&format!("not governed; meant {}?", label.near.as_deref().unwrap_or("-"))),
        LabelState::Free => "not governed".to_owned(),
    }
}

impl Answer for Checked {
    fn command(&self) -> &'static str {
        "labels check"
    }

    fn json(&self) -> Value {
        let mut value = crate::output::value(&self.report);
        if let ([problem], Some(members)) = (self.refused.as_slice(), value.as_object_mut()) {
            members.insert("code".to_owned(), problem.id().into());
        }
        value
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for image in &self.report.images {
            text.push_str(&format!("{}   {}\n", style::plain(&image.reference), image.digest));
            let mut rows = vec![["PLATFORM", "LABEL", "VALUE", ""].map(str::to_owned).to_vec()];
            for platform in &image.platforms {
                for label in &platform.labels {
                    let told = |text: &str, shown: String| format!("{shown}{}", trust_image::text::foreign(text));
                    let value = label.value.as_ref();
                    let value =
                        value.map_or("-".to_owned(), |value| told(value, format!("\"{}\"", style::plain(value))));
                    let name = style::plain(&platform.platform);
                    rows.push(vec![name, told(&label.key, style::plain(&label.key)), value, state_text(label, style)]);
                }
            }
            if rows.len() == 1 {
                text.push_str("  no labels, and none is required\n");
            } else {
                text.extend(style::table(&rows).lines().map(|line| format!("  {line}\n")));
            }
        }
        text
    }

    fn report(&self, style: Style) -> String {
        let mut report: String = self.near.iter().map(|line| format!("{} {line}\n", style.warn("warning"))).collect();
        if !self.report.signed {
            report.push_str(&format!("{} by the dictionary of a local folder: NOT SIGNED\n", style.warn("note")));
        }
        if self.refused.is_empty() {
            let count = self.report.images.len();
            report.push_str(&format!(
                "{} {count} by {}\n",
                style.good("accepted"),
                style::plain(&self.report.dictionary)
            ));
        }
        report
    }

    fn problems(&self) -> Vec<&Problem> {
        self.refused.iter().collect()
    }
}
