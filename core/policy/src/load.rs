//! Strict loading: files in, a policy or the reason why not out.
//!
//! Invariants of a [`Policy`]: every rule has an id of its own, which is also Cedar's; the whole set passed strict
//! validation against our schema; every rule reads labels by name, and `fit` of keys that the dictionary governs; all limits
//! hold. Deliberately absent: rules that are left out because they are wrong. One wrong rule, and nothing loads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::OnceLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect as CedarEffect, PolicyId, PolicySet, ValidationMode};
use schemars::JsonSchema;
use serde::Serialize;
use trust_image::Digest;

use crate::cost::{Cost, MAX_STEPS};
use crate::decision::Effect;
use crate::dictionary::{Dictionary, DictionaryError};
use crate::entities::{BuildError, Model, Prepared};
use crate::lexer::{self, Excess, Position, RuleText};
use crate::reads::{self, Read, ReadProblem};
use crate::subject::Action;
use crate::told::told;
use crate::trial::{RuleMode, Trials};
use crate::{SCHEMA_VERSION, spot, text};

/// Files of one policy.
pub const MAX_SOURCES: usize = 64;
/// Largest file of rules, in bytes.
pub const MAX_RULES_FILE_LEN: usize = 256 * 1024;
/// Rules of one policy.
pub const MAX_RULES: usize = 1_000;
/// Longest `@id`, in bytes.
pub const MAX_ID_LEN: usize = 64;
/// Longest `@title`, `@reason` or `@contact`, in bytes.
pub const MAX_ANNOTATION_LEN: usize = 1_024;
/// Errors of validation that are told at once.
const MAX_TOLD: usize = 10;

const RULES_DIR: &str = "_policy/";
const RULES_END: &str = ".cedar";
const LABELS_DIR: &str = "_labels/";
const LABELS_END: &str = ".json";
const ANNOTATIONS: [&str; 6] = ["id", "title", "reason", "contact", "schema", "mode"];

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `_policy/NAME.cedar` or `_labels/NAME.json`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Which policy it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyIdentity {
    /// The collection that it comes from, or `local folder`.
    pub collection: String,
    /// Version of the role's file; 0 for a folder.
    pub version: u64,
    /// `sha256:…` over all sources; [`Policy::load`] fills it in, whatever is given.
    pub digest: String,
    /// Names of those who signed it.
    pub signed_by: Vec<String>,
}

impl PolicyIdentity {
    /// A folder that was not published.
    pub fn folder() -> Self {
        PolicyIdentity {
            collection: "local folder".to_owned(),
            version: 0,
            digest: String::new(),
            signed_by: Vec::new(),
        }
    }
}

/// A rule, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleInfo {
    /// Its `@id`.
    pub id: String,
    /// What it does when it matches.
    pub effect: Effect,
    /// Its `@mode`: whether it decides, or only tells what it would decide.
    pub mode: RuleMode,
    /// Its `@title`.
    pub title: Option<String>,
    /// Its `@reason`.
    pub reason: Option<String>,
    /// Its `@contact`.
    pub contact: Option<String>,
    /// The file that it stands in.
    pub path: String,
    /// The line that it begins in, from 1.
    pub line: usize,
    /// The column that it begins in, in characters from 1.
    pub column: usize,
    /// The rule as it stands there.
    pub source: String,
}

/// A place in a file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
}

