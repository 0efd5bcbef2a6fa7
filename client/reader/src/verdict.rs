//! The one value that decides text, JSON and exit code of an answer.
//!
//! [`Problem`] is every refusal and failure; [`Verdict`] is the answer about one image. The three outputs are pure
//! functions of them: no other code prints success or sets an exit code. Invariant: whatever comes from the network or a
//! file is escaped when it enters a problem, so that no name can steer a terminal or turn the direction of the text.

use std::fmt::{self, Display, Write as _};
pub use trust_image::text::is_unprintable;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::catalogue::{Code, exit};
use crate::problems::Failure;
use crate::verify::VerifiedImage;

/// The `schema` of every JSON document.
pub const SCHEMA: &str = "trust/v1";
/// Longest value of a fact, in characters; the rest is cut with `…`.
const MAX_VALUE: usize = 1_024;

/// What a problem is about, for programs: each member only where it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The image reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The digest that is signed, or that was asked for: `sha256:HEX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_digest: Option<String>,
    /// The digest that was found in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_digest: Option<String>,
}

/// A refusal or failure: what happened, the facts, the cause, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The row of the catalogue: id and exit code.
    pub code: Code,
    /// What happened, with names; else the catalogue's.
    pub headline: String,
    /// Label and value, in order.
    pub facts: Vec<(String, String)>,
    /// Why; empty where the headline or a fact says it already.
    pub cause: String,
    /// What to do, one step a line.
    pub remedy: Vec<String>,
    /// What it is about.
    pub subject: Box<Subject>,
    /// What a lower layer said, for tests and for programs; not printed.
    pub failure: Option<Box<Failure>>,
}

impl Problem {
    /// A problem as the catalogue describes it.
    pub fn new(code: Code) -> Self {
        let entry = code.entry();
        Self {
            code,
            headline: entry.headline.to_owned(),
            facts: Vec::new(),
            cause: entry.cause.to_owned(),
            remedy: entry.remedy.iter().map(|&step| step.to_owned()).collect(),
            subject: Box::default(),
            failure: None,
        }
    }

    /// Says what happened with names.
    #[must_use]
    pub fn headline(mut self, text: impl Display) -> Self {
        self.headline = printable(&text.to_string());
        self
    }

    /// Adds a fact. The facts `image` and `collection` are also the subject, unless it is known already.
    #[must_use]
    pub fn fact(mut self, label: &str, value: impl Display) -> Self {
        let value = printable(&value.to_string());
        match label {
            "image" => _ = self.subject.reference.get_or_insert_with(|| value.clone()),
            "collection" => _ = self.subject.collection.get_or_insert_with(|| value.clone()),
            _ => {}
        }
        self.facts.push((label.to_owned(), value));
        self
    }

    /// Says which image this is about, where no fact said so.
    #[must_use]
    pub fn about(mut self, reference: impl Display) -> Self {
        self.subject.reference.get_or_insert_with(|| printable(&reference.to_string()));
        self
    }

    /// Says in which collection it is, where no fact said so.
    #[must_use]
    pub fn within(mut self, collection: impl Display) -> Self {
        self.subject.collection.get_or_insert_with(|| printable(&collection.to_string()));
        self
    }

    /// Says which digest was expected and which one was found, for programs; the text has them as facts.
    #[must_use]
    pub fn digests(mut self, expected: impl Display, actual: impl Display) -> Self {
        self.subject.expected_digest = Some(printable(&expected.to_string()));
        self.subject.actual_digest = Some(printable(&actual.to_string()));
        self
    }

    /// Says the cause more exactly.
    #[must_use]
    pub fn cause(mut self, text: impl Display) -> Self {
        self.cause = printable(&text.to_string());
        self
    }

    /// Replaces what to do.
    #[must_use]
    pub fn remedy<S: Display>(mut self, steps: impl IntoIterator<Item = S>) -> Self {
        self.remedy = steps.into_iter().map(|s| printable(&s.to_string())).collect();
        self
    }

    /// Keeps what a lower layer said.
    #[must_use]
    pub fn because(mut self, failure: Failure) -> Self {
        self.failure = Some(Box::new(failure));
        self
    }

    /// The stable id.
    pub fn id(&self) -> &'static str {
        self.code.id()
    }

    /// The exit code.
    pub fn exit(&self) -> u8 {
        self.code.exit()
    }

    /// The text for people, several lines with a newline at the end.
    pub fn text(&self) -> String {
        let mut text = format!("error[{}]: {}\n", self.id(), self.headline);
        let labels = self.facts.iter().map(|(label, _)| label.chars().count());
        let width = labels.chain([6]).max().unwrap_or(6);
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "  {label:width$}  {value}");
        };
        for (label, value) in &self.facts {
            line(label, value);
        }
        if !self.cause.is_empty() {
            line("cause", &self.cause);
        }
        for (i, step) in self.remedy.iter().enumerate() {
            line(if i == 0 { "do" } else { "" }, step);
        }
        line("more", &format!("trust help {}", self.id()));
        text
    }

    /// The JSON document.
    pub fn json(&self) -> Value {
        let facts: Vec<Value> =
            self.facts.iter().map(|(label, value)| json!({"label": label, "value": value})).collect();
        json!({
            "schema": SCHEMA,
            "ok": false,
            "code": self.id(),
            "exit": self.exit(),
            "headline": self.headline,
            "subject": self.subject,
            "facts": facts,
            "cause": self.cause,
            "do": self.remedy,
        })
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.id(), self.headline)
    }
}

