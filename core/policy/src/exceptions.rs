//! Exceptions ("break glass"): a signed statement that lifts named rules for one image in one environment, for some days.
//!
//! Invariants: an exception names one image by its digest, one environment and the rules it lifts, and holds for
//! [`MAX_LIFE`] at most. It lifts a denial only if it names every rule that decided; what no rule decided (a label outside
//! the dictionary, facts that are missing, a rule that failed) is never lifted, and nothing that is not a decision of the
//! policy ever comes here. A file that does not read lifts nothing. Deliberately absent: who may sign one (the reader
//! checks the role), and how they are kept.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trust_image::json::{self, JsonError};
use trust_image::{Digest, Reference};

use crate::decide::MAX_NAMED;
use crate::decision::{Cause, Decision, ExceptionUsed, PlatformDecision, Verdict};
use crate::environment;
use crate::load::{MAX_ID_LEN, Source};
use crate::members::Members;
use crate::subject::Subject;
use crate::{text, time};

/// Largest file of one exception, in bytes.
pub const MAX_FILE_LEN: usize = 16 * 1024;
/// How long an exception holds at most, in seconds: 7 days.
pub const MAX_LIFE: i64 = 7 * 86_400;
/// Rules that one exception lifts.
pub const MAX_RULES: usize = 32;
/// Longest reason, in bytes.
pub const MAX_REASON_LEN: usize = 1_024;
/// How far the clock of who granted it may be ahead, in seconds.
pub const MAX_AHEAD: i64 = 300;
/// What the member `schema` of a file says.
pub const SCHEMA: &str = "trust/exception/v1";

const DIR: &str = "_exceptions/";
const END: &str = ".json";

/// A file `_exceptions/ID.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionFile {
    /// `trust/exception/v1`.
    pub schema: String,
    /// The image by its digest: `registry.example.com/hr/payroll@sha256:…`.
    pub image: String,
    /// The name of the environment.
    pub environment: String,
    /// Ids of the rules that are lifted.
    pub rules: Vec<String>,
    /// Why, for everybody who sees that it is used.
    pub reason: String,
    /// When it was granted: `YYYY-MM-DDTHH:MM:SSZ`, a claim of who signed it.
    pub granted: String,
    /// The first second at which it does not hold any more, at most 7 days after `granted`.
    pub expires: String,
}

/// Why an exception was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExceptionError {
    /// Not `_exceptions/ID.json` with an id of `[a-z0-9][a-z0-9-]{0,62}`.
    #[error("{path} is not _exceptions/ID.json with an id of 1 to 63 of a-z, 0-9 and \"-\", the first not \"-\"")]
    Path {
        /// As given, escaped.
        path: String,
    },
    /// More than [`MAX_FILE_LEN`] bytes.
    #[error("the exception is longer than {MAX_FILE_LEN} bytes")]
    TooLong,
    /// Not acceptable as JSON.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member is absent, unknown or of another type; the text says which.
    #[error("{0}")]
    Shape(String),
    /// Another form than [`SCHEMA`].
    #[error("the schema is {found}, and known here is \"{SCHEMA}\"")]
    Schema {
        /// As it stands there, escaped.
        found: String,
    },
    /// The image is not named by a digest alone.
    #[error(
        "the image is {found}, and must be a name with a digest and no tag: registry.example.com/hr/payroll@sha256:…"
    )]
    Image {
        /// As it stands there, escaped.
        found: String,
    },
    /// No name of an environment.
    #[error("the environment is {found}: a name is 1 to 63 of a-z, 0-9 and \"-\", the first not \"-\"")]
    Environment {
        /// As it stands there, escaped.
        found: String,
    },
    /// None or more than [`MAX_RULES`], or one that is too long or given twice.
    #[error("an exception lifts 1 to {MAX_RULES} rules, each named once by an id of at most {MAX_ID_LEN} bytes")]
    Rules,
    /// No reason, or one of more than [`MAX_REASON_LEN`] bytes.
    #[error("the reason is empty or longer than {MAX_REASON_LEN} bytes")]
    Reason,
    /// A time in another form.
    #[error("{member} is not a time of the form YYYY-MM-DDTHH:MM:SSZ")]
    Time {
        /// `granted` or `expires`.
        member: &'static str,
    },
    /// It would hold longer than [`MAX_LIFE`], or not at all.
    #[error("an exception holds for more than 0 seconds and at most 7 days from the time that it was granted")]
    Life,
}

/// One exception that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    id: String,
    file: ExceptionFile,
    /// The canonical name of the image.
    name: String,
    digest: Digest,
    granted: i64,
    expires: i64,
    signed_by: Vec<String>,
}

