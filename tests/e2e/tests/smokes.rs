//! The smokes of `scripts/`, as an operator runs them: on a real node they pass, pass again after a crash and a reboot, and of
//! each class of failure they say what it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and starts the smokes by itself"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::{Installation, Machine, Server, left_of_node, processes_mentioning, warm_cache};
use serde_json::json;

const CREATE: &str = "create-site-preview";
const CLONE: &str = "site-clone-preview";
const RESTORE: &str = "backup-restore";
const SMOKES: [&str; 3] = [CREATE, CLONE, RESTORE];

/// How long a job of a node may take here.
const NODE_JOB: Duration = Duration::from_secs(600);

/// How a smoke ended.
struct Ended {
    status: i32,
    output: String,
    errors: String,
}

impl Ended {
    /// Its last line's value of a key.
    fn value(&self, key: &str) -> &str {
        let last = self.output.lines().next_back().unwrap_or_default();
        let found = last
            .split(' ')
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key} in {last:?}\n{}\n{}", self.output, self.errors))
    }

    /// It passed, and its last line says of what.
    fn passed(&self, name: &str) {
        assert_eq!(self.status, 0, "{name}\n{}\n{}", self.output, self.errors);
        let last = self.output.lines().next_back().unwrap();
        assert!(last.starts_with(&format!("smoke {name} passed node=")), "{last}");
        assert!(self.value("preview").starts_with("http://"), "{last}");
        assert!(self.value("seconds").parse::<u32>().is_ok(), "{last}");
    }

    /// It failed with a class's status, and said all of this.
    fn failed(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, status, "{}\n{}", self.output, self.errors);
        for word in words {
            assert!(self.errors.contains(word), "{word:?} is missing:\n{}", self.errors);
        }
        assert!(!self.output.contains(" passed "), "{}", self.output);
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Runs a smoke with the settings of an installation, on `server` or, where there is none, on one that it starts itself.
fn smoke(installation: &Installation, name: &str, server: Option<&Server>, arguments: &[&str]) -> Ended {
    let plain = installation.command(&[]);
    let mut command = Command::new(repository().join(format!("scripts/smoke-{name}.sh")));
    command.args(arguments).current_dir(repository()).stdin(Stdio::null());
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PRESSLUFT_")) {
        command.env_remove(variable);
    }
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PRESSLUFT_BIN", plain.get_program());
    if let Some(server) = server {
        command.env("PRESSLUFT_URL", &server.url);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        status: output.status.code().expect("it was not killed"),
        output: text(&output.stdout),
        errors: text(&output.stderr),
    }
}

/// Gives a node back, which must leave nothing.
fn give_back(installation: &Installation, server: Server, node: &str) {
    let client = server.client();
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), NODE_JOB);
    server.stop();
    assert_eq!(left_of_node(&installation.data_dir(), node), Vec::<String>::new());
}

#[test]
fn the_smokes_pass_on_a_real_node_and_again_after_a_crash_and_a_reboot() {
    warm_cache();
    let installation = Installation::new();
    let first: Vec<_> = SMOKES
        .iter()
        .map(|name| {
            let ended = smoke(&installation, name, None, &[]);
            ended.passed(name);
            ended
        })
        .collect();
    let node = first[0].value("node").to_owned();

    // The server dies, and the machine stops as with its host.
    installation.start().kill();
    let machine = Machine::of(&installation.data_dir(), &node);
    machine.stop();
    for (name, before) in SMOKES.iter().zip(&first) {
        let ended = smoke(&installation, name, None, &[]);
        ended.passed(name);
        for key in ["node", "site", "preview"] {
            assert_eq!(ended.value(key), before.value(key), "{name}");
        }
    }
    let data = installation.data_dir().display().to_string();
    let left = processes_mentioning(&format!("{data}/"));
    assert_eq!(left, Vec::<String>::new(), "left running");

    let server = installation.start();
    let count = |path: &str| server.client().get(path)["items"].as_array().unwrap().len();
    assert_eq!(count("/api/nodes?include_decommissioned=true"), 1);
    assert_eq!(count("/api/sites"), SMOKES.len());
    for name in SMOKES {
        let ended = smoke(&installation, name, Some(&server), &["--clean"]);
        assert_eq!(ended.status, 0, "{name}\n{}\n{}", ended.output, ended.errors);
    }
    assert_eq!(server.client().get("/api/sites")["items"], json!([]));
    give_back(&installation, server, &node);
}

