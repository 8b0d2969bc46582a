//! What is asked of a site, its environments and its backups.

use domain_kernel::{BackupId, EnvironmentId};
use jobs::JobKind;
use nodes_domain::NodeStatus;
use sites_domain::{BackupScope, BackupStatus, EnvironmentStatus, SiteStatus};

use crate::panel::{Answer, Panel};
use crate::site_support::Shop;

const KEY: &str = "01970000-0000-7000-8000-000000000001";

async fn post(panel: &Panel, shop: Shop, action: &str, form: &str) -> Answer {
    panel.post(&format!("{}/{action}", shop.path()), form).await
}

/// The newest job's kind.
async fn newest(panel: &Panel, shop: Shop) -> JobKind {
    let filter = jobs::JobFilter {
        site_id: Some(shop.site),
        ..jobs::JobFilter::default()
    };
    let page = jobs::PageRequest { limit: 1, after: None };
    let found = jobs::JobCatalog::jobs(&*panel.jobs, &filter, &page).await.unwrap();
    found.items[0].job.kind
}

fn copy_form(shop: Shop, name: &str, slug: &str, kind: &str) -> String {
    let source = shop.environment;
    format!(
        "form_key={KEY}&name={name}&slug={slug}&type={kind}&source_environment_id={source}&promotion_preset=content-protect"
    )
}

#[tokio::test]
async fn a_copy_is_asked_for_once_however_often_the_form_is_sent() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let form = copy_form(shop, "Try-out", "", "clone");
    for _ in 0..2 {
        assert_eq!(post(&panel, shop, "environments", &form).await.location(), shop.path());
    }
    let environments = panel.sites.environments(shop.site).await.unwrap();
    assert_eq!(environments.len(), 2);
    assert_eq!(environments[1].slug.as_str(), "try-out");
    assert_eq!(environments[1].source_environment_id, Some(shop.environment));
    let page = panel.get(&shop.path()).await;
    page.assert_has(&[
        "Being copied",
        "Posts, pages, comments and uploads",
        "<span class=\"kind\">Clone</span>",
    ]);
}

#[tokio::test]
async fn a_refused_copy_keeps_what_was_typed_in_the_form_that_asks() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let wrong = post(&panel, shop, "environments", &copy_form(shop, "", "No+Slug", "nothing")).await;
    assert_eq!(wrong.status, 400);
    wrong.assert_has(&[
        "data-asks",
        "id=\"environment-name-error\"",
        "id=\"environment-slug-error\"",
        "id=\"environment-type-error\"",
        "value=\"No Slug\"",
        "value=\"content-protect\" selected",
    ]);
    let taken = post(
        &panel,
        shop,
        "environments",
        &copy_form(shop, "Copy", "production", "staging"),
    )
    .await;
    assert_eq!(taken.status, 409);
    taken.assert_has(&["data-asks", "value=\"Copy\"", "role=\"alert\""]);
    let production = post(
        &panel,
        shop,
        "environments",
        &copy_form(shop, "Copy", "copy", "production"),
    )
    .await;
    assert_eq!(production.status, 400);
    assert!(
        production.alert().contains("one production environment"),
        "{}",
        production.alert()
    );
    assert_eq!(panel.sites.environments(shop.site).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_backup_is_taken_with_its_scope_and_end() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let form = |scope: &str, days: &str| {
        format!(
            "form_key={KEY}&environment_id={}&backup_scope={scope}&retention_days={days}",
            shop.environment
        )
    };
    for _ in 0..2 {
        assert_eq!(
            post(&panel, shop, "backups", &form("db", "7")).await.location(),
            shop.path()
        );
    }
    assert_eq!(
        post(&panel, shop, "backups", &form("full", "")).await.location(),
        shop.path()
    );
    let backups = panel.site_rows.all_backups();
    assert_eq!(backups.len(), 2, "the same form twice is one backup");
    assert_eq!(backups[0].scope, BackupScope::Db);
    assert!(backups[0].retention_until.is_some() && backups[1].retention_until.is_none());
    let page = panel.get(&shop.path()).await;
    page.assert_has(&[">Waiting</span>", ">in 7 days</time>", "never"]);
    for (scope, days, field) in [
        ("full", "0", "backup-days"),
        ("full", "3651", "backup-days"),
        ("full", "x", "backup-days"),
        ("all", "7", "backup-scope"),
    ] {
        let wrong = post(&panel, shop, "backups", &form(scope, days)).await;
        assert_eq!(wrong.status, 400);
        wrong.assert_has(&[
            "data-asks",
            &format!("id=\"{field}-error\""),
            &format!("value=\"{days}\""),
        ]);
    }
    assert_eq!(panel.site_rows.all_backups().len(), 2);
}

#[tokio::test]
async fn a_backup_of_what_is_not_active_is_refused_where_it_was_asked_for() {
    let panel = Panel::new().await;
    let shop = panel.failed_shop("no proof").await;
    let form = format!("environment_id={}&backup_scope=db&retention_days=9", shop.environment);
    let refused = post(&panel, shop, "backups", &form).await;
    assert_eq!(refused.status, 409);
    assert!(refused.alert().contains("is failed, not active"), "{}", refused.alert());
    refused.assert_has(&["value=\"9\"", "value=\"db\" selected"]);
}

