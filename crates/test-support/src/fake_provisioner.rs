//! Provisioning of the machines of a [`FakeProvider`](crate::FakeProvider).

use std::sync::Mutex;

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext, StepError, TaskProgress, TaskStatus};
use nodes_domain::{NodeProvisioner, NodeTarget, ProvisionSummary, RuntimeImage};

use crate::fake_provider::{after_acting, before_acting, lock, pause};
use crate::{FakeMachines, Fault};

/// Turns a machine into a provisioned one: one task that changes something the first time and nothing later.
pub struct FakeProvisioner {
    machines: FakeMachines,
    faults: Mutex<Vec<(usize, Fault)>>,
    runs: Mutex<Vec<NodeId>>,
}

impl FakeProvisioner {
    /// Provisions these machines.
    pub fn new(machines: FakeMachines) -> Self {
        Self {
            machines,
            faults: Mutex::default(),
            runs: Mutex::default(),
        }
    }

    /// Makes run number `nth` (from 1) go wrong.
    pub fn fail(&self, nth: usize, fault: Fault) {
        lock(&self.faults).push((nth, fault));
    }

    /// The nodes that were provisioned, in order.
    pub fn runs(&self) -> Vec<NodeId> {
        lock(&self.runs).clone()
    }

    fn fault(&self) -> Option<Fault> {
        let run = lock(&self.runs).len();
        let faults = lock(&self.faults);
        faults
            .iter()
            .find(|(nth, _)| *nth == run)
            .map(|(_, fault)| fault.clone())
    }
}

#[async_trait]
impl NodeProvisioner for FakeProvisioner {
    async fn runtime_image(&self) -> Result<RuntimeImage, Failure> {
        Ok(RuntimeImage {
            key: "0f".repeat(32),
            secrets: vec!["/etc/pressluft".to_owned()],
        })
    }

    async fn provision(
        &self,
        node_id: NodeId,
        _target: &NodeTarget,
        context: &StepContext,
    ) -> Result<ProvisionSummary, StepError> {
        lock(&self.runs).push(node_id);
        let fault = self.fault();
        pause(context).await?;
        before_acting(fault.as_ref(), context).await?;
        let mut summary = ProvisionSummary::default();
        self.machines.change(node_id, |machine| {
            if machine.provisioned {
                summary.ok = 1;
            } else {
                summary.changed = 1;
                machine.provisioned = true;
            }
        });
        let status = if summary.changed > 0 {
            TaskStatus::Changed
        } else {
            TaskStatus::Ok
        };
        let task = TaskProgress {
            name: "nginx : Install".to_owned(),
            status,
            duration_ms: None,
            message: None,
        };
        context.task(&task).await;
        pause(context).await?;
        after_acting(fault)?;
        Ok(summary)
    }
}
