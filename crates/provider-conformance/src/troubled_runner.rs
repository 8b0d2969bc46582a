//! A runner of commands that remembers them and can make them fail or hang, as real processes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain_kernel::{JobId, Limits};
use process_exec::{CommandRunner, CommandSpec, Detached, ExecError, LineHandler, Output};

/// What a failing program prints on its standard error.
pub const RAW_OUTPUT: &str = "raw output 4f1c of a program that failed";

/// A runner of commands that remembers them, and in whose way a test can get.
pub struct TroubledRunner {
    inner: Arc<dyn CommandRunner>,
    commands: Mutex<Vec<CommandSpec>>,
    fails: Mutex<Option<Vec<String>>>,
    hangs: Mutex<bool>,
    running: AtomicUsize,
    /// Tells the processes that hang from all others of this host.
    mark: String,
}

impl TroubledRunner {
    /// A runner that does as `inner` does, until it is told otherwise.
    pub fn new(inner: Arc<dyn CommandRunner>) -> Self {
        Self {
            inner,
            commands: Mutex::default(),
            fails: Mutex::default(),
            hangs: Mutex::default(),
            running: AtomicUsize::new(0),
            mark: format!("conformance-{}", JobId::generate()),
        }
    }

    /// From now on the programs that begin with these words fail, and print [`RAW_OUTPUT`]. No words at all mean every program.
    pub fn fail(&self, commands: &[&str]) {
        *lock(&self.fails) = Some(commands.iter().map(|&words| words.to_owned()).collect());
    }

    /// From now on no program ends.
    pub fn hang(&self) {
        *lock(&self.hangs) = true;
    }

    /// From now on programs do what they should.
    pub fn calm(&self) {
        *lock(&self.fails) = None;
        *lock(&self.hangs) = false;
    }

    /// The commands so far, as they were asked for.
    pub fn commands(&self) -> Vec<CommandSpec> {
        lock(&self.commands).clone()
    }

    /// What is running now: calls that have not come back, and processes of programs that hang.
    pub fn processes(&self) -> Vec<String> {
        let calls = self.running.load(Ordering::SeqCst);
        let calls = (calls > 0).then(|| format!("{calls} commands"));
        calls.into_iter().chain(self.hanging()).collect()
    }

    fn hanging(&self) -> Vec<String> {
        let processes = std::fs::read_dir("/proc").expect("the table of processes");
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // A process may end while it is looked at.
        let command_line = |pid: String| Some((std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?, pid));
        pids.filter_map(command_line)
            .filter(|(words, _)| words.contains(&self.mark))
            .map(|(words, pid)| format!("process {pid}: {}", words.replace('\0', " ")))
            .collect()
    }

    /// What is run in the place of a command.
    fn instead(&self, command: CommandSpec) -> CommandSpec {
        lock(&self.commands).push(command.clone());
        let words = std::iter::once(&command.program).chain(&command.args);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ");
        let begins =
            |commands: &Vec<String>| commands.is_empty() || commands.iter().any(|begin| line.starts_with(begin));
        let shell = |script: &str| CommandSpec::new("sh").args(["-c", script, &self.mark]);
        if *lock(&self.hangs) {
            shell("sleep 3600; true")
        } else if lock(&self.fails).as_ref().is_some_and(begins) {
            shell(&format!("echo '{RAW_OUTPUT}' >&2; exit 1"))
        } else {
            command
        }
    }

    fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(&self.running)
    }
}

/// A command that runs.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl CommandRunner for TroubledRunner {
    async fn run(&self, command: CommandSpec, limits: &Limits) -> Result<Output, ExecError> {
        let _running = self.begin();
        self.inner.run(self.instead(command), limits).await
    }

    async fn stream(
        &self,
        command: CommandSpec,
        limits: &Limits,
        lines: &mut dyn LineHandler,
    ) -> Result<Output, ExecError> {
        let _running = self.begin();
        self.inner.stream(self.instead(command), limits, lines).await
    }

    async fn spawn_detached(&self, command: CommandSpec, log: &Path) -> Result<Detached, ExecError> {
        self.inner.spawn_detached(self.instead(command), log).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain_kernel::{CancelToken, Clock};
    use process_exec::SystemRunner;
    use test_support::RealClock;

    use super::*;

    fn runner() -> TroubledRunner {
        TroubledRunner::new(Arc::new(SystemRunner::unrecorded(Arc::new(RealClock))))
    }

    fn limits(limit: Duration) -> Limits {
        Limits {
            cancel: CancelToken::new(),
            deadline: RealClock.now().plus(limit),
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_seen_for_as_long_as_it_runs() {
        let (runner, limits) = (runner(), limits(Duration::from_secs(1)));
        runner.hang();
        let seen = async {
            while runner.processes().len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let (ended, ()) = tokio::join!(runner.run(CommandSpec::new("true"), &limits), seen);
        assert!(matches!(ended, Err(ExecError::TimedOut { .. })), "{ended:?}");
        assert_eq!(runner.processes(), [""; 0]);
        assert_eq!(runner.commands(), [CommandSpec::new("true")]);
    }

    #[tokio::test]
    async fn only_the_named_programs_fail_until_it_is_calm() {
        let (runner, limits) = (runner(), limits(Duration::from_secs(10)));
        runner.fail(&["echo bad"]);
        let bad = || CommandSpec::new("echo").arg("bad");
        let output = runner.run(bad(), &limits).await.unwrap();
        assert_eq!(output.stderr_text(), format!("{RAW_OUTPUT}\n"));
        assert!(!output.success());
        let good = runner.run(CommandSpec::new("echo").arg("good"), &limits).await;
        assert!(good.unwrap().success());
        runner.calm();
        assert!(runner.run(bad(), &limits).await.unwrap().success());
    }
}
