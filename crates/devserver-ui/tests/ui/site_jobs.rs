//! The jobs that the pages of a site speak of: what failed an environment or a backup, and what is at work.

use domain_kernel::{EnvironmentId, JobErrorCode, JobId};
use jobs::{Failure, Outcome};
use nodes_domain::{Node, NodeStatus};
use sites_domain::{BackupChange, BackupScope, BackupStatus, Change, EnvironmentStatus, SiteStatus, SiteStore};

use crate::panel::{Answer, Panel};
use crate::site_support::{Shop, text_of};

/// Lets the oldest waiting job fail and says what that means.
async fn fail(panel: &Panel, detail: &str, changes: Vec<Change>) -> JobId {
    let claim = panel.claim().await;
    let failure = Failure::new(JobErrorCode::RestoreRolledBack, detail);
    let settled = panel
        .site_rows
        .settle_job(&claim, &Outcome::Failed(failure), changes)
        .await;
    settled.unwrap();
    claim.job_id
}

/// An environment that a restore failed.
async fn failed_restore(panel: &Panel, shop: Shop, environment: EnvironmentId, detail: &str) -> JobId {
    let backup = panel.put_backup(shop, environment, BackupScope::Full);
    panel.sites.restore(environment, backup, None).await.unwrap();
    let changes = vec![
        Change::SiteStatus(shop.site, SiteStatus::Active),
        Change::EnvironmentStatus(environment, EnvironmentStatus::Failed),
    ];
    fail(panel, detail, changes).await
}

/// The card of an environment.
#[track_caller]
fn card(page: &Answer, environment: EnvironmentId) -> &str {
    let opening = format!("data-environment=\"{environment}\"");
    let (_, rest) = page.body.split_once(&opening).expect("no card");
    rest.split("</section>").next().unwrap()
}

#[tokio::test]
async fn a_failed_environment_says_why_though_another_job_of_the_site_is_newer() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let failed = failed_restore(&panel, shop, copy, "the front page is empty").await;
    panel
        .sites
        .create_backup(shop.environment, BackupScope::Db, None, None, None)
        .await
        .unwrap();
    let page = panel.get(&shop.path()).await;
    let of_copy = card(&page, copy);
    for part in [
        format!("data-failed-by=\"{failed}\""),
        format!("id=\"job-{failed}\""),
        "data-error=\"RESTORE_ROLLED_BACK\"".to_owned(),
        "The front page is empty.".to_owned(),
        format!("action=\"/jobs/{failed}/retry\""),
    ] {
        assert!(of_copy.contains(&part), "{part} is missing in {of_copy}");
    }
    assert!(!card(&page, shop.environment).contains("data-failed-by"));
    // After it was asked for again it is not the newest any more.
    panel.post(&format!("/jobs/{failed}/retry"), "").await.location();
    let page = panel.get(&shop.path()).await;
    assert!(!page.has("data-failed-by"), "{}", page.body);
}

#[tokio::test]
async fn a_job_that_the_page_begins_with_is_not_told_twice() {
    let panel = Panel::new().await;
    let shop = panel.failed_shop("port 80 is shut").await;
    let page = panel.get(&shop.path()).await;
    assert_eq!(page.body.matches(&format!("id=\"job-{}\"", shop.job)).count(), 1);
    assert_eq!(page.body.matches(&format!("/jobs/{}/retry\"", shop.job)).count(), 1);
    let of_it = card(&page, shop.environment);
    assert!(
        of_it.contains("It failed by the <a href=\"#newest-job\">job above</a>"),
        "{of_it}"
    );
}

#[tokio::test]
async fn a_deletion_of_the_site_that_failed_is_why_each_environment_is_failed() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let deleted = panel.sites.delete_site(shop.site, "corner-shop", None).await.unwrap();
    let mut changes = vec![Change::SiteStatus(shop.site, SiteStatus::Failed)];
    changes.extend([shop.environment, copy].map(|id| Change::EnvironmentStatus(id, EnvironmentStatus::Failed)));
    assert_eq!(fail(&panel, "a mount is left", changes).await, deleted.job_id);
    let page = panel.get(&shop.path()).await;
    for environment in [shop.environment, copy] {
        let of_it = card(&page, environment);
        assert!(
            of_it.contains(&format!("data-failed-by=\"{}\"", deleted.job_id)),
            "{of_it}"
        );
    }
}

#[tokio::test]
async fn a_backup_that_is_not_there_yet_or_failed_leads_to_its_job() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let done = panel.put_backup(shop, shop.environment, BackupScope::Full);
    let ask = || {
        panel
            .sites
            .create_backup(shop.environment, BackupScope::Db, None, None, None)
    };
    let first = ask().await.unwrap();
    let failed_backup = first.backup_id.unwrap();
    let change = Change::Backup(failed_backup, BackupChange::Status(BackupStatus::Failed));
    let failed = fail(&panel, "the disk is full", vec![change]).await;
    let waiting = ask().await.unwrap();
    let row = |page: &Answer, id: domain_kernel::BackupId| {
        let (_, rest) = page.body.split_once(&format!("data-backup=\"{id}\"")).expect("no row");
        rest.split("</tr>").next().unwrap().to_owned()
    };
    let page = panel.get(&shop.path()).await;
    let of_failed = row(&page, failed_backup);
    assert!(
        of_failed.contains(&format!("href=\"/jobs/{failed}\">Why<")),
        "{of_failed}"
    );
    let of_waiting = row(&page, waiting.backup_id.unwrap());
    assert!(
        of_waiting.contains(&format!("href=\"/jobs/{}\">Its job<", waiting.job_id)),
        "{of_waiting}"
    );
    assert!(!row(&page, done).contains("href=\"/jobs/"));
    // Its deletion, too, says what to wait for.
    let path = format!(
        "{}?confirm=delete-backup&backup_id={}",
        shop.path(),
        waiting.backup_id.unwrap()
    );
    let asked = panel.get(&path).await;
    asked.assert_has(&[&format!(
        "A job works with it (<a href=\"/jobs/{}\">Backup</a>, waiting).",
        waiting.job_id
    )]);
}

