//! `node_provision`: how it can fail, what it leaves behind then, and that it never chooses another source.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain_kernel::{CancelToken, Clock, JobErrorCode, JobId, NodeId, StopReason};
use futures_util::poll;
use jobs::{Failure, JobCatalog, JobKind, JobStatus, NewJob, Outcome, RunEnd, StepStatus};
use nodes_domain::{
    AcquisitionSource, Capability, NewNode, NodeName, NodeStatus, NodeStore, ProviderId, ReasonCode, SshError,
    Unavailable,
};
use operations::present_readiness;
use test_support::{FakeKeys, FakeProvider, Fault, ProviderMethod, fake_host_key};

use crate::bench::{Bench, HOST};

fn refuses(code: JobErrorCode) -> Fault {
    Fault::Refuses(Failure::new(code, "it was told to"))
}

fn assert_failed_at_the_first_attempt(bench: &Bench, node_id: NodeId, job_id: JobId, code: JobErrorCode) {
    let job = bench.job(job_id);
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, 1), "{code}");
    assert_eq!(job.error.map(|failure| failure.code), Some(code));
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed, "{code}");
}

#[tokio::test]
async fn a_node_becomes_active_with_its_machine_its_key_and_its_evidence() {
    let bench = Bench::new();
    let (node_id, job_id) = bench.asked().await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));

    let node = bench.node(node_id);
    let machine = bench.machines.of(node_id).unwrap();
    let target = node.target.clone().unwrap();
    assert_eq!(node.status, NodeStatus::Active);
    assert_eq!(target.public_ip, Some(machine.address));
    assert_eq!(target.host_key, machine.host_key);
    assert_eq!(target.ssh_private_key_path.to_str(), Some("keys/id_ed25519"));
    assert_eq!(machine.authorized_keys, [FakeKeys::PUBLIC_KEY]);
    let readiness = node.readiness.unwrap();
    assert!(readiness.is_ready && readiness.reason_codes.is_empty() && !readiness.evidence.is_empty());
    assert_eq!(node.last_seen_at, Some(bench.clock.now()));
    assert_eq!(bench.job(job_id).attempt_count, 1);
    assert_eq!(
        bench.step(job_id, "provision").detail.as_deref(),
        Some("0 tasks ok, 1 changed")
    );
}

#[tokio::test]
async fn provisioning_an_active_node_again_adopts_its_machine_and_changes_nothing_on_it() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let before = bench.machines.all();
    let again = bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.machines.all(), before);
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    assert_eq!(
        bench.step(again.job_id, "provision").detail.as_deref(),
        Some("1 tasks ok, 0 changed")
    );
}

#[tokio::test]
async fn a_machine_that_is_gone_is_made_anew_and_the_operator_is_told_what_that_means() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let told = |text: &str| {
        let events = bench.jobs.all_events().into_iter();
        events.filter(|event| event.data.to_string().contains(text)).count()
    };
    bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(told("What was on it is lost"), 0);
    bench
        .machines
        .change(node_id, |machine| machine.host_key = fake_host_key("another"));
    bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(told("What was on it is lost"), 1);
    assert_eq!(bench.node(node_id).target.unwrap().host_key, fake_host_key("another"));
}

#[tokio::test]
async fn a_new_machine_becomes_an_image_and_one_that_was_ready_before_never_does() {
    let bench = Bench::new();
    let (node_id, job_id) = bench.asked().await;
    bench.run().await;
    assert_eq!(bench.provider.images().len(), 1);
    let detail = bench.step(job_id, "keep_image").detail;
    assert_eq!(detail.as_deref(), Some("kept for the next node"));

    // From now on there may be sites on it.
    let again = bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    let detail = bench.step(again.job_id, "keep_image").detail;
    assert_eq!(detail.as_deref(), Some("not a new machine"));
    assert_eq!(bench.provider.count(ProviderMethod::KeepImage), 1);

    let (_, other) = bench.asked().await;
    bench.run().await;
    let detail = bench.step(other, "keep_image").detail;
    assert_eq!(detail.as_deref(), Some("there is one already"));
}

