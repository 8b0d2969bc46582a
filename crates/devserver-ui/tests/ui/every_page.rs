//! Hostile names, lines and details on every page that shows any of them.

use std::time::Duration;

use domain_kernel::{Clock, JobErrorCode};
use jobs::{Failure, JobKind, JobStore, LogStream, NewEvent, NewJob, Outcome};
use nodes_domain::{Guidance, NodeStatus, ReasonCode};
use sites_domain::{BackupScope, EnvironmentStatus, SiteStatus};

use crate::panel::{Panel, escaped};

/// A tag, both quotes, a template's own marks, an entity, and marks that turn the direction of the text.
const NASTY: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}{% raw %}&lt;\u{202e}\u{200f}";

/// As long as a name may be.
fn name() -> String {
    let name: String = NASTY.chars().chain("x".repeat(100).chars()).take(100).collect();
    assert_eq!(name.chars().count(), 100);
    name
}

/// A server on which everything that has a name or a text has a hostile one.
async fn hostile_panel() -> (Panel, Vec<String>) {
    let panel = Panel::new().await;
    let (name, detail) = (name(), format!("{NASTY}{}", "y".repeat(200)));
    let node = panel.ready_node(&name).await;
    let shop = panel.site_on(node, &name, "hostile").await;
    let staging = panel.staging(shop, &name, "staging").await;
    let second = panel.site_on(node, &name, "second").await;
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);

    // A failed job with its log, one that runs, and one that waits.
    let job = |kind| NewJob::on_environment(kind, node, shop.site, shop.environment, 3);
    let failed = panel.jobs.enqueue(job(JobKind::BackupCreate));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "stage").await.unwrap();
    panel.jobs.step_detail(&claim, "stage", &detail).await.unwrap();
    panel
        .tell(&claim, NewEvent::log("stage", LogStream::Stdout, &detail))
        .await;
    let failure = Failure::new(JobErrorCode::BackupStorageFailed, detail.clone());
    panel.jobs.finish(&claim, &Outcome::Failed(failure)).await.unwrap();
    let running = panel.jobs.enqueue(job(JobKind::EnvRestore));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, &detail).await.unwrap();
    let waiting = panel.jobs.enqueue(job(JobKind::EnvReaddress));

    // What needs attention: a node, a site without a backup, a failed environment, and a failed site beside it.
    let mut unreachable = panel.nodes.get(node);
    let readiness = unreachable.readiness.as_mut().unwrap();
    readiness.is_ready = false;
    readiness.reason_codes = vec![ReasonCode::NodeUnreachable];
    readiness.guidance = vec![Guidance {
        reason_code: ReasonCode::NodeUnreachable,
        message: format!("{} Seen: {detail}", ReasonCode::NodeUnreachable.guidance()),
    }];
    unreachable.status = NodeStatus::Unreachable;
    let mut site = panel.site_rows.find_site(shop.site).unwrap();
    site.created_at = panel.clock.now().minus(Duration::from_secs(30 * 24 * 3600));
    panel.site_rows.put_site(site.clone());
    let mut old = panel.site_rows.all_backups().remove(0);
    old.completed_at = Some(site.created_at);
    panel.site_rows.put_backup(old);
    let mut broken = panel.site_rows.find_environment(staging.environment_id).unwrap();
    broken.status = EnvironmentStatus::Failed;
    panel.site_rows.put_environment(broken, "");
    let mut failed_site = panel.site_rows.find_site(second.site).unwrap();
    failed_site.status = SiteStatus::Failed;
    panel.site_rows.put_site(failed_site);
    panel.nodes.put(unreachable);

    let (site, environment, copy) = (shop.path(), shop.environment, staging.environment_id);
    let paths = vec![
        "/".to_owned(),
        "/nodes".to_owned(),
        format!("/nodes/{node}"),
        format!("/nodes/{node}?confirm=delete"),
        "/nodes?attention=true".to_owned(),
        "/sites".to_owned(),
        format!("/sites?node_id={node}&unsaved=true"),
        site.clone(),
        format!("{site}?confirm=delete"),
        format!("{site}?confirm=restore&backup_id={backup}"),
        format!("{site}?confirm=delete-backup&backup_id={backup}"),
        format!("{site}?confirm=delete-environment&environment_id={copy}"),
        format!("{site}?form=environment&environment_id={environment}"),
        format!("{site}?form=backup&environment_id={environment}"),
        format!("{site}?form=schedule&environment_id={environment}"),
        "/jobs".to_owned(),
        "/jobs?status=failed".to_owned(),
        format!("/jobs?node_id={node}"),
        format!("/jobs?site_id={}", shop.site),
        format!("/jobs/{failed}"),
        format!("/jobs/{failed}?q=alert"),
        format!("/jobs/{running}"),
        format!("/jobs/{running}?confirm=cancel"),
        format!("/jobs/{waiting}"),
    ];
    (panel, paths)
}

#[tokio::test]
async fn hostile_texts_are_shown_as_text_on_every_page() {
    let (panel, paths) = hostile_panel().await;
    let shown = escaped(NASTY);
    for path in paths {
        let page = panel.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(page.has(&shown), "{path} shows none of them: {}", page.body);
        // Whatever part of them is shown is escaped: a tag of theirs is nowhere.
        for tag in ["<script>", "<img src=x", "onerror=alert(1)>", "\"'>"] {
            assert!(!page.has(tag), "{path} has {tag}: {}", page.body);
        }
        is_isolated(&path, &page.body, &escaped(&name()));
    }
}

/// A name that turns the direction of text does so in an element of its own: it stands in `<bdi>`, or where nothing follows it
/// (a title, an attribute, an option, a hidden text for screen readers).
#[track_caller]
fn is_isolated(path: &str, html: &str, name: &str) {
    let (_, main) = html.split_once("<main").unwrap();
    for (at, _) in main.match_indices(name) {
        let before = &main[..at];
        let tag = before.rfind('<').map(|open| &before[open..]).unwrap();
        let is_attribute = !tag.contains('>');
        let element = tag.split(['>', ' ', '\n']).next().unwrap();
        let is_own =
            matches!(element, "<bdi" | "<option" | "<title") || tag.contains("sr-only") || tag.starts_with("<bdi ");
        assert!(is_attribute || is_own, "{path}: a name stands in {tag}");
    }
}

#[tokio::test]
async fn a_log_as_plain_text_is_no_page() {
    let (panel, paths) = hostile_panel().await;
    let failed = paths.iter().find(|path| path.ends_with("?q=alert")).unwrap();
    let answer = panel.get(&failed.replace("?q=alert", "?as=text")).await;
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
}
