//! The work of sites: each kind of it is one run of a playbook with one module. What a module is given and what it
//! returns stands beside it in `ansible/sites/library`.

use async_trait::async_trait;
use domain_kernel::JobErrorCode;
use jobs::{StepContext, StepError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sites_domain::{
    CreateEnvironment, CreatedEnvironment, EnvironmentPlace, EnvironmentSecrets, RestoreEnd, RestoreRequest,
    SiteRuntime, StageBackup, StagedBackup, StoredObject,
};

use crate::playbook_run::{AnsibleRunner, Play};

#[async_trait]
impl SiteRuntime for AnsibleRunner {
    async fn create(
        &self,
        request: &CreateEnvironment,
        context: &StepContext,
    ) -> Result<CreatedEnvironment, StepError> {
        let playbook = match request.source {
            None => "site-create.yml",
            Some(_) => "env-create.yml",
        };
        let arguments = create_arguments(request);
        let made: Created = self.site_play(playbook, &request.place, arguments, context).await?;
        Ok(CreatedEnvironment {
            wordpress_version: made.wordpress_version,
            changed: made.changed,
        })
    }

    async fn delete(&self, place: &EnvironmentPlace, whole_site: bool, context: &StepContext) -> Result<(), StepError> {
        let playbook = if whole_site {
            "site-delete.yml"
        } else {
            "env-delete.yml"
        };
        let arguments = place_arguments(place);
        let _: Deleted = self.site_play(playbook, place, arguments, context).await?;
        Ok(())
    }

    async fn stage_backup(&self, request: &StageBackup, context: &StepContext) -> Result<StagedBackup, StepError> {
        let mut arguments = place_arguments(&request.place);
        arguments.extend(object(json!({
            "backup": request.backup_id.short().as_str(),
            "scope": request.scope.as_str(),
            "url": request.url,
            "as_far_as_there": request.as_far_as_there,
        })));
        let work = self.site_play("backup-create.yml", &request.place, arguments, context);
        let staged: Staged = work.await?;
        Ok(StagedBackup {
            path: staged.path,
            object: StoredObject {
                size_bytes: staged.size_bytes,
                sha256: staged.sha256,
            },
        })
    }

    async fn restore(&self, request: &RestoreRequest, context: &StepContext) -> Result<(), StepError> {
        self.restore_to(&request.place, restore_arguments(request), context)
            .await
    }

    async fn end_restore(
        &self,
        place: &EnvironmentPlace,
        end: RestoreEnd,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let state = match end {
            RestoreEnd::Keep => "kept",
            RestoreEnd::RollBack => "rolled_back",
        };
        let mut arguments = place_arguments(place);
        arguments.insert("state".to_owned(), state.into());
        self.restore_to(place, arguments, context).await
    }
}

impl AnsibleRunner {
    async fn restore_to(
        &self,
        place: &EnvironmentPlace,
        arguments: Map<String, Value>,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let work = self.site_play("env-restore.yml", place, arguments, context);
        let _: Restored = work.await?;
        Ok(())
    }

    /// Runs a playbook and reads what its module returned.
    async fn site_play<R: DeserializeOwned>(
        &self,
        playbook: &'static str,
        place: &EnvironmentPlace,
        arguments: Map<String, Value>,
        context: &StepContext,
    ) -> Result<R, StepError> {
        let play = Play {
            playbook,
            variables: Map::from_iter([("pressluft_arguments".to_owned(), untemplated(arguments.into()))]),
            node_id: place.node_id,
            target: &place.target,
        };
        let Some(result) = self.play(play, context).await?.result else {
            return Err(StepError::failed(
                JobErrorCode::Internal,
                format!("{playbook} ended well without its result"),
            ));
        };
        serde_json::from_value(result).map_err(|error| {
            let detail = format!("{playbook} ended well with another result than the one expected: {error}");
            StepError::failed(JobErrorCode::Internal, detail)
        })
    }
}

/// What `pressluft_environment` returns of one that has to be there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Created {
    wordpress_version: String,
    changed: bool,
}

/// What `pressluft_environment` returns of one that has to be gone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deleted {
    #[serde(rename = "wordpress_version")]
    _none: (),
    #[serde(rename = "changed")]
    _changed: bool,
}

/// What `pressluft_backup` returns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Staged {
    path: String,
    size_bytes: u64,
    sha256: String,
}

/// What `pressluft_restore` returns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restored {
    #[serde(rename = "changed")]
    _changed: bool,
}

fn create_arguments(request: &CreateEnvironment) -> Map<String, Value> {
    let mut arguments = place_arguments(&request.place);
    arguments.extend(secret_arguments(&request.secrets));
    arguments.extend(object(json!({
        "url": request.url,
        "title": request.title,
        "environment_type": request.environment_type.as_str(),
        "admin_user": request.secrets.admin_user,
        "admin_email": request.secrets.admin_email,
        "admin_password": request.secrets.admin_password.expose(),
        "wordpress": request.wordpress.node_path(),
        "wp_cli": request.wp_cli.node_path(),
        "existing": request.existing,
    })));
    if let Some(source) = &request.source {
        let source = json!({"environment": source.environment.as_str(), "url": source.url});
        arguments.insert("source".to_owned(), source);
    }
    arguments
}

fn restore_arguments(request: &RestoreRequest) -> Map<String, Value> {
    let mut arguments = place_arguments(&request.place);
    arguments.extend(secret_arguments(&request.secrets));
    arguments.extend(object(json!({
        "state": "restored",
        "environment_type": request.environment_type.as_str(),
        "url": request.url,
        "wp_cli": request.wp_cli.node_path(),
        "backup": request.backup_id.short().as_str(),
        "scope": request.scope.as_str(),
        "archive": request.staged.path,
        "archive_size_bytes": request.staged.object.size_bytes,
        "archive_sha256": request.staged.object.sha256,
    })));
    arguments
}

fn place_arguments(place: &EnvironmentPlace) -> Map<String, Value> {
    object(json!({"site": place.site.as_str(), "environment": place.environment.as_str()}))
}

/// What stands in a WordPress's configuration, and nowhere but in the private file of the run on the way there.
fn secret_arguments(secrets: &EnvironmentSecrets) -> Map<String, Value> {
    let salts = secrets.salts.iter();
    let salts: Map<_, _> = salts.map(|(name, salt)| (name.clone(), salt.expose().into())).collect();
    object(json!({
        "database_password": secrets.database_password.expose(),
        "redis_password": secrets.redis_password.expose(),
        "proof_secret": secrets.proof_secret.expose(),
        "salts": salts,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The same value with every text marked as one that is no template. Without it Ansible would run what stands between
/// braces in a title on the control plane.
fn untemplated(value: Value) -> Value {
    match value {
        Value::String(text) => json!({"__ansible_unsafe": text}),
        Value::Array(values) => values.into_iter().map(untemplated).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, untemplated(value)))
            .collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}
