//! The types of every JSON answer. Their names are a promise: members may be added, never renamed or removed.
//!
//! Every document also has `schema` (`trust/v1`), `command`, `ok` and `exit`; a failure has `code`, `headline`, `facts`,
//! `cause` and `do` instead of what stands here.

mod collections;
mod exceptions;
mod images;
mod labels;
mod local;
mod manifests;
mod operations;
mod policy;
mod policy_history;
mod schema;

pub use collections::*;
pub use exceptions::*;
pub use images::*;
pub use labels::*;
pub use local::*;
pub use manifests::*;
pub use operations::*;
pub use policy::*;
pub use policy_history::*;
pub use schema::schema;

use serde::Serialize;
use serde_json::Value;

/// A value as JSON. The types here cannot fail to become JSON: their maps have text keys.
pub fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}
