//! What Cedar is asked with: typed entities, built without JSON and checked against the schema.
//!
//! What does not change is built once: the schema, names of types and actions in [`Model`]; environments and the second that
//! it is in [`Prepared`]; all that the platforms of one image share in [`Asked`]. Deliberately absent: the answer.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{OnceLock, PoisonError, RwLock};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value, Schema,
    Validator,
};
use trust_image::{ImageFacts, PlatformFacts};

use crate::SCHEMA;
use crate::dictionary::Meaning;
use crate::environment::Environment;
use crate::load::Policy;
use crate::subject::{Action, Subject};
use crate::{text, time};

/// Environments that are kept; a gate has a few.
const MAX_KEPT: usize = 64;

/// The schema and the names in it.
#[derive(Debug)]
pub(crate) struct Model {
    schema: Schema,
    environment: EntityTypeName,
    platform: EntityTypeName,
    annotations: EntityTypeName,
    statements: EntityTypeName,
    actions: [(Action, EntityUid); 3],
    validator: Validator,
}

impl Model {
    /// The one model of this program.
    pub(crate) fn shared() -> Result<&'static Model, String> {
        static MODEL: OnceLock<Result<Model, String>> = OnceLock::new();
        MODEL.get_or_init(Model::new).as_ref().map_err(Clone::clone)
    }

    fn new() -> Result<Model, String> {
        let told = |e: &dyn std::fmt::Display| text::printable(&e.to_string());
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| told(&e))?;
        let named = |name| EntityTypeName::from_str(name).map_err(|e| told(&e));
        let action = named("Action")?;
        let uid = |a: Action| (a, EntityUid::from_type_name_and_id(action.clone(), EntityId::new(a.as_str())));
        Ok(Model {
            environment: named("Environment")?,
            platform: named("Platform")?,
            annotations: named("Annotations")?,
            statements: named("Statements")?,
            actions: Action::ALL.map(uid),
            validator: Validator::new(schema.clone()),
            schema,
        })
    }

    pub(crate) fn validator(&self) -> &Validator {
        &self.validator
    }

    fn action(&self, action: Action) -> Result<EntityUid, BuildError> {
        let found = self.actions.iter().find(|(known, _)| *known == action);
        found.map(|(_, uid)| uid.clone()).ok_or_else(|| BuildError("the action is not in the schema".to_owned()))
    }
}

/// Why the input of a decision could not be built; the text names the fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BuildError(pub(crate) String);

impl BuildError {
    fn of(error: &dyn std::fmt::Display) -> Self {
        BuildError(text::printable(&error.to_string()))
    }
}

/// Inputs that several decisions share, kept until others take their place. They hold nothing but what was asked with, so
/// that a kept one is equal to a new one.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    environments: RwLock<Vec<(Environment, EntityUid, Entities)>>,
    now: RwLock<Option<(i64, Context)>>,
}

impl Prepared {
    fn environment(&self, model: &Model, environment: &Environment) -> Result<(EntityUid, Entities), BuildError> {
        let kept = self.environments.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, uid, entities)) = kept.iter().find(|(known, ..)| known == environment) {
            return Ok((uid.clone(), entities.clone()));
        }
        drop(kept);
        let uid = EntityUid::from_type_name_and_id(model.environment.clone(), EntityId::new(&environment.name));
        let entity = environment_entity(uid.clone(), environment)?;
        // Actions are in no hierarchy, so that nothing is ever asked of them.
        let entities = Entities::empty().add_entities([entity], Some(&model.schema)).map_err(|e| BuildError::of(&e))?;
        let mut kept = self.environments.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.push((environment.clone(), uid.clone(), entities.clone()));
        Ok((uid, entities))
    }

    fn context(&self, now_unix: i64) -> Result<Context, BuildError> {
        let kept = self.now.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, context)) = kept.as_ref().filter(|(second, _)| *second == now_unix) {
            return Ok(context.clone());
        }
        drop(kept);
        let outside = || BuildError("the time of the decision is not of the years 1 to 9999".to_owned());
        let now = Value::new_datetime(time::text(now_unix).ok_or_else(outside)?);
        let context = Context::from_pairs([("now".to_owned(), now)]).map_err(|e| BuildError::of(&e))?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Some((now_unix, context.clone()));
        Ok(context)
    }
}

/// What all platforms of one image share.
pub(crate) struct Asked<'a> {
    policy: &'a Policy,
    environment: &'a Environment,
    principal: EntityUid,
    action: EntityUid,
    /// Environment, annotations and statements.
    entities: Entities,
    context: Context,
    members: Vec<(String, Value)>,
    facts: Option<&'a ImageFacts>,
}

impl<'a> Asked<'a> {
    /// Builds what is shared. `now_unix` is in seconds.
    pub(crate) fn new(
        policy: &'a Policy,
        environment: &'a Environment,
        action: Action,
        subject: &'a Subject,
        now_unix: i64,
    ) -> Result<Self, BuildError> {
        let (principal, entities) = policy.prepared.environment(policy.model, environment)?;
        let context = policy.prepared.context(now_unix)?;
        let action = policy.model.action(action)?;
        let facts = subject.facts.as_ref();
        let said = |of: &EntityTypeName, texts: Option<&BTreeMap<String, String>>| said_entity(of, subject, texts);
        let annotated = said(&policy.model.annotations, facts.map(|facts| &facts.annotations))?;
        let stated = said(&policy.model.statements, facts.map(|facts| &facts.stated))?;
        let mut members = members(subject);
        members.push(("annotations".to_owned(), Value::new_entity_uid(annotated.uid())));
        members.push(("stated".to_owned(), Value::new_entity_uid(stated.uid())));
        let entities =
            entities.add_entities([annotated, stated], Some(&policy.model.schema)).map_err(|e| BuildError::of(&e))?;
        Ok(Asked { policy, environment, principal, action, entities, context, members, facts })
    }

