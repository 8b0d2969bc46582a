//! The work of sites: what its playbooks are given, and what becomes of their ends. With prepared answers where the course of
//! a run is looked at, and with the real `ansible-playbook` where its reading is.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{BackupId, JobErrorCode, Limits, NodeId, Secret, StopReason};
use jobs::{NewEvent, StepError};
use nodes_domain::{RemoteOutput, SshError};
use process_exec::fake::ScriptedRunner;
use process_exec::{CommandRunner, CommandSpec, Detached, ExecError, LineHandler, Output, SystemRunner};
use serde_json::{Value, json};
use sites_domain::{
    Artifact, ArtifactKind, BackupScope, CloneSource, CreateEnvironment, CreatedEnvironment, EnvironmentPlace,
    EnvironmentSecrets, EnvironmentType, RestoreEnd, RestoreRequest, SiteRuntime, StageBackup, StagedBackup,
    StoredObject,
};
use test_support::{RealClock, step_context};

use support::{ScriptedSsh, ansible_runner, repository, target};

/// Passes everything on, and keeps the variables of every run while their file is there.
struct Watching {
    inner: Arc<dyn CommandRunner>,
    seen: Mutex<Vec<(CommandSpec, Value)>>,
}

#[async_trait]
impl CommandRunner for Watching {
    async fn run(&self, command: CommandSpec, limits: &Limits) -> Result<Output, ExecError> {
        self.inner.run(command, limits).await
    }

    async fn stream(
        &self,
        command: CommandSpec,
        limits: &Limits,
        lines: &mut dyn LineHandler,
    ) -> Result<Output, ExecError> {
        let file = command.directory.join("variables.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let variables = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        self.seen.lock().unwrap().push((command.clone(), variables));
        self.inner.stream(command, limits, lines).await
    }

    async fn spawn_detached(&self, command: CommandSpec, log: &Path) -> Result<Detached, ExecError> {
        self.inner.spawn_detached(command, log).await
    }
}

struct Run<T> {
    result: Result<T, StepError>,
    events: Vec<NewEvent>,
    /// What was started on this host, with its variables.
    seen: Vec<(CommandSpec, Value)>,
    remote: Vec<String>,
}

impl<T: std::fmt::Debug> Run<T> {
    fn failure(&self) -> (JobErrorCode, &str) {
        match &self.result {
            Err(StepError::Failed(failure)) => (failure.code, &failure.detail),
            other => panic!("no failure: {other:?}"),
        }
    }