#[tokio::test]
async fn a_provider_that_cannot_work_here_fails_the_job_at_once_with_its_code_and_remedy_and_is_asked_for_nothing() {
    for code in [
        JobErrorCode::LocalProviderUnavailable,
        JobErrorCode::LocalProviderDenied,
        JobErrorCode::LocalConfigInvalid,
    ] {
        let bench = Bench::new();
        bench.provider.set_capability(Capability::Unavailable(Unavailable {
            code,
            reason: "`multipass` is not on the PATH".to_owned(),
            remedy: "Run `snap install multipass`.".to_owned(),
        }));
        let (node_id, job_id) = bench.asked().await;
        bench.run().await;
        assert_failed_at_the_first_attempt(&bench, node_id, job_id, code);
        let message = bench.job(job_id).error.unwrap().message();
        assert!(
            message.contains("`multipass` is not on the PATH. Next: Run `snap install multipass`."),
            "{message}"
        );
        assert_eq!(bench.provider.calls(), [(ProviderMethod::Capability, None)]);
        assert!(bench.machines.all().is_empty());
        assert_eq!(bench.node(node_id).target, None);
    }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_and_the_second_attempt_succeeds() {
    type Breaks = fn(&Bench);
    let failures: [(Breaks, JobErrorCode, &str); 4] = [
        (
            |bench| {
                bench.provider.fail(
                    ProviderMethod::Acquire,
                    1,
                    refuses(JobErrorCode::LocalAcquisitionFailed),
                )
            },
            JobErrorCode::LocalAcquisitionFailed,
            "acquire",
        ),
        (
            |bench| {
                let failure = Failure::new(JobErrorCode::LocalAddressMissing, "it runs without an address");
                bench
                    .provider
                    .fail(ProviderMethod::Acquire, 1, Fault::ActsThenFails(failure));
            },
            JobErrorCode::LocalAddressMissing,
            "acquire",
        ),
        (
            |bench| {
                let failure = Failure::new(JobErrorCode::SshKeyInjectionFailed, "the channel broke");
                bench
                    .provider
                    .fail(ProviderMethod::InjectKey, 1, Fault::ActsThenFails(failure));
            },
            JobErrorCode::SshKeyInjectionFailed,
            "inject_key",
        ),
        (
            |bench| bench.provisioner.fail(1, refuses(JobErrorCode::AnsibleHostFailed)),
            JobErrorCode::AnsibleHostFailed,
            "provision",
        ),
    ];
    for (breaks, code, step) in failures {
        let bench = Bench::new();
        breaks(&bench);
        let (node_id, job_id) = bench.asked().await;
        assert!(
            matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })),
            "{code}"
        );
        assert_eq!(bench.error_code(job_id), Some(code));
        assert_eq!(bench.step(job_id, step).status, StepStatus::Failed);
        assert_eq!(bench.node(node_id).status, NodeStatus::Provisioning, "{code}");

        let job = bench.run_all(job_id).await;
        assert_eq!(
            (job.status, job.attempt_count, job.error),
            (JobStatus::Succeeded, 2, None),
            "{code}"
        );
        assert_eq!(bench.node(node_id).status, NodeStatus::Active, "{code}");
        assert_eq!(bench.machines.all().len(), 1, "{code}");
        assert_eq!(
            bench.machines.of(node_id).unwrap().authorized_keys,
            [FakeKeys::PUBLIC_KEY],
            "{code}"
        );
    }
}

#[tokio::test]
async fn a_failure_that_goes_on_ends_the_job_after_three_attempts_and_the_node_as_failed() {
    let bench = Bench::new();
    bench
        .provider
        .fail_always(ProviderMethod::Acquire, refuses(JobErrorCode::LocalAcquisitionFailed));
    let (node_id, job_id) = bench.asked().await;
    let job = bench.run_all(job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, 3));
    assert_eq!(bench.error_code(job_id), Some(JobErrorCode::LocalAcquisitionFailed));
    assert_eq!(bench.provider.count(ProviderMethod::Acquire), 3);
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
}

#[tokio::test]
async fn every_code_that_is_not_retryable_ends_the_job_at_the_first_attempt() {
    for code in JobErrorCode::ALL.iter().copied().filter(|code| !code.retryable()) {
        let bench = Bench::new();
        bench.provider.fail(ProviderMethod::Acquire, 1, refuses(code));
        let (node_id, job_id) = bench.asked().await;
        bench.run().await;
        assert_failed_at_the_first_attempt(&bench, node_id, job_id, code);
        assert_eq!(bench.provider.count(ProviderMethod::Acquire), 1, "{code}");
    }
}

#[tokio::test]
async fn a_job_that_takes_longer_than_its_limit_fails_with_a_timeout_and_is_not_tried_again() {
    let bench = Bench::new();
    bench.provider.fail(ProviderMethod::Acquire, 1, Fault::TakesTooLong);
    let (node_id, job_id) = bench.asked().await;
    bench.run().await;
    assert_failed_at_the_first_attempt(&bench, node_id, job_id, JobErrorCode::JobTimeout);
}

