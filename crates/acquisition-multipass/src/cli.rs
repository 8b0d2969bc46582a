//! The commands, each with its deadline. Standard output of commands that change something is full of a spinner's bytes
//! and never read. Nothing here runs `purge`, `--all`, or a name that was not checked.

use std::sync::Arc;
use std::time::Duration;

use jobs::{LogStream, StepContext, StepError};
use process_exec::{CommandRunner, CommandSpec, Ended, ExecError, Output};

use crate::class::Class;
use crate::classify::{classify, plain};
use crate::config::MultipassConfig;
use crate::list::{Listed, find};
use crate::trouble::Trouble;
use crate::unfinished::Unfinished;

/// How many lines of a failed command's output go into the job's log, the last ones.
const MAX_LINES: usize = 40;

/// The command line of Multipass.
pub(crate) struct Cli {
    pub(crate) config: Arc<MultipassConfig>,
    runner: Arc<dyn CommandRunner>,
    pub(crate) unfinished: Unfinished,
}

impl Cli {
    pub(crate) fn new(config: Arc<MultipassConfig>, runner: Arc<dyn CommandRunner>) -> Self {
        Self {
            config,
            runner,
            unfinished: Unfinished::default(),
        }
    }

    /// Prints the versions of client and daemon.
    pub(crate) async fn version(&self, ctx: &StepContext) -> Result<Output, Trouble> {
        let command = self.command("version").args(["--format", "json"]);
        self.run(ctx, "version", command, self.config.call_limit).await
    }

    /// Looks for a machine. `None` only where the list was understood and lacks it.
    pub(crate) async fn look(&self, ctx: &StepContext, name: &str) -> Result<Option<Listed>, Trouble> {
        let command = self.command("list").args(["--format", "json"]);
        let output = self.run(ctx, "list", command, self.config.call_limit).await?;
        match find(&output.stdout, name) {
            Ok(found) => {
                if found.is_some() {
                    self.unfinished.forget(name);
                }
                Ok(found)
            }
            Err(error) => {
                self.tell(ctx, LogStream::Stdout, &output.stdout).await;
                Err(Trouble::Garbled {
                    subcommand: "list",
                    error,
                })
            }
        }
    }

    /// The name of the machine that Multipass makes by itself.
    pub(crate) async fn primary_name(&self, ctx: &StepContext) -> Result<String, Trouble> {
        let command = self.command("get").arg("client.primary-name");
        let output = self.run(ctx, "get", command, self.config.call_limit).await?;
        Ok(plain(&output.stdout).trim().to_owned())
    }

    /// Makes a machine.
    pub(crate) async fn launch(&self, ctx: &StepContext, name: &str, user_data: &str) -> Result<(), Trouble> {
        let config = &self.config;
        let command = self
            .command("launch")
            .arg(&config.image)
            .args(["--name", name])
            .args(["--cpus", &config.cpus.to_string()])
            .args(["-m", &config.memory])
            .args(["--disk", &config.disk])
            .args(["--timeout", &seconds(config.launch_limit)])
            .args(["--cloud-init", "-"])
            .stdin(user_data);
        let limit = config.launch_limit + config.kill_grace;
        ctx.check()?;
        let ended = self.run(ctx, "launch", command, limit).await.map(drop);
        match &ended {
            Err(Trouble::Step(_) | Trouble::NoEnd { .. }) => self.unfinished.note(name, ctx.now()),
            Err(trouble) if matches!(trouble.class(), Some(Class::ClientTimeout | Class::BeingPrepared)) => {
                self.unfinished.note(name, ctx.now());
            }
            _ => {}
        }
        ended
    }

    /// Starts a machine and waits for its SSH.
    pub(crate) async fn start(&self, ctx: &StepContext, name: &str) -> Result<(), Trouble> {
        self.bring_up(ctx, "start", name).await
    }