    fn playbook(&self) -> String {
        let playbook = Path::new(self.seen[0].0.args.last().unwrap());
        playbook.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// The arguments of the module, with the texts that are marked as no templates as plain ones.
    fn arguments(&self) -> Value {
        plain(&self.seen[0].1["pressluft_arguments"])
    }
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => match fields.get("__ansible_unsafe") {
            Some(text) => text.clone(),
            None => fields
                .iter()
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
        },
        Value::String(text) => panic!("{text:?} would be taken for a template"),
        other => other.clone(),
    }
}

/// Does `work` with a runner whose processes are `runner`'s and whose playbooks are in `ansible_dir`.
async fn work<T>(
    runner: Arc<dyn CommandRunner>,
    ansible_dir: &Path,
    work: impl AsyncFnOnce(&dyn SiteRuntime, &jobs::StepContext) -> Result<T, StepError>,
) -> Run<T> {
    let data = tempfile::tempdir().unwrap();
    let watching = Arc::new(Watching {
        inner: runner,
        seen: Mutex::default(),
    });
    let clean = || -> Result<RemoteOutput, SshError> {
        Ok(RemoteOutput {
            exit_status: Some(0),
            stdout: String::new(),
            stderr: String::new(),
        })
    };
    let ssh = Arc::new(ScriptedSsh::new(data.path(), [clean(), clean()]));
    let ansible = ansible_runner(watching.clone(), ssh.clone(), data.path(), ansible_dir.to_owned());
    let (context, _cancel, progress) = step_context("site", Duration::from_secs(60), Arc::new(RealClock));
    let result = work(&ansible, &context).await;
    let left = fs::read_dir(data.path().join("run/ansible")).unwrap().count();
    assert_eq!(left, 0, "folders of runs are left");
    Run {
        result,
        events: progress.events(),
        seen: watching.seen.lock().unwrap().clone(),
        remote: ssh.commands().into_iter().map(|command| command.script).collect(),
    }
}

/// The same with prepared lines of a run.
async fn scripted<T>(
    lines: &[&str],
    status: i32,
    work_of_site: impl AsyncFnOnce(&dyn SiteRuntime, &jobs::StepContext) -> Result<T, StepError>,
) -> Run<T> {
    let runner = ScriptedRunner::new().answer(status, &format!("{}\n", lines.join("\n")), "");
    work(Arc::new(runner), &repository().join("ansible"), work_of_site).await
}

const STATS: &str = r#"{"event":"stats","hosts":{"n":{"ok":1,"changed":1,"failed":0}}}"#;
const CREATED: &str = r#"{"event":"result","data":{"wordpress_version":"7.1.1","changed":true}}"#;
const CHANGED: &str = r#"{"event":"result","data":{"changed":true}}"#;

fn place() -> EnvironmentPlace {
    EnvironmentPlace {
        node_id: NodeId::generate(),
        target: target("ops"),
        site: "0123456789ab".parse().unwrap(),
        environment: "ba9876543210".parse().unwrap(),
    }
}

fn secrets() -> EnvironmentSecrets {
    let mut count = 0;
    let random = || {
        count += 1;
        Ok::<_, ()>(Secret::new(format!("hidden{count:02}")))
    };
    EnvironmentSecrets::generate("admin", "a@example.test", random).unwrap()
}

fn artifact(kind: ArtifactKind, sha256: &str) -> Artifact {
    Artifact {
        kind,
        version: "1".into(),
        sha256: sha256.into(),
        size_bytes: 1,
    }
}

fn request(source: Option<CloneSource>) -> CreateEnvironment {
    CreateEnvironment {
        place: place(),
        url: "http://ba9876543210.preview.test".into(),
        title: "Ted's {{ 6 * 7 }} bikes".into(),
        environment_type: EnvironmentType::Production,
        secrets: secrets(),
        wordpress: artifact(ArtifactKind::WordPress, "aa"),
        wp_cli: artifact(ArtifactKind::WpCli, "bb"),
        source,
        existing: false,
    }
}

fn source() -> CloneSource {
    CloneSource {
        environment: "cccccccccccc".parse().unwrap(),
        url: "http://cccccccccccc.preview.test".into(),
    }
}

fn backup() -> StageBackup {
    StageBackup {
        place: place(),
        url: "http://ba9876543210.preview.test".into(),
        backup_id: BackupId::generate(),
        scope: BackupScope::Full,
        as_far_as_there: true,
    }
}

fn restore() -> RestoreRequest {
    RestoreRequest {
        place: place(),
        url: "http://ba9876543210.preview.test".into(),
        environment_type: EnvironmentType::Staging,
        secrets: secrets(),
        wp_cli: artifact(ArtifactKind::WpCli, "bb"),
        backup_id: BackupId::generate(),
        scope: BackupScope::Db,
        staged: StagedBackup {
            path: "/var/lib/pressluft/staging/x.tar.zst".into(),
            object: StoredObject {
                size_bytes: 77,
                sha256: "cc".into(),
            },
        },
    }
}

#[tokio::test]
async fn an_environment_is_made_by_the_playbook_of_its_kind_with_all_that_is_known_of_it() {
    let run = scripted(&[CREATED, STATS], 0, async |sites, context| {
        sites.create(&request(None), context).await
    })
    .await;
    let made = CreatedEnvironment {
        wordpress_version: "7.1.1".into(),
        changed: true,
    };
    assert_eq!(run.playbook(), "site-create.yml");
    let arguments = run.arguments();
    for (name, value) in [
        ("site", "0123456789ab"),
        ("environment", "ba9876543210"),
        ("url", "http://ba9876543210.preview.test"),
        ("title", "Ted's {{ 6 * 7 }} bikes"),
        ("environment_type", "production"),
        ("admin_user", "admin"),
        ("admin_email", "a@example.test"),
        ("database_password", "hidden01"),
        ("redis_password", "hidden02"),
        ("proof_secret", "hidden03"),
        ("admin_password", "hidden04"),
        ("wordpress", "/var/lib/pressluft/artifacts/aa.tar"),
        ("wp_cli", "/var/lib/pressluft/artifacts/bb.phar"),
    ] {
        assert_eq!(arguments[name], value, "{name}");
    }
    assert_eq!(arguments["salts"].as_object().unwrap().len(), 8);
    assert_eq!(arguments.get("source"), None);
    assert!(run.remote[0].contains("sh -s other "), "{:?}", run.remote);
    let mark = run.seen[0].1["pressluft_run"].as_str().unwrap();
    assert!(run.remote[0].contains(mark), "one run has one mark");
    assert_eq!(run.result.unwrap(), made);

    let copy = scripted(&[CREATED, STATS], 0, async |sites, context| {
        sites.create(&request(Some(source())), context).await
    })
    .await;
    assert_eq!(copy.playbook(), "env-create.yml");
    let expected = json!({"environment": "cccccccccccc", "url": "http://cccccccccccc.preview.test"});
    assert_eq!(copy.arguments()["source"], expected);
}

#[tokio::test]
async fn secrets_are_in_the_private_file_alone() {
    let told = r#"{"event":"task_failed","task":"Create","role":null,"host":"n","duration_ms":3,"msg":"no","output":null,"code":"WP_CLI_FAILED"}"#;
    for lines in [[CREATED, STATS], [told, STATS]] {
        let status = if lines[0] == told { 2 } else { 0 };
        let run = scripted(&lines, status, async |sites, context| {
            sites.create(&request(None), context).await
        })
        .await;
        assert_eq!(run.seen[0].1.to_string().matches("hidden").count(), 12);
        assert_eq!(format!("{:?}", run.seen[0].0).matches("hidden").count(), 0);
        let rest = format!("{:?} {:?} {:?}", run.result, run.events, run.remote);
        assert_eq!(rest.matches("hidden").count(), 0, "{rest}");
    }
}

#[tokio::test]
async fn an_environment_or_its_whole_site_is_removed_by_the_playbook_of_its_kind() {
    for (whole_site, playbook) in [(false, "env-delete.yml"), (true, "site-delete.yml")] {
        let gone = r#"{"event":"result","data":{"wordpress_version":null,"changed":true}}"#;
        let run = scripted(&[gone, STATS], 0, async |sites, context| {
            sites.delete(&place(), whole_site, context).await
        })
        .await;
        assert_eq!(run.playbook(), playbook);
        let expected = json!({"site": "0123456789ab", "environment": "ba9876543210"});
        assert_eq!(run.arguments(), expected);
        run.result.unwrap();
    }
}

#[tokio::test]
async fn a_staged_backup_is_where_the_module_says() {
    let request = backup();
    let line = r#"{"event":"result","data":{"path":"/p","size_bytes":5000000000,"sha256":"dd"}}"#;
    let run = scripted(&[line, STATS], 0, async |sites, context| {
        sites.stage_backup(&request, context).await
    })
    .await;
    assert_eq!(run.playbook(), "backup-create.yml");
    let expected = json!({"site": "0123456789ab", "environment": "ba9876543210", "scope": "full", "as_far_as_there": true,
        "backup": request.backup_id.short().as_str(), "url": "http://ba9876543210.preview.test"});
    assert_eq!(run.arguments(), expected);
    let object = StoredObject {
        size_bytes: 5_000_000_000,
        sha256: "dd".into(),
    };
    assert_eq!(
        run.result.unwrap(),
        StagedBackup {
            path: "/p".into(),
            object
        }
    );
}

#[tokio::test]
async fn a_restore_and_its_two_ends_are_states_of_one_playbook() {
    let request = restore();
    let restored = scripted(&[CHANGED, STATS], 0, async |sites, context| {
        sites.restore(&request, context).await
    });
    let kept = scripted(&[CHANGED, STATS], 0, async |sites, context| {
        sites.end_restore(&request.place, RestoreEnd::Keep, context).await
    });
    let rolled_back = scripted(&[CHANGED, STATS], 0, async |sites, context| {
        sites.end_restore(&request.place, RestoreEnd::RollBack, context).await
    });
    let restored = restored.await;
    let arguments = restored.arguments();
    assert_eq!(arguments["archive_size_bytes"], 77);
    for (name, value) in [
        ("state", "restored"),
        ("scope", "db"),
        ("environment_type", "staging"),
        ("archive", "/var/lib/pressluft/staging/x.tar.zst"),
        ("archive_sha256", "cc"),
        ("backup", request.backup_id.short().as_str()),
        ("database_password", "hidden01"),
    ] {
        assert_eq!(arguments[name], value, "{name}");
    }
    assert_eq!(restored.playbook(), "env-restore.yml");
    restored.result.unwrap();
    for (run, state) in [(kept.await, "kept"), (rolled_back.await, "rolled_back")] {
        assert_eq!(run.playbook(), "env-restore.yml");
        let place = &request.place;
        // An end needs no secret and no archive, so that nothing of them can stand in its way.
        let all = json!({"state": state, "site": place.site.as_str(), "environment": place.environment.as_str()});
        assert_eq!(json!(run.arguments()), all);
        run.result.unwrap();
    }
}

#[tokio::test]
async fn a_run_without_the_expected_result_is_an_error_of_our_own() {
    let other = r#"{"event":"result","data":{"wordpress_version":"7.1.1","changed":true,"more":1}}"#;
    let lacking = r#"{"event":"result","data":{"changed":true}}"#;
    for lines in [vec![STATS], vec![other, STATS], vec![lacking, STATS]] {
        let run = scripted(&lines, 0, async |sites, context| {
            sites.create(&request(None), context).await
        })
        .await;
        let (code, detail) = run.failure();
        assert_eq!(code, JobErrorCode::Internal);
        assert!(detail.contains("site-create.yml"), "{detail}");
    }
}

#[tokio::test]
async fn a_stopped_run_is_ended_on_the_machine_too() {
    let program = "ansible-playbook".to_owned();
    let reason = StopReason::Cancelled;
    let runner = ScriptedRunner::new().result(Err(ExecError::Stopped { program, reason }));
    let run = work(
        Arc::new(runner),
        &repository().join("ansible"),
        async |sites, context| sites.restore(&restore(), context).await,
    )
    .await;
    assert!(matches!(run.result, Err(StepError::Stopped(StopReason::Cancelled))));
    assert!(run.remote[1].contains("sh -s own "), "{:?}", run.remote);
}

/// The real `ansible-playbook`, started as the product starts it.
async fn real<T>(
    ansible_dir: &Path,
    work_of_site: impl AsyncFnOnce(&dyn SiteRuntime, &jobs::StepContext) -> Result<T, StepError>,
) -> Run<T> {
    let venv = repository().join(".venv/bin/ansible-playbook");
    assert!(venv.exists(), "run scripts/setup first");
    let runner = Arc::new(SystemRunner::unrecorded(Arc::new(RealClock)));
    work(runner, ansible_dir, work_of_site).await
}

/// Every variable that a playbook names is looked at before the machine is.
#[tokio::test]
async fn the_product_playbooks_are_given_all_that_they_ask_for() {
    let dir = repository().join("ansible");
    let unreachable = JobErrorCode::AnsibleHostUnreachable;
    for source in [None, Some(source())] {
        let run = real(&dir, async |sites, context| {
            sites.create(&request(source), context).await
        })
        .await;
        assert_eq!(run.failure().0, unreachable, "{:?}", run.failure());
    }
    for whole in [false, true] {
        let run = real(&dir, async |sites, context| {
            sites.delete(&place(), whole, context).await
        })
        .await;
        assert_eq!(run.failure().0, unreachable, "{:?}", run.failure());
    }
    let run = real(&dir, async |sites, context| {
        sites.stage_backup(&backup(), context).await
    })
    .await;
    assert_eq!(run.failure().0, unreachable, "{:?}", run.failure());
    let run = real(&dir, async |sites, context| sites.restore(&restore(), context).await).await;
    assert_eq!(run.failure().0, unreachable, "{:?}", run.failure());
}

/// A folder `ansible` whose playbook `site-create.yml` runs a module of the test's own on this host.
fn ansible_dir_with(module: &str, folder: &Path) -> std::path::PathBuf {
    let dir = folder.join("ansible");
    let ours = repository().join("ansible");
    for made in ["playbooks", "sites/library"] {
        fs::create_dir_all(dir.join(made)).unwrap();
    }
    let play = "- {hosts: all, gather_facts: false, connection: local, vars: {ansible_remote_tmp: '{{ playbook_dir }}/tmp'}, tasks: [{name: Create, pressluft_environment: {title: '{{ pressluft_arguments.title }}', salts: '{{ pressluft_arguments.salts }}'}}]}";
    fs::write(dir.join("playbooks/site-create.yml"), play).unwrap();
    let module = format!(
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\nspec = {{'title': {{}}, 'salts': {{'type': 'dict', 'no_log': True}}}}\nmodule = AnsibleModule(argument_spec=spec)\n{module}\n"
    );
    fs::write(dir.join("sites/library/pressluft_environment.py"), module).unwrap();
    fs::copy(ours.join("ansible.cfg"), dir.join("ansible.cfg")).unwrap();
    symlink(ours.join("callback_plugins"), dir.join("callback_plugins")).unwrap();
    dir
}

#[tokio::test]
async fn a_title_is_never_run_as_a_template_and_a_module_returns_its_result() {
    let folder = tempfile::tempdir().unwrap();
    let module = "module.exit_json(changed=True, pressluft={'wordpress_version': module.params['title'], 'changed': len(module.params['salts']) == 8})";
    let dir = ansible_dir_with(module, folder.path());
    let run = real(&dir, async |sites, context| sites.create(&request(None), context).await).await;
    let made = run.result.unwrap();
    assert_eq!(made.wordpress_version, "Ted's {{ 6 * 7 }} bikes");
    assert!(made.changed, "the salts arrive as they are");
}

#[tokio::test]
async fn a_module_names_the_code_of_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    let module = "module.fail_json(msg='no plugin: ' + str(module.params['salts']), pressluft_code='WP_CLI_FAILED')";
    let dir = ansible_dir_with(module, folder.path());
    let run = real(&dir, async |sites, context| sites.create(&request(None), context).await).await;
    let (code, detail) = run.failure();
    assert_eq!(code, JobErrorCode::WpCliFailed);
    assert!(detail.starts_with("no plugin: "), "{detail}");
    let told = format!("{:?}", run.events);
    assert!(
        !detail.contains("hidden") && !told.contains("hidden"),
        "{detail} {told}"
    );
}
