//! What is left on the node when a command is stopped: nothing.

use std::time::{Duration, Instant};

use domain_kernel::StopReason;
use nodes_domain::{RemoteCommand, SshAccess, SshError};

use crate::server::{Site, context, eventually, processes_with};

#[tokio::test]
async fn a_command_is_ended_on_the_node_at_its_limit() {
    let site = Site::start().await;
    let command = RemoteCommand::script("sleep 300.0101 & sleep 300.0101", Duration::from_secs(1));
    let output = site.run_command(&command).await.unwrap();
    assert_eq!(output.exit_status, Some(124));
    assert_eq!(processes_with("sleep 300.0101"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_command_that_ignores_term_is_ended_as_well_and_counts_as_run_into_its_limit() {
    let site = Site::start().await;
    let command = RemoteCommand::script("trap '' TERM; sleep 300.0202; sleep 300.0202", Duration::from_secs(1));
    let output = site.run_command(&command).await.unwrap();
    assert_eq!(output.exit_status, Some(124));
    assert_eq!(processes_with("sleep 300.0202"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_cancelled_command_leaves_nothing_on_the_node() {
    let site = Site::start().await;
    for (script, sleep) in [
        ("sleep 300.0303", "sleep 300.0303"),
        (
            "trap '' TERM; (sleep 300.0304; sleep 300.0304) & sleep 300.0304; wait",
            "sleep 300.0304",
        ),
        ("cat; sleep 300.0305", "cat; sleep 300.0305"),
    ] {
        let (context, cancel) = context(Duration::from_secs(60));
        let command = RemoteCommand {
            stdin: b"x".to_vec(),
            ..RemoteCommand::script(script, Duration::from_secs(50))
        };
        let begin = Instant::now();
        let run = site.sessions.run(site.node_id, &site.target, &command, &context);
        let (result, ()) = tokio::join!(run, async {
            eventually("the command starts", || !processes_with(sleep).is_empty()).await;
            cancel.cancel(StopReason::Cancelled);
        });
        assert_eq!(result, Err(SshError::Stopped(StopReason::Cancelled)));
        assert_eq!(processes_with(sleep), Vec::<u32>::new(), "{script}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }
    // The connection serves on.
    assert_eq!(site.run("echo on").await.unwrap().stdout, "on\n");
}

#[tokio::test]
async fn six_commands_cancelled_at_once_leave_nothing_on_the_node() {
    let site = Site::start().await;
    let (context, cancel) = context(Duration::from_secs(60));
    let command = RemoteCommand::script("sleep 300.0606", Duration::from_secs(50));
    let runs = (0..8).map(|_| site.sessions.run(site.node_id, &site.target, &command, &context));
    let (results, ()) = tokio::join!(futures_util::future::join_all(runs), async {
        // Each has `sleep` twice in it: timeout and sh, then sleep itself.
        eventually("six commands run", || processes_with("sleep 300.0606").len() >= 18).await;
        cancel.cancel(StopReason::Shutdown);
    });
    assert!(
        results
            .iter()
            .all(|result| *result == Err(SshError::Stopped(StopReason::Shutdown)))
    );
    assert_eq!(processes_with("sleep 300.0606"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_command_beyond_the_contexts_deadline_is_ended_on_the_node() {
    let site = Site::start().await;
    site.run("true").await.unwrap();
    let (context, _) = context(Duration::from_secs(1));
    let command = RemoteCommand::script("sleep 300.0404", Duration::from_secs(50));
    let result = site.sessions.run(site.node_id, &site.target, &command, &context).await;
    assert!(matches!(result, Err(SshError::TimedOut(_))), "{result:?}");
    assert_eq!(processes_with("sleep 300.0404"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_login_that_is_cancelled_leaves_no_ssh_behind() {
    let mut site = Site::start().await;
    let port = site.target.ssh_port;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    site.target.ssh_port = silent.local_addr().unwrap().port();
    let (context, cancel) = context(Duration::from_secs(60));
    let command = RemoteCommand::script("true", Duration::from_secs(5));
    let run = site.sessions.run(site.node_id, &site.target, &command, &context);
    let data = site.folder.path().join("data").display().to_string();
    let (result, ()) = tokio::join!(run, async {
        eventually("ssh runs", || !processes_with(&data).is_empty()).await;
        cancel.cancel(StopReason::LeaseLost);
    });
    assert_eq!(result, Err(SshError::Stopped(StopReason::LeaseLost)));
    assert_eq!(processes_with(&data), Vec::<u32>::new());
    site.target.ssh_port = port;
}
