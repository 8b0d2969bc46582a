//! `env_restore`: what comes back, what is kept, and how it goes back where something is wrong.

use std::pin::pin;

use domain_kernel::{BackupId, CancelToken, EnvironmentId, JobErrorCode, StopReason};
use futures_util::poll;
use jobs::{Failure, JobStatus, Outcome, RunEnd};
use sites_domain::{
    BackupStatus, BackupTrigger, CreatedInSite, EnvironmentStatus, PreviewError, SiteStatus, StorageError, StorageId,
};
use test_support::{Fault, RuntimeMethod, TransferFault};

use crate::bench::Bench;

const ACTIVE: (SiteStatus, EnvironmentStatus) = (SiteStatus::Active, EnvironmentStatus::Active);
const FAILED: (SiteStatus, EnvironmentStatus) = (SiteStatus::Failed, EnvironmentStatus::Failed);

/// A site whose backup holds `good` and which now holds `damaged`.
async fn damaged() -> (Bench, CreatedInSite, BackupId) {
    let bench = Bench::new();
    let site = bench.active_site().await;
    bench.set_content(site.environment_id, "good");
    let backup = bench.stored_backup(site.environment_id).await;
    bench.set_content(site.environment_id, "damaged");
    (bench, site, backup)
}

async fn restore(bench: &Bench, site: &CreatedInSite, backup: BackupId) -> CreatedInSite {
    let accepted = bench.sites.service.restore(site.environment_id, backup, None).await;
    accepted.unwrap()
}

fn content(bench: &Bench, id: EnvironmentId) -> (String, Option<String>) {
    let held = bench.held(id);
    (held.content, held.before)
}

fn refuses(code: JobErrorCode) -> Fault {
    Fault::Refuses(Failure::new(code, "so it is"))
}

#[tokio::test]
async fn a_restore_brings_back_what_the_backup_holds_and_keeps_a_checkpoint_of_what_was_there() {
    let (bench, site, backup) = damaged().await;
    let files = bench.sites.files.paths(bench.node_of(site.environment_id));
    restore(&bench, &site, backup).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&site), ACTIVE);
    assert_eq!(content(&bench, site.environment_id), ("good".to_owned(), None));
    let all = bench.sites.rows.all_backups();
    let checkpoint = all
        .iter()
        .find(|backup| backup.trigger == BackupTrigger::Checkpoint)
        .unwrap();
    assert_eq!(checkpoint.status, BackupStatus::Completed);
    let kept = checkpoint.retention_until.unwrap().since(checkpoint.created_at);
    assert_eq!(kept.as_secs(), 30 * 24 * 60 * 60);
    assert_eq!(
        bench.sites.files.paths(bench.node_of(site.environment_id)),
        files,
        "nothing stays staged"
    );
    restore(&bench, &site, checkpoint.id).await;
    bench.run().await;
    assert_eq!(
        content(&bench, site.environment_id).0,
        "damaged",
        "the checkpoint is a backup like any other"
    );
}

#[tokio::test]
async fn an_environment_of_which_nothing_is_left_gets_a_checkpoint_all_the_same() {
    let (bench, site, backup) = damaged().await;
    bench.set_content(site.environment_id, "");
    restore(&bench, &site, backup).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(content(&bench, site.environment_id).0, "good");
}

#[tokio::test]
async fn a_backup_with_one_flipped_bit_is_refused_before_anything_is_touched() {
    let (bench, site, backup) = damaged().await;
    bench.sites.storage.corrupt();
    let calls = bench.sites.runtime.calls();
    let asked = restore(&bench, &site, backup).await;
    bench.run().await;
    assert_eq!(
        bench.error_code(asked.job_id),
        Some(JobErrorCode::BackupChecksumMismatch)
    );
    assert_eq!(bench.standing(&site), ACTIVE);
    assert_eq!(content(&bench, site.environment_id).0, "damaged");
    assert_eq!(bench.sites.runtime.calls(), calls);
    assert_eq!(bench.sites.rows.all_backups().len(), 1, "no checkpoint either");
}