impl Place {
    pub(crate) fn new(path: &str, at: Position) -> Place {
        Place { path: path.to_owned(), line: at.line, column: at.column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", text::printable(&self.path), self.line, self.column)
    }
}

/// Why a policy does not load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is no rule in it.
    #[error("the policy has no rule: nothing would be permitted anywhere")]
    Empty,
    /// More than [`MAX_SOURCES`].
    #[error("a policy has at most {MAX_SOURCES} files")]
    TooManySources,
    /// More than [`MAX_RULES`].
    #[error("a policy has at most {MAX_RULES} rules")]
    TooManyRules,
    /// Neither `_policy/NAME.cedar` nor `_labels/NAME.json`.
    #[error("{}: a file of a policy is _policy/NAME.cedar or _labels/NAME.json", text::printable(path))]
    Path {
        /// As given.
        path: String,
    },
    /// One path twice.
    #[error("{path}: this file is given twice")]
    PathTwice {
        /// The path.
        path: String,
    },
    /// Larger than [`MAX_RULES_FILE_LEN`].
    #[error("{path}: a file of rules has at most {MAX_RULES_FILE_LEN} bytes")]
    TooLong {
        /// The file.
        path: String,
    },
    /// Not UTF-8.
    #[error("{path}: the file is not UTF-8 text")]
    Encoding {
        /// The file.
        path: String,
    },
    /// A rule is too deep or too long.
    #[error("{place}: {excess}")]
    Excess {
        /// Where.
        place: Place,
        /// Which limit.
        excess: Excess,
    },
    /// Not Cedar.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// Cedar's words, on one line.
        message: String,
    },
    /// A rule with `?principal` or `?resource`, which would never apply.
    #[error("{place}: a rule with ?principal or ?resource never applies here")]
    Template {
        /// Where.
        place: Place,
    },
    /// A rule without `@id`.
    #[error("{place}: the rule has no id; write @id(\"name-of-the-rule\") above it")]
    NoId {
        /// Where.
        place: Place,
    },
    /// An `@id` that is not `[a-z0-9][a-z0-9._-]{0,63}`.
    #[error(
        "{place}: the id {id} is not 1 to {MAX_ID_LEN} of a-z, 0-9, \".\", \"_\" and \"-\", the first a letter or digit"
    )]
    Id {
        /// Where.
        place: Place,
        /// As it stands there, escaped.
        id: String,
    },
    /// Two rules with one id.
    #[error("{place}: the id {id} is also that of the rule at {first}")]
    IdTwice {
        /// The second rule.
        place: Place,
        /// The id.
        id: String,
        /// The first rule.
        first: Place,
    },
    /// A rule needs a later version of the schema than this program knows.
    #[error(
        "{place}: the rule needs version {needed} of the policy schema, and this program knows {SCHEMA_VERSION}: update this program, \
         or publish rules that it knows"
    )]
    Schema {
        /// Where.
        place: Place,
        /// The version that is needed.
        needed: u64,
    },
    /// `@schema` is no version.
    #[error(
        "{place}: @schema is {given}; it is the least version of the policy schema that the rule needs: @schema(\"1\")"
    )]
    SchemaStated {
        /// Where.
        place: Place,
        /// As it stands there, escaped.
        given: String,
    },
    /// `@mode` is none.
    #[error("{place}: @mode is {given}; it is \"enforce\", \"warn\" or \"audit\"")]
    Mode {
        /// Where.
        place: Place,
        /// As it stands there, escaped.
        given: String,
    },
    /// An annotation is longer than [`MAX_ANNOTATION_LEN`].
    #[error("{place}: @{name} is longer than {MAX_ANNOTATION_LEN} bytes")]
    Annotation {
        /// Where.
        place: Place,
        /// Which one.
        name: &'static str,
    },
    /// Strict validation found errors.
    #[error("{}{}", found.first().map_or("", String::as_str), more(found.len()))]
    Invalid {
        /// `PATH:LINE:COLUMN: rule ID: what is wrong`, at most ten.
        found: Vec<String>,
    },
    /// A rule reads what it may not, or compares with what cannot be.
    #[error("{place}: rule {id}: {problem}")]
    Reads {
        /// Where.
        place: Place,
        /// The rule.
        id: String,
        /// What is wrong.
        problem: Box<ReadProblem>,
    },
    /// The rules for one action take more than [`MAX_STEPS`] on every image, so that none could be decided.
    #[error(
        "the rules for {action} take more than {MAX_STEPS} steps on one platform: fewer or shorter rules are needed"
    )]
    Cost {
        /// The action.
        action: Action,
    },
    /// A file of the dictionary is refused.
    #[error("{path}{}: {error}", at.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default())]
    Dictionary {
        /// The file.
        path: String,
        /// Line and column, where they are known.
        at: Option<(usize, usize)>,
        /// Why.
        error: DictionaryError,
    },
    /// The engine refuses our own schema or a valid rule; an error of this program.
    #[error("the rules cannot be used: {0}")]
    Engine(String),
}

