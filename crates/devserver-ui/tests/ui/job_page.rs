//! `/jobs/{id}`: all of one job, its log, its text, and what can be asked of it.

use std::time::Duration;

use domain_kernel::{Clock, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId};
use jobs::{
    Failure, JobKind, JobStatus, JobStore, LogStream, NewEvent, NewJob, Outcome, StepStatus, TaskProgress, TaskStatus,
};
use nodes_domain::NodeStatus;

use crate::panel::{EMAIL, Panel, escaped, key_line};

fn line(text: &str) -> NewEvent {
    NewEvent::log("acquire", LogStream::Stdout, text)
}

fn task(name: &str, status: TaskStatus, duration_ms: Option<u64>) -> NewEvent {
    let task = TaskProgress {
        name: name.to_owned(),
        status,
        duration_ms,
        message: None,
    };
    NewEvent::task("provision", &task)
}

#[tokio::test]
async fn a_waiting_job_says_what_it_works_on_and_offers_to_cancel_it() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("shop-host").await;
    let page = panel.get(&format!("/jobs/{job}")).await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "<h1>Provisioning</h1>",
        &format!("Node <a href=\"/nodes/{node}\"><bdi>shop-host</bdi></a>"),
        "Attempt 1 of 3",
        &format!("href=\"/jobs/{job}?confirm=cancel\" data-opens-dialog"),
        &format!("data-job=\"{job}\""),
        &format!("data-here=\"/jobs/{job}\""),
        "Provisioning: waiting.",
        "No lines yet",
        "to come",
    ]);
    assert!(!page.has(">Retry<"), "{page:?}");
    assert!(!page.has(" by <bdi>"), "nobody is known to have asked");
}

#[tokio::test]
async fn a_job_says_who_asked_for_it() {
    let panel = Panel::new().await;
    panel
        .post("/nodes", "acquisition_source=local&name=mine&form_key=k")
        .await;
    let job = panel.jobs.all_events().last().unwrap().job_id.unwrap();
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[&format!("by <bdi>{EMAIL}</bdi>")]);
}

#[tokio::test]
async fn a_job_of_a_site_leads_to_the_site_and_the_node() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("shop-host").await;
    panel.make_ready(node);
    let site = panel.create_site("Shop", node).await;
    let page = panel.get(&format!("/jobs/{}", site.job_id)).await;
    page.assert_has(&[
        "<h1>New site</h1>",
        &format!(
            "Site <a href=\"/sites/{}\"><bdi>Shop</bdi></a>, environment <bdi>production</bdi>",
            site.site_id
        ),
        &format!("<a href=\"/nodes/{node}\"><bdi>shop-host</bdi></a>"),
        "Send WordPress to the node",
    ]);
}

#[tokio::test]
async fn a_running_job_shows_its_step_and_its_log() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.tell(&claim, line("one line")).await;
    panel
        .tell(&claim, task("Install nginx", TaskStatus::Started, None))
        .await;
    let seq = panel
        .tell(&claim, task("Install nginx", TaskStatus::Changed, Some(5100)))
        .await;
    panel.tell(&claim, task("Start nginx", TaskStatus::Started, None)).await;
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "Step 1 of 6: Get the machine",
        "data-running-since",
        "one line",
        &format!("data-key=\"line-{seq}\" data-kind=\"task\" data-status=\"changed\""),
        "<bdi class=\"note\">changed, 5.1 s</bdi>",
        "data-copy=\"#log\"",
        &format!("href=\"/jobs/{job}?as=text\""),
        // That a task began is told only of the last one.
        "3 lines.",
        "Start nginx",
    ]);
}

#[tokio::test]
async fn what_it_waits_for_stands_there_with_the_line_to_copy() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_remote("web-1.example.test").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    let key_line = key_line().await;
    let detail = format!("No login yet. Run on the host: {key_line}");
    panel.park(&claim, node, "inject_key", &detail).await;
    let shown = format!("<code class=\"command\" id=\"command-2\">{}</code>", escaped(&key_line));
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "Add Pressluft&#39;s SSH key: waiting.",
        &shown,
        "data-copy=\"#command-2\"",
        "Next look at",
    ]);
    // The line stays while the step looks again.
    panel.clock.advance(Duration::from_secs(30));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    panel.get(&format!("/jobs/{job}")).await.assert_has(&[&shown]);
}

