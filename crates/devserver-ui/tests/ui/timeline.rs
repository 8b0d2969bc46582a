//! The timeline of a job: to scale, with every attempt and every wait.

use std::time::Duration;

use domain_kernel::{Clock, JobErrorCode};
use jobs::{Failure, JobStore, NewEvent, Outcome, StepStatus, TaskProgress, TaskStatus};
use nodes_domain::NodeStatus;

use crate::panel::Panel;

fn task(name: &str, status: TaskStatus, duration_ms: u64) -> NewEvent {
    let task = TaskProgress {
        name: name.to_owned(),
        status,
        duration_ms: Some(duration_ms),
        message: None,
    };
    NewEvent::task("acquire", &task)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[tokio::test]
async fn every_attempt_and_every_wait_is_drawn_to_scale() {
    let panel = Panel::new().await;
    // 0 to 10 s: waits for its turn.
    let (node, job) = panel.create_node("n").await;
    panel.clock.advance(seconds(10));
    // 10 to 30 s: the first attempt, with a task from 12 to 20 s.
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(seconds(10));
    panel.tell(&claim, task("Unpack", TaskStatus::Changed, 8000)).await;
    panel.tell(&claim, task("Not needed", TaskStatus::Skipped, 10)).await;
    panel.clock.advance(seconds(10));
    let failure = Failure::new(JobErrorCode::LocalAcquisitionFailed, "once");
    let failed = panel
        .jobs
        .step_finished(&claim, "acquire", StepStatus::Failed, Some("once"));
    failed.await.unwrap();
    let run_after = panel.clock.now().plus(seconds(20));
    let retry = Outcome::Retry { failure, run_after };
    panel.settle(&claim, node, retry, NodeStatus::Provisioning).await;
    // 30 to 50 s: the pause. 50 to 60 s: the second attempt's first step.
    panel.clock.advance(seconds(20));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(seconds(10));
    let done = panel.jobs.step_finished(&claim, "acquire", StepStatus::Succeeded, None);
    done.await.unwrap();
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    panel.clock.advance(seconds(40));

    // 940 pixels are 100 s, 10 pixels in from the edge.
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        ">Waiting<tspan class=\"lane-took\" dx=\"8\">30 s</tspan>",
        "data-run=\"wait\" x=\"10.0\" y=\"26.0\" width=\"94.0\"",
        "<title>Waited 10 s for its turn</title>",
        "data-run=\"wait\" x=\"292.0\" y=\"26.0\" width=\"188.0\"",
        "<title>Waited 20 s before attempt 2</title>",
        "data-run=\"failed\" x=\"104.0\" y=\"74.0\" width=\"188.0\"",
        "<title>Get the machine, attempt 1: failed after 20 s, from 00:00:10 to 00:00:30 UTC</title>",
        "data-run=\"succeeded\" x=\"480.0\" y=\"74.0\" width=\"94.0\"",
        // A running step goes on to now, which is the end of the axis.
        "data-run=\"running\" x=\"574.0\" y=\"122.0\" width=\"376.0\"",
        "data-task=\"changed\" x=\"122.8\" y=\"91.0\" width=\"74.7\"",
        "<title>Unpack: changed, 8.0 s</title>",
        "text-anchor=\"middle\">1 min 30 s</text>",
        "text-anchor=\"start\">0 s</text>",
        "Get the machine<tspan class=\"lane-took\" dx=\"8\">30 s</tspan>",
        "role=\"img\" aria-label=\"Timeline of 1 min 40 s. Waited 10 s for its turn. Get the machine, attempt 1: failed after 20 s. \
         Waited 20 s before attempt 2. Get the machine, attempt 2: done in 10 s. Add Pressluft&#39;s SSH key, attempt 2: \
         running for 40 s.\"",
        // The steps in words tell what came before, too.
        "<span class=\"step-detail\">Attempt 1: failed after 20 s</span>",
    ]);
    assert!(!page.has("Not needed:"), "what was skipped took no time");
    assert!(!page.has("style="), "{page:?}");
    // The waits have a lane, and each step of the kind; what has not begun is empty.
    assert_eq!(page.body.matches("<g class=\"lane\"").count(), 7);
    assert_eq!(page.body.matches("dx=\"8\">to come</tspan>").count(), 4);
    assert_eq!(page.body.matches("<g class=\"lane\" data-empty>").count(), 4);
    assert_eq!(page.body.matches("fill=\"url(#hatch)\"").count(), 2);
}

#[tokio::test]
async fn looks_for_something_outside_are_one_wait() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_remote("web-1.example.test").await;
    for _ in 0..3 {
        let claim = panel.claim().await;
        panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
        panel.clock.advance(seconds(1));
        panel.park(&claim, node, "inject_key", "No login yet").await;
        panel.clock.advance(seconds(30));
    }
    let page = panel.get(&format!("/jobs/{job}")).await;
    assert_eq!(page.body.matches("data-run=\"outside\"").count(), 1);
    assert_eq!(page.body.matches("data-run=\"parked\"").count(), 1);
    page.assert_has(&[
        "<title>Add Pressluft&#39;s SSH key: waited 1 min 32 s for something outside, looked 3 times</title>",
    ]);
    // The next look goes on well: the wait ends where it began.
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 1, "inject_key").await.unwrap();
    panel.clock.advance(seconds(2));
    let done = panel
        .jobs
        .step_finished(&claim, "inject_key", StepStatus::Succeeded, None);
    done.await.unwrap();
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&["looked 3 times", "attempt 1: done in 2.0 s"]);
    assert_eq!(page.body.matches("data-run=\"outside\"").count(), 1);
}

#[tokio::test]
async fn a_step_that_a_stopped_worker_left_is_interrupted_and_goes_on() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(seconds(5));
    panel.jobs.recover(jobs::Recover::All).await.unwrap();
    panel.clock.advance(seconds(3));
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(seconds(2));
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "attempt 1: interrupted after 5.0 s",
        "<title>Waited 3.0 s because its worker was stopped</title>",
        "attempt 1: running for 2.0 s",
    ]);
}

#[tokio::test]
async fn a_cancelled_job_ends_its_open_step() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("n").await;
    let claim = panel.claim().await;
    panel.jobs.step_started(&claim, 0, "acquire").await.unwrap();
    panel.clock.advance(seconds(4));
    panel.settle(&claim, node, Outcome::Cancelled, NodeStatus::Failed).await;
    panel.clock.advance(seconds(100));
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&[
        "attempt 1: cancelled after 4.0 s",
        "Timeline of 4.0 s.",
        " Not reached: Add Pressluft&#39;s SSH key, Wait for SSH, Install what sites need, Keep an image for the next node, \
         Prove that it is ready.\"",
    ]);
    // It did not wait long enough to be seen: nothing is hatched, and the steps that were not reached are empty.
    assert!(!page.has("url(#hatch)"), "{page:?}");
    assert_eq!(page.body.matches("dx=\"8\">not reached</tspan>").count(), 5);
    assert_eq!(page.body.matches("<g class=\"lane\" data-empty>").count(), 5);
}

#[tokio::test]
async fn a_job_that_just_waits_has_a_timeline_too() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node("n").await;
    let page = panel.get(&format!("/jobs/{job}")).await;
    page.assert_has(&["aria-label=\"Timeline of 0.0 s.\"", ">0 s</text>", "waiting"]);
}