fn more(found: usize) -> String {
    if found > 1 { format!(" (and {} more)", found - 1) } else { String::new() }
}

/// A rule with all that is told when it decided.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) info: RuleInfo,
    cedar: cedar_policy::Policy,
    pub(crate) reads: BTreeSet<Read>,
}

/// The rules that apply to one action.
#[derive(Debug, Default)]
pub(crate) struct Applicable {
    /// Built when the first decision asks for it: most programs ask for one action alone.
    set: OnceLock<Result<PolicySet, String>>,
    /// Places in the list of all rules, in its order.
    pub(crate) rules: Vec<usize>,
    /// What they take on one image, at most.
    pub(crate) cost: Cost,
}

impl Applicable {
    /// The rules as Cedar asks them; `all` are those of the policy. What fails is an error of this program: their ids are
    /// different ones.
    pub(crate) fn set(&self, all: &[Rule]) -> Result<&PolicySet, BuildError> {
        let ours = || self.rules.iter().filter_map(|at| all.get(*at)).map(|rule| rule.cedar.clone());
        let built = || PolicySet::from_policies(ours()).map_err(|e| text::printable(&e.to_string()));
        self.set.get_or_init(built).as_ref().map_err(|error| BuildError(error.clone()))
    }
}

/// Rules and dictionary that passed strict loading.
#[derive(Debug)]
pub struct Policy {
    pub(crate) identity: PolicyIdentity,
    pub(crate) dictionary: Dictionary,
    /// Sorted by id.
    pub(crate) rules: Vec<Rule>,
    pub(crate) places: HashMap<PolicyId, usize>,
    /// The rules that decide.
    pub(crate) applicable: BTreeMap<Action, Applicable>,
    pub(crate) trials: Trials,
    pub(crate) model: &'static Model,
    pub(crate) prepared: Prepared,
    warnings: Vec<String>,
    reads_time: bool,
    schema_needed: u64,
}

impl Policy {
    /// Loads a set of files as one policy.
    pub fn load(sources: &[Source], identity: PolicyIdentity) -> Result<Policy, LoadError> {
        // What a later version wrote may not load here for any reason; that it is later is the one to tell.
        Self::load_known(sources, identity).map_err(|error| later_schema(sources).unwrap_or(error))
    }

    fn load_known(sources: &[Source], identity: PolicyIdentity) -> Result<Policy, LoadError> {
        let model = Model::shared().map_err(LoadError::Engine)?;
        let (dictionary, mut warnings) = Dictionary::load(sources)?;
        let mut parsed: BTreeMap<String, Parsed> = BTreeMap::new();
        for source in sources.iter().filter(|source| source.path.starts_with(RULES_DIR)) {
            for rule in read_rules(source)? {
                let rule = rule?;
                if let Some(first) = parsed.get(&rule.info.id) {
                    let (place, first) = (rule.info.place(), first.info.place());
                    return Err(LoadError::IdTwice { place, id: rule.info.id, first });
                }
                warnings.extend(rule.warning.clone());
                parsed.insert(rule.info.id.clone(), rule);
                if parsed.len() > MAX_RULES {
                    return Err(LoadError::TooManyRules);
                }
            }
        }
        if parsed.is_empty() {
            return Err(LoadError::Empty);
        }
        warnings.extend(validate(&parsed, model)?);
        let mut in_force = parsed.values().filter(|rule| rule.info.mode == RuleMode::Enforce);
        if in_force.all(|rule| rule.info.effect == Effect::Forbid) {
            warnings.push("no rule permits anything: every image is denied".to_owned());
        }
        let mut policy = Policy {
            identity: PolicyIdentity { digest: digest(sources).to_string(), ..identity },
            dictionary,
            rules: Vec::new(),
            places: HashMap::new(),
            applicable: Action::ALL.into_iter().map(|action| (action, Applicable::default())).collect(),
            trials: Trials::default(),
            model,
            prepared: Prepared::default(),
            warnings,
            reads_time: false,
            schema_needed: parsed.values().map(|rule| rule.schema).max().unwrap_or(1),
        };
        let mut in_force = parsed.values().filter(|rule| rule.info.mode == RuleMode::Enforce);
        let nothing_forbids = in_force.all(|rule| rule.info.effect == Effect::Permit);
        for rule in parsed.into_values() {
            let decides = rule.info.mode == RuleMode::Enforce;
            let named = (nothing_forbids && decides).then(|| (rule.info.place(), rule.info.id.clone()));
            if policy.add(rule)?
                && let Some((place, id)) = named
            {
                policy.warnings.push(format!(
                    "{place}: rule {id} permits without a condition, and no rule forbids: every signed image may be used everywhere"
                ));
            }
        }
        policy.trials.complete(&policy.applicable).map_err(|action| LoadError::Cost { action })?;
        Ok(policy)
    }