#[tokio::test]
async fn a_job_between_two_attempts_says_when_the_next_one_starts_and_why_the_last_one_failed() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    let failure = Failure::new(JobErrorCode::LocalAcquisitionFailed, "once");
    let run_after = panel.clock.now().plus(Duration::from_secs(40));
    let retry = Outcome::Retry { failure, run_after };
    panel.settle(&claim, node, retry, NodeStatus::Provisioning).await;
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "waiting for its next attempt",
        "The next attempt starts <time datetime=\"2030-01-01T00:00:40Z\" title=\"2030-01-01 00:00:40 UTC\" \
         data-relative>in 40 seconds</time>.",
        "Why the last attempt failed:",
        "LOCAL_ACQUISITION_FAILED",
    ]);
    assert!(!page.has("data-key=\"turn\""), "it waits for the time alone: {page:?}");
    panel.clock.advance(Duration::from_secs(40));
    let page = panel.get(&format!("/jobs/{job}")).await;
    assert!(!page.has("The next attempt starts"), "{page:?}");
    page.assert_has(&["It is next and starts in a moment."]);
}

#[tokio::test]
async fn a_job_that_waits_says_which_job_it_waits_for() {
    let panel = Panel::new().await;
    let (node, _) = panel.active_node("shop-host").await;
    panel.make_ready(node);
    let first = panel.create_site("First", node).await;
    let second = panel.create_site("Second", node).await;
    let waits = format!("/jobs/{}", second.job_id);
    panel
        .get(&waits)
        .await
        .assert_has(&["It is next and starts in a moment."]);
    let claim = panel.claim().await;
    assert_eq!(claim.job_id, first.job_id);
    panel.clock.advance(Duration::from_secs(12));
    panel.get(&waits).await.assert_has(&[&format!(
        "Another job is at work on the same node: <a href=\"/jobs/{}\">New site</a>, for <time \
         datetime=\"2030-01-01T00:00:00Z\" title=\"since 2030-01-01 00:00:00 UTC\" \
         data-running-since=\"2030-01-01T00:00:00Z\">12 s</time>. This one starts after it.",
        first.job_id
    )]);
    let at_work = panel.get(&format!("/jobs/{}", first.job_id)).await;
    assert!(!at_work.has("data-key=\"turn\""), "{at_work:?}");
    // Of two jobs of one site it is the site.
    let copy = NewJob::on_environment(JobKind::BackupCreate, node, first.site_id, first.environment_id, 3);
    let copy = panel.jobs.enqueue(copy);
    let page = panel.get(&format!("/jobs/{copy}")).await;
    page.assert_has(&["Another job is at work on the same site:"]);
    // One that is to end waits for nothing.
    panel.post(&format!("/jobs/{copy}/cancel"), "").await;
    let page = panel.get(&format!("/jobs/{copy}")).await;
    page.assert_has(&["being cancelled"]);
    assert!(!page.has("data-key=\"turn\""), "{page:?}");
}

#[tokio::test]
async fn a_job_that_nothing_holds_up_waits_for_a_worker() {
    let panel = Panel::new().await;
    for (running, words) in [(1, "1 is now</a>."), (2, "2 are now</a>.")] {
        panel.create_node("at work").await;
        panel.claim().await;
        let (node, job) = panel.create_node("waits").await;
        let page = panel.get(&format!("/jobs/{job}")).await;
        page.assert_has(&[
            "It waits until fewer jobs are at work: <a href=\"/jobs?status=running\">",
            words,
        ]);
        assert!(!page.has("Another job"), "{running}: {page:?}");
        let claim = panel.claim().await;
        panel.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
    }
}

#[tokio::test]
async fn the_kind_is_told_in_words_and_for_programs() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    panel.get(&format!("/jobs/{job}")).await.assert_has(&[
        "<a href=\"/jobs?kind=node_provision\">Provisioning of a node</a>",
        "in the API <code>node_provision</code>",
    ]);
}

#[tokio::test]
async fn one_line_is_told_as_one() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.tell(&claim, line("only this")).await;
    panel
        .get(&format!("/jobs/{job}"))
        .await
        .assert_has(&["1 line. Times in UTC."]);
    panel
        .get(&format!("/jobs/{job}?q=only"))
        .await
        .assert_has(&["1 of 1 line contains <q>"]);
}

#[tokio::test]
async fn a_failed_job_says_why_and_what_to_do_and_can_be_asked_for_again() {
    let panel = Panel::new().await;
    let (_, job) = panel.failed_node("n", "`multipass` is not on the PATH").await;
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "LOCAL_PROVIDER_UNAVAILABLE",
        "<code>multipass</code> is not on the PATH",
        "Next:",
        "pressluft doctor",
        &format!("action=\"/jobs/{job}/retry\""),
        "not reached",
    ]);
    assert!(!page.has("confirm=cancel"), "{page:?}");
    let answer = panel.post(&format!("/jobs/{job}/retry"), "").await;
    let next = answer.location().to_owned();
    assert_ne!(next, format!("/jobs/{job}"));
    panel.get(&next).await.assert_has(&["Attempt 1 of 3", "waiting"]);
    // What came after it was decided on what it left: it is not asked for again.
    let page = panel.get(&format!("/jobs/{job}")).await;
    assert!(!page.has("/retry\""), "{page:?}");
}

