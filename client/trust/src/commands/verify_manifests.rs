//! `trust verify --manifests`: every image in Kubernetes manifests and compose files, verified once, told by file and line;
//! `--pin` writes the verified digests behind the tags.
//!
//! Invariants: no image found is no success; one image, file or document that is refused, and nothing at all is written. What
//! the status of a Pod says to run is judged beside what its spec says: it must be signed, and be what the tag is signed for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use trust_image::{Digest, Reference};
use trust_policy::Decision;
use trust_reader::catalogue::Code;
use trust_reader::verdict::{Problem, Verdict};

use super::verify::{Examiner, Look, exception_notes, unsigned_note};
use crate::app::App;
use crate::cli::images::Verify;
use crate::manifests::files::{self, Input};
use crate::manifests::pin::{self, Pins};
use crate::manifests::yaml::At;
use crate::manifests::{self, Asked, MAX_IMAGES, MAX_KEPT, Scan, compose, helm};
use crate::output::{ManifestPlace, ManifestsReport};
use crate::printer::Answer;
use crate::style::{self, Style};

/// Runs the command.
pub fn run(app: &App, args: &Verify, from: &Path) -> Result<Box<dyn Answer>, Problem> {
    let (inputs, mut unreadable) = files::read(from)?;
    let (mut scanned, mut kept) = (Vec::new(), 0_usize);
    for input in inputs {
        if let Some(line) = helm::first_action(input.body()) {
            let at = At { line, column: 1 };
            unreadable.push(helm::template(manifests::refused_at(
                &input.name,
                at,
                &"this is a template, and no manifest",
            )));
            continue;
        }
        match manifests::scan(input.body()) {
            Ok(mut scan) => {
                if scan.images.is_empty() {
                    scan.forget();
                }
                kept = kept.saturating_add(scan.size());
                if kept > MAX_KEPT {
                    let why = format!("more than {MAX_KEPT} values in files with images");
                    return Err(manifests::refused(&from.display().to_string(), &why));
                }
                unreadable.extend(scan.faults.iter().map(|(at, f)| manifests::not_known(&input.name, *at, f)));
                scanned.push((input, scan));
            }
            Err(error) => {
                let problem = manifests::refused_at(&input.name, error.at, &error.why);
                let is_template = input.body().contains("{{");
                unreadable.push(if is_template { helm::template(problem) } else { problem });
            }
        }
    }
    unreadable.extend(compose::without_image(&scanned));
    let count: usize = scanned.iter().map(|(_, scan)| scan.images.len()).sum();
    if count > MAX_IMAGES {
        return Err(manifests::refused(&from.display().to_string(), &format!("more than {MAX_IMAGES} images")));
    }
    if count == 0 && unreadable.is_empty() {
        return Err(nothing_found(from, scanned.len()));
    }
    let looks = looks(app, args, &scanned)?;
    let mut checked = Checked {
        places: places(&scanned, &looks),
        files: scanned.len(),
        documents: scanned.iter().map(|(_, scan)| scan.documents).sum(),
        without: scanned.iter().map(|(_, scan)| scan.without).sum(),
        unsigned: looks.unsigned,
        decided_by: looks.decided_by,
        lifted: looks.lifted,
        unread: looks.unread,
        looks: looks.verdicts,
        unreadable,
        pin: args.pin,
        dry_run: args.dry_run,
        from_stdin: from == Path::new("-"),
        files_changed: Vec::new(),
        pinned: None,
    };
    if args.pin && checked.problems().is_empty() {
        pin_all(&mut checked, &scanned)?;
    }
    Ok(Box::new(checked))
}

fn nothing_found(from: &Path, files: usize) -> Problem {
    manifests::refused(&from.display().to_string(), "there is no image in it")
        .fact("files read", files)
        .cause("nothing was checked, and that is never a success")
        .remedy(["name the folder or file with the manifests (.yaml, .yml, .json)"])
}

/// The verdicts by what was written, and by what runs for it.
struct Looks {
    verdicts: BTreeMap<Asked, Judged>,
    unsigned: bool,
    decided_by: Option<String>,
    /// Images that only an exception lets pass.
    lifted: Vec<(String, Decision)>,
    /// Exceptions that cannot be read.
    unread: Vec<String>,
}

