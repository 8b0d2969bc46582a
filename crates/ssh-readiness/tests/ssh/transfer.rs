//! Bytes to and from a node, as they come.

use std::fs;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, JobErrorCode, StopReason};
use jobs::Failure;
use nodes_domain::{ByteSink, ByteSource, RemoteCommand, RemoteOutput, SshError, SshTransfer, TransferError};
use sha2::{Digest, Sha256};

use crate::server::{Site, context, eventually, processes_with};

const MIB: usize = 1024 * 1024;
const LARGE: usize = 50 * MIB;

/// Gives `left` bytes in chunks of 1 MiB, each another, and then fails where it is to. Without a limit it goes on.
struct Flow {
    left: usize,
    count: u64,
    digest: Sha256,
    fails: bool,
    given: CancelToken,
}

impl Flow {
    fn of(bytes: usize) -> Self {
        Self {
            left: bytes,
            count: 0,
            digest: Sha256::new(),
            fails: false,
            given: CancelToken::new(),
        }
    }

    fn endless() -> Self {
        Self::of(usize::MAX)
    }
}

#[async_trait]
impl ByteSource for Flow {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.left == 0 {
            let broken = Failure::new(JobErrorCode::BackupStorageFailed, "the source broke");
            return if self.fails { Err(broken) } else { Ok(None) };
        }
        self.count += 1;
        let chunk: Vec<u8> = self.count.to_le_bytes().repeat(MIB.min(self.left) / 8);
        self.left -= chunk.len();
        self.digest.update(&chunk);
        self.given.cancel(StopReason::Cancelled);
        Ok(Some(chunk))
    }
}

/// Takes `room` bytes and then fails.
struct Tank {
    room: usize,
    size: usize,
    largest: usize,
    digest: Sha256,
    begun: CancelToken,
}

impl Tank {
    fn of(room: usize) -> Self {
        Self {
            room,
            size: 0,
            largest: 0,
            digest: Sha256::new(),
            begun: CancelToken::new(),
        }
    }
}

#[async_trait]
impl ByteSink for Tank {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.size += chunk.len();
        self.largest = self.largest.max(chunk.len());
        if self.size > self.room {
            return Err(Failure::new(JobErrorCode::HostDiskFull, "no room is left"));
        }
        self.digest.update(chunk);
        self.begun.cancel(StopReason::Cancelled);
        Ok(())
    }
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn script(script: impl Into<String>) -> RemoteCommand {
    RemoteCommand::script(script, Duration::from_secs(50))
}

async fn receive(site: &Site, command: &RemoteCommand, sink: &mut Tank) -> Result<RemoteOutput, TransferError> {
    let (context, _cancel) = context(Duration::from_secs(60));
    let sessions = &site.sessions;
    sessions
        .receive(site.node_id, &site.target, command, sink, &context)
        .await
}

async fn send(site: &Site, command: &RemoteCommand, source: &mut Flow) -> Result<RemoteOutput, TransferError> {
    let (context, _cancel) = context(Duration::from_secs(60));
    let sessions = &site.sessions;
    sessions
        .send(site.node_id, &site.target, command, source, &context)
        .await
}

/// The most memory that this process has held since the last call, in bytes. Every test is a process of its own.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kib * 1024
}

#[tokio::test]
async fn fifty_megabytes_arrive_whole_on_the_node_and_are_never_held_at_once() {
    let site = Site::start().await;
    let file = site.folder.path().join("arrived");
    site.run("true").await.unwrap();
    let mut source = Flow::of(LARGE);
    peak_memory();
    let before = peak_memory();
    let command = script(format!("cat >'{0}' && sha256sum <'{0}'", file.display()));
    let output = send(&site, &command, &mut source).await.unwrap();
    let grown = peak_memory().saturating_sub(before);
    assert_eq!(output.exit_status, Some(0), "{output:?}");
    assert_eq!(output.stdout.split(' ').next(), Some(hex(source.digest).as_str()));
    assert_eq!(fs::metadata(&file).unwrap().len(), LARGE as u64);
    assert!(grown < 12 * MIB, "{grown} bytes were held");
}

#[tokio::test]
async fn fifty_megabytes_arrive_whole_from_the_node_and_are_never_held_at_once() {
    let site = Site::start().await;
    let command = script(format!(
        "head -c {LARGE} /dev/urandom | tee '{0}/sent'; sha256sum <'{0}/sent' >&2; exit 7",
        site.folder.path().display()
    ));
    let mut sink = Tank::of(LARGE);
    site.run("true").await.unwrap();
    peak_memory();
    let before = peak_memory();
    let output = receive(&site, &command, &mut sink).await.unwrap();
    let grown = peak_memory().saturating_sub(before);
    assert_eq!(
        output.exit_status,
        Some(7),
        "a failed command is told by its exit status"
    );
    assert_eq!((sink.size, output.stdout.as_str()), (LARGE, ""));
    assert_eq!(output.stderr.split(' ').next(), Some(hex(sink.digest).as_str()));
    assert!(sink.largest <= 256 * 1024, "{} bytes came at once", sink.largest);
    assert!(grown < 12 * MIB, "{grown} bytes were held");
}

