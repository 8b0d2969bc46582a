//! A remote node: its row, its page, the host key that is pinned by hand there, and what its deletion says.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{Failure, JobStatus, JobStore, Outcome};
use nodes_domain::{HostKey, Node, NodeStatus, NodeTarget, ProbeFacts, ProbeResult, SshError, readiness};
use test_support::fake_host_key;

use crate::panel::{Answer, Panel, escaped, key_line};

#[tokio::test]
async fn the_row_of_a_remote_node_says_how_it_is_reached_and_which_key_is_pinned() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_remote("web-1.example.test").await;
    let facts = [
        "<dd>Remote, <bdi>ssh</bdi></dd>",
        "<dt>Host</dt><dd><bdi class=\"code\">web-1.example.test</bdi></dd>",
        "<dt>SSH port</dt><dd><span class=\"code\">2222</span></dd>",
        "<dt>SSH user</dt><dd><bdi class=\"code\">deploy</bdi></dd>",
    ];
    let page = panel.get(&format!("/nodes/{node}")).await;
    page.assert_has(&facts);
    page.assert_has(&["<dt>Pinned host key</dt><dd><span class=\"none\">none yet</span></dd>"]);

    let mut known = panel.nodes.get(node);
    let given = fake_host_key("given").fingerprint().unwrap();
    known.remote.as_mut().unwrap().host_key_fingerprint = Some(given.clone());
    panel.nodes.put(known.clone());
    let expected = format!("<dt>Expected host key</dt><dd><span class=\"code\">{given}</span></dd>");
    panel.get(&format!("/nodes/{node}")).await.assert_has(&[&expected]);
    // The row has what tells nodes apart.
    let row = panel.get("/nodes").await;
    row.assert_has(&[facts[0], facts[1]]);
    assert!(!row.has("host key</dt>"));

    known.target = Some(target(fake_host_key("seen")));
    panel.nodes.put(known);
    let seen = fake_host_key("seen").fingerprint().unwrap();
    let page = panel.get(&format!("/nodes/{node}")).await;
    page.assert_has(&facts);
    page.assert_has(&[&format!(
        "<dt>Pinned host key</dt><dd><span class=\"code\">{seen}</span></dd>"
    )]);
}

fn target(host_key: HostKey) -> NodeTarget {
    NodeTarget {
        hostname: "web-1.example.test".to_owned(),
        public_ip: None,
        ssh_port: 2222,
        ssh_user: "deploy".to_owned(),
        ssh_private_key_path: "key".into(),
        host_key,
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_key_shows_the_line_until_the_key_is_there() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_remote("web-1.example.test").await;
    let line = key_line().await;
    let detail = format!("deploy@web-1.example.test does not take Pressluft's key yet. Run there: `{line}`.");
    let wait = format!(
        "does not take Pressluft&#39;s key yet. Run there:<code class=\"command\">{}</code></bdi></p>",
        escaped(&line)
    );
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    let row = panel.get(&format!("/nodes/{node}")).await;
    assert!(!row.has("class=\"command\""), "nothing waits yet");
    panel.park(&claim, node, "inject_key", &detail).await;
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        &wait,
        &format!("id=\"job-{job}\" data-job-status=\"queued\""),
        "data-tone=\"queued\">waiting</span>",
        &format!("data-copy=\"#wait-{} .command\"", node.short()),
        "Next look at <time datetime=\"2030-01-01T00:00:30Z\" title=\"2030-01-01 00:00:30 UTC\">00:00:30 UTC</time>.",
        &format!("href=\"/jobs/{job}?confirm=cancel\""),
        &format!("href=\"/nodes/{node}?confirm=delete\""),
    ]);
    assert!(!page.has("It starts"));
    let waiting = wait_part(&panel.get(&format!("/nodes/{node}")).await);

    // While it looks again, an open page keeps what is being copied: that part of the row is the same.
    panel.clock.advance(Duration::from_secs(30));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    let row = panel.get(&format!("/nodes/{node}")).await;
    row.assert_has(&["data-job-status=\"running\""]);
    assert_eq!(wait_part(&row), waiting);
    assert_eq!(wait_part(&panel.get("/nodes").await), waiting);
    assert!(!row.has("Next look at"));

    let given_up = Failure::new(JobErrorCode::SshAuthRejected, detail);
    panel.fail(&claim, node, "inject_key", given_up).await;
    let row = panel.get(&format!("/nodes/{node}")).await;
    assert!(!row.has("class=\"wait\""));
    row.assert_has(&[
        "data-error=\"SSH_AUTH_REJECTED\"",
        &format!("<code class=\"command\">{}</code> <span", escaped(&line)),
        "Run on the machine, as the login user, the line that <code>GET /api/ssh-key</code> and the page show",
    ]);
}