    /// Adds a rule; whether it applies to every image in every environment.
    fn add(&mut self, rule: Parsed) -> Result<bool, LoadError> {
        let Parsed { info, cedar, .. } = rule;
        let engine = |e: &dyn fmt::Display| LoadError::Engine(text::printable(&e.to_string()));
        let tree = cedar.to_pst().map_err(|e| engine(&e))?;
        let found = reads::find(tree.body(), &self.dictionary);
        if let Some(problem) = found.problem {
            let place = info.place_of(problem.literal().unwrap_or_default());
            return Err(LoadError::Reads { place, id: info.id, problem: Box::new(problem) });
        }
        for key in &found.ungoverned {
            let near = self.dictionary.near(key);
            let near = near.map_or("if it is misspelt here or on an image, nothing says so".to_owned(), |near| {
                format!("did you mean {}?", text::quoted(near))
            });
            let key = text::quoted(key);
            let place = info.place_of(&key);
            self.warnings.push(format!("{place}: rule {}: the label {key} is not in the dictionary; {near}", info.id));
        }
        let is_for_all = reads::is_for_all(tree.body());
        let cost = Cost::of(tree.body());
        let at = self.rules.len();
        for action in reads::actions(tree.body()) {
            if info.mode != RuleMode::Enforce {
                self.trials.add(action, info.mode, at, &cost);
                continue;
            }
            let applicable = self.applicable.entry(action).or_default();
            applicable.rules.push(at);
            applicable.cost.add(&cost);
            if applicable.cost.fixed() > MAX_STEPS {
                return Err(LoadError::Cost { action });
            }
        }
        self.reads_time |= found.reads.contains(&Read::Time);
        self.places.insert(cedar.id().clone(), at);
        self.rules.push(Rule { info, cedar, reads: found.reads });
        Ok(is_for_all)
    }

    /// Which policy it is.
    pub fn identity(&self) -> &PolicyIdentity {
        &self.identity
    }

    /// Its dictionary.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// Its rules, sorted by id.
    pub fn rules(&self) -> impl Iterator<Item = &RuleInfo> {
        self.rules.iter().map(|rule| &rule.info)
    }

    /// Those that decide, and are not in trial.
    pub fn deciding_rules(&self) -> impl Iterator<Item = &RuleInfo> {
        self.rules().filter(|rule| rule.mode == RuleMode::Enforce)
    }

    /// What loads but is probably not meant: a rule that can never match, letters of two scripts in one word, a label that
    /// is not in the dictionary.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The least version of the schema that these rules say they need.
    pub fn schema_needed(&self) -> u64 {
        self.schema_needed
    }

    /// Whether a rule reads the time; such decisions live 60 s at most.
    pub fn reads_time(&self) -> bool {
        self.reads_time
    }
}

impl Dictionary {
    /// Loads the dictionary of these files strictly, without their rules; with what is probably not meant.
    pub fn load(sources: &[Source]) -> Result<(Dictionary, Vec<String>), LoadError> {
        check_paths(sources)?;
        let mut dictionary = Dictionary::default();
        for Source { path, bytes } in sources.iter().filter(|source| source.path.starts_with(LABELS_DIR)) {
            dictionary.add(bytes).map_err(|error| LoadError::dictionary(path, bytes, error))?;
        }
        let warnings = dictionary.warnings().into_iter().map(|(key, told)| match key_place(sources, &key) {
            Some(place) => format!("{place}: {told}"),
            None => told,
        });
        let warnings = warnings.collect();
        Ok((dictionary, warnings))
    }
}

