//! The page of a node.

use std::time::Duration;

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, JobStore, LogStream, NewEvent, Outcome};
use nodes_domain::{Instance, NodeStatus, ProbeFacts, ProbeResult, RuntimeCheck, SshError, readiness};

use crate::panel::Panel;

fn place(node: NodeId) -> String {
    format!("/nodes/{node}")
}

#[tokio::test]
async fn a_nodes_page_says_what_it_is_whether_it_is_ready_and_what_was_checked() {
    let panel = Panel::new().await;
    let (node, job) = panel.active_node("first").await;
    panel.make_ready(node);
    panel.clock.advance(Duration::from_secs(120));
    let page = panel.get(&place(node)).await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "<title>first · Pressluft</title>",
        "<h1><bdi>first</bdi></h1>",
        &format!("data-here=\"/nodes/{node}\""),
        "<a href=\"/nodes\" aria-current=\"page\">",
        "data-status=\"active\" data-ready=\"true\"",
        &format!(
            "<dt>Machine</dt><dd><span class=\"code\">pressluft-{}</span>",
            node.short()
        ),
        "<bdi class=\"code\">10.0.0.2</bdi>",
        "<dt>Pinned host key</dt><dd><span class=\"code\">SHA256:",
        "Ready for sites",
        "data-check=\"login\"",
        "<bdi class=\"code\">true</bdi>",
        "<span class=\"code\">0</span>",
        "<bdi class=\"code\">welcome</bdi>",
        "<dt>Last seen</dt><dd><time datetime=\"2030-01-01T00:00:00Z\" title=\"2030-01-01 00:00:00 UTC\" data-relative>2 minutes ago</time></dd>",
        &format!("href=\"/jobs/{job}\""),
        "data-job-status=\"succeeded\"",
        &format!("href=\"/jobs?node_id={node}\""),
        &format!("action=\"/nodes/{node}/check\""),
        &format!("action=\"/nodes/{node}/provision\""),
        &format!("href=\"/nodes/{node}?confirm=delete\" data-opens-dialog"),
        "<a href=\"/sites\">Create a site</a>",
    ]);
    panel
        .get("/nodes")
        .await
        .assert_has(&["<dt>Last seen</dt><dd><time ", ">2 minutes ago</time></dd>"]);
    assert!(!page.has("/retry\"") && !page.has("confirm=cancel") && !page.has("Not ready"));
}

#[tokio::test]
async fn a_node_that_is_not_ready_shows_each_reason_and_the_check_that_failed() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    let mut known = panel.nodes.get(node);
    let evidence = known.readiness.as_ref().unwrap().evidence[0].clone();
    let facts = ProbeFacts {
        result: ProbeResult::LoggedIn {
            sudo: true,
            runtime: vec![RuntimeCheck {
                name: "nginx".to_owned(),
                works: false,
            }],
        },
        evidence: vec![
            nodes_domain::CheckEvidence {
                check: "nginx".to_owned(),
                command: "systemctl is-active nginx".to_owned(),
                exit_status: Some(3),
                output: "inactive".to_owned(),
                ..evidence.clone()
            },
            nodes_domain::CheckEvidence {
                check: "redis".to_owned(),
                exit_status: None,
                output: String::new(),
                ..evidence
            },
        ],
        checked_at: known.created_at,
    };
    known.readiness = Some(readiness(&known, known.status, Some(&facts), known.created_at));
    panel.nodes.put(known);
    panel.get(&place(node)).await.assert_has(&[
        "data-reason=\"runtime_missing\"",
        "Missing: nginx.",
        "data-key=\"evidence\" open",
        "systemctl is-active nginx",
        "<span class=\"code\">3</span>",
        "<bdi class=\"code\">inactive</bdi>",
        "did not run",
    ]);
    // The list has the reason, and leaves what was checked to this page.
    let list = panel.get("/nodes").await;
    assert!(list.has("data-reason=\"runtime_missing\"") && !list.has("systemctl is-active"));
}

