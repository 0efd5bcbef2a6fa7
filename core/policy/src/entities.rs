//! What Cedar is asked with: typed entities, built without JSON and checked against the schema.
//!
//! What does not change is built once: the schema, names of types and actions in [`Model`]; environments and the second that
//! it is in [`Prepared`]; all that the platforms of one image share in [`Asked`]. Deliberately absent: the answer.

use std::str::FromStr;
use std::sync::{OnceLock, PoisonError, RwLock};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value, Schema,
};
use trust_image::PlatformFacts;

use crate::SCHEMA;
use crate::dictionary::Meaning;
use crate::environment::Environment;
use crate::load::Policy;
use crate::subject::{Action, Subject};
use crate::text;

/// Environments that are kept; a gate has a few.
const MAX_KEPT: usize = 64;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// The schema and the names in it.
#[derive(Debug)]
pub(crate) struct Model {
    schema: Schema,
    environment: EntityTypeName,
    platform: EntityTypeName,
    actions: [(Action, EntityUid); 3],
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
            actions: Action::ALL.map(uid),
            schema,
        })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
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
        let now = Value::new_datetime(datetime(now_unix).ok_or_else(outside)?);
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
    /// The environment.
    entities: Entities,
    context: Context,
    members: Vec<(String, Value)>,
}

impl<'a> Asked<'a> {
    /// Builds what is shared. `now_unix` is in seconds.
    pub(crate) fn new(
        policy: &'a Policy,
        environment: &'a Environment,
        action: Action,
        subject: &Subject,
        now_unix: i64,
    ) -> Result<Self, BuildError> {
        let (principal, entities) = policy.prepared.environment(policy.model, environment)?;
        let context = policy.prepared.context(now_unix)?;
        let action = policy.model.action(action)?;
        Ok(Asked { policy, environment, principal, action, entities, context, members: members(subject) })
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
                    if is_fit {
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

/// The members that all platforms of an image have alike.
fn members(subject: &Subject) -> Vec<(String, Value)> {
    let reference = &subject.reference;
    let set = |items: &[String]| Value::new_set(items.iter().map(|item| text_value(item)));
    let signed_under = subject.facts.iter().flat_map(|facts| &facts.tags).map(String::as_str);
    let asked = reference.tag().filter(|tag| signed_under.clone().all(|known| known != *tag));
    let tags = Value::new_set(signed_under.clone().chain(asked).map(text_value));
    let mut members = vec![
        ("collection".to_owned(), text_value(&subject.collection)),
        ("registry".to_owned(), text_value(reference.canonical_domain())),
        ("repository".to_owned(), text_value(reference.canonical_path())),
        ("digest".to_owned(), Value::new_string(subject.digest.to_string())),
        ("tags".to_owned(), tags),
        ("tag_moved".to_owned(), Value::new_bool(tag_moved(subject))),
        ("signers".to_owned(), set(&subject.signers)),
        ("conflicts".to_owned(), set(&subject.conflicts)),
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

/// `YYYY-MM-DDTHH:MM:SSZ` of the years 1 to 9999.
pub(crate) fn datetime(unix: i64) -> Option<String> {
    let (days, seconds) = (unix.div_euclid(DAY), unix.rem_euclid(DAY));
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era.checked_mul(400)? + i64::from(month <= 2);
    (1..=9_999).contains(&year).then(|| {
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_of_four_digit_years_are_refused() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(datetime(unix).as_deref(), Some(text));
        }
        for unix in [253_402_300_800, -62_135_596_801, i64::MAX, i64::MIN] {
            assert_eq!(datetime(unix), None);
        }
    }
}
