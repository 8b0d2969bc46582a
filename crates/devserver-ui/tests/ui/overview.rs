//! `/`: what needs attention, counts, and the last day of jobs.

use std::time::Duration;

use domain_kernel::{Clock, JobErrorCode, JobId};
use jobs::{Failure, JobKind, JobStore, NewJob, Outcome};
use nodes_domain::{Guidance, NodeStatus, ReasonCode};
use sites_domain::{Backup, BackupScope, BackupStatus, Change, EnvironmentStatus, SiteStatus, SiteStore};

use crate::panel::Panel;
use crate::site_support::{Shop, text_of};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Panel {
    /// The overview as text, with single spaces.
    async fn overview(&self) -> String {
        let page = self.get("/").await;
        assert_eq!(page.status, 200, "{}", page.body);
        text_of(&page.body)
    }

    /// A job on a shop's production environment that has ended; its id.
    async fn ended(&self, shop: Shop, kind: JobKind, outcome: Outcome) -> JobId {
        let job = NewJob::on_environment(kind, shop.node, shop.site, shop.environment, 3);
        let id = self.jobs.enqueue(job);
        let claim = self.claim().await;
        self.jobs.finish(&claim, &outcome).await.unwrap();
        id
    }

    async fn change(&self, changes: Vec<Change>) {
        SiteStore::apply(&*self.site_rows, vec![], changes, None).await.unwrap();
    }
}

fn failed() -> Outcome {
    Outcome::Failed(Failure::new(JobErrorCode::BackupStorageFailed, "no answer"))
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}

#[tokio::test]
async fn a_fresh_installation_teaches_the_next_step() {
    let panel = Panel::new().await;
    let page = panel.get("/").await;
    page.assert_has(&[
        "<h1>Overview</h1>",
        "href=\"/nodes\">Create a node</a>",
        "aria-current=\"page\">Overview",
    ]);
    assert!(!page.has("id=\"calm\"") && !page.has("<svg") && !page.has("Needs attention"));
    let text = text_of(&page.body);
    assert_has(
        &text,
        &[
            "Welcome. Here is what comes first.",
            "No job is running.",
            "No job ended in the last 24 hours.",
        ],
    );

    let (node, _) = panel.create_node("web-1").await;
    assert_has(
        &panel.overview().await,
        &[
            "No node is ready yet. See on the page of nodes how far it is",
            "0 running, 1 waiting",
        ],
    );
    let claim = panel.claim().await;
    panel.settle(&claim, node, failed(), NodeStatus::Failed).await;
    let page = panel.get("/").await;
    page.assert_has(&[&format!("href=\"/nodes/{node}\"><bdi>web-1</bdi></a> failed.")]);
    let text = text_of(&page.body);
    assert_has(
        &text,
        &["No node can take a site: web-1 failed. Its page says why and what to do."],
    );
    assert!(!page.has("data-done"), "{}", page.body);
    assert!(!text.contains("how far it is"), "{text}");
    let mut mended = panel.nodes.get(node);
    mended.status = NodeStatus::Active;
    panel.nodes.put(mended);
    assert_has(
        &panel.overview().await,
        &["No node can take a site: web-1 is not ready."],
    );
    panel.make_ready(node);
    let page = panel.get("/").await;
    page.assert_has(&["href=\"/sites\">Create a site</a>", "data-done"]);
    assert!(!page.has("href=\"/nodes\">Create a node</a>"));

    panel.site_on(node, "Corner shop", "corner-shop").await;
    let page = panel.get("/").await;
    assert!(!page.has("First steps"), "{}", page.body);
    assert_has(
        &text_of(&page.body),
        &["Nothing needs attention.", "Nothing is known to be wrong"],
    );
}

