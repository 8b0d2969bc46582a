//! `/sites/{id}`: what it shows, and what its dialogs ask.

use domain_kernel::{BackupId, EnvironmentId};
use nodes_domain::NodeStatus;
use sites_domain::{BackupSchedule, BackupScope, BackupStatus, EnvironmentStatus, SiteStatus};

use crate::panel::{Answer, Panel};
use crate::site_support::{CHECKSUM, Shop, text_of};

/// What a dialog is shown as where there is no script: one card, with a heading that names it.
#[track_caller]
fn assert_asks(page: &Answer, action: &str) {
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.body.matches("<h1").count(), 1);
    page.assert_has(&[
        "data-asks",
        "<h1 id=\"dialog-title\">",
        "data-close",
        &format!("action=\"{action}\""),
    ]);
}

#[tokio::test]
async fn the_page_shows_the_site_and_its_environments() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let page = panel.get(&shop.path()).await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "<h1><bdi>Corner shop</bdi></h1>",
        "<span class=\"kind\">Production</span>",
        "<span class=\"kind\">Staging</span>",
        "<dt>Copy of</dt><dd><bdi>Corner shop</bdi>",
        &format!("href=\"/nodes/{}\"><bdi>web-1</bdi>", shop.node),
        &format!("data-ask=\"/api/environments/{}/wordpress-version\"", shop.environment),
        &format!("data-ask=\"/api/environments/{copy}/wordpress-version\""),
        "No backups yet.",
        &format!("data-here=\"{}\"", shop.path()),
        "class=\"job-line\"",
    ]);
    // The production environment goes with its site only.
    let deletes = |id: EnvironmentId| page.has(&format!("?confirm=delete-environment&amp;environment_id={id}\""));
    assert!(deletes(copy) && !deletes(shop.environment));
    assert!(
        !page.has("/reset\"") && !page.has("/reset-environment\""),
        "nothing has failed"
    );
}

#[tokio::test]
async fn an_environment_that_is_not_active_offers_what_can_be_asked_of_it() {
    let panel = Panel::new().await;
    let node = panel.ready_node("web-1").await;
    let shop = panel.waiting_site(node, "Shop", "shop").await;
    let page = panel.get(&shop.path()).await;
    for absent in [
        "?form=environment",
        "?form=backup",
        "/login\"",
        "/version\"",
        "data-ask",
        "/reset",
    ] {
        assert!(!page.has(absent), "{absent} in {}", page.body);
    }
    page.assert_has(&["not installed yet", "?form=schedule"]);
}

#[tokio::test]
async fn a_failed_site_says_why_and_offers_reset_and_retry() {
    let panel = Panel::new().await;
    let shop = panel.failed_shop("port 80 is shut").await;
    panel.get(&shop.path()).await.assert_has(&[
        "data-error=\"PREVIEW_UNREACHABLE\"",
        "Port 80 is shut.",
        "Next:",
        &format!("action=\"{}/reset\"", shop.path()),
        &format!("action=\"{}/reset-environment\"", shop.path()),
        &format!("action=\"/jobs/{}/retry\"", shop.job),
    ]);
}

#[tokio::test]
async fn a_backup_is_shown_with_its_size_checksum_age_and_end() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let id = panel.put_backup(shop, shop.environment, BackupScope::Db);
    let page = panel.get(&shop.path()).await;
    page.assert_has(&[
        "Database only",
        "27.2 MB",
        &format!("title=\"{CHECKSUM}\">{CHECKSUM}</span>"),
        ">2 hours ago</time> <span class=\"by\">by an operator</span>",
        ">in 30 days</time>",
        "data-tone=\"completed\">Complete<",
        &format!("?confirm=restore&amp;backup_id={id}\""),
        &format!("?confirm=delete-backup&amp;backup_id={id}\""),
    ]);
}

#[tokio::test]
async fn only_a_complete_backup_can_be_restored_and_only_one_that_is_over_deleted() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    for (status, restores, deletes) in [
        (BackupStatus::Pending, false, false),
        (BackupStatus::Running, false, false),
        (BackupStatus::Completed, true, true),
        (BackupStatus::Failed, false, true),
        (BackupStatus::Expired, false, false),
    ] {
        let id = panel.put_backup_as(shop, shop.environment, BackupScope::Full, status);
        let page = panel.get(&shop.path()).await;
        let has = |what: &str| page.has(&format!("?confirm={what}&amp;backup_id={id}\""));
        assert_eq!((has("restore"), has("delete-backup")), (restores, deletes), "{status}");
        // Who goes there by hand is told why not.
        for (what, offered) in [("restore", restores), ("delete-backup", deletes)] {
            let asked = panel
                .get(&format!("{}?confirm={what}&backup_id={id}", shop.path()))
                .await;
            assert_eq!(
                asked.has(&format!("action=\"{}/{what}\"", shop.path())),
                offered,
                "{what} {status}"
            );
        }
    }
}

