//! `[admission]`: the door of Kubernetes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use trust_image::workload::custom::{CustomKind, CustomKinds};

use super::duration::duration_or_zero;
use super::environments::{Environments, is_namespace};
use super::suggest::{did_you_mean, nearest};
use super::{ConfigError, value};

/// Whether denials deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are warnings; nothing is changed.
    Warn,
    /// They are in the log, the metrics and the cluster's audit alone; nothing is changed.
    Audit,
}

/// What happens to an update that changes no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recheck {
    /// It passes.
    #[default]
    Never,
    /// It passes, with a warning if it would be denied.
    Warn,
    /// It is decided as a new object.
    Always,
}

/// Where tags are replaced by digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// In each object that holds them.
    #[default]
    Workloads,
    /// In Pods alone, so that tools which compare workloads with their source see no difference.
    Pods,
    /// Nowhere: digests come from the source.
    Off,
}

/// What becomes of a verified tag in a Pod that got no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tags {
    /// It is denied: its node would take what the registry says, and not what was verified.
    #[default]
    Deny,
    /// It passes: something else sees to it that the node gets what was verified.
    Allow,
}

/// `[admission.gatekeeper]`: the external data provider of Gatekeeper, on the same address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatekeeperConfig {
    /// The namespace whose environment is asked for, since Gatekeeper does not say where an image is to run. Not said: with a
    /// map of namespaces the strictest environment.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// `[[admission.kinds]]`: where the images of a kind of others are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindEntry {
    group: String,
    kind: String,
    #[serde(default)]
    pod_specs: Vec<String>,
    #[serde(default)]
    images: Vec<String>,
}

fn kinds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arc<CustomKinds>, D::Error> {
    let entries = Vec::<KindEntry>::deserialize(deserializer)?;
    let described: Result<Vec<CustomKind>, _> = entries
        .iter()
        .map(|entry| CustomKind::new(&entry.group, &entry.kind, &entry.pod_specs, &entry.images))
        .collect();
    described
        .and_then(CustomKinds::new)
        .map(Arc::new)
        .map_err(|error| serde::de::Error::custom(format!("admission.kinds: {error}")))
}

/// `[admission]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate chain, PEM. Read again when it changes.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// `enforce` if not said.
    #[serde(default)]
    pub mode: Mode,
    /// `never` if not said.
    #[serde(default)]
    pub recheck_unchanged: Recheck,
    /// `workloads` if not said.
    #[serde(default)]
    pub pin: Pin,
    /// `deny` if not said.
    #[serde(default)]
    pub tags: Tags,
    /// Kinds of others whose images are known.
    #[serde(default, deserialize_with = "kinds")]
    pub kinds: Arc<CustomKinds>,
    /// Whether Gatekeeper is answered, and how.
    #[serde(default)]
    pub gatekeeper: Option<GatekeeperConfig>,
    /// Whether the API server's plugin ImagePolicyWebhook is answered.
    #[serde(default)]
    pub image_review: bool,
    /// How long it goes on serving after SIGTERM, not ready any more, so that nobody is sent to a closed door; `0s` if not
    /// said.
    #[serde(default, deserialize_with = "duration_or_zero")]
    pub drain: Duration,
}

