//! Runs commands on this host. What they print goes to the job's log; errors name the command and nothing of its output.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use jobs::{LogStream, StepContext, StepError};
use process_exec::{CommandRunner, CommandSpec, Ended, ExecError, LineHandler, Output, OutputLine, Stream};

use crate::failure::{Code, says_disk_full};

/// Runs commands on this host. A command is its program and its arguments.
pub(crate) struct Host {
    runner: Arc<dyn CommandRunner>,
}

impl Host {
    /// Runs commands by `runner`.
    pub(crate) fn new(runner: Arc<dyn CommandRunner>) -> Self {
        Self { runner }
    }

    /// What a command prints; any status but 0 is a failure of `code`.
    pub(crate) async fn expect(&self, ctx: &StepContext, code: Code, command: &[&str]) -> Result<String, StepError> {
        self.feed(ctx, code, command, "").await
    }

    /// The same for a command that reads `input`.
    pub(crate) async fn feed(
        &self,
        ctx: &StepContext,
        code: Code,
        command: &[&str],
        input: &str,
    ) -> Result<String, StepError> {
        let spec = spec(command).stdin(input);
        let output = self
            .runner
            .run(spec, &ctx.limits)
            .await
            .map_err(|error| not_run(code, &error))?;
        if output.success() {
            return Ok(output.stdout_text());
        }
        let errors = output.stderr_text();
        for line in errors.lines() {
            ctx.output(LogStream::Stderr, line).await;
        }
        Err(failed(code, command, &output))
    }

    /// What a command prints, however it ends.
    pub(crate) async fn ask(&self, ctx: &StepContext, command: &[&str]) -> Result<String, StepError> {
        let output = self.runner.run(spec(command), &ctx.limits).await;
        output
            .map(|output| output.stdout_text())
            .map_err(|error| not_run(Code::LocalAcquisitionFailed, &error))
    }

    /// How a command ends: its exit status, or 128 and the signal's number.
    pub(crate) async fn status(&self, ctx: &StepContext, command: &[&str]) -> Result<i32, StepError> {
        let output = self.runner.run(spec(command), &ctx.limits).await;
        match output
            .map_err(|error| not_run(Code::LocalProviderUnavailable, &error))?
            .ended
        {
            Ended::Exit(status) => Ok(status),
            Ended::Signal(signal) => Ok(128 + signal),
        }
    }

    /// Runs a long command whose lines go to the job's log as they come.
    pub(crate) async fn stream(&self, ctx: &StepContext, code: Code, command: &[&str]) -> Result<(), StepError> {
        let mut lines = ToLog(ctx);
        let run = self.runner.stream(spec(command), &ctx.limits, &mut lines).await;
        let output = run.map_err(|error| not_run(code, &error))?;
        if output.success() {
            Ok(())
        } else {
            Err(failed(code, command, &output))
        }
    }

    /// Starts a command that outlives this process; what it prints is appended to `log`.
    pub(crate) async fn detach(&self, code: Code, command: &[&str], log: &Path) -> Result<(), StepError> {
        self.runner
            .spawn_detached(spec(command), log)
            .await
            .map_err(|error| not_run(code, &error))?;
        Ok(())
    }
}

struct ToLog<'a>(&'a StepContext);

#[async_trait]
impl LineHandler for ToLog<'_> {
    async fn line(&mut self, line: OutputLine) {
        let stream = match line.stream {
            Stream::Stdout => LogStream::Stdout,
            Stream::Stderr => LogStream::Stderr,
        };
        self.0.output(stream, &line.text).await;
    }
}

fn spec(command: &[&str]) -> CommandSpec {
    let (program, args) = command.split_first().unwrap_or((&"", &[]));
    CommandSpec::new(*program).args(args)
}

fn failed(code: Code, command: &[&str], output: &Output) -> StepError {
    let code = if output.stderr_text().lines().any(says_disk_full) {
        Code::HostDiskFull
    } else {
        code
    };
    let ended = match output.ended {
        Ended::Exit(status) => format!("ended with status {status}"),
        Ended::Signal(signal) => format!("was ended by signal {signal}"),
    };
    // Enough to tell which one; a script among the arguments is cut off.
    let told: Vec<_> = command
        .iter()
        .take_while(|word| !word.contains('\n'))
        .copied()
        .collect();
    StepError::failed(
        code,
        format!("`{}` {ended}; the job's log has its output.", told.join(" ")),
    )
}

fn not_run(code: Code, error: &ExecError) -> StepError {
    match error {
        ExecError::Stopped { reason, .. } => StepError::Stopped(*reason),
        ExecError::TimedOut { .. } => StepError::DeadlineExceeded,
        ExecError::NotFound { .. } => StepError::failed(Code::LocalProviderUnavailable, error.to_string()),
        ExecError::System { source, .. } => StepError::failed(code, format!("{error}: {source}")),
        ExecError::Unkillable { .. } => StepError::failed(code, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use process_exec::fake::ScriptedRunner;
    use test_support::ManualClock;

    use super::*;

    fn code_of(error: StepError) -> Code {
        match error {
            StepError::Failed(failure) => failure.code,
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_full_disk_has_a_code_of_its_own() {
        let runner = ScriptedRunner::new()
            .answer(1, "", "rm: x\n")
            .answer(1, "", "cp: No space left on device\n");
        let host = Host::new(Arc::new(runner));
        let ctx = StepContext::outside_job("test", Duration::from_secs(9), Arc::new(ManualClock::default()));
        let code = Code::NodeReleaseFailed;
        assert_eq!(code_of(host.expect(&ctx, code, &["rm"]).await.unwrap_err()), code);
        assert_eq!(
            code_of(host.expect(&ctx, code, &["cp"]).await.unwrap_err()),
            Code::HostDiskFull
        );
    }

    #[tokio::test]
    async fn a_missing_program_is_a_missing_provider_and_its_script_is_not_told() {
        let host = Host::new(Arc::new(ScriptedRunner::new().answer(3, "", "")));
        let ctx = StepContext::outside_job("test", Duration::from_secs(9), Arc::new(ManualClock::default()));
        let code = Code::LocalAcquisitionFailed;
        let error = host.expect(&ctx, code, &["sh", "-c", "a\nb"]).await.unwrap_err();
        assert!(error.to_string().contains("`sh -c` ended with status 3"), "{error}");
        assert_eq!(
            code_of(host.expect(&ctx, code, &["ip"]).await.unwrap_err()),
            Code::LocalProviderUnavailable
        );
    }
}
