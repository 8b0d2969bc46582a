//! `site_create` and `env_create`: what they do, what their failures mean, and what they tell.

use std::time::Duration;

use accounts_domain::{SealedSecret, SecretBox};
use domain_kernel::{EnvironmentId, JobErrorCode};
use jobs::{Failure, JobStatus, Outcome, RunEnd};
use nodes_domain::{RemoteOutput, SshError};
use sites_domain::{ArtifactKind, EnvironmentSecrets, EnvironmentStatus, PreviewError, SiteStatus};
use test_support::{FakeArtifacts, FakeSecretBox, Fault, RuntimeMethod, TransferFault};

use crate::bench::Bench;
use crate::site_bench::staging_request;

fn refuses(code: JobErrorCode) -> Fault {
    Fault::Refuses(Failure::new(code, "so it is"))
}

#[tokio::test]
async fn a_site_is_active_when_its_preview_proved_itself_at_the_nodes_own_address() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
    let environment = bench.environment(site.environment_id);
    assert_eq!(environment.wordpress_version.as_deref(), Some("6.8.1"));
    let asked = bench.sites.preview.asked();
    assert_eq!(asked, [(environment.preview_url, "192.0.2.2".parse().unwrap())]);
    assert_eq!(bench.detail(site.job_id, "create"), "WordPress 6.8.1");
}

#[tokio::test]
async fn artifacts_are_sent_to_a_node_once_and_the_newest_wp_cli_has_its_name() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let node_id = bench.node_of(site.environment_id);
    assert_eq!(
        bench.detail(site.job_id, "artifacts"),
        "wordpress 6.8.1 sent, wp-cli 6.8.1 sent"
    );
    let wordpress = FakeArtifacts::artifact(ArtifactKind::WordPress);
    let sent = bench.sites.files.get(node_id, &wordpress.node_path()).unwrap();
    assert_eq!(sent.len() as u64, wordpress.size_bytes);
    let wp_cli = FakeArtifacts::artifact(ArtifactKind::WpCli);
    let link = format!("/var/lib/pressluft/artifacts/wp-cli.phar -> {}.phar", wp_cli.sha256);
    assert!(bench.sites.files.paths(node_id).contains(&link));
    let second = bench.asked_site("second").await;
    bench.run().await;
    let detail = bench.detail(second.job_id, "artifacts");
    assert_eq!(detail, "wordpress 6.8.1 is there, wp-cli 6.8.1 is there");
}

#[tokio::test]
async fn a_copy_holds_what_its_source_holds_and_leaves_it_as_it_is() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    bench.set_content(site.environment_id, "posts and pages");
    let before = bench.held(site.environment_id);
    let staging = bench.active_staging(&site).await;
    assert_eq!(
        bench.standing(&staging),
        (SiteStatus::Active, EnvironmentStatus::Active)
    );
    assert_eq!(bench.held(staging.environment_id).content, "posts and pages");
    assert_eq!(bench.held(site.environment_id), before);
}

/// Runs the site's job to its end with something wrong, which has to end it in a code.
async fn failing_site(wrong: impl FnOnce(&Bench), code: JobErrorCode) -> Bench {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    wrong(&bench);
    let job = bench.run_all(site.job_id).await;
    assert_eq!(bench.error_code(site.job_id), Some(code));
    let attempts = if code.retryable() { 3 } else { 1 };
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, attempts), "{code}");
    assert_eq!(
        bench.standing(&site),
        (SiteStatus::Failed, EnvironmentStatus::Failed),
        "{code}"
    );
    bench
}

#[tokio::test]
async fn each_failure_of_a_creation_ends_in_its_code_with_site_and_environment_failed() {
    for code in [
        JobErrorCode::ArtifactUnavailable,
        JobErrorCode::ArtifactChecksumMismatch,
        JobErrorCode::HostDiskFull,
    ] {
        let failure = Failure::new(code, "so it is");
        failing_site(|bench| bench.sites.artifacts.fail(Some(failure)), code).await;
    }
    for code in [
        JobErrorCode::WpCliFailed,
        JobErrorCode::AnsibleHostFailed,
        JobErrorCode::AnsibleTimeout,
    ] {
        failing_site(
            |bench| bench.sites.runtime.fail_always(RuntimeMethod::Create, refuses(code)),
            code,
        )
        .await;
    }
    let flips = |bench: &Bench| bench.sites.transfer.next(TransferFault::Flips);
    failing_site(flips, JobErrorCode::ArtifactChecksumMismatch).await;
    let silent = |bench: &Bench| bench.ssh.always(Some(SshError::Refused));
    failing_site(silent, JobErrorCode::AnsibleHostUnreachable).await;
    let rejected = |bench: &Bench| bench.ssh.always(Some(SshError::AuthRejected));
    failing_site(rejected, JobErrorCode::SshAuthRejected).await;
    let broken = |bench: &Bench| {
        bench.ssh.answer(|_, _| {
            Some(RemoteOutput {
                exit_status: Some(1),
                stdout: String::new(),
                stderr: "sudo: a password is required".to_owned(),
            })
        });
    };
    failing_site(broken, JobErrorCode::AnsibleHostFailed).await;
}