/// Where a governed key stands.
pub(crate) fn key_place(sources: &[Source], key: &str) -> Option<Place> {
    sources.iter().filter(|source| source.path.starts_with(LABELS_DIR)).find_map(|source| {
        let file = std::str::from_utf8(&source.bytes).ok()?;
        Some(Place::new(&source.path, spot::key(file, key)?))
    })
}

impl LoadError {
    /// A file of the dictionary is refused.
    pub(crate) fn dictionary(path: &str, bytes: &[u8], error: DictionaryError) -> LoadError {
        let word = || {
            let at = spot::last(std::str::from_utf8(bytes).ok()?, error.word()?)?;
            Some((at.line, at.column))
        };
        LoadError::Dictionary { path: path.to_owned(), at: error.place().or_else(word), error }
    }
}

impl RuleInfo {
    /// Where it begins.
    pub fn place(&self) -> Place {
        Place::new(&self.path, self.position())
    }

    /// Where it asks for a text, which is given escaped and in quotation marks; where it begins if that is not found.
    fn place_of(&self, quoted: &str) -> Place {
        let at = lexer::find_text(&self.source, quoted);
        Place::new(&self.path, lexer::position(self.position(), &self.source, at.unwrap_or(0)))
    }

    fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }
}

/// One digest over all files: each path and the digest of its bytes, sorted.
fn digest(sources: &[Source]) -> Digest {
    let mut lines: Vec<String> = sources.iter().map(|s| format!("{} {}\n", s.path, Digest::of(&s.bytes))).collect();
    lines.sort_unstable();
    Digest::of(lines.concat().as_bytes())
}

fn check_paths(sources: &[Source]) -> Result<(), LoadError> {
    if sources.len() > MAX_SOURCES {
        return Err(LoadError::TooManySources);
    }
    let mut seen = BTreeSet::new();
    for Source { path, bytes } in sources {
        let name = |dir, end| path.strip_prefix(dir).and_then(|rest: &str| rest.strip_suffix(end));
        let rules = name(RULES_DIR, RULES_END);
        let fits = |name: &str| {
            (1..=128).contains(&name.len())
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !rules.or_else(|| name(LABELS_DIR, LABELS_END)).is_some_and(fits) {
            return Err(LoadError::Path { path: path.clone() });
        }
        if !seen.insert(path) {
            return Err(LoadError::PathTwice { path: path.clone() });
        }
        if rules.is_some() && bytes.len() > MAX_RULES_FILE_LEN {
            return Err(LoadError::TooLong { path: path.clone() });
        }
    }
    Ok(())
}

/// A rule that was parsed.
struct Parsed {
    info: RuleInfo,
    cedar: cedar_policy::Policy,
    /// Where it begins in the text that Cedar parsed.
    start: usize,
    warning: Option<String>,
    /// The least version of the schema that it says it needs.
    schema: u64,
}

fn read_rules(source: &Source) -> Result<impl Iterator<Item = Result<Parsed, LoadError>> + '_, LoadError> {
    let path = &source.path;
    let text = std::str::from_utf8(&source.bytes).map_err(|_| LoadError::Encoding { path: path.clone() })?;
    let rules = lexer::split(text).map_err(|(at, excess)| LoadError::Excess { place: Place::new(path, at), excess })?;
    let mut at_once = parse_file(text, &rules).map(Vec::into_iter);
    Ok(rules.into_iter().map(move |rule| match at_once.as_mut().and_then(Iterator::next) {
        Some(cedar) => read_rule(path, &rule, cedar, rule.start),
        None => read_rule(path, &rule, bare(&parse_rule(path, &rule)?), 0),
    }))
}

