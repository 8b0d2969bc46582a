//! The readiness check: one command over SSH that asks each part of the runtime itself, all at the same time.
//!
//! Paths and answers are those of the roles in `ansible/roles/*`; their `prove.yml` asks the same questions.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{NodeId, Timestamp};
use jobs::StepContext;
use nodes_domain::{
    CheckEvidence, NodeTarget, ProbeFacts, ProbeResult, ReadinessProbe, RemoteCommand, RuntimeCheck, SshAccess,
};

use crate::classify::short;
use crate::remote::quoted;

/// How long a probe may take, login included.
const LIMIT: Duration = Duration::from_secs(15);

/// How long the checks may take on the node.
const CHECKS_LIMIT: Duration = Duration::from_secs(9);

/// How long one check may take on the node, in seconds.
const CHECK_SECONDS: u32 = 6;

const SUDO: &str = "sudo";

/// Each check: its name, and a command that exits with 0 where the part works. None of them changes anything.
const CHECKS: &[(&str, &str)] = &[
    (SUDO, "sudo -n true"),
    (
        "nginx",
        // 52: the server closed the connection without an answer, as it shall for a host that it does not know.
        "state=$(systemctl is-active nginx) || { echo \"it is ${state:-unknown}\"; exit 3; }; \
         curl -sS -o /dev/null --max-time 5 --noproxy '*' -H 'Host: unknown.invalid' http://127.0.0.1/; \
         code=$?; [ \"$code\" = 52 ] || exit \"$code\"",
    ),
    (
        "PHP-FPM",
        "state=$(systemctl is-active 'php[0-9]*-fpm.service') || { echo \"it is ${state:-unknown}\"; exit 3; }; \
         answer=$(sudo -n sh -c 'REQUEST_METHOD=GET SCRIPT_NAME=/prove.php \
         SCRIPT_FILENAME=/var/lib/pressluft/prove.php cgi-fcgi -bind -connect \
         \"$(ls /run/php/php[0-9]*-fpm.sock | head -n 1)\"' 2>&1 | tail -n 1); \
         echo \"$answer\"; [ \"$answer\" = 'all modules are loaded' ]",
    ),
    (
        "PHP",
        "php -r '$lacks = array_filter([\"curl\", \"dom\", \"exif\", \"fileinfo\", \"gd\", \"intl\", \"mbstring\", \
         \"mysqli\", \"openssl\", \"redis\", \"xml\", \"zip\"], fn($module) => !extension_loaded($module)); \
         echo $lacks ? \"lacks \" . implode(\", \", $lacks) : PHP_VERSION, \"\\n\"; exit($lacks ? 1 : 0);'",
    ),
    (
        "MariaDB",
        "answer=$(sudo -n mariadb --no-defaults --protocol=socket --batch --skip-column-names --execute 'SELECT 1' \
         2>&1); code=$?; echo \"$answer\"; [ \"$code\" = 0 ] || exit \"$code\"; [ \"$answer\" = 1 ]",
    ),
    (
        "Redis",
        // The password stands in no argument. Where its file is missing, Redis says that it does not know the caller.
        "answer=$(sudo -n sh -c 'REDISCLI_AUTH=$(cat /etc/pressluft/redis-admin.password 2>/dev/null) \
         redis-cli -h 127.0.0.1 --user pressluft --no-auth-warning ping' 2>&1); \
         echo \"$answer\"; [ \"$answer\" = PONG ]",
    ),
    (
        "firewall",
        "rules=$(sudo -n nft list chain inet pressluft input 2>&1) || { echo \"$rules\"; exit 1; }; \
         case $rules in *'policy drop'*) echo 'its rules are loaded' ;; *) echo 'it drops nothing'; exit 1 ;; esac",
    ),
    (
        "fail2ban",
        "state=$(systemctl is-active fail2ban); echo \"it is ${state:-unknown}\"; [ \"$state\" = active ]",
    ),
    ("curl", "command -v curl"),
    ("mariadb-dump", "command -v mariadb-dump"),
    ("tar", "command -v tar"),
    ("unzip", "command -v unzip"),
    ("zstd", "command -v zstd"),
];

