//! Remote nodes: hosts of the operator's, through the same pipeline as local ones.

use std::time::Duration;

use domain_kernel::{ApiErrorCode, JobErrorCode, JobId, NodeId};
use jobs::{Failure, JobStatus, Outcome, RunEnd, StepStatus};
use nodes_domain::{AcquisitionSource, Capability, HostKey, NodeStatus, RemoteHost, SshError, Unavailable};
use operations::{CreateRemoteNode, UseCaseError};
use test_support::{FakeKeys, Fault, ProviderMethod, fake_host_key};

use crate::bench::Bench;

fn host(name: &str) -> RemoteHost {
    RemoteHost {
        hostname: name.parse().unwrap(),
        ssh_port: 2222,
        ssh_user: "deploy".parse().unwrap(),
        public_ip: None,
        host_key_fingerprint: None,
    }
}

async fn ask(bench: &Bench, host: RemoteHost) -> Result<(NodeId, JobId), UseCaseError> {
    let request = CreateRemoteNode { name: None, host };
    let created = bench.service.create_remote(request, None, None).await?;
    Ok((created.node_id, created.job_id))
}

async fn refused(bench: &Bench, host: RemoteHost, code: ApiErrorCode, part: &str) {
    let nodes = bench.nodes.all().len();
    let error = ask(bench, host).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert_eq!(bench.nodes.all().len(), nodes, "no node was written");
    assert_eq!(bench.provider.calls(), [], "the local provider was asked");
}

#[tokio::test]
async fn a_remote_host_becomes_active_by_the_remote_provider_alone() {
    let (bench, remote) = Bench::with_remote();
    let (node_id, job_id) = ask(&bench, host("web-1.example.test")).await.unwrap();
    assert!(remote.calls().is_empty(), "nothing is touched before the job");
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    let node = bench.node(node_id);
    let target = node.target.clone().unwrap();
    assert_eq!(
        (node.status, node.source),
        (NodeStatus::Active, AcquisitionSource::Remote)
    );
    assert_eq!(node.provider.as_str(), "ssh");
    assert_eq!(
        (target.hostname.as_str(), target.ssh_port, target.ssh_user.as_str()),
        ("web-1.example.test", 2222, "deploy")
    );
    let detail = bench.step(job_id, "acquire").detail.unwrap();
    let fingerprint = target.host_key.fingerprint().unwrap();
    assert_eq!(detail, format!("web-1.example.test port 2222, host key {fingerprint}"));
    assert_eq!(bench.provider.calls(), []);
    // From now on the provider is told which key was pinned.
    assert_eq!(node.instance().remote.unwrap().host_key, Some(target.host_key));
}

#[tokio::test]
async fn an_address_of_the_control_plane_itself_is_refused_and_nothing_is_written() {
    let (bench, _) = Bench::with_remote();
    for name in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "localhost",
        "a.localhost",
        "Control.example.test",
        "198.51.100.1",
        "::ffff:198.51.100.1",
    ] {
        refused(&bench, host(name), ApiErrorCode::BadRequest, "`hostname`").await;
    }
    let mut elsewhere = host("web-1.example.test");
    elsewhere.public_ip = Some("127.0.0.1".parse().unwrap());
    refused(&bench, elsewhere, ApiErrorCode::BadRequest, "`public_ip`").await;
}

#[tokio::test]
async fn an_address_that_a_live_node_has_is_a_conflict_until_that_node_is_gone() {
    let (bench, _) = Bench::with_remote();
    let (first, _) = ask(&bench, host("web-1.example.test")).await.unwrap();
    let taken = "is at this address already";
    refused_as_taken(&bench, host("WEB-1.example.test."), taken).await;
    bench.run().await;
    // Its machine's address is known now, too.
    let address = bench.node(first).target.unwrap().public_ip.unwrap();
    refused_as_taken(&bench, host(&address.to_string()), taken).await;
    let mut elsewhere = host("other.example.test");
    elsewhere.public_ip = Some(address);
    refused_as_taken(&bench, elsewhere, taken).await;

    bench.service.delete(first, None).await.unwrap();
    bench.run().await;
    ask(&bench, host("web-1.example.test")).await.unwrap();
}

