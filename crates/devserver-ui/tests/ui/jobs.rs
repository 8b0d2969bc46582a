//! `/jobs`: what is listed, the filter and its pages.

use std::time::Duration;

use domain_kernel::{Clock, EnvironmentId, JobErrorCode, JobId, NodeId, SiteId};
use jobs::{Failure, JobKind, JobStore, NewJob, Outcome, StepStatus};
use nodes_domain::NodeStatus;

use crate::panel::Panel;

#[tokio::test]
async fn without_jobs_the_page_teaches_what_a_job_is() {
    let panel = Panel::new().await;
    let page = panel.get("/jobs").await;
    assert_eq!(page.status, 200);
    page.assert_has(&[
        "No jobs yet",
        "href=\"/nodes\">Create a node",
        "aria-current=\"page\">Jobs",
    ]);
    assert!(!page.has("All jobs</a>"), "{page:?}");
}

#[tokio::test]
async fn a_row_says_what_is_done_on_what_and_how_it_stands() {
    let panel = Panel::new().await;
    let (failed, failed_job) = panel.failed_node("broken", "no luck").await;
    let (ready, _) = panel.active_node("shop-host").await;
    panel.make_ready(ready);
    let site = panel.create_site("Shop", ready).await;
    panel.clock.advance(Duration::from_secs(3));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "artifacts").await.unwrap();
    panel.clock.advance(Duration::from_secs(4));

    let page = panel.get("/jobs").await;
    page.assert_has(&[
        &format!("id=\"job-{failed_job}\" data-job-status=\"failed\""),
        "LOCAL_PROVIDER_UNAVAILABLE",
        &format!("node <a href=\"/nodes/{failed}\"><bdi>broken</bdi></a>"),
        &format!("<a href=\"/jobs/{}\">New site</a>", site.job_id),
        &format!("site <a href=\"/sites/{}\"><bdi>Shop</bdi></a>", site.site_id),
        "Step 1 of 3: Send WordPress to the node",
        "data-running-since=\"2030-01-01T00:00:03Z\"",
    ]);
    // The newest is first.
    let at = |id: JobId| page.body.find(&format!("id=\"job-{id}\"")).unwrap();
    assert!(at(site.job_id) < at(failed_job));
}

#[tokio::test]
async fn a_retried_job_tells_its_attempt() {
    let panel = Panel::new().await;
    let (node, _) = panel.create_node("n").await;
    let claim = panel.claim().await;
    let retry = Outcome::Retry {
        failure: Failure::new(JobErrorCode::LocalAcquisitionFailed, "once"),
        run_after: panel.clock.now().plus(Duration::from_secs(30)),
    };
    panel.settle(&claim, node, retry, NodeStatus::Provisioning).await;
    let page = panel.get("/jobs").await;
    page.assert_has(&["attempt 2 of 3", "waiting for its next attempt"]);
}

#[tokio::test]
async fn the_filter_shows_what_was_chosen_and_nothing_else() {
    let panel = Panel::new().await;
    let (failed, failed_job) = panel.failed_node("broken", "no luck").await;
    let (ready, ready_job) = panel.active_node("shop-host").await;
    panel.make_ready(ready);
    let site = panel.create_site("Shop", ready).await;
    let all = [failed_job, ready_job, site.job_id];
    for (query, shown) in [
        ("status=failed", vec![failed_job]),
        ("status=succeeded&kind=node_provision", vec![ready_job]),
        ("kind=site_create", vec![site.job_id]),
        (&format!("node_id={failed}"), vec![failed_job]),
        (&format!("node_id={ready}"), vec![ready_job, site.job_id]),
        (&format!("site_id={}", site.site_id), vec![site.job_id]),
        ("status=&kind=&node_id=&site_id=&cursor=", all.to_vec()),
        ("status=cancelled", vec![]),
    ] {
        let page = panel.get(&format!("/jobs?{query}")).await;
        assert_eq!(page.status, 200, "{query}");
        for id in all {
            let is_shown = page.has(&format!("id=\"job-{id}\""));
            assert_eq!(is_shown, shown.contains(&id), "{id} of {query}");
        }
    }
    let page = panel.get("/jobs?status=cancelled").await;
    page.assert_has(&["No matching jobs", "<a href=\"/jobs\">Show all jobs</a>"]);
    let page = panel.get(&format!("/jobs?status=failed&node_id={failed}")).await;
    page.assert_has(&[
        "<option value=\"failed\" selected>Failed</option>",
        &format!("<option value=\"{failed}\" selected>broken</option>"),
        &format!("data-here=\"/jobs?status=failed&amp;node_id={failed}\""),
        "<option value=\"\">Any kind</option>",
        "Deletion of a node</option>",
    ]);
}

