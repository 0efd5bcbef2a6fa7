//! What a rule asks, as a formula over variables that take a few values each.
//!
//! Invariant: every situation that can occur is one assignment at least, so that what no assignment makes true never
//! matches. Variables: members and labels that are compared with texts (absent, each text that is compared with, another
//! one; of the cloud, the action and a governed label the values that exist), and a yes or no for everything else that is
//! asked. `fit` follows from cloud and value. Deliberately absent: sizes of numbers, times, what two members have in common.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, Expr, Literal, PatternElem, PrincipalConstraint,
    ResourceConstraint, Template, UnaryOp, Var,
};

use super::pattern;
use crate::dictionary::{Dictionary, Meaning};
use crate::environment::Cloud;
use crate::reads;
use crate::subject::Action;

/// Longest pattern that is compared with texts and other patterns; of a longer one nothing is known.
const MAX_PATTERN_LEN: usize = 256;

/// A variable, by its place in [`Terms`].
pub(crate) type VarId = usize;

/// A value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// There is no such member or label.
    Absent,
    /// This text.
    Text(String),
    /// A text that no rule at hand names.
    Other,
    /// No, of a yes or no.
    No,
    /// Yes.
    Yes,
}

/// What a variable stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Term {
    Name,
    Cloud,
    Action,
    EnvironmentLabel(String),
    Label(String),
    Annotation(String),
    Stated(String),
    /// A member of the environment or the platform, by its text in the rule.
    Member(String),
    /// Whether a fit label is one that nothing contradicts.
    Contradicted(String),
    /// Anything else, by its text in the rule.
    Free(String),
}

/// Conditions over variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Formula {
    Const(bool),
    Not(Box<Formula>),
    And(Vec<Formula>),
    Or(Vec<Formula>),
    If(Box<[Formula; 3]>),
    Present(VarId),
    /// The value is one of these texts.
    Is(VarId, Vec<String>),
    /// The value is none of the texts that are named.
    IsOther(VarId),
    Yes(VarId),
    /// The value matches; of a text that is not named the second variable says it.
    Like(VarId, Vec<PatternElem>, VarId),
    /// Label, cloud, and for each of its values and clouds that it is fit for; the third variable: contradicted.
    Fit {
        label: VarId,
        cloud: VarId,
        fit: Vec<(String, Cloud)>,
        contradicted: VarId,
    },
}

impl Formula {
    pub(crate) fn not(self) -> Formula {
        match self {
            Formula::Const(value) => Formula::Const(!value),
            Formula::Not(inner) => *inner,
            other => Formula::Not(Box::new(other)),
        }
    }

    fn uses(&self, uses: &mut Uses) {
        let named = &mut uses.named;
        match self {
            Formula::Const(_) => {}
            Formula::Not(inner) => inner.uses(uses),
            Formula::And(parts) | Formula::Or(parts) => parts.iter().for_each(|part| part.uses(uses)),
            Formula::If(parts) => parts.iter().for_each(|part| part.uses(uses)),
            Formula::Present(var) | Formula::Yes(var) | Formula::IsOther(var) => _ = named.entry(*var).or_default(),
            Formula::Is(var, texts) => named.entry(*var).or_default().extend(texts.iter().cloned()),
            Formula::Like(var, pattern, free) => {
                for var in [var, free] {
                    named.entry(*var).or_default();
                }
                uses.likes.push((*var, pattern.clone(), *free));
            }
            Formula::Fit { label, cloud, contradicted, .. } => {
                for var in [label, cloud, contradicted] {
                    named.entry(*var).or_default();
                }
            }
        }
    }
}

/// One condition that must hold for a rule to match, as it stands in the rule.
#[derive(Debug)]
pub(crate) struct Conjunct {
    pub(crate) told: String,
    pub(crate) formula: Formula,
}

/// A rule as a formula.
#[derive(Debug)]
pub(crate) struct RuleFormula {
    /// All of them must hold.
    pub(crate) conjuncts: Vec<Conjunct>,
    /// It does not match.
    pub(crate) denied: Formula,
    pub(crate) uses: Uses,
}