impl Exception {
    /// Checks a file before it is signed, or after its signature was checked.
    pub fn new(id: &str, file: ExceptionFile, signed_by: &[String]) -> Result<Exception, ExceptionError> {
        if !environment::is_name(id) {
            return Err(ExceptionError::Path { path: text::printable(id) });
        }
        if file.schema != SCHEMA {
            return Err(ExceptionError::Schema { found: text::quoted(&file.schema) });
        }
        let image = || ExceptionError::Image { found: text::quoted(&file.image) };
        let reference = Reference::parse(&file.image).map_err(|_| image())?;
        let digest = *reference.digest().ok_or_else(image)?;
        if reference.tag().is_some() {
            return Err(image());
        }
        if !environment::is_name(&file.environment) {
            return Err(ExceptionError::Environment { found: text::quoted(&file.environment) });
        }
        let is_once = |(at, id): (usize, &String)| !file.rules.iter().take(at).any(|before| before == id);
        let fits = |id: &String| (1..=MAX_ID_LEN).contains(&id.len());
        if !(1..=MAX_RULES).contains(&file.rules.len())
            || !file.rules.iter().all(fits)
            || !file.rules.iter().enumerate().all(is_once)
        {
            return Err(ExceptionError::Rules);
        }
        if file.reason.trim().is_empty() || file.reason.len() > MAX_REASON_LEN {
            return Err(ExceptionError::Reason);
        }
        let granted = time::unix(&file.granted).ok_or(ExceptionError::Time { member: "granted" })?;
        let expires = time::unix(&file.expires).ok_or(ExceptionError::Time { member: "expires" })?;
        if !(1..=MAX_LIFE).contains(&expires.saturating_sub(granted)) {
            return Err(ExceptionError::Life);
        }
        let name = reference.name().to_owned();
        let (id, signed_by) = (id.to_owned(), signed_by.to_vec());
        Ok(Exception { id, file, name, digest, granted, expires, signed_by })
    }

    /// Reads the content of `_exceptions/ID.json`.
    pub fn read(path: &str, bytes: &[u8], signed_by: &[String]) -> Result<Exception, ExceptionError> {
        let id = path.strip_prefix(DIR).and_then(|rest| rest.strip_suffix(END));
        let id = id.ok_or_else(|| ExceptionError::Path { path: text::printable(path) })?;
        if bytes.len() > MAX_FILE_LEN {
            return Err(ExceptionError::TooLong);
        }
        json::parse(bytes)?;
        let shape = |e: serde_json::Error| ExceptionError::Shape(text::printable(&e.to_string()));
        let Members(file): Members<ExceptionFile> = serde_json::from_slice(bytes).map_err(shape)?;
        Exception::new(id, file, signed_by)
    }

    /// The target path of an exception with this id.
    pub fn path_of(id: &str) -> String {
        format!("{DIR}{id}{END}")
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What stands in it.
    pub fn file(&self) -> &ExceptionFile {
        &self.file
    }

    /// Who signed it.
    pub fn signed_by(&self) -> &[String] {
        &self.signed_by
    }

    /// Whether it holds at this moment. One that was granted in the future does not: its life would be longer than allowed.
    pub fn holds(&self, now_unix: i64) -> bool {
        self.granted.saturating_sub(MAX_AHEAD) <= now_unix && now_unix < self.expires
    }

    /// The first second at which it does not hold any more, in seconds since 1970.
    pub fn expires_unix(&self) -> i64 {
        self.expires
    }

    /// Whether it is to hold only later: it was signed in advance.
    pub fn is_to_come(&self, now_unix: i64) -> bool {
        now_unix < self.granted.saturating_sub(MAX_AHEAD)
    }

    /// Whether both are for the same image in the same environment.
    pub fn is_beside(&self, other: &Exception) -> bool {
        self.digest == other.digest && self.name == other.name && self.file.environment == other.file.environment
    }

    /// Whether it is for this image, by name and digest.
    fn is_of(&self, subject: &Subject) -> bool {
        self.digest == subject.digest && self.name == subject.reference.name()
    }

    /// Whether it lifts this denial.
    fn lifts(&self, decision: &Decision, subject: &Subject, now_unix: i64) -> bool {
        self.is_of(subject) && self.why_not(decision, now_unix).is_none()
    }

    /// Why it does not lift this denial of its image.
    fn why_not(&self, decision: &Decision, now_unix: i64) -> Option<NotLifted> {
        if self.file.environment != decision.environment.name {
            return Some(NotLifted::Environment { environment: self.file.environment.clone() });
        }
        if now_unix >= self.expires {
            return Some(NotLifted::Expired { expires: self.file.expires.clone() });
        }
        if !self.holds(now_unix) {
            return Some(NotLifted::NotYet { granted: self.file.granted.clone() });
        }
        let by_rules = matches!(decision.cause, Cause::Forbidden | Cause::NothingPermits);
        if !by_rules || decision.rules.is_empty() {
            return Some(NotLifted::NoRule);
        }
        // Of very many rules that were not met not all are told: then it is not known which must be named.
        if decision.cause == Cause::NothingPermits && decision.rules.len() >= MAX_NAMED {
            return Some(NotLifted::TooMany);
        }
        let is_named = |id: &&String| self.file.rules.contains(id);
        let rules: Vec<String> =
            decision.rules.iter().map(|rule| &rule.id).filter(|id| !is_named(id)).cloned().collect();
        if !rules.is_empty() {
            return Some(NotLifted::Rules { rules });
        }
        // Beside a platform that is forbidden one that no rule permits stays denied: no rule of its denial can be named.
        let is_told = |platform: &PlatformDecision| match platform.verdict {
            Verdict::Permitted | Verdict::Forbidden => true,
            Verdict::NothingPermits => decision.cause == Cause::NothingPermits,
            _ => false,
        };
        (!decision.platforms.iter().all(is_told)).then_some(NotLifted::Platform)
    }
}

/// Why an exception for an image does not lift a denial of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLifted {
    /// It is for another environment.
    Environment {
        /// For which one.
        environment: String,
    },
    /// It has expired.
    Expired {
        /// The first second at which it did not hold any more.
        expires: String,
    },
    /// Who granted it says that this is still to come.
    NotYet {
        /// When.
        granted: String,
    },
    /// No rule decided: a label outside the dictionary or missing, no facts, a rule that failed, or no rule that could permit.
    NoRule,
    /// It does not name these rules, which decided too.
    Rules {
        /// Their ids.
        rules: Vec<String>,
    },
    /// More rules could have permitted it than are told.
    TooMany,
    /// Beside a platform that is forbidden one that no rule permits stays denied.
    Platform,
}