#[tokio::test]
async fn what_has_to_wait_for_a_job_leads_to_it() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    panel
        .sites
        .create_backup(shop.environment, BackupScope::Db, None, None, None)
        .await
        .unwrap();
    let restore = panel
        .sites
        .restore(shop.environment, backup, None)
        .await
        .unwrap()
        .job_id;
    let link = format!("<a href=\"/jobs/{restore}\">Restore</a>, waiting");
    for query in [
        format!("confirm=restore&backup_id={backup}"),
        "confirm=delete".to_owned(),
    ] {
        let asked = panel.get(&format!("{}?{query}", shop.path())).await;
        asked.assert_has(&[&format!("A job works on this site ({link}). Wait")]);
    }
    let asked = panel
        .get(&format!("{}?confirm=delete-backup&backup_id={backup}", shop.path()))
        .await;
    asked.assert_has(&[&format!("A job works with it ({link}).")]);
    // So does what was sent all the same.
    let form = format!("environment_id={}&backup_id={backup}", shop.environment);
    let refused = panel.post(&format!("{}/restore", shop.path()), &form).await;
    assert_eq!(refused.status, 409);
    let alert = refused.body.split("role=\"alert\"").nth(1).unwrap();
    let alert = alert.split("</div>").next().unwrap();
    assert!(alert.contains(&format!("Its job: {link}.")), "{alert}");
}

#[tokio::test]
async fn what_is_gone_meanwhile_is_said_on_the_sites_page() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let gone = EnvironmentId::generate();
    let backup = domain_kernel::BackupId::generate();
    for (action, form) in [
        ("login", format!("environment_id={gone}")),
        ("version", format!("environment_id={gone}")),
        ("backups", format!("environment_id={gone}&backup_scope=full")),
        ("delete-backup", format!("backup_id={backup}")),
    ] {
        let refused = panel.post(&format!("{}/{action}", shop.path()), &form).await;
        assert_eq!(refused.status, 404, "{action}");
        let what = if action == "delete-backup" {
            "backup"
        } else {
            "environment"
        };
        assert_eq!(
            refused.alert(),
            format!("There is no such {what}. It may have been deleted meanwhile.")
        );
        refused.assert_has(&[
            "<h1><bdi>Corner shop</bdi></h1>",
            &format!("data-here=\"{}\"", shop.path()),
        ]);
    }
}

#[tokio::test]
async fn a_refused_deletion_keeps_what_was_typed_and_ticked() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let mut node = panel.nodes.get(shop.node);
    node.status = nodes_domain::NodeStatus::Unreachable;
    panel.nodes.put(node);
    for (action, form) in [
        ("delete", "confirm=corner-shap&abandon=1".to_owned()),
        (
            "delete-environment",
            format!("environment_id={copy}&confirm=corner-shap&abandon=1"),
        ),
    ] {
        let refused = panel.post(&format!("{}/{action}", shop.path()), &form).await;
        assert_eq!(refused.status, 400, "{action}");
        refused.assert_has(&["value=\"corner-shap\"", "value=\"1\" checked"]);
    }
}

#[tokio::test]
async fn what_a_page_calls_by_a_term_of_its_own_it_explains_there() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let explains =
        |page: &Answer| text_of(&page.body).contains("The SHA-256 of a backup is the fingerprint of what was stored");
    assert!(!explains(&panel.get(&shop.path()).await), "there is none to explain");
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    assert!(explains(&panel.get(&shop.path()).await));
    let asked = panel
        .get(&format!("{}?confirm=restore&backup_id={backup}", shop.path()))
        .await;
    let text = text_of(&asked.body);
    assert!(
        text.contains("A checkpoint backup is taken first of all that is there now"),
        "{text}"
    );
    let node = text_of(&panel.get(&format!("/nodes/{}", shop.node)).await.body);
    for words in [
        "The machine proves itself by this key, which is shown by its SHA-256 fingerprint",
        "It is pinned: Pressluft talks to no machine with another one.",
        "A node is ready when it is active, Pressluft can log in and use sudo, and all that sites need runs on it.",
        "The provider fake is the part of Pressluft that makes the machine, and destroys it.",
    ] {
        assert!(node.contains(words), "{words}: {node}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_told_of_where_its_sites_are() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let trouble = "unreachable: nothing on it may answer";
    for path in ["/sites", &shop.path()] {
        assert!(!panel.get(path).await.has(trouble));
    }
    let node = panel.nodes.get(shop.node);
    panel.nodes.put(Node {
        status: NodeStatus::Unreachable,
        ..node
    });
    for path in ["/sites", &shop.path()] {
        panel.get(path).await.assert_has(&[trouble]);
    }
}
