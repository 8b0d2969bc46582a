//! The published registry of job types says what the workflows do.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain_kernel::JobErrorCode;
use jobs::{JobKind, RetryPolicy, Workflow};
use nodes_domain::ProviderId;
use operations::{NodeDecommission, NodeProvision, ProviderRegistry};
use serde_json::{Value, json};
use test_support::{FakeProbe, FakeProvisioner};

use crate::panel::Panel;
use crate::schema::DOCUMENT;

fn registry() -> Value {
    let files = api::contracts();
    let (_, text) = files.iter().find(|(name, _)| *name == "job-types.json").unwrap();
    serde_json::from_str(text).unwrap()
}

/// The workflows of nodes and of sites.
async fn workflows() -> Vec<Arc<dyn Workflow>> {
    let panel = Panel::new().await;
    let machines = panel.provider.machines();
    let registry = ProviderRegistry::new(ProviderId::new("fake")).with(panel.provider.clone());
    let (store, ssh) = (panel.nodes.clone(), panel.ssh.clone());
    let mut all: Vec<Arc<dyn Workflow>> = vec![
        Arc::new(NodeProvision {
            store: store.clone(),
            registry: registry.clone(),
            keys: panel.keys.clone(),
            ssh: ssh.clone(),
            provisioner: Arc::new(FakeProvisioner::new(machines.clone())),
            probe: Arc::new(FakeProbe::new(machines)),
        }),
        Arc::new(NodeDecommission { store, registry, ssh }),
    ];
    all.extend(panel.parts.workflows());
    all
}

#[actix_web::test]
async fn the_registry_has_the_steps_and_the_limit_of_every_workflow() {
    let registry = registry();
    let published = registry["job_types"].as_array().unwrap();
    let kinds: Vec<_> = published.iter().map(|kind| kind["job_type"].clone()).collect();
    assert_eq!(json!(kinds), json!(JobKind::ALL));
    let workflows = workflows().await;
    for workflow in &workflows {
        let kind = workflow.kind();
        let published = published.iter().find(|entry| entry["job_type"] == json!(kind)).unwrap();
        let steps: Vec<_> = workflow.steps().iter().map(|step| step.name()).collect();
        let told: Vec<_> = published["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            told, steps,
            "{kind}: enter the step in crates/api/src/contracts/job_types.rs"
        );
        assert_eq!(
            published["time_limit_s"],
            json!(workflow.time_limit().as_secs()),
            "{kind}"
        );
    }
    assert_eq!(workflows.len(), published.len());
    assert_eq!(
        registry["retry"]["max_attempts"],
        json!(RetryPolicy::default().max_attempts())
    );
    assert_eq!(registry["retry"]["delays_s"], json!([60, 300]));
}

#[test]
fn every_job_code_is_one_that_some_kind_of_job_can_end_in() {
    let registry = registry();
    let kinds = registry["job_types"].as_array().unwrap();
    let told: BTreeSet<_> = kinds
        .iter()
        .flat_map(|kind| kind["codes"].as_array().unwrap())
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<_> = JobErrorCode::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(told, known);
}

#[test]
fn every_request_that_enqueues_a_job_is_one_of_the_api() {
    for kind in registry()["job_types"].as_array().unwrap() {
        for request in kind["requests"].as_array().unwrap() {
            let (method, path) = request.as_str().unwrap().split_once(' ').unwrap();
            let operation = &DOCUMENT["paths"][path][method.to_lowercase()];
            assert!(operation["responses"]["202"].is_object(), "{request}");
        }
        let of_node = kind["job_type"].as_str().unwrap().starts_with("node_");
        let keys = if of_node {
            json!(["node:{node_id}"])
        } else {
            json!(["site:{site_id}", "node:{node_id}"])
        };
        assert_eq!(kind["exclusion_keys"], keys, "{}", kind["job_type"]);
    }
}
