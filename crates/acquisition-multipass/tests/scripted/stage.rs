//! The provider with a scripted Multipass, a clock that jumps over every wait, and addresses that answer or do not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acquisition_multipass::{AddressProbe, MultipassConfig, MultipassProvider};
use async_trait::async_trait;
use domain_kernel::{Clock, JobErrorCode, NodeId, Timestamp};
use jobs::{Failure, StepContext, StepError};
use nodes_domain::{AcquireRequest, Acquired, Instance, NodeProvider};
use process_exec::fake::ScriptedRunner;
use process_exec::{Ended, ExecError, Output};
use test_support::{RecordingProgress, step_context};

pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA pressluft";

/// A clock on which every wait is over at once, and has taken its time.
pub(crate) struct JumpingClock(Mutex<Timestamp>);

impl JumpingClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Timestamp::from_micros(1_893_456_000_000_000)))
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus(duration);
    }
}

/// Addresses that answer on port 22.
pub(crate) struct Answering(pub(crate) Vec<Ipv4Addr>);

#[async_trait]
impl AddressProbe for Answering {
    async fn answers(&self, address: SocketAddr, _context: &StepContext) -> Result<bool, StepError> {
        assert_eq!(address.port(), 22);
        Ok(self.0.iter().any(|known| address.ip() == *known))
    }
}

/// A node, and the answers of its Multipass.
pub(crate) struct Stage {
    pub(crate) instance: Instance,
    answers: Vec<Result<Output, ExecError>>,
}

/// What came of a run.
pub(crate) struct Run {
    /// The commands, the machine's name as `N`, each `list` as just that.
    pub(crate) commands: Vec<String>,
    pub(crate) progress: Arc<RecordingProgress>,
    pub(crate) waited: Duration,
}

impl Run {
    /// How many commands begin so.
    pub(crate) fn count(&self, begin: &str) -> usize {
        self.commands
            .iter()
            .filter(|command| command.starts_with(begin))
            .count()
    }

    /// The job's log.
    pub(crate) fn log(&self) -> String {
        format!("{:?}", self.progress.events())
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            instance: Instance::of(NodeId::generate()),
            answers: Vec::new(),
        }
    }

    /// The node had its machine once.
    pub(crate) fn that_had_a_machine(mut self) -> Self {
        self.instance.acquired = true;
        self
    }

    pub(crate) fn name(&self) -> String {
        self.instance.name()
    }

    pub(crate) fn answer(mut self, status: i32, stdout: &str, stderr: &str) -> Self {
        self.answers.push(Ok(Output {
            ended: Ended::Exit(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }));
        self
    }

    /// A command that ends well.
    pub(crate) fn ok(self) -> Self {
        self.answer(0, "\x1b[2K\x1b[0A\x1b[0E/ working\r", "")
    }

    /// A command that is ended.
    pub(crate) fn ended(mut self, error: ExecError) -> Self {
        self.answers.push(Err(error));
        self
    }

    /// A command that is ended at its deadline.
    pub(crate) fn hangs(self) -> Self {
        self.ended(ExecError::TimedOut {
            program: "multipass".to_owned(),
            output: Output {
                ended: Ended::Signal(15),
                stdout: Vec::new(),
                stderr: Vec::new(),
            },
        })
    }

    /// A command whose daemon is out of reach.
    pub(crate) fn down(self, command: &str) -> Self {
        self.answer(
            2,
            "",
            &format!("{command} failed: cannot connect to the multipass socket\n"),
        )
    }

    /// A list without the machine.
    pub(crate) fn absent(self) -> Self {
        self.answer(
            0,
            r#"{"list":[{"name":"other","state":"Running","ipv4":["10.9.8.1"]}]}"#,
            "",
        )
    }

    /// A list with the machine in a state, at addresses.
    pub(crate) fn listed(self, state: &str, addresses: &[&str]) -> Self {
        let name = self.name();
        let stdout = format!(r#"{{"list":[{{"name":"{name}","state":"{state}","ipv4":{addresses:?}}}]}}"#);
        self.answer(0, &stdout, "")
    }

    pub(crate) fn running(self) -> Self {
        self.listed("Running", &["10.9.8.7"])
    }

    /// The answer to `get client.primary-name`.
    pub(crate) fn primary(self) -> Self {
        self.answer(0, "primary\n", "")
    }

    /// The host key.
    pub(crate) fn host_key(self) -> Self {
        self.answer(0, &format!("{} root@n1\n", host_key()), "")
    }

    /// The rest of an acquire whose machine runs.
    pub(crate) fn up(self) -> Self {
        self.running().host_key()
    }

    pub(crate) fn request(&self) -> AcquireRequest {
        AcquireRequest {
            instance: self.instance.clone(),
            public_key: KEY.to_owned(),
            runtime: None,
        }
    }

    /// The runner with the answers.
    pub(crate) fn runner(&mut self) -> Arc<ScriptedRunner> {
        let answers = std::mem::take(&mut self.answers);
        let runner = ScriptedRunner::new();
        Arc::new(answers.into_iter().fold(runner, ScriptedRunner::result))
    }

    /// Does something with the provider; every answer must have been asked for.
    pub(crate) async fn play<T>(
        mut self,
        act: impl AsyncFnOnce(&MultipassProvider, &Instance, &StepContext) -> T,
    ) -> (T, Run) {
        let prepared = self.answers.len();
        let runner = self.runner();
        let clock = Arc::new(JumpingClock::new());
        let probe = Arc::new(Answering(vec![[10, 9, 8, 7].into()]));
        let provider = MultipassProvider::with_probe(MultipassConfig::default(), runner.clone(), probe);
        let (context, _, progress) = step_context("acquire", Duration::from_secs(7200), clock.clone());
        let begin = clock.now();
        let result = act(&provider, &self.instance, &context).await;
        let commands = said(&runner, &self.name());
        assert_eq!(commands.len(), prepared, "{commands:#?}");
        let run = Run {
            commands,
            progress,
            waited: clock.now().since(begin),
        };
        (result, run)
    }

    pub(crate) async fn acquire(self) -> (Result<Acquired, StepError>, Run) {
        let request = self.request();
        self.play(async |provider, _, context| provider.acquire(&request, context).await)
            .await
    }

    /// An acquire that succeeds.
    pub(crate) async fn acquired(self) -> (Acquired, Run) {
        let (result, run) = self.acquire().await;
        let acquired = result.unwrap_or_else(|error| panic!("{error}\n{:#?}", run.commands));
        (acquired, run)
    }

    /// An acquire that fails with a code.
    pub(crate) async fn refused(self, code: JobErrorCode) -> (String, Run) {
        let (result, run) = self.acquire().await;
        (failure(result, code).detail, run)
    }
}

pub(crate) fn host_key() -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}", "x".repeat(43))
}

pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, StepError>, code: JobErrorCode) -> Failure {
    match result {
        Err(StepError::Failed(failure)) => {
            assert_eq!(failure.code, code, "{failure}");
            failure
        }
        other => panic!("not a failure: {other:?}"),
    }
}

pub(crate) fn said(runner: &ScriptedRunner, name: &str) -> Vec<String> {
    let text = |command: &process_exec::CommandSpec| {
        let args: Vec<_> = command.args.iter().map(|arg| arg.to_string_lossy()).collect();
        args.join(" ").replace(name, "N").replace("list --format json", "list")
    };
    runner.commands().iter().map(text).collect()
}
