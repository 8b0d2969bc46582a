//! The use cases of nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{AccountId, ApiErrorCode, Clock, JobErrorCode, NodeId};
use jobs::{Failure, JobKind, JobStatus, NewJob, PageRequest, StepContext};
use nodes_domain::{
    AcquisitionSource, Capability, Idempotency, Node, NodeFilter, NodeStatus, NodeTarget, ProbeFacts, ProviderId,
    Readiness, ReadinessProbe, ReasonCode, SshError, Unavailable,
};
use operations::{CreateLocalNode, NodeDeps, NodesService, ProviderRegistry, UseCaseError, present_readiness};
use test_support::{FakeHostKeys, FakeOwnHost, FakeProvider, Fault, ProviderMethod};

use crate::bench::{Bench, HOST};

/// Those that are gone, too.
fn every() -> NodeFilter {
    NodeFilter {
        include_decommissioned: true,
        ..NodeFilter::default()
    }
}

#[tokio::test]
async fn a_request_for_a_node_writes_the_node_and_its_job_wakes_the_worker_and_touches_no_machine() {
    let bench = Bench::new();
    let name = "Blog machine".parse().unwrap();
    let created = bench
        .service
        .create_local(CreateLocalNode { name: Some(name) }, None, None)
        .await
        .unwrap();
    let node = bench.node(created.node_id);
    assert_eq!(
        (node.status, node.name.as_str()),
        (NodeStatus::Provisioning, "Blog machine")
    );
    assert_eq!(
        (node.source, node.provider.as_str()),
        (AcquisitionSource::Local, "fake")
    );
    assert_eq!((node.target, node.readiness), (None, None));
    let job = bench.job(created.job_id);
    assert_eq!((job.kind, job.status), (JobKind::NodeProvision, JobStatus::Queued));
    assert_eq!((job.node_id, job.max_attempts), (Some(created.node_id), 3));
    assert_eq!(bench.signal.wakes(), 1);
    assert_eq!(bench.provider.calls(), []);
}

#[tokio::test]
async fn a_new_installation_has_no_node_and_no_job() {
    let bench = Bench::new();
    bench.reconciler().round().await.unwrap();
    let page = PageRequest { limit: 10, after: None };
    assert!(bench.service.list(&every(), &page).await.unwrap().items.is_empty());
    assert!(bench.jobs.all_events().is_empty());
}

#[tokio::test]
async fn a_request_for_a_node_is_refused_where_the_configured_provider_is_not_built_in() {
    let provider = Arc::new(FakeProvider::new("fake"));
    let registry = ProviderRegistry::new(ProviderId::new("multipass")).with(provider.clone());
    let bench = Bench::with(provider, registry, |workflow| workflow);
    let refused = bench
        .service
        .create_local(CreateLocalNode { name: None }, None, None)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::BadRequest);
    assert!(bench.nodes.all().is_empty());
    assert_eq!((bench.signal.wakes(), bench.provider.calls()), (0, vec![]));
    assert!(bench.service.providers().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_same_idempotency_key_answers_the_same_node_and_for_another_request_it_is_a_conflict() {
    let bench = Bench::new();
    let account_id = AccountId::generate();
    let given = |account_id, hash: &str| {
        let key = "k-1".to_owned();
        let request_hash = hash.to_owned();
        Some(Idempotency {
            account_id,
            key,
            request_hash,
        })
    };
    let create = |idempotency| {
        bench
            .service
            .create_local(CreateLocalNode { name: None }, idempotency, None)
    };
    let first = create(given(account_id, "a")).await.unwrap();
    let again = create(given(account_id, "a")).await.unwrap();
    assert_eq!(
        (again.node_id, again.job_id, again.replayed),
        (first.node_id, first.job_id, true)
    );
    let refused = create(given(account_id, "b")).await.unwrap_err();
    assert_eq!(refused.code(), ApiErrorCode::Conflict);
    let other = create(given(AccountId::generate(), "a")).await.unwrap();
    assert_ne!(other.node_id, first.node_id);
    assert_eq!(bench.nodes.all().len(), 2);
}

#[tokio::test]
async fn nodes_are_listed_newest_first_without_the_decommissioned_ones() {
    let bench = Bench::new();
    let gone = bench.active_node().await;
    bench.service.delete(gone, None).await.unwrap();
    bench.run().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.insert(0, bench.asked().await.0);
    }
    let ids = |nodes: Vec<Node>| nodes.into_iter().map(|node| node.id).collect::<Vec<_>>();
    let first = bench
        .service
        .list(&NodeFilter::default(), &PageRequest { limit: 2, after: None })
        .await
        .unwrap();
    assert_eq!(ids(first.items), expected[..2]);
    let second = bench
        .service
        .list(
            &NodeFilter::default(),
            &PageRequest {
                limit: 2,
                after: first.next,
            },
        )
        .await
        .unwrap();
    assert_eq!((ids(second.items), second.next), (expected[2..].to_vec(), None));
    let all = bench
        .service
        .list(&every(), &PageRequest { limit: 10, after: None })
        .await
        .unwrap();
    assert!(ids(all.items).contains(&gone));
}

