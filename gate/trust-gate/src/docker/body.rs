//! The images in a request's JSON body.
//!
//! The engine decodes with Go's rules: names match without regard to case, and the last one wins. So a body in which anything
//! on the way to an image stands twice or in another spelling is refused, as is a body that is absent: engines pass on none that
//! is larger than their limit, and act on it all the same. Deliberately absent: whether an image may run.

use serde_json::{Map, Value};
use trust_image::json;

/// Mounts of one container.
const MAX_MOUNTS: usize = 1_000;

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// The engine passed none on.
    #[error("the engine shows no body of this request: send it as plain application/json, of at most 1 MiB")]
    Missing,
    /// Not one unambiguous JSON document.
    #[error("the body of the request is refused: {0}")]
    Json(#[from] json::JsonError),
    /// A member has another type than the engine's.
    #[error("the body of the request has no usable {0}")]
    Member(&'static str),
    /// A container from nothing.
    #[error("the request names no image")]
    NoImage,
    /// A plugin in the clothes of a service.
    #[error("a service may run containers alone here, and no plugins")]
    NoContainers,
}

/// What a container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Images {
    /// The image that runs.
    pub(super) image: String,
    /// Images whose files it sees.
    pub(super) mounted: Vec<String>,
}

/// `POST /containers/create`.
pub(super) fn of_container(body: &[u8]) -> Result<Images, BodyError> {
    let body = document(body)?;
    // Old clients give what belongs to the host beside the rest.
    let mut mounted = mounts(&body)?;
    if let Some(host) = object(&body, "HostConfig")? {
        mounted.extend(mounts(host)?);
    }
    Ok(Images { image: image(&body)?, mounted })
}

/// `POST /services/create` and `POST /services/{id}/update`.
pub(super) fn of_service(body: &[u8]) -> Result<Images, BodyError> {
    let body = document(body)?;
    let task = object(&body, "TaskTemplate")?.ok_or(BodyError::Member("TaskTemplate"))?;
    let runtime = match json::member(task, "Runtime")? {
        None | Some(Value::Null) => "",
        Some(runtime) => runtime.as_str().ok_or(BodyError::Member("Runtime"))?,
    };
    if !matches!(runtime, "" | "container") || object(task, "PluginSpec")?.is_some() {
        return Err(BodyError::NoContainers);
    }
    let container = object(task, "ContainerSpec")?.ok_or(BodyError::Member("ContainerSpec"))?;
    Ok(Images { image: image(container)?, mounted: mounts(container)? })
}

fn document(body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if body.is_empty() {
        return Err(BodyError::Missing);
    }
    match json::parse(body)? {
        Value::Object(body) => Ok(body),
        _ => Err(BodyError::Member("object")),
    }
}

fn object<'b>(within: &'b Map<String, Value>, name: &'static str) -> Result<Option<&'b Map<String, Value>>, BodyError> {
    match json::member(within, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(found)) => Ok(Some(found)),
        Some(_) => Err(BodyError::Member(name)),
    }
}

fn image(within: &Map<String, Value>) -> Result<String, BodyError> {
    match json::member(within, "Image")? {
        None | Some(Value::Null) => Err(BodyError::NoImage),
        Some(Value::String(image)) if image.is_empty() => Err(BodyError::NoImage),
        Some(Value::String(image)) => Ok(image.clone()),
        Some(_) => Err(BodyError::Member("Image")),
    }
}