#[tokio::test]
async fn a_refused_retry_is_said_on_the_page_of_the_job() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let answer = panel.post(&format!("/jobs/{job}/retry"), "").await;
    assert_eq!(answer.status, 409);
    answer.assert_has(&[
        "class=\"alert\" role=\"alert\" data-kept",
        "only one that failed or was cancelled can be asked for again",
        "<h1>Provisioning</h1>",
        &format!("data-here=\"/jobs/{job}\""),
    ]);
}

#[tokio::test]
async fn cancelling_is_asked_about_first_and_leads_back_to_the_job() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("shop-host").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    let page = panel.get(&format!("/jobs/{job}?confirm=cancel")).await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "data-asks",
        "<h1 id=\"dialog-title\">Cancel this job?</h1>",
        "<bdi>shop-host</bdi>",
        "The machine stays as far as it has got",
        &format!("action=\"/jobs/{job}/cancel\""),
        &format!("data-close href=\"/jobs/{job}\""),
    ]);
    assert!(!panel.jobs.view(job).job.cancel_requested, "to ask does nothing");
    let answer = panel.post(&format!("/jobs/{job}/cancel"), "").await;
    assert_eq!(answer.location(), format!("/jobs/{job}"));
    assert!(panel.jobs.view(job).job.cancel_requested);
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&["being cancelled"]);
    assert!(!page.has("?confirm=cancel"), "{page:?}");
    let page = panel.get(&format!("/jobs/{job}?confirm=cancel")).await;
    page.assert_has(&["It is being cancelled already."]);

    panel.settle(&claim, node, Outcome::Cancelled, NodeStatus::Failed).await;
    assert_eq!(panel.jobs.view(job).job.status, JobStatus::Cancelled);
    let address = format!("/jobs/{job}");
    let page = panel.get(&format!("/jobs/{job}?confirm=cancel")).await;
    page.assert_has(&["It has ended: there is nothing to cancel."]);
    let answer = panel.post(&format!("/jobs/{job}/cancel"), "").await;
    assert_eq!(answer.status, 409);
    answer.assert_has(&["class=\"alert\"", "cancelled"]);

    let page = panel.get(&address).await;
    page.assert_has(&["The machine stays as far as it has got", &format!("{address}/retry")]);
    panel.post(&format!("{address}/retry"), "").await.location();
    let page = panel.get(&address).await;
    page.assert_has(&["It cannot be retried: a later job has come since"]);
    assert!(!page.has("The machine stays as far"), "not so any more: {page:?}");
}