impl fmt::Display for NotLifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotLifted::Environment { environment } => write!(f, "it is for environment {environment}"),
            NotLifted::Expired { expires } => write!(f, "it expired at {expires}"),
            NotLifted::NotYet { granted } => write!(f, "it says that it was granted at {granted}, which is to come"),
            NotLifted::NoRule => f.write_str("no rule denies it, and an exception lifts nothing but rules"),
            NotLifted::Rules { rules } => {
                let rules: Vec<String> = rules.iter().map(|id| text::printable(id)).collect();
                write!(f, "it does not name {}", rules.join(", "))
            }
            NotLifted::TooMany => write!(f, "{MAX_NAMED} rules or more could have permitted it, and none does"),
            NotLifted::Platform => f.write_str("another platform is permitted by no rule, which it cannot lift"),
        }
    }
}

/// The exceptions that are signed, sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exceptions {
    all: Vec<Exception>,
}

impl Exceptions {
    /// Reads what stands in `_exceptions/`. What does not read is left out, and told: it lifts nothing, and must not stop the
    /// rules that stand beside it.
    pub fn read(sources: &[Source], signed_by: &[String]) -> (Exceptions, Vec<String>) {
        let mut all = Vec::new();
        let mut refused = Vec::new();
        for Source { path, bytes } in sources {
            match Exception::read(path, bytes, signed_by) {
                Ok(exception) => all.push(exception),
                Err(error) => refused.push(format!("{}: {error}", text::printable(path))),
            }
        }
        (all.into_iter().collect(), refused)
    }

    /// All of them, also those that do not hold any more.
    pub fn iter(&self) -> impl Iterator<Item = &Exception> {
        self.all.iter()
    }

    /// Those that hold at this moment.
    pub fn in_force(&self, now_unix: i64) -> impl Iterator<Item = &Exception> {
        self.all.iter().filter(move |exception| exception.holds(now_unix))
    }

    /// The decision, allowed if one exception lifts its denial; the one that holds longest. Until when, says
    /// [`Decision::exception`].
    pub fn lift(&self, decision: Decision, subject: &Subject, now_unix: i64) -> Decision {
        if decision.allowed {
            return decision;
        }
        let lifting = self.all.iter().filter(|exception| exception.lifts(&decision, subject, now_unix));
        let Some(exception) = lifting.max_by_key(|exception| exception.expires) else { return decision };
        let used = ExceptionUsed {
            id: exception.id.clone(),
            reason: exception.file.reason.clone(),
            granted: exception.file.granted.clone(),
            expires: exception.file.expires.clone(),
            signed_by: exception.signed_by.clone(),
        };
        // What a trial told was another outcome than the denial, which is now lifted.
        Decision { allowed: true, cause: Cause::Excepted, exception: Some(used), trials: Vec::new(), ..decision }
    }

    /// The exceptions for this image that do not lift this denial, each with the reason; one that has ended is only told of
    /// its own environment. Nothing of a decision that allows.
    pub fn not_lifting<'e>(
        &'e self,
        decision: &'e Decision,
        subject: &'e Subject,
        now_unix: i64,
    ) -> impl Iterator<Item = (&'e Exception, NotLifted)> {
        let of_image = self.all.iter().filter(|exception| !decision.allowed && exception.is_of(subject));
        of_image.filter_map(move |exception| match exception.why_not(decision, now_unix)? {
            NotLifted::Environment { .. } if !exception.holds(now_unix) => None,
            why => Some((exception, why)),
        })
    }
}

impl FromIterator<Exception> for Exceptions {
    fn from_iter<I: IntoIterator<Item = Exception>>(exceptions: I) -> Self {
        let mut all: Vec<Exception> = exceptions.into_iter().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Exceptions { all }
    }
}
