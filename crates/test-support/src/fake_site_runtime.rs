//! Sites on machines in memory: what an environment holds is one text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain_kernel::{JobErrorCode, NodeId, Secret, ShortId};
use jobs::{StepContext, StepError};
use sites_domain::{
    CreateEnvironment, CreatedEnvironment, EnvironmentPlace, RestoreEnd, RestoreRequest, SiteRuntime, StageBackup,
    StagedBackup, StoredObject,
};

use crate::fake_provider::{after_acting, before_acting, lock, pause};
use crate::{FakeNodeFiles, Fault, sha256_of};

/// An environment in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeEnvironment {
    /// Its node.
    pub node_id: NodeId,
    /// Its site.
    pub site: ShortId,
    /// The address that its database says it has.
    pub url: String,
    /// What it proves itself with.
    pub proof_secret: Secret,
    /// All that it holds. Where the word `broken` is in it, it does not prove itself.
    pub content: String,
    /// What it held before a restore that is not ended yet.
    pub before: Option<String>,
}

/// The environments of all machines by their short ids. Clones share them.
#[derive(Clone, Default)]
pub struct FakeEnvironments(Arc<Mutex<BTreeMap<ShortId, FakeEnvironment>>>);

impl FakeEnvironments {
    /// All of them.
    pub fn all(&self) -> BTreeMap<ShortId, FakeEnvironment> {
        lock(&self.0).clone()
    }

    /// One of them.
    pub fn get(&self, id: &ShortId) -> Option<FakeEnvironment> {
        lock(&self.0).get(id).cloned()
    }

    /// Their node lost them all.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Changes one, if it is there.
    pub fn change(&self, id: &ShortId, change: impl FnOnce(&mut FakeEnvironment)) {
        if let Some(environment) = lock(&self.0).get_mut(id) {
            change(environment);
        }
    }
}

/// The methods of [`SiteRuntime`] that are recorded and can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeMethod {
    /// `create`
    Create,
    /// `delete`
    Delete,
    /// `stage_backup`
    StageBackup,
    /// `restore`
    Restore,
    /// `end_restore` with `Keep`
    Keep,
    /// `end_restore` with `RollBack`
    RollBack,
}

/// A runtime in memory: it keeps every rule of a runtime, records its calls, and fails where a test says so. It gives way
/// before and after it acts, so that a test can drop or stop a run there.
pub struct FakeSiteRuntime {
    environments: FakeEnvironments,
    files: FakeNodeFiles,
    faults: Mutex<Vec<(RuntimeMethod, Option<usize>, Fault)>>,
    calls: Mutex<Vec<(RuntimeMethod, ShortId)>>,
    whole_sites: Mutex<Vec<ShortId>>,
}

impl FakeSiteRuntime {
    /// A runtime whose machines have these files.
    pub fn new(files: FakeNodeFiles) -> Self {
        Self {
            environments: FakeEnvironments::default(),
            files,
            faults: Mutex::default(),
            calls: Mutex::default(),
            whole_sites: Mutex::default(),
        }
    }

    /// Its environments.
    pub fn environments(&self) -> FakeEnvironments {
        self.environments.clone()
    }

    /// Makes the call number `nth` (from 1) of a method go wrong.
    pub fn fail(&self, method: RuntimeMethod, nth: usize, fault: Fault) {
        lock(&self.faults).push((method, Some(nth), fault));
    }

    /// Makes every call of a method go wrong.
    pub fn fail_always(&self, method: RuntimeMethod, fault: Fault) {
        lock(&self.faults).push((method, None, fault));
    }

    /// From now on nothing goes wrong.
    pub fn heal(&self) {
        lock(&self.faults).clear();
    }

    /// The calls so far, with the environment that each was about.
    pub fn calls(&self) -> Vec<(RuntimeMethod, ShortId)> {
        lock(&self.calls).clone()
    }

    /// How often a method was called.
    pub fn count(&self, method: RuntimeMethod) -> usize {
        lock(&self.calls).iter().filter(|(called, _)| *called == method).count()
    }

    /// The sites whose folders were removed.
    pub fn whole_sites(&self) -> Vec<ShortId> {
        lock(&self.whole_sites).clone()
    }

    async fn call<T>(
        &self,
        method: RuntimeMethod,
        place: &EnvironmentPlace,
        context: &StepContext,
        act: impl FnOnce(&mut BTreeMap<ShortId, FakeEnvironment>) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        lock(&self.calls).push((method, place.environment.clone()));
        let count = self.count(method);
        let fault = {
            let faults = lock(&self.faults);
            let mut of_method = faults.iter().filter(|(of, _, _)| *of == method);
            let found = of_method.find(|(_, nth, _)| nth.is_none_or(|nth| nth == count));
            found.map(|(_, _, fault)| fault.clone())
        };
        pause(context).await?;
        before_acting(fault.as_ref(), context).await?;
        let answer = act(&mut lock(&self.environments.0))?;
        pause(context).await?;
        after_acting(fault)?;
        Ok(answer)
    }
}