#[tokio::test]
async fn a_check_on_request_is_kept_and_shown() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    panel.clock.advance(Duration::from_secs(60));
    // A machine of that name, but not the one that was pinned.
    let machines = panel.provider.machines();
    machines.insert(&Instance::of(node), [10, 0, 0, 2].into());
    let check = format!("/nodes/{node}/check");
    assert_eq!(panel.post(&check, "").await.location(), place(node));
    let page = panel.get(&place(node)).await;
    page.assert_has(&[
        "data-status=\"unreachable\"",
        "data-reason=\"host_key_mismatch\"",
        "data-check=\"login\"",
    ]);
    assert!(!page.has("It is not kept"));
    assert_eq!(panel.ask("GET", &check).send().await.status, 405);
}

#[tokio::test]
async fn a_single_look_without_an_answer_is_shown_and_does_not_count_yet() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    panel.clock.advance(Duration::from_secs(60));
    let answer = panel.post(&format!("/nodes/{node}/check"), "").await;
    assert_eq!(answer.status, 200);
    answer.assert_has(&[
        "It is not kept",
        "data-ready=\"false\"",
        "data-reason=\"node_unreachable\"",
    ]);
    panel.get(&place(node)).await.assert_has(&["data-ready=\"true\""]);
}

#[tokio::test]
async fn what_a_check_sees_of_a_node_that_a_job_works_on_is_shown_and_said_not_to_be_kept() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    panel.post(&format!("/nodes/{node}/provision"), "").await.location();
    panel.clock.advance(Duration::from_secs(60));
    let before = panel.nodes.get(node).readiness;
    let answer = panel.post(&format!("/nodes/{node}/check"), "").await;
    assert_eq!(answer.status, 200);
    answer.assert_has(&[
        "It is not kept",
        "data-reason=\"node_unreachable\"",
        &format!("data-here=\"/nodes/{node}\""),
    ]);
    assert_eq!(panel.nodes.get(node).readiness, before);
    assert!(!panel.get(&place(node)).await.has("It is not kept"));
}

#[tokio::test]
async fn a_node_that_was_never_looked_at_says_when_it_will_be() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("first").await;
    let page = panel.get(&place(node)).await;
    page.assert_has(&[
        "It was not looked at yet.",
        "None yet. They are made on <a href=\"/sites\">the page of sites</a>, on nodes that are ready.",
        &format!("href=\"/jobs/{job}?confirm=cancel\" data-opens-dialog"),
        "None yet. Other jobs of the node and those of sites on it will stand here.",
    ]);
    assert!(!page.has("/check\"") && !page.has("<table"));
    page.assert_has(&["Its status is provisioning: wait for the end of its job."]);
}

#[tokio::test]
async fn a_failed_node_that_was_never_looked_at_is_not_told_to_wait() {
    let panel = Panel::new().await;
    let (node, _) = panel.failed_node("first", "no").await;
    let page = panel.get(&place(node)).await;
    page.assert_has(&[
        "It was not looked at. The newest job says why it did not come to that: retry it, or delete the node.",
        "Its status is failed: see why its last job did not succeed, then retry it, or delete the node.",
        "where that did not succeed, retry it.",
    ]);
    for untrue in ["Wait for its", "wait for the end", "looked at yet"] {
        assert!(!page.has(untrue), "{untrue} in {}", page.body);
    }
}

#[tokio::test]
async fn sites_on_a_node_are_listed_and_keep_it_from_being_deleted() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    let shop = panel.create_site("Shop & Sons", node).await;
    let blog = panel.create_site("Blog", node).await;
    let links = [
        format!("href=\"/sites/{}\"><bdi>Shop &amp; Sons</bdi></a>", shop.site_id),
        format!("href=\"/sites/{}\"><bdi>Blog</bdi></a>", blog.site_id),
    ];
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    let page = panel.get(&place(node)).await;
    page.assert_has(&links);
    page.assert_has(&["<td>Production</td>", "<td>Being created</td>"]);

    let ask = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    ask.assert_has(&links);
    ask.assert_has(&["data-asks", "Not yet: sites live on this node."]);
    assert!(!ask.has("Delete this node"));

    let refused = panel.post(&format!("/nodes/{node}/delete"), "").await;
    assert_eq!(refused.status, 409);
    let alert = refused.body.split("role=\"alert\"").nth(1).unwrap();
    let alert = alert.split("</div>").next().unwrap();
    assert!(alert.contains("2 environments live on this node."), "{alert}");
    assert!(links.iter().all(|link| alert.contains(link)), "{alert}");
    assert_eq!(panel.nodes.get(node).status, NodeStatus::Active);
}

