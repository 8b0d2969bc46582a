//! Remote nodes: what the operator said of their hosts, one node for each, and the host keys that are pinned for them.

use accounts_domain::{AuditAction, AuditLog, AuditSubjectKind};
use jobs::{JobKind, NewJob, Outcome, PageRequest, StoreError};
use nodes_domain::{
    AcquisitionSource, HostKey, HostKeyPin, NewNode, NodeChange, NodeStatus, NodeStore, NodeTarget, RemoteHost,
};

use crate::support::{TestDatabase, new_node, store_tests, target};

fn host(name: &str) -> RemoteHost {
    RemoteHost {
        hostname: name.parse().unwrap(),
        ssh_port: 2222,
        ssh_user: "deploy".parse().unwrap(),
        public_ip: None,
        host_key_fingerprint: None,
    }
}

fn remote_node(host: RemoteHost) -> NewNode {
    NewNode {
        source: AcquisitionSource::Remote,
        remote: Some(host),
        ..new_node()
    }
}

async fn create(db: &TestDatabase, node: NewNode) -> Result<(), StoreError> {
    let job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
    db.store.create(node, job, None).await.map(drop)
}

/// Each address is another machine's, with a host key of its own.
fn at(address: &str) -> NodeChange {
    let data = address.replace('.', "/");
    with_key(address, &format!("ssh-ed25519 {data:A<68}"))
}

fn with_key(address: &str, host_key: &str) -> NodeChange {
    let target = NodeTarget {
        hostname: "web.example.test".to_owned(),
        public_ip: Some(address.parse().unwrap()),
        host_key: host_key.parse().unwrap(),
        ..target()
    };
    NodeChange {
        target: Some(target),
        ..NodeChange::default()
    }
}

fn taken(result: Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Duplicate(text)) if text.contains("is at this address already"))
}

