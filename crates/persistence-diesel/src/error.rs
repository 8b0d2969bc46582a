//! What can go wrong inside this crate, and how it leaves it.

use ::jobs::StoreError;
use accounts_domain::AccountStoreError;
use diesel::r2d2::PoolError;
use diesel::result::DatabaseErrorKind;

/// Why a unit of work did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// A rule of the store refused it; the database works.
    #[error(transparent)]
    Refused(#[from] StoreError),
    #[error(transparent)]
    Query(#[from] diesel::result::Error),
    #[error("no connection to the database could be had")]
    Pool(#[from] PoolError),
    #[error("the work on the database broke off")]
    BrokenOff(#[from] tokio::task::JoinError),
    #[error("the value cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// A row holds what this version does not know. The value itself is not told.
    #[error("{column} holds a value that is not known: {reason}")]
    Unknown { column: &'static str, reason: String },
}

impl DbError {
    pub(crate) fn is_unique_violation(&self) -> bool {
        use diesel::result::Error::DatabaseError;
        matches!(self, Self::Query(DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Refused(refusal) => refusal,
            failure => StoreError::Backend(Box::new(failure)),
        }
    }
}

impl From<DbError> for AccountStoreError {
    fn from(error: DbError) -> Self {
        AccountStoreError::Backend(Box::new(error))
    }
}
