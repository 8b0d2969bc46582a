//! One run of a playbook on one machine, from the private folder to the classified end: the path that provisioning and
//! the work of sites share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain_kernel::{JobErrorCode, NodeId};
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{Instance, NodeTarget, SshAccess};
use process_exec::{CommandRunner, CommandSpec, ExecError};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use crate::end::Done;
use crate::leftovers::{self, RunMark, Swept, Which};
use crate::progress::RunProgress;
use crate::run_folder::{RunFolder, inventory};

/// A playbook and what it is given.
pub(crate) struct Play<'a> {
    /// Its file in the folder `playbooks`.
    pub(crate) playbook: &'static str,
    /// Its variables, besides the mark of the run. They are in a private file alone.
    pub(crate) variables: Map<String, Value>,
    /// The machine's node.
    pub(crate) node_id: NodeId,
    /// The machine.
    pub(crate) target: &'a NodeTarget,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct AnsibleSettings {
    /// The repository's folder `ansible`: settings, playbooks, roles. An absolute path.
    pub ansible_dir: PathBuf,
    /// The virtual environment that `scripts/setup` makes. An absolute path.
    pub venv: PathBuf,
    /// The folder of runs, in the data directory and this process's alone: what is in it when the first run starts is
    /// removed. An absolute path.
    pub runs: PathBuf,
}

/// Runs playbooks on machines by `ansible-playbook`: provisions nodes, and does the work of sites on them.
pub struct AnsibleRunner {
    runner: Arc<dyn CommandRunner>,
    ssh: Arc<dyn SshAccess>,
    pub(crate) settings: AnsibleSettings,
    cleared: OnceCell<()>,
}

impl AnsibleRunner {
    /// A runner. Nothing is touched before the first run.
    pub fn new(runner: Arc<dyn CommandRunner>, ssh: Arc<dyn SshAccess>, settings: AnsibleSettings) -> Self {
        Self {
            runner,
            ssh,
            settings,
            cleared: OnceCell::new(),
        }
    }

    /// The first run of this process removes what runs of a dead one have left, and the others wait for it.
    async fn clear_stale(&self) -> Result<(), Failure> {
        let cleared = self.cleared.get_or_try_init(|| async {
            let runs = self.settings.runs.clone();
            let removed = blocking(move || RunFolder::clear_stale(&runs)).await?;
            if removed > 0 {
                tracing::info!(removed, "removed folders of interrupted Ansible runs");
            }
            Ok(())
        });
        cleared.await.copied()
    }

    /// Runs a playbook to its end, and tells every task as an event of the context. When the context is cancelled it ends
    /// the local processes and what they started on the machine.
    pub(crate) async fn play(&self, play: Play<'_>, context: &StepContext) -> Result<Done, StepError> {
        context.check()?;
        let Play { node_id, target, .. } = play;
        let mark = RunMark::of(context);
        let ssh_config = self.ssh.config(node_id, target).await?;
        self.end_earlier_runs(context, node_id, target, &mark).await?;
        let playbook = play.playbook;
        let folder = self.run_folder(play, &ssh_config, &mark).await?;
        let command = self.command(playbook, &folder);
        let mut progress = RunProgress::new(context);
        let result = self.runner.stream(command, &context.limits, &mut progress).await;
        if !matches!(result, Ok(_) | Err(ExecError::NotFound { .. })) {
            self.end_own_run(context, node_id, target, &mark).await;
        }
        let output = result.map_err(interrupted)?;
        Ok(progress.seen.classify(output.ended)?)
    }

    async fn run_folder(&self, play: Play<'_>, ssh_config: &Path, mark: &RunMark) -> Result<RunFolder, Failure> {
        self.clear_stale().await?;
        let parent = self.settings.runs.clone();
        let host = Instance::of(play.node_id).name();
        let shared = self.ssh.shared_connection(play.node_id, play.target).await;
        let inventory = inventory(&host, ssh_config, shared.as_deref(), play.target.ssh_user == "root");
        let mut variables = play.variables;
        variables.insert("pressluft_run".to_owned(), mark.to_string().into());
        blocking(move || RunFolder::create(&parent, &inventory, &variables.into())).await
    }

