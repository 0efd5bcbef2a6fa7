//! `[environment]`, `[namespaces]` and `[environments.NAME]`: where images are to run.

use std::collections::BTreeMap;

use trust_policy::Environment;

use super::suggest::{did_you_mean, nearest};
use super::{ConfigError, MAX_NAMESPACES, value};

/// Where images are to run.
#[derive(Debug, Clone)]
pub enum Environments {
    /// In this environment, all of them.
    Fixed(Environment),
    /// By the name of the namespace; one that is not there is the strictest.
    Namespaces(BTreeMap<String, Environment>),
}

/// Reads the three members together.
pub(super) fn read(
    fixed: Option<toml::Table>,
    namespaces: Option<BTreeMap<String, String>>,
    tables: BTreeMap<String, toml::Table>,
) -> Result<Environments, ConfigError> {
    let Some(namespaces) = namespaces else {
        let Some(fixed) = fixed else {
            let why =
                "is missing: say where images are to run by [environment] with name and cloud, or by [namespaces]";
            return Err(value("environment", why));
        };
        if !tables.is_empty() {
            return Err(value("environments", "is only for [namespaces]"));
        }
        return environment("environment", &fixed).map(Environments::Fixed);
    };
    if fixed.is_some() {
        return Err(value("environment", "[environment] and [namespaces] exclude each other"));
    }
    if namespaces.len() > MAX_NAMESPACES {
        return Err(value("namespaces", &format!("holds more than {MAX_NAMESPACES}")));
    }
    let mut known = BTreeMap::new();
    for (name, mut table) in tables {
        let member = format!("environments.{name}");
        if name == Environment::strictest().name {
            return Err(value(&member, "is the name of the place that nobody described; give it another one"));
        }
        if table.get("name").is_some_and(|given| given.as_str() != Some(&name)) {
            return Err(value(&member, "has another `name`"));
        }
        table.insert("name".to_owned(), name.clone().into());
        known.insert(name, environment(&member, &table)?);
    }
    let mut map = BTreeMap::new();
    for (namespace, name) in namespaces {
        let Some(environment) = known.get(&name) else {
            let nearest = nearest(&name, known.keys().map(String::as_str));
            let why = format!("there is no [environments.{name}]{}", did_you_mean(nearest));
            return Err(value(&format!("namespaces.{namespace}"), &why));
        };
        if !is_namespace(&namespace) {
            return Err(value("namespaces", &format!("{namespace:?} is no name of a namespace")));
        }
        map.insert(namespace, environment.clone());
    }
    Ok(Environments::Namespaces(map))
}

/// A DNS label, as Kubernetes names namespaces.
pub(super) fn is_namespace(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().last().is_some_and(is_word)
        && name.bytes().all(|b| is_word(b) || b == b'-')
}

fn environment(member: &str, table: &toml::Table) -> Result<Environment, ConfigError> {
    let text = toml::to_string(table).map_err(|e| value(member, &e))?;
    Environment::from_toml(&text, &format!("the gate's configuration, [{member}]")).map_err(|e| value(member, &e))
}
