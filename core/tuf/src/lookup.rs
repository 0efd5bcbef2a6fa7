//! The search for a target through delegations (5.6.7): pre-order, depth first, in order of priority.
//!
//! The search is cut into *signers*: `targets` itself, then each role that it delegates directly with all that hangs
//! below it. The plain TUF answer is the first signer's that lists the target. Signers after it can only add to the
//! list of who signed: a bad role there is a warning, before it an error.
//!
//! No IO: [`Lookup::step`] names the role that it needs, the caller fetches it and calls
//! [`TrustedSet::accept_role`], then steps again; or reports the failure with [`Lookup::failed`].

use std::collections::{BTreeSet, VecDeque};

use crate::error::{Reason, UpdateError};
use crate::limits;
use crate::model::{Delegation, Role, RoleKeys, TargetInfo, Targets};
use crate::names::{RoleType, Version, is_target_path};
use crate::reserved;
use crate::time::UtcTime;
use crate::trusted::{TrustedSet, Wanted};

/// A delegated role that a look-up needs.
#[derive(Debug, Clone)]
pub struct RoleRequest {
    /// The role that delegates to it.
    pub delegator: String,
    /// Its name; any string in a foreign repository.
    pub role: String,
    /// Version and most bytes.
    pub wanted: Wanted,
    pub(crate) keys: RoleKeys,
}

/// What a look-up wants next.
#[derive(Debug)]
pub enum Step {
    /// This role, then another step.
    Need(RoleRequest),
    /// Nothing: see [`Lookup::outcome`].
    Done,
}

/// Why a look-up could not decide. Never to be read as "no such target".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The path could leave its folder, is longer than the limit or holds control characters (2.1): whatever a role
    /// lists under it, it is not answered.
    #[error("`{path}` is not a target path")]
    Path {
        /// The path, escaped and cut for printing.
        path: String,
    },
    /// A role that stands before any hit cannot be used.
    #[error("{0}")]
    Role(#[from] UpdateError),
    /// A role that stands before any hit could not be fetched.
    #[error("{role} could not be fetched")]
    Unavailable {
        /// The role's name.
        role: String,
    },
    /// More roles than one look-up visits.
    #[error("the search visited {limit} roles without an answer")]
    Limit {
        /// The limit.
        limit: usize,
    },
}

/// A role that the search went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visited {
    /// The role's name.
    pub role: String,
    /// Its version.
    pub version: Version,
    /// When it expires.
    pub expires: UtcTime,
}

/// What one signer says of the target.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `targets`, or the directly delegated role.
    pub signer: String,
    /// The role below that signer which lists the target.
    pub role: String,
    /// What it says.
    pub target: TargetInfo,
}

/// A signer after the hit that cannot be used: it adds nothing.
#[derive(Debug, Clone)]
pub struct Unusable {
    /// The signer.
    pub signer: String,
    /// Why.
    pub error: LookupError,
}

/// The answer of a look-up.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What signers say, in order of priority: the first is the plain TUF answer. Empty: no such target.
    pub statements: Vec<Statement>,
    /// Signers after the first statement that cannot be used.
    pub unusable: Vec<Unusable>,
    /// The roles that were looked at up to the first statement, `targets` first.
    pub visited: Vec<Visited>,
    /// The roles that were looked at after it: what further statements rest on.
    pub later: Vec<Visited>,
}

impl Outcome {
    /// The plain TUF answer.
    pub fn hit(&self) -> Option<&Statement> {
        self.statements.first()
    }
}

struct Signer {
    name: String,
    keys: RoleKeys,
    terminating: bool,
}

struct Frame {
    delegator: String,
    role: String,
    keys: RoleKeys,
}

/// A running search.
pub struct Lookup {
    path: String,
    waiting: VecDeque<Result<Signer, Unusable>>,
    current: Option<Signer>,
    stack: Vec<Frame>,
    seen: BTreeSet<String>,
    last: bool,
    plain: bool,
    outcome: Outcome,
}

impl Lookup {
    /// Begins a search in this trusted set. Reserved paths (`_policy/…`) count in exactly one role.
    pub fn new(set: &TrustedSet, path: &str) -> Self {
        Self::begin(set, path, false)
    }

    /// Begins the search that every TUF client makes: no path is reserved, and the first hit ends it, so that no role
    /// after it is asked for. For repositories that are no collection of ours.
    pub fn plain(set: &TrustedSet, path: &str) -> Self {
        Self::begin(set, path, true)
    }

    fn begin(set: &TrustedSet, path: &str, plain: bool) -> Self {
        let mut waiting = VecDeque::new();
        let targets = set.targets();
        let delegations = targets.delegations();
        let direct =
            |d: &Delegation| Signer { name: d.name().to_owned(), keys: d.keys().clone(), terminating: d.terminating() };
        let itself = || Signer {
            name: "targets".to_owned(),
            keys: set.root().role(RoleType::Targets).clone(),
            terminating: false,
        };
        // Of a delegation, only if it is for this path: in a reserved role too, nobody says more than was delegated.
        let if_matching = |d: &Delegation| match d.matches(path) {
            Ok(true) => Some(Ok(direct(d))),
            Ok(false) => None,
            Err(reason) => {
                let error = UpdateError::new("targets", reason).into();
                Some(Err(Unusable { signer: d.name().to_owned(), error }))
            }
        };
        if let Some(kind) = reserved::kind(path).filter(|_| !plain) {
            let mut only = match delegations.and_then(|d| d.role(kind)) {
                Some(delegated) => if_matching(delegated),
                None => Some(Ok(itself())),
            };
            if let Some(Ok(signer)) = &mut only {
                signer.terminating = true;
            }
            waiting.extend(only);
        } else {
            waiting.push_back(Ok(itself()));
            waiting.extend(delegations.into_iter().flat_map(|d| d.roles()).filter_map(if_matching));
            if let Some(bins) = delegations.and_then(|d| d.succinct()) {
                waiting.push_back(Ok(Signer {
                    name: bins.bin_for(path),
                    keys: bins.keys().clone(),
                    terminating: false,
                }));
            }
        }
        Self {
            path: path.to_owned(),
            waiting,
            current: None,
            stack: Vec::new(),
            seen: BTreeSet::new(),
            last: false,
            plain,
            outcome: Outcome::default(),
        }
    }

