//! The host's own SSH set-up changes nothing: no agent, no environment.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nodes_domain::{SshAccess, SshError};

use crate::server::{Site, control_folder, eventually, new_key, processes_with};

/// Set in the test process that [`in_environment`] starts.
const INNER: &str = "PRESSLUFT_TEST_INNER";

#[allow(
    clippy::disallowed_methods,
    reason = "the agent and `ssh` by hand are the test's own"
)]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// An agent that holds a key.
struct Agent(Child);

impl Agent {
    async fn start(socket: &Path, key: &Path) -> Self {
        let agent = command("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::null())
            .spawn();
        let agent = Self(agent.unwrap());
        eventually("the agent listens", || socket.exists()).await;
        let added = command("ssh-add")
            .arg(key)
            .env("SSH_AUTH_SOCK", socket)
            .output()
            .unwrap();
        assert!(added.status.success(), "{added:?}");
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn ssh(config: &Path, name: &str, agent: &Path, more: &[&str]) -> Output {
    let mut ssh = command("ssh");
    ssh.arg("-F").arg(config).args(more).args([name, "true"]);
    ssh.env("SSH_AUTH_SOCK", agent).stdin(Stdio::null()).output().unwrap()
}

#[tokio::test]
async fn an_agent_with_an_accepted_key_does_not_log_in_where_ours_is_missing() {
    let site = Site::start().await;
    let (key, socket) = (site.folder.path().join("agent_key"), site.folder.path().join("agent"));
    let accepted = new_key(&key);
    let _agent = Agent::start(&socket, &key).await;
    let config = site.sessions.config(site.node_id, &site.target).await.unwrap();
    let name = format!("pressluft-{}", site.node_id.short());

    assert!(ssh(&config, &name, &socket, &[]).status.success(), "{}", site.log());
    site.accept_only(&format!("{accepted}\n"));
    let with_agent = ["-o", "IdentitiesOnly=no", "-o"];
    let with_agent = [&with_agent[..], &["IdentityAgent=SSH_AUTH_SOCK"]].concat();
    let open = ssh(&config, &name, &socket, &with_agent);
    assert!(open.status.success(), "the agent's key is good: {open:?}");

    let isolated = ssh(&config, &name, &socket, &[]);
    assert_eq!(isolated.status.code(), Some(255));
    let stderr = String::from_utf8_lossy(&isolated.stderr).into_owned();
    assert!(stderr.contains("Permission denied (publickey)"), "{stderr}");
}

/// Runs one of these tests again, alone, in a process with further variables.
fn in_environment(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut inner = command(std::env::current_exe().unwrap().to_str().unwrap());
    inner.args(["--exact", test, "--nocapture"]).env(INNER, "1");
    inner.envs(variables.iter().copied()).output().unwrap()
}

fn assert_one_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn neither_settings_nor_an_agent_of_the_server_reach_ssh() {
    if std::env::var_os(INNER).is_some() {
        return look_at_the_environment_of_ssh().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (key, socket) = (folder.path().join("key"), folder.path().join("agent"));
    let accepted = new_key(&key);
    let _agent = Agent::start(&socket, &key).await;
    let variables = [
        ("SSH_AUTH_SOCK", socket.to_str().unwrap()),
        ("PRESSLUFT_ADMIN_PASSWORD", "hunter2"),
        ("ACCEPTED_KEY", accepted.as_str()),
        ("LC_ALL", "de_DE.UTF-8"),
        ("HOME", "/nonexistent"),
    ];
    let name = "isolation::neither_settings_nor_an_agent_of_the_server_reach_ssh";
    assert_one_passed(&in_environment(name, &variables));
}

async fn look_at_the_environment_of_ssh() {
    assert!(std::env::var_os("SSH_AUTH_SOCK").is_some() && std::env::var_os("PRESSLUFT_ADMIN_PASSWORD").is_some());
    let site = Site::start().await;
    site.run("true").await.unwrap();
    let masters: Vec<_> = processes_with(&control_folder(&site))
        .into_iter()
        .filter_map(|pid| fs::read(format!("/proc/{pid}/environ")).ok())
        .map(|environment| String::from_utf8_lossy(&environment).into_owned())
        .collect();
    assert!(!masters.is_empty());
    for environment in masters {
        assert!(
            !environment.contains("PRESSLUFT_") && !environment.contains("SSH_AUTH_SOCK"),
            "{environment:?}"
        );
    }
    site.sessions.forget(site.node_id).await.unwrap();
    site.accept_only(&std::env::var("ACCEPTED_KEY").unwrap());
    assert_eq!(site.run("true").await, Err(SshError::AuthRejected));
}