#[tokio::test]
async fn a_node_is_provisioned_or_deleted_from_exactly_the_statuses_that_allow_it() {
    for status in NodeStatus::ALL.iter().copied() {
        let provisionable = !matches!(status, NodeStatus::Decommissioning | NodeStatus::Decommissioned);
        let deletable = status != NodeStatus::Decommissioned;
        let bench = Bench::new();
        let mut node = bench.node(bench.active_node().await);
        for (expected, is_delete) in [(provisionable, false), (deletable, true)] {
            node.id = NodeId::generate();
            node.status = status;
            bench.nodes.put(node.clone());
            let answer = if is_delete {
                bench.service.delete(node.id, None).await
            } else {
                bench.service.provision(node.id, None).await
            };
            match answer {
                Ok(accepted) => assert_eq!(bench.job(accepted.job_id).status, JobStatus::Queued),
                Err(ref error) => assert_eq!(error.code(), ApiErrorCode::Conflict),
            }
            assert_eq!(answer.is_ok(), expected, "{status}, delete: {is_delete}");
        }
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_not_found() {
    let bench = Bench::new();
    let id = NodeId::generate();
    for answer in [
        bench.service.get(id).await.map(|_| ()),
        bench.service.provision(id, None).await.map(|_| ()),
        bench.service.delete(id, None).await.map(|_| ()),
        bench.service.check_readiness(id).await.map(|_| ()),
    ] {
        assert_eq!(answer.unwrap_err().code(), ApiErrorCode::NotFound);
    }
}

#[tokio::test]
async fn a_second_job_for_a_node_is_a_conflict_while_the_first_waits() {
    let bench = Bench::new();
    let (node_id, _) = bench.asked().await;
    let refused = bench.service.provision(node_id, None).await.unwrap_err();
    assert!(matches!(refused, UseCaseError::Conflict(_)));
}

#[tokio::test]
async fn a_readiness_check_stores_what_it_saw_and_brings_an_unreachable_node_back() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.probe.next(SshError::HostKeyMismatch);
    let seen = bench.service.check_readiness(node_id).await.unwrap();
    assert_eq!(
        seen.reason_codes,
        [ReasonCode::NodeStatusNotActive, ReasonCode::HostKeyMismatch]
    );
    assert_eq!(bench.node(node_id).status, NodeStatus::Unreachable);
    bench.clock.advance(Duration::from_secs(5));
    let seen = bench.service.check_readiness(node_id).await.unwrap();
    assert!(seen.is_ready);
    assert_eq!(seen.checked_at, bench.clock.now());
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    assert_eq!(bench.node(node_id).readiness, Some(seen));
}

#[tokio::test]
async fn a_readiness_check_of_a_node_at_work_answers_and_stores_nothing() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.jobs.enqueue(NewJob::on_node(JobKind::NodeProvision, node_id, 3));
    let before = bench.node(node_id);
    bench.probe.next(SshError::AuthRejected);
    let seen = bench.service.check_readiness(node_id).await.unwrap();
    assert_eq!(seen.reason_codes, [ReasonCode::SshAuthRejected]);
    assert_eq!(bench.node(node_id).state_version, before.state_version);
}