async fn refused_as_taken(bench: &Bench, host: RemoteHost, part: &str) {
    let error = ask(bench, host).await.unwrap_err();
    assert_eq!(error.code(), ApiErrorCode::Conflict);
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn a_name_that_turns_out_to_be_another_nodes_machine_ends_the_job() {
    let (bench, _) = Bench::with_remote();
    let (first, _) = ask(&bench, host("web-1.example.test")).await.unwrap();
    bench.run().await;
    let address = bench.machines.of(first).unwrap().address;
    let (second, job_id) = ask(&bench, host("alias.example.test")).await.unwrap();
    // The fake gives each name an address of its own: this name means the first machine.
    let claimed = bench.claim().await;
    let instance = bench.node(second).instance();
    bench.machines.insert(&instance, address);
    let run = bench.runner.run(claimed, domain_kernel::CancelToken::new());
    bench.to_the_end(std::pin::pin!(run)).await.unwrap();
    assert_eq!(bench.error_code(job_id), Some(JobErrorCode::RemoteAddressRefused));
    assert_eq!(bench.job(job_id).attempt_count, 1);
    assert_eq!(bench.node(second).target, None);
}

#[tokio::test]
async fn a_job_that_waits_for_its_key_parks_without_an_attempt_and_remembers_when_it_began() {
    let (bench, remote) = Bench::with_remote();
    let line = "deploy@web-1 does not take the key yet. Run: mkdir ...";
    for nth in 1..=2 {
        remote.fail(
            ProviderMethod::InjectKey,
            nth,
            Fault::Parks(Duration::from_secs(3), line.to_owned()),
        );
    }
    let (node_id, job_id) = ask(&bench, host("web-1.example.test")).await.unwrap();
    assert!(matches!(bench.run().await, RunEnd::Settled(Outcome::Parked { .. })));
    let parked = bench.step(job_id, "inject_key");
    assert_eq!(
        (parked.status, parked.detail.as_deref()),
        (StepStatus::Parked, Some(line))
    );
    let job = bench.job(job_id);
    assert_eq!(
        (job.status, job.attempt_count, job.locked_by),
        (JobStatus::Queued, 1, None)
    );
    assert_eq!(bench.node(node_id).status, NodeStatus::Provisioning);

    bench.clock.advance(Duration::from_secs(3));
    bench.run().await;
    assert_eq!(bench.step(job_id, "inject_key").started_at, parked.started_at);
    assert_eq!(
        remote.count(ProviderMethod::Acquire),
        1,
        "what is done is not done again"
    );

    bench.clock.advance(Duration::from_secs(3));
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    assert_eq!(bench.job(job_id).attempt_count, 1);
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
}

#[tokio::test]
async fn a_remote_node_whose_key_job_waits_can_be_cancelled_and_deleted() {
    let (bench, remote) = Bench::with_remote();
    remote.fail_always(
        ProviderMethod::InjectKey,
        Fault::Parks(Duration::from_secs(30), "waits for the key".to_owned()),
    );
    let (node_id, _) = ask(&bench, host("web-1.example.test")).await.unwrap();
    bench.run().await;
    bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.node(node_id).status, NodeStatus::Decommissioned);
}

#[tokio::test]
async fn every_failure_of_a_remote_node_has_its_code_and_no_other_provider_is_asked() {
    let cases = [
        (ProviderMethod::Acquire, JobErrorCode::RemoteAddressRefused, 1),
        (ProviderMethod::Acquire, JobErrorCode::RemoteHostUnreachable, 3),
        (ProviderMethod::Acquire, JobErrorCode::SshHostKeyMismatch, 1),
        (ProviderMethod::InjectKey, JobErrorCode::SshAuthRejected, 1),
        (ProviderMethod::InjectKey, JobErrorCode::RemoteHostUnreachable, 3),
    ];
    for (method, code, attempts) in cases {
        let (bench, remote) = Bench::with_remote();
        remote.fail_always(method, Fault::Refuses(Failure::new(code, "it was told to")));
        let (node_id, job_id) = ask(&bench, host("web-1.example.test")).await.unwrap();
        let job = bench.run_all(job_id).await;
        assert_eq!(bench.error_code(job_id), Some(code));
        assert_eq!((job.status, job.attempt_count), (JobStatus::Failed, attempts), "{code}");
        assert_eq!(bench.node(node_id).status, NodeStatus::Failed);
        assert_eq!(bench.provider.calls(), [], "{code}: the local provider was asked");
        assert_eq!(bench.nodes.all().len(), 1, "{code}: a second node appeared");
        // Mended, the same node goes on.
        remote.heal();
        bench.service.provision(node_id, None).await.unwrap();
        bench.run().await;
        assert_eq!(bench.node(node_id).status, NodeStatus::Active, "{code}");
    }
}

#[tokio::test]
async fn a_remote_machine_that_takes_no_login_is_unreachable_as_a_remote_host() {
    let (bench, _) = Bench::with_remote();
    bench.ssh.always(Some(SshError::Refused));
    let (_, job_id) = ask(&bench, host("web-1.example.test")).await.unwrap();
    bench.run_all(job_id).await;
    assert_eq!(bench.error_code(job_id), Some(JobErrorCode::RemoteHostUnreachable));
}

