//! `trust policy explain`: one image, one decision, and the evaluator's own trace.
//!
//! Invariant: the image is verified first, by the same code as `trust verify`; only with `--facts` nothing is, and then
//! every form of the answer says so. The trace is the decision's own text: there is no second evaluator.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use trust_image::{Digest, ImageFacts, Reference};
use trust_policy::Subject;
use trust_reader::verdict::Problem;

use super::verify::{Place, Verifier, exception_notes, require, unsigned_note};
use crate::app::App;
use crate::cli::policy::PolicyExplain;
use crate::output::Explained;
use crate::policy::{fault, judge};
use crate::printer::Answer;
use crate::settings::paths;
use crate::style::{self, Style};

/// Largest file of facts, in bytes.
const MAX_FACTS_BYTES: u64 = 1024 * 1024;

/// Runs the command.
pub fn run(app: &App, args: &PolicyExplain) -> Result<Trace, Problem> {
    let place = Place::read(app, &args.env, &args.deciding)?;
    let given = match &args.facts {
        Some(path) => Some(read_facts(path)?),
        None => None,
    };
    let mut verifier = Verifier::new(app, require(&[], 1));
    verifier.open_all(&args.image, place.pin());
    let judge = place.judge(&mut verifier)?;
    let subject = match (given, &args.image) {
        (Some(subject), _) => subject,
        (None, Some(image)) => judge::subject(image, &verifier.verify(image)?),
        (None, None) => return Err(crate::fault::usage("name an image with --image, or facts with --facts")),
    };
    let decision = judge.decide_on(&subject);
    let without_exception = decision.exception.as_ref().map(|_| judge.decide_without_exceptions(&subject));
    let reference = subject.reference.to_string();
    let denial = fault::denial(&reference, &decision, Some(&args.env));
    let exceptions_not_lifting = judge.not_lifting(&decision, &subject);
    let explained = Explained {
        reference,
        digest: subject.digest.to_string(),
        verified: args.facts.is_none(),
        decision,
        without_exception,
        exceptions_not_lifting,
        exceptions_unread: judge.granted.unread.clone(),
    };
    Ok(Trace { explained, denial, unsigned: judge.is_unsigned() })
}

/// What of an answer of `trust verify -o json` the policy sees.
#[derive(Deserialize)]
struct Given {
    reference: String,
    digest: Digest,
    collection: String,
    #[serde(default)]
    signers: Vec<Named>,
    #[serde(default)]
    conflicts: Vec<Named>,
    #[serde(default)]
    tag_moved: Option<bool>,
    #[serde(default)]
    versions: Versions,
    facts: Option<ImageFacts>,
}

/// The versions that the answer rests on; in older answers there are none.
#[derive(Default, Deserialize)]
struct Versions {
    root: u64,
}

/// A signer, as the answer names them, or by the name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    Signer {
        name: String,
        /// One that counts as one with another signer is not seen by rules.
        #[serde(default)]
        counts_with: Option<String>,
    },
}

impl Named {
    fn name(self) -> Option<String> {
        match self {
            Self::Signer { counts_with: Some(_), .. } => None,
            Self::Name(name) | Self::Signer { name, .. } => Some(name),
        }
    }
}

/// The subject in a file: the document of one image, or an answer about exactly one.
fn read_facts(path: &Path) -> Result<Subject, Problem> {
    let mut text = Vec::new();
    let file = paths::open_now(path).map_err(|e| crate::fault::file(path, &e))?;
    file.take(MAX_FACTS_BYTES.saturating_add(1)).read_to_end(&mut text).map_err(|e| crate::fault::file(path, &e))?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MAX_FACTS_BYTES) {
        return Err(fault::facts(path, "it is too large for an answer about one image"));
    }
    let document = trust_image::json::parse(&text).map_err(|error| fault::facts(path, &error.to_string()))?;
    let one = match document.get("images").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => one.clone(),
        Some(_) => return Err(fault::facts(path, "it speaks of several images or of none")),
        None => document,
    };
    if one.get("ok") == Some(&Value::Bool(false)) {
        return Err(fault::facts(path, "it is the answer about an image that was refused"));
    }
    let given: Given = serde_json::from_value(one).map_err(|error| fault::facts(path, &error.to_string()))?;
    let reference = Reference::parse(&given.reference).map_err(|error| fault::facts(path, &error.to_string()))?;
    Ok(Subject {
        reference,
        digest: given.digest,
        collection: given.collection,
        signers: given.signers.into_iter().filter_map(Named::name).collect(),
        conflicts: given.conflicts.into_iter().filter_map(Named::name).collect(),
        tag_moved: given.tag_moved,
        root_version: given.versions.root,
        facts: given.facts,
    })
}

/// The decision with its trace.
pub struct Trace {
    explained: Explained,
    denial: Option<Problem>,
    unsigned: bool,
}

impl Answer for Trace {
    fn command(&self) -> &'static str {
        "policy explain"
    }

    fn json(&self) -> Value {
        let mut value = crate::output::value(&self.explained);
        if let (Some(denial), Some(members)) = (&self.denial, value.as_object_mut()) {
            members.insert("code".to_owned(), denial.id().into());
        }
        value
    }

    fn text(&self, _: Style) -> String {
        let not_lifting = self.explained.exceptions_not_lifting.iter();
        let not_lifting = not_lifting.map(|other| format!("\n  exception  {}", style::plain(&other.words())));
        let decision = not_lifting.fold(self.explained.decision.text(), |text, line| text + &line);
        match &self.explained.without_exception {
            None => format!("{decision}\n"),
            Some(without) => format!("{decision}\n\nWithout the exception:\n{}\n", without.text()),
        }
    }

    fn report(&self, style: Style) -> String {
        let mut report = String::new();
        if !self.explained.verified {
            report.push_str(&format!("{} the facts are those of a file: nothing was verified\n", style.warn("note")));
        }
        if self.unsigned {
            report.push_str(&unsigned_note(style));
        }
        report.push_str(&exception_notes(
            [(self.explained.reference.clone(), &self.explained.decision)],
            &self.explained.exceptions_unread,
            style,
        ));
        report
    }

    fn problems(&self) -> Vec<&Problem> {
        self.denial.iter().collect()
    }

    fn tells_problems(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use trust_reader::catalogue::Code;

    use super::*;

    fn read(text: &str) -> Result<Subject, Problem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("facts.json");
        std::fs::write(&path, text).unwrap();
        read_facts(&path)
    }

    #[test]
    fn facts_that_are_not_about_exactly_one_verified_image_are_refused() {
        let image = format!(
            r#"{{"ok":true,"reference":"r.example/pay/api:v1","digest":"sha256:{}","collection":"r.example/pay","facts":null}}"#,
            "a".repeat(64)
        );
        assert_eq!(read(&image).unwrap().reference.to_string(), "r.example/pay/api:v1");
        assert!(read(&format!(r#"{{"images":[{image}]}}"#)).is_ok());
        for bad in [
            String::new(),
            "[]".to_owned(),
            format!(r#"{{"images":[{image},{image}]}}"#),
            r#"{"images":[]}"#.to_owned(),
            image.replace("\"ok\":true", "\"ok\":false"),
            image.replace("\"collection\":", "\"collection\":\"x\",\"collection\":"),
            image.replace("r.example/pay/api:v1", "R.example/:"),
            image.replace("sha256:", "md5:"),
        ] {
            assert_eq!(read(&bad).unwrap_err().code, Code::Usage, "{bad}");
        }
    }
}
