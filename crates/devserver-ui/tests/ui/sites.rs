//! `/sites`.

use jobs::Outcome;
use sites_domain::{BackupScope, Change, SiteStatus};

use crate::panel::{EMAIL, Panel};
use crate::site_support::text_of;

const KEY: &str = "01970000-0000-7000-8000-000000000001";

fn form(name: &str, slug: &str, node: &str, email: &str) -> String {
    format!("form_key={KEY}&name={name}&slug={slug}&node_id={node}&admin_email={email}")
}

#[tokio::test]
async fn without_a_ready_node_the_page_leads_to_the_nodes_instead_of_asking() {
    let panel = Panel::new().await;
    let page = panel.get("/sites").await;
    assert_eq!(page.status, 200);
    page.assert_has(&["No node is ready for a site.", "href=\"/nodes\"", "No sites yet"]);
    assert!(!page.has("id=\"create-site\""));
    // A node that is not ready is none.
    panel.active_node("web-1").await;
    assert!(panel.get("/sites").await.has("No node is ready for a site."));
}

#[tokio::test]
async fn the_form_offers_the_ready_nodes_by_name_after_the_one_with_the_fewest_environments() {
    let panel = Panel::new().await;
    let second = panel.ready_node("beta").await;
    let first = panel.ready_node("Alpha").await;
    panel.active_node("not ready").await;
    let page = panel.get("/sites").await;
    let (_, options) = page.body.split_once("<select").unwrap();
    let (options, _) = options.split_once("</select>").unwrap();
    let values: Vec<_> = options
        .split("value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(values, ["", &first.to_string(), &second.to_string()]);
    assert!(
        options.contains(">The ready node with the fewest environments</option>"),
        "{options}"
    );
    assert!(!page.has("No node is ready"));
    // The address of whoever asks stands there already.
    page.assert_has(&[&format!("value=\"{EMAIL}\""), "data-names-slug", "data-slug=\"\""]);
}

#[tokio::test]
async fn a_site_is_made_on_the_chosen_node_and_its_page_shown() {
    let panel = Panel::new().await;
    panel.ready_node("web-1").await;
    let node = panel.ready_node("web-2").await;
    let answer = panel
        .post(
            "/sites",
            &form("Corner+shop", "shop", &node.to_string(), "a@example.test"),
        )
        .await;
    let site = answer.location().strip_prefix("/sites/").unwrap().parse().unwrap();
    let made = panel.site_rows.find_site(site).unwrap();
    assert_eq!((made.name.as_str(), made.slug.as_str()), ("Corner shop", "shop"));
    let environment = panel.site_rows.find_environment(made.primary_environment_id).unwrap();
    assert_eq!(environment.node_id, node);
    let page = panel.get(&format!("/sites/{site}")).await;
    page.assert_has(&["Being created", "class=\"job-line\""]);
}

#[tokio::test]
async fn the_same_form_sent_twice_makes_one_site_and_another_form_another_one() {
    let panel = Panel::new().await;
    panel.ready_node("web-1").await;
    let sent = form("Shop", "shop", "", "a@example.test");
    let first = panel.post("/sites", &sent).await;
    let again = panel.post("/sites", &sent).await;
    assert_eq!(first.location(), again.location());
    let other = panel.post("/sites", &form("Shop", "other", "", "a@example.test")).await;
    assert_ne!(first.location(), other.location());
    assert_eq!(panel.sites.site_count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_slug_that_is_left_empty_is_that_of_the_name() {
    let panel = Panel::new().await;
    panel.ready_node("web-1").await;
    let answer = panel
        .post("/sites", &form("A+%26+B%21", "", "", "a@example.test"))
        .await;
    let site = answer.location().strip_prefix("/sites/").unwrap().parse().unwrap();
    assert_eq!(panel.site_rows.find_site(site).unwrap().slug.as_str(), "a-b");
    // Of a name without plain letters none can be made.
    let refused = panel.post("/sites", &form("%E6%97%A5", "", "", "a@example.test")).await;
    assert_eq!(refused.status, 400);
    refused.assert_has(&["id=\"site-slug-error\"", "value=\"日\""]);
}

#[tokio::test]
async fn wrong_fields_say_what_is_wrong_and_keep_what_was_typed() {
    let panel = Panel::new().await;
    let node = panel.ready_node("web-1").await.to_string();
    let answer = panel.post("/sites", &form("", "No+Slug", &node, "nobody")).await;
    assert_eq!(answer.status, 400);
    for field in ["site-name", "site-slug", "site-email"] {
        assert!(
            answer.has(&format!("id=\"{field}-error\"")),
            "{field} in {}",
            answer.body
        );
    }
    assert_eq!(answer.body.matches(" autofocus").count(), 1);
    answer.assert_has(&[
        "value=\"No Slug\"",
        "value=\"nobody\"",
        &format!("value=\"{node}\" selected"),
    ]);
    // A slug of somebody's own does not follow the name any more.
    answer.assert_has(&["data-slug=\"own\""]);
    let answer = panel.post("/sites", &form("A", "a", "no-node", "a@example.test")).await;
    assert!(answer.status == 400 && answer.has("id=\"site-node-error\""));
    assert_eq!(panel.sites.site_count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_refused_request_says_why_above_the_list_and_keeps_what_was_typed() {
    let panel = Panel::new().await;
    // No node is there at all: the form stays all the same.
    let answer = panel.post("/sites", &form("Shop", "shop", "", "a@example.test")).await;
    assert_eq!(answer.status, 409);
    assert!(
        answer.alert().starts_with("There is no ready node."),
        "{}",
        answer.alert()
    );
    answer.assert_has(&["value=\"Shop\"", "value=\"a@example.test\""]);
    // A slug that is taken.
    panel.shop().await;
    let answer = panel
        .post("/sites", &form("Shop", "corner-shop", "", "a@example.test"))
        .await;
    assert_eq!(answer.status, 409);
    assert!(answer.alert().contains("corner-shop"), "{}", answer.alert());
    // A node that is not ready says each reason.
    let (idle, _) = panel.active_node("idle").await;
    let answer = panel
        .post("/sites", &form("Shop", "shop", &idle.to_string(), "a@example.test"))
        .await;
    assert_eq!(answer.status, 409);
    assert!(
        answer.alert().starts_with("The node idle is not ready"),
        "{}",
        answer.alert()
    );
    assert!(answer.alert().len() > 60, "no reason: {}", answer.alert());
    // A node that is gone.
    let answer = panel.post("/sites", &form("Shop", "shop", KEY, "a@example.test")).await;
    assert_eq!(answer.alert(), "The node is not there any more. Choose another one.");
    assert_eq!(panel.sites.site_count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_row_shows_the_site_with_its_preview_node_version_and_newest_backup() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let page = panel.get("/sites").await;
    let preview = panel.site_rows.find_environment(shop.environment).unwrap().preview_url;
    let host = preview.trim_start_matches("http://");
    page.assert_has(&[
        "<bdi>Corner shop</bdi>",
        "<span class=\"code\">corner-shop</span>",
        &format!("href=\"{preview}\" target=\"_blank\" rel=\"noopener noreferrer\">{host}<"),
        &format!("href=\"/nodes/{}\"><bdi>web-1</bdi>", shop.node),
        "data-tone=\"active\"",
        // What is stored stands there; the script asks the node.
        &format!(
            "data-ask=\"/api/environments/{}/wordpress-version\" data-field=\"wordpress_version\">7.1.1<",
            shop.environment
        ),
        "none yet",
        &format!(
            "?form=environment&amp;environment_id={}\" data-opens-dialog>New environment",
            shop.environment
        ),
        &format!(
            "?form=backup&amp;environment_id={}\" data-opens-dialog>New backup",
            shop.environment
        ),
    ]);
    assert!(!page.has("job-line"), "a job that succeeded is of no interest here");
    panel.put_backup(shop, shop.environment, BackupScope::Full);
    assert!(panel.get("/sites").await.has(">2 hours ago</time>"));
}

#[tokio::test]
async fn a_row_shows_the_job_at_work_and_why_one_failed() {
    let panel = Panel::new().await;
    let node = panel.ready_node("web-1").await;
    let waiting = panel.waiting_site(node, "Shop", "shop").await;
    let page = panel.get("/sites").await;
    page.assert_has(&[
        &format!("href=\"/jobs/{}\"", waiting.job),
        "Being created",
        "not installed yet",
    ]);
    assert!(!page.has("data-ask"), "nobody can be asked yet");

    let panel = Panel::new().await;
    panel.failed_shop("no proof").await;
    panel
        .get("/sites")
        .await
        .assert_has(&["data-error=\"PREVIEW_UNREACHABLE\"", "data-tone=\"failed\"", "Next:"]);
}

#[tokio::test]
async fn the_job_at_work_is_shown_before_a_newer_one_that_waits() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let backup = BackupScope::Full;
    let first = panel
        .sites
        .create_backup(shop.environment, backup, None, None, None)
        .await
        .unwrap();
    panel.claim().await;
    let second = panel
        .sites
        .create_backup(shop.environment, backup, None, None, None)
        .await
        .unwrap();
    let page = panel.get("/sites").await;
    assert!(page.has(&format!("id=\"job-{}\"", first.job_id)), "{}", page.body);
    assert!(!page.has(&format!("id=\"job-{}\"", second.job_id)));
}

#[tokio::test]
async fn twenty_sites_are_on_a_page_and_older_ones_behind_a_link() {
    let panel = Panel::new().await;
    let node = panel.ready_node("web-1").await;
    for number in 0..21 {
        let shop = panel
            .waiting_site(node, &format!("Shop {number}"), &format!("shop-{number}"))
            .await;
        panel
            .settle_site(
                Outcome::Cancelled,
                vec![Change::SiteStatus(shop.site, SiteStatus::Failed)],
            )
            .await;
    }
    let first = panel.get("/sites").await;
    assert_eq!(first.body.matches("class=\"card site\"").count(), 20);
    let older = format!("/sites?cursor={}", first.value_of("href=\"/sites?cursor="));
    let second = panel.get(&older).await;
    assert_eq!(second.body.matches("class=\"card site\"").count(), 1);
    second.assert_has(&["<bdi>Shop 0</bdi>", "Newest sites", &format!("data-here=\"{older}\"")]);
    assert_eq!(panel.get("/sites?cursor=x").await.status, 400);
}

#[tokio::test]
async fn a_site_whose_node_is_gone_is_shown_all_the_same() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let mut environment = panel.site_rows.find_environment(shop.environment).unwrap();
    environment.node_id = domain_kernel::NodeId::generate();
    panel.site_rows.put_environment(environment, "");
    for path in ["/sites".to_owned(), shop.path()] {
        let page = panel.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(text_of(&page.body).contains("a node that is gone"), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_under_a_site_is_not_there() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    for path in ["/sites/", "/environments", "/backups", "/sites/x", "/sites/new"] {
        assert_eq!(panel.get(path).await.status, 404, "{path}");
    }
    for path in ["nothing", "environments/x", "backups/x", "wordpress"] {
        assert_eq!(
            panel.get(&format!("{}/{path}", shop.path())).await.status,
            404,
            "{path}"
        );
    }
    for path in [
        "delete",
        "reset",
        "environments",
        "delete-environment",
        "reset-environment",
        "backups",
        "delete-backup",
        "restore",
        "schedule",
        "version",
        "login",
    ] {
        assert_eq!(
            panel.get(&format!("{}/{path}", shop.path())).await.status,
            405,
            "{path}"
        );
    }
}