fn missing(what: &str) -> StepError {
    StepError::failed(JobErrorCode::AnsibleHostFailed, format!("There is no {what}"))
}

#[async_trait]
impl SiteRuntime for FakeSiteRuntime {
    async fn create(
        &self,
        request: &CreateEnvironment,
        context: &StepContext,
    ) -> Result<CreatedEnvironment, StepError> {
        let place = &request.place;
        self.call(RuntimeMethod::Create, place, context, |environments| {
            for artifact in [&request.wordpress, &request.wp_cli] {
                if self.files.get(place.node_id, &artifact.node_path()).is_none() {
                    return Err(missing(artifact.kind.as_str()));
                }
            }
            if request.existing && !environments.contains_key(&place.environment) {
                return Err(missing("environment"));
            }
            let content = match &request.source {
                None => format!("new WordPress `{}`", request.title),
                Some(source) => {
                    let known = environments
                        .get(&source.environment)
                        .filter(|known| known.url == source.url);
                    known.ok_or_else(|| missing("source"))?.content.clone()
                }
            };
            let changed = environments
                .get(&place.environment)
                .is_none_or(|known| known.url != request.url);
            let known = environments
                .entry(place.environment.clone())
                .or_insert(FakeEnvironment {
                    node_id: place.node_id,
                    site: place.site.clone(),
                    url: request.url.clone(),
                    proof_secret: request.secrets.proof_secret.clone(),
                    content,
                    before: None,
                });
            known.url.clone_from(&request.url);
            Ok(CreatedEnvironment {
                wordpress_version: request.wordpress.version.clone(),
                changed,
            })
        })
        .await
    }

    async fn delete(&self, place: &EnvironmentPlace, whole_site: bool, context: &StepContext) -> Result<(), StepError> {
        self.call(RuntimeMethod::Delete, place, context, |environments| {
            environments.remove(&place.environment);
            let mut whole = lock(&self.whole_sites);
            if whole_site && !whole.contains(&place.site) {
                whole.push(place.site.clone());
            }
            Ok(())
        })
        .await
    }

    async fn stage_backup(&self, request: &StageBackup, context: &StepContext) -> Result<StagedBackup, StepError> {
        let place = &request.place;
        self.call(RuntimeMethod::StageBackup, place, context, |environments| {
            let path = format!("/var/lib/pressluft/staging/{}.tar.zst", request.backup_id.short());
            let staged = self.files.get(place.node_id, &path);
            let bytes = match (staged, environments.get(&place.environment)) {
                (Some(staged), _) => staged,
                (None, Some(known)) => format!("{}\n{}", request.scope, known.content).into_bytes(),
                (None, None) if request.as_far_as_there => format!("{}\n", request.scope).into_bytes(),
                (None, None) => return Err(missing("environment")),
            };
            let object = StoredObject {
                size_bytes: bytes.len() as u64,
                sha256: sha256_of(&bytes),
            };
            self.files.put(place.node_id, &path, bytes);
            Ok(StagedBackup { path, object })
        })
        .await
    }

    async fn restore(&self, request: &RestoreRequest, context: &StepContext) -> Result<(), StepError> {
        let place = &request.place;
        self.call(RuntimeMethod::Restore, place, context, |environments| {
            let archive = self.files.get(place.node_id, &request.staged.path);
            let archive = archive.ok_or_else(|| missing("staged backup"))?;
            if sha256_of(&archive) != request.staged.object.sha256 {
                let what = "the staged file has another checksum";
                return Err(StepError::failed(JobErrorCode::BackupArtifactInvalid, what));
            }
            let text = String::from_utf8_lossy(&archive).into_owned();
            let (_, content) = text.split_once('\n').ok_or_else(|| missing("content"))?;
            let known = environments.get_mut(&place.environment);
            let known = known.ok_or_else(|| missing("environment"))?;
            if known.before.is_none() {
                known.before = Some(std::mem::replace(&mut known.content, content.to_owned()));
            }
            Ok(())
        })
        .await
    }

    async fn end_restore(
        &self,
        place: &EnvironmentPlace,
        end: RestoreEnd,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let method = match end {
            RestoreEnd::Keep => RuntimeMethod::Keep,
            RestoreEnd::RollBack => RuntimeMethod::RollBack,
        };
        self.call(method, place, context, |environments| {
            let known = environments.get_mut(&place.environment);
            let before = known.as_ref().and_then(|known| known.before.clone());
            if let (Some(known), Some(before)) = (known, before) {
                known.before = None;
                if end == RestoreEnd::RollBack {
                    known.content = before;
                }
            }
            Ok(())
        })
        .await
    }
}