/// The variables of a formula.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    /// Each with the texts that it is compared with.
    pub(crate) named: BTreeMap<VarId, Vec<String>>,
    /// Variable, pattern, and the variable that says of texts that are not named whether they match.
    likes: Vec<(VarId, Vec<PatternElem>, VarId)>,
}

impl Uses {
    /// Both together.
    pub(crate) fn with(&self, other: &Uses) -> Uses {
        let mut both = self.clone();
        for (var, named) in &other.named {
            both.named.entry(*var).or_default().extend(named.iter().cloned());
        }
        both.likes.extend(other.likes.iter().cloned());
        both
    }

    /// Whether no variable stands in both.
    pub(crate) fn is_apart_from(&self, other: &Uses) -> bool {
        self.named.keys().all(|var| !other.named.contains_key(var))
    }
}

/// All variables of a set of rules.
#[derive(Debug)]
pub(crate) struct Terms<'d> {
    dictionary: &'d Dictionary,
    terms: Vec<Term>,
    ids: HashMap<Term, VarId>,
    /// For each set whose emptiness is asked: the variables of what it is asked to contain.
    elements: HashMap<String, Vec<VarId>>,
    /// (Set, variable of its emptiness).
    empties: Vec<(String, VarId)>,
}

/// What is compared with texts.
enum Compared<'e> {
    Text(&'e str),
    Term(VarId),
}

impl<'d> Terms<'d> {
    pub(crate) fn new(dictionary: &'d Dictionary) -> Self {
        Terms { dictionary, terms: Vec::new(), ids: HashMap::new(), elements: HashMap::new(), empties: Vec::new() }
    }

    fn id(&mut self, term: Term) -> VarId {
        if let Some(id) = self.ids.get(&term) {
            return *id;
        }
        let id = self.terms.len();
        self.terms.push(term.clone());
        self.ids.insert(term, id);
        id
    }

    /// The values of a variable where these texts are named.
    pub(crate) fn domain(&self, var: VarId, named: &[String]) -> Vec<Value> {
        let texts = |texts: &mut dyn Iterator<Item = &str>| {
            let mut texts: Vec<Value> = texts.map(|text| Value::Text(text.to_owned())).collect();
            texts.sort();
            texts.dedup();
            texts
        };
        let open = |optional: bool| {
            let mut values = texts(&mut named.iter().map(String::as_str));
            values.push(Value::Other);
            if optional {
                values.push(Value::Absent);
            }
            values
        };
        match self.terms.get(var) {
            Some(Term::Cloud) => texts(&mut Cloud::ALL.iter().map(|cloud| cloud.as_str())),
            Some(Term::Action) => texts(&mut Action::ALL.iter().map(|action| action.as_str())),
            Some(Term::Label(key)) if self.dictionary.governs(key) => {
                let mut values = texts(&mut self.dictionary.values(key));
                values.push(Value::Absent);
                values
            }
            Some(Term::Name) => open(false),
            Some(
                Term::EnvironmentLabel(_) | Term::Label(_) | Term::Annotation(_) | Term::Stated(_) | Term::Member(_),
            ) => open(true),
            Some(Term::Contradicted(_) | Term::Free(_)) | None => vec![Value::No, Value::Yes],
        }
    }

    /// What holds in every situation for these variables, beside what each can be. `spend` is told what comparing two
    /// patterns costs, before they are compared, and says whether so much is left; `None` if not.
    pub(crate) fn axioms(&self, uses: &Uses, mut spend: impl FnMut(usize) -> bool) -> Option<Vec<Formula>> {
        let mut axioms = Vec::new();
        for (at, (var, one, one_free)) in uses.likes.iter().enumerate() {
            let others = uses.likes.iter().skip(at.saturating_add(1));
            for (_, other, other_free) in others.filter(|(of, _, free)| of == var && free != one_free) {
                // In both directions.
                if !spend(one.len().saturating_mul(other.len()).saturating_mul(2)) {
                    return None;
                }
                let mut never = |one: Formula, other: Formula| {
                    axioms.push(Formula::And(vec![Formula::IsOther(*var), one, other]).not());
                };
                let (yes, other_yes) = (Formula::Yes(*one_free), Formula::Yes(*other_free));
                if pattern::covers(one, other) {
                    never(other_yes.clone(), yes.clone().not());
                }
                if pattern::covers(other, one) {
                    never(yes.clone(), other_yes.clone().not());
                }
                if pattern::are_disjoint(one, other) {
                    never(yes, other_yes);
                }
            }
        }
        for (set, empty) in self.empties.iter().filter(|(_, empty)| uses.named.contains_key(empty)) {
            for element in self.elements.get(set).into_iter().flatten().filter(|var| uses.named.contains_key(var)) {
                axioms.push(Formula::And(vec![Formula::Yes(*empty), Formula::Yes(*element)]).not());
            }
        }
        Some(axioms)
    }