#[test]
fn a_smoke_without_its_provider_says_that_no_node_can_be_acquired() {
    let missing = Path::new("/nonexistent/multipass");
    let installation = Installation::new().with_multipass(missing);
    let ended = smoke(&installation, CREATE, None, &[]);
    let words = [
        "command: POST /api/nodes",
        "job: ",
        "code: LOCAL_PROVIDER_UNAVAILABLE",
        "remedy: Run `pressluft doctor`",
    ];
    ended.failed(10, &words);
    // Asked for once, and the next run takes up the node that failed.
    ended.failed(10, &["step: acquire failed"]);
    smoke(&installation, CREATE, None, &[]).failed(10, &["code: LOCAL_PROVIDER_UNAVAILABLE"]);
    let server = installation.start();
    let nodes = server.client().get("/api/nodes?include_decommissioned=true");
    assert_eq!(nodes["items"].as_array().unwrap().len(), 1);
    server.stop();
}

#[test]
fn a_smoke_tells_a_node_that_is_not_ready_a_job_that_failed_and_a_preview_that_is_dead_apart() {
    warm_cache();
    // One attempt alone, and neither a cache nor a source that has a WordPress.
    let installation = Installation::new().with("RETRY_DELAYS", "");
    let shared = setting(&installation, "PRESSLUFT_CACHE_DIR");
    let (cache, empty) = (
        installation.scratch().join("cache"),
        installation.scratch().join("empty"),
    );
    for folder in [&cache, &empty] {
        std::fs::create_dir(folder).unwrap();
    }
    std::os::unix::fs::symlink(Path::new(&shared).join("images"), cache.join("images")).unwrap();
    let installation = installation
        .with("CACHE_DIR", cache.to_str().unwrap())
        .with("ARTIFACT_SOURCE", empty.to_str().unwrap());
    let ended = smoke(&installation, CREATE, None, &[]);
    let words = [
        "command: POST /api/sites",
        "job: ",
        "site_create failed",
        "step: artifacts failed",
        "code: ARTIFACT_UNAVAILABLE",
        "remedy: ",
    ];
    ended.failed(12, &words);
    let installation = installation.with("CACHE_DIR", &shared).with("ARTIFACT_SOURCE", "npm");

    // The failed job is asked for once more, and now there is a WordPress.
    let server = installation.start();
    let node = server.client().get("/api/nodes")["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let machine = Machine::of(&installation.data_dir(), &node);
    let ended = smoke(&installation, CREATE, Some(&server), &[]);
    ended.passed(CREATE);

    for (stopped, part) in [("redis-server", "Missing: Redis."), ("mariadb", "Missing: MariaDB.")] {
        machine.run(&format!("systemctl stop {stopped}"));
        let ended = smoke(&installation, CREATE, Some(&server), &[]);
        // Mended first: a test that fails here can then still clean up.
        machine.run(&format!("systemctl start {stopped}"));
        let words = ["command: POST /api/nodes/", "reason: runtime_missing", part, "remedy: "];
        ended.failed(11, &words);
    }

    // A machine that is well and whose port 80 is shut: of the site that is there the page, of a new one the job.
    machine.run(
        "nft add table inet dead; nft 'add chain inet dead in { type filter hook input priority -300; }'; \
                 nft add rule inet dead in iifname != lo tcp dport 80 drop",
    );
    let page = smoke(&installation, CREATE, Some(&server), &[]);
    let job = smoke(&installation, CLONE, Some(&server), &[]);
    machine.run("nft delete table inet dead");
    let words = ["code: PREVIEW_UNREACHABLE", "remedy: "];
    page.failed(
        13,
        &[&["command: curl --resolve ", "reason: nothing answers"], &words[..]].concat(),
    );
    job.failed(
        13,
        &[
            &["command: POST /api/sites", "job: ", "step: prove_preview failed"],
            &words[..],
        ]
        .concat(),
    );
    smoke(&installation, CLONE, Some(&server), &[]).passed(CLONE);

    for name in [CREATE, CLONE] {
        let ended = smoke(&installation, name, Some(&server), &["--clean"]);
        assert_eq!(ended.status, 0, "{}\n{}", ended.output, ended.errors);
    }
    give_back(&installation, server, &node);
}

#[test]
fn a_smoke_that_is_called_wrongly_starts_nothing() {
    let installation = Installation::new();
    for arguments in [["--what"], ["extra"]] {
        let ended = smoke(&installation, RESTORE, None, &arguments);
        ended.failed(2, &["Usage: scripts/smoke-backup-restore.sh", "unknown argument"]);
    }
    assert!(!installation.data_dir().exists());
}

/// What an installation gives its server.
fn setting(installation: &Installation, name: &str) -> String {
    let command = installation.command(&[]);
    let (_, value) = command.get_envs().find(|(known, _)| *known == name).unwrap();
    value.unwrap().to_str().unwrap().to_owned()
}
