//! From what the layers below report to the rows of the catalogue: the one place where a reason becomes an id.

use trust_tuf::lookup::LookupError;
use trust_tuf::{MetadataError, Reason, UpdateError, UtcTime, Version};

use crate::catalogue::Code;
use crate::registry::{Reason as RegistryReason, RegistryError};
use crate::state::StateError;
use crate::target::{TargetError, Why};
use crate::transport::FetchError;
use crate::verdict::Problem;

/// What a layer below reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A file is not trusted.
    #[error("{0}")]
    Update(#[from] UpdateError),
    /// The search for a target did not come to an answer.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// A file could not be fetched.
    #[error("{file}: {error}")]
    Fetch {
        /// The file's name.
        file: String,
        /// Why.
        error: FetchError,
    },
    /// No place that is configured helped: the server's failure, and what each of them said.
    #[error("{main}; {}", sources.iter().map(|(address, why)| format!("{address}: {why}")).collect::<Vec<_>>().join("; "))]
    EverySource {
        /// What counts.
        main: Box<Failure>,
        /// Address and reason of each place that failed, the server first.
        sources: Vec<(String, String)>,
    },
    /// The stored state cannot be used.
    #[error("{0}")]
    State(#[from] StateError),
    /// A target cannot be kept as a file.
    #[error("{0}")]
    Target(#[from] TargetError),
    /// The newest root on the server is older than one that was stored.
    #[error("root {got}, but {seen} was stored")]
    RootHeldBack {
        /// The newest that can be had now.
        got: Version,
        /// The newest that was stored.
        seen: Version,
    },
    /// The server's root of the pinned version is another file.
    #[error("another root than the pinned one")]
    OtherRoot {
        /// SHA-256 of the server's file.
        theirs: [u8; 32],
        /// The error that made us look.
        after: UpdateError,
    },
    /// The clock is earlier than at the last successful update.
    #[error("the clock says {now}, the last update was at {seen}")]
    ClockBack {
        /// The clock.
        now: UtcTime,
        /// The last successful update.
        seen: UtcTime,
    },
    /// A file has expired by the clock of this machine, and has not by the server's.
    #[error("{after}; by the server's clock ({server}) it has not")]
    ClockAhead {
        /// The clock.
        now: UtcTime,
        /// What the server said.
        server: UtcTime,
        /// The refusal, which stands.
        after: UpdateError,
    },
    /// The server has no timestamp of the collection, and sent nothing else of it in this run.
    #[error("the server does not have this collection")]
    NoCollection,
    /// The server has no timestamp of the collection, although this machine has verified one.
    #[error("the server does not serve this collection any more; timestamp {version} was verified here")]
    CollectionGone {
        /// The timestamp that was verified last.
        version: Version,
        /// The last successful update.
        seen: Option<UtcTime>,
    },
    /// Offline, and a stored file is not the one that the stored list names.
    #[error("{file}: not the file that was stored last")]
    StoredOther {
        /// The file.
        file: &'static str,
    },
    /// Offline, and nothing is stored.
    #[error("nothing is stored")]
    NothingStored,
}

impl Failure {
    /// The failure that counts, where several places failed.
    pub fn main(&self) -> &Self {
        match self {
            Self::EverySource { main, .. } => main.main(),
            other => other,
        }
    }
}

/// Where a failure happened: what a message has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// The collection.
    pub collection: String,
    /// The server's address; `None` offline.
    pub server: Option<String>,
}

impl Scene {
    /// With a server.
    pub fn online(collection: &str, server: impl Into<String>) -> Self {
        Self { collection: collection.to_owned(), server: Some(server.into()).filter(|s| !s.is_empty()) }
    }

    /// Without one.
    pub fn offline(collection: &str) -> Self {
        Self { collection: collection.to_owned(), server: None }
    }

    /// The problem that a failure is.
    pub fn problem(&self, failure: Failure) -> Problem {
        if let Failure::EverySource { main, sources } = failure {
            return sources.iter().fold(self.problem(*main), |problem, (address, why)| {
                problem.fact("tried", format!("{address}: {why}"))
            });
        }
        let problem = match &failure {
            Failure::Update(error) | Failure::Lookup(LookupError::Role(error)) => self.of_update(error),
            Failure::Lookup(LookupError::Unavailable { role }) => self.start(Code::FileMissing).fact("role", role),
            Failure::Lookup(LookupError::Path { path }) => Problem::new(Code::BadReference).fact("path", path),
            Failure::Lookup(other) => self.start(Code::SearchLimit).cause(other),
            Failure::Fetch { file, error } => self.of_fetch(file, error),
            Failure::State(error) => self.of_state(error),
            Failure::Target(error) => {
                let code = if error.why == Why::Full { Code::DiskFull } else { Code::FileIo };
                Problem::new(code).fact("path", error.path.display()).fact("found", &error.why)
            }
            Failure::RootHeldBack { got, seen } => self
                .start(Code::RootRollback)
                .fact("root now", format!("v{got}"))
                .fact("root before", format!("v{seen}")),
            Failure::OtherRoot { theirs, after } => {
                self.start(Code::OtherRoot).fact("root there", hex::encode(theirs)).fact("seen by", format!("{after}"))
            }
            Failure::ClockBack { now, seen } => {
                self.start(Code::ClockBack).fact("clock", now).fact("last update", seen)
            }
            Failure::ClockAhead { now, server, after } => {
                let problem = self.start(Code::ClockAhead).fact("role", &after.role);
                let problem = match &after.reason {
                    Reason::Expired { expires, .. } => problem.fact("expired", expires),
                    reason => problem.fact("found", reason),
                };
                problem.fact("clock", now).fact("clock there", server)
            }
            Failure::NoCollection => self.start(Code::NoSuchCollection),
            Failure::CollectionGone { version, seen } => {
                let problem = self.start(Code::CollectionGone).fact("seen before", format!("timestamp v{version}"));
                match seen {
                    Some(seen) => problem.fact("last update", seen),
                    None => problem,
                }
            }
            Failure::StoredOther { file } => self.start(Code::StoredIncomplete).fact("file", file),
            Failure::NothingStored | Failure::EverySource { .. } => self.start(Code::NothingStored),
        };
        problem.because(failure)
    }

    fn start(&self, code: Code) -> Problem {
        let problem = Problem::new(code).fact("collection", &self.collection);
        match &self.server {
            Some(server) => problem.fact("server", server),
            None => problem,
        }
    }

    fn of_update(&self, error: &UpdateError) -> Problem {
        let role = error.role.as_str();
        let code = match (role, &error.reason) {
            ("root", Reason::Signatures { .. }) => Code::PinnedRootBroken,
            ("root", Reason::RootSignatures { .. }) => Code::NoRootChain,
            ("root", Reason::Metadata(_) | Reason::WrongVersion { .. }) => Code::RootMalformed,
            ("root", Reason::Expired { .. }) => Code::RootExpired,
            (_, Reason::Expired { .. }) if self.server.is_none() => Code::StoredExpired,
            ("timestamp", Reason::Expired { .. }) => Code::TimestampExpired,
            (_, Reason::Expired { .. }) => Code::RoleExpired,
            (_, Reason::Signatures { .. } | Reason::RootSignatures { .. }) => Code::RoleSignatures,
            (_, Reason::Metadata(MetadataError::TooLarge { .. })) => Code::AnswerRefused,
            (_, Reason::WrongVersion { .. }) => Code::WrongVersion,
            (_, Reason::Rollback { .. }) => Code::TimestampRollback,
            (_, Reason::SnapshotRollback { .. }) => Code::SnapshotRollback,
            (_, Reason::RoleLowered { .. } | Reason::RoleRemoved { .. }) => Code::RoleRollback,
            (_, Reason::Length { .. } | Reason::Hash) => Code::MetadataDiffers,
            (_, Reason::NotInSnapshot) => Code::RoleNotListed,
            (_, Reason::Pattern(_)) => Code::UndefinedPattern,
            (_, _) => Code::MetadataMalformed,
        };
        let problem = self.start(code).fact("role", role);
        match &error.reason {
            Reason::Expired { expires, now } => problem.fact("expired", expires).fact("now", now),
            Reason::Rollback { trusted, got } | Reason::SnapshotRollback { trusted, got } => {
                problem.fact("seen before", format!("v{trusted}")).fact("shown now", format!("v{got}"))
            }
            Reason::WrongVersion { expected, got } => {
                problem.fact("expected", format!("v{expected}")).fact("got", format!("v{got}"))
            }
            reason => problem.fact("found", reason),
        }
    }

    fn of_fetch(&self, file: &str, error: &FetchError) -> Problem {
        let problem = self.start(code_of_fetch(error)).fact("file", file).fact("found", error);
        match error {
            FetchError::RateLimited { retry_after: Some(after) } => {
                problem.remedy([format!("try again in {} s", after.as_secs())])
            }
            _ => problem,
        }
    }

    fn of_state(&self, error: &StateError) -> Problem {
        let (code, path) = match error {
            StateError::Io { path, .. } => (Code::StateIo, path),
            StateError::Full { path } => (Code::DiskFull, path),
            StateError::Refused { path, .. } => (Code::StateRefused, path),
            StateError::Damaged { path, .. } | StateError::Missing { path, .. } => (Code::StateDamaged, path),
            StateError::Locked { path } => (Code::StateLocked, path),
            StateError::Format { path, .. } => (Code::StateNewer, path),
        };
        let problem = Problem::new(code).fact("collection", &self.collection).fact("path", path.display());
        match error {
            StateError::Io { kind, .. } => problem.fact("found", kind),
            StateError::Refused { why, .. } | StateError::Damaged { why, .. } => problem.fact("found", why),
            StateError::Missing { version, .. } => {
                problem.fact("found", "the file is missing").fact("lost", format!("version {version} was stored"))
            }
            StateError::Format { found, .. } => problem.fact("found", format!("format {found}")),
            StateError::Full { .. } | StateError::Locked { .. } => problem,
        }
    }
}

/// The code of a failed fetch, wherever it happened.
pub(crate) fn code_of_fetch(error: &FetchError) -> Code {
    match error {
        FetchError::NotFound => Code::FileMissing,
        FetchError::Unauthorized => Code::LoginNeeded,
        FetchError::Forbidden => Code::Forbidden,
        FetchError::RateLimited { .. } => Code::RateLimited,
        FetchError::Unreachable(_) => Code::Unreachable,
        FetchError::Certificate(_) => Code::Certificate,
        FetchError::Timeout(_) => Code::Timeout,
        FetchError::Truncated => Code::CutOff,
        FetchError::Status(500..) => Code::ServerFault,
        FetchError::TooLarge { .. }
        | FetchError::Redirect
        | FetchError::Redirects { .. }
        | FetchError::Encoding
        | FetchError::Status(_) => Code::AnswerRefused,
        FetchError::InsecureRefused => Code::PlainHttpRefused,
        FetchError::Setup(_) => Code::Configuration,
    }
}

impl From<&StateError> for Problem {
    fn from(error: &StateError) -> Self {
        let mut problem = Scene::offline("").of_state(error).because(Failure::State(error.clone()));
        problem.facts.retain(|(label, _)| label != "collection");
        problem.subject.collection = None;
        problem
    }
}

impl From<&RegistryError> for Problem {
    fn from(error: &RegistryError) -> Self {
        let code = match &error.reason {
            RegistryReason::NotFound if error.subject.contains('@') => Code::NoSuchImage,
            RegistryReason::NotFound => Code::NoSuchTag,
            RegistryReason::Unauthorized { .. } | RegistryReason::AuthFile { .. } => Code::RegistryLogin,
            RegistryReason::CredentialHelper { .. } => Code::RegistryLogin,
            RegistryReason::Forbidden => Code::RegistryForbidden,
            RegistryReason::RateLimited { .. } => Code::RateLimited,
            RegistryReason::Unreachable(_) => Code::RegistryUnreachable,
            RegistryReason::Certificate(_) => Code::RegistryCertificate,
            RegistryReason::Timeout => Code::RegistryUnreachable,
            RegistryReason::DigestMismatch { .. } => Code::RegistryLies,
            RegistryReason::Malformed(_) => Code::ImageUnreadable,
            RegistryReason::TooLarge { .. } | RegistryReason::Upstream(_) | RegistryReason::RedirectRefused => {
                Code::RegistryFault
            }
            RegistryReason::InsecureRefused(_) => Code::PlainHttpRefused,
            RegistryReason::Tls(_) | RegistryReason::InvalidHost(_) => Code::Configuration,
            RegistryReason::Incomplete(_) => Code::BadReference,
        };
        let problem = Problem::new(code).fact("registry", &error.host).fact("image", &error.subject);
        match &error.reason {
            RegistryReason::DigestMismatch { expected, got } => {
                problem.fact("asked", expected).fact("served", got).digests(expected, got)
            }
            reason => problem.fact("found", reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TimeLimit;

    #[test]
    fn an_outage_is_never_reported_as_not_signed_or_denied() {
        let scene = Scene::online("r/a", "https://s");
        for error in [
            FetchError::Unreachable("connection refused"),
            FetchError::Timeout(TimeLimit::Unnamed),
            FetchError::Truncated,
            FetchError::Status(500),
            FetchError::Status(418),
            FetchError::TooLarge { limit: 1 },
            FetchError::Certificate("expired".to_owned()),
            FetchError::Encoding,
            FetchError::Redirect,
        ] {
            let exit = scene.problem(Failure::Fetch { file: "2.root.json".to_owned(), error: error.clone() }).exit();
            assert!(matches!(exit, 30 | 34), "{error:?} {exit}");
        }
    }

    #[test]
    fn damage_of_the_state_names_the_file_and_what_is_lost() {
        let error = StateError::Missing { path: "/s/timestamp.json".into(), version: Version::new(977).unwrap() };
        let problem = Scene::offline("r/a").problem(error.into());
        assert_eq!((problem.id(), problem.exit()), ("E3502", 35));
        let text = problem.text();
        assert!(text.contains("/s/timestamp.json") && text.contains("977") && text.contains("rollback"), "{text}");
    }
}
