//! Request and response types of the server's API and of the signer's protocol.
//!
//! Types and framing only. Deliberately absent: sockets, HTTP, decisions. The JSON Schemas and the OpenAPI document in
//! `schemas/` are generated from these types and compared by a test.

pub mod api;
pub mod base64;
pub mod proof;
pub mod signer;

pub use base64::Base64;
pub use proof::OnlineKeyProof;