#[tokio::test]
async fn every_kind_of_job_says_what_a_cancel_leaves() {
    let panel = Panel::new().await;
    for kind in JobKind::ALL {
        let (node, site) = (NodeId::generate(), SiteId::generate());
        let new = NewJob::on_environment(*kind, node, site, EnvironmentId::generate(), 3);
        let id = panel.jobs.enqueue(new);
        let page = panel.get(&format!("/jobs/{id}?confirm=cancel")).await;
        page.assert_has(&["What is at work is told to stop", "Let it go on"]);
        assert_eq!(panel.get(&format!("/jobs/{id}")).await.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn the_log_is_searched_as_plain_text_in_any_case() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    for text in [
        "Setting up NGINX (1.22)",
        "Setting up php",
        "nginx.service started",
        "50% & <b>done</b>",
    ] {
        panel.tell(&claim, line(text)).await;
    }
    panel
        .tell(&claim, task("Install nginx", TaskStatus::Ok, Some(10)))
        .await;
    let page = panel.get(&format!("/jobs/{job}?q=nginx")).await;
    page.assert_has(&[
        "3 of 5 lines contain <q><bdi>nginx</bdi></q>",
        "value=\"nginx\"",
        "Setting up NGINX (1.22)",
        "nginx.service started",
        "Install nginx",
        &format!("data-here=\"/jobs/{job}?q=nginx\""),
        ">All lines</a>",
    ]);
    assert!(!page.has("Setting up php"), "{page:?}");
    for (query, found) in [
        ("NGINX%20(1.", 1),
        (".", 3),
        ("%25%20%26%20%3Cb", 1),
        (".%2A", 0),
        ("%20%20", 5),
    ] {
        let page = panel.get(&format!("/jobs/{job}?q={query}")).await;
        assert_eq!(page.body.matches("<li data-key=\"line-").count(), found, "{query}");
        assert!(!page.has("<b>done"), "{page:?}");
    }
    let page = panel.get(&format!("/jobs/{job}?q=%25%20%26")).await;
    page.assert_has(&[&format!("data-here=\"/jobs/{job}?q=%25%20%26\"")]);
    let none = panel.get(&format!("/jobs/{job}?q=absent")).await;
    none.assert_has(&["0 of 5 lines contain"]);
}

#[tokio::test]
async fn a_long_log_shows_its_newest_thousand_lines_and_is_searched_beyond_them() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    for at in 0..1200 {
        panel.tell(&claim, line(&format!("line {at}."))).await;
    }
    let page = panel.get(&format!("/jobs/{job}")).await;
    assert_eq!(page.body.matches("<li data-key=\"line-").count(), 1000);
    page.assert_has(&["line 1199.", "line 200.", "The newest lines;"]);
    assert!(!page.has("line 199."), "only the newest");
    let page = panel.get(&format!("/jobs/{job}?q=line%207.")).await;
    page.assert_has(&["1 of 1200 lines contains", "line 7."]);
    let page = panel.get(&format!("/jobs/{job}?q=line")).await;
    page.assert_has(&["1200 of 1200 lines contain", "The newest 1000 are shown."]);
    let text = panel.get(&format!("/jobs/{job}?as=text")).await;
    assert_eq!(text.body.matches("line ").count(), 1200);
}

#[tokio::test]
async fn the_whole_job_is_there_as_plain_text() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("<shop>").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.tell(&claim, line("<b>\u{1b}[31mred\u{7}")).await;
    panel
        .tell(&claim, task("Install nginx", TaskStatus::Changed, Some(5100)))
        .await;
    panel.clock.advance(Duration::from_secs(3));
    let failure = Failure::new(JobErrorCode::LocalProviderUnavailable, "no luck");
    let failed = panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Failed, Some("no luck"));
    failed.await.unwrap();
    panel
        .settle(&claim, node, Outcome::Failed(failure), NodeStatus::Failed)
        .await;
    let text = panel.get(&format!("/jobs/{job}?as=text")).await;
    assert_eq!(text.status, 200);
    assert_eq!(text.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(text.header("Cache-Control"), Some("no-store"));
    text.assert_has(&[
        &format!("Job:         Provisioning of a node ({job})\n"),
        "Status:      failed\n",
        "Attempt:     1 of 3\n",
        &format!("Node:        <shop> ({node})\n"),
        "Error:       LOCAL_PROVIDER_UNAVAILABLE\n",
        "  failed            3.0 s  attempt 1  Get the machine: no luck\n",
        "2030-01-01 00:00:00  [acquire] started\n",
        "2030-01-01 00:00:00  <b>\u{fffd}[31mred\u{fffd}\n",
        "2030-01-01 00:00:00  Install nginx (changed, 5.1 s)\n",
        "2030-01-01 00:00:03  [job] failed, attempt 1\n",
    ]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let other = JobId::generate();
    for path in [
        format!("/jobs/{other}"),
        format!("/jobs/{other}?confirm=cancel"),
        format!("/jobs/{other}?as=text"),
        "/jobs/7".to_owned(),
        "/jobs/".to_owned(),
        format!("/jobs/{job}?confirm=delete"),
        format!("/jobs/{job}?as=pdf"),
    ] {
        assert_eq!(panel.get(&path).await.status, 404, "{path}");
    }
    for path in [
        format!("/jobs/{other}/cancel"),
        format!("/jobs/{other}/retry"),
        "/jobs/7/retry".to_owned(),
    ] {
        assert_eq!(panel.post(&path, "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn hostile_texts_are_shown_as_text_on_every_page_of_a_job() {
    const NASTY: &str = "\"'><script>alert(1)</script>{{ 7 * 7 }}\u{202e}\u{200f}&lt;";
    let panel = Panel::new().await;
    let (node, job) = panel.create_node(NASTY).await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.tell(&claim, line(&format!("{NASTY}{}", "x".repeat(200)))).await;
    panel.tell(&claim, task(NASTY, TaskStatus::Failed, Some(5))).await;
    let done = panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Succeeded, Some(NASTY));
    done.await.unwrap();
    panel.jobs.step_started(&claim, 1, NASTY).await.unwrap();
    let query: String = NASTY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let shown = escaped(NASTY);
    for (path, times) in [
        (format!("/jobs/{job}"), 8),
        (format!("/jobs/{job}?q={query}"), 10),
        (format!("/jobs/{job}?confirm=cancel"), 1),
        ("/jobs".to_owned(), 2),
        (format!("/jobs?node_id={node}"), 2),
    ] {
        let page = panel.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.has("<script>"), "{path}");
        assert_eq!(
            page.body.matches("alert(1)").count(),
            page.body.matches(&shown).count(),
            "{path}"
        );
        assert!(page.body.matches(&shown).count() >= times, "{path}: {}", page.body);
    }
}