#[tokio::test]
async fn a_node_that_is_not_active_and_ready_is_told_with_its_reason_and_what_to_do() {
    let panel = Panel::new().await;
    let reason = |panel: &Panel, node, status, code: ReasonCode, seen: &str| {
        panel.make_ready(node);
        let mut changed = panel.nodes.get(node);
        changed.status = status;
        let readiness = changed.readiness.as_mut().unwrap();
        readiness.is_ready = false;
        readiness.reason_codes = vec![code];
        readiness.guidance = vec![Guidance {
            reason_code: code,
            message: format!("{} {seen}", code.guidance()),
        }];
        panel.nodes.put(changed);
    };
    let (gone, _) = panel.active_node("web-1").await;
    reason(
        &panel,
        gone,
        NodeStatus::Unreachable,
        ReasonCode::NodeUnreachable,
        "Seen: no route.",
    );
    let (broken, _) = panel.active_node("web-2").await;
    reason(
        &panel,
        broken,
        NodeStatus::Active,
        ReasonCode::RuntimeMissing,
        "Missing: nginx.",
    );
    let (never, _) = panel.failed_node("web-3", "no bridge").await;
    let page = panel.get("/").await;
    for node in [gone, broken, never] {
        page.assert_has(&[&format!("href=\"/nodes/{node}\"")]);
    }
    assert_has(
        &text_of(&page.body),
        &[
            "3 things need attention.",
            "Nodes 3",
            "web-1 Unreachable",
            "The machine does not answer SSH. Seen: no route. node_unreachable",
            "Next: Check that it runs and that its SSH port is open, then provision the node again.",
            "web-2 Not ready",
            "missing or stopped on the machine. Missing: nginx. runtime_missing",
            "Next: Provision the node again.",
            "web-3 Failed",
            "Provisioning of web-3 failed just now. The local provider cannot run on this host. LOCAL_PROVIDER_UNAVAILABLE",
            "Next: Run pressluft doctor",
            "Nodes3 1 active",
        ],
    );
}

#[tokio::test]
async fn failed_sites_environments_and_jobs_lead_to_where_they_are_put_right() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let staging = panel.staging(shop, "Staging", "staging").await;
    panel.ended(shop, JobKind::BackupCreate, failed()).await;
    let fails = Change::EnvironmentStatus(staging.environment_id, EnvironmentStatus::Failed);
    panel.change(vec![fails]).await;
    let page = panel.get("/").await;
    page.assert_has(&[
        &format!("href=\"{}\"", shop.path()),
        "<bdi>Staging</bdi> of <bdi>Corner shop</bdi>",
    ]);
    assert_has(
        &text_of(&page.body),
        &[
            "2 things need attention.",
            "Failed environments 1",
            "Backup: Corner shop",
            "The backup storage did not take or give a backup. BACKUP_STORAGE_FAILED",
        ],
    );
    page.assert_has(&[&format!(
        "href=\"{}?form=backup&amp;environment_id={}\" data-opens-dialog",
        shop.path(),
        shop.environment
    )]);
    // What a later job made up for is no concern any more.
    panel.ended(shop, JobKind::BackupCreate, Outcome::Succeeded).await;
    assert_has(&panel.overview().await, &["One thing needs attention."]);
}

#[tokio::test]
async fn a_failed_site_is_one_concern_with_the_job_that_it_failed_by_until_it_works_again() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let staging = panel.staging(shop, "Staging", "staging").await;
    let job = panel.ended(shop, JobKind::SiteDelete, failed()).await;
    panel
        .change(vec![
            Change::EnvironmentStatus(staging.environment_id, EnvironmentStatus::Failed),
            Change::EnvironmentStatus(shop.environment, EnvironmentStatus::Failed),
            Change::SiteStatus(shop.site, SiteStatus::Deleting),
            Change::SiteStatus(shop.site, SiteStatus::Failed),
        ])
        .await;
    let page = panel.get("/").await;
    page.assert_has(&[&format!("href=\"/jobs/{job}\"")]);
    let text = text_of(&page.body);
    assert_has(
        &text,
        &[
            "One thing needs attention.",
            "Failed sites 1",
            "Deletion of a site of Corner shop failed just now. The backup storage did not take or give a backup. \
             BACKUP_STORAGE_FAILED",
            "On its page it can be retried, and reset if it works again.",
        ],
    );
    for told_by_the_site in ["Failed environments", "Jobs that failed"] {
        assert!(!text.contains(told_by_the_site), "{text}");
    }

    panel.clock.advance(HOUR);
    panel
        .change(vec![
            Change::EnvironmentStatus(staging.environment_id, EnvironmentStatus::Active),
            Change::EnvironmentStatus(shop.environment, EnvironmentStatus::Active),
            Change::SiteStatus(shop.site, SiteStatus::Active),
        ])
        .await;
    assert_has(&panel.overview().await, &["Nothing needs attention."]);
}

