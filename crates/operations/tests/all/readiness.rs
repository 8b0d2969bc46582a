//! The rule that turns a node's status, its target and the facts of a probe into reasons.

use std::time::Duration;

use domain_kernel::{Clock, StopReason};
use nodes_domain::{
    Node, NodeStatus, ProbeFacts, ProbeResult, ReasonCode, RuntimeCheck, SshError, readiness as judged,
};

use crate::bench::Bench;

const WHOLE: ProbeResult = ProbeResult::LoggedIn {
    sudo: true,
    runtime: Vec::new(),
};

/// The reasons against an active node whose probe ended in `result`.
async fn reasons(change: impl FnOnce(&mut Node), result: Option<ProbeResult>) -> Vec<ReasonCode> {
    let bench = Bench::new();
    let mut node = bench.node(bench.active_node().await);
    change(&mut node);
    let now = bench.clock.now();
    let facts = result.map(|result| ProbeFacts {
        result,
        evidence: Vec::new(),
        checked_at: now,
    });
    let seen = judged(&node, node.status, facts.as_ref(), now);
    assert_eq!(seen.is_ready, seen.reason_codes.is_empty() && facts.is_some());
    let told: Vec<_> = seen.guidance.iter().map(|entry| entry.reason_code).collect();
    assert_eq!(told, seen.reason_codes);
    for entry in &seen.guidance {
        assert!(
            entry.message.starts_with(entry.reason_code.guidance()),
            "{}",
            entry.message
        );
    }
    seen.reason_codes
}

fn part(name: &str, works: bool) -> RuntimeCheck {
    RuntimeCheck {
        name: name.to_owned(),
        works,
    }
}

#[tokio::test]
async fn an_active_node_with_login_sudo_and_runtime_is_ready_and_without_a_probe_it_is_not() {
    assert_eq!(reasons(|_| {}, Some(WHOLE)).await, []);
    assert_eq!(reasons(|_| {}, None).await, []);
}

#[tokio::test]
async fn what_is_missing_in_the_target_is_told() {
    let no_target = reasons(|node| node.target = None, None).await;
    assert_eq!(no_target, [ReasonCode::NodeHostMissing]);
    let broken = |node: &mut Node| {
        if let Some(target) = &mut node.target {
            target.hostname = " ".to_owned();
            target.ssh_port = 0;
            target.ssh_user = String::new();
        }
    };
    let expected = [
        ReasonCode::NodeHostMissing,
        ReasonCode::SshPortInvalid,
        ReasonCode::SshUserMissing,
    ];
    assert_eq!(reasons(broken, None).await, expected);
}

#[tokio::test]
async fn every_way_not_to_log_in_has_its_reason() {
    let silence = ReasonCode::NodeUnreachable;
    for (error, code) in [
        (SshError::AuthRejected, ReasonCode::SshAuthRejected),
        (SshError::HostKeyMismatch, ReasonCode::HostKeyMismatch),
        (SshError::Refused, silence),
        (SshError::Unreachable("no route to host".to_owned()), silence),
        (SshError::TimedOut(Duration::from_secs(8)), silence),
        (SshError::Stopped(StopReason::Shutdown), silence),
        (SshError::Other("kex_exchange_identification".to_owned()), silence),
    ] {
        let told = error.to_string();
        assert_eq!(
            reasons(|_| {}, Some(ProbeResult::NoLogin(error))).await,
            [code],
            "{told}"
        );
    }
}

#[tokio::test]
async fn without_sudo_nothing_is_said_of_the_runtime_because_parts_of_it_cannot_be_looked_at() {
    let result = ProbeResult::LoggedIn {
        sudo: false,
        runtime: vec![part("nginx", true), part("MariaDB", false), part("Redis", false)],
    };
    assert_eq!(reasons(|_| {}, Some(result)).await, [ReasonCode::SudoUnavailable]);
}

#[tokio::test]
async fn a_whole_machine_is_not_ready_under_any_other_status() {
    for status in NodeStatus::ALL
        .iter()
        .copied()
        .filter(|status| *status != NodeStatus::Active)
    {
        let told = reasons(|node| node.status = status, Some(WHOLE)).await;
        assert_eq!(told, [ReasonCode::NodeStatusNotActive], "{status}");
    }
}
