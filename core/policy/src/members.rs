//! Structs that are read by the names of their members alone.
//!
//! Serde also reads a struct from a list of its members without their names, in the order in which the code declares them;
//! here a list is refused. Deliberately absent: members that are unknown or given twice, which the types themselves refuse.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` that stood as members with names.
pub(crate) struct Members<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Named(PhantomData)).map(Members)
    }
}

/// Reads a map of such structs; for `#[serde(deserialize_with)]`.
pub(crate) fn map<'de, D, T>(from: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let read = BTreeMap::<String, Members<T>>::deserialize(from)?;
    Ok(read.into_iter().map(|(name, Members(value))| (name, value)).collect())
}

struct Named<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("members with their names")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