#[tokio::test]
async fn a_site_without_a_recent_backup_offers_one() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    assert_has(&panel.overview().await, &["Nothing needs attention."]);
    let now = panel.clock.now();
    let mut site = panel.site_rows.find_site(shop.site).unwrap();
    site.created_at = now.minus(DAY + HOUR);
    panel.site_rows.put_site(site);
    let page = panel.get("/").await;
    page.assert_has(&[&format!(
        "href=\"{}?form=backup&amp;environment_id={}\" data-opens-dialog",
        shop.path(),
        shop.environment
    )]);
    let none = [
        "Sites without a backup of the last 7 days 1",
        "There is no backup of it as it is now.",
        "Backups0 none yet",
    ];
    assert_has(&text_of(&page.body), &none);
    panel.put_backup(shop, shop.environment, BackupScope::Full);
    assert_has(
        &panel.overview().await,
        &["Nothing needs attention.", "Backups1 27.2 MB stored"],
    );
    let mut backup = panel.site_rows.all_backups().remove(0);
    backup.completed_at = Some(now.minus(DAY * 7 + HOUR));
    panel.site_rows.put_backup(backup);
    let old = [
        "newest 7 days ago",
        "Neither its database nor its files were backed up in the last 7 days.",
    ];
    assert_has(&panel.overview().await, &old);
    panel.put_backup(shop, shop.environment, BackupScope::Db);
    let part = [
        "One thing needs attention.",
        "Its files were not backed up in the last 7 days.",
    ];
    assert_has(&panel.overview().await, &part);
    panel.put_backup(shop, shop.environment, BackupScope::Files);
    assert_has(&panel.overview().await, &["Nothing needs attention."]);
}

#[tokio::test]
async fn what_a_site_lacks_is_told_for_its_database_and_its_files_apart() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let mut site = panel.site_rows.find_site(shop.site).unwrap();
    site.created_at = panel.clock.now().minus(DAY * 30);
    panel.site_rows.put_site(site);
    for (database, files, said) in [
        (None, None, "There is no backup of it as it is now."),
        (Some(1), None, "Only its database is backed up, not its files."),
        (None, Some(1), "Only its files are backed up, not its database."),
        (Some(1), Some(20), "Its files were not backed up in the last 7 days."),
        (Some(20), Some(1), "Its database was not backed up in the last 7 days."),
        (
            Some(10),
            Some(20),
            "Neither its database nor its files were backed up in the last 7 days.",
        ),
        (
            Some(10),
            None,
            "Its files are not backed up, and its database was not in the last 7 days.",
        ),
        (
            None,
            Some(10),
            "Its database is not backed up, and its files were not in the last 7 days.",
        ),
    ] {
        for old in panel.site_rows.all_backups() {
            let status = BackupStatus::Expired;
            panel.site_rows.put_backup(Backup { status, ..old });
        }
        for (scope, days) in [(BackupScope::Db, database), (BackupScope::Files, files)] {
            let Some(days) = days else { continue };
            let id = panel.put_backup(shop, shop.environment, scope);
            let mut all = panel.site_rows.all_backups().into_iter();
            let mut backup = all.find(|backup| backup.id == id).unwrap();
            backup.completed_at = Some(panel.clock.now().minus(DAY * days));
            panel.site_rows.put_backup(backup);
        }
        assert_has(&panel.overview().await, &[said]);
    }
}

#[tokio::test]
async fn a_node_that_is_only_active_takes_no_site_while_another_is_set_up_or_deleted() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("web-1").await;
    let (other, _) = panel.create_node("web-2").await;
    for status in [NodeStatus::Provisioning, NodeStatus::Decommissioning] {
        let mut changed = panel.nodes.get(other);
        changed.status = status;
        panel.nodes.put(changed);
        let page = panel.get("/").await;
        assert!(!page.has("href=\"/sites\">Create a site</a>"), "{}", page.body);
        assert_has(
            &text_of(&page.body),
            &["No node is ready yet. See on the page of nodes"],
        );
    }
    panel.make_ready(node);
    panel.get("/").await.assert_has(&["href=\"/sites\">Create a site</a>"]);
}

