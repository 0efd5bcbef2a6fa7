//! The image config: the labels that were built in, and the platform that the image is for.
//!
//! Invariant: labels are exactly what a container engine reads (`config.Labels`); a config that holds a second spelling of
//! a member that engines read is refused, so that no label can be shown to us and another to a runtime. Deliberately
//! absent: entry points, environment, history, and any meaning of a label.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::{self, JsonError};
use crate::manifest::{self, ManifestError, Platform};

/// Largest image config that is read, in bytes.
pub const MAX_CONFIG_LEN: usize = 8 * 1024 * 1024;
/// Labels of one image.
pub const MAX_LABELS: usize = 1024;
/// Longest key of a label, in bytes.
pub const MAX_LABEL_KEY_LEN: usize = 1024;
/// Longest value of a label, in bytes.
pub const MAX_LABEL_VALUE_LEN: usize = 64 * 1024;
/// All keys and values of the labels together, in bytes.
pub const MAX_LABELS_LEN: usize = 512 * 1024;

/// Labels of an image: key to value, sorted.
pub type Labels = BTreeMap<String, String>;

/// Why an image config was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More bytes than [`MAX_CONFIG_LEN`].
    #[error("the image config is larger than {MAX_CONFIG_LEN} bytes")]
    TooLarge,
    /// Not acceptable as JSON.
    #[error("the image config is refused: {0}")]
    Json(#[from] JsonError),
    /// `os` or `architecture` is absent.
    #[error("the image config has no \"{0}\"")]
    Missing(&'static str),
    /// A member has another type or range than it should.
    #[error("the image config's \"{0}\" is not what it should be")]
    Wrong(&'static str),
    /// More labels, or longer ones, than the limits.
    #[error("the image config has too many or too long labels")]
    LabelsTooLarge,
}

/// What is read of an image config (OCI image specification, "Image Configuration").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// Platform that the image says it is for.
    pub platform: Platform,
    /// Labels; empty if absent or null.
    pub labels: Labels,
}

impl ImageConfig {
    /// Reads an image config of at most [`MAX_CONFIG_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, ConfigError> {
        if bytes.len() > MAX_CONFIG_LEN {
            return Err(ConfigError::TooLarge);
        }
        let value = json::parse(bytes)?;
        let body = value.as_object().ok_or(ConfigError::Wrong("config"))?;
        let platform = manifest::platform_of(body).map_err(|error| match error {
            ManifestError::Json(error) => ConfigError::Json(error),
            ManifestError::Missing(name) => ConfigError::Missing(name),
            ManifestError::Wrong(name) => ConfigError::Wrong(name),
            _ => ConfigError::Wrong("platform"),
        })?;
        let labels = match json::member(body, "config")? {
            None | Some(Value::Null) => Labels::new(),
            Some(Value::Object(config)) => labels_of(json::member(config, "Labels")?)?,
            Some(_) => return Err(ConfigError::Wrong("config")),
        };
        Ok(ImageConfig { platform, labels })
    }
}