    /// A rule. Its depth was limited when it was loaded.
    pub(crate) fn rule(&mut self, rule: &Template) -> RuleFormula {
        let mut conjuncts = Vec::new();
        let principal = match &rule.principal {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => Formula::Const(true),
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => {
                Formula::Is(self.id(Term::Name), vec![uid.eid.to_string()])
            }
            other => self.free(&other.to_string()),
        };
        let resource = match &rule.resource {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Formula::Const(true),
            other => self.free(&other.to_string()),
        };
        let action = match &rule.action {
            ActionConstraint::Any => Formula::Const(true),
            _ => {
                let actions = reads::actions(rule).into_iter().map(|action| action.as_str().to_owned());
                Formula::Is(self.id(Term::Action), actions.collect())
            }
        };
        let scope = [
            (rule.principal.to_string(), principal),
            (rule.action.to_string(), action),
            (rule.resource.to_string(), resource),
        ];
        let asked = scope.into_iter().filter(|(_, formula)| *formula != Formula::Const(true));
        conjuncts.extend(asked.map(|(told, formula)| Conjunct { told, formula }));
        for clause in rule.clauses() {
            match clause {
                Clause::When(expr) => self.conjuncts(expr, false, &mut conjuncts),
                Clause::Unless(expr) => self.conjuncts(expr, true, &mut conjuncts),
            }
        }
        let mut uses = Uses::default();
        conjuncts.iter().for_each(|conjunct| conjunct.formula.uses(&mut uses));
        let denied = Formula::Or(conjuncts.iter().map(|conjunct| conjunct.formula.clone().not()).collect());
        RuleFormula { conjuncts, denied, uses }
    }

    /// The parts of a condition that must all hold; `denied`: that must all not hold.
    fn conjuncts(&mut self, expr: &Expr, denied: bool, into: &mut Vec<Conjunct>) {
        match expr {
            Expr::BinaryOp { op: BinaryOp::And, left, right } if !denied => {
                self.conjuncts(left, denied, into);
                self.conjuncts(right, denied, into);
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } if denied => {
                self.conjuncts(left, denied, into);
                self.conjuncts(right, denied, into);
            }
            Expr::UnaryOp { op: UnaryOp::Not, expr } => self.conjuncts(expr, !denied, into),
            _ if denied => {
                let formula = self.condition(expr).not();
                into.push(Conjunct { told: format!("!({expr})"), formula });
            }
            _ => {
                let formula = self.condition(expr);
                into.push(Conjunct { told: expr.to_string(), formula });
            }
        }
    }

    /// A condition that the rule asks and nothing is known of, but that it is the same wherever it stands.
    fn free(&mut self, told: &str) -> Formula {
        Formula::Yes(self.id(Term::Free(told.to_owned())))
    }

    fn condition(&mut self, expr: &Expr) -> Formula {
        match expr {
            Expr::Literal(Literal::Bool(value)) => Formula::Const(*value),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => self.condition(expr).not(),
            Expr::UnaryOp { op: UnaryOp::IsEmpty, expr: set } => {
                let (id, told) = (self.id(Term::Free(expr.to_string())), set.to_string());
                if !self.empties.iter().any(|(_, known)| *known == id) {
                    self.empties.push((told, id));
                }
                Formula::Yes(id)
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                Formula::If(Box::new([self.condition(cond), self.condition(then_expr), self.condition(else_expr)]))
            }
            Expr::HasAttr { expr: of, attrs } if attrs.tail.is_empty() => match self.member(of, &attrs.head) {
                Some(term) => Formula::Present(term),
                None => self.free(&expr.to_string()),
            },
            Expr::Like { expr: of, pattern } => match self.term(of) {
                Some(var) => self.like(var, pattern),
                None => self.free(&expr.to_string()),
            },
            Expr::Is { expr: of, in_expr: None, .. } if matches!(**of, Expr::Var(_)) => Formula::Const(true),
            Expr::BinaryOp { op, left, right } => self.binary(expr, *op, left, right),
            other => self.free(&other.to_string()),
        }
    }

