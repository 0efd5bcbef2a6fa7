//! Any transport behind one type, so that a decider is not a different type for each way to fetch.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use trust_reader::transport::{Body, FetchError, Transport};
use trust_tuf::UtcTime;

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

type Opening<'a> = Pin<Box<dyn Future<Output = Result<Body, FetchError>> + Send + 'a>>;

// `Transport` gives futures of no one type: this is the same with boxed ones.
trait Fetches: Send + Sync {
    fn boxed<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a>;
    fn boxed_past_caches<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a>;
    fn boxed_open<'a>(&'a self, path: &'a str, limit: u64) -> Opening<'a>;
    fn address(&self) -> String;
    fn time(&self) -> Option<UtcTime>;
}

impl<T: Transport> Fetches for T {
    fn boxed<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a> {
        Box::pin(self.fetch(path, limit))
    }

    fn boxed_past_caches<'a>(&'a self, path: &'a str, limit: u64) -> Fetching<'a> {
        Box::pin(self.fetch_past_caches(path, limit))
    }

    fn boxed_open<'a>(&'a self, path: &'a str, limit: u64) -> Opening<'a> {
        Box::pin(self.open(path, limit))
    }

    fn address(&self) -> String {
        self.describe()
    }

    fn time(&self) -> Option<UtcTime> {
        self.server_time()
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

    async fn open(&self, path: &str, limit: u64) -> Result<Body, FetchError> {
        self.0.boxed_open(path, limit).await
    }

    fn describe(&self) -> String {
        self.0.address()
    }

    fn server_time(&self) -> Option<UtcTime> {
        self.0.time()
    }
}

impl fmt::Debug for AnyTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyTransport").field(&self.0.address()).finish()
    }
}