/// What is said of one image text.
struct Judged {
    json: Value,
    problem: Option<Problem>,
    /// The short digest of a verified image.
    digest: String,
    /// What `--pin` writes behind it; `None` if it has a digest.
    addition: Option<String>,
}

/// Verifies each distinct image once.
fn looks(app: &App, args: &Verify, scanned: &[(Input, Scan)]) -> Result<Looks, Problem> {
    let asked: BTreeSet<Asked> =
        scanned.iter().flat_map(|(_, scan)| &scan.images).map(manifests::Found::asked).collect();
    let parsed: BTreeMap<&Asked, Result<Reference, String>> =
        asked.iter().map(|asked| (asked, Reference::parse(&asked.0).map_err(|e| e.to_string()))).collect();
    let mut examiner = Examiner::open(app, args, parsed.values().filter_map(|image| image.as_ref().ok()))?;
    // `nginx` and `docker.io/library/nginx:latest` are one image: asked once.
    let mut by_image: BTreeMap<String, Look> = BTreeMap::new();
    let mut verdicts = BTreeMap::new();
    for (asked, image) in &parsed {
        let (text, written) = asked;
        let judged = match image {
            Err(why) => {
                let problem = Problem::new(Code::BadReference).headline(why).fact("given", format!("`{text}`"));
                let problem = if text.contains("{{") { helm::template(problem) } else { problem };
                Judged { json: problem.json(), problem: Some(problem), digest: String::new(), addition: None }
            }
            Ok(image) => {
                let judged = judged(image, by_image.entry(image.to_string()).or_insert_with(|| examiner.look(image)));
                match written {
                    None => judged,
                    Some(written) => {
                        let tag = Reference::parse(written).ok();
                        let look = |tag: Reference| {
                            signed(by_image.entry(tag.to_string()).or_insert_with(|| examiner.look(&tag)))
                        };
                        running(judged, written, image, tag.and_then(look))
                    }
                }
            }
        };
        verdicts.insert((*asked).clone(), judged);
    }
    let lifted = by_image.into_iter().filter_map(|(image, look)| Some((image, look.decision?)));
    Ok(Looks {
        verdicts,
        unsigned: examiner.is_unsigned(),
        decided_by: examiner.decided_by(),
        lifted: lifted.filter(|(_, decision)| decision.exception.is_some()).collect(),
        unread: examiner.unread(),
    })
}

fn judged(image: &Reference, look: &Look) -> Judged {
    let (problem, digest, addition) = match &look.verdict {
        Verdict::Refused(problem) => (Some((**problem).clone()), String::new(), None),
        Verdict::Verified(verified) => {
            let tag = if image.is_tag_defaulted() { ":latest" } else { "" };
            let addition = image.digest().is_none().then(|| format!("{tag}@{}", verified.digest));
            (None, style::short(&verified.digest.to_string()), addition)
        }
    };
    Judged { json: look.json(), problem, digest, addition }
}

fn signed(look: &Look) -> Option<Digest> {
    match &look.verdict {
        Verdict::Verified(verified) => Some(verified.digest),
        Verdict::Refused(_) => None,
    }
}

/// What is said of an image that runs, beside what is said of it as it is written. `signed` is what its tag is signed for.
fn running(judged: Judged, written: &str, image: &Reference, signed: Option<Digest>) -> Judged {
    let problem = match (judged.problem.clone(), image.digest(), signed) {
        (Some(mut problem), ..) => {
            let headline = format!("what runs as {written}: {}", problem.headline);
            problem.remedy.push("look at what this Pod did, and start it anew from what is signed".to_owned());
            problem.headline(headline).fact("written", written)
        }
        (None, Some(runs), Some(signed)) if *runs != signed => Problem::new(Code::TagIsOther)
            .headline(format!("what runs as {written} is another image than its tag is signed for"))
            .fact("image", image)
            .fact("written", written)
            .fact("runs", runs)
            .fact("signed", signed)
            .digests(signed, runs)
            .cause("it is signed, but not for this tag now: it was started before the tag was signed anew, or got another image")
            .remedy([
                "start it anew, so that its tag is pulled again: kubectl rollout restart",
                "if this image is meant: write its digest into the spec",
            ]),
        // What is wrong with the tag is said of the tag.
        (None, ..) => return Judged { problem: None, addition: None, ..judged },
    };
    Judged { json: problem.json(), problem: Some(problem), digest: String::new(), addition: None }
}