    fn binary(&mut self, whole: &Expr, op: BinaryOp, left: &Expr, right: &Expr) -> Formula {
        match op {
            BinaryOp::And => Formula::And(vec![self.condition(left), self.condition(right)]),
            BinaryOp::Or => Formula::Or(vec![self.condition(left), self.condition(right)]),
            BinaryOp::Eq => self.equal(left, right),
            BinaryOp::NotEq => self.equal(left, right).not(),
            BinaryOp::In => self.named(left, right).unwrap_or_else(|| self.free(&whole.to_string())),
            // All orders are one order, of which two opposite sides are never both true.
            BinaryOp::Less => self.less(left, right),
            BinaryOp::Greater => self.less(right, left),
            BinaryOp::LessEq => self.less(right, left).not(),
            BinaryOp::GreaterEq => self.less(left, right).not(),
            BinaryOp::HasTag => match self.tag(left, right) {
                Some(var) => Formula::Present(var),
                None => self.free(&whole.to_string()),
            },
            BinaryOp::Contains => match (texts(left), self.term(right)) {
                (Some(texts), Some(var)) => Formula::Is(var, texts),
                _ => match right {
                    Expr::Literal(Literal::String(text)) => self.contains(left, text),
                    _ => self.free(&whole.to_string()),
                },
            },
            BinaryOp::ContainsAll => match texts(right) {
                Some(texts) => Formula::And(texts.iter().map(|text| self.contains(left, text)).collect()),
                None => self.free(&whole.to_string()),
            },
            BinaryOp::ContainsAny => match (texts(left), texts(right)) {
                (_, Some(texts)) => Formula::Or(texts.iter().map(|text| self.contains(left, text)).collect()),
                (Some(texts), None) => Formula::Or(texts.iter().map(|text| self.contains(right, text)).collect()),
                _ => self.free(&whole.to_string()),
            },
            _ => self.free(&whole.to_string()),
        }
    }

    fn less(&mut self, left: &Expr, right: &Expr) -> Formula {
        self.free(&format!("{left} < {right}"))
    }

    fn equal(&mut self, left: &Expr, right: &Expr) -> Formula {
        if let Some(named) = self.named(left, right).or_else(|| self.named(right, left)) {
            return named;
        }
        match (left, right) {
            (Expr::Literal(Literal::Bool(value)), other) | (other, Expr::Literal(Literal::Bool(value))) => {
                let condition = self.condition(other);
                return if *value { condition } else { condition.not() };
            }
            _ => {}
        }
        match (self.compared(left), self.compared(right)) {
            (Some(Compared::Text(one)), Some(Compared::Text(other))) => Formula::Const(one == other),
            (Some(Compared::Term(var)), Some(Compared::Text(text)))
            | (Some(Compared::Text(text)), Some(Compared::Term(var))) => Formula::Is(var, vec![text.to_owned()]),
            _ => {
                let mut sides = [left.to_string(), right.to_string()];
                sides.sort();
                self.free(&sides.join(" == "))
            }
        }
    }

