//! Previews of the environments of a [`FakeSiteRuntime`](crate::FakeSiteRuntime).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::Secret;
use jobs::{StepContext, StepError};
use sites_domain::{PreviewError, PreviewProbe};

use crate::FakeEnvironments;
use crate::fake_provider::{lock, pause};

/// Asks the environments for their proof: what it meets follows from them, unless a test says otherwise.
pub struct FakePreview {
    environments: FakeEnvironments,
    next: Mutex<VecDeque<PreviewError>>,
    always: Mutex<Option<PreviewError>>,
    asked: Mutex<Vec<(String, IpAddr)>>,
}

impl FakePreview {
    /// Previews of these.
    pub fn new(environments: FakeEnvironments) -> Self {
        Self {
            environments,
            next: Mutex::default(),
            always: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The next one meets this, after those that were said before.
    pub fn next(&self, error: PreviewError) {
        lock(&self.next).push_back(error);
    }

    /// Every one meets this; `None` ends it.
    pub fn always(&self, error: Option<PreviewError>) {
        *lock(&self.always) = error;
    }

    /// What was asked, and at which address.
    pub fn asked(&self) -> Vec<(String, IpAddr)> {
        lock(&self.asked).clone()
    }
}

#[async_trait]
impl PreviewProbe for FakePreview {
    async fn prove(
        &self,
        url: &str,
        address: IpAddr,
        secret: &Secret,
        context: &StepContext,
    ) -> Result<(), PreviewError> {
        lock(&self.asked).push((url.to_owned(), address));
        pause(context).await.map_err(|error| match error {
            StepError::Stopped(reason) => PreviewError::Stopped(reason),
            _ => PreviewError::TimedOut(Duration::ZERO),
        })?;
        let next = lock(&self.next).pop_front();
        if let Some(error) = next.or_else(|| lock(&self.always).clone()) {
            return Err(error);
        }
        let known = self.environments.all().into_values().find(|known| known.url == url);
        match known {
            None => Err(PreviewError::NoAnswer {
                address: format!("{address}:80"),
                reason: "no environment".to_owned(),
            }),
            Some(known) if known.content.contains("broken") => Err(PreviewError::NoProof),
            Some(known) if known.proof_secret != *secret => Err(PreviewError::WrongProof),
            Some(_) => Ok(()),
        }
    }
}
