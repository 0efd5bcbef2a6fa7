//! YAML as values, with numbers and truth values; what tools read differently is refused.

use serde_json::{Map, Value};
use trust::manifests::yaml::{Content, NodeId, Tree};

/// The documents of a text, without those in which nothing stands.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let tree = Tree::read(text).map_err(|error| error.to_string())?;
    let values = tree.roots().iter().map(|root| value(&tree, *root)).collect::<Result<Vec<_>, _>>()?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

fn value(tree: &Tree, id: NodeId) -> Result<Value, String> {
    let node = tree.node(id).ok_or("a node is missing")?;
    Ok(match &node.content {
        Content::Scalar { text, is_text: true, .. } => Value::String(text.clone()),
        Content::Scalar { text, .. } => match text.as_str() {
            "" | "~" | "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            // Quantities, durations and networks begin like numbers, and no reader has a number with these in it.
            text if text.starts_with(|c: char| c.is_ascii_digit())
                && text.contains(|c| "ghijklmnpqrstuvwyzGHIJKLMNPQRSTUVWYZ/".contains(c)) =>
            {
                Value::String(text.to_owned())
            }
            number => {
                let is_plain =
                    number.bytes().all(|b| b.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
                let parsed = is_plain.then(|| number.parse::<u64>().ok()).flatten();
                let line = node.at.line;
                Value::from(parsed.ok_or_else(|| format!("line {line}: {number} is not read alike by all tools"))?)
            }
        },
        Content::Sequence(items) => {
            Value::Array(items.iter().map(|item| value(tree, *item)).collect::<Result<_, _>>()?)
        }
        Content::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, inner) in pairs {
                if key.is_merge {
                    return Err(format!("line {}: a merge key", key.at.line));
                }
                map.insert(key.text.clone(), value(tree, *inner)?);
            }
            Value::Object(map)
        }
        Content::Alias(_) => return Err(format!("line {}: an alias", node.at.line)),
    })
}