store_tests! {
    async fn what_was_said_of_a_host_is_kept(db) {
        let mut said = host("web-1.example.test");
        said.public_ip = Some("2001:db8::7".parse().unwrap());
        said.host_key_fingerprint = Some(format!("SHA256:{}", "a".repeat(43)).parse().unwrap());
        let node = remote_node(said.clone());
        create(&db, node.clone()).await.unwrap();
        let kept = db.node(node.id).await;
        assert_eq!((kept.source, kept.remote), (AcquisitionSource::Remote, Some(said)));
    }

    async fn a_host_has_one_live_node(db) {
        let first = remote_node(host("web-1.example.test"));
        create(&db, first.clone()).await.unwrap();
        assert!(taken(create(&db, remote_node(host("WEB-1.example.test."))).await));
        let claimed = db.store_claim().await;
        db.store.change_in_job(&claimed, first.id, at("192.0.2.7")).await.unwrap();
        assert!(taken(create(&db, remote_node(host("192.0.2.7"))).await));
        assert!(taken(create(&db, remote_node(host("::ffff:192.0.2.7"))).await));
        create(&db, remote_node(host("web-2.example.test"))).await.unwrap();
        create(&db, new_node()).await.unwrap();

        // Once it is gone, its host can be asked for again.
        let failed = NodeChange::status(NodeStatus::Failed);
        db.store.settle_job(&claimed, &Outcome::Cancelled, first.id, failed).await.unwrap();
        let version = db.node(first.id).await.state_version;
        let job = NewJob::on_node(JobKind::NodeDecommission, first.id, 3);
        db.store.enqueue(first.id, version, NodeStatus::Decommissioning, job.clone(), true).await.unwrap();
        let claim = loop {
            let claim = db.store_claim().await;
            if claim.job_id == job.id {
                break claim;
            }
        };
        let gone = NodeChange::status(NodeStatus::Decommissioned);
        db.store.settle_job(&claim, &Outcome::Succeeded, first.id, gone).await.unwrap();
        create(&db, remote_node(host("web-1.example.test"))).await.unwrap();
    }

    async fn a_name_that_means_another_nodes_machine_is_refused_when_it_is_found_out(db) {
        let (first, second) = (remote_node(host("web-1.example.test")), remote_node(host("alias.example.test")));
        for node in [&first, &second] {
            create(&db, node.clone()).await.unwrap();
        }
        let claim = db.store_claim().await;
        db.store.change_in_job(&claim, first.id, at("192.0.2.7")).await.unwrap();
        db.store.change_in_job(&claim, first.id, at("192.0.2.7")).await.unwrap();
        let claim = db.store_claim().await;
        assert!(taken(db.store.change_in_job(&claim, second.id, at("192.0.2.7")).await.map(drop)));
        assert_eq!(db.node(second.id).await.target, None);
        db.store.change_in_job(&claim, second.id, at("192.0.2.8")).await.unwrap();
    }

    async fn a_machine_that_is_another_nodes_by_its_host_key_is_refused_at_whatever_address(db) {
        let (first, second) = (remote_node(host("192.0.2.7")), remote_node(host("alias.example.test")));
        for node in [&first, &second] {
            create(&db, node.clone()).await.unwrap();
        }
        let refused = |result: Result<(), StoreError>| {
            matches!(result, Err(StoreError::Duplicate(text)) if text.contains("has this host key already"))
        };
        let key = format!("ssh-ed25519 {}", "B".repeat(68));
        let claim = db.store_claim().await;
        db.store.change_in_job(&claim, first.id, with_key("192.0.2.7", &key)).await.unwrap();
        db.store.change_in_job(&claim, first.id, with_key("192.0.2.9", &key)).await.unwrap();
        let claim = db.store_claim().await;
        assert!(refused(db.store.change_in_job(&claim, second.id, with_key("203.0.113.9", &key)).await.map(drop)));
        assert_eq!(db.node(second.id).await.target, None);

        // The operator cannot pin it by hand either: giving one node back would close the other.
        let failed = NodeChange::status(NodeStatus::Failed);
        db.store.settle_job(&claim, &Outcome::Cancelled, second.id, failed).await.unwrap();
        let host_key: HostKey = key.parse().unwrap();
        let pin = HostKeyPin { fingerprint: host_key.fingerprint().unwrap(), host_key };
        let version = db.node(second.id).await.state_version;
        assert!(refused(db.store.pin_host_key(second.id, version, pin, None).await.map(drop)));
    }

    async fn a_pinned_host_key_takes_the_place_of_the_one_before_and_is_told(db) {
        let account = db.create_account("ops@example.test").await;
        let node = remote_node(host("web-1.example.test"));
        create(&db, node.clone()).await.unwrap();
        let claim = db.store_claim().await;
        let active = NodeChange { status: Some(NodeStatus::Active), ..at("192.0.2.7") };
        let host_key: HostKey = format!("ssh-ed25519 {}", "B".repeat(68)).parse().unwrap();
        let fingerprint = host_key.fingerprint().unwrap();
        let pin = HostKeyPin { host_key: host_key.clone(), fingerprint: fingerprint.clone() };
        let busy = db.store.pin_host_key(node.id, 1, pin.clone(), Some(account)).await;
        assert!(matches!(busy, Err(StoreError::NodeBusy { .. })));
        db.store.settle_job(&claim, &Outcome::Succeeded, node.id, active).await.unwrap();
        let stale = db.store.pin_host_key(node.id, 1, pin.clone(), Some(account)).await;
        assert!(matches!(stale, Err(StoreError::VersionConflict(_))));

        let version = db.node(node.id).await.state_version;
        db.store.pin_host_key(node.id, version, pin, Some(account)).await.unwrap();
        let pinned = db.node(node.id).await;
        assert_eq!(pinned.target.unwrap().host_key, host_key);
        assert_eq!(pinned.remote.unwrap().host_key_fingerprint, Some(fingerprint.clone()));
        assert_eq!((pinned.status, pinned.state_version), (NodeStatus::Active, version + 1));
        let page = PageRequest { limit: 1, after: None };
        let told = db.store.entries(&page).await.unwrap().items.remove(0);
        let subject = told.subject.unwrap();
        assert_eq!((told.action, told.account_id), (AuditAction::HostKeyPinned, Some(account)));
        assert_eq!((subject.kind, subject.id), (AuditSubjectKind::Node, node.id.to_string()));
        assert_eq!(told.detail.unwrap()["fingerprint"], fingerprint.as_str());
    }
}