    fn command(&self, playbook: &str, folder: &RunFolder) -> CommandSpec {
        let ansible_dir = &self.settings.ansible_dir;
        let mut variables = std::ffi::OsString::from("@");
        variables.push(folder.variables());
        CommandSpec::new(self.settings.venv.join("bin/ansible-playbook"))
            .arg("--inventory")
            .arg(folder.inventory())
            .arg("--extra-vars")
            .arg(variables)
            .arg(ansible_dir.join("playbooks").join(playbook))
            .env("ANSIBLE_CONFIG", ansible_dir.join("ansible.cfg"))
            .env("ANSIBLE_HOME", folder.path().join("home"))
            .env("ANSIBLE_LOCAL_TEMP", folder.path().join("tmp"))
            .env("ANSIBLE_NOCOLOR", "1")
            .env("HOME", folder.path())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // How Python collects its garbage in a run.
            .env("PYTHONPATH", ansible_dir.join("start"))
            .directory(folder.path())
    }

    /// Ends what earlier runs have left on the machine: after a crash, or a connection that broke, their commands go on.
    async fn end_earlier_runs(
        &self,
        context: &StepContext,
        node_id: NodeId,
        target: &NodeTarget,
        mark: &RunMark,
    ) -> Result<(), StepError> {
        match leftovers::end(self.ssh.as_ref(), context, node_id, target, mark, Which::Other).await {
            Swept::Clean => Ok(()),
            Swept::Left(pids) => Err(StepError::failed(
                JobErrorCode::AnsibleHostFailed,
                format!("Processes of an earlier run cannot be ended on the machine: {pids}"),
            )),
            Swept::Unknown(why) => {
                // A machine that does not answer is told better by the run itself.
                let line = format!("The machine could not be asked for processes of an earlier run: {why}");
                context.log(&line).await;
                Ok(())
            }
            Swept::Stopped(reason) => Err(StepError::Stopped(reason)),
        }
    }

    /// Ends on the machine what a stopped run still does there, and records what is left.
    async fn end_own_run(&self, context: &StepContext, node_id: NodeId, target: &NodeTarget, mark: &RunMark) {
        let line = match leftovers::end(self.ssh.as_ref(), context, node_id, target, mark, Which::Own).await {
            Swept::Clean => "The run was stopped; nothing of it is left on the machine".to_owned(),
            Swept::Left(pids) => {
                tracing::warn!(%node_id, pids, "processes of a stopped Ansible run are left on the machine");
                format!("The run was stopped; these of its processes are left on the machine: {pids}")
            }
            Swept::Stopped(reason) => format!("The run was stopped, and so was its end on the machine: {reason:?}"),
            Swept::Unknown(why) => {
                tracing::warn!(%node_id, why, "a machine could not be asked to end a stopped Ansible run");
                format!(
                    "The run was stopped; the machine could not be asked to end what it still does there ({why}). The \
                     next run ends it first"
                )
            }
        };
        context.log(&line).await;
        // The connection that earlier runs' processes were ended over would stay open for another minute.
        if let Err(failure) = self.ssh.forget(node_id).await {
            tracing::warn!(%node_id, error = failure.message(), "the connections of a stopped Ansible run are still open");
        }
    }
}

/// What it means that a run was not left to end by itself.
fn interrupted(error: ExecError) -> StepError {
    match error {
        ExecError::Stopped { reason, .. } => StepError::Stopped(reason),
        ExecError::TimedOut { .. } => StepError::failed(JobErrorCode::AnsibleTimeout, ""),
        ExecError::NotFound { .. } => StepError::failed(
            JobErrorCode::AnsiblePlayError,
            "`ansible-playbook` is not in its virtual environment",
        ),
        ExecError::Unkillable { pids, .. } => StepError::failed(
            JobErrorCode::Internal,
            format!("Processes of Ansible cannot be ended on this host: {pids:?}"),
        ),
        ExecError::System { source, .. } => host_trouble(&source).into(),
    }
}

/// What it means that this host's own system refused something.
fn host_trouble(error: &std::io::Error) -> Failure {
    tracing::error!(%error, "an Ansible run could not be made");
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Failure::new(JobErrorCode::HostDiskFull, "An Ansible run could not be made")
        }
        _ => Failure::new(JobErrorCode::Internal, "An Ansible run could not be made on this host"),
    }
}

/// Work on the file system, off the threads that serve tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(|error| host_trouble(&error))
}