#[tokio::test]
async fn a_backup_that_is_of_another_environment_by_the_time_of_the_job_is_refused() {
    let (bench, site, backup) = damaged().await;
    let asked = restore(&bench, &site, backup).await;
    let mut moved = bench.backup(backup);
    moved.environment_id = EnvironmentId::generate();
    bench.sites.rows.put_backup(moved);
    bench.run().await;
    assert_eq!(
        bench.error_code(asked.job_id),
        Some(JobErrorCode::BackupArtifactInvalid)
    );
    assert_eq!(bench.standing(&site), ACTIVE);
}

#[tokio::test]
async fn a_restore_whose_preview_does_not_prove_itself_is_rolled_back() {
    let (bench, site, backup) = damaged().await;
    let asked = restore(&bench, &site, backup).await;
    bench.sites.preview.always(Some(PreviewError::WrongProof));
    bench.run().await;
    let error = bench.job(asked.job_id).error.unwrap();
    assert_eq!(error.code, JobErrorCode::RestoreRolledBack);
    assert!(error.detail.contains("the proof is wrong"), "{}", error.detail);
    assert_eq!(bench.standing(&site), ACTIVE);
    assert_eq!(content(&bench, site.environment_id), ("damaged".to_owned(), None));
    let staged = bench.sites.files.paths(bench.node_of(site.environment_id));
    assert!(!staged.iter().any(|path| path.contains("/staging/")), "{staged:?}");
}

#[tokio::test]
async fn a_rolled_back_restore_whose_worker_dies_in_the_middle_is_never_taken_for_a_success() {
    for polls in 0.. {
        let (bench, site, _) = damaged().await;
        bench.set_content(site.environment_id, "broken");
        let backup = bench.stored_backup(site.environment_id).await;
        bench.set_content(site.environment_id, "fine");
        let asked = restore(&bench, &site, backup).await;
        let claimed = bench.claim().await;
        let mut ended = true;
        {
            let mut run = pin!(bench.runner.run(claimed, CancelToken::new()));
            for _ in 0..polls {
                let slept = bench.clock.sleeps().len();
                ended = poll!(&mut run).is_ready();
                if ended {
                    break;
                }
                for sleep in bench.clock.sleeps().split_off(slept) {
                    bench.clock.advance(sleep);
                }
            }
            ended = ended && polls > 0;
        }
        if ended {
            assert!(polls > 50, "{polls}");
            break;
        }
        jobs::JobStore::recover(bench.jobs.as_ref(), jobs::Recover::All)
            .await
            .unwrap();
        bench.run_all(asked.job_id).await;
        assert_eq!(
            bench.error_code(asked.job_id),
            Some(JobErrorCode::RestoreRolledBack),
            "{polls}"
        );
        assert_eq!(bench.standing(&site), ACTIVE, "{polls}");
        assert_eq!(
            content(&bench, site.environment_id),
            ("fine".to_owned(), None),
            "{polls}"
        );
    }
}

