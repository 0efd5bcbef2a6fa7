//! Written attacks of a server that is taken over, at least one for each rule. The server has every right of a server: it
//! speaks the protocol, and it has all files that people ever sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program

#[path = "../common/mod.rs"]
mod common;

mod authority;
mod content;
mod prepared;
mod renewal;

use trust_wire::signer::{Request, decode};

const A: &str = "r.example/a";
const B: &str = "r.example/b";

fn raw(text: &str) -> Result<Request, String> {
    decode(text.as_bytes())
}