#[tokio::test]
async fn a_key_that_cannot_be_made_fails_the_job_before_any_machine_is_made() {
    let bench = Bench::new();
    bench.keys.fail(Failure::new(
        JobErrorCode::SshKeyGenerationFailed,
        "the folder is read-only",
    ));
    let (node_id, job_id) = bench.asked().await;
    bench.run().await;
    assert_failed_at_the_first_attempt(&bench, node_id, job_id, JobErrorCode::SshKeyGenerationFailed);
    assert_eq!(bench.provider.count(ProviderMethod::Acquire), 0);
}

#[tokio::test]
async fn a_rejected_key_or_another_host_key_ends_the_wait_for_ssh_at_once() {
    for (error, code) in [
        (SshError::AuthRejected, JobErrorCode::SshAuthRejected),
        (SshError::HostKeyMismatch, JobErrorCode::SshHostKeyMismatch),
    ] {
        let bench = Bench::new();
        bench.ssh.next(error);
        let (node_id, job_id) = bench.asked().await;
        bench.run().await;
        assert_failed_at_the_first_attempt(&bench, node_id, job_id, code);
        assert_eq!(bench.step(job_id, "wait_for_ssh").status, StepStatus::Failed);
        assert_eq!(bench.ssh.commands().len(), 1);
        assert!(bench.provisioner.runs().is_empty());
    }
}

#[tokio::test]
async fn a_machine_that_is_slow_to_answer_ssh_is_waited_for() {
    let bench = Bench::new();
    bench.ssh.next(SshError::Unreachable("no route to host".to_owned()));
    bench.ssh.next(SshError::Refused);
    bench.ssh.next(SshError::TimedOut(Duration::from_secs(10)));
    bench
        .ssh
        .next(SshError::Other("kex_exchange_identification".to_owned()));
    let (node_id, job_id) = bench.asked().await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    assert_eq!(bench.ssh.commands().len(), 5);
    assert_eq!(bench.job(job_id).attempt_count, 1);
}

#[tokio::test]
async fn a_machine_that_never_answers_ssh_is_an_acquisition_timeout_after_two_minutes() {
    let bench = Bench::new();
    bench.ssh.always(Some(SshError::Refused));
    let (node_id, job_id) = bench.asked().await;
    let begin = bench.clock.now();
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Retry { .. })));
    let took = bench.clock.now().since(begin);
    assert!(
        (Duration::from_secs(120)..Duration::from_secs(125)).contains(&took),
        "{took:?}"
    );
    let failure = bench.job(job_id).error.unwrap();
    assert_eq!(failure.code, JobErrorCode::LocalAcquisitionTimeout);
    assert!(
        failure.detail.contains("the connection was refused"),
        "{}",
        failure.detail
    );

    let job = bench.run_all(job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, 3));
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert!(bench.provisioner.runs().is_empty());
}

#[tokio::test]
async fn a_machine_that_does_not_prove_ready_fails_the_node_with_its_reasons_stored() {
    let bench = Bench::new();
    let machines = bench.machines.clone();
    bench.probe.during(move |node_id| {
        machines.change(node_id, |machine| machine.provisioned = false);
    });
    let (node_id, job_id) = bench.asked().await;
    let job = bench.run_all(job_id).await;
    assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, 3));
    let failure = job.error.unwrap();
    assert_eq!(failure.code, JobErrorCode::NodeNotReady);
    assert!(failure.detail.contains("runtime_missing"), "{failure}");

    let node = bench.node(node_id);
    assert_eq!(node.status, NodeStatus::Failed);
    let stored = node.readiness.clone().unwrap();
    assert!(!stored.is_ready);
    assert_eq!(stored.reason_codes, [ReasonCode::RuntimeMissing]);
    let shown = present_readiness(&node, bench.clock.now());
    assert_eq!(shown.reason_codes[0], ReasonCode::NodeStatusNotActive);
    assert_eq!(shown.reason_codes[1..], stored.reason_codes);
}

#[tokio::test]
async fn services_that_are_still_starting_after_provisioning_are_waited_for() {
    let bench = Bench::new();
    let (machines, looks) = (bench.machines.clone(), AtomicU32::new(0));
    bench.probe.during(move |node_id| {
        let up = looks.fetch_add(1, Ordering::SeqCst) >= 3;
        machines.change(node_id, |machine| machine.provisioned = up);
    });
    let (node_id, job_id) = bench.asked().await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.probe.probed().len(), 4);
    assert!(bench.node(node_id).readiness.unwrap().is_ready);
    assert_eq!(bench.job(job_id).attempt_count, 1);
}