/// All rules of a file, parsed at once: that costs a third of one after the other. `None` if the file does not read, or
/// reads in other pieces than ours; then each rule is read by itself, and what is wrong has its place.
fn parse_file(text: &str, rules: &[RuleText<'_>]) -> Option<Vec<cedar_policy::Policy>> {
    let set: PolicySet = text.parse().ok()?;
    if set.templates().next().is_some() || set.policies().count() != rules.len() {
        return None;
    }
    let one = |(number, rule): (usize, &RuleText<'_>)| {
        // Cedar numbers the rules of a text.
        let cedar = set.policy(&PolicyId::new(format!("policy{number}")))?;
        (cedar.to_cedar()? == rule.text).then(|| bare(cedar))
    };
    rules.iter().enumerate().map(one).collect()
}

/// The rule without its text, which Cedar would parse again for a tree of it.
fn bare(rule: &cedar_policy::Policy) -> cedar_policy::Policy {
    rule.as_ref().clone().into()
}

/// One rule as Cedar reads it.
pub(crate) fn parse_rule(path: &str, rule: &RuleText<'_>) -> Result<cedar_policy::Policy, LoadError> {
    match cedar_policy::Policy::parse(None, rule.text) {
        Ok(cedar) => Ok(cedar),
        Err(_) if cedar_policy::Template::parse(None, rule.text).is_ok() => {
            Err(LoadError::Template { place: Place::new(path, rule.at) })
        }
        Err(error) => {
            let error = DetailedError::from(&error);
            let offset = error.source_locations.first().map_or(0, |label| label.loc.start);
            let place = Place::new(path, rule.position(offset));
            Err(LoadError::Syntax { place, message: told(&error) })
        }
    }
}

/// `start`: where the rule begins in the text that Cedar parsed.
fn read_rule(path: &str, rule: &RuleText<'_>, cedar: cedar_policy::Policy, start: usize) -> Result<Parsed, LoadError> {
    let place = || Place::new(path, rule.at);
    // All at once: to ask Cedar for one by its name is to parse the name.
    let annotations: BTreeMap<&str, &str> = cedar.annotations().collect();
    let Some(id) = annotations.get("id").copied() else {
        return Err(LoadError::NoId { place: place() });
    };
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = id.len() <= MAX_ID_LEN
        && id.bytes().next().is_some_and(is_word)
        && id.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'_' | b'-'));
    if !fits {
        return Err(LoadError::Id { place: place(), id: text::quoted(id) });
    }
    for name in ANNOTATIONS {
        if annotations.get(name).is_some_and(|value| value.len() > MAX_ANNOTATION_LEN) {
            return Err(LoadError::Annotation { place: place(), name });
        }
    }
    let schema = match annotations.get("schema") {
        None => 1,
        Some(given) => {
            let refused = || LoadError::SchemaStated { place: place(), given: text::quoted(given) };
            version(given).ok_or_else(refused)?
        }
    };
    if schema > SCHEMA_VERSION {
        return Err(LoadError::Schema { place: place(), needed: schema });
    }
    let mode = match annotations.get("mode") {
        None => RuleMode::Enforce,
        Some(given) => {
            let refused = || LoadError::Mode { place: place(), given: text::quoted(given) };
            RuleMode::read(given).ok_or_else(refused)?
        }
    };
    let warning = annotations.keys().find(|name| !ANNOTATIONS.contains(name)).map(|name| {
        let nearest = text::nearest(name, ANNOTATIONS).map(|n| format!(", did you mean @{n}?")).unwrap_or_default();
        format!("{}: rule {id}: @{name} is not an annotation that is shown{nearest}", place())
    });
    let annotation =
        |name: &str| annotations.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
    let info = RuleInfo {
        id: id.to_owned(),
        effect: match cedar.effect() {
            CedarEffect::Permit => Effect::Permit,
            CedarEffect::Forbid => Effect::Forbid,
        },
        mode,
        title: annotation("title"),
        reason: annotation("reason"),
        contact: annotation("contact"),
        path: path.to_owned(),
        line: rule.at.line,
        column: rule.at.column,
        source: rule.text.to_owned(),
    };
    let cedar = cedar.new_id(PolicyId::new(&info.id));
    Ok(Parsed { info, cedar, start, warning, schema })
}