    /// Request and entities of one platform. Its governed labels are in the dictionary.
    pub(crate) fn platform(&self, platform: &PlatformFacts) -> Result<(Request, Entities), BuildError> {
        let id = EntityId::new(format!("{}@{}", platform.platform, platform.digest));
        let resource = EntityUid::from_type_name_and_id(self.policy.model.platform.clone(), id);
        let mut fit = Vec::new();
        let mut tags = Vec::with_capacity(platform.labels.len());
        for (key, value) in &platform.labels {
            let value = match self.policy.dictionary.meaning(key, value, self.environment.cloud) {
                Meaning::Free => value.as_str(),
                Meaning::Value { value, fit: is_fit } => {
                    if is_fit && self.is_not_contradicted(key) {
                        fit.push(text_value(key));
                    }
                    value
                }
                Meaning::Outside { .. } => return Err(BuildError("a label is not in the dictionary".to_owned())),
            };
            tags.push((key.clone(), text_value(value)));
        }
        let own = [("platform".to_owned(), text_value(&platform.platform)), ("fit".to_owned(), Value::new_set(fit))];
        let members = self.members.iter().cloned().chain(own);
        let entity = Entity::new_with_tags(resource.clone(), members, [], tags).map_err(|e| BuildError::of(&e))?;
        let schema = Some(&self.policy.model.schema);
        let entities = self.entities.clone().add_entities([entity], schema).map_err(|e| BuildError::of(&e))?;
        let (principal, action) = (self.principal.clone(), self.action.clone());
        let request =
            Request::new(principal, action, resource, self.context.clone(), schema).map_err(|e| BuildError::of(&e))?;
        Ok((request, entities))
    }
}

impl Asked<'_> {
    /// Whether no annotation and no statement says of a governed key what is not fit here: of several places, the strictest
    /// one counts.
    fn is_not_contradicted(&self, key: &str) -> bool {
        let said = self.facts.into_iter().flat_map(|facts| [facts.annotations.get(key), facts.stated.get(key)]);
        said.flatten().all(|value| {
            let meaning = self.policy.dictionary.meaning(key, value, self.environment.cloud);
            matches!(meaning, Meaning::Value { fit: true, .. })
        })
    }
}

fn text_value(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn environment_entity(uid: EntityUid, environment: &Environment) -> Result<Entity, BuildError> {
    let mut members = vec![
        ("name".to_owned(), text_value(&environment.name)),
        ("cloud".to_owned(), text_value(environment.cloud.as_str())),
    ];
    if let Some(region) = &environment.region {
        members.push(("region".to_owned(), text_value(region)));
    }
    let tags = environment.labels.iter().map(|(key, value)| (key.clone(), text_value(value)));
    Entity::new_with_tags(uid, members, [], tags).map_err(|e| BuildError::of(&e))
}

/// The annotations or the statements of an image.
fn said_entity(
    of: &EntityTypeName,
    subject: &Subject,
    texts: Option<&BTreeMap<String, String>>,
) -> Result<Entity, BuildError> {
    let id = EntityId::new(subject.digest.to_string());
    let uid = EntityUid::from_type_name_and_id(of.clone(), id);
    let tags = texts.into_iter().flatten().map(|(key, value)| (key.clone(), text_value(value)));
    Entity::new_with_tags(uid, [], [], tags).map_err(|e| BuildError::of(&e))
}

/// The members that all platforms of an image have alike.
fn members(subject: &Subject) -> Vec<(String, Value)> {
    let reference = &subject.reference;
    let set = |items: &[String]| Value::new_set(items.iter().map(|item| text_value(item)));
    let signed_under = subject.facts.iter().flat_map(|facts| &facts.tags).map(String::as_str);
    let asked = reference.tag().filter(|tag| signed_under.clone().all(|known| known != *tag));
    let tags = Value::new_set(signed_under.clone().chain(asked).map(text_value));
    let platforms = subject.facts.iter().flat_map(|facts| &facts.platforms).filter(|p| p.is_runnable());
    // Versions beyond what Cedar counts do not exist: a root of each version before was verified.
    let root_version = i64::try_from(subject.root_version).unwrap_or(i64::MAX);
    let mut members = vec![
        ("collection".to_owned(), text_value(&subject.collection)),
        ("registry".to_owned(), text_value(reference.canonical_domain())),
        ("repository".to_owned(), text_value(reference.canonical_path())),
        ("digest".to_owned(), Value::new_string(subject.digest.to_string())),
        ("tags".to_owned(), tags),
        ("tag_moved".to_owned(), Value::new_bool(tag_moved(subject))),
        ("signers".to_owned(), set(&subject.signers)),
        ("conflicts".to_owned(), set(&subject.conflicts)),
        ("platforms".to_owned(), Value::new_set(platforms.map(|p| text_value(&p.platform)))),
        ("root_version".to_owned(), Value::new_long(root_version)),
    ];
    if let Some(tag) = reference.tag() {
        members.push(("tag".to_owned(), text_value(tag)));
    }
    if let Some(facts) = &subject.facts {
        members.push(("signed".to_owned(), Value::new_datetime(&facts.signed)));
    }
    members
}

/// Not known counts as moved, if a tag and a digest were asked for.
pub(crate) fn tag_moved(subject: &Subject) -> bool {
    let both = subject.reference.tag().is_some() && subject.reference.digest().is_some();
    subject.tag_moved.unwrap_or(both)
}
