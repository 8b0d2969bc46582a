//! The filters of `/nodes` and of `/sites`.

use std::time::Duration;

use domain_kernel::{NodeId, SiteId};
use nodes_domain::NodeStatus;
use sites_domain::{BackupScope, SiteStatus};

use crate::panel::{Answer, Panel, escaped};

/// A tag, both quotes, a template's own marks, an entity, and marks of addresses.
const NASTY: &str = "\"'><script>alert(1)</script>{{ 7 * 7 }}{% raw %}&lt;&q=x#?%\u{202e}";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[track_caller]
fn nodes_shown(page: &Answer, all: &[(NodeId, &str)]) -> String {
    assert_eq!(page.status, 200, "{page:?}");
    let shown = all.iter().filter(|(id, _)| page.has(&format!("data-node=\"{id}\"")));
    shown.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn sites_shown(page: &Answer, all: &[(SiteId, &str)]) -> String {
    assert_eq!(page.status, 200, "{page:?}");
    let shown = all.iter().filter(|(id, _)| page.has(&format!("data-site=\"{id}\"")));
    shown.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_filter_of_nodes_shows_what_was_chosen_and_nothing_else() {
    let panel = Panel::new().await;
    let ready = panel.ready_node("Alpha 100%").await;
    let (seen, _) = panel.active_node("beta_1").await;
    let (failed, _) = panel.failed_node("gamma", "no luck").await;
    let (waiting, _) = panel.create_remote("web-1.example.test").await;
    let all = [
        (ready, "ready"),
        (seen, "unseen"),
        (failed, "failed"),
        (waiting, "waiting"),
    ];
    for (query, shown) in [
        ("q=ALPHA", "ready"),
        ("q=%25", "ready"),
        ("q=a_1", "unseen"),
        ("q=_", "unseen"),
        ("q=a", "ready unseen failed waiting"),
        ("q=+example.test+", "waiting"),
        ("q=10.0.0.2", "ready"),
        ("status=failed", "failed"),
        ("status=active", "ready unseen"),
        ("attention=true", "unseen failed"),
        ("attention=false", "ready unseen failed waiting"),
        ("status=active&attention=true", "unseen"),
        ("q=beta&status=failed", ""),
        ("q=&status=&attention=&cursor=", "ready unseen failed waiting"),
    ] {
        let page = panel.get(&format!("/nodes?{query}")).await;
        assert_eq!(nodes_shown(&page, &all), shown, "{query}");
    }
    let page = panel.get("/nodes?q=beta_1&status=active&attention=true").await;
    page.assert_has(&[
        "name=\"q\" type=\"search\" value=\"beta_1\"",
        "<option value=\"active\" selected>Active</option>",
        "value=\"true\" checked",
        "Matching nodes",
        "href=\"/nodes\">All nodes</a>",
        "data-here=\"/nodes?q=beta_1&amp;status=active&amp;attention=true\"",
        &format!("<a href=\"/jobs?node_id={seen}\">Jobs"),
    ]);
    let page = panel.get("/nodes").await;
    page.assert_has(&["<h2 id=\"list-title\">All nodes</h2>", "Being deleted</option>"]);
    assert!(!page.has(">All nodes</a>") && !page.has(" checked") && !page.has(" selected"));
    assert!(!page.has("value=\"decommissioned\""), "what is not listed is no choice");
}

#[tokio::test]
async fn a_choice_of_nodes_that_nothing_fits_says_so_and_leads_to_all() {
    let panel = Panel::new().await;
    let page = panel.get("/nodes").await;
    assert!(
        page.has("No nodes yet") && !page.has("id=\"filter-q\""),
        "nothing to choose from"
    );
    panel.create_node("first").await;
    let page = panel.get("/nodes?q=second").await;
    page.assert_has(&[
        "No matching nodes",
        "<a href=\"/nodes\">Show all nodes</a>",
        "value=\"second\"",
        "id=\"create-local\"",
    ]);
    assert!(!page.has("No nodes yet") && !page.has("class=\"pager\""));
}

#[tokio::test]
async fn the_filter_of_nodes_stays_over_its_pages() {
    let panel = Panel::new().await;
    for number in 0..23 {
        let name = if number < 2 {
            "other".to_owned()
        } else {
            format!("a b {number}.")
        };
        panel.create_node(&name).await;
    }
    let first = panel.get("/nodes?q=a+b&status=provisioning").await;
    assert_eq!(first.body.matches("data-node=").count(), 20);
    let next = first.value_of("class=\"pager\" aria-label=\"Pages of the list\">\n    \n    <a href=\"");
    assert!(
        next.starts_with("/nodes?q=a%20b&amp;status=provisioning&amp;cursor="),
        "{next}"
    );
    let second = panel.get(&next.replace("&amp;", "&")).await;
    assert_eq!(second.body.matches("data-node=").count(), 1);
    second.assert_has(&[
        "a b 2.",
        &format!("data-here=\"{next}\""),
        "<a href=\"/nodes?q=a%20b&amp;status=provisioning\">Newest nodes</a>",
        "Matching nodes, older ones",
    ]);
    assert!(!second.has("rel=\"next\""));
}

#[tokio::test]
async fn the_filter_of_sites_shows_what_was_chosen_and_nothing_else() {
    let panel = Panel::new().await;
    let (node, other) = (panel.ready_node("web-1").await, panel.ready_node("web-2").await);
    let shop = panel.site_on(node, "Corner 100%", "first").await;
    let blog = panel.site_on(other, "A blog", "corner-blog").await;
    let failed = panel.site_on(other, "Third_one", "third").await;
    let mut row = panel.site_rows.find_site(failed.site).unwrap();
    row.status = SiteStatus::Failed;
    panel.site_rows.put_site(row);
    let all = [(shop.site, "shop"), (blog.site, "blog"), (failed.site, "failed")];
    for (query, shown) in [
        ("q=corner".to_owned(), "shop blog"),
        ("q=CORNER-".into(), "blog"),
        ("q=%25".into(), "shop"),
        ("q=_".into(), "failed"),
        ("status=failed".into(), "failed"),
        ("status=active".into(), "shop blog"),
        ("status=creating".into(), ""),
        (format!("node_id={node}"), "shop"),
        (format!("node_id={other}&q=corner"), "blog"),
        ("unsaved=true".into(), ""),
        ("unsaved=false".into(), "shop blog failed"),
        ("q=&status=&node_id=&unsaved=&cursor=".into(), "shop blog failed"),
    ] {
        let page = panel.get(&format!("/sites?{query}")).await;
        assert_eq!(sites_shown(&page, &all), shown, "{query}");
    }
    for (id, _) in all {
        let mut row = panel.site_rows.find_site(id).unwrap();
        row.created_at = row.created_at.minus(Duration::from_secs(25 * 60 * 60));
        panel.site_rows.put_site(row);
    }
    panel.put_backup(blog, blog.environment, BackupScope::Full);
    let page = panel.get("/sites?unsaved=true").await;
    assert_eq!(sites_shown(&page, &all), "shop failed");
    let page = panel
        .get(&format!("/sites?q=third&status=failed&node_id={other}&unsaved=true"))
        .await;
    assert_eq!(sites_shown(&page, &all), "failed");
    page.assert_has(&[
        "name=\"q\" type=\"search\" value=\"third\"",
        "<option value=\"failed\" selected>Failed</option>",
        &format!("<option value=\"{other}\" selected>web-2</option>"),
        &format!("<option value=\"{node}\">web-1</option>"),
        "value=\"true\" checked",
        "Matching sites",
        "href=\"/sites\">All sites</a>",
        &format!("data-here=\"/sites?q=third&amp;status=failed&amp;node_id={other}&amp;unsaved=true\""),
        &format!("<a href=\"/jobs?site_id={}\">Jobs", failed.site),
    ]);
}

#[tokio::test]
async fn a_choice_of_sites_that_nothing_fits_says_so_and_leads_to_all() {
    let panel = Panel::new().await;
    let page = panel.get("/sites").await;
    assert!(
        page.has("No sites yet") && !page.has("id=\"filter-q\""),
        "nothing to choose from"
    );
    panel.shop().await;
    let gone = NodeId::generate();
    let page = panel.get(&format!("/sites?node_id={gone}")).await;
    page.assert_has(&[
        "No matching sites",
        "<a href=\"/sites\">Show all sites</a>",
        &format!("<option value=\"{gone}\" selected>gone ({gone})</option>"),
        "id=\"create-site\"",
    ]);
    assert!(!page.has("No sites yet"));
}

#[tokio::test]
async fn the_filter_of_sites_stays_over_its_pages() {
    let panel = Panel::new().await;
    let node = panel.ready_node("web-1").await;
    for number in 0..22 {
        let name = if number == 0 {
            "other".to_owned()
        } else {
            format!("Shop {number}.")
        };
        panel.site_on(node, &name, &format!("s-{number}")).await;
    }
    let first = panel.get("/sites?q=shop").await;
    assert_eq!(first.body.matches("data-site=").count(), 20);
    let next = format!(
        "/sites?q=shop&cursor={}",
        first.value_of("href=\"/sites?q=shop&amp;cursor=")
    );
    let second = panel.get(&next).await;
    assert_eq!(second.body.matches("data-site=").count(), 1);
    second.assert_has(&[
        "Shop 1.",
        &format!("data-here=\"{}\"", escaped(&next)),
        "<a href=\"/sites?q=shop\">Newest sites</a>",
    ]);
}

#[tokio::test]
async fn a_choice_that_there_cannot_be_is_refused_with_a_sentence() {
    let panel = Panel::new().await;
    panel.shop().await;
    let long = format!("q={}", "x".repeat(101));
    for (path, query, said) in [
        (
            "/nodes",
            "status=asleep",
            "There is no such status of a node. Go to all nodes at /nodes",
        ),
        ("/nodes", "status=decommissioned", "There is no such status of a node."),
        (
            "/nodes",
            "attention=1",
            "There is no such choice of what needs attention.",
        ),
        ("/nodes", "cursor=x", "There is no such page of the list."),
        ("/nodes", "q=a&q=b", "The filter could not be read."),
        (
            "/nodes",
            "q=%00",
            "That cannot be looked for: expected 1 to 100 characters and no control characters.",
        ),
        ("/nodes", &long, "That cannot be looked for"),
        (
            "/sites",
            "status=asleep",
            "There is no such status of a site. Go to all sites at /sites",
        ),
        ("/sites", "node_id=%3Cscript%3E", "There is no such id of a node."),
        ("/sites", "unsaved=1", "There is no such choice of what is not saved."),
        ("/sites", "cursor=x", "There is no such page of the list."),
        ("/sites", "q=a%0Ab", "That cannot be looked for"),
        ("/sites", &long, "That cannot be looked for"),
        ("/sites", "status=failed&status=active", "The filter could not be read."),
    ] {
        let page = panel.get(&format!("{path}?{query}")).await;
        assert_eq!(page.status, 400, "{path}?{query}");
        page.assert_has(&[said]);
        assert!(!page.has("<script>"));
    }
    for path in ["/nodes", "/sites"] {
        let page = panel.get(&format!("{path}?q={}", "%C3%9F".repeat(100))).await;
        assert_eq!(
            page.status, 200,
            "100 characters are looked for, whatever bytes they are of"
        );
    }
}

#[tokio::test]
async fn what_is_looked_for_is_shown_as_text() {
    let panel = Panel::new().await;
    let node = panel.ready_node(NASTY).await;
    let shop = panel.site_on(node, NASTY, "shop").await;
    for (path, found) in [
        ("/nodes", format!("data-node=\"{node}\"")),
        ("/sites", format!("data-site=\"{}\"", shop.site)),
    ] {
        let page = panel.get(&format!("{path}?q={}", encoded(NASTY))).await;
        assert_eq!(page.status, 200);
        assert!(page.has(&found), "{path} does not find it: {}", page.body);
        page.assert_has(&[&format!("type=\"search\" value=\"{}\"", escaped(NASTY))]);
        assert!(!page.has("<script>"), "{}", page.body);
        assert!(
            !page.value_of("data-here=\"").contains(['<', '#', '\'', ' ']),
            "{}",
            page.body
        );
        // The address that the page shows itself at is the same search.
        let here = page.value_of("data-here=\"").replace("&amp;", "&");
        assert!(panel.get(&here).await.has(&found), "{here}");
    }
    let page = panel.get(&format!("/nodes?q={}zzz", encoded(NASTY))).await;
    page.assert_has(&["No matching nodes", &format!("value=\"{}zzz\"", escaped(NASTY))]);
}

#[tokio::test]
async fn a_node_that_is_not_ready_can_be_chosen_for_its_sites_and_not_for_a_new_one() {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let mut node = panel.nodes.get(shop.node);
    node.status = NodeStatus::Unreachable;
    panel.nodes.put(node);
    let page = panel.get("/sites").await;
    page.assert_has(&[
        &format!("<option value=\"{}\">web-1</option>", shop.node),
        "No node is ready for a site.",
        &format!("href=\"/nodes/{}\"><bdi>web-1</bdi>", shop.node),
    ]);
    assert!(!page.has("id=\"create-site\"") && !page.has("data-ask"));
}
