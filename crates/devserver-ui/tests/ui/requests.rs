//! What can be asked for by forms.

use jobs::{JobStatus, Outcome};
use nodes_domain::NodeStatus;

use crate::panel::Panel;

#[tokio::test]
async fn a_local_node_is_created_with_or_without_a_name() {
    let panel = Panel::new().await;
    for form in [
        "acquisition_source=local&name=",
        "acquisition_source=local&name=+first+",
        "acquisition_source=local",
    ] {
        assert_eq!(panel.post("/nodes", form).await.location(), "/nodes");
    }
    let nodes = panel.nodes.all();
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(nodes.len(), 3);
    assert!(names[0].starts_with("node-") && names[1] == "first");
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_node() {
    let panel = Panel::new().await;
    let key = panel
        .get("/nodes")
        .await
        .value_of("name=\"form_key\" value=\"")
        .to_owned();
    let form = format!("acquisition_source=local&name=first&form_key={key}");
    for _ in 0..2 {
        assert_eq!(panel.post("/nodes", &form).await.location(), "/nodes");
    }
    assert_eq!(panel.nodes.all().len(), 1);
    // With another name it is another request, from the same page too.
    let other = form.replace("first", "second");
    assert_eq!(panel.post("/nodes", &other).await.location(), "/nodes");
    assert_eq!(panel.nodes.all().len(), 2);
}

#[tokio::test]
async fn a_bad_name_is_told_at_its_field_and_stays_there() {
    let panel = Panel::new().await;
    let name = "x".repeat(101);
    let answer = panel
        .post("/nodes", &format!("acquisition_source=local&name={name}"))
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text_of("id=\"name-error\""),
        "A node&#39;s name has 1 to 100 characters and no control characters."
    );
    answer.assert_has(&[
        &format!("value=\"{name}\""),
        "aria-invalid=\"true\" aria-describedby=\"name-error\"",
    ]);
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn a_form_of_no_source_or_of_both_is_refused_and_nothing_stands_in_for_it() {
    let panel = Panel::new().await;
    let unknown = "`acquisition_source`: expected `local` or `remote`.";
    for (form, alert) in [
        ("acquisition_source=cloud&name=first", unknown),
        ("acquisition_source=Local", unknown),
        ("name=first", unknown),
        ("", unknown),
        (
            "acquisition_source=local&hostname=web-1.example.test",
            "`hostname`: a local node has no such field.",
        ),
        (
            "acquisition_source=local&ssh_user=+",
            "`ssh_user`: a local node has no such field.",
        ),
        (
            "acquisition_source=local&ssh_port=22",
            "`ssh_port`: a local node has no such field.",
        ),
        (
            "acquisition_source=local&public_ip=x",
            "`public_ip`: a local node has no such field.",
        ),
        (
            "acquisition_source=local&host_key_fingerprint=x",
            "`host_key_fingerprint`: a local node has no such field.",
        ),
    ] {
        let answer = panel.post("/nodes", form).await;
        assert_eq!(answer.status, 400, "{form}");
        let pieces: Vec<_> = alert.split('`').collect();
        let shown: Vec<_> = pieces
            .iter()
            .enumerate()
            .map(|(at, piece)| {
                if at % 2 == 1 {
                    format!("<code>{piece}</code>")
                } else {
                    (*piece).to_owned()
                }
            })
            .collect();
        answer.assert_has(&[&format!("role=\"alert\" data-kept>{}</p>", shown.concat())]);
    }
    let both = "acquisition_source=local&acquisition_source=remote&hostname=web-1.example.test&ssh_user=root";
    assert_eq!(panel.post("/nodes", both).await.status, 400);
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn a_node_at_rest_is_provisioned_again() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("first").await;
    let claim = panel.claim().await;
    panel.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
    assert_eq!(
        panel.post(&format!("/nodes/{node}/provision"), "").await.location(),
        format!("/nodes/{node}")
    );
    assert_eq!(panel.nodes.get(node).status, NodeStatus::Provisioning);
    // While that job waits, another one is refused: the page says why.
    let again = panel.post(&format!("/nodes/{node}/provision"), "").await;
    assert_eq!(again.status, 409);
    assert!(
        again
            .alert()
            .contains("works on this node. Wait for its end or cancel it")
    );
    again.assert_has(&["<h1><bdi>first</bdi></h1>", &format!("data-here=\"/nodes/{node}\"")]);
}

#[tokio::test]
async fn deleting_says_what_will_be_destroyed_and_asks_first() {
    let panel = Panel::new().await;
    let (node, _) = panel.failed_node("first", "no").await;
    let ask = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    assert_eq!(ask.status, 200);
    ask.assert_has(&[
        "Delete <bdi>first</bdi>?",
        &format!("This destroys the machine <code>pressluft-{}</code>", node.short()),
        "It cannot be undone.",
        &format!("action=\"/nodes/{node}/delete\""),
    ]);
    assert_eq!(
        panel.nodes.get(node).status,
        NodeStatus::Failed,
        "asking changed something"
    );
    assert_eq!(
        panel.post(&format!("/nodes/{node}/delete"), "").await.location(),
        format!("/nodes/{node}")
    );
    assert_eq!(panel.nodes.get(node).status, NodeStatus::Decommissioning);

    let claim = panel.claim().await;
    panel
        .settle(&claim, node, Outcome::Succeeded, NodeStatus::Decommissioned)
        .await;
    let gone = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    assert!(gone.has("This node is deleted already.") && !gone.has("Delete this node"));
    // Its page still shows it, as gone; the list does not.
    let page = panel.get(&format!("/nodes/{node}")).await;
    page.assert_has(&[
        "data-status=\"decommissioned\" data-ready=\"false\"",
        "The machine is gone.",
    ]);
    assert!(!page.has(&format!("action=\"/nodes/{node}")) && !page.has("confirm=delete"));
    assert!(panel.get("/nodes").await.has("No nodes yet"));
    let again = panel.post(&format!("/nodes/{node}/delete"), "").await;
    assert_eq!(again.status, 409);
    assert_eq!(again.alert(), "The node is decommissioned already.");
}

#[tokio::test]
async fn a_node_that_a_job_works_on_is_not_deleted() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("first").await;
    panel.claim().await;
    let ask = panel.get(&format!("/nodes/{node}?confirm=delete")).await;
    ask.assert_has(&[&format!(
        "A job works on this node: <a href=\"/jobs/{job}\">Provisioning</a>, running. Wait"
    )]);
    assert!(!ask.has("Delete this node"));
    let answer = panel.post(&format!("/nodes/{node}/delete"), "").await;
    assert_eq!(answer.status, 409);
    answer.assert_has(&[&format!(
        "<p>Its job: <a href=\"/jobs/{job}\">Provisioning</a>, running.</p>"
    )]);
    assert_eq!(panel.nodes.get(node).status, NodeStatus::Provisioning);
}