#[tokio::test]
async fn a_node_that_is_not_ready_any_more_fails_the_job_before_anything_is_sent() {
    let bench = failing_site(
        |bench| {
            bench.clock.advance(Duration::from_secs(60));
            bench.probe.always(Some(SshError::Refused));
        },
        JobErrorCode::NodeNotReady,
    )
    .await;
    assert_eq!(bench.sites.runtime.calls(), []);
}

#[tokio::test]
async fn a_preview_that_does_not_prove_itself_within_20_s_fails_with_what_was_met() {
    let bench = failing_site(
        |bench| bench.sites.preview.always(Some(PreviewError::NoProof)),
        JobErrorCode::PreviewUnreachable,
    )
    .await;
    let waited: Duration = bench.clock.sleeps().iter().sum();
    assert!(waited >= Duration::from_secs(3 * 19), "{waited:?}");
    let told = bench.jobs.all_events();
    let told = told
        .iter()
        .any(|event| event.data.to_string().contains("carries no proof"));
    assert!(told);
}

#[tokio::test]
async fn a_preview_that_needs_a_moment_is_waited_for() {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    for _ in 0..10 {
        bench.sites.preview.next(PreviewError::Status { status: 502 });
    }
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&site).0, SiteStatus::Active);
}

#[tokio::test]
async fn a_moment_of_trouble_changes_no_status_and_is_recovered_by_the_next_attempt() {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    bench
        .sites
        .runtime
        .fail(RuntimeMethod::Create, 1, refuses(JobErrorCode::WpCliFailed));
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    assert_eq!(
        bench.standing(&site),
        (SiteStatus::Creating, EnvironmentStatus::Creating)
    );
    bench.run_all(site.job_id).await;
    assert_eq!(bench.standing(&site), (SiteStatus::Active, EnvironmentStatus::Active));
}

#[tokio::test]
async fn a_cancelled_creation_is_failed_and_can_be_deleted() {
    let bench = Bench::new();
    bench.active_node().await;
    let site = bench.asked_site("shop").await;
    bench.jobs_service.cancel(site.job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(bench.standing(&site), (SiteStatus::Failed, EnvironmentStatus::Failed));
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert!(bench.sites.rows.find_site(site.site_id).is_none());
}

#[tokio::test]
async fn a_copy_that_fails_leaves_its_site_and_its_source_active() {
    for code in [
        JobErrorCode::CloneVerificationFailed,
        JobErrorCode::AnsibleUnexpectedError,
    ] {
        let bench = Bench::new();
        let site = bench.active_site().await;
        let request = staging_request("staging", site.environment_id);
        let staging = bench
            .sites
            .service
            .create_environment(site.site_id, request, None, None)
            .await
            .unwrap();
        bench.sites.runtime.fail_always(RuntimeMethod::Create, refuses(code));
        bench.run_all(staging.job_id).await;
        assert_eq!(bench.error_code(staging.job_id), Some(code));
        assert_eq!(
            bench.standing(&staging),
            (SiteStatus::Active, EnvironmentStatus::Failed)
        );
        assert_eq!(bench.environment(site.environment_id).status, EnvironmentStatus::Active);
    }
}

async fn secrets_of(bench: &Bench, id: EnvironmentId) -> Vec<String> {
    let sealed = bench.sites.deps.sites.sealed_secrets(id).await.unwrap().unwrap();
    let plain = FakeSecretBox
        .open(&SealedSecret::from_stored(sealed), &EnvironmentSecrets::row(id))
        .unwrap();
    let secrets = EnvironmentSecrets::from_plain(&plain).unwrap();
    let mut all: Vec<_> = secrets.salts.into_values().collect();
    all.extend([
        secrets.database_password,
        secrets.redis_password,
        secrets.proof_secret,
        secrets.admin_password,
    ]);
    all.into_iter().map(|secret| secret.expose().to_owned()).collect()
}

#[tokio::test]
async fn no_secret_is_in_any_event_step_command_or_error_of_any_workflow() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let backup = bench.stored_backup(site.environment_id).await;
    let mut secrets = secrets_of(&bench, site.environment_id).await;
    secrets.extend(secrets_of(&bench, staging.environment_id).await);
    bench
        .sites
        .service
        .restore(site.environment_id, backup, None)
        .await
        .unwrap();
    bench.run().await;
    bench.sites.preview.always(Some(PreviewError::WrongProof));
    let again = bench
        .sites
        .service
        .restore(site.environment_id, backup, None)
        .await
        .unwrap();
    bench.run_all(again.job_id).await;
    bench
        .sites
        .service
        .delete_site(site.site_id, "shop", None)
        .await
        .unwrap();
    bench.run().await;
    let mut told: Vec<_> = bench
        .jobs
        .all_events()
        .iter()
        .map(|event| event.data.to_string())
        .collect();
    told.extend(bench.ssh.commands().into_iter().map(|(_, script)| script));
    told.push(format!("{:?}", bench.job(again.job_id)));
    assert!(told.len() > 100, "{}", told.len());
    for secret in secrets {
        assert!(!told.iter().any(|line| line.contains(&secret)), "{secret}");
    }
}
