//! Putting the key in, with the script run by a real shell.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain_kernel::JobErrorCode;
use jobs::StepError;
use nodes_domain::{AcquireRequest, NodeProvider};
use process_exec::{CommandRunner, CommandSpec, Output, SystemRunner};
use test_support::{RealClock, step_context};

use crate::stage::{KEY, Run, Stage, failure};

const SAID: &str = "\x1b[2K\x1b[0A\x1b[0E/ Starting\rpressluft-key-in-place\n";

async fn inject(stage: Stage, key: &str) -> (Result<(), StepError>, Run) {
    stage
        .play(async |provider, instance, context| provider.inject_key(instance, key, context).await)
        .await
}

#[tokio::test]
async fn the_word_of_the_script_is_found_behind_a_spinner() {
    let (answer, run) = inject(Stage::new().answer(0, SAID, ""), KEY).await;
    answer.unwrap();
    assert!(
        run.commands[0].starts_with("exec -n N -- sh -c umask 077;"),
        "{:?}",
        run.commands
    );
    assert!(run.commands[0].ends_with(&format!(" sh {KEY}")), "{:?}", run.commands);
}

#[tokio::test]
async fn anything_but_status_0_and_the_word_is_a_failed_injection() {
    let ssh = "exec failed: ssh connection failed: 'Connection refused'";
    for stage in [
        Stage::new().answer(0, "", ""),
        Stage::new().answer(0, "pressluft-key", ""),
        Stage::new().answer(1, SAID, ""),
        Stage::new().answer(2, "", ""),
        Stage::new().answer(2, "", ssh),
        Stage::new().answer(255, "", ssh),
        Stage::new().answer(70, "", "sh: 1: cannot create: Read-only file system"),
        Stage::new().answer(2, "", "exec failed: instance \"x\" does not exist"),
        Stage::new().answer(4, "", ""),
        Stage::new().hangs().hangs().hangs(),
    ] {
        let (answer, _) = inject(stage, KEY).await;
        failure(answer, JobErrorCode::SshKeyInjectionFailed);
    }
}

#[tokio::test]
async fn an_exec_that_hangs_is_tried_again_and_a_daemon_that_is_away_waited_for() {
    let stage = Stage::new()
        .hangs()
        .down("exec")
        .hangs()
        .down("exec")
        .answer(0, SAID, "");
    let (answer, run) = inject(stage, KEY).await;
    answer.unwrap();
    assert_eq!(run.waited, Duration::from_secs(6));
    let stage = (0..12).fold(Stage::new(), |stage, _| stage.down("exec"));
    failure(inject(stage, KEY).await.0, JobErrorCode::LocalProviderNotResponding);
    let stage = Stage::new().answer(2, "", "exec failed: multipass socket access denied");
    failure(inject(stage, KEY).await.0, JobErrorCode::LocalProviderDenied);
}

#[tokio::test]
async fn a_key_that_is_not_one_line_of_ascii_goes_nowhere() {
    for key in [
        "",
        "\n",
        "ssh-ed25519 AAAA\nssh-ed25519 BBBB",
        "ssh-ed25519 ä",
        "a\0b",
        "a\tb\r",
    ] {
        failure(inject(Stage::new(), key).await.0, JobErrorCode::SshKeyInjectionFailed);
        // Nor into the user data of a new machine, where each line would be a key.
        let stage = Stage::new();
        let request = AcquireRequest {
            public_key: key.to_owned(),
            ..stage.request()
        };
        let (answer, _) = stage
            .play(async |provider, _, context| provider.acquire(&request, context).await)
            .await;
        failure(answer, JobErrorCode::SshKeyInjectionFailed);
    }
}

/// Runs what `exec` would run in the machine, with a home folder of the test's.
async fn in_shell(home: &Path, key: &str) -> Output {
    let mut stage = Stage::new().answer(0, SAID, "");
    let runner = stage.runner();
    let provider = acquisition_multipass::MultipassProvider::new(Default::default(), runner.clone());
    let clock = Arc::new(RealClock);
    let context = step_context("inject_key", Duration::from_secs(30), clock.clone()).0;
    provider.inject_key(&stage.instance, key, &context).await.unwrap();
    let sent = runner.commands().remove(0).args;
    let words = sent.iter().skip_while(|word| *word != "--").skip(1);
    let command = CommandSpec::new("env").args(words).env("HOME", home);
    SystemRunner::unrecorded(clock)
        .run(command, &context.limits)
        .await
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn the_script_makes_folder_and_file_with_the_modes_that_sshd_wants() {
    let home = tempfile::tempdir().unwrap();
    let output = in_shell(home.path(), KEY).await;
    assert!(output.success(), "{output:?}");
    assert_eq!(output.stdout_text(), "pressluft-key-in-place\n");
    let file = home.path().join(".ssh/authorized_keys");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{KEY}\n"));
    assert_eq!((mode(&home.path().join(".ssh")), mode(&file)), (0o700, 0o600));
}

#[tokio::test]
async fn the_script_keeps_what_is_there_and_a_second_run_changes_no_byte() {
    let longer = format!("{KEY} more\n");
    for (before, after) in [
        (String::new(), format!("{KEY}\n")),
        (
            "ssh-rsa OTHER multipass".to_owned(),
            format!("ssh-rsa OTHER multipass\n{KEY}\n"),
        ),
        (
            "ssh-rsa OTHER multipass\n".to_owned(),
            format!("ssh-rsa OTHER multipass\n{KEY}\n"),
        ),
        (longer.clone(), format!("{longer}{KEY}\n")),
        (format!("# {KEY}\n"), format!("# {KEY}\n{KEY}\n")),
        (KEY.to_owned(), KEY.to_owned()),
        (format!("{KEY}\nssh-rsa LAST"), format!("{KEY}\nssh-rsa LAST")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".ssh");
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("authorized_keys");
        std::fs::write(&file, &before).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        for _ in 0..2 {
            let output = in_shell(home.path(), KEY).await;
            assert!(output.success(), "{output:?}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), after, "{before:?}");
            assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        }
    }
}

#[tokio::test]
async fn the_script_takes_the_key_as_text_whatever_stands_in_it() {
    let home = tempfile::tempdir().unwrap();
    let key = "ssh-ed25519 AAAA $(touch x) `id` \"q\" 'q' .* -e \\n %s";
    assert!(in_shell(home.path(), key).await.success());
    assert!(in_shell(home.path(), key).await.success());
    let file = std::fs::read_to_string(home.path().join(".ssh/authorized_keys")).unwrap();
    assert_eq!(file, format!("{key}\n"));
}

#[tokio::test]
async fn the_script_that_cannot_write_ends_with_70_and_without_its_word() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".ssh"), "in the way").unwrap();
    let output = in_shell(home.path(), KEY).await;
    assert_eq!(output.ended, process_exec::Ended::Exit(70));
    assert_eq!(output.stdout_text(), "");
}