impl AdmissionConfig {
    /// With paths that are relative to the configuration's folder, and values that can be used.
    pub(super) fn complete(self, folder: &Path, environments: &Environments) -> Result<Self, ConfigError> {
        if self.drain > Duration::from_secs(60) {
            return Err(value("admission.drain", "is at most 60s"));
        }
        if self.tags == Tags::Allow && self.pin != Pin::Off {
            let why = "\"allow\" is only for `pin = \"off\"`: where tags get digests, a Pod with a tag alone is one that went around that";
            return Err(value("admission.tags", why));
        }
        if let Some(namespace) = self.gatekeeper.as_ref().and_then(|gatekeeper| gatekeeper.namespace.as_deref()) {
            let refused = |why: String| value("admission.gatekeeper.namespace", &why);
            if !is_namespace(namespace) {
                return Err(refused(format!("{namespace:?} is no name of a namespace")));
            }
            // A misspelt one would be decided in the strictest environment, and nobody would know why.
            if let Environments::Namespaces(known) = environments
                && !known.contains_key(namespace)
            {
                let nearest = did_you_mean(nearest(namespace, known.keys().map(String::as_str)));
                return Err(refused(format!("{namespace:?} is not in [namespaces]{nearest}")));
            }
        }
        Ok(Self { certificate: folder.join(self.certificate), key: folder.join(self.key), ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(more: &str) -> Result<AdmissionConfig, String> {
        let text = format!("listen = '127.0.0.1:0'\ncertificate = 'a'\nkey = 'b'\n{more}");
        let section: AdmissionConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
        let environment = trust_policy::Environment::strictest();
        let namespaces = BTreeMap::from([("shop".to_owned(), environment)]);
        section.complete(Path::new("/etc"), &Environments::Namespaces(namespaces)).map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_of_others_are_described_by_paths_and_bad_descriptions_are_refused_with_the_reason() {
        let config = read(
            "[[kinds]]\ngroup = 'argoproj.io'\nkind = 'Rollout'\npod_specs = ['spec.template.spec']\n\
             [[kinds]]\ngroup = 'tekton.dev'\nkind = 'Task'\nimages = ['spec.steps[*].image']\n",
        )
        .unwrap();
        assert!(config.kinds.has("argoproj.io", "Rollout") && config.kinds.has("tekton.dev", "Task"));
        assert!(config.kinds.members().any(|name| name == "steps"));
        for (text, says) in [
            ("group = 'argoproj.io'\nkind = 'Rollout'", "has neither `pod_specs` nor `images`"),
            ("group = 'argoproj.io'\nkind = 'Rollout'\npod_specs = ['$.spec']", "is no path"),
            ("group = 'argoproj.io'\nkind = 'Rollout'\npod_specs = ['spec.containers[0]']", "is no path"),
            ("group = 'apps'\nkind = 'Deployment'\npod_specs = ['spec']", "is known without a description"),
            ("group = 'a b'\nkind = 'Rollout'\npod_specs = ['spec']", "is no API group"),
            ("kind = 'Rollout'\npod_specs = ['spec']", "missing field `group`"),
            ("group = 'a.io'\nkind = 'X'\npod_spec = ['spec']", "unknown field `pod_spec`"),
            ("group = 'a.io'\nkind = 'X'\nimages = 'spec'", "expected a sequence"),
        ] {
            let refused = read(&format!("[[kinds]]\n{text}\n")).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
        let twice = "[[kinds]]\ngroup = 'a.io'\nkind = 'X'\nimages = ['spec']\n".repeat(2);
        assert!(read(&twice).unwrap_err().contains("described twice"));
    }

    #[test]
    fn tags_may_be_allowed_only_where_nothing_is_pinned() {
        for pin in ["", "pin = 'workloads'\n", "pin = 'pods'\n"] {
            assert!(read(&format!("{pin}tags = 'allow'\n")).unwrap_err().contains("only for `pin = \"off\"`"));
        }
        assert_eq!(read("pin = 'off'\ntags = 'allow'\n").unwrap().tags, Tags::Allow);
        assert_eq!(read("pin = 'off'\n").unwrap().tags, Tags::Deny);
    }

    #[test]
    fn other_doors_on_this_address_are_closed_unless_they_are_named() {
        let config = read("").unwrap();
        assert!(config.gatekeeper.is_none() && !config.image_review);
        let config = read("image_review = true\n[gatekeeper]\nnamespace = 'shop'\n").unwrap();
        assert!(config.image_review && config.gatekeeper.unwrap().namespace.as_deref() == Some("shop"));
        assert!(read("[gatekeeper]\nnamespace = 'Shop'\n").unwrap_err().contains("no name of a namespace"));
        assert!(read("[gatekeeper]\nnamespaces = 'shop'\n").unwrap_err().contains("unknown field"));
    }
}
