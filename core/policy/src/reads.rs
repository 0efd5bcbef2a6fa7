//! What a rule reads: found in its syntax tree when it is loaded, told when it decided.
//!
//! Invariants: a rule that loads reads labels and `fit` by names that are written out, so that nothing it reads is missing
//! here; and what it compares with can occur: a `cloud` that does not exist or a value that is not in the dictionary would
//! make a rule that forbids silent. Deliberately absent: evaluation; whether a rule matches, Cedar alone says.

use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, Expr, Literal, PrincipalConstraint, ResourceConstraint, Template,
    Var,
};

use crate::dictionary::Dictionary;
use crate::environment::Cloud;
use crate::subject::Action;
use crate::text;

/// One thing that a rule reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Read {
    /// A member of the environment.
    Environment(String),
    /// A label of the environment.
    EnvironmentLabel(String),
    /// A label of the platform.
    Label(String),
    /// Whether a governed label is present and fit.
    Fit(String),
    /// Another member of the platform.
    Image(String),
    /// The time.
    Time,
}

/// What was found in one rule.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// All that it reads.
    pub(crate) reads: BTreeSet<Read>,
    /// Why it must not load.
    pub(crate) problem: Option<ReadProblem>,
    /// Keys of image labels that it reads and the dictionary does not govern.
    pub(crate) ungoverned: BTreeSet<String>,
}

/// Why a rule that passed validation is refused all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadProblem {
    /// `resource.fit` is used in another way than `contains`, `containsAll` or `containsAny` with keys written out.
    #[error(
        "resource.fit is asked only as resource.fit.contains(\"KEY\"), or with containsAll or containsAny of a list"
    )]
    FitForm,
    /// `resource.fit` is asked for a key that the dictionary does not govern: it would never hold it.
    #[error("resource.fit is asked for {key}, which is not a key of the dictionary (labels/*.json)")]
    FitKey {
        /// The key, escaped.
        key: String,
    },
    /// A governed label is compared with a value that it can never have.
    #[error(
        "the label {key} is compared with {value}, which it never is: the dictionary (after aliases) has {}",
        known.join(", ")
    )]
    Value {
        /// The key, escaped.
        key: String,
        /// The value, escaped.
        value: String,
        /// The values that it can have, escaped.
        known: Vec<String>,
    },
    /// `principal.cloud` is compared with another word than `public` or `private`.
    #[error("principal.cloud is compared with {value}, but is \"public\" or \"private\"")]
    Cloud {
        /// The word, escaped.
        value: String,
    },
    /// The name of a label is computed.
    #[error("the name of a label is written out: resource.getTag(\"KEY\")")]
    ComputedKey,
    /// `resource`, `principal` or `context` stands where nothing is read of it, or an entity of a type that people do not
    /// name.
    #[error(
        "resource and principal are read by their members and labels; only Environment::\"NAME\" is named as a whole"
    )]
    Whole,
    /// Syntax that this version does not know.
    #[error("the rule uses syntax that is not known here")]
    Unknown,
}

/// The actions of a rule's scope.
pub(crate) fn actions(rule: &Template) -> Vec<Action> {
    let is = |uid: &cedar_policy::pst::EntityUID, action: Action| uid.eid == action.as_str();
    let applies = |action: &Action| match &rule.action {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(uid, *action),
        ActionConstraint::In(uids) => uids.iter().any(|uid| is(uid, *action)),
    };
    Action::ALL.into_iter().filter(applies).collect()
}

/// What a rule reads. Its depth was limited when it was loaded.
pub(crate) fn find(rule: &Template, dictionary: &Dictionary) -> Found {
    let mut walk = Walk { found: Found::default(), dictionary };
    match &rule.principal {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
        PrincipalConstraint::Eq(EntityOrSlot::Entity(_))
        | PrincipalConstraint::In(EntityOrSlot::Entity(_))
        | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(_)) => walk.read(Read::Environment("name".to_owned())),
        _ => walk.refuse(ReadProblem::Unknown),
    }
    match &rule.resource {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
        _ => walk.refuse(ReadProblem::Whole),
    }
    for clause in rule.clauses() {
        match clause {
            Clause::When(expr) | Clause::Unless(expr) => walk.visit(expr),
        }
    }
    walk.found
}

struct Walk<'a> {
    found: Found,
    dictionary: &'a Dictionary,
}

/// A text that stands in the rule itself.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(Literal::String(text)) => Some(text.as_str()),
        _ => None,
    }
}

/// A text or a list of texts that stand in the rule itself.
fn literals(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Set(items) => items.iter().map(|item| literal(item)).collect(),
        other => literal(other).map(|text| vec![text]),
    }
}

fn is_fit(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Resource) && attr == "fit")
}

