//! What a rule reads: found in its syntax tree when it is loaded, told when it decided.
//!
//! Invariants: a rule that loads reads labels and `fit` by names that are written out, so that nothing it reads is missing
//! here; and what it compares with can occur: a `cloud` that does not exist or a value that is not in the dictionary would
//! make a rule that forbids silent. So what has few values (`cloud`, a governed label) stands only where it is compared with
//! texts that are written out. Deliberately absent: evaluation; whether a rule matches, Cedar alone says; comparisons that
//! contradict each other.

use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, EntityType, Expr, Literal, PatternElem, PrincipalConstraint,
    ResourceConstraint, Template, Var,
};

use crate::dictionary::{Dictionary, Meaning};
use crate::environment::{self, Cloud};
use crate::subject::Action;
use crate::text;
use crate::told::MEMBERS;

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
    /// An annotation of the signed manifest or index.
    Annotation(String),
    /// What the signers stated of a key.
    Stated(String),
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
        "the label {key} is compared with {value}, which {}: the dictionary has {}",
        alias_of.as_ref().map_or("it never is".to_owned(), |of| format!("is an alias of {of}, and rules see that")),
        known.join(", ")
    )]
    Value {
        /// The key, escaped.
        key: String,
        /// The value, escaped.
        value: String,
        /// The values that it can have, escaped.
        known: Vec<String>,
        /// The value that it is an alias of, escaped.
        alias_of: Option<String>,
    },
    /// `principal.cloud` is compared with another word than `public` or `private`.
    #[error("principal.cloud is compared with {value}, but is \"public\" or \"private\"")]
    Cloud {
        /// The word, escaped.
        value: String,
    },
    /// `principal.cloud` stands elsewhere than beside `==` or `!=` and one word, or in `[words].contains(…)`.
    #[error(
        "principal.cloud is compared only as principal.cloud == \"public\" (or !=, or \"private\"), or as \
         [\"public\", \"private\"].contains(principal.cloud)"
    )]
    CloudForm,
    /// A governed label stands elsewhere than beside `==` or `!=` and one value, or in `[values].contains(…)`.
    #[error(
        "the governed label {key} is compared only as resource.getTag({key}) == \"VALUE\" (or !=), or as \
         [\"VALUE\", \"OTHER\"].contains(resource.getTag({key})), with values of the dictionary"
    )]
    LabelForm {
        /// The key, escaped.
        key: String,
    },
    /// The name of the environment is compared with a text that is no name.
    #[error(
        "the name of the environment is compared with {value}, which it never is: a name is 1 to 63 of a-z, 0-9 and \
         \"-\", the first not \"-\""
    )]
    Name {
        /// The text, escaped.
        value: String,
    },
    /// `principal.name` stands in a list, a record or an `if`, where what it is compared with is not seen.
    #[error(
        "principal.name is compared only as itself: principal.name == \"NAME\" (or !=, or like \"NAME*\"), or as \
         [\"NAME\", \"OTHER\"].contains(principal.name)"
    )]
    NameForm,
    /// The name of a label is computed.
    #[error("the name of a label is written out: resource.getTag(\"KEY\")")]
    ComputedKey,
    /// `resource`, `principal` or `context` stands where nothing is read of it, or an entity of a type that people do not
    /// name.
    #[error(
        "resource, resource.annotations, resource.stated and principal are read by their members and labels; only Environment::\"NAME\" is named as a whole"
    )]
    Whole,
    /// `has` of a member that does not exist: never true, so that a rule that forbids would be silent.
    #[error("{word} has no member {member}{}", nearest.map(|n| format!("; did you mean {word}.{n}?")).unwrap_or_default())]
    Member {
        /// `principal`, `resource` or `context`.
        word: &'static str,
        /// The member, escaped.
        member: String,
        /// The member that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A type that the word never is: the rule would never match.
    #[error("principal is an Environment, and resource a Platform; {found} is never compared with them")]
    Type {
        /// The type, escaped.
        found: String,
    },
    /// Syntax that this version does not know.
    #[error("the rule uses syntax that is not known here")]
    Unknown,
}

impl ReadProblem {
    /// The text in the rule that is wrong, escaped and in quotation marks.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self {
            Self::FitKey { key } | Self::LabelForm { key } => Some(key),
            Self::Value { value, .. } | Self::Cloud { value } | Self::Name { value } => Some(value),
            _ => None,
        }
    }
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

/// Whether a rule names no environment and asks nothing: it applies to every image.
pub(crate) fn is_for_all(rule: &Template) -> bool {
    let anywhere = matches!(rule.principal, PrincipalConstraint::Any | PrincipalConstraint::Is(_));
    let anything = matches!(rule.resource, ResourceConstraint::Any | ResourceConstraint::Is(_));
    anywhere && anything && rule.clauses().is_empty()
}

