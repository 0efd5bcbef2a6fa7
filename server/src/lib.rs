//! The metadata server: keeps and serves public TUF roles, and cannot sign.
//!
//! Layers: [`api`] (HTTP) → [`app`] (what is allowed and in which order) → [`store`] (SQLite) and [`signer_link`]
//! (the signer's socket). Every publication is verified here before the signer is asked, and every answer of the signer
//! is verified here before it is shown to anybody.
//!
//! Deliberately absent: private keys and code that could use them, an HTTP client, web pages, replicas.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod dev;
pub mod fail;
pub mod signer_link;
pub mod store;

use std::future::Future;
use std::pin::Pin;

/// A future behind a pointer, so that store and signer can be passed in.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Does what blocks for a moment (a write to the disk, a request to the signer) on this thread: no other thread is woken for
/// it, and the caller is not woken by one. The runtime goes on with everything else on another thread.
pub(crate) fn here<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::CurrentThread) | Err(_) => work(),
        // Where it was called before in this task there is nothing left to hand over.
        Ok(_) => tokio::task::block_in_place(work),
    }
}
