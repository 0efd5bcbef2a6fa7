//! A wire as the reader's transport: the server of one collection, for programs that are driven in one process.

use std::sync::Arc;

use tokio::sync::Semaphore;
use trust_reader::transport::{FetchError, Transport};

use super::{Wire, WireError};

/// A wire as the server of one collection.
pub struct Served {
    /// What is served.
    pub wire: Arc<Wire>,
    /// `tuf/COLLECTION/`: what every path begins with.
    pub folder: String,
    /// Every request takes one while it runs: who takes all lets the server hang.
    pub permits: Arc<Semaphore>,
}

/// Requests at one time.
pub const PERMITS: u32 = 64;

impl Transport for Served {
    async fn fetch(&self, path: &str, limit: u64) -> Result<tough::Bytes, FetchError> {
        let _permit = self.permits.acquire().await.expect("never closed");
        let file = path.strip_prefix(&self.folder).unwrap_or_else(|| panic!("{path} is not below {}", self.folder));
        let file = match file.strip_prefix("_metadata/") {
            Some(file) => file.to_owned(),
            None => file.replacen("_targets/", "targets/", 1),
        };
        self.wire.fetch(&file, limit).map(Into::into).map_err(|error| match error {
            WireError::NotFound => FetchError::NotFound,
            WireError::Status(status) => FetchError::Status(status),
            WireError::Reset => FetchError::Unreachable("connection refused"),
            WireError::TooLarge => FetchError::TooLarge { limit },
        })
    }

    fn describe(&self) -> String {
        "https://trust.example.com".to_owned()
    }
}
