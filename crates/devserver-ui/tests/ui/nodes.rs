//! The list of nodes.

use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::{Failure, JobStore, LogStream, NewEvent, Outcome, StepStatus};
use nodes_domain::{Capability, NodeStatus, Unavailable};

use test_support::{Fault, ProviderMethod};

use crate::panel::{Answer, Panel};

#[tokio::test]
async fn an_empty_list_teaches_the_next_step_and_offers_two_ways_to_create() {
    let panel = Panel::new().await;
    let page = panel.get("/nodes").await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "No nodes yet",
        "Press <b>Create Local Node</b>",
        "<code>fake</code>",
        "data-after=\"0\"",
    ]);
    page.assert_has(&["A host of yours, reached over SSH."]);
    let buttons = page
        .body
        .split("<button")
        .skip(1)
        .filter_map(|button| button.split("</button>").next());
    let creating: Vec<_> = buttons.filter(|button| button.contains("Create ")).collect();
    assert_eq!(creating.len(), 2);
    assert!(creating[0].ends_with(">Create Local Node") && !creating[0].contains("disabled"));
    assert!(creating[1].ends_with(">Create Remote Node") && !creating[1].contains("disabled"));
    assert!(!page.has("data-nodes"), "an empty list");
}

#[tokio::test]
async fn an_unavailable_provider_says_why_and_what_to_run_before_anything_is_sent() {
    let panel = Panel::new().await;
    panel.provider.set_capability(Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalProviderUnavailable,
        reason: "`multipass` is not on the PATH".to_owned(),
        remedy: "install it with `snap install multipass`".to_owned(),
    }));
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        "<code>multipass</code> is not on the PATH.",
        "Install it with <code>snap install multipass</code>.",
        "LOCAL_PROVIDER_UNAVAILABLE",
        "aria-describedby=\"local-obstacle\" aria-disabled=\"true\">Create Local Node",
    ]);
    // The button can be reached and read; a form that is sent nevertheless is answered by the same reason.
    let answer = panel.post("/nodes", "acquisition_source=local").await;
    assert_eq!(answer.status, 409);
    answer.assert_has(&[
        "Not possible on this host now. <code>multipass</code> is not on the PATH. Next: Install it with",
    ]);
    assert!(panel.nodes.all().is_empty());
}

#[tokio::test]
async fn a_provider_is_looked_at_anew_after_a_few_seconds() {
    let panel = Panel::new().await;
    for _ in 0..3 {
        panel.get("/nodes").await;
    }
    assert_eq!(panel.provider.count(ProviderMethod::Capability), 1);
    panel.clock.advance(Duration::from_secs(5));
    panel.get("/nodes").await;
    assert_eq!(panel.provider.count(ProviderMethod::Capability), 2);
}

/// What the list shows to one who is as patient as a page.
async fn list_after_patience(panel: &Panel) -> Answer {
    let patience = Duration::from_millis(300);
    let waits = || panel.clock.sleeps().iter().filter(|wait| **wait == patience).count();
    let before = waits();
    let (page, ()) = tokio::join!(panel.get("/nodes"), async {
        // Until the request has come to its wait.
        while waits() == before {
            tokio::task::yield_now().await;
        }
        panel.clock.advance(patience);
    });
    page
}

#[tokio::test]
async fn a_provider_that_does_not_answer_delays_no_page_and_shows_once_it_answers() {
    let panel = Panel::new().await;
    panel
        .provider
        .fail_always(ProviderMethod::Capability, Fault::WaitsUntilStopped);
    for _ in 0..3 {
        let page = list_after_patience(&panel).await;
        assert_eq!(page.status, 200);
        page.assert_has(&[
            "Pressluft is looking whether the provider can work.",
            "aria-describedby=\"local-unknown\">Create Local Node",
        ]);
    }
    assert_eq!(
        panel.provider.count(ProviderMethod::Capability),
        1,
        "one look at a time"
    );

    panel.clock.advance(Duration::from_secs(15));
    let page = panel.get("/nodes").await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "Pressluft could not find out whether the provider can work.",
        "No answer within 15 s.",
        "aria-describedby=\"local-unknown\">Create Local Node",
    ]);
    // What was seen is good from the end of the look on, not from its beginning.
    panel.provider.heal();
    panel.clock.advance(Duration::from_secs(4));
    panel.get("/nodes").await;
    assert_eq!(panel.provider.count(ProviderMethod::Capability), 1);

    panel.clock.advance(Duration::from_secs(1));
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        "the provider <code>fake</code>",
        "aria-describedby=\"local-what\">Create",
    ]);
    assert!(!page.has("local-unknown"));
}