#[tokio::test]
async fn jobs_of_the_node_and_of_its_sites_are_listed_newest_first_without_the_one_above() {
    let panel = Panel::new().await;
    let (node, first) = panel.failed_node("first", "no").await;
    panel.post(&format!("/nodes/{node}/provision"), "").await.location();
    let claim = panel.claim().await;
    panel.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
    panel.make_ready(node);
    let site = panel.create_site("Shop", node).await;
    let page = panel.get(&place(node)).await;
    let (above, list) = page.body.split_once("Other jobs").unwrap();
    assert!(above.contains(&format!("id=\"job-{}\"", claim.job_id)));
    let ids: Vec<_> = list
        .split("<li data-key=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids, [site.job_id.to_string(), first.to_string()]);
    assert!(list.contains(&format!(
        "Site: <a href=\"/sites/{}\"><bdi>Shop</bdi></a>",
        site.site_id
    )));
    // No id stands twice.
    assert_eq!(page.body.matches(&format!("id=\"job-{}\"", claim.job_id)).count(), 1);
}

#[tokio::test]
async fn what_a_job_said_is_on_the_jobs_page_and_not_here() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("first").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel
        .tell(&claim, NewEvent::log("acquire", LogStream::Stdout, "a line"))
        .await;
    let page = panel.get(&place(node)).await;
    page.assert_has(&["step 1 of 6: Get the machine"]);
    assert!(!page.has("a line") && !page.has("data-events"));
}

#[tokio::test]
async fn a_failed_deletion_is_retried_as_such() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.post(&format!("/nodes/{node}/delete"), "").await.location();
    let claim = panel.claim().await;
    let failure = Failure::new(JobErrorCode::NodeReleaseFailed, "a mount is left");
    panel.fail(&claim, node, "release", failure).await;
    for path in ["/nodes".to_owned(), place(node)] {
        panel.get(&path).await.assert_has(&[
            "Retry deletion",
            "NODE_RELEASE_FAILED",
            "A mount is left.",
            &format!("action=\"/jobs/{}/retry\"", claim.job_id),
            &format!("action=\"/nodes/{node}/provision\""),
        ]);
    }
}

#[tokio::test]
async fn a_deletion_says_that_the_job_that_waits_is_cancelled() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("first").await;
    let ask = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    ask.assert_has(&["The job that waits for its turn is cancelled.", "Delete this node"]);
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("second").await;
    let ask = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    assert!(!ask.has("is cancelled"));
}

#[tokio::test]
async fn an_unreachable_node_says_so() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    let mut known = panel.nodes.get(node);
    known.status = NodeStatus::Unreachable;
    let facts = ProbeFacts {
        result: ProbeResult::NoLogin(SshError::Refused),
        evidence: Vec::new(),
        checked_at: known.created_at,
    };
    known.readiness = Some(readiness(&known, known.status, Some(&facts), known.created_at));
    panel.nodes.put(known);
    panel.get(&place(node)).await.assert_has(&[
        "Unreachable</p>",
        "data-reason=\"node_unreachable\"",
        "Looked at <time",
        ">first: Unreachable, not ready.</span>",
    ]);
}

#[tokio::test]
async fn a_node_that_is_not_there_is_a_page_that_says_so() {
    let panel = Panel::new().await;
    let unknown = NodeId::generate();
    for path in [
        place(unknown),
        "/nodes/x".to_owned(),
        format!("/nodes/{unknown}?confirm=delete"),
    ] {
        let answer = panel.get(&path).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.assert_has(&["<h1>Not found</h1>", "There is no such node."]);
    }
    let (node, _) = panel.create_node("first").await;
    for path in ["row", "provision/x"] {
        assert_eq!(panel.get(&format!("/nodes/{node}/{path}")).await.status, 404, "{path}");
    }
    for path in ["delete", "provision", "host-key"] {
        let answer = panel.get(&format!("/nodes/{node}/{path}")).await;
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("POST")), "{path}");
    }
}
