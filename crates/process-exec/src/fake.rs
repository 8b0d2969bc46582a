//! A runner that answers from a script, for tests of code that runs commands.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use domain_kernel::Limits;

use crate::{
    CommandRunner, CommandSpec, Detached, Ended, ExecError, LineHandler, Output, OutputLine, ProcessKey, Stream,
};

/// Hands out prepared answers in order and remembers what was asked.
#[derive(Default)]
pub struct ScriptedRunner {
    answers: Mutex<VecDeque<Result<Output, ExecError>>>,
    commands: Mutex<Vec<CommandSpec>>,
}

impl ScriptedRunner {
    /// A runner with no answers: the first command fails as not found.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer that exits with `status`.
    #[must_use]
    pub fn answer(self, status: i32, stdout: &str, stderr: &str) -> Self {
        self.result(Ok(Output {
            ended: Ended::Exit(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }))
    }

    /// Adds any answer.
    #[must_use]
    pub fn result(self, answer: Result<Output, ExecError>) -> Self {
        self.answers.lock().unwrap_or_else(|e| e.into_inner()).push_back(answer);
        self
    }

    /// What was asked so far.
    pub fn commands(&self) -> Vec<CommandSpec> {
        self.commands.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    fn next(&self, command: CommandSpec) -> Result<Output, ExecError> {
        let program = command.program.to_string_lossy().into_owned();
        self.commands.lock().unwrap_or_else(|e| e.into_inner()).push(command);
        let answer = self.answers.lock().unwrap_or_else(|e| e.into_inner()).pop_front();
        answer.unwrap_or_else(|| {
            Err(ExecError::NotFound {
                program,
                path: "the script of a test".to_owned(),
            })
        })
    }
}

#[async_trait]
impl CommandRunner for ScriptedRunner {
    async fn run(&self, command: CommandSpec, _limits: &Limits) -> Result<Output, ExecError> {
        self.next(command)
    }

    async fn stream(
        &self,
        command: CommandSpec,
        _limits: &Limits,
        lines: &mut dyn LineHandler,
    ) -> Result<Output, ExecError> {
        let output = self.next(command)?;
        for (stream, text) in [
            (Stream::Stdout, output.stdout_text()),
            (Stream::Stderr, output.stderr_text()),
        ] {
            for text in text.lines().map(str::to_owned) {
                lines.line(OutputLine { stream, text }).await;
            }
        }
        Ok(output)
    }

    async fn spawn_detached(&self, command: CommandSpec, _log: &Path) -> Result<Detached, ExecError> {
        self.next(command)?;
        Ok(Detached {
            process: ProcessKey { pid: 1, start_time: 0 },
        })
    }
}
