//! Limits, processes and failures: NP-23 to NP-27.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use domain_kernel::{JobErrorCode, StopReason};
use jobs::{StepContext, StepError};

use crate::{Bench, RAW_OUTPUT, Trouble, World};

/// How long a call gets that something hangs in.
const SHORT: Duration = Duration::from_millis(1000);

/// How much later than its deadline a call may come back, for the ends of its processes.
const GRACE: Duration = Duration::from_secs(5);

/// How soon a cancelled call has to come back.
const SOON: Duration = Duration::from_secs(10);

pub async fn np_23_a_call_that_hangs_ends_by_its_deadline_with_all_its_processes<W: World>(bench: &Bench<W>) {
    hang(bench, async |what, call| {
        let (ctx, _cancel, _) = bench.context(SHORT);
        let ended = tokio::time::timeout(SHORT + GRACE, call(ctx)).await;
        let ended = ended.unwrap_or_else(|_| panic!("{what}: still at it {GRACE:?} after its deadline"));
        let late = matches!(ended, Err(StepError::DeadlineExceeded | StepError::Failed(_)));
        assert!(late, "{what}: {ended:?}");
    })
    .await;
}

pub async fn np_24_a_call_that_is_cancelled_ends_soon_with_all_its_processes<W: World>(bench: &Bench<W>) {
    hang(bench, async |what, call| {
        let (ctx, cancel, _) = bench.context(Duration::from_secs(300));
        let canceller = async {
            tokio::time::sleep(SHORT / 3).await;
            cancel.cancel(StopReason::Cancelled);
            tokio::time::sleep(SOON).await;
        };
        let ended = tokio::select! {
            ended = call(ctx) => ended,
            () = canceller => panic!("{what}: still at it {SOON:?} after the cancel"),
        };
        let stopped = matches!(ended, Err(StepError::Stopped(StopReason::Cancelled)));
        assert!(stopped, "{what}: {ended:?}");
    })
    .await;
}

/// A call that has its context to come.
type Call<'a> = Box<dyn FnOnce(StepContext) -> Ended<'a> + 'a>;
type Ended<'a> = std::pin::Pin<Box<dyn Future<Output = Result<(), StepError>> + 'a>>;

/// Has calls hang at each point of a machine's life, and sees that they leave no process and that the next ones go on.
async fn hang<W: World>(bench: &Bench<W>, end: impl AsyncFn(&str, Call<'_>)) {
    let request = &bench.request().await;
    let provider = &bench.provider;
    let acquire = || -> Call<'_> {
        Box::new(move |ctx| Box::pin(async move { provider.acquire(request, &ctx).await.map(drop) }))
    };
    let hang = async |what: &str, call: Call<'_>| {
        bench.world.trouble(Trouble::Hangs, &request.instance).await;
        end(what, call).await;
        assert_eq!(bench.world.processes(), [""; 0], "left by the {what}");
        bench.world.calm().await;
    };
    hang("first acquire", acquire()).await;

    let node = &bench.acquire(request.clone()).await;
    let before = bench.running(&node.instance).await;
    hang("acquire of a machine that runs", acquire()).await;
    assert_eq!(
        bench.running(&node.instance).await,
        before,
        "a machine that is meant to run goes on"
    );
    if bench.is_remote() {
        return;
    }
    let release: Call<'_> =
        Box::new(move |ctx| Box::pin(async move { provider.release(&node.instance, &ctx).await.map(drop) }));
    hang("release", release).await;
    bench.release(&node.instance).await;
    bench.assert_nothing_left(&node.instance).await;
}

pub async fn np_25_no_value_stands_inside_a_line_of_shell<W: World>(bench: &Bench<W>) {
    let node = bench.node().await;
    bench.put_key_in(&node).await;
    bench.release(&node.instance).await;
    let commands = bench.world.commands();
    assert!(!commands.is_empty(), "no commands were seen: leave NP-25 out instead");
    let name = node.instance.short_id().to_string();
    for command in commands {
        let words = std::iter::once(&command.program).chain(&command.args);
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        // What follows the `-c` of a shell, wherever in a command that stands, is a script.
        for pair in words.windows(3) {
            let shell = pair[0]
                .rsplit('/')
                .next()
                .is_some_and(|program| ["sh", "bash", "dash"].contains(&program));
            let script = &pair[2];
            let has_value = script.contains(&name) || script.contains(&node.request.public_key);
            assert!(!(shell && pair[1] == "-c" && has_value), "{words:?}");
        }
    }
}

pub async fn np_26_failures_have_codes_of_the_contract<W: World>(bench: &Bench<W>) {
    let mut request = bench.request().await;
    let key = &request.public_key;
    if !bench.is_remote() {
        let no_machine = bench.provider.inject_key(&request.instance, key, &bench.ctx()).await;
        assert_eq!(bench.failure(no_machine).code, JobErrorCode::SshKeyInjectionFailed);
        return;
    }
    bench.world.stop(&request.instance).await;
    let stopped = bench.provider.acquire(&request, &bench.ctx()).await;
    let code = bench.failure(stopped).code;
    assert_eq!((code, code.retryable()), (JobErrorCode::RemoteHostUnreachable, true));
    if let Some(remote) = &mut request.instance.remote {
        remote.host.hostname = IpAddr::V4(Ipv4Addr::LOCALHOST).to_string().parse().expect("an address");
    }
    let own = bench.provider.acquire(&request, &bench.ctx()).await;
    let code = bench.failure(own).code;
    assert_eq!((code, code.retryable()), (JobErrorCode::RemoteAddressRefused, false));
}

pub async fn np_27_raw_output_goes_to_the_log_and_not_into_the_failure<W: World>(bench: &Bench<W>) {
    let request = bench.request().await;
    bench.world.trouble(Trouble::AcquireFails, &request.instance).await;
    let (ctx, _cancel, progress) = bench.context(Duration::from_secs(60));
    let failure = bench.failure(bench.provider.acquire(&request, &ctx).await);
    assert!(!failure.detail.contains(RAW_OUTPUT), "{failure}");
    let log = format!("{:?}", progress.events());
    assert!(log.contains(RAW_OUTPUT), "the log lacks what the program said: {log}");
    let told = format!("{log} {failure} {:?}", progress.details());
    assert!(!told.contains("PRIVATE KEY"), "a private key was told");
}
