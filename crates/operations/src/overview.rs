//! What an operator wants to know first.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{Clock, Timestamp};
use sites_domain::{BackupCut, Overview, OverviewCut, OverviewStore};

use crate::UseCaseError;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Failed jobs are told for this long.
const RECENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many of each kind of things are told at most; the lists have the rest.
const SHOWN: u32 = 10;

/// The use case of the overview.
pub struct OverviewService {
    store: Arc<dyn OverviewStore>,
    clock: Arc<dyn Clock>,
}

impl OverviewService {
    /// Over these adapters.
    pub fn new(store: Arc<dyn OverviewStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// How things stand now. Jobs that ended are counted by the hour, for the present hour and the 23 before it.
    pub async fn look(&self) -> Result<Overview, UseCaseError> {
        let now = self.clock.now();
        let cut = OverviewCut {
            failed_since: now.minus(RECENT),
            backups: BackupCut::at(now),
            ended_since: Self::first_hour(now),
            limit: SHOWN,
        };
        Ok(self.store.overview(cut).await?)
    }

    /// When the first of the 24 hours began that end with the present one.
    pub fn first_hour(now: Timestamp) -> Timestamp {
        let into_hour = now.as_micros().rem_euclid(HOUR.as_micros() as i64);
        Timestamp::from_micros(now.as_micros() - into_hour).minus(HOUR * 23)
    }
}