#[tokio::test]
async fn while_an_environment_is_restored_its_backups_stay_as_they_are() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let backup = panel.put_backup(shop, shop.environment, BackupScope::Full);
    panel.sites.restore(shop.environment, backup, None).await.unwrap();
    let page = panel.get(&shop.path()).await;
    page.assert_has(&["Being restored"]);
    assert!(!page.has("confirm=restore") && !page.has("confirm=delete-backup"));
    let asked = panel
        .get(&format!("{}?confirm=restore&backup_id={backup}", shop.path()))
        .await;
    asked.assert_has(&["A job works on this site "]);
    let asked = panel.get(&format!("{}?confirm=delete", shop.path())).await;
    asked.assert_has(&["A job works on this site "]);
    assert!(!asked.has("name=\"confirm\""));
}

#[tokio::test]
async fn ten_backups_are_shown_and_older_ones_behind_a_link() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    for _ in 0..11 {
        panel.put_backup(shop, shop.environment, BackupScope::Full);
    }
    let rows = |page: &Answer| page.body.matches("data-backup=").count();
    let first = panel.get(&shop.path()).await;
    assert_eq!(rows(&first), 10);
    let id = first.value_of("&amp;older=");
    let (id, _) = id.split_once('#').unwrap();
    let older = format!("{}?environment_id={}&older={id}", shop.path(), shop.environment);
    let second = panel.get(&older).await;
    assert_eq!(rows(&second), 1);
    second.assert_has(&[
        "Older backups",
        "Newest backups",
        &format!("data-here=\"{}\"", older.replace('&', "&amp;")),
    ]);
    let wrong = format!("{}?environment_id={}&older=x", shop.path(), shop.environment);
    assert_eq!(panel.get(&wrong).await.status, 404);
}

#[tokio::test]
async fn each_form_is_a_page_of_its_own_with_something_sensible_in_it() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let ask = |what: &str| format!("{}?form={what}&environment_id={}", shop.path(), shop.environment);
    let page = panel.get(&ask("environment")).await;
    assert_asks(&page, &format!("{}/environments", shop.path()));
    page.assert_has(&[
        &format!("name=\"source_environment_id\" value=\"{}\"", shop.environment),
        "value=\"staging\" selected",
        "value=\"clone\"",
        "value=\"commerce-protect\"",
        "name=\"form_key\"",
    ]);
    assert!(!page.has("value=\"production\""));
    let page = panel.get(&ask("backup")).await;
    assert_asks(&page, &format!("{}/backups", shop.path()));
    page.assert_has(&[
        "value=\"full\" selected",
        "name=\"retention_days\"",
        "value=\"30\"",
        "name=\"form_key\"",
    ]);
    let page = panel.get(&ask("schedule")).await;
    assert_asks(&page, &format!("{}/schedule", shop.path()));
    page.assert_has(&["There is no schedule now.", "value=\"24\"", "value=\"14\""]);
    assert!(!page.has("name=\"off\""), "there is nothing to end");
    let schedule = BackupSchedule {
        every_hours: 6,
        keep_days: 3,
        backup_scope: BackupScope::Db,
    };
    panel
        .sites
        .set_schedule(shop.environment, Some(schedule), None)
        .await
        .unwrap();
    let page = panel.get(&ask("schedule")).await;
    page.assert_has(&["value=\"6\"", "value=\"3\"", "value=\"db\" selected", "name=\"off\""]);
    assert!(
        panel
            .get(&shop.path())
            .await
            .has("every 6 hours, kept 3 days, database only")
    );
}

#[tokio::test]
async fn a_restore_names_what_is_replaced_and_the_checkpoint() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    for (scope, words) in [
        (
            BackupScope::Full,
            "The database and all files of Corner shop are replaced at",
        ),
        (
            BackupScope::Db,
            "The database of Corner shop is replaced, its files stay as they are, at",
        ),
        (BackupScope::Files, "its database stays as it is, at"),
    ] {
        let backup = panel.put_backup(shop, shop.environment, scope);
        let page = panel
            .get(&format!("{}?confirm=restore&backup_id={backup}", shop.path()))
            .await;
        assert_asks(&page, &format!("{}/restore", shop.path()));
        let text = text_of(&page.body);
        assert!(text.contains(words), "{text}");
        assert!(text.contains("A checkpoint backup is taken first"), "{text}");
        let host = panel.site_rows.find_environment(shop.environment).unwrap().preview_url;
        assert!(text.contains(host.trim_start_matches("http://")), "{text}");
        page.assert_has(&[
            &format!("name=\"backup_id\" value=\"{backup}\""),
            &format!("name=\"environment_id\" value=\"{}\"", shop.environment),
            ">2 hours ago</time>",
        ]);
    }
}