#[tokio::test]
async fn a_look_that_takes_long_leaves_the_last_answer_on_the_page() {
    let panel = Panel::new().await;
    panel.get("/nodes").await.assert_has(&["<code>fake</code>"]);
    panel
        .provider
        .fail_always(ProviderMethod::Capability, Fault::WaitsUntilStopped);
    panel.clock.advance(Duration::from_secs(5));
    let page = list_after_patience(&panel).await;
    page.assert_has(&["<code>fake</code>"]);
    assert!(!page.has("local-unknown"));
}

#[tokio::test]
async fn a_provider_that_takes_too_long_is_told_as_an_obstacle() {
    let panel = Panel::new().await;
    panel
        .provider
        .fail_always(ProviderMethod::Capability, Fault::TakesTooLong);
    let page = panel.get("/nodes").await;
    assert_eq!(page.status, 200);
    page.assert_has(&["No answer within 10 s.", "LOCAL_PROVIDER_NOT_RESPONDING"]);
}

#[tokio::test]
async fn a_row_tells_of_a_job_at_work_and_leaves_its_log_to_the_jobs_page() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("first").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(Duration::from_secs(3));
    let detail = Some("pressluft-x at 10.0.0.2");
    panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Succeeded, detail)
        .await
        .unwrap();
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    let line = panel
        .tell(&claim, NewEvent::log("inject_key", LogStream::Stdout, "a line"))
        .await;

    let page = panel.get("/nodes").await;
    page.assert_has(&[
        &format!("data-node=\"{node}\" data-status=\"provisioning\" data-ready=\"false\""),
        &format!("<h3><a href=\"/nodes/{node}\"><bdi>first</bdi></a></h3>"),
        &format!("data-after=\"{line}\""),
        &format!("href=\"/jobs/{job}\""),
        "data-job-status=\"running\"",
        "step 2 of 6: Add Pressluft&#39;s SSH key",
        "data-running-since=\"2030-01-01T00:00:00Z\"",
        "Its status is provisioning: wait for the end of its job.",
        "node_status_not_active",
        "data-say=\"node-",
        ">first: Provisioning, not ready.</span>",
    ]);
    // What can be asked for now: to cancel, which asks first, and nothing that needs a node at rest.
    page.assert_has(&[&format!("href=\"/jobs/{job}?confirm=cancel\" data-opens-dialog")]);
    assert!(!page.has("/provision\"") && !page.has("/retry\"") && !page.has("confirm=delete"));
    assert!(!page.has("a line") && !page.has("data-events") && !page.has("data-step="));
}

#[tokio::test]
async fn a_failed_job_tells_its_code_what_happened_and_what_to_do() {
    let panel = Panel::new().await;
    let (node, job) = panel.failed_node("first", "`multipass` is not on the PATH").await;
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        &format!("data-node=\"{node}\" data-status=\"failed\" data-ready=\"false\""),
        "data-error=\"LOCAL_PROVIDER_UNAVAILABLE\"",
        "The local provider cannot run on this host. <code>multipass</code> is not on the PATH.",
        "Run <code>pressluft doctor</code>: it names what is missing",
        &format!("action=\"/jobs/{job}/retry\""),
        &format!("href=\"/nodes/{node}?confirm=delete\" data-opens-dialog"),
    ]);
    // `Retry` is to provision again; there is one button for it.
    assert!(!page.has("/provision\"") && !page.has("confirm=cancel"));
}

#[tokio::test]
async fn a_ready_node_is_ready_and_its_job_is_out_of_the_way() {
    let panel = Panel::new().await;
    let (node, job) = panel.active_node("first").await;
    let page = panel.get("/nodes").await;
    // Active without an address is not ready: the row follows the rule and not the status.
    page.assert_has(&["data-status=\"active\" data-ready=\"false\"", "node_host_missing"]);
    page.assert_has(&[
        &format!("action=\"/nodes/{node}/provision\""),
        &format!("href=\"/nodes/{node}?confirm=delete\""),
    ]);
    assert!(!page.has("/retry\"") && !page.has("confirm=cancel"));
    assert!(!page.has(&job.to_string()), "the job that is done");

    panel.make_ready(node);
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        "data-status=\"active\" data-ready=\"true\"",
        "Ready for sites",
        "<dd><bdi class=\"code\">10.0.0.2</bdi></dd>",
        ">first: Active, ready.</span>",
        &format!("action=\"/nodes/{node}/check\""),
    ]);
    assert!(!page.has("Not ready"));
}