    /// Restarts a running machine and waits for its SSH.
    pub(crate) async fn restart(&self, ctx: &StepContext, name: &str) -> Result<(), Trouble> {
        self.bring_up(ctx, "restart", name).await
    }

    async fn bring_up(&self, ctx: &StepContext, subcommand: &'static str, name: &str) -> Result<(), Trouble> {
        let limit = self.config.start_limit;
        let command = self.command(subcommand).arg(name).args(["--timeout", &seconds(limit)]);
        self.run(ctx, subcommand, command, limit + self.config.kill_grace)
            .await
            .map(drop)
    }

    /// Stops a machine, by force where asked for (since 1.14).
    pub(crate) async fn stop(&self, ctx: &StepContext, name: &str, force: bool) -> Result<(), Trouble> {
        let command = self.command("stop").arg(name).args(force.then_some("--force"));
        self.run(ctx, "stop", command, self.config.start_limit).await.map(drop)
    }

    /// Destroys a machine, in whichever state it is.
    pub(crate) async fn delete(&self, ctx: &StepContext, name: &str) -> Result<(), Trouble> {
        let command = self.command("delete").args(["--purge", name]);
        self.run(ctx, "delete", command, self.config.start_limit)
            .await
            .map(drop)
    }

    /// Runs a command in a machine as its login user. What a stopped machine's start prints comes before its output.
    pub(crate) async fn exec(&self, ctx: &StepContext, name: &str, words: &[&str]) -> Result<Output, Trouble> {
        let command = self.command("exec").args(["-n", name, "--"]).args(words);
        self.run(ctx, "exec", command, self.config.exec_limit).await
    }

    fn command(&self, subcommand: &str) -> CommandSpec {
        let mut command = CommandSpec::new(&self.config.program);
        command.env.clone_from(&self.config.env);
        command.env("LC_ALL", "C").arg(subcommand)
    }

    /// Runs a command to its end; its output where it ended with status 0.
    async fn run(
        &self,
        ctx: &StepContext,
        subcommand: &'static str,
        command: CommandSpec,
        limit: Duration,
    ) -> Result<Output, Trouble> {
        ctx.check()?;
        match self.runner.run(command, &ctx.within(limit).limits).await {
            Ok(output) if output.success() => Ok(output),
            Ok(output) => {
                self.tell(ctx, LogStream::Stderr, &output.stderr).await;
                Err(failed(subcommand, output.ended, &output.stderr))
            }
            Err(ExecError::TimedOut { output, .. }) => {
                self.tell(ctx, LogStream::Stderr, &output.stderr).await;
                // The context's own deadline may have been the nearer one.
                ctx.check()?;
                Err(Trouble::NoEnd { subcommand, limit })
            }
            Err(ExecError::Stopped { reason, .. }) => Err(StepError::Stopped(reason).into()),
            Err(error @ ExecError::NotFound { .. }) => Err(Trouble::NotInstalled(error.to_string())),
            Err(ExecError::System { program, source }) => {
                Err(Trouble::Broken(format!("`{program}` could not be run: {source}")))
            }
            Err(error @ ExecError::Unkillable { .. }) => Err(Trouble::Broken(error.to_string())),
        }
    }

    /// Puts what a command printed into the job's log.
    pub(crate) async fn tell(&self, ctx: &StepContext, stream: LogStream, bytes: &[u8]) {
        let text = plain(bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in lines.iter().skip(lines.len().saturating_sub(MAX_LINES)) {
            ctx.output(stream, line).await;
        }
    }
}

fn failed(subcommand: &'static str, ended: Ended, stderr: &[u8]) -> Trouble {
    Trouble::Failed {
        subcommand,
        ended,
        class: classify(subcommand, ended, stderr),
    }
}

/// Whole seconds, rounded up.
fn seconds(limit: Duration) -> String {
    let more = u64::from(limit.subsec_nanos() > 0);
    (limit.as_secs() + more).to_string()
}