/// The images among the mounts.
fn mounts(within: &Map<String, Value>) -> Result<Vec<String>, BodyError> {
    let mounts = match json::member(within, "Mounts")? {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(mounts)) if mounts.len() <= MAX_MOUNTS => mounts,
        Some(_) => return Err(BodyError::Member("Mounts")),
    };
    let mut images = Vec::new();
    for mount in mounts {
        let Value::Object(mount) = mount else { return Err(BodyError::Member("Mounts")) };
        let kind = match json::member(mount, "Type")? {
            None | Some(Value::Null) => continue,
            Some(kind) => kind.as_str().ok_or(BodyError::Member("Type"))?,
        };
        if !kind.eq_ignore_ascii_case("image") {
            continue;
        }
        match json::member(mount, "Source")? {
            Some(Value::String(source)) if !source.is_empty() => images.push(source.clone()),
            _ => return Err(BodyError::Member("Source")),
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(body: &str) -> Result<Images, BodyError> {
        of_container(body.as_bytes())
    }

    #[test]
    fn the_image_and_the_mounted_images_of_a_container_are_found() {
        let found = container(
            r#"{"Image":"r.io/app:v1","Labels":{"a":"1","A":"2"},"HostConfig":{"Mounts":[
                {"Type":"bind","Source":"/etc"},{"Type":"image","Source":"r.io/data@sha256:x"},{"Type":"IMAGE","Source":"b"}]},
                "Mounts":[{"Type":"image","Source":"c"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (found.image.as_str(), found.mounted),
            ("r.io/app:v1", ["c", "r.io/data@sha256:x", "b"].map(String::from).into())
        );
        // Any letter of JSON can be written as an escape.
        assert_eq!(container(r#"{"\u0049mage":"x"}"#).unwrap().image, "x");
    }

    #[test]
    fn a_body_that_the_engine_would_read_otherwise_is_refused() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"Image":""}"#,
            r#"{"Image":null}"#,
            r#"{"Image":7}"#,
            r#"{"Image":["x"]}"#,
            r#"{"image":"evil"}"#,
            r#"{"Image":"good","image":"evil"}"#,
            r#"{"Image":"good","IMAGE":"evil"}"#,
            r#"{"Image":"good","Image":"evil"}"#,
            r#"{"Image":"good","\u0049mage":"evil"}"#,
            r#"{"Image":"good","\u0069mage":"evil"}"#,
            r#"{"Image":"good"}{"Image":"evil"}"#,
            r#"{"Image":"good"} x"#,
            r#"{"Image":"good""#,
            "\u{feff}{\"Image\":\"good\"}",
            r#"{"Image":"\ud800"}"#,
            r#"{"Image":"good","HostConfig":[]}"#,
            r#"{"Image":"good","HostConfig":{},"hostconfig":{"Mounts":[{"Type":"image","Source":"evil"}]}}"#,
            r#"{"Image":"good","HostConfig":{"mounts":[{"Type":"image","Source":"evil"}]}}"#,
            r#"{"Image":"good","HostConfig":{"Mount\u017f":[{"Type":"image","Source":"evil"}]}}"#,
            r#"{"Image":"good","HostConfig":{"Mounts":[{"type":"image","Source":"evil"}]}}"#,
            r#"{"Image":"good","HostConfig":{"Mounts":[{"Type":"image","source":"evil"}]}}"#,
            r#"{"Image":"good","HostConfig":{"Mounts":[{"Type":"image"}]}}"#,
            r#"{"Image":"good","HostConfig":{"Mounts":[7]}}"#,
            r#"{"Image":"good","HostConfig":{"Mounts":{}}}"#,
        ] {
            assert!(container(body).is_err(), "{body}");
        }
        assert!(of_container(b"{\"Image\":\"\xff\"}").is_err());
        assert_eq!(container(""), Err(BodyError::Missing));
    }

    #[test]
    fn a_service_runs_one_container_and_nothing_else() {
        let service = |task: &str| of_service(format!(r#"{{"Name":"s","TaskTemplate":{task}}}"#).as_bytes());
        assert_eq!(service(r#"{"ContainerSpec":{"Image":"x"}}"#).unwrap().image, "x");
        assert_eq!(
            service(r#"{"ContainerSpec":{"Image":"x"},"Runtime":"container","PluginSpec":null}"#).unwrap().image,
            "x"
        );
        for task in [
            "null",
            "{}",
            r#"{"ContainerSpec":null}"#,
            r#"{"ContainerSpec":{}}"#,
            r#"{"ContainerSpec":{"image":"x"}}"#,
            r#"{"ContainerSpec":{"Image":"x"},"containerspec":{"Image":"evil"}}"#,
            r#"{"ContainerSpec":{"Image":"x"},"Runtime":"plugin"}"#,
            r#"{"ContainerSpec":{"Image":"x"},"Runtime":"attachment"}"#,
            r#"{"ContainerSpec":{"Image":"x"},"runtime":"plugin"}"#,
            r#"{"ContainerSpec":{"Image":"x"},"PluginSpec":{"Remote":"evil"}}"#,
            r#"{"ContainerSpec":{"Image":"x","Mounts":[{"type":"image","Source":"evil"}]}}"#,
        ] {
            assert!(service(task).is_err(), "{task}");
        }
        assert!(of_service(br#"{"tasktemplate":{"ContainerSpec":{"Image":"x"}}}"#).is_err());
    }
}