fn labels_of(value: Option<&Value>) -> Result<Labels, ConfigError> {
    let object = match value {
        None | Some(Value::Null) => return Ok(Labels::new()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(ConfigError::Wrong("Labels")),
    };
    if object.len() > MAX_LABELS {
        return Err(ConfigError::LabelsTooLarge);
    }
    let mut total = 0usize;
    let mut labels = Labels::new();
    for (key, value) in object {
        let value = value.as_str().ok_or(ConfigError::Wrong("Labels"))?;
        total = total.saturating_add(key.len()).saturating_add(value.len());
        if key.len() > MAX_LABEL_KEY_LEN || value.len() > MAX_LABEL_VALUE_LEN || total > MAX_LABELS_LEN {
            return Err(ConfigError::LabelsTooLarge);
        }
        labels.insert(key.clone(), value.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(body: &Value) -> Result<ImageConfig, ConfigError> {
        ImageConfig::parse(&serde_json::to_vec(body).unwrap())
    }

    fn labelled(labels: Value) -> Value {
        json!({"os": "linux", "architecture": "arm64", "variant": "v8", "config": {"Labels": labels, "Env": ["A=b"]}, "rootfs": {}})
    }

    #[test]
    fn a_label_hidden_behind_another_spelling_is_refused() {
        let body = json!({"os": "linux", "architecture": "amd64", "config": {"Labels": {"com.example.data": "public"}, "labels": {"com.example.data": "pii"}}});
        assert_eq!(parse(&body), Err(ConfigError::Json(JsonError::SecondSpelling { name: "Labels" })));
        let body = json!({"os": "linux", "architecture": "amd64", "config": {}, "Config": {"Labels": {"com.example.data": "pii"}}});
        assert_eq!(parse(&body), Err(ConfigError::Json(JsonError::SecondSpelling { name: "config" })));
    }

    #[test]
    fn a_label_given_twice_is_refused() {
        let text = br#"{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"pii","a":"public"}}}"#;
        assert_eq!(ImageConfig::parse(text), Err(ConfigError::Json(JsonError::DuplicateMember)));
    }

    #[test]
    fn each_damage_has_its_own_name() {
        let table = [
            (json!(1), ConfigError::Wrong("config")),
            (json!({}), ConfigError::Missing("os")),
            (json!({"os": "linux"}), ConfigError::Missing("architecture")),
            (json!({"os": 1, "architecture": "amd64"}), ConfigError::Wrong("os")),
            (json!({"os": "", "architecture": "amd64"}), ConfigError::Wrong("platform")),
            (json!({"os": "linux", "architecture": "amd64", "config": []}), ConfigError::Wrong("config")),
            (labelled(json!([])), ConfigError::Wrong("Labels")),
            (labelled(json!({"a": 1})), ConfigError::Wrong("Labels")),
            (labelled(json!({"a": null})), ConfigError::Wrong("Labels")),
        ];
        for (body, reason) in table {
            assert_eq!(parse(&body), Err(reason), "{body}");
        }
    }

    #[test]
    fn labels_are_limited_in_number_and_size() {
        let many =
            |n: usize| labelled((0..n).map(|i| (i.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>().into());
        assert_eq!(parse(&many(MAX_LABELS)).unwrap().labels.len(), MAX_LABELS);
        assert_eq!(parse(&many(MAX_LABELS + 1)), Err(ConfigError::LabelsTooLarge));
        let of = |key: usize, value: usize| labelled(json!({"k".repeat(key): "v".repeat(value)}));
        assert!(parse(&of(MAX_LABEL_KEY_LEN, MAX_LABEL_VALUE_LEN)).is_ok());
        assert_eq!(parse(&of(MAX_LABEL_KEY_LEN + 1, 1)), Err(ConfigError::LabelsTooLarge));
        assert_eq!(parse(&of(1, MAX_LABEL_VALUE_LEN + 1)), Err(ConfigError::LabelsTooLarge));
        let heavy = labelled(
            (0..9)
                .map(|i| (i.to_string(), json!("v".repeat(MAX_LABEL_VALUE_LEN))))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        );
        assert_eq!(parse(&heavy), Err(ConfigError::LabelsTooLarge));
        assert_eq!(ImageConfig::parse(&vec![b' '; MAX_CONFIG_LEN + 1]), Err(ConfigError::TooLarge));
    }

    #[test]
    fn absent_and_null_labels_are_no_labels() {
        let bare = json!({"os": "linux", "architecture": "amd64"});
        assert_eq!(parse(&bare).unwrap().labels, Labels::new());
        let null = json!({"os": "linux", "architecture": "amd64", "config": null});
        assert_eq!(parse(&null).unwrap().labels, Labels::new());
        assert_eq!(parse(&labelled(Value::Null)).unwrap().labels, Labels::new());
    }

    #[test]
    fn labels_and_platform_are_read_exactly() {
        let config = parse(&labelled(json!({"com.example.data": "PII ", "é": ""}))).unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm64/v8");
        assert_eq!(config.labels["com.example.data"], "PII ");
        assert_eq!(config.labels["é"], "");
    }

    proptest! {
        #[test]
        fn any_labels_are_read_back_unchanged(labels in proptest::collection::btree_map(".{0,20}", ".{0,20}", 0..8)) {
            let body = labelled(serde_json::to_value(&labels).unwrap());
            prop_assert_eq!(parse(&body).unwrap().labels, labels);
        }
    }
}