    fn compared<'e>(&mut self, expr: &'e Expr) -> Option<Compared<'e>> {
        match expr {
            Expr::Literal(Literal::String(text)) => Some(Compared::Text(text.as_str())),
            other => self.term(other).map(Compared::Term),
        }
    }

    /// `principal` or `action` beside entities that are written out.
    fn named(&mut self, of: &Expr, entities: &Expr) -> Option<Formula> {
        let ids = entity_ids(entities)?;
        match of {
            Expr::Var(Var::Principal) => Some(Formula::Is(self.id(Term::Name), ids)),
            Expr::Var(Var::Action) => Some(Formula::Is(self.id(Term::Action), ids)),
            _ => None,
        }
    }

    /// What has a text as its value.
    fn term(&mut self, expr: &Expr) -> Option<VarId> {
        match expr {
            Expr::GetAttr { expr: of, attr } => match (&**of, attr.as_str()) {
                (Expr::Var(Var::Principal), "name") => Some(self.id(Term::Name)),
                (Expr::Var(Var::Principal), "cloud") => Some(self.id(Term::Cloud)),
                (of, name) => self.member(of, name),
            },
            Expr::BinaryOp { op: BinaryOp::GetTag, left, right } => self.tag(left, right),
            _ => None,
        }
    }

    fn member(&mut self, of: &Expr, name: &str) -> Option<VarId> {
        match of {
            Expr::Var(Var::Principal | Var::Resource) => Some(self.id(Term::Member(format!("{of}.{name}")))),
            _ => None,
        }
    }

    /// A label, annotation or statement, by a name that is written out.
    fn tag(&mut self, of: &Expr, key: &Expr) -> Option<VarId> {
        let Expr::Literal(Literal::String(key)) = key else { return None };
        let key = key.to_string();
        match of {
            Expr::Var(Var::Principal) => Some(self.id(Term::EnvironmentLabel(key))),
            Expr::Var(Var::Resource) => Some(self.id(Term::Label(key))),
            Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Resource) => match attr.as_str() {
                "annotations" => Some(self.id(Term::Annotation(key))),
                "stated" => Some(self.id(Term::Stated(key))),
                _ => None,
            },
            _ => None,
        }
    }

    fn contains(&mut self, set: &Expr, text: &str) -> Formula {
        if matches!(set, Expr::GetAttr { expr, attr } if **expr == Expr::Var(Var::Resource) && attr == "fit") {
            let (label, cloud) = (self.id(Term::Label(text.to_owned())), self.id(Term::Cloud));
            let contradicted = self.id(Term::Contradicted(text.to_owned()));
            let is_fit = |value: &str, cloud| {
                matches!(self.dictionary.meaning(text, value, cloud), Meaning::Value { fit: true, .. })
            };
            let values = self.dictionary.values(text).flat_map(|value| Cloud::ALL.map(|cloud| (value, cloud)));
            let fit = values.filter(|(value, cloud)| is_fit(value, *cloud));
            let fit = fit.map(|(value, cloud)| (value.to_owned(), cloud)).collect();
            return Formula::Fit { label, cloud, fit, contradicted };
        }
        if let Some(texts) = texts(set) {
            return Formula::Const(texts.iter().any(|known| known == text));
        }
        let set = set.to_string();
        let id = self.id(Term::Free(format!("{set} contains {text:?}")));
        let elements = self.elements.entry(set).or_default();
        if !elements.contains(&id) {
            elements.push(id);
        }
        Formula::Yes(id)
    }

    fn like(&mut self, var: VarId, pattern: &[PatternElem]) -> Formula {
        if pattern.len() > MAX_PATTERN_LEN {
            return self.free(&format!("{var} like {pattern:?}"));
        }
        let letter = |elem: &PatternElem| match elem {
            PatternElem::Char(c) => Some(*c),
            PatternElem::Wildcard => None,
        };
        if let Some(text) = pattern.iter().map(letter).collect::<Option<String>>() {
            return Formula::Is(var, vec![text]);
        }
        let free = self.id(Term::Free(format!("{var} like {pattern:?}")));
        Formula::Like(var, pattern.to_vec(), free)
    }
}

/// The texts of a list that is written out.
fn texts(expr: &Expr) -> Option<Vec<String>> {
    let Expr::Set(items) = expr else { return None };
    let text = |item: &Expr| match item {
        Expr::Literal(Literal::String(text)) => Some(text.to_string()),
        _ => None,
    };
    items.iter().map(|item| text(item)).collect()
}

/// The ids of one entity or a list of them.
fn entity_ids(expr: &Expr) -> Option<Vec<String>> {
    match expr {
        Expr::Literal(Literal::EntityUID(uid)) => Some(vec![uid.eid.to_string()]),
        Expr::Set(items) => {
            items.iter().map(|item| entity_ids(item)).collect::<Option<Vec<_>>>().map(|ids| ids.concat())
        }
        _ => None,
    }
}