    /// Goes on until a role is needed or the search is done.
    pub fn step(&mut self, set: &TrustedSet) -> Result<Step, LookupError> {
        if !is_target_path(&self.path) {
            return Err(LookupError::Path { path: self.path.chars().take(200).flat_map(char::escape_debug).collect() });
        }
        loop {
            let Some(frame) = self.stack.last() else {
                if !self.next_signer()? {
                    return Ok(Step::Done);
                }
                continue;
            };
            if self.seen.contains(&frame.role) {
                self.stack.pop();
                continue;
            }
            if self.seen.len() >= limits::ROLES_PER_LOOKUP {
                self.signer_failed(LookupError::Limit { limit: limits::ROLES_PER_LOOKUP })?;
                continue;
            }
            let Some(role) = set.delegated(&frame.delegator, &frame.role) else {
                let Some(entry) = set.snapshot().entry(&frame.role) else {
                    let error = UpdateError::new(frame.role.clone(), Reason::NotInSnapshot);
                    self.signer_failed(error.into())?;
                    continue;
                };
                let wanted = Wanted::of(&entry, limits::TARGETS_BYTES);
                let Frame { delegator, role, keys } = frame;
                let (delegator, role, keys) = (delegator.clone(), role.clone(), keys.clone());
                return Ok(Step::Need(RoleRequest { delegator, role, wanted, keys }));
            };
            self.visit(role)?;
        }
    }

    /// Reports that the role asked for could not be fetched or was refused.
    pub fn failed(&mut self, error: LookupError) -> Result<(), LookupError> {
        self.signer_failed(error)
    }

    /// The answer, once [`Step::Done`] was given.
    pub fn outcome(self) -> Outcome {
        self.outcome
    }

    fn visit(&mut self, role: &Targets) -> Result<(), LookupError> {
        let Some(Frame { role: name, .. }) = self.stack.pop() else { return Ok(()) };
        self.seen.insert(name.clone());
        let visited = Visited { role: name.clone(), version: role.version(), expires: role.expires() };
        let list = if self.outcome.statements.is_empty() { &mut self.outcome.visited } else { &mut self.outcome.later };
        list.push(visited);
        if let Some(target) = role.target(&self.path) {
            let signer = self.current.as_ref().map_or_else(|| name.clone(), |s| s.name.clone());
            self.outcome.statements.push(Statement { signer, role: name, target });
            self.stack.clear();
            self.last = self.plain;
            return Ok(());
        }
        // What `targets` delegates are signers of their own; reserved paths are never delegated further.
        if name != "targets" && (self.plain || reserved::kind(&self.path).is_none()) {
            self.descend(&name, role)?;
        }
        Ok(())
    }

    fn descend(&mut self, name: &str, role: &Targets) -> Result<(), LookupError> {
        let Some(delegations) = role.delegations() else { return Ok(()) };
        let mut children = Vec::new();
        for d in delegations.roles() {
            match d.matches(&self.path) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(reason) => return self.signer_failed(UpdateError::new(name, reason).into()),
            }
            children.push(Frame { delegator: name.to_owned(), role: d.name().to_owned(), keys: d.keys().clone() });
            if d.terminating() {
                // Nothing that waits, here or at an ancestor, is looked at after its subtree.
                self.stack.clear();
                self.last = true;
                break;
            }
        }
        if let Some(bins) = delegations.succinct() {
            children.push(Frame {
                delegator: name.to_owned(),
                role: bins.bin_for(&self.path),
                keys: bins.keys().clone(),
            });
        }
        self.stack.extend(children.into_iter().rev());
        Ok(())
    }

    /// Begins with the next signer; false if there is none.
    fn next_signer(&mut self) -> Result<bool, LookupError> {
        if self.last || self.current.take().is_some_and(|s| s.terminating) {
            return Ok(false);
        }
        match self.waiting.pop_front() {
            None => Ok(false),
            Some(Err(unusable)) => {
                self.record(unusable)?;
                Ok(true)
            }
            Some(Ok(signer)) => {
                let frame =
                    Frame { delegator: "targets".to_owned(), role: signer.name.clone(), keys: signer.keys.clone() };
                self.stack.push(frame);
                self.current = Some(signer);
                Ok(true)
            }
        }
    }

    fn signer_failed(&mut self, error: LookupError) -> Result<(), LookupError> {
        self.stack.clear();
        let signer = self.current.as_ref().map_or_else(|| "targets".to_owned(), |s| s.name.clone());
        self.record(Unusable { signer, error })
    }

    /// Before the hit a failure decides; after it, it only adds nothing.
    fn record(&mut self, unusable: Unusable) -> Result<(), LookupError> {
        if self.outcome.statements.is_empty() {
            return Err(unusable.error);
        }
        self.outcome.unusable.push(unusable);
        Ok(())
    }
}