fn places(scanned: &[(Input, Scan)], looks: &Looks) -> Vec<ManifestPlace> {
    let mut places: Vec<ManifestPlace> = Vec::new();
    for (input, scan) in scanned {
        for found in &scan.images {
            let judged = looks.verdicts.get(&found.asked());
            let problem = judged.map(|judged| judged.problem.as_ref());
            // An image that nobody looked at is no verified one.
            let exit = problem.map_or(Code::Internal.exit(), |problem| problem.map_or(0, Problem::exit));
            let addition = judged.and_then(|judged| judged.addition.as_ref());
            places.push(ManifestPlace {
                file: input.name.clone(),
                line: found.at.line,
                column: found.at.column,
                document: found.document.saturating_add(1),
                object: found.object.clone(),
                path: found.path.to_string(),
                image: found.image.clone(),
                written: found.written.clone(),
                ok: exit == 0,
                exit,
                pinned: addition.map(|addition| format!("{}{addition}", found.image)),
            });
        }
    }
    places.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    places
}

/// Writes the digests, or says what would be written.
fn pin_all(checked: &mut Checked, scanned: &[(Input, Scan)]) -> Result<(), Problem> {
    let mut changed = Vec::new();
    for (input, scan) in scanned {
        let addition = |asked: &Asked| checked.looks.get(asked).and_then(|judged| judged.addition.clone());
        let pins: Pins = scan.images.iter().filter_map(|found| Some((found.node, addition(&found.asked())?))).collect();
        let text = match pins.is_empty() {
            true => input.text.clone(),
            false => pin::pinned(input, scan, &pins)?,
        };
        if !pins.is_empty() {
            checked.files_changed.push(input.name.clone());
        }
        if input.path.is_none() {
            checked.pinned = Some(text);
        } else if !pins.is_empty() {
            changed.push((input, text));
        }
    }
    if checked.dry_run {
        checked.pinned = None;
        return Ok(());
    }
    pin::replace(&changed)
}

struct Checked {
    places: Vec<ManifestPlace>,
    looks: BTreeMap<Asked, Judged>,
    unreadable: Vec<Problem>,
    files: usize,
    documents: usize,
    without: usize,
    /// Images that only an exception lets pass.
    lifted: Vec<(String, Decision)>,
    /// Exceptions that cannot be read.
    unread: Vec<String>,
    unsigned: bool,
    /// Environment and policy, if it was decided.
    decided_by: Option<String>,
    pin: bool,
    dry_run: bool,
    from_stdin: bool,
    files_changed: Vec<String>,
    /// The manifests from stdin, with their digests.
    pinned: Option<String>,
}

impl Checked {
    fn table(&self, style: Style) -> String {
        let mut rows = vec![["PLACE", "OBJECT", "WHERE", "IMAGE", "VERDICT"].map(str::to_owned).to_vec()];
        for place in &self.places {
            let judged = self.looks.get(&(place.image.clone(), place.written.clone()));
            let verdict = match judged.map(|judged| (&judged.problem, &judged.digest)) {
                // Without a mark: the whole may be refused all the same.
                Some((None, digest)) => format!("verified {digest}"),
                Some((Some(problem), _)) => style.bad(problem.id()),
                None => style.bad(Code::Internal.id()),
            };
            rows.push(vec![
                format!("{}:{}", style::plain(&place.file), place.line),
                place.object.clone(),
                style::plain(&place.path),
                style::plain(&place.image),
                verdict,
            ]);
        }
        if rows.len() == 1 { String::new() } else { style::table(&rows) }
    }

    /// What `--pin --dry-run` would write.
    fn differences(&self) -> String {
        let mut text = String::new();
        for place in &self.places {
            if let Some(pinned) = &place.pinned {
                let (file, image, pinned) =
                    (style::plain(&place.file), style::plain(&place.image), style::plain(pinned));
                text.push_str(&format!("{file}:{}\n- {image}\n+ {pinned}\n", place.line));
            }
        }
        text
    }

    fn shows_differences(&self) -> bool {
        self.pin && self.dry_run && self.problems().is_empty()
    }