fn wait_part(row: &Answer) -> String {
    let (_, rest) = row.body.split_once("class=\"wait\"").unwrap();
    rest.split("</div>").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_line_that_is_not_pressluft_s_own_is_shown_as_it_was_told() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_remote("web-1.example.test").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    panel.park(&claim, node, "inject_key", "waits for `somebody`").await;
    panel
        .get("/nodes")
        .await
        .assert_has(&["<bdi>waits for <code>somebody</code></bdi>"]);
}

/// A remote node whose machine showed another host key than the pinned one.
async fn mismatched(panel: &Panel) -> Node {
    let (node, _) = panel.create_remote("web-1.example.test").await;
    let claim = panel.claim().await;
    let failure = Failure::new(JobErrorCode::SshHostKeyMismatch, "It shows another one.");
    panel.fail(&claim, node, "acquire", failure).await;
    let mut known = panel.nodes.get(node);
    known.target = Some(target(fake_host_key("old")));
    panel.nodes.put(known.clone());
    known
}

#[tokio::test]
async fn another_host_key_is_pinned_by_its_fingerprint_where_the_machine_shows_it() {
    let panel = Panel::new().await;
    let node = mismatched(&panel).await;
    let path = format!("/nodes/{}/host-key", node.id);
    let place = format!("/nodes/{}", node.id);
    // The row leads to the form.
    panel
        .get("/nodes")
        .await
        .assert_has(&[&format!("href=\"{place}#pin\"")]);
    let page = panel.get(&place).await;
    page.assert_has(&[
        &format!("action=\"{path}\""),
        "Pin another host key",
        "only if you know why it changed",
        "SSH_HOST_KEY_MISMATCH",
    ]);

    let pin = |host_key: &HostKey| {
        let fingerprint = host_key.fingerprint().unwrap().to_string();
        format!("fingerprint=+{}", fingerprint.replace('+', "%2B"))
    };
    let new = fake_host_key("new");
    let silent = panel.post(&path, &pin(&new)).await;
    assert_eq!(silent.status, 502);
    assert_eq!(
        silent.alert(),
        "The machine does not answer: the connection was refused"
    );

    panel.host_keys.show("web-1.example.test", 2222, [new.clone()]);
    let other = panel.post(&path, &pin(&fake_host_key("nobody"))).await;
    assert_eq!(other.status, 409);
    assert!(other.alert().starts_with("The machine shows other host keys: SHA256:"));
    let malformed = panel.post(&path, "fingerprint=MD5:aa").await;
    assert_eq!(malformed.status, 400);
    assert!(
        malformed
            .alert()
            .starts_with("fingerprint: expected SHA256: and 43 characters")
    );
    // What was typed stays, and the form with it while the page goes on.
    malformed.assert_has(&["value=\"MD5:aa\"", "/host-key\" data-kept=\"used\">"]);
    assert_eq!(panel.post(&path, "").await.status, 400);
    assert_eq!(panel.nodes.get(node.id).target.unwrap().host_key, fake_host_key("old"));

    assert_eq!(panel.post(&path, &pin(&new)).await.location(), place);
    assert_eq!(panel.nodes.get(node.id).target.unwrap().host_key, new);
    let shown = new.fingerprint().unwrap();
    panel.get(&place).await.assert_has(&[&format!(
        "<dt>Pinned host key</dt><dd><span class=\"code\">{shown}</span></dd>"
    )]);
    assert_eq!(panel.post("/nodes/x/host-key", &pin(&new)).await.status, 404);
}