#[tokio::test]
async fn a_readiness_check_of_a_failed_node_says_what_it_sees_and_does_not_make_it_active() {
    let bench = Bench::new();
    let mut node = bench.node(bench.active_node().await);
    node.status = NodeStatus::Failed;
    bench.nodes.put(node.clone());
    let seen = bench.service.check_readiness(node.id).await.unwrap();
    assert_eq!(
        (seen.is_ready, seen.reason_codes),
        (false, vec![ReasonCode::NodeStatusNotActive])
    );
    assert_eq!(bench.node(node.id).status, NodeStatus::Failed);
}

#[tokio::test]
async fn a_readiness_check_of_a_node_without_an_address_probes_nothing() {
    let bench = Bench::new();
    let (node_id, _) = bench.asked().await;
    let seen = bench.service.check_readiness(node_id).await.unwrap();
    assert_eq!(
        seen.reason_codes,
        [ReasonCode::NodeStatusNotActive, ReasonCode::NodeHostMissing]
    );
    assert!(bench.probe.probed().is_empty());
}

#[tokio::test]
async fn the_stored_readiness_is_shown_as_ready_under_the_status_active_only() {
    let bench = Bench::new();
    let node = bench.node(bench.active_node().await);
    let now = bench.clock.now();
    for status in NodeStatus::ALL.iter().copied() {
        let node = Node { status, ..node.clone() };
        let shown = present_readiness(&node, now);
        let stored = node.readiness.as_ref().unwrap();
        assert_eq!(shown.is_ready, status == NodeStatus::Active, "{status}");
        assert_eq!(shown.evidence, stored.evidence, "{status}");
        if status != NodeStatus::Active {
            assert_eq!(shown.reason_codes, [ReasonCode::NodeStatusNotActive], "{status}");
            assert!(shown.guidance[0].message.contains(status.as_str()), "{status}");
        }
    }
}

#[tokio::test]
async fn the_shown_readiness_names_the_present_status_and_not_the_one_of_the_last_check() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    bench.probe.next(SshError::AuthRejected);
    bench.reconciler().round().await.unwrap();
    let unreachable = bench.node(node_id);
    assert_eq!(unreachable.status, NodeStatus::Unreachable);
    for status in NodeStatus::ALL
        .iter()
        .copied()
        .filter(|status| *status != NodeStatus::Active)
    {
        let shown = present_readiness(
            &Node {
                status,
                ..unreachable.clone()
            },
            bench.clock.now(),
        );
        assert_eq!(
            shown.reason_codes,
            [ReasonCode::NodeStatusNotActive, ReasonCode::SshAuthRejected],
            "{status}"
        );
        let message = &shown.guidance[0].message;
        assert!(
            message.contains(&format!("Its status is {status}: ")),
            "{status}: {message}"
        );
        assert_consistent(&shown);
    }
}

#[tokio::test]
async fn a_node_without_a_check_is_shown_as_not_ready_with_its_reasons() {
    let bench = Bench::new();
    let (node_id, _) = bench.asked().await;
    let shown = present_readiness(&bench.node(node_id), bench.clock.now());
    assert_eq!(
        shown.reason_codes,
        [ReasonCode::NodeStatusNotActive, ReasonCode::NodeHostMissing]
    );
    assert_consistent(&shown);
}

fn assert_consistent(shown: &Readiness) {
    assert_eq!(shown.is_ready, shown.reason_codes.is_empty());
    let codes: Vec<_> = shown.guidance.iter().map(|entry| entry.reason_code).collect();
    assert_eq!(codes, shown.reason_codes);
}

#[tokio::test]
async fn the_list_of_providers_says_what_is_missing_and_what_to_do() {
    let bench = Bench::new();
    let missing = Capability::Unavailable(Unavailable {
        code: JobErrorCode::LocalProviderUnavailable,
        reason: "`multipass` is not on the PATH.".to_owned(),
        remedy: "Run `snap install multipass`.".to_owned(),
    });
    bench.provider.set_capability(missing.clone());
    let providers = bench.service.providers().await.unwrap();
    assert_eq!(providers.len(), 1);
    assert_eq!(
        (providers[0].id.as_str(), providers[0].source),
        ("fake", AcquisitionSource::Local)
    );
    assert_eq!(providers[0].capability, missing);
}