    fn summary(&self, style: Style) -> String {
        let refused = self.looks.values().filter(|judged| judged.problem.is_some()).count();
        let verified = self.looks.len().saturating_sub(refused);
        let counts = format!(
            "images verified: {verified}, refused: {refused}; places: {}; files: {}; documents: {}, without images: {}",
            self.places.len(),
            self.files,
            self.documents,
            self.without
        );
        let problems = self.unreadable.len();
        let unread = if problems == 0 { String::new() } else { format!("; not understood: {problems}") };
        let mark = if self.problems().is_empty() { style.good("checked") } else { style.bad("refused") };
        let running = match self.places.iter().filter(|place| place.written.is_some()).count() {
            0 => String::new(),
            running => format!("; of what runs: {running}"),
        };
        let place = self.decided_by.as_ref().map(|by| format!("; in {}", style::plain(by))).unwrap_or_default();
        format!("{mark} {counts}{running}{unread}{place}\n")
    }

    fn written(&self, style: Style) -> String {
        let files = self.files_changed.len();
        match (self.pin, self.problems().is_empty(), self.dry_run) {
            (false, ..) => String::new(),
            (true, false, _) => {
                format!("{} nothing was written: not every image is verified\n", style.warn("not pinned"))
            }
            (true, true, true) => {
                format!("{} files to change: {files}; nothing was written\n", style.warn("dry run"))
            }
            (true, true, false) if self.from_stdin => format!("{} to stdout\n", style.good("pinned")),
            (true, true, false) => {
                let names: String = self.files_changed.iter().map(|f| format!("  {}\n", style::plain(f))).collect();
                format!("{} files changed: {files}\n{names}", style.good("pinned"))
            }
        }
    }
}

impl Answer for Checked {
    fn command(&self) -> &'static str {
        "verify"
    }

    fn json(&self) -> Value {
        crate::output::value(&ManifestsReport {
            places: self.places.clone(),
            images: self.looks.values().map(|judged| judged.json.clone()).collect(),
            exceptions_unread: self.unread.clone(),
            unreadable: self.unreadable.iter().map(Problem::json).collect(),
            files: self.files,
            documents: self.documents,
            documents_without_images: self.without,
            pinned: self.pinned.clone(),
            files_changed: self.files_changed.clone(),
            dry_run: self.dry_run,
        })
    }

    fn text(&self, style: Style) -> String {
        match &self.pinned {
            // The manifests go on in the pipe: nothing else may be among them.
            Some(text) => text.clone(),
            None if self.shows_differences() => self.differences(),
            // Whoever applies what comes out must get nothing.
            None if self.from_stdin && self.pin => String::new(),
            None => self.table(style),
        }
    }

    fn report(&self, style: Style) -> String {
        let table_elsewhere = self.pin && (self.from_stdin || self.shows_differences());
        let mut report = if table_elsewhere { self.table(style) } else { String::new() };
        if self.unsigned {
            report.push_str(&unsigned_note(style));
        }
        let lifted = self.lifted.iter().map(|(image, decision)| (image.clone(), decision));
        report.push_str(&exception_notes(lifted, &self.unread, style));
        report.push_str(&self.summary(style));
        report.push_str(&self.written(style));
        report
    }

    fn problems(&self) -> Vec<&Problem> {
        self.looks.values().filter_map(|judged| judged.problem.as_ref()).chain(&self.unreadable).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_must_be_signed_and_be_what_its_tag_is_signed_for() {
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        let image = Reference::parse("r.io/a").unwrap().pinned(old);
        let verified = || Judged { json: Value::Null, problem: None, digest: "x".to_owned(), addition: None };
        let told = running(verified(), "r.io/a:v1", &image, Some(new)).problem.unwrap();
        assert_eq!((told.code, told.exit()), (Code::TagIsOther, 13));
        assert!(told.headline.contains("what runs as r.io/a:v1 is another image"), "{}", told.headline);
        assert!(told.text().contains(&old.to_string()) && told.text().contains(&new.to_string()), "{}", told.text());
        assert!(running(verified(), "r.io/a:v1", &image, Some(old)).problem.is_none());
        // What is wrong with the tag is said of the tag.
        assert!(running(verified(), "r.io/a:v1", &image, None).problem.is_none());
        let refused = Judged { problem: Some(Problem::new(Code::NotSigned)), ..verified() };
        let told = running(refused, "r.io/a:v1", &image, Some(new)).problem.unwrap();
        assert!(told.code == Code::NotSigned && told.headline.starts_with("what runs as r.io/a:v1: "));
    }
}