impl std::error::Error for Problem {}

/// The answer about one image.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Positively verified.
    Verified(Box<VerifiedImage>),
    /// Everything else.
    Refused(Box<Problem>),
}

impl From<Result<VerifiedImage, Problem>> for Verdict {
    fn from(result: Result<VerifiedImage, Problem>) -> Self {
        match result {
            Ok(image) => Self::Verified(Box::new(image)),
            Err(problem) => Self::Refused(Box::new(problem)),
        }
    }
}

impl Verdict {
    /// The exit code: 0 only for an image that was positively verified.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Verified(_) => exit::DONE,
            Self::Refused(problem) => problem.exit(),
        }
    }

    /// The exit code of several: the worst.
    pub fn worst(verdicts: &[Verdict]) -> u8 {
        exit::worst(verdicts.iter().map(Verdict::exit))
    }

    /// The text for people, several lines with a newline at the end.
    pub fn text(&self) -> String {
        match self {
            Self::Verified(image) => image.text(),
            Self::Refused(problem) => problem.text(),
        }
    }

    /// The JSON document.
    pub fn json(&self) -> Value {
        match self {
            Self::Verified(image) => success(image),
            Self::Refused(problem) => problem.json(),
        }
    }
}

/// The JSON document of a success: `schema`, `ok`, `exit` and the members of `value`, an object.
pub fn success(value: &impl Serialize) -> Value {
    let mut document = Map::new();
    document.insert("schema".to_owned(), SCHEMA.into());
    document.insert("ok".to_owned(), true.into());
    document.insert("exit".to_owned(), exit::DONE.into());
    if let Ok(Value::Object(members)) = serde_json::to_value(value) {
        document.extend(members);
    }
    Value::Object(document)
}

/// The text with everything escaped that a terminal would obey or a reader not see: control characters, line and
/// paragraph separators, bidirectional and invisible formatting characters. At most 1,024 characters.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        if i >= MAX_VALUE {
            out.push('…');
            break;
        }
        if is_unprintable(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_cannot_steer_the_terminal_or_turn_the_text() {
        let hostile = "api\u{1b}[2J\r\n\u{9b}31m\u{202e}dangis\u{2066}\u{200b}\u{feff}\u{7}";
        let text = Problem::new(Code::NotSigned).headline(hostile).fact("image", hostile).remedy([hostile]).text();
        assert!(text.chars().all(|c| c == '\n' || !is_unprintable(c)), "{text:?}");
        assert_eq!(text.lines().count(), 5, "a line break in a name makes no line of its own");
        assert!(text.contains("\\u{1b}[2J"));
        let json = Problem::new(Code::NotSigned).fact("image", hostile).json().to_string();
        assert!(!json.contains('\u{202e}'));
    }

    #[test]
    fn an_endless_name_is_cut() {
        assert_eq!(printable(&"a".repeat(100_000)).chars().count(), MAX_VALUE + 1);
    }

    #[test]
    fn the_shape_of_the_text_is_the_promised_one() {
        let problem = Problem::new(Code::DigestDiffers)
            .headline("tag v1 is signed for a different image than the registry serves")
            .fact("image", "registry.example.com/pay/api:v1")
            .fact("signed", "sha256:1c8f  by alice, ci")
            .remedy(["docker pull a", "trust sign b"]);
        let expected = "error[E1403]: tag v1 is signed for a different image than the registry serves
  image   registry.example.com/pay/api:v1
  signed  sha256:1c8f  by alice, ci
  cause   the tag was pushed again after it was signed
  do      docker pull a
          trust sign b
  more    trust help E1403
";
        assert_eq!(problem.text(), expected);
    }

    #[test]
    fn a_program_reads_what_a_failure_is_about_without_reading_the_text() {
        let nothing = Problem::new(Code::Internal).json();
        assert_eq!(nothing["subject"], json!({}), "nothing is claimed that is not known");
        let problem = Problem::new(Code::DigestDiffers)
            .fact("image", "r.example/pay/api:v1\u{202e}")
            .fact("server", "https://s")
            .digests("sha256:aa", "sha256:bb")
            .about("r.example/other")
            .within("r.example/pay");
        let expected = json!({
            "reference": "r.example/pay/api:v1\\u{202e}", "collection": "r.example/pay",
            "expected_digest": "sha256:aa", "actual_digest": "sha256:bb",
        });
        assert_eq!(problem.json()["subject"], expected);
        let refused = Verdict::from(Err(problem));
        assert_eq!(refused.json()["subject"], expected);
    }

    #[test]
    fn no_failure_looks_like_success_in_any_output() {
        for &code in Code::ALL {
            let verdict = Verdict::from(Err(Problem::new(code)));
            assert_ne!(verdict.exit(), 0);
            assert_eq!(verdict.json()["ok"], false);
            assert_eq!(verdict.json()["exit"], verdict.exit());
            assert_eq!(verdict.json()["code"], code.id());
            assert!(verdict.text().starts_with(&format!("error[{}]: ", code.id())));
            assert!(!verdict.text().contains('✓'));
        }
    }
}