/// A version as it is written in `@schema("1")`.
fn version(given: &str) -> Option<u64> {
    let is_plain = given.bytes().all(|b| b.is_ascii_digit()) && !given.starts_with('0');
    given.parse().ok().filter(|_| is_plain)
}

/// The first rule that says that it needs a later schema. A search for the words alone: its rule may not parse here.
fn later_schema(sources: &[Source]) -> Option<LoadError> {
    let stated = |text: &str| {
        let (value, _) = text.trim_start().strip_prefix('(')?.trim_start().strip_prefix('"')?.split_once('"')?;
        version(value).filter(|version| *version > SCHEMA_VERSION)
    };
    sources.iter().filter(|source| source.path.starts_with(RULES_DIR)).find_map(|source| {
        let text = std::str::from_utf8(&source.bytes).ok()?;
        let mut found = text.match_indices("@schema");
        let (at, needed) =
            found.find_map(|(at, word)| Some((at, stated(text.get(at.checked_add(word.len())?..)?)?)))?;
        let place = Place::new(&source.path, lexer::position(Position::START, text, at));
        Some(LoadError::Schema { place, needed })
    })
}

/// Strict validation of all rules together; the warnings.
fn validate(parsed: &BTreeMap<String, Parsed>, model: &Model) -> Result<Vec<String>, LoadError> {
    let set = PolicySet::from_policies(parsed.values().map(|rule| rule.cedar.clone()))
        .map_err(|e| LoadError::Engine(text::printable(&e.to_string())))?;
    let result = model.validator().validate(&set, ValidationMode::Strict);
    let at = |id: &PolicyId, error: &DetailedError| {
        let id: &str = id.as_ref();
        let Some(rule) = parsed.get(id) else { return (Position::START, format!("rule {id}: {}", told(error))) };
        let offset = error.source_locations.first().map_or(0, |label| label.loc.start.saturating_sub(rule.start));
        let at = lexer::position(rule.info.position(), &rule.info.source, offset);
        (at, format!("{}: rule {id}: {}", Place::new(&rule.info.path, at), told(error)))
    };
    let sorted = |mut found: Vec<(Position, String)>| {
        found.sort();
        found.dedup();
        found.into_iter().map(|(_, told)| told).collect::<Vec<_>>()
    };
    let mut errors = sorted(result.validation_errors().map(|e| at(e.policy_id(), &DetailedError::from(e))).collect());
    if !result.validation_passed() {
        errors.truncate(MAX_TOLD);
        return Err(LoadError::Invalid { found: errors });
    }
    Ok(sorted(result.validation_warnings().map(|w| at(w.policy_id(), &DetailedError::from(w))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    #[test]
    fn files_as_people_write_them_are_parsed_at_once_and_are_the_rules_that_they_are_one_by_one() {
        let crowded = "// a;\n@id(\"a\") permit (principal, action, resource);@id(\"b\")forbid(principal,action,resource)// ;\n\n\
                       when { resource.repository == \";\" && true // ;\n };\t@id(\"ä\")permit(principal,action,resource)\n\n;";
        let shipped = shipped::FILES.iter().filter(|(path, _)| path.contains(".cedar")).map(|(_, text)| *text);
        for text in shipped.chain([crowded]) {
            let rules = lexer::split(text).unwrap();
            let at_once = parse_file(text, &rules).expect("read at once");
            for (rule, cedar) in rules.iter().zip(&at_once) {
                let alone = cedar_policy::Policy::parse(None, rule.text).unwrap().new_id(cedar.id().clone());
                assert_eq!(&alone, cedar, "{}", rule.text);
            }
        }
    }

    #[test]
    fn a_file_with_one_bad_rule_or_a_slot_is_read_rule_by_rule() {
        let good = "@id(\"a\") permit (principal, action, resource);";
        for bad in
            ["@id(\"b\") permit (principal);", "@id(\"b\") permit (principal == ?principal, action, resource);", ";"]
        {
            let text = format!("{good}{bad}");
            assert!(parse_file(&text, &lexer::split(&text).unwrap()).is_none(), "{bad}");
        }
    }
}