#[tokio::test]
async fn what_is_gone_can_still_be_chosen() {
    let panel = Panel::new().await;
    let (node, site) = (NodeId::generate(), SiteId::generate());
    let job = NewJob::on_environment(JobKind::SiteDelete, node, site, EnvironmentId::generate(), 3);
    let id = panel.jobs.enqueue(job);
    let page = panel.get(&format!("/jobs?site_id={site}")).await;
    page.assert_has(&[
        &format!("id=\"job-{id}\""),
        "that is gone",
        &format!("<option value=\"{site}\" selected>gone ({site})</option>"),
    ]);
    assert!(!page.has(&format!("href=\"/sites/{site}\"")), "{page:?}");
    let page = panel.get(&format!("/jobs/{id}")).await;
    assert_eq!(page.status, 200);
    page.assert_has(&["that is gone"]);
}

#[tokio::test]
async fn an_unknown_choice_is_refused_with_a_sentence() {
    let panel = Panel::new().await;
    for (query, said) in [
        ("status=asleep", "no such status of a job"),
        ("kind=dance", "no such kind of job"),
        ("node_id=7", "no such id of a node"),
        ("site_id=%3Cscript%3E", "no such id of a site"),
        ("cursor=x", "no such page of the list"),
        ("status=failed&status=running", "could not be read"),
    ] {
        let page = panel.get(&format!("/jobs?{query}")).await;
        assert_eq!(page.status, 400, "{query}");
        page.assert_has(&[said]);
        assert!(!page.has("<script>"));
    }
}

#[tokio::test]
async fn thirty_jobs_are_on_a_page_and_the_filter_stays() {
    let panel = Panel::new().await;
    let mut ids = Vec::new();
    for at in 0..35 {
        ids.push(panel.create_node(&format!("node-{at}")).await.1);
    }
    let first = panel.get("/jobs?kind=node_provision").await;
    assert_eq!(first.body.matches("<li id=\"job-").count(), 30);
    let next = first.value_of("<nav class=\"pager\" aria-label=\"Pages of the list\">\n    \n    <a href=\"");
    assert_eq!(next, format!("/jobs?kind=node_provision&amp;cursor={}", ids[5]));
    let second = panel.get(&next.replace("&amp;", "&")).await;
    assert_eq!(second.body.matches("<li id=\"job-").count(), 5);
    second.assert_has(&["href=\"/jobs?kind=node_provision\">Newest jobs</a>", "older ones"]);
    assert!(!second.has("Older jobs"));
    let past = panel.get(&format!("/jobs?cursor={}", ids[0])).await;
    past.assert_has(&["No older jobs"]);
}

#[tokio::test]
async fn the_time_left_is_told_by_earlier_jobs_of_the_kind() {
    let panel = Panel::new().await;
    for seconds in [10, 20, 300] {
        let (node, _) = panel.create_node("earlier").await;
        let claim = panel.claim().await;
        for (ordinal, step) in ["acquire", "provision"].into_iter().enumerate() {
            let ordinal = u32::try_from(ordinal).unwrap();
            panel.jobs.step_started(&claim, ordinal, step).await.unwrap();
            panel.clock.advance(Duration::from_secs(seconds));
            let done = panel.jobs.step_finished(&claim, step, StepStatus::Succeeded, None);
            done.await.unwrap();
        }
        panel.settle(&claim, node, Outcome::Succeeded, NodeStatus::Active).await;
    }
    let (_, job) = panel.create_node("now").await;
    assert!(!panel.get("/jobs").await.has(" left"), "it waits");
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(Duration::from_secs(5));
    // 15 s of its step, and 20 s of the next.
    panel.get("/jobs").await.assert_has(&["about 35 seconds left"]);
    panel
        .get(&format!("/jobs/{job}"))
        .await
        .assert_has(&["about 35 seconds left"]);
    // A step that takes longer than it ever did is never less than done.
    panel.clock.advance(Duration::from_secs(1000));
    panel.get("/jobs").await.assert_has(&["about 20 seconds left"]);
}

#[tokio::test]
async fn nothing_is_said_of_the_time_left_where_no_job_of_the_kind_ended_well() {
    let panel = Panel::new().await;
    panel.failed_node("broken", "no luck").await;
    panel.create_node("now").await;
    panel.claim().await;
    let page = panel.get("/jobs").await;
    page.assert_has(&["data-running-since"]);
    assert!(!page.has(" left"), "{page:?}");
}
