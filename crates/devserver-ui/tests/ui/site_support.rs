//! Sites in the server in memory, as their jobs would have made them.

use std::time::Duration;

use domain_kernel::{BackupId, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId};
use jobs::{Failure, JobStore, Outcome, StepStatus};
use operations::{CreateEnv, CreateSite};
use sites_domain::{
    Backup, BackupScope, BackupStatus, BackupTrigger, Change, CreatedInSite, EnvironmentStatus, EnvironmentType,
    SiteStatus, SiteStore, StorageId,
};

use crate::panel::Panel;

/// The checksum of every backup here.
pub(crate) const CHECKSUM: &str = "0f343b0931126a20f133d67c2b018a3b5f0e5b8d0c0d0f5b6a5f2e9d7c1b3a49";

/// A site with its production environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shop {
    pub(crate) node: NodeId,
    pub(crate) site: SiteId,
    pub(crate) environment: EnvironmentId,
    pub(crate) job: JobId,
}

impl Shop {
    pub(crate) fn path(&self) -> String {
        format!("/sites/{}", self.site)
    }
}

impl Panel {
    /// A node that sites can live on.
    pub(crate) async fn ready_node(&self, name: &str) -> NodeId {
        let (node, _) = self.active_node(name).await;
        self.make_ready(node);
        node
    }

    /// A site that was asked for; its job waits.
    pub(crate) async fn waiting_site(&self, node: NodeId, name: &str, slug: &str) -> Shop {
        self.make_ready(node);
        let request = CreateSite {
            name: name.parse().unwrap(),
            slug: slug.parse().unwrap(),
            node_id: Some(node),
            admin_email: "owner@example.test".to_owned(),
        };
        let created = self.sites.create_site(request, None, None).await.unwrap();
        Shop {
            node,
            site: created.site_id,
            environment: created.environment_id,
            job: created.job_id,
        }
    }

    /// A site that works, with WordPress 7.1.1.
    pub(crate) async fn site_on(&self, node: NodeId, name: &str, slug: &str) -> Shop {
        let shop = self.waiting_site(node, name, slug).await;
        self.settle_site(
            Outcome::Succeeded,
            vec![
                Change::SiteStatus(shop.site, SiteStatus::Active),
                Change::EnvironmentStatus(shop.environment, EnvironmentStatus::Active),
                Change::WordPressVersion(shop.environment, "7.1.1".to_owned()),
            ],
        )
        .await;
        shop
    }

    /// A node with a site that works.
    pub(crate) async fn shop(&self) -> Shop {
        let node = self.ready_node("web-1").await;
        self.site_on(node, "Corner shop", "corner-shop").await
    }

    /// A site whose creation failed.
    pub(crate) async fn failed_shop(&self, detail: &str) -> Shop {
        let node = self.ready_node("web-1").await;
        let shop = self.waiting_site(node, "Corner shop", "corner-shop").await;
        let claim = self.claim().await;
        self.jobs.step_started(&claim, 2, "prove_preview").await.unwrap();
        let failure = Failure::new(JobErrorCode::PreviewUnreachable, detail);
        let failed = StepStatus::Failed;
        let ended = self
            .jobs
            .step_finished(&claim, "prove_preview", failed, Some(&failure.detail));
        ended.await.unwrap();
        let changes = vec![
            Change::SiteStatus(shop.site, SiteStatus::Failed),
            Change::EnvironmentStatus(shop.environment, EnvironmentStatus::Failed),
        ];
        let outcome = Outcome::Failed(failure);
        self.site_rows.settle_job(&claim, &outcome, changes).await.unwrap();
        shop
    }

    /// A staging environment of a site, as a copy of its production environment, that works.
    pub(crate) async fn staging(&self, shop: Shop, name: &str, slug: &str) -> CreatedInSite {
        self.make_ready(shop.node);
        let request = CreateEnv {
            name: name.parse().unwrap(),
            slug: slug.parse().unwrap(),
            environment_type: EnvironmentType::Staging,
            source_environment_id: shop.environment,
            promotion_preset: None,
        };
        let created = self
            .sites
            .create_environment(shop.site, request, None, None)
            .await
            .unwrap();
        self.settle_site(
            Outcome::Succeeded,
            vec![
                Change::SiteStatus(shop.site, SiteStatus::Active),
                Change::EnvironmentStatus(created.environment_id, EnvironmentStatus::Active),
            ],
        )
        .await;
        created
    }

    /// Ends the oldest waiting job and what it means for its site.
    pub(crate) async fn settle_site(&self, outcome: Outcome, changes: Vec<Change>) {
        let claim = self.claim().await;
        self.site_rows.settle_job(&claim, &outcome, changes).await.unwrap();
    }

    /// A completed backup of an environment, two hours old, kept for 30 days.
    pub(crate) fn put_backup(&self, shop: Shop, environment: EnvironmentId, scope: BackupScope) -> BackupId {
        self.put_backup_as(shop, environment, scope, BackupStatus::Completed)
    }

    /// The same of another status.
    pub(crate) fn put_backup_as(
        &self,
        shop: Shop,
        environment: EnvironmentId,
        scope: BackupScope,
        status: BackupStatus,
    ) -> BackupId {
        let hour = Duration::from_secs(60 * 60);
        let taken = domain_kernel::Clock::now(&*self.clock).minus(2 * hour);
        let id = BackupId::generate();
        self.site_rows.put_backup(Backup {
            id,
            environment_id: environment,
            site_id: shop.site,
            scope,
            status,
            trigger: BackupTrigger::Manual,
            storage: Some(StorageId::new("local")),
            storage_path: Some("a/b/c.tar.zst".to_owned()),
            checksum: Some(CHECKSUM.to_owned()),
            size_bytes: Some(27_262_976),
            retention_until: Some(taken.plus(30 * 24 * hour)),
            created_at: taken,
            completed_at: Some(taken),
        });
        id
    }
}

/// The texts between tags, each with single spaces, so that a sentence can be looked for across its tags.
pub(crate) fn text_of(html: &str) -> String {
    let texts = html
        .split('<')
        .map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    texts
        .collect::<String>()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