#[tokio::test]
async fn a_schedule_is_set_changed_and_ended() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let id = shop.environment;
    let form =
        |hours: &str, days: &str| format!("environment_id={id}&every_hours={hours}&keep_days={days}&backup_scope=full");
    let schedule = || panel.site_rows.find_environment(id).unwrap().backup_schedule;
    assert_eq!(
        post(&panel, shop, "schedule", &form("12", "30")).await.location(),
        shop.path()
    );
    assert_eq!(schedule().map(|set| (set.every_hours, set.keep_days)), Some((12, 30)));
    let wrong = post(&panel, shop, "schedule", &form("721", "0")).await;
    assert_eq!(wrong.status, 400);
    wrong.assert_has(&[
        "id=\"schedule-hours-error\"",
        "id=\"schedule-days-error\"",
        "value=\"721\"",
        "value=\"0\"",
    ]);
    assert!(schedule().is_some());
    // What stands in the other fields does not count.
    let off = format!("{}&off=1", form("x", ""));
    assert_eq!(post(&panel, shop, "schedule", &off).await.location(), shop.path());
    assert_eq!(schedule(), None);
}

#[tokio::test]
async fn a_restore_begins_and_a_second_one_is_refused_on_the_page() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    let of_copy = format!("environment_id={copy}&backup_id={backup}");
    let refused = post(&panel, shop, "restore", &of_copy).await;
    assert_eq!(refused.status, 400);
    assert!(refused.alert().contains("another environment"), "{}", refused.alert());
    let form = format!("environment_id={}&backup_id={backup}", shop.environment);
    assert_eq!(post(&panel, shop, "restore", &form).await.location(), shop.path());
    assert_eq!(newest(&panel, shop).await, JobKind::EnvRestore);
    let again = post(&panel, shop, "restore", &form).await;
    assert_eq!(again.status, 409);
    again.assert_has(&["<h1><bdi>Corner shop</bdi></h1>", "role=\"alert\"", "Being restored"]);
}

#[tokio::test]
async fn a_backup_is_given_up_once() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    let form = format!("backup_id={backup}");
    assert_eq!(post(&panel, shop, "delete-backup", &form).await.location(), shop.path());
    assert_eq!(panel.site_rows.all_backups()[0].status, BackupStatus::Expired);
    assert!(panel.get(&shop.path()).await.has(">Expired</span>"));
    let again = post(&panel, shop, "delete-backup", &form).await;
    assert_eq!(again.status, 409);
    assert!(again.alert().contains("is expired"), "{}", again.alert());
}

#[tokio::test]
async fn a_site_is_deleted_by_typing_its_slug() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    for typed in ["", "confirm=", "confirm=Corner+shop", "confirm=corner-sho"] {
        let wrong = post(&panel, shop, "delete", typed).await;
        assert_eq!(wrong.status, 400, "{typed}");
        assert!(wrong.alert().contains("type corner-shop"), "{}", wrong.alert());
        wrong.assert_has(&["data-asks", "name=\"confirm\""]);
    }
    let abandoned = post(&panel, shop, "delete", "confirm=corner-shop&abandon=1").await;
    assert_eq!(abandoned.status, 409, "its node is there");
    assert_eq!(panel.site_rows.find_site(shop.site).unwrap().status, SiteStatus::Active);
    let deleted = post(&panel, shop, "delete", "confirm=+corner-shop+").await;
    assert!(deleted.location().starts_with("/jobs/"), "the site's page will be gone");
    assert_eq!(newest(&panel, shop).await, JobKind::SiteDelete);
    assert!(panel.get(&shop.path()).await.has("Being deleted"));
    assert_eq!(post(&panel, shop, "delete", "confirm=corner-shop").await.status, 409);
}

#[tokio::test]
async fn what_a_lost_node_has_is_given_up_where_that_was_said() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let mut node = panel.nodes.get(shop.node);
    node.status = NodeStatus::Unreachable;
    panel.nodes.put(node);
    let form = format!("environment_id={copy}&confirm=try-out&abandon=1");
    assert_eq!(
        post(&panel, shop, "delete-environment", &form).await.location(),
        shop.path()
    );
    assert_eq!(newest(&panel, shop).await, JobKind::EnvAbandon);
    panel
        .settle_site(
            jobs::Outcome::Succeeded,
            vec![
                sites_domain::Change::RemoveEnvironment(copy),
                sites_domain::Change::SiteStatus(shop.site, SiteStatus::Active),
            ],
        )
        .await;
    let answer = post(&panel, shop, "delete", "confirm=corner-shop&abandon=1").await;
    assert!(answer.location().starts_with("/jobs/"), "the site's page will be gone");
    assert_eq!(newest(&panel, shop).await, JobKind::SiteAbandon);
}

