//! For benchmarks alone: what a program does at least that asks Cedar itself with the same input. It builds environment,
//! annotations, statements and platform, checks entities and request against the schema and asks the authorizer, with everything known
//! beforehand that a caller could know: parsed rules, fitness, the time as text. It explains nothing. And what loading is at
//! least: parsing and strict validation of the same text, with the schema at hand.

use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression as Value, Schema, ValidationMode, Validator,
};

use crate::SCHEMA;
use crate::environment::Environment;
use crate::load::Source;
use crate::subject::{Action, Subject};

/// What loading is at least.
pub struct Loader {
    validator: Validator,
}

impl Loader {
    /// Parses the schema.
    pub fn new() -> Result<Loader, String> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| e.to_string())?;
        Ok(Loader { validator: Validator::new(schema) })
    }

    /// Parses and validates the text of all rules; how many they are.
    pub fn load(&self, text: &str) -> Result<usize, String> {
        let rules = PolicySet::from_str(text).map_err(|e| e.to_string())?;
        let result = self.validator.validate(&rules, ValidationMode::Strict);
        match result.validation_errors().next() {
            Some(error) => Err(error.to_string()),
            None => Ok(rules.policies().count()),
        }
    }
}

/// Rules and schema, parsed.
pub struct Bare {
    schema: Schema,
    rules: PolicySet,
    authorizer: Authorizer,
}

impl Bare {
    /// Parses rules without any check.
    pub fn new(sources: &[Source]) -> Result<Bare, String> {
        let rules = sources.iter().filter(|source| source.path.ends_with(".cedar"));
        let text: String = rules.map(|source| String::from_utf8_lossy(&source.bytes).into_owned()).collect();
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|e| e.to_string())?;
        let rules = PolicySet::from_str(&text).map_err(|e| e.to_string())?;
        Ok(Bare { schema, rules, authorizer: Authorizer::new() })
    }

    /// Whether each platform is allowed. `fit`: the governed keys that are fit, `now`: a Cedar datetime.
    pub fn ask(
        &self,
        env: &Environment,
        action: Action,
        subject: &Subject,
        fit: &[&str],
        now: &str,
    ) -> Result<bool, String> {
        let text = |text: &str| Value::new_string(text.to_owned());
        let name = |name| EntityTypeName::from_str(name).map_err(|e| e.to_string());
        let set = |items: &[String]| Value::new_set(items.iter().map(|item| text(item)));
        let facts = subject.facts.as_ref().ok_or("no facts")?;
        let reference = &subject.reference;
        let mut all = true;
        for platform in facts.platforms.iter().filter(|p| p.is_runnable()) {
            let principal = EntityUid::from_type_name_and_id(name("Environment")?, EntityId::new(&env.name));
            let members = [("name".to_owned(), text(&env.name)), ("cloud".to_owned(), text(env.cloud.as_str()))];
            let region = env.region.iter().map(|region| ("region".to_owned(), text(region)));
            let tags = env.labels.iter().map(|(k, v)| (k.clone(), text(v)));
            let environment = Entity::new_with_tags(principal.clone(), members.into_iter().chain(region), [], tags)
                .map_err(|e| e.to_string())?;
            let resource = EntityUid::from_type_name_and_id(name("Platform")?, EntityId::new(&platform.platform));
            let annotated = EntityUid::from_type_name_and_id(name("Annotations")?, EntityId::new("a"));
            let said = facts.annotations.iter().map(|(k, v)| (k.clone(), text(v)));
            let annotations = Entity::new_with_tags(annotated.clone(), [], [], said).map_err(|e| e.to_string())?;
            let own = EntityUid::from_type_name_and_id(name("Statements")?, EntityId::new("s"));
            let said = facts.stated.iter().map(|(k, v)| (k.clone(), text(v)));
            let statements = Entity::new_with_tags(own.clone(), [], [], said).map_err(|e| e.to_string())?;
            let runnable = facts.platforms.iter().filter(|p| p.is_runnable());
            let root_version = i64::try_from(subject.root_version).map_err(|e| e.to_string())?;
            let members = [
                ("platforms".to_owned(), Value::new_set(runnable.map(|p| text(&p.platform)))),
                ("annotations".to_owned(), Value::new_entity_uid(annotated)),
                ("stated".to_owned(), Value::new_entity_uid(own)),
                ("root_version".to_owned(), Value::new_long(root_version)),
                ("collection".to_owned(), text(&subject.collection)),
                ("registry".to_owned(), text(reference.canonical_domain())),
                ("repository".to_owned(), text(reference.canonical_path())),
                ("digest".to_owned(), Value::new_string(subject.digest.to_string())),
                ("platform".to_owned(), text(&platform.platform)),
                ("tags".to_owned(), set(&facts.tags)),
                ("tag_moved".to_owned(), Value::new_bool(false)),
                ("signers".to_owned(), set(&subject.signers)),
                ("conflicts".to_owned(), set(&subject.conflicts)),
                ("signed".to_owned(), Value::new_datetime(&facts.signed)),
                ("fit".to_owned(), Value::new_set(fit.iter().map(|key| text(key)))),
            ];
            let tag = reference.tag().map(|tag| ("tag".to_owned(), text(tag)));
            let labels = platform.labels.iter().map(|(k, v)| (k.clone(), text(v)));
            let platform = Entity::new_with_tags(resource.clone(), members.into_iter().chain(tag), [], labels)
                .map_err(|e| e.to_string())?;
            let entities =
                Entities::from_entities([environment, annotations, statements, platform], Some(&self.schema))
                    .map_err(|e| e.to_string())?;
            let context =
                Context::from_pairs([("now".to_owned(), Value::new_datetime(now))]).map_err(|e| e.to_string())?;
            let action = EntityUid::from_type_name_and_id(name("Action")?, EntityId::new(action.as_str()));
            let request = Request::new(principal, action, resource, context, Some(&self.schema));
            let request = request.map_err(|e| e.to_string())?;
            all &= self.authorizer.is_authorized(&request, &self.rules, &entities).decision() == Decision::Allow;
        }
        Ok(all)
    }
}