#[tokio::test]
async fn each_failure_before_the_restore_leaves_the_environment_as_it_was() {
    let full: fn(&Bench) = |bench| bench.sites.storage.fill(true);
    let stage: fn(&Bench) = |bench| {
        let fault = refuses(JobErrorCode::AnsibleTimeout);
        bench.sites.runtime.fail_always(RuntimeMethod::StageBackup, fault);
    };
    let silent: fn(&Bench) = |bench| {
        bench.sites.storage.fail(Some(StorageError::Failed {
            storage: StorageId::new("local"),
            reason: "no route".to_owned(),
        }));
    };
    let lost: fn(&Bench) = |bench| {
        let keys = bench.sites.storage.objects().into_keys();
        keys.for_each(|key| bench.sites.storage.lose(&key));
    };
    let artifacts: fn(&Bench) = |bench| {
        let failure = Failure::new(JobErrorCode::ArtifactUnavailable, "no source");
        bench.sites.artifacts.fail(Some(failure));
    };
    for (wrong, code) in [
        (full, JobErrorCode::HostDiskFull),
        (stage, JobErrorCode::AnsibleTimeout),
        (silent, JobErrorCode::BackupStorageFailed),
        (lost, JobErrorCode::BackupStorageFailed),
        (artifacts, JobErrorCode::ArtifactUnavailable),
    ] {
        let (bench, site, backup) = damaged().await;
        let asked = restore(&bench, &site, backup).await;
        wrong(&bench);
        bench.run_all(asked.job_id).await;
        assert_eq!(bench.error_code(asked.job_id), Some(code));
        assert_eq!(bench.standing(&site), ACTIVE, "{code}");
        assert_eq!(content(&bench, site.environment_id).0, "damaged", "{code}");
        let all = bench.sites.rows.all_backups();
        let open = |status| matches!(status, BackupStatus::Pending | BackupStatus::Running);
        assert!(!all.iter().any(|backup| open(backup.status)), "{code}");
        let checkpoints = all.iter().filter(|backup| backup.trigger == BackupTrigger::Checkpoint);
        assert!(checkpoints.count() <= 1, "{code}");
    }
}

#[tokio::test]
async fn a_transfer_to_the_node_that_goes_wrong_is_tried_again_with_the_same_checkpoint() {
    let (bench, site, backup) = damaged().await;
    let asked = restore(&bench, &site, backup).await;
    // The first transfer of a restore is the checkpoint's, the second the backup's.
    bench
        .sites
        .transfer
        .next(TransferFault::Breaks(nodes_domain::SshError::Refused));
    bench.sites.transfer.next(TransferFault::Ends(0));
    bench.sites.transfer.next(TransferFault::Flips);
    let job = bench.run_all(asked.job_id).await;
    assert_eq!(job.status, JobStatus::Succeeded, "{:?}", job.error);
    assert!(job.attempt_count > 1);
    assert_eq!(bench.sites.rows.all_backups().len(), 2, "one checkpoint");
    assert_eq!(content(&bench, site.environment_id).0, "good");
}