/// What a rule reads. Its depth was limited when it was loaded.
pub(crate) fn find(rule: &Template, dictionary: &Dictionary) -> Found {
    let mut walk = Walk { found: Found::default(), dictionary };
    match &rule.principal {
        PrincipalConstraint::Any => {}
        PrincipalConstraint::Is(of) => walk.is_type("Environment", of),
        PrincipalConstraint::Eq(EntityOrSlot::Entity(uid)) | PrincipalConstraint::In(EntityOrSlot::Entity(uid)) => {
            walk.is_type("Environment", &uid.ty);
            walk.named([uid.eid.as_str()]);
        }
        PrincipalConstraint::IsIn(of, EntityOrSlot::Entity(uid)) => {
            walk.is_type("Environment", of);
            walk.is_type("Environment", &uid.ty);
            walk.named([uid.eid.as_str()]);
        }
        _ => walk.refuse(ReadProblem::Unknown),
    }
    match &rule.resource {
        ResourceConstraint::Any => {}
        ResourceConstraint::Is(of) => walk.is_type("Platform", of),
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

/// What has few values, all of them known when the rule is loaded.
#[derive(Clone, Copy)]
enum Closed<'a> {
    /// `principal.cloud`.
    Cloud,
    /// A label of the platform that the dictionary governs, by its key.
    Label(&'a str),
}

/// A list of texts that stands in the rule itself and is not empty.
fn list(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Set(items) if !items.is_empty() => items.iter().map(|item| literal(item)).collect(),
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

/// `resource.annotations` and `resource.stated`: what is read of them, by key.
fn of_image(expr: &Expr) -> Option<fn(String) -> Read> {
    match expr {
        Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Resource) => match attr.as_str() {
            "annotations" => Some(Read::Annotation),
            "stated" => Some(Read::Stated),
            _ => None,
        },
        _ => None,
    }
}

/// `principal.name`.
fn is_name(expr: &Expr) -> bool {
    matches!(expr, Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Principal) && attr == "name")
}

/// The names of one `Environment::"NAME"` or a list of them.
fn environments(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Literal(Literal::EntityUID(uid)) => Some(vec![uid.eid.as_str()]),
        Expr::Set(items) => items.iter().map(|item| environments(item)).collect::<Option<Vec<_>>>().map(|n| n.concat()),
        _ => None,
    }
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
            Expr::UnaryOp { expr, .. } => self.visit(expr),
            Expr::Like { expr, pattern } => {
                if is_name(expr) {
                    self.name_like(pattern);
                }
                self.visit(expr);
            }
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::GetAttr { .. } if is_fit(expr) => self.refuse(ReadProblem::FitForm),
            Expr::GetAttr { .. } if of_image(expr).is_some() => self.refuse(ReadProblem::Whole),
            Expr::GetAttr { .. } if self.closed(expr).is_some() => self.refuse(ReadProblem::CloudForm),
            Expr::GetAttr { expr, attr } => self.member(expr, attr),
            Expr::HasAttr { expr, attrs } if **expr == Expr::Var(Var::Resource) && attrs.head == "fit" => {
                self.refuse(ReadProblem::FitForm);
            }
            Expr::HasAttr { expr, attrs } => {
                self.has(expr, &attrs.head);
                self.member(expr, &attrs.head);
            }
            Expr::Is { expr, entity_type, in_expr: None } if matches!(**expr, Expr::Var(Var::Principal)) => {
                self.is_type("Environment", entity_type);
            }
            Expr::Is { expr, entity_type, in_expr: None } if matches!(**expr, Expr::Var(Var::Resource)) => {
                self.is_type("Platform", entity_type);
            }
            Expr::Is { .. } => self.refuse(ReadProblem::Whole),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                for part in [cond, then_expr, else_expr] {
                    self.part(part);
                }
            }
            Expr::Set(items) => items.iter().for_each(|item| self.part(item)),
            Expr::Record(members) => members.values().for_each(|member| self.part(member)),
            _ => self.refuse(ReadProblem::Unknown),
        }
    }

    /// A part of a list, a record or an `if`: a comparison outside of it does not see what stands in it.
    fn part(&mut self, expr: &Expr) {
        if is_name(expr) {
            return self.refuse(ReadProblem::NameForm);
        }
        self.visit(expr);
    }

    /// `has` of a member: strict validation takes any name, and takes it as false if there is none.
    fn has(&mut self, of: &Expr, name: &str) {
        let word = match of {
            Expr::Var(Var::Principal) => "principal",
            Expr::Var(Var::Resource) => "resource",
            Expr::Var(Var::Context) => "context",
            _ => return,
        };
        let known = MEMBERS.into_iter().find(|(of, ..)| *of == word).map(|(.., members)| members).unwrap_or_default();
        if !known.contains(&name) {
            let nearest = text::nearest(name, known.iter().copied());
            self.refuse(ReadProblem::Member { word, member: text::printable(name), nearest });
        }
    }

    /// A type that is not the word's own: strict validation takes the rule as one that never matches.
    fn is_type(&mut self, own: &str, found: &EntityType) {
        if found.to_string() != own {
            self.refuse(ReadProblem::Type { found: text::printable(&found.to_string()) });
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
            BinaryOp::HasTag => return self.label(left, right),
            BinaryOp::GetTag => {
                if let (Expr::Var(Var::Resource), Some(key)) = (left, literal(right))
                    && self.dictionary.governs(key)
                {
                    return self.refuse(ReadProblem::LabelForm { key: text::quoted(key) });
                }
                return self.label(left, right);
            }
            BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny if is_fit(left) => {
                return self.fit(right);
            }
            BinaryOp::Eq | BinaryOp::NotEq | BinaryOp::In if self.entity(left, right) || self.entity(right, left) => {
                return;
            }
            BinaryOp::Eq | BinaryOp::NotEq => {
                for (one, other) in [(left, right), (right, left)] {
                    if let Some(closed) = self.closed(one) {
                        return self.compared(closed, literal(other).map(|value| vec![value]));
                    }
                    if is_name(one) {
                        self.named(literal(other));
                    }
                }
            }
            BinaryOp::Contains => {
                if let Some(closed) = self.closed(right) {
                    return self.compared(closed, list(left));
                }
                if let (true, Expr::Set(items)) = (is_name(right), left) {
                    self.named(items.iter().filter_map(|item| literal(item)));
                }
            }
            _ => {}
        }
        self.visit(left);
        self.visit(right);
    }

    /// `principal == Environment::"NAME"`, and `action == Action::"NAME"`, which reads nothing; false if it is neither.
    fn entity(&mut self, of: &Expr, other: &Expr) -> bool {
        match (of, environments(other)) {
            (Expr::Var(Var::Principal), Some(names)) => self.named(names),
            (Expr::Var(Var::Action), Some(_)) => {}
            _ => return false,
        }
        true
    }

    /// The name of the environment is compared with these texts.
    fn named<'t>(&mut self, names: impl IntoIterator<Item = &'t str>) {
        self.read(Read::Environment("name".to_owned()));
        if let Some(wrong) = names.into_iter().find(|name| !environment::is_name(name)) {
            self.refuse(ReadProblem::Name { value: text::quoted(wrong) });
        }
    }

    /// `principal.name like "PATTERN"`: what is written out in it must be able to stand in a name.
    fn name_like(&mut self, pattern: &[PatternElem]) {
        let smallest: String = pattern
            .iter()
            .filter_map(|elem| match elem {
                PatternElem::Char(c) => Some(*c),
                PatternElem::Wildcard => None,
            })
            .collect();
        let leads = matches!(pattern.first(), Some(PatternElem::Wildcard));
        // A wildcard in front may stand for a first letter that the rest lacks.
        let can_be = environment::is_name(&smallest) || (leads && environment::is_name(&format!("a{smallest}")));
        if !can_be {
            let written = pattern.iter().map(|elem| match elem {
                PatternElem::Char(c) => *c,
                PatternElem::Wildcard => '*',
            });
            self.refuse(ReadProblem::Name { value: text::quoted(&written.collect::<String>()) });
        }
    }

    fn closed<'e>(&self, expr: &'e Expr) -> Option<Closed<'e>> {
        match expr {
            Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Principal) && attr == "cloud" => {
                Some(Closed::Cloud)
            }
            Expr::BinaryOp { op: BinaryOp::GetTag, left, right } if **left == Expr::Var(Var::Resource) => {
                literal(right).filter(|key| self.dictionary.governs(key)).map(Closed::Label)
            }
            _ => None,
        }
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
            of => match of_image(of) {
                Some(read) => self.read(read(key.to_owned())),
                None => self.refuse(ReadProblem::Whole),
            },
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

    /// What has few values is compared with these texts, or with something that is not written out.
    fn compared(&mut self, what: Closed<'_>, values: Option<Vec<&str>>) {
        match what {
            Closed::Cloud => {
                self.read(Read::Environment("cloud".to_owned()));
                let Some(values) = values else { return self.refuse(ReadProblem::CloudForm) };
                let is_known = |value: &&str| Cloud::ALL.iter().any(|cloud| cloud.as_str() == *value);
                if let Some(value) = values.iter().find(|value| !is_known(value)) {
                    self.refuse(ReadProblem::Cloud { value: text::quoted(value) });
                }
            }
            Closed::Label(key) => {
                self.read(Read::Label(key.to_owned()));
                let Some(values) = values else {
                    return self.refuse(ReadProblem::LabelForm { key: text::quoted(key) });
                };
                let known: Vec<&str> = self.dictionary.values(key).collect();
                if let Some(value) = values.iter().find(|value| !known.contains(value)) {
                    let alias_of = match self.dictionary.meaning(key, value, Cloud::Public) {
                        Meaning::Value { value, .. } => Some(text::quoted(value)),
                        Meaning::Free | Meaning::Outside { .. } => None,
                    };
                    let (key, value) = (text::quoted(key), text::quoted(value));
                    let known = known.into_iter().map(text::quoted).collect();
                    self.refuse(ReadProblem::Value { key, value, known, alias_of });
                }
            }
        }
    }
}