#[tokio::test]
async fn a_deletion_asks_for_the_slug_and_offers_to_give_up_what_a_lost_node_has() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let copy = panel.staging(shop, "Try-out", "try-out").await.environment_id;
    let of_site = format!("{}?confirm=delete", shop.path());
    let of_copy = format!("{}?confirm=delete-environment&environment_id={copy}", shop.path());
    let page = panel.get(&of_site).await;
    assert_asks(&page, &format!("{}/delete", shop.path()));
    page.assert_has(&["Type <code>corner-shop</code>", "<bdi>Try-out</bdi>"]);
    assert!(!page.has("name=\"abandon\""));
    let page = panel.get(&of_copy).await;
    assert_asks(&page, &format!("{}/delete-environment", shop.path()));
    page.assert_has(&["Type <code>try-out</code>"]);
    assert!(!page.has("name=\"abandon\""));
    for status in [NodeStatus::Unreachable, NodeStatus::Failed] {
        let mut node = panel.nodes.get(shop.node);
        node.status = status;
        panel.nodes.put(node);
        for place in [&of_site, &of_copy] {
            panel
                .get(place)
                .await
                .assert_has(&["name=\"abandon\"", "Its node is gone for good"]);
        }
    }
    let production = format!(
        "{}?confirm=delete-environment&environment_id={}",
        shop.path(),
        shop.environment
    );
    let page = panel.get(&production).await;
    page.assert_has(&["deleted with its site only"]);
    assert!(!page.has("name=\"confirm\""));
}

#[tokio::test]
async fn what_belongs_to_another_site_is_not_there() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let other = panel.site_on(shop.node, "Other", "other").await;
    let backup = panel.put_backup(other, other.environment, BackupScope::Full);
    let (none, gone) = (EnvironmentId::generate(), BackupId::generate());
    let mut queries = vec![
        "form=nothing".to_owned(),
        "confirm=nothing".to_owned(),
        "form=backup&confirm=delete".to_owned(),
        format!("form=backup&confirm=delete&environment_id={}", shop.environment),
    ];
    for id in [
        other.environment.to_string(),
        none.to_string(),
        "x".to_owned(),
        String::new(),
    ] {
        for what in [
            "form=environment",
            "form=backup",
            "form=schedule",
            "confirm=delete-environment",
            "confirm=login",
        ] {
            queries.push(format!("{what}&environment_id={id}"));
        }
        queries.push(format!("older={gone}&environment_id={id}"));
    }
    for id in [backup.to_string(), gone.to_string(), "x".to_owned(), String::new()] {
        queries.push(format!("confirm=restore&backup_id={id}"));
        queries.push(format!("confirm=delete-backup&backup_id={id}"));
    }
    for query in queries {
        let page = panel.get(&format!("{}?{query}", shop.path())).await;
        assert_eq!(page.status, 404, "{query}");
    }
    let gone = domain_kernel::SiteId::generate();
    assert_eq!(panel.get(&format!("/sites/{gone}")).await.status, 404);
}

#[tokio::test]
async fn a_change_of_status_is_said_to_screen_readers() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let Shop { site, environment, .. } = shop;
    let said = |page: &Answer, id: &str| page.text_of(&format!("data-say=\"{id}\"")).to_owned();
    let (about_site, about_it) = (
        format!("site-{}", site.short()),
        format!("environment-{}", environment.short()),
    );
    let page = panel.get(&shop.path()).await;
    assert_eq!(said(&page, &about_site), "Corner shop: Active.");
    let mut changed = panel.site_rows.find_environment(environment).unwrap();
    changed.status = EnvironmentStatus::Restoring;
    panel.site_rows.put_environment(changed, "");
    let mut changed = panel.site_rows.find_site(site).unwrap();
    changed.status = SiteStatus::Restoring;
    panel.site_rows.put_site(changed);
    let page = panel.get(&shop.path()).await;
    assert_eq!(said(&page, &about_site), "Corner shop: Being restored.");
    assert_eq!(said(&page, &about_it), "Corner shop: Being restored.");
    assert_eq!(
        said(&panel.get("/sites").await, &about_site),
        "Corner shop: Being restored."
    );
}