#[tokio::test]
async fn a_job_is_cancelled_and_asked_for_again() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("first").await;
    let claim = panel.claim().await;
    assert_eq!(
        panel.post(&format!("/jobs/{job}/cancel"), "").await.location(),
        format!("/jobs/{job}")
    );
    assert!(panel.jobs.view(job).job.cancel_requested);
    let page = panel.get("/nodes").await;
    assert!(page.has("being cancelled") && !page.has("confirm=cancel"));

    panel.settle(&claim, node, Outcome::Cancelled, NodeStatus::Failed).await;
    let late = panel.post(&format!("/jobs/{job}/cancel"), "").await;
    assert_eq!(late.status, 409);
    assert!(late.alert().contains("has ended already"));
    // From here the scripts lead back to what a `GET` serves.
    assert_eq!(late.value_of("data-here=\""), format!("/jobs/{job}"));

    let retried = panel.post(&format!("/jobs/{job}/retry"), "").await;
    let claim = panel.claim().await;
    assert_ne!(claim.job_id, job);
    assert_eq!(retried.location(), format!("/jobs/{}", claim.job_id));
    assert_eq!(panel.jobs.view(claim.job_id).job.status, JobStatus::Running);
    assert_eq!(
        panel.post(&format!("/jobs/{}/retry", claim.job_id), "").await.status,
        409
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_page_that_says_so() {
    let panel = Panel::new().await;
    let unknown = domain_kernel::NodeId::generate();
    for path in [
        format!("/nodes/{unknown}/provision"),
        format!("/nodes/{unknown}/delete"),
        format!("/nodes/{unknown}/check"),
        "/nodes/x/check".to_owned(),
        "/nodes/x/delete".to_owned(),
        format!("/jobs/{unknown}/cancel"),
        "/jobs/x/retry".to_owned(),
    ] {
        let answer = panel.post(&path, "").await;
        assert_eq!(answer.status, 404, "{path}");
        answer.assert_has(&["<h1>Not found</h1>", "There is no such "]);
    }
}
