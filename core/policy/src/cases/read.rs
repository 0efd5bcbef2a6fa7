//! Case files: `tests/NAME.toml`, each with tables `[[case]]`. What is refused is told with its line.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use trust_image::facts::MAX_PLATFORMS;
use trust_image::{Digest, ImageFacts, PlatformFacts, Reference};

use super::{Case, Expected};
use crate::decision::Cause;
use crate::environment::Environment;
use crate::lexer::{self, Position};
use crate::load::Place;
use crate::members::Members;
use crate::subject::{Action, Subject};
use crate::{text, time};

/// Largest case file, in bytes.
pub const MAX_FILE_LEN: usize = 256 * 1024;
/// Cases of one file.
pub const MAX_CASES: usize = 1_000;
/// Longest name of a case, in bytes.
const MAX_NAME_LEN: usize = 256;
/// Signers, conflicts or expected rules of one case.
const MAX_NAMES: usize = 1_000;
/// The time of a case that states none.
const SOME_DAY: &str = "2026-01-01T00:00:00Z";
/// The platform of an image that states only labels.
const SOME_PLATFORM: &str = "linux/amd64";

/// Why a file of cases is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct CaseError {
    /// Where.
    pub place: Place,
    /// What is wrong and what to do.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Members<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    environment: Spanned<toml::Value>,
    #[serde(default)]
    action: Option<Spanned<String>>,
    #[serde(default)]
    now: Option<Spanned<Time>>,
    image: Spanned<Members<Image>>,
    expect: Spanned<Members<Expect>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    reference: Spanned<String>,
    #[serde(default)]
    digest: Option<Spanned<String>>,
    #[serde(default)]
    collection: Option<String>,
    #[serde(default)]
    signers: Option<Vec<String>>,
    #[serde(default)]
    conflicts: Vec<String>,
    #[serde(default)]
    tag_moved: Option<bool>,
    #[serde(default)]
    signed: Option<Spanned<Time>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    stated: BTreeMap<String, String>,
    #[serde(default)]
    root_version: Option<u64>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platforms: Option<Vec<Members<Platform>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    platform: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    decision: Spanned<String>,
    #[serde(default)]
    rules: Option<Vec<String>>,
    #[serde(default)]
    cause: Option<Spanned<String>>,
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as a time or as a text.
struct Time(String);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) => Ok(Time(text)),
            toml::Value::Datetime(time) => Ok(Time(time.to_string())),
            _ => Err(D::Error::custom("a time is written as 2026-01-01T00:00:00Z")),
        }
    }
}

/// Reads the cases of one file. `environment` reads an environment file by the path that the case names.
pub fn read(
    path: &str,
    bytes: &[u8],
    mut environment: impl FnMut(&str) -> Result<Environment, String>,
) -> Result<Vec<Case>, CaseError> {
    let file = Reading { path, text: std::str::from_utf8(bytes).unwrap_or_default() };
    if bytes.len() > MAX_FILE_LEN {
        return Err(file.fault(0..0, format!("a file of cases has at most {MAX_FILE_LEN} bytes")));
    }
    if file.text.len() != bytes.len() {
        return Err(file.fault(0..0, "the file is not UTF-8 text".to_owned()));
    }
    let written: File = toml::from_str(file.text).map_err(|error| file.syntax(&error))?;
    if written.case.is_empty() {
        return Err(file.fault(0..0, "there is no case in it; each begins with [[case]]".to_owned()));
    }
    if written.case.len() > MAX_CASES {
        return Err(file.fault(0..0, format!("a file has at most {MAX_CASES} cases")));
    }
    let mut cases: Vec<Case> = Vec::with_capacity(written.case.len());
    for Members(written) in written.case {
        let at = written.name.span();
        let case = file.case(written, &mut environment)?;
        if let Some(first) = cases.iter().find(|first| first.name == case.name) {
            return Err(file.fault(at, format!("this name is also that of the case at line {}", first.place.line)));
        }
        cases.push(case);
    }
    Ok(cases)
}

