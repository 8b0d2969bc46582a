//! The readiness check, against a machine that is made of stubs on the PATH of the login.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain_kernel::NodeId;
use jobs::{Failure, StepContext};
use nodes_domain::{
    NodeTarget, ProbeFacts, ProbeResult, ReadinessProbe, RemoteCommand, RemoteOutput, SshAccess, SshError,
};
use ssh_readiness::SshReadinessProbe;

use crate::server::{Site, context};

/// Lets a probe use the sessions of a site.
struct Borrowed(Arc<Site>);

#[async_trait]
impl SshAccess for Borrowed {
    async fn run(
        &self,
        node_id: NodeId,
        target: &NodeTarget,
        command: &RemoteCommand,
        context: &StepContext,
    ) -> Result<RemoteOutput, SshError> {
        self.0.sessions.run(node_id, target, command, context).await
    }

    async fn config(&self, node_id: NodeId, target: &NodeTarget) -> Result<std::path::PathBuf, Failure> {
        self.0.sessions.config(node_id, target).await
    }

    async fn forget(&self, node_id: NodeId) -> Result<(), Failure> {
        self.0.sessions.forget(node_id).await
    }
}

const STUBS: &[(&str, &str)] = &[
    ("sudo", "[ \"$1\" = -n ] && shift; exec \"$@\""),
    ("systemctl", "echo active"),
    ("curl", "echo 'curl: (52) Empty reply from server' >&2; exit 52"),
    (
        "cgi-fcgi",
        "echo 'Content-type: text/html'; echo; [ -n \"$SCRIPT_FILENAME\" ] && echo 'all modules are loaded'",
    ),
    ("php", "echo 8.4.1"),
    ("mariadb", "echo 1"),
    ("mariadb-dump", ":"),
    // Answers its admin alone, and only where no argument holds a password.
    (
        "redis-cli",
        "case \"$*\" in *'--user pressluft '*) [ -n \"${REDISCLI_AUTH+set}\" ] && echo PONG ;; *) echo NOAUTH ;; esac",
    ),
    ("nft", "echo 'type filter hook input priority filter; policy drop;'"),
    ("tar", ":"),
    ("unzip", ":"),
    ("zstd", ":"),
];

/// The programs of the system that the probe itself uses; all others are stubs or absent.
const SYSTEM: &[&str] = &[
    "bash", "cat", "env", "head", "ls", "sh", "sleep", "tail", "timeout", "true",
];