#[tokio::test]
async fn a_provider_that_fails_to_say_what_it_can_do_is_listed_with_the_codes_remedy() {
    let bench = Bench::new();
    let code = JobErrorCode::LocalProviderNotResponding;
    bench.provider.fail(
        ProviderMethod::Capability,
        1,
        Fault::Refuses(Failure::new(code, "no answer in 5 s")),
    );
    let providers = bench.service.providers().await.unwrap();
    let expected = Unavailable {
        code,
        reason: "no answer in 5 s".to_owned(),
        remedy: code.remedy().to_owned(),
    };
    assert_eq!(providers[0].capability, Capability::Unavailable(expected));
    let again = bench.service.providers().await.unwrap();
    assert_eq!(again[0].capability, Capability::Available);
}

#[tokio::test]
async fn a_provider_that_does_not_answer_in_time_is_listed_as_not_responding() {
    let bench = Bench::new();
    bench.provider.fail(ProviderMethod::Capability, 1, Fault::TakesTooLong);
    let providers = bench.service.providers().await.unwrap();
    let Capability::Unavailable(told) = &providers[0].capability else {
        panic!("it did not answer");
    };
    assert_eq!(told.code, JobErrorCode::LocalProviderNotResponding);
    assert_eq!(told.reason, "No answer within 10 s");
}

#[tokio::test]
async fn a_provider_added_under_a_known_id_replaces_the_other() {
    let (old, new) = (Arc::new(FakeProvider::new("fake")), Arc::new(FakeProvider::new("fake")));
    let registry = ProviderRegistry::new(ProviderId::new("fake"))
        .with(old.clone())
        .with(new.clone());
    let bench = Bench::with(new.clone(), registry, |workflow| workflow);
    bench.active_node().await;
    assert_eq!((old.calls().len(), new.count(ProviderMethod::Acquire)), (0, 1));
}

#[tokio::test]
async fn the_installations_key_is_shown_and_a_key_that_cannot_be_made_is_an_internal_error() {
    let bench = Bench::new();
    assert_eq!(
        bench.service.ssh_key().await.unwrap().public_key,
        test_support::FakeKeys::PUBLIC_KEY
    );
    bench.keys.fail(Failure::new(
        JobErrorCode::SshKeyGenerationFailed,
        "the folder is read-only",
    ));
    let error = bench.service.ssh_key().await.unwrap_err();
    assert_eq!(error.code(), ApiErrorCode::Internal);
    assert!(
        !error.to_string().contains("read-only"),
        "internals never reach a client"
    );
}

/// A probe that never answers, as over a connection to a machine that froze.
struct Silence;

#[async_trait]
impl ReadinessProbe for Silence {
    async fn probe(&self, _: NodeId, _: &NodeTarget, _: &StepContext) -> ProbeFacts {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_readiness_check_answers_within_ten_seconds_whatever_its_probe_does() {
    let bench = Bench::new();
    let node_id = bench.active_node().await;
    let service = NodesService::new(NodeDeps {
        store: bench.nodes.clone(),
        registry: ProviderRegistry::new(ProviderId::new("none")),
        keys: bench.keys.clone(),
        probe: Arc::new(Silence),
        host_keys: Arc::new(FakeHostKeys::default()),
        own_host: Arc::new(FakeOwnHost),
        clock: bench.clock.clone(),
        signal: bench.signal.clone(),
        host_id: HOST.to_owned(),
        max_attempts: 1,
    });
    let before = bench.clock.sleeps().len();
    let (seen, ()) = tokio::join!(service.check_readiness(node_id), async {
        while bench.clock.sleeps().len() == before {
            tokio::task::yield_now().await;
        }
        bench.clock.advance(Duration::from_secs(10));
    });
    assert_eq!(seen.unwrap().reason_codes, [ReasonCode::NodeUnreachable]);
    // One silence is no outage.
    assert_eq!(bench.node(node_id).status, NodeStatus::Active);
    assert_eq!(bench.node(node_id).probe_failures, 1);
}
