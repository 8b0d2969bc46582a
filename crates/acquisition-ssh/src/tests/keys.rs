//! The wait for the key, and what the first login finds out.

use std::time::Duration;

use domain_kernel::{JobErrorCode, StopReason};
use jobs::StepError;
use nodes_domain::{ManagedKey, NodeProvider, SshError};
use test_support::FakeKeys;

use super::support::{Site, failure};

const MACHINE: &str = "machine-id=other\nboot-id=other\nsudo=yes\n";

async fn inject(site: &Site) -> Result<(), StepError> {
    let key = FakeKeys::PUBLIC_KEY;
    site.provider.inject_key(&site.instance, key, &site.context).await
}

fn install_line() -> String {
    let key = ManagedKey {
        public_key: FakeKeys::PUBLIC_KEY.to_owned(),
        fingerprint: String::new(),
        private_key_path: "key".into(),
    };
    key.install_command()
}

#[tokio::test]
async fn while_the_key_is_rejected_the_step_parks_with_the_line_to_run_and_then_fails_with_it() {
    let site = Site::pinned();
    let begin = site.context.now();
    for (waited, pause) in [(0, 6), (40, 10), (599, 1)] {
        site.clock
            .advance(Duration::from_secs(waited).saturating_sub(site.context.now().since(begin)));
        site.ssh.answer(Err(SshError::AuthRejected));
        let Err(StepError::Parked { run_after, detail }) = inject(&site).await else {
            panic!("not parked after {waited} s")
        };
        assert_eq!(
            run_after.since(site.context.now()),
            Duration::from_secs(pause),
            "after {waited} s"
        );
        assert!(
            detail.starts_with("deploy@127.0.0.1 ") && detail.contains(&install_line()),
            "{detail}"
        );
    }
    site.clock.advance(Duration::from_secs(1));
    site.ssh.answer(Err(SshError::AuthRejected));
    let (code, detail) = failure(inject(&site).await);
    assert_eq!(code, JobErrorCode::SshAuthRejected);
    assert!(detail.ends_with(&install_line()), "{detail}");
    assert!(detail.contains("chmod go-w"), "it may be there already: {detail}");
    assert_eq!(site.ssh.ran().len(), 4, "one login each");
}

#[tokio::test]
async fn a_machine_that_takes_the_key_is_given_its_line_over_a_login_of_its_own() {
    let site = Site::pinned();
    site.ssh.answer(Ok(MACHINE));
    site.ssh.answer(Ok(""));
    site.ssh.answer(Ok(""));
    inject(&site).await.unwrap();
    let ran = site.ssh.ran();
    assert_eq!(ran.len(), 3);
    assert!(ran[0].1.new_login);
    let data = FakeKeys::PUBLIC_KEY.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert_eq!(ran[1].1.stdin, format!("{data}\n").into_bytes());
    assert_eq!(ran[2].1.script, install_line());
    let target = &ran[0].0;
    assert_eq!(
        (target.hostname.as_str(), target.ssh_user.as_str(), target.ssh_port),
        ("127.0.0.1", "deploy", 22)
    );
}

#[tokio::test]
async fn a_key_that_the_operator_let_in_behind_options_is_not_let_in_without_them() {
    let site = Site::pinned();
    site.ssh.answer(Ok(MACHINE));
    site.ssh.answer(Ok("line=restricted\n"));
    inject(&site).await.unwrap();
    assert_eq!(site.ssh.ran().len(), 2, "nothing is written");
    assert!(site.log().contains("behind options"), "{}", site.log());
}

#[tokio::test]
async fn this_host_itself_is_refused_and_not_written_to() {
    let site = Site::pinned();
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap();
    let boot = process_exec::boot_id().unwrap();
    site.ssh.answer(Ok(&format!(
        "machine-id={}\nboot-id={boot}\nsudo=yes\n",
        machine.trim()
    )));
    assert_eq!(failure(inject(&site).await).0, JobErrorCode::RemoteAddressRefused);
    assert_eq!(site.ssh.ran().len(), 1);
}

#[tokio::test]
async fn a_user_without_sudo_is_told_the_rule_that_is_missing() {
    let site = Site::pinned();
    site.ssh.answer(Ok("machine-id=other\nboot-id=other\nsudo=no\n"));
    let (code, detail) = failure(inject(&site).await);
    assert_eq!(code, JobErrorCode::NodeNotReady);
    assert!(
        detail.starts_with("sudo_unavailable: ") && detail.contains("/etc/sudoers.d/deploy"),
        "{detail}"
    );
    assert_eq!(site.ssh.ran().len(), 1);
}

#[tokio::test]
async fn each_way_not_to_log_in_has_its_code() {
    let cases = [
        (SshError::HostKeyMismatch, JobErrorCode::SshHostKeyMismatch),
        (SshError::Refused, JobErrorCode::RemoteHostUnreachable),
        (
            SshError::Unreachable("no route".to_owned()),
            JobErrorCode::RemoteHostUnreachable,
        ),
        (
            SshError::TimedOut(Duration::from_secs(12)),
            JobErrorCode::RemoteHostUnreachable,
        ),
        (
            SshError::Other("no key".to_owned()),
            JobErrorCode::SshKeyInjectionFailed,
        ),
    ];
    for (error, expected) in cases {
        let site = Site::pinned();
        site.ssh.answer(Err(error));
        let (code, detail) = failure(inject(&site).await);
        assert_eq!(code, expected, "{detail}");
        assert!(detail.contains("127.0.0.1"), "{detail}");
    }
    let site = Site::pinned();
    site.ssh.answer(Err(SshError::Stopped(StopReason::Shutdown)));
    assert!(matches!(
        inject(&site).await,
        Err(StepError::Stopped(StopReason::Shutdown))
    ));
}

#[tokio::test]
async fn a_shell_that_runs_nothing_and_a_file_that_cannot_be_written_are_failures() {
    let site = Site::pinned();
    site.ssh.answer(Ok("This account is currently not available.\n"));
    assert_eq!(failure(inject(&site).await).0, JobErrorCode::SshKeyInjectionFailed);
    site.ssh.answer(Ok(MACHINE));
    site.ssh.answer(Ok(""));
    site.ssh.exit(1, Ok(""));
    assert_eq!(failure(inject(&site).await).0, JobErrorCode::SshKeyInjectionFailed);
}
