//! Any transport behind one type, so that a decider is not a different type for each way to fetch.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use trust_reader::transport::{FetchError, Transport};

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

// `Transport` gives futures of no one type: this is the same with boxed ones.
trait Fetches: Send + Sync {
    fn boxed<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a>;
    fn boxed_past_caches<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a>;
    fn address(&self) -> String;
}

impl<T: Transport> Fetches for T {
    fn boxed<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a> {
        Box::pin(self.fetch(path, limit))
    }

    fn boxed_past_caches<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a> {
        Box::pin(self.fetch_past_caches(path, limit))
    }

    fn address(&self) -> String {
        self.describe()
    }
}

/// A transport of any kind.
#[derive(Clone)]
pub struct AnyTransport(Arc<dyn Fetches>);

impl AnyTransport {
    /// Takes a transport.
    pub fn new(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }
}

impl Transport for AnyTransport {
    async fn fetch(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.0.boxed(path, limit).await
    }

    async fn fetch_past_caches(&self, path: &str, limit: u64) -> Result<Bytes, FetchError> {
        self.0.boxed_past_caches(path, limit).await
    }

    fn describe(&self) -> String {
        self.0.address()
    }
}

impl fmt::Debug for AnyTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyTransport").field(&self.0.address()).finish()
    }
}
