//! Whether the server can do its work.

use std::sync::Arc;

use api::Health;
use async_trait::async_trait;
use jobs::JobCatalog;

/// Ready when the database answers.
pub(crate) struct DatabaseHealth(pub(crate) Arc<dyn JobCatalog>);

#[async_trait]
impl Health for DatabaseHealth {
    async fn ready(&self) -> Result<(), String> {
        match self.0.counts().await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the database does not answer");
                Err("The database does not answer.".to_owned())
            }
        }
    }
}
