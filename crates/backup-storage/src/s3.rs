//! How an S3-compatible server is reached.

use std::time::Duration;

use domain_kernel::Secret;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a request may take: a part of 8 MiB over a slow line, or the server's own copy of 5 GiB.
const REQUEST: Duration = Duration::from_secs(300);

/// How often a request is tried again.
const RETRIES: usize = 3;

/// For how long after its first try.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A bucket, and who may write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// Its region, such as `eu-central-1`; servers that have none take `us-east-1`.
    pub region: String,
    /// The server's URL without the bucket; none for Amazon's own. Unencrypted only where it says `http://`.
    pub endpoint: Option<String>,
    /// The name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// What every key begins with in the bucket, without slashes at its ends; empty for nothing.
    pub prefix: String,
}

impl S3Settings {
    /// The client, or what is wrong with the settings. Nothing is asked of the server yet.
    pub(crate) fn client(&self) -> Result<AmazonS3, String> {
        let endpoint = self.endpoint.as_deref().unwrap_or("https://");
        let plain = endpoint.starts_with("http://");
        if !plain && !endpoint.starts_with("https://") {
            return Err("the endpoint has to begin with https:// or http://".to_owned());
        }
        // What is before an `@` would be told with every failure.
        let place = endpoint
            .split_once("://")
            .map_or("", |(_, place)| place.trim_end_matches('/'));
        if self.endpoint.is_some() && (place.is_empty() || place.contains(['@', '?', '#'])) {
            return Err("the endpoint has to name a host, and no login".to_owned());
        }
        if let Err(error) = Path::parse(self.prefix.trim_matches('/')) {
            return Err(format!("the prefix: {error}"));
        }
        if self.bucket.is_empty() || self.region.is_empty() {
            return Err("the bucket and the region have to be named".to_owned());
        }
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout(REQUEST)
            .with_allow_http(plain);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
        };
        let builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(self.secret_access_key.expose())
            .with_client_options(options)
            .with_retry(retry);
        let builder = match &self.endpoint {
            Some(url) => builder.with_endpoint(url.trim_end_matches('/')),
            None => builder,
        };
        builder.build().map_err(|error| error.to_string())
    }
}