#[tokio::test]
async fn a_cancel_during_provisioning_ends_the_job_as_cancelled_and_the_node_as_failed() {
    let bench = Bench::new();
    bench.provisioner.fail(1, Fault::WaitsUntilStopped);
    let (node_id, job_id) = bench.asked().await;
    let claimed = bench.claim().await;
    let cancel = CancelToken::new();
    let mut run = pin!(bench.runner.run(claimed, cancel.clone()));
    while bench.provisioner.runs().is_empty() {
        assert!(poll!(&mut run).is_pending());
        tokio::task::yield_now().await;
    }
    bench.jobs_service.cancel(job_id, None).await.unwrap();
    assert_eq!(bench.signal.cancelled(), [job_id]);
    // The worker that hears the signal cancels the run's token.
    cancel.cancel(StopReason::Cancelled);
    assert_eq!(
        bench.to_the_end(run).await.unwrap(),
        RunEnd::Settled(Outcome::Cancelled)
    );

    assert_eq!(bench.job(job_id).status, JobStatus::Cancelled);
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert_eq!(bench.step(job_id, "provision").status, StepStatus::Cancelled);
    assert!(
        bench.machines.of(node_id).is_some(),
        "a cancel gives nothing back: delete does"
    );

    bench.jobs_service.retry(job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.machines.all().len(), 1);
}

#[tokio::test]
async fn a_job_cancelled_while_it_waits_for_its_next_attempt_ends_at_once_and_touches_nothing() {
    let bench = Bench::new();
    bench.provider.fail(
        ProviderMethod::Acquire,
        1,
        refuses(JobErrorCode::LocalAcquisitionFailed),
    );
    let (node_id, job_id) = bench.asked().await;
    bench.run().await;
    bench.jobs_service.cancel(job_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Cancelled));
    assert_eq!(bench.job(job_id).status, JobStatus::Cancelled);
    assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
    assert_eq!(bench.provider.count(ProviderMethod::Acquire), 1);
}

/// A node that was made by a provider that this server does not have, with its job.
async fn node_of(bench: &Bench, provider: &str) -> (NodeId, JobId) {
    let id = NodeId::generate();
    let node = NewNode {
        id,
        name: NodeName::default_for(id),
        source: AcquisitionSource::Local,
        provider: ProviderId::new(provider),
        host_id: HOST.to_owned(),
        remote: None,
    };
    let job = NewJob::on_node(JobKind::NodeProvision, id, 3);
    let created = bench.nodes.create(node, job, None).await.unwrap();
    (created.node_id, created.job_id)
}

#[tokio::test]
async fn a_node_of_a_provider_that_the_server_does_not_have_fails_and_no_other_provider_is_asked() {
    let bench = Bench::new();
    let (node_id, job_id) = node_of(&bench, "gone").await;
    bench.run().await;
    assert_failed_at_the_first_attempt(&bench, node_id, job_id, JobErrorCode::LocalProviderUnavailable);
    assert!(bench.job(job_id).error.unwrap().detail.contains("`gone`"));
    assert_eq!(bench.provider.calls(), []);
    assert!(bench.machines.all().is_empty());
}

#[tokio::test]
async fn a_failing_provider_is_never_replaced_by_another_that_works() {
    let other = Arc::new(FakeProvider::new("other"));
    let bench = Bench::with_others(vec![other.clone()]);
    bench
        .provider
        .fail_always(ProviderMethod::Acquire, refuses(JobErrorCode::LocalAcquisitionFailed));
    let (_, job_id) = bench.asked().await;
    assert_eq!(bench.run_all(job_id).await.status, JobStatus::Failed);
    assert_eq!(other.calls(), []);
}

#[tokio::test]
async fn an_existing_node_keeps_the_provider_that_it_was_made_by() {
    let other = Arc::new(FakeProvider::new("other"));
    let bench = Bench::with_others(vec![other.clone()]);
    let (_, job_id) = node_of(&bench, "other").await;
    // Its machine is another provider's, which the bench's SSH does not reach: only the choice matters here.
    bench.run().await;
    assert!(!bench.jobs.job(job_id).await.unwrap().unwrap().job.status.is_terminal());
    assert_eq!(other.count(ProviderMethod::Acquire), 1);
    assert_eq!(bench.provider.calls(), []);
}