fn stub(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

async fn machine(change: impl FnOnce(&Path)) -> Arc<Site> {
    let site = Site::start_with("SetEnv PATH={folder}/bin").await;
    let programs = site.folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    for (name, script) in STUBS {
        stub(&programs, name, script);
    }
    for name in SYSTEM {
        let path = process_exec::find_program(name.as_ref()).unwrap();
        std::os::unix::fs::symlink(path, programs.join(name)).unwrap();
    }
    change(&programs);
    Arc::new(site)
}

async fn probe(site: &Arc<Site>) -> ProbeFacts {
    let (context, _) = context(Duration::from_secs(30));
    let ssh: Arc<dyn SshAccess> = Arc::new(Borrowed(Arc::clone(site)));
    SshReadinessProbe::new(ssh)
        .probe(site.node_id, &site.target, &context)
        .await
}

fn missing(facts: &ProbeFacts) -> (bool, Vec<&str>) {
    let ProbeResult::LoggedIn { sudo, runtime } = &facts.result else {
        panic!("no login: {facts:?}")
    };
    let missing = runtime.iter().filter(|part| !part.works).map(|part| part.name.as_str());
    (*sudo, missing.collect())
}

#[tokio::test]
async fn a_whole_machine_is_found_whole_with_evidence_of_each_check() {
    let site = machine(|_| {}).await;
    let facts = probe(&site).await;
    assert_eq!(missing(&facts), (true, vec![]), "{facts:#?}");
    let evidence = |check: &str| facts.evidence.iter().find(|entry| entry.check == check).unwrap();
    assert_eq!(facts.evidence[0].check, "ssh");
    assert_eq!(evidence("nginx").output, "curl: (52) Empty reply from server");
    assert_eq!(evidence("PHP-FPM").output, "all modules are loaded");
    assert_eq!(evidence("MariaDB").output, "1");
    assert_eq!(evidence("Redis").output, "PONG");
    assert!(evidence("zstd").output.ends_with("/bin/zstd"));
    assert_eq!(evidence("sudo").command, "sudo -n true");
    assert!(facts.evidence.iter().all(|entry| entry.exit_status == Some(0)));
    assert!(facts.evidence.iter().all(|entry| entry.checked_at == facts.checked_at));
}

#[tokio::test]
async fn each_broken_part_is_named_with_what_it_said() {
    let site = machine(|programs| {
        stub(programs, "systemctl", "echo inactive; exit 3");
        stub(programs, "php", "printf 'lacks gd\\nmore\\n'; exit 1");
        stub(
            programs,
            "mariadb",
            "echo \"ERROR 2002 (HY000): Can't connect\" >&2; exit 1",
        );
        stub(programs, "redis-cli", "echo 'NOAUTH Authentication required.'");
        stub(programs, "nft", "echo 'Error: No such file or directory' >&2; exit 1");
        fs::remove_file(programs.join("zstd")).unwrap();
    })
    .await;
    let facts = probe(&site).await;
    assert_eq!(
        missing(&facts),
        (
            true,
            vec![
                "nginx", "PHP-FPM", "PHP", "MariaDB", "Redis", "firewall", "fail2ban", "zstd"
            ]
        )
    );
    let said = |check: &str| {
        let entry = facts.evidence.iter().find(|entry| entry.check == check).unwrap();
        (entry.exit_status, entry.output.as_str())
    };
    assert_eq!(said("nginx"), (Some(3), "it is inactive"));
    assert_eq!(said("PHP-FPM"), (Some(3), "it is inactive"));
    assert_eq!(said("PHP"), (Some(1), "lacks gd"));
    assert_eq!(said("MariaDB"), (Some(1), "ERROR 2002 (HY000): Can't connect"));
    assert_eq!(said("Redis"), (Some(1), "NOAUTH Authentication required."));
    assert_eq!(said("firewall"), (Some(1), "Error: No such file or directory"));
    assert_eq!(said("fail2ban"), (Some(1), "it is inactive"));
    assert_eq!(said("zstd").0, Some(127));
}

#[tokio::test]
async fn a_part_that_runs_and_does_not_work_is_missing() {
    let site = machine(|programs| {
        stub(programs, "curl", "echo 'curl: (7) Failed to connect' >&2; exit 7");
        stub(programs, "cgi-fcgi", "echo 'modules are missing, redis'");
        stub(programs, "mariadb", "exit 0");
        stub(
            programs,
            "nft",
            "echo 'type filter hook input priority filter; policy accept;'",
        );
    })
    .await;
    let facts = probe(&site).await;
    assert_eq!(
        missing(&facts),
        (true, vec!["nginx", "PHP-FPM", "MariaDB", "firewall"]),
        "{facts:#?}"
    );
}

#[tokio::test]
async fn sudo_that_asks_for_a_password_is_told() {
    let site = machine(|programs| stub(programs, "sudo", "echo 'sudo: a password is required' >&2; exit 1")).await;
    let facts = probe(&site).await;
    assert!(!missing(&facts).0);
    assert_eq!(facts.evidence[1].output, "sudo: a password is required");
}

#[tokio::test]
async fn a_check_that_hangs_is_cut_off_and_the_others_are_told() {
    let site = machine(|programs| stub(programs, "redis-cli", "sleep 300.0808")).await;
    let begin = Instant::now();
    let facts = probe(&site).await;
    assert_eq!(missing(&facts), (true, vec!["Redis"]), "{facts:#?}");
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_bare_machine_reports_everything_as_missing() {
    let site = machine(|programs| {
        for (name, _) in STUBS {
            fs::remove_file(programs.join(name)).unwrap();
        }
    })
    .await;
    let facts = probe(&site).await;
    let (sudo, missing) = missing(&facts);
    assert!(!sudo);
    assert_eq!(missing.len(), facts.evidence.len() - 2, "{facts:#?}");
}

#[tokio::test]
async fn without_a_login_the_reason_is_the_evidence() {
    let site = machine(|_| {}).await;
    site.accept_only("");
    let facts = probe(&site).await;
    assert_eq!(facts.result, ProbeResult::NoLogin(SshError::AuthRejected));
    assert_eq!(facts.evidence.len(), 1);
    assert_eq!(facts.evidence[0].exit_status, None);
    assert_eq!(facts.evidence[0].output, "the machine rejected the key");
}