/// A file that is read.
struct Reading<'f> {
    path: &'f str,
    text: &'f str,
}

impl Reading<'_> {
    fn place(&self, at: &Range<usize>) -> Place {
        Place::new(self.path, lexer::position(Position::START, self.text, at.start))
    }

    fn fault(&self, at: Range<usize>, message: String) -> CaseError {
        CaseError { place: self.place(&at), message }
    }

    /// The parser's words on one line, with the known member that is nearest to an unknown one.
    fn syntax(&self, error: &toml::de::Error) -> CaseError {
        let said = error.message();
        let mut lines = self.text.split_inclusive('\n').scan(0_usize, |end, line| {
            let start = *end;
            *end = end.saturating_add(line.len());
            Some((start, line))
        });
        if let Some((at, _)) =
            lines.find(|(_, line)| line.split('#').next().is_some_and(|line| line.trim() == "[case]"))
        {
            return self.fault(at..at, "a case begins with [[case]], in two pairs of brackets".to_owned());
        }
        let mut words = said.split('`').skip(1).step_by(2);
        let given = words.next().filter(|_| said.starts_with("unknown"));
        let meant = given.and_then(|given| text::nearest(given, words));
        let told = match (meant, said.split_once(", expected")) {
            (Some(word), Some((unknown, _))) => format!("{}; did you mean `{word}`?", text::printable(unknown)),
            _ => text::printable(said),
        };
        self.fault(error.span().unwrap_or(0..0), told)
    }

    fn case(
        &self,
        written: Written,
        environment: &mut impl FnMut(&str) -> Result<Environment, String>,
    ) -> Result<Case, CaseError> {
        let (at, name) = (written.name.span(), written.name.into_inner());
        if name.trim().is_empty() || name.len() > MAX_NAME_LEN || name.chars().any(text::is_unprintable) {
            return Err(self.fault(
                at,
                format!("the name of a case is 1 to {MAX_NAME_LEN} bytes, without control or invisible characters"),
            ));
        }
        let place = self.place(&at);
        let at = written.environment.span();
        let environment = match written.environment.into_inner() {
            toml::Value::String(file) => environment(&file),
            toml::Value::Table(table) => toml::to_string(&table)
                .map_err(|error| error.to_string())
                .and_then(|text| Environment::from_toml(&text, &place.to_string()).map_err(|error| error.to_string())),
            _ => Err("an environment is the path of a file, or a table with name and cloud".to_owned()),
        };
        let environment = environment.map_err(|why| self.fault(at, why))?;
        let action = match written.action {
            None => Action::Deploy,
            Some(word) => {
                word.get_ref().parse().map_err(|e: crate::UnknownAction| self.fault(word.span(), e.to_string()))?
            }
        };
        let at = written.image.span();
        let Members(image) = written.image.into_inner();
        let given = written
            .now
            .or_else(|| image.signed.as_ref().map(|time| Spanned::new(time.span(), Time(time.get_ref().0.clone()))));
        let now = match given {
            None => time::unix(SOME_DAY).unwrap_or_default(),
            Some(given) => self.time(&given)?,
        };
        let subject = self.subject(image, at, now)?;
        let Members(expect) = written.expect.into_inner();
        Ok(Case { name, place, environment, action, now, subject, expected: self.expected(expect)? })
    }

    fn time(&self, given: &Spanned<Time>) -> Result<i64, CaseError> {
        let form = || self.fault(given.span(), "a time is written as 2026-01-01T00:00:00Z".to_owned());
        time::unix(&given.get_ref().0).ok_or_else(form)
    }

    fn subject(&self, image: Image, at: Range<usize>, now: i64) -> Result<Subject, CaseError> {
        let whole = |message: &str| self.fault(at.clone(), message.to_owned());
        let reference = Reference::parse(image.reference.get_ref())
            .map_err(|error| self.fault(image.reference.span(), error.to_string()))?;
        let digest = match &image.digest {
            Some(given) => {
                Digest::parse(given.get_ref()).map_err(|error| self.fault(given.span(), error.to_string()))?
            }
            // Any digest will do where none is named.
            None => reference.digest().cloned().unwrap_or_else(|| Digest::of(image.reference.get_ref().as_bytes())),
        };
        if reference.digest().is_some_and(|named| *named != digest) {
            return Err(whole("the digest is another one than that of the reference"));
        }
        let signed = match &image.signed {
            Some(given) => self.time(given)?,
            None => now,
        };
        let signed = time::text(signed).unwrap_or_else(|| SOME_DAY.to_owned());
        let platforms = match (image.labels, image.platforms) {
            (Some(_), Some(_)) => {
                return Err(whole("an image has labels (of its one platform) or platforms, not both"));
            }
            (labels, None) => vec![(SOME_PLATFORM.to_owned(), labels.unwrap_or_default())],
            (None, Some(many)) => many.into_iter().map(|Members(one)| (one.platform, one.labels)).collect(),
        };
        if platforms.is_empty() || platforms.len() > MAX_PLATFORMS {
            return Err(whole(&format!("an image has 1 to {MAX_PLATFORMS} platforms")));
        }
        let single = |platforms: &[(String, _)]| platforms.len() == 1;
        let kind = if single(&platforms) { "manifest" } else { "index" };
        let of_platform = |(platform, labels): (String, _)| PlatformFacts {
            digest: if kind == "manifest" { digest } else { Digest::of(format!("{digest} {platform}").as_bytes()) },
            platform,
            labels,
        };
        let mut tags = image.tags.unwrap_or_else(|| reference.tag().map(str::to_owned).into_iter().collect());
        tags.sort();
        tags.dedup();
        let facts = ImageFacts {
            media_type: format!("application/vnd.oci.image.{kind}.v1+json"),
            signed,
            tags,
            platforms: platforms.into_iter().map(of_platform).collect(),
            annotations: image.annotations,
            stated: image.stated,
        };
        // What could not be signed is no case.
        facts.to_custom().map_err(|error| whole(&error.to_string()))?;
        let signers = image.signers.unwrap_or_else(|| vec!["targets".to_owned()]);
        if signers.len().max(image.conflicts.len()) > MAX_NAMES {
            return Err(whole(&format!("an image has at most {MAX_NAMES} signers and conflicts")));
        }
        let collection = image
            .collection
            .unwrap_or_else(|| format!("{}/{}", reference.canonical_domain(), reference.canonical_path()));
        Ok(Subject {
            collection,
            signers,
            conflicts: image.conflicts,
            tag_moved: image.tag_moved,
            root_version: image.root_version.unwrap_or(1),
            facts: Some(facts),
            reference,
            digest,
        })
    }

    fn expected(&self, expect: Expect) -> Result<Expected, CaseError> {
        let allowed = match expect.decision.get_ref().as_str() {
            "allow" => true,
            "deny" => false,
            _ => return Err(self.fault(expect.decision.span(), "a decision is \"allow\" or \"deny\"".to_owned())),
        };
        let rules = expect.rules.map(|mut rules| {
            rules.sort();
            rules.dedup();
            rules
        });
        let cause = match &expect.cause {
            None => None,
            Some(word) => Some(cause(word.get_ref()).map_err(|why| self.fault(word.span(), why))?),
        };
        Ok(Expected { allowed, rules, cause })
    }
}

/// A cause by its word.
fn cause(word: &str) -> Result<Cause, String> {
    // Exceptions lift nothing here.
    let all = [
        Cause::Permitted,
        Cause::Forbidden,
        Cause::NothingPermits,
        Cause::LabelOutside,
        Cause::LabelMissing,
        Cause::NoFacts,
        Cause::Error,
    ];
    let words = all.map(super::cause_word);
    let found = all.into_iter().zip(&words).find(|(_, known)| *known == word);
    found.map(|(cause, _)| cause).ok_or_else(|| {
        let nearest = text::nearest(word, words.iter().map(String::as_str));
        let nearest = nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("a cause is one of {}{nearest}", words.join(", "))
    })
}
