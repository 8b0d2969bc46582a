//! The keeper of preview URLs: what it has moved, once, and what it leaves alone.

use std::pin::pin;
use std::time::Duration;

use domain_kernel::{ApiErrorCode, CancelToken, Clock, JobErrorCode, StopReason};
use futures_util::poll;
use jobs::{Failure, JobKind, JobStatus, Outcome, RunEnd};
use nodes_domain::NodeStatus;
use operations::{OverviewService, PreviewKeeper};
use sites_domain::{CreatedInSite, EnvironmentStatus, PreviewError, SiteStatus};
use test_support::{Fault, RuntimeMethod};

use crate::bench::Bench;

const MOVED: JobKind = JobKind::EnvReaddress;

/// A site whose node came back at another address.
async fn left_behind(bench: &Bench) -> CreatedInSite {
    let site = bench.active_site().await;
    bench.readdress(bench.node_of(site.environment_id), "192.0.2.99");
    site
}

fn url(bench: &Bench, of: &CreatedInSite) -> String {
    bench.environment(of.environment_id).preview_url
}

fn wanted(of: &CreatedInSite) -> String {
    format!("http://{}.192-0-2-99.sslip.io", of.environment_id.short())
}

#[tokio::test]
async fn every_environment_of_a_node_with_another_address_is_moved_once_and_serves_meanwhile() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let keeper = bench.preview_keeper();
    keeper.round().await.unwrap();
    assert!(bench.jobs_of(MOVED).await.is_empty(), "they answer where they should");
    bench.readdress(bench.node_of(site.environment_id), "192.0.2.99");
    let before = url(&bench, &site);
    keeper.round().await.unwrap();
    keeper.round().await.unwrap();
    assert_eq!(bench.jobs_of(MOVED).await.len(), 2, "one each");
    let active = (SiteStatus::Active, EnvironmentStatus::Active);
    assert_eq!((bench.standing(&site), url(&bench, &site)), (active, before));
    for _ in 0..2 {
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    }
    for moved in [&site, &staging] {
        assert_eq!((bench.standing(moved), url(&bench, moved)), (active, wanted(moved)));
        assert_eq!(bench.held(moved.environment_id).url, wanted(moved));
    }
    keeper.round().await.unwrap();
    let jobs = bench.jobs_of(MOVED).await;
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.requested_by.is_none()), "nobody asked");
}

#[tokio::test]
async fn an_environment_that_was_moved_is_known_to_work_and_a_failed_restore_before_is_no_concern_any_more() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let backup = bench.stored_backup(site.environment_id).await;
    let restore = bench.sites.service.restore(site.environment_id, backup, None);
    let restore = restore.await.unwrap();
    bench.sites.preview.always(Some(PreviewError::WrongProof));
    bench.run().await;
    bench.sites.preview.always(None);
    let active = (SiteStatus::Active, EnvironmentStatus::Active);
    assert_eq!(bench.standing(&site), active, "it was rolled back");
    let overview = OverviewService::new(bench.sites.rows.clone(), bench.clock.clone());
    let concerns = async || {
        let jobs = overview.look().await.unwrap().failed_jobs.items.into_iter();
        jobs.map(|job| job.view.job.id).collect::<Vec<_>>()
    };
    assert_eq!(concerns().await, [restore.job_id]);

    bench.clock.advance(Duration::from_secs(1));
    bench.readdress(bench.node_of(site.environment_id), "192.0.2.99");
    bench.preview_keeper().round().await.unwrap();
    assert_eq!(concerns().await, [restore.job_id], "it was not moved yet");
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!((bench.standing(&site), url(&bench, &site)), (active, wanted(&site)));
    assert!(concerns().await.is_empty());
}

#[tokio::test]
async fn another_domain_of_previews_moves_what_is_there() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let mut deps = bench.sites.deps.clone();
    deps.preview_domain = Some("previews.example.test".to_owned());
    let service = std::sync::Arc::new(operations::SitesService::new(deps));
    let keeper = PreviewKeeper::new(service, bench.jobs.clone(), bench.clock.clone());
    keeper.round().await.unwrap();
    let jobs = bench.jobs_of(MOVED).await;
    assert_eq!(jobs[0].environment_id, Some(site.environment_id));
}

#[tokio::test]
async fn nothing_is_moved_on_a_node_that_does_not_answer_nor_while_a_job_works_on_the_environment() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    let node_id = bench.node_of(site.environment_id);
    let keeper = bench.preview_keeper();
    for status in [NodeStatus::Unreachable, NodeStatus::Failed, NodeStatus::Provisioning] {
        bench.set_node_status(node_id, status);
        keeper.round().await.unwrap();
        assert!(bench.jobs_of(MOVED).await.is_empty(), "{status}");
    }
    bench.set_node_status(node_id, NodeStatus::Active);
    let backup = bench.stored_backup(site.environment_id).await;
    let restore = bench.sites.service.restore(site.environment_id, backup, None);
    restore.await.unwrap();
    keeper.round().await.unwrap();
    assert!(bench.jobs_of(MOVED).await.is_empty(), "it is being restored");
    bench.run().await;
    keeper.round().await.unwrap();
    assert_eq!(bench.jobs_of(MOVED).await.len(), 1);
}

