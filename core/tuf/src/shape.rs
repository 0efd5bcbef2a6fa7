//! Members that our reader ignores and another one does not: tough computes key ids over whole key objects and drops
//! what it does not know in delegations, python-tuf takes no role in a root but the four. A repository of ours publishes
//! none of them, so that all readers load it.

use std::collections::BTreeMap;

use crate::json::{Cursor, JsonError, Value};
use crate::names::RoleType;

const KEY: [&str; 3] = ["keytype", "keyval", "scheme"];
const BINS: [&str; 4] = ["bit_length", "keyids", "name_prefix", "threshold"];
const DELEGATION: [&str; 6] = ["keyids", "name", "path_hash_prefixes", "paths", "terminating", "threshold"];

/// The name of the first such member of a file that was read before; `None` if there is none.
pub(crate) fn stray_member(file: &[u8]) -> Option<String> {
    let signed = parts(file)?;
    let is_root = signed.get("_type").and_then(Value::as_str) == Some(RoleType::Root.as_str());
    let delegations = signed.get("delegations");
    let keys = if is_root { signed.get("keys") } else { delegations.and_then(|d| d.get("keys")) };
    let roles = signed.get("roles").filter(|_| is_root);
    let delegated = delegations.and_then(|d| d.get("roles")).and_then(Value::as_array).unwrap_or_default();

    let four = RoleType::ALL.map(RoleType::as_str);
    let key_objects = || members(keys).map(|(_, key)| key);
    other_than(&four, roles)
        .or_else(|| key_objects().find_map(|key| other_than(&KEY, Some(key))))
        .or_else(|| key_objects().find_map(|key| other_than(&["public"], key.get("keyval"))))
        .or_else(|| other_than(&["keys", "roles", "succinct_roles"], delegations))
        .or_else(|| other_than(&BINS, delegations.and_then(|d| d.get("succinct_roles"))))
        .or_else(|| delegated.iter().find_map(|role| other_than(&DELEGATION, Some(role))))
}

/// The members of the signed part that have such places, and nothing of the targets, which may be many.
fn parts(file: &[u8]) -> Option<Value> {
    let mut cursor = Cursor::new(file).ok()?;
    let mut parts = BTreeMap::new();
    let read = cursor.object(|c, name| {
        if name != "signed" {
            return c.skip().map(drop);
        }
        c.object(|c, name| {
            if ["_type", "delegations", "keys", "roles"].contains(&name) {
                parts.insert(name.to_owned(), c.value()?);
            } else {
                c.skip()?;
            }
            Ok::<(), JsonError>(())
        })
    });
    read.ok()?;
    Some(Value::Object(parts))
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(BTreeMap::iter)
}

fn other_than(known: &[&str], value: Option<&Value>) -> Option<String> {
    members(value).map(|(name, _)| name).find(|name| !known.contains(&name.as_str())).cloned()
}