#[tokio::test]
async fn what_is_received_may_be_asked_for_on_standard_input() {
    let site = Site::start().await;
    let command = RemoteCommand {
        stdin: b"asked".to_vec(),
        ..script("cat")
    };
    let mut sink = Tank::of(LARGE);
    receive(&site, &command, &mut sink).await.unwrap();
    assert_eq!(hex(sink.digest), hex(Sha256::new_with_prefix("asked")));
    let refused = send(&site, &command, &mut Flow::of(8)).await;
    assert!(
        matches!(refused, Err(TransferError::Ssh(SshError::Other(_)))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_transfer_that_is_cancelled_in_the_middle_leaves_nothing_on_the_node() {
    let site = Site::start().await;
    let stopped = Err(TransferError::Ssh(SshError::Stopped(StopReason::Cancelled)));
    let done = site.folder.path().join("done");

    let (context_of_send, cancel) = context(Duration::from_secs(60));
    let mut source = Flow::endless();
    let given = source.given.clone();
    // Were its input ended before it is, it would take what has come for the whole.
    let command = script(format!("cat >/dev/null # 300.0701\ntouch '{}'", done.display()));
    let work = site
        .sessions
        .send(site.node_id, &site.target, &command, &mut source, &context_of_send);
    let (result, ()) = tokio::join!(work, async {
        given.cancelled().await;
        eventually("the command runs", || !processes_with("300.0701").is_empty()).await;
        cancel.cancel(StopReason::Cancelled);
    });
    assert_eq!(result, stopped);
    assert_eq!(processes_with("300.0701"), Vec::<u32>::new());
    assert!(!done.exists(), "the command went on with half of its input");

    let (context_of_receive, cancel) = context(Duration::from_secs(60));
    let mut sink = Tank::of(usize::MAX);
    let begun = sink.begun.clone();
    let command = script("cat /dev/zero # 300.0702");
    let work = site
        .sessions
        .receive(site.node_id, &site.target, &command, &mut sink, &context_of_receive);
    let (result, ()) = tokio::join!(work, async {
        begun.cancelled().await;
        cancel.cancel(StopReason::Cancelled);
    });
    assert_eq!(result, stopped);
    assert_eq!(processes_with("300.0702"), Vec::<u32>::new());
    assert_eq!(
        site.run("echo on").await.unwrap().stdout,
        "on\n",
        "the connection serves on"
    );
}

#[tokio::test]
async fn a_transfer_beyond_its_limit_is_ended_on_the_node() {
    let site = Site::start().await;
    let mut sink = Tank::of(usize::MAX);
    let command = RemoteCommand::script("cat /dev/zero # 300.0703", Duration::from_secs(1));
    let output = receive(&site, &command, &mut sink).await.unwrap();
    assert_eq!(output.exit_status, Some(124));

    let (context, _cancel) = context(Duration::from_secs(1));
    let command = script("cat >/dev/null # 300.0703");
    let mut source = Flow::endless();
    let result = site
        .sessions
        .send(site.node_id, &site.target, &command, &mut source, &context)
        .await;
    assert!(
        matches!(result, Err(TransferError::Ssh(SshError::TimedOut(_)))),
        "{result:?}"
    );
    assert_eq!(processes_with("300.0703"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_command_and_is_the_error() {
    let site = Site::start().await;
    let mut sink = Tank::of(3 * MIB);
    let result = receive(&site, &script("cat /dev/zero # 300.0704"), &mut sink).await;
    let Err(TransferError::Local(failure)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(failure.code, JobErrorCode::HostDiskFull);
    assert_eq!(processes_with("300.0704"), Vec::<u32>::new());
}

#[tokio::test]
async fn a_source_that_fails_ends_the_command_before_it_takes_the_half_for_the_whole() {
    let site = Site::start().await;
    let done = site.folder.path().join("done");
    let mut source = Flow {
        fails: true,
        ..Flow::of(3 * MIB)
    };
    let command = script(format!("cat >/dev/null # 300.0705\ntouch '{}'", done.display()));
    let result = send(&site, &command, &mut source).await;
    let Err(TransferError::Local(failure)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(failure.code, JobErrorCode::BackupStorageFailed);
    assert_eq!(processes_with("300.0705"), Vec::<u32>::new());
    assert!(!done.exists(), "the command went on with half of its input");
}

#[tokio::test]
async fn a_command_that_ends_while_it_is_sent_to_is_told_by_its_exit_status() {
    let site = Site::start().await;
    let output = send(
        &site,
        &script("head -c 3 >/dev/null; echo full >&2; exit 28"),
        &mut Flow::endless(),
    )
    .await
    .unwrap();
    assert_eq!((output.exit_status, output.stderr.as_str()), (Some(28), "full\n"));
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_is_unreachable() {
    let site = Site::start().await;
    let mut source = Flow::endless();
    let given = source.given.clone();
    let command = script("cat >/dev/null");
    let (result, ()) = tokio::join!(send(&site, &command, &mut source), async {
        given.cancelled().await;
        site.drop_connections();
    });
    assert!(
        matches!(result, Err(TransferError::Ssh(SshError::Unreachable(_)))),
        "{result:?}"
    );

    let mut sink = Tank::of(usize::MAX);
    let begun = sink.begun.clone();
    let command = script("cat /dev/zero");
    let (result, ()) = tokio::join!(receive(&site, &command, &mut sink), async {
        begun.cancelled().await;
        site.drop_connections();
    });
    assert!(
        matches!(result, Err(TransferError::Ssh(SshError::Unreachable(_)))),
        "{result:?}"
    );
}