#[tokio::test]
async fn a_failure_of_the_restore_itself_leaves_what_was_live_and_says_which() {
    for (code, calls) in [
        (JobErrorCode::RestoreRolledBack, 0),
        (JobErrorCode::BackupArtifactInvalid, 0),
        (JobErrorCode::AnsibleTimeout, 1),
        (JobErrorCode::AnsibleHostFailed, 1),
    ] {
        let (bench, site, backup) = damaged().await;
        let asked = restore(&bench, &site, backup).await;
        bench.sites.runtime.fail_always(RuntimeMethod::Restore, refuses(code));
        bench.run_all(asked.job_id).await;
        assert_eq!(bench.error_code(asked.job_id), Some(code));
        assert_eq!(bench.standing(&site), ACTIVE, "{code}");
        assert_eq!(bench.sites.runtime.count(RuntimeMethod::RollBack), calls, "{code}");
        assert_eq!(
            content(&bench, site.environment_id),
            ("damaged".to_owned(), None),
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_restore_that_switched_and_cannot_go_back_is_failed() {
    let (bench, site, backup) = damaged().await;
    let asked = restore(&bench, &site, backup).await;
    let late = Fault::ActsThenFails(Failure::new(JobErrorCode::AnsibleTimeout, "too slow"));
    bench.sites.runtime.fail_always(RuntimeMethod::Restore, late);
    bench
        .sites
        .runtime
        .fail_always(RuntimeMethod::RollBack, refuses(JobErrorCode::AnsibleHostUnreachable));
    bench.run_all(asked.job_id).await;
    assert_eq!(bench.error_code(asked.job_id), Some(JobErrorCode::AnsibleTimeout));
    assert_eq!(bench.standing(&site), FAILED);
    let told = bench.jobs.all_events();
    assert!(
        told.iter()
            .any(|event| event.data.to_string().contains("could not be made live again"))
    );
    bench.sites.runtime.heal();
    restore(&bench, &site, backup).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.standing(&site), ACTIVE, "a failed environment can be restored");
}

#[tokio::test]
async fn a_restore_cancelled_while_it_switches_goes_back() {
    let (bench, site, backup) = damaged().await;
    let asked = restore(&bench, &site, backup).await;
    let claimed = bench.claim().await;
    let cancel = CancelToken::new();
    {
        let mut run = pin!(bench.runner.run(claimed, cancel.clone()));
        while bench.held(site.environment_id).before.is_none() {
            assert!(poll!(&mut run).is_pending());
        }
        cancel.cancel(StopReason::Cancelled);
        assert_eq!(
            bench.to_the_end(run).await.unwrap(),
            RunEnd::Settled(Outcome::Cancelled)
        );
    }
    assert_eq!(bench.job(asked.job_id).status, JobStatus::Cancelled);
    assert_eq!(bench.standing(&site), ACTIVE);
    assert_eq!(content(&bench, site.environment_id), ("damaged".to_owned(), None));
}

#[tokio::test]
async fn a_failed_environment_rests_failed_after_a_restore_that_touched_nothing() {
    let (bench, site, backup) = damaged().await;
    let mut environment = bench.environment(site.environment_id);
    environment.status = EnvironmentStatus::Failed;
    environment.resting_status = EnvironmentStatus::Failed;
    let sealed = bench
        .sites
        .deps
        .sites
        .sealed_secrets(environment.id)
        .await
        .unwrap()
        .unwrap();
    bench.sites.rows.put_environment(environment, &sealed);
    bench.sites.storage.corrupt();
    restore(&bench, &site, backup).await;
    bench.run().await;
    assert_eq!(bench.standing(&site), FAILED);
}

#[tokio::test]
async fn a_restore_of_a_copy_leaves_its_site_active_even_where_it_fails() {
    let bench = Bench::new();
    let site = bench.active_site().await;
    let staging = bench.active_staging(&site).await;
    let neighbour = bench.held(site.environment_id);
    let backup = bench.stored_backup(staging.environment_id).await;
    let asked = restore(&bench, &staging, backup).await;
    let late = Fault::ActsThenFails(Failure::new(JobErrorCode::AnsibleTimeout, "too slow"));
    bench.sites.runtime.fail_always(RuntimeMethod::Restore, late.clone());
    bench.sites.runtime.fail_always(RuntimeMethod::RollBack, late);
    bench.run_all(asked.job_id).await;
    assert_eq!(
        bench.standing(&staging),
        (SiteStatus::Active, EnvironmentStatus::Failed)
    );
    assert_eq!(bench.standing(&site), ACTIVE);
    assert_eq!(bench.held(site.environment_id), neighbour);
}

#[tokio::test]
async fn a_disk_that_is_full_after_the_switch_is_no_reason_to_say_that_all_is_as_it_was() {
    for method in [RuntimeMethod::Keep, RuntimeMethod::Restore] {
        let (bench, site, backup) = damaged().await;
        let asked = restore(&bench, &site, backup).await;
        let full = Fault::ActsThenFails(Failure::new(JobErrorCode::HostDiskFull, "so it is"));
        bench.sites.runtime.fail(method, 1, full);
        bench.run().await;
        assert_eq!(bench.error_code(asked.job_id), Some(JobErrorCode::HostDiskFull));
        match method {
            // It had acted: the step went back.
            RuntimeMethod::Restore => {
                assert_eq!(bench.standing(&site), ACTIVE);
                assert_eq!(content(&bench, site.environment_id), ("damaged".to_owned(), None));
            }
            _ => {
                assert_eq!(bench.standing(&site), FAILED);
                assert_eq!(content(&bench, site.environment_id).0, "good");
            }
        }
    }
}