impl Walk<'_> {
    fn read(&mut self, read: Read) {
        self.found.reads.insert(read);
    }

    fn refuse(&mut self, problem: ReadProblem) {
        self.found.problem.get_or_insert(problem);
    }

    fn visit(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(Literal::EntityUID(_)) | Expr::Var(_) => self.refuse(ReadProblem::Whole),
            Expr::Literal(_) => {}
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.visit(expr),
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::GetAttr { .. } if is_fit(expr) => self.refuse(ReadProblem::FitForm),
            Expr::GetAttr { expr, attr } => self.member(expr, attr),
            Expr::HasAttr { expr, attrs } if **expr == Expr::Var(Var::Resource) && attrs.head == "fit" => {
                self.refuse(ReadProblem::FitForm);
            }
            Expr::HasAttr { expr, attrs } => self.member(expr, &attrs.head),
            Expr::Is { expr, in_expr: None, .. } if matches!(**expr, Expr::Var(_)) => {}
            Expr::Is { .. } => self.refuse(ReadProblem::Whole),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                for part in [cond, then_expr, else_expr] {
                    self.visit(part);
                }
            }
            Expr::Set(items) => items.iter().for_each(|item| self.visit(item)),
            Expr::Record(members) => members.values().for_each(|member| self.visit(member)),
            _ => self.refuse(ReadProblem::Unknown),
        }
    }

    fn member(&mut self, of: &Expr, name: &str) {
        match of {
            Expr::Var(Var::Principal) => self.read(Read::Environment(name.to_owned())),
            Expr::Var(Var::Resource) => self.read(Read::Image(name.to_owned())),
            Expr::Var(Var::Context) => self.read(Read::Time),
            other => self.visit(other),
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        match op {
            BinaryOp::HasTag | BinaryOp::GetTag => return self.label(left, right),
            BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny if is_fit(left) => {
                return self.fit(right);
            }
            BinaryOp::Eq | BinaryOp::NotEq => {
                for (one, other) in [(left, right), (right, left)] {
                    self.compared(one, other);
                }
            }
            BinaryOp::Contains => self.compared(right, left),
            _ => {}
        }
        if matches!(op, BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::In) && self.is_name_of_environment(left, right) {
            return self.read(Read::Environment("name".to_owned()));
        }
        self.visit(left);
        self.visit(right);
    }

    /// `principal == Environment::"NAME"`, either way round; `action == Action::"NAME"` reads nothing.
    fn is_name_of_environment(&self, left: &Expr, right: &Expr) -> bool {
        let is_var = |e: &Expr| matches!(e, Expr::Var(Var::Principal | Var::Action));
        let is_entity = |e: &Expr| match e {
            Expr::Literal(Literal::EntityUID(_)) => true,
            Expr::Set(items) => items.iter().all(|i| matches!(**i, Expr::Literal(Literal::EntityUID(_)))),
            _ => false,
        };
        (is_var(left) && is_entity(right)) || (is_entity(left) && is_var(right))
    }

    fn label(&mut self, of: &Expr, key: &Expr) {
        let Some(key) = literal(key) else {
            return self.refuse(ReadProblem::ComputedKey);
        };
        match of {
            Expr::Var(Var::Resource) => {
                self.read(Read::Label(key.to_owned()));
                if !self.dictionary.governs(key) {
                    self.found.ungoverned.insert(key.to_owned());
                }
            }
            Expr::Var(Var::Principal) => self.read(Read::EnvironmentLabel(key.to_owned())),
            _ => self.refuse(ReadProblem::Whole),
        }
    }

    fn fit(&mut self, keys: &Expr) {
        let Some(keys) = literals(keys) else {
            return self.refuse(ReadProblem::FitForm);
        };
        for key in keys {
            if !self.dictionary.governs(key) {
                self.refuse(ReadProblem::FitKey { key: text::quoted(key) });
            }
            self.read(Read::Fit(key.to_owned()));
        }
    }

    /// `one` is compared with the texts in `other`: they must be ones that it can have.
    fn compared(&mut self, one: &Expr, other: &Expr) {
        let Some(values) = literals(other) else { return };
        match one {
            Expr::BinaryOp { op: BinaryOp::GetTag, left, right } if **left == Expr::Var(Var::Resource) => {
                let Some(key) = literal(right) else { return };
                let known: Vec<&str> = self.dictionary.values(key).collect();
                if let Some(value) = values.iter().find(|value| self.dictionary.governs(key) && !known.contains(value))
                {
                    let (key, value) = (text::quoted(key), text::quoted(value));
                    let known = known.into_iter().map(text::quoted).collect();
                    self.refuse(ReadProblem::Value { key, value, known });
                }
            }
            Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Principal) && attr == "cloud" => {
                let is_known = |value: &&str| Cloud::ALL.iter().any(|cloud| cloud.as_str() == *value);
                if let Some(value) = values.iter().find(|value| !is_known(value)) {
                    self.refuse(ReadProblem::Cloud { value: text::quoted(value) });
                }
            }
            _ => {}
        }
    }
}