async fn active(bench: &Bench) -> NodeId {
    let (node_id, _) = ask(bench, host("web-1.example.test")).await.unwrap();
    bench.run().await;
    node_id
}

fn other_key() -> HostKey {
    fake_host_key("another")
}

#[tokio::test]
async fn a_changed_host_key_is_an_error_until_the_operator_pins_the_new_one() {
    let (bench, remote) = Bench::with_remote();
    let node_id = active(&bench).await;
    bench.machines.change(node_id, |machine| machine.host_key = other_key());
    bench
        .host_keys
        .show("web-1.example.test", 2222, [fake_host_key("rsa"), other_key()]);
    remote.fail(
        ProviderMethod::Acquire,
        2,
        Fault::Refuses(Failure::new(JobErrorCode::SshHostKeyMismatch, "it shows another one")),
    );
    let again = bench.service.provision(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.error_code(again.job_id), Some(JobErrorCode::SshHostKeyMismatch));

    let wrong = fake_host_key("nobody's").fingerprint().unwrap();
    let error = bench.service.pin_host_key(node_id, wrong, None).await.unwrap_err();
    assert_eq!(error.code(), ApiErrorCode::Conflict);
    let shown = other_key().fingerprint().unwrap();
    assert!(error.to_string().contains(shown.as_str()), "{error}");
    assert_ne!(bench.node(node_id).target.unwrap().host_key, other_key());

    bench.service.pin_host_key(node_id, shown.clone(), None).await.unwrap();
    let node = bench.node(node_id);
    assert_eq!(node.target.unwrap().host_key, other_key());
    assert_eq!(node.remote.unwrap().host_key_fingerprint, Some(shown));
    bench.service.provision(node_id, None).await.unwrap();
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
}

#[tokio::test]
async fn a_host_key_is_pinned_for_idle_remote_nodes_that_answer_and_for_no_others() {
    let (bench, _) = Bench::with_remote();
    let node_id = active(&bench).await;
    let fingerprint = other_key().fingerprint().unwrap();
    let pin = |id| bench.service.pin_host_key(id, fingerprint.clone(), None);
    let code = |error: UseCaseError| error.code();
    assert_eq!(
        pin(node_id).await.map_err(code).unwrap_err(),
        ApiErrorCode::NodeUnreachable
    );

    bench.host_keys.show("web-1.example.test", 2222, [other_key()]);
    bench.service.provision(node_id, None).await.unwrap();
    assert_eq!(pin(node_id).await.map_err(code).unwrap_err(), ApiErrorCode::Conflict);
    bench.run().await;
    bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    assert_eq!(pin(node_id).await.map_err(code).unwrap_err(), ApiErrorCode::Conflict);

    let local = bench.active_node().await;
    let error = pin(local).await.unwrap_err();
    assert!(error.to_string().contains("read from its machine"), "{error}");
    assert_eq!(
        pin(NodeId::generate()).await.map_err(code).unwrap_err(),
        ApiErrorCode::NotFound
    );
}

#[tokio::test]
async fn a_server_without_a_remote_provider_says_so_and_makes_no_local_node_instead() {
    let bench = Bench::new();
    refused(
        &bench,
        host("web-1.example.test"),
        ApiErrorCode::BadRequest,
        "remote nodes",
    )
    .await;
}

#[tokio::test]
async fn deleting_a_remote_node_tells_what_stays() {
    let (bench, remote) = Bench::with_remote();
    remote.leave_in_place("the machine itself");
    let node_id = active(&bench).await;
    assert_eq!(
        bench.machines.of(node_id).unwrap().authorized_keys,
        [FakeKeys::PUBLIC_KEY]
    );
    let accepted = bench.service.delete(node_id, None).await.unwrap();
    bench.run().await;
    let detail = bench.step(accepted.job_id, "release").detail;
    assert_eq!(detail.as_deref(), Some("left in place: the machine itself"));
}

#[tokio::test]
async fn a_local_provider_that_cannot_tell_just_now_is_asked_for_the_machine_all_the_same() {
    let bench = Bench::new();
    bench.provider.set_capability(Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalProviderNotResponding,
        reason: "its daemon is out of reach".to_owned(),
        remedy: "start it".to_owned(),
    }));
    bench.asked().await;
    bench.run().await;
    assert_eq!(bench.provider.count(ProviderMethod::Acquire), 1);

    let denied = Failure::new(JobErrorCode::LocalProviderDenied, "its socket is closed");
    let bench = Bench::new();
    bench
        .provider
        .fail_always(ProviderMethod::Capability, Fault::Refuses(denied));
    let (_, job_id) = bench.asked().await;
    bench.run().await;
    assert_eq!(bench.error_code(job_id), Some(JobErrorCode::LocalProviderDenied));
    assert_eq!(bench.provider.count(ProviderMethod::Acquire), 0);
}