#[tokio::test]
async fn a_move_that_failed_is_left_to_the_operator_who_can_ask_for_it_again() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    let before = url(&bench, &site);
    let keeper = bench.preview_keeper();
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::Create, 2, Fault::Refuses(failure));
    keeper.round().await.unwrap();
    bench.run().await;
    let job = bench.jobs_of(MOVED).await.remove(0);
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
    assert_eq!(url(&bench, &site), before, "nothing is said that was not proved");
    keeper.round().await.unwrap();
    assert_eq!(bench.jobs_of(MOVED).await.len(), 1);
    let again = bench.jobs_service.retry(job.id, None).await.unwrap();
    assert_eq!(bench.job(again.job_id).kind, MOVED);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    assert_eq!(url(&bench, &site), wanted(&site));
    let refused = bench.jobs_service.retry(job.id, None).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict, "a later one did it");
}

#[tokio::test]
async fn a_staging_environment_that_could_not_be_moved_leaves_its_site_active() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    bench.readdress(bench.node_of(site.environment_id), "192.0.2.99");
    bench.preview_keeper().round().await.unwrap();
    // Both were made, production is moved, then staging is.
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    let fault = Fault::Refuses(failure);
    bench.sites.runtime.fail(RuntimeMethod::Create, 4, fault);
    for _ in 0..2 {
        bench.run().await;
    }
    assert_eq!(
        bench.standing(&staging),
        (SiteStatus::Active, EnvironmentStatus::Failed)
    );
    assert_eq!(url(&bench, &site), wanted(&site));
}

#[tokio::test]
async fn what_is_asked_for_while_a_move_waits_is_not_undone_by_its_end() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    bench.preview_keeper().round().await.unwrap();
    let move_job = bench.jobs_of(MOVED).await.remove(0);
    let deleted = bench.sites.service.delete_site(site.site_id, "shop", None);
    deleted.await.unwrap();
    bench.jobs_service.cancel(move_job.id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(
        bench.standing(&site),
        (SiteStatus::Deleting, EnvironmentStatus::Deleting)
    );
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
}

#[tokio::test]
async fn a_move_that_is_cancelled_before_it_began_changes_nothing() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    let before = url(&bench, &site);
    bench.preview_keeper().round().await.unwrap();
    let move_job = bench.jobs_of(MOVED).await.remove(0);
    bench.jobs_service.cancel(move_job.id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    assert_eq!(url(&bench, &site), before);
}

#[tokio::test]
async fn nothing_is_made_in_the_place_of_an_environment_that_is_gone_from_its_node() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    bench.preview_keeper().round().await.unwrap();
    let move_job = bench.jobs_of(MOVED).await.remove(0);
    bench.sites.environments.clear();
    bench.run_all(move_job.id).await;
    assert_eq!(bench.job(move_job.id).status, JobStatus::Failed);
    assert!(bench.sites.environments.all().is_empty());
    assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
}

#[tokio::test]
async fn a_move_that_is_asked_for_again_keeps_others_away_until_its_end() {
    let bench = Bench::new();
    let site = left_behind(&bench).await;
    let failure = Failure::new(JobErrorCode::AnsibleTimeout, "too slow");
    let runtime = &bench.sites.runtime;
    runtime.fail(RuntimeMethod::Create, 2, Fault::Refuses(failure));
    bench.preview_keeper().round().await.unwrap();
    bench.run().await;
    let failed = bench.jobs_of(MOVED).await.remove(0);
    bench.jobs_service.retry(failed.id, None).await.unwrap();
    assert_eq!(bench.standing(&site).1, EnvironmentStatus::Creating);
    let refused = bench.sites.service.delete_site(site.site_id, "shop", None).await;
    assert_eq!(refused.unwrap_err().code(), ApiErrorCode::Conflict);
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
}

#[tokio::test]
async fn a_move_waits_while_a_restore_is_between_two_runs() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let backup = bench.stored_backup(site.environment_id).await;
    let gone = Failure::new(JobErrorCode::AnsibleHostUnreachable, "gone");
    let runtime = &bench.sites.runtime;
    runtime.fail(RuntimeMethod::Create, 2, Fault::Refuses(gone.clone()));
    runtime.fail(RuntimeMethod::Restore, 1, Fault::ActsThenFails(gone));
    bench.readdress(bench.node_of(site.environment_id), "192.0.2.99");
    bench.preview_keeper().round().await.unwrap();
    let move_job = bench.jobs_of(MOVED).await.remove(0);
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    bench.clock.advance(Duration::from_secs(1));
    let restore = bench.sites.service.restore(site.environment_id, backup, None);
    let restore = restore.await.unwrap();
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    let due = bench.job(move_job.id).run_after;
    bench.clock.advance(due.since(bench.clock.now()));
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Parked { .. })));
    let told = bench.detail(move_job.id, "rewrite");
    assert!(told.contains(&restore.job_id.to_string()), "{told}");
    bench.run_all(restore.job_id).await;
    bench.run_all(move_job.id).await;
    assert_eq!(bench.job(move_job.id).status, JobStatus::Succeeded);
    assert_eq!(url(&bench, &site), wanted(&site));
}

#[tokio::test]
async fn the_keeper_looks_every_minute_goes_on_after_trouble_and_stops_when_told() {
    let bench = Bench::new();
    left_behind(&bench).await;
    let stop = CancelToken::new();
    let keeper = bench.preview_keeper();
    let mut run = pin!(keeper.run(stop.clone()));
    bench.jobs.set_failing(true);
    for _ in 0..20 {
        assert!(poll!(&mut run).is_pending());
    }
    bench.jobs.set_failing(false);
    assert!(bench.jobs_of(MOVED).await.is_empty());
    bench.clock.advance(Duration::from_secs(60));
    for _ in 0..50 {
        assert!(poll!(&mut run).is_pending());
    }
    assert_eq!(bench.jobs_of(MOVED).await.len(), 1);
    stop.cancel(StopReason::Shutdown);
    assert!(poll!(&mut run).is_ready());
}