#[tokio::test]
async fn a_row_says_how_many_environments_live_on_its_node() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("first").await;
    panel.make_ready(node);
    let none = panel.get("/nodes").await;
    none.assert_has(&["<dt>Sites on it</dt><dd><span class=\"none\">none</span></dd>"]);
    panel.create_site("Shop", node).await;
    let one = panel.get("/nodes").await;
    assert_eq!(one.text_of(&format!("href=\"/nodes/{node}#sites\"")), "1 environment");
    panel.create_site("Blog", node).await;
    let two = panel.get("/nodes").await;
    assert_eq!(two.text_of(&format!("href=\"/nodes/{node}#sites\"")), "2 environments");
}

#[tokio::test]
async fn a_new_attempt_says_when_it_starts_and_why_the_last_one_failed() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("first").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Failed, None)
        .await
        .unwrap();
    let retry = Outcome::Retry {
        failure: Failure::new(JobErrorCode::LocalAcquisitionTimeout, "No address yet"),
        run_after: domain_kernel::Clock::now(panel.clock.as_ref()).plus(Duration::from_secs(60)),
    };
    panel.settle(&claim, node, retry, NodeStatus::Provisioning).await;
    for path in ["/nodes".to_owned(), format!("/nodes/{node}")] {
        let waits = panel.get(&path).await;
        waits.assert_has(&[
            "waiting for its next attempt",
            "Attempt 2 of 3. It starts <time",
            ">in 1 minute</time>",
            "LOCAL_ACQUISITION_TIMEOUT",
        ]);
    }
    panel.clock.advance(Duration::from_secs(61));
    panel.claim().await;
    let runs = panel.get("/nodes").await;
    runs.assert_has(&["Attempt 2 of 3.</p>", "LOCAL_ACQUISITION_TIMEOUT"]);
}

#[tokio::test]
async fn times_are_relative_with_the_exact_one_beside() {
    let panel = Panel::new().await;
    panel.create_node("first").await;
    panel.clock.advance(Duration::from_secs(300));
    let page = panel.get("/nodes").await;
    page.assert_has(&[
        "<time datetime=\"2030-01-01T00:00:00Z\" title=\"2030-01-01 00:00:00 UTC\" data-relative>5 minutes ago</time>",
        "<dt>Last seen</dt><dd><span class=\"none\">never</span></dd>",
        "data-now=\"2030-01-01T00:05:00Z\"",
    ]);
}

#[tokio::test]
async fn the_list_goes_on_on_further_pages() {
    let panel = Panel::new().await;
    for number in 0..21 {
        panel.create_node(&format!("number {number}.")).await;
    }
    let first = panel.get("/nodes").await;
    assert_eq!(first.body.matches("data-node=").count(), 20);
    assert!(first.has("number 20.") && !first.has("number 0."));
    first.assert_has(&["data-here=\"/nodes\""]);
    assert!(!first.has("Newest nodes"));
    let next = first.value_of("href=\"/nodes?cursor=").to_owned();
    let second = panel.get(&format!("/nodes?cursor={next}")).await;
    assert_eq!(second.body.matches("data-node=").count(), 1);
    assert_eq!(second.value_of("data-here=\""), format!("/nodes?cursor={next}"));
    second.assert_has(&["number 0.", "href=\"/nodes\">Newest nodes"]);
    assert!(!second.has("rel=\"next\""));
    let wrong = panel.get("/nodes?cursor=x").await;
    assert_eq!(wrong.status, 400);
    wrong.assert_has(&["There is no such page of the list."]);
}

#[tokio::test]
async fn the_words_for_steps_are_those_of_the_workflows() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("first").await;
    let claim = panel.claim().await;
    panel.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
    for (request, steps, end) in [
        ("provision", crate::workflow_steps::node_provision(), NodeStatus::Active),
        (
            "delete",
            crate::workflow_steps::node_decommission(),
            NodeStatus::Decommissioned,
        ),
    ] {
        panel.post(&format!("/nodes/{node}/{request}"), "").await.location();
        let claim = panel.claim().await;
        let page = panel.get(&format!("/jobs/{}", claim.job_id)).await;
        let shown: Vec<_> = page
            .body
            .split("data-step=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(shown, steps);
        for step in steps {
            // None is called by its name for programs.
            assert!(!page.has(&format!(">{step}<")), "{step} has no words");
        }
        panel.settle(&claim, node, Outcome::Succeeded, end).await;
    }
}