#[tokio::test]
async fn a_host_key_is_offered_to_be_pinned_only_where_one_changed_on_an_idle_remote_node() {
    let panel = Panel::new().await;
    let form_of = |node: &nodes_domain::Node| format!("action=\"/nodes/{}/host-key\"", node.id);
    let offers = async |node: &nodes_domain::Node| panel.get(&format!("/nodes/{}", node.id)).await.has(&form_of(node));
    let mut node = mismatched(&panel).await;
    assert!(offers(&node).await);
    // By what the last look saw, too, whatever the newest job says.
    assert_eq!(
        panel
            .post(&format!("/nodes/{}/provision", node.id), "")
            .await
            .location(),
        format!("/nodes/{}", node.id)
    );
    let claim = panel.claim().await;
    panel
        .settle(&claim, node.id, Outcome::Succeeded, NodeStatus::Active)
        .await;
    assert_eq!(panel.jobs.view(claim.job_id).job.status, JobStatus::Succeeded);
    assert!(!offers(&node).await);
    node = panel.nodes.get(node.id);
    let facts = ProbeFacts {
        result: ProbeResult::NoLogin(SshError::HostKeyMismatch),
        evidence: Vec::new(),
        checked_at: node.created_at,
    };
    node.readiness = Some(readiness(&node, node.status, Some(&facts), node.created_at));
    panel.nodes.put(node.clone());
    assert!(offers(&node).await);
    let gone = Node {
        status: NodeStatus::Decommissioned,
        ..node.clone()
    };
    panel.nodes.put(gone);
    assert!(!offers(&node).await, "a node that is gone");
    panel.nodes.put(node.clone());
    assert_eq!(
        panel
            .post(&format!("/nodes/{}/provision", node.id), "")
            .await
            .location(),
        format!("/nodes/{}", node.id)
    );
    assert!(!offers(&node).await, "a job is at work");
    let claim = panel.claim().await;
    panel
        .settle(&claim, node.id, Outcome::Succeeded, NodeStatus::Active)
        .await;

    let (local, _) = panel.create_node("local").await;
    let claim = panel.claim().await;
    let failure = Failure::new(JobErrorCode::SshHostKeyMismatch, "It shows another one.");
    panel.fail(&claim, local, "acquire", failure).await;
    assert!(!offers(&panel.nodes.get(local)).await, "a local node");
}

#[tokio::test]
async fn deleting_a_remote_node_says_that_its_machine_stays() {
    let panel = Panel::new().await;
    let node = mismatched(&panel).await;
    let ask = panel.get(&format!("/nodes/{}?confirm=delete", node.id)).await;
    ask.assert_has(&[
        "Nothing on the machine <code>web-1.example.test</code> is destroyed",
        "Pressluft's key line is removed from the authorized_keys of <code>deploy</code>",
        "the software that was installed stays",
        "Delete this node",
    ]);
    assert!(!ask.has("This destroys the machine"));
    assert_eq!(
        panel.post(&format!("/nodes/{}/delete", node.id), "").await.location(),
        format!("/nodes/{}", node.id)
    );
    let claim = panel.claim().await;
    panel
        .settle(&claim, node.id, Outcome::Succeeded, NodeStatus::Decommissioned)
        .await;
    let row = panel.get(&format!("/nodes/{}", node.id)).await;
    row.assert_has(&["Pressluft has let go of the machine, which stays as it is."]);
    assert!(!row.has("The machine is gone."));
}