#[tokio::test]
async fn an_environment_is_deleted_by_typing_its_slug_but_production_is_not() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let wrong = post(
        &panel,
        shop,
        "delete-environment",
        &format!("environment_id={copy}&confirm=x"),
    )
    .await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.alert().contains("type try-out"), "{}", wrong.alert());
    let production = format!("environment_id={}&confirm=production", shop.environment);
    let refused = post(&panel, shop, "delete-environment", &production).await;
    assert_eq!(refused.status, 409);
    let form = format!("environment_id={copy}&confirm=try-out");
    assert_eq!(
        post(&panel, shop, "delete-environment", &form).await.location(),
        shop.path()
    );
    assert_eq!(newest(&panel, shop).await, JobKind::EnvDelete);
}

#[tokio::test]
async fn a_reset_that_is_refused_says_why_on_the_page() {
    let panel = Panel::new().await;
    let shop = panel.failed_shop("no proof").await;
    let form = format!("environment_id={}", shop.environment);
    for (action, form) in [("reset", ""), ("reset-environment", form.as_str())] {
        let refused = post(&panel, shop, action, form).await;
        assert_eq!(refused.status, 409, "{action}");
        assert!(refused.alert().contains("does not work"), "{}", refused.alert());
        refused.assert_has(&["<h1><bdi>Corner shop</bdi></h1>"]);
    }
    let status = panel.site_rows.find_environment(shop.environment).unwrap().status;
    assert_eq!(status, EnvironmentStatus::Failed);
}

#[tokio::test]
async fn a_version_that_cannot_be_asked_for_is_a_note_and_the_known_one_stays() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let answer = post(&panel, shop, "version", &format!("environment_id={}", shop.environment)).await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.alert().starts_with("The machine does not answer"),
        "{}",
        answer.alert()
    );
    answer.assert_has(&["wordpress_version\">7.1.1<", &format!("data-here=\"{}\"", shop.path())]);
}

#[tokio::test]
async fn the_wordpress_login_is_shown_once_in_the_answer_and_in_no_page_that_is_got() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let answer = post(&panel, shop, "login", &format!("environment_id={}", shop.environment)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert_eq!(answer.text_of("id=\"login-user\""), "admin");
    assert!(answer.text_of("id=\"login-url\"").ends_with("/wp-login.php"));
    let password = answer.text_of("id=\"login-password\"").to_owned();
    assert!(password.len() >= 32, "{password}");
    assert_eq!(panel.site_rows.audited().len(), 1, "who was shown it is written down");
    // The page stays as it is when it is asked for again, and what it asks for then tells nothing.
    answer.assert_has(&["id=\"asks-login\" data-asks data-kept"]);
    let here = answer.value_of("data-here=\"").replace("&amp;", "&");
    for path in [here, shop.path(), "/sites".to_owned()] {
        let page = panel.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.has(&password), "{path}");
    }
    assert_eq!(panel.site_rows.audited().len(), 1);
}

#[tokio::test]
async fn what_belongs_to_another_site_cannot_be_asked_of_this_one() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let other = panel.site_on(shop.node, "Other", "other").await;
    let of_other = panel.put_backup(other, other.environment, BackupScope::Full);
    let before = panel.jobs.all_events().len();
    let gone = EnvironmentId::generate();
    for id in [
        other.environment.to_string(),
        gone.to_string(),
        "x".to_owned(),
        String::new(),
    ] {
        let form = format!("environment_id={id}&source_environment_id={id}&confirm=production&backup_id={of_other}");
        for action in [
            "environments",
            "delete-environment",
            "reset-environment",
            "backups",
            "restore",
            "schedule",
            "version",
            "login",
        ] {
            assert_eq!(post(&panel, shop, action, &form).await.status, 404, "{action} {id}");
        }
    }
    for id in [of_other.to_string(), BackupId::generate().to_string(), "x".to_owned()] {
        let form = format!("backup_id={id}&environment_id={}", shop.environment);
        for action in ["delete-backup", "restore"] {
            assert_eq!(post(&panel, shop, action, &form).await.status, 404, "{action} {id}");
        }
    }
    for path in [
        format!("/sites/{}/delete", domain_kernel::SiteId::generate()),
        "/sites/x/reset".to_owned(),
    ] {
        assert_eq!(panel.post(&path, "confirm=corner-shop").await.status, 404, "{path}");
    }
    assert_eq!(panel.jobs.all_events().len(), before, "something was done");
    assert!(panel.site_rows.audited().is_empty());
}

#[tokio::test]
async fn without_a_session_nothing_is_done_and_the_login_comes_first() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let before = panel.jobs.all_events().len();
    for path in ["/sites".to_owned(), shop.path()] {
        let answer = panel.stranger("GET", &path).send().await;
        assert_eq!(answer.location(), format!("/login?next={path}"));
    }
    for action in ["delete", "login", "restore", "backups", "environments", "schedule"] {
        let path = format!("{}/{action}", shop.path());
        let form = format!("confirm=corner-shop&environment_id={}", shop.environment);
        let answer = panel.stranger("POST", &path).form(&form).send().await;
        let login = format!("/login?next={}&unsent=1", shop.path());
        assert_eq!(answer.location(), login, "{action}");
    }
    assert_eq!(panel.jobs.all_events().len(), before);
    assert!(panel.site_rows.audited().is_empty());
}