/// Prints `<number>\t<exit status>\t<first line>` for a check. A line is printed by one write, so that lines of checks
/// which end at the same time do not mix.
const FRAME: &str = r#"
end='
'
check() {
    text=$(timeout -k 1 "$limit" sh -c "$2" 2>&1)
    printf '%s\t%s\t%.400s\n' "$1" "$?" "${text%%"$end"*}"
}
"#;

/// Looks at nodes over SSH.
pub struct SshReadinessProbe {
    ssh: Arc<dyn SshAccess>,
}

impl SshReadinessProbe {
    /// A probe that uses `ssh`.
    pub fn new(ssh: Arc<dyn SshAccess>) -> Self {
        Self { ssh }
    }
}

#[async_trait]
impl ReadinessProbe for SshReadinessProbe {
    async fn probe(&self, node_id: NodeId, target: &NodeTarget, context: &StepContext) -> ProbeFacts {
        let context = context.within(LIMIT);
        let command = RemoteCommand::script(script(), CHECKS_LIMIT).over_new_login();
        let ran = self.ssh.run(node_id, target, &command, &context).await;
        let checked_at = context.now();
        let login = |exit_status, output| CheckEvidence {
            check: "ssh".to_owned(),
            command: format!("ssh {}@{} -p {}", target.ssh_user, target.hostname, target.ssh_port),
            exit_status,
            output,
            checked_at,
        };
        match ran {
            Err(error) => ProbeFacts {
                evidence: vec![login(None, short(&error.to_string()))],
                result: ProbeResult::NoLogin(error),
                checked_at,
            },
            Ok(output) => {
                let checks = read(&output.stdout, checked_at);
                let works = |evidence: &CheckEvidence| evidence.exit_status == Some(0);
                let runtime = checks.iter().filter(|evidence| evidence.check != SUDO);
                let result = ProbeResult::LoggedIn {
                    sudo: checks.iter().any(|evidence| evidence.check == SUDO && works(evidence)),
                    runtime: runtime
                        .map(|evidence| RuntimeCheck {
                            name: evidence.check.clone(),
                            works: works(evidence),
                        })
                        .collect(),
                };
                let first = login(Some(0), "logged in".to_owned());
                ProbeFacts {
                    result,
                    evidence: std::iter::once(first).chain(checks).collect(),
                    checked_at,
                }
            }
        }
    }
}

fn script() -> String {
    let mut script = format!("limit={CHECK_SECONDS}{FRAME}");
    for (number, (_, command)) in CHECKS.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(script, "check {number} {} &", quoted(command));
    }
    script.push_str("wait\n");
    script
}

/// The evidence of every check, in their order. One that did not report did not work.
fn read(stdout: &str, checked_at: Timestamp) -> Vec<CheckEvidence> {
    let mut evidence: Vec<_> = CHECKS
        .iter()
        .map(|(name, command)| CheckEvidence {
            check: (*name).to_owned(),
            command: (*command).to_owned(),
            exit_status: None,
            output: "no answer".to_owned(),
            checked_at,
        })
        .collect();
    for line in stdout.lines() {
        let mut fields = line.splitn(3, '\t');
        let (Some(number), Some(status), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(entry) = number.parse().ok().and_then(|number: usize| evidence.get_mut(number)) else {
            continue;
        };
        entry.exit_status = status.parse().ok();
        entry.output = short(text);
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_come_in_any_order_and_what_is_missing_did_not_work() {
        let now = Timestamp::from_micros(1);
        let evidence = read("3\t1\tlacks gd\nnoise\n99\t0\tx\n0\t0\t\n5\tx\tPONG\twith tab\n", now);
        assert_eq!(evidence.len(), CHECKS.len());
        assert_eq!((evidence[0].exit_status, evidence[0].output.as_str()), (Some(0), ""));
        assert_eq!(
            (evidence[3].exit_status, evidence[3].output.as_str()),
            (Some(1), "lacks gd")
        );
        assert_eq!(evidence[5].exit_status, None, "an unreadable status is no success");
        assert_eq!(
            (evidence[1].exit_status, evidence[1].output.as_str()),
            (None, "no answer")
        );
    }
}
