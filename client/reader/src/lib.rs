//! Update, persistent trusted state and verification: what every relying party needs.

pub mod registry;
pub mod tls;