#[tokio::test]
async fn ten_of_a_kind_are_shown_and_the_rest_is_counted() {
    let panel = Panel::new().await;
    for count in 0..13 {
        panel.failed_node(&format!("web-{count}"), "no bridge").await;
    }
    let page = panel.get("/").await;
    assert_eq!(page.body.matches("id=\"attention-node-").count(), 10);
    assert!(!page.has("attention-jobs"), "each is told by its node");
    page.assert_has(&["3 more: <a href=\"/nodes?attention=true\">all nodes that need attention</a>"]);
    assert_has(&text_of(&page.body), &["13 things need attention.", "Nodes13 0 active"]);

    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let mut copies = Vec::new();
    for count in 0..12 {
        let staging = panel
            .staging(shop, &format!("Copy {count}"), &format!("copy-{count}"))
            .await;
        copies.push(staging.environment_id);
        let job = NewJob::on_environment(JobKind::BackupCreate, shop.node, shop.site, staging.environment_id, 3);
        panel.jobs.enqueue(job);
        let claim = panel.claim().await;
        panel.jobs.finish(&claim, &failed()).await.unwrap();
    }
    let page = panel.get("/").await;
    assert_eq!(page.body.matches("id=\"attention-job-").count(), 10);
    page.assert_has(&["2 more: <a href=\"/jobs?status=failed\">all failed jobs</a>"]);
    assert_has(&text_of(&page.body), &["12 things need attention."]);
    let fails = |environment| Change::EnvironmentStatus(environment, EnvironmentStatus::Failed);
    panel.change(copies.into_iter().map(fails).collect()).await;
    let page = panel.get("/").await;
    assert_eq!(page.body.matches("id=\"attention-environment-").count(), 10);
    page.assert_has(&["2 more: <a href=\"/jobs?status=failed\">all failed jobs</a>"]);
}

#[tokio::test]
async fn running_jobs_are_shown_with_what_they_work_on() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let job = NewJob::on_environment(JobKind::BackupCreate, shop.node, shop.site, shop.environment, 3);
    let id = panel.jobs.enqueue(job);
    panel.create_node("web-2").await;
    let claim = panel.claim().await;
    assert_eq!(claim.job_id, id);
    panel.jobs.step_started(&claim, 0, "stage").await.unwrap();
    let page = panel.get("/").await;
    page.assert_has(&[&format!("href=\"/jobs/{id}\">Backup</a>"), "<progress"]);
    let text = [
        "Running now Corner shop Backup running step 1 of 3",
        "1 running, 1 waiting",
    ];
    assert_has(&text_of(&page.body), &text);
    panel.jobs.finish(&claim, &Outcome::Succeeded).await.unwrap();
    assert_has(&panel.overview().await, &["No job is running; 1 waits in the queue."]);
}

#[tokio::test]
async fn the_last_day_is_drawn_by_the_hour_and_told_in_words() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    panel.clock.advance(HOUR);
    panel.ended(shop, JobKind::BackupCreate, failed()).await;
    panel.ended(shop, JobKind::BackupCreate, Outcome::Succeeded).await;
    panel.ended(shop, JobKind::EnvRestore, Outcome::Cancelled).await;
    panel.clock.advance(HOUR);
    assert_eq!(panel.clock.now().to_string(), "2030-01-01T02:00:00Z");
    let page = panel.get("/").await;
    assert_eq!(page.body.matches("<rect class=\"slot\"").count(), 24);
    assert_eq!(page.body.matches("<rect class=\"bar\"").count(), 4);
    page.assert_has(&[
        "role=\"img\" aria-label=\"Jobs that ended in the last 24 hours: 3 done, 1 failed, 1 cancelled. The most in one hour: 3, \
         01:00 to 02:00 UTC.\"",
        "<title>01:00 to 02:00 UTC: 1 done, 1 failed, 1 cancelled</title>",
        "<title>02:00 to 03:00 UTC: no job ended</title>",
        "<th scope=\"row\">01:00 to 02:00 UTC</th><td>1</td><td>1</td><td>1</td>",
        "<th scope=\"row\">00:00 to 01:00 UTC</th><td>2</td><td>0</td><td>0</td>",
    ]);
}

#[tokio::test]
async fn what_is_said_to_screen_readers_changes_with_the_number_of_concerns() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let said = |answer: &crate::panel::Answer| answer.text_of("data-say=\"attention\"").to_owned();
    assert_eq!(said(&panel.get("/").await), "Nothing needs attention.");
    panel.ended(shop, JobKind::BackupCreate, failed()).await;
    assert_eq!(said(&panel.get("/").await), "One thing needs attention.");
}
