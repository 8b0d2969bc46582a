//! The second local node, which starts from an image of the first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::{Client, Installation, Machine, left_of_node};

const LONG: Duration = Duration::from_secs(600);

/// What a machine keeps for itself.
const OF_ONE_MACHINE: &[&str] = &[
    "cat /etc/machine-id",
    "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub",
    "sed -n 4p /etc/ssh/ssh_host_ed25519_key",
    "cut -d' ' -f2 ~pressluft/.ssh/authorized_keys",
    "cat /etc/pressluft/redis-admin.password",
    "sed -n 's/^user pressluft on #\\([0-9a-f]*\\).*/\\1/p' /etc/redis/users.acl",
    "hostname",
];

fn step_seconds(client: &Client, job: &str, step: &str) -> f64 {
    let job = client.job(job);
    let step = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["name"] == step);
    let time = |name: &str| {
        let text = step.unwrap()[name].as_str().unwrap();
        #[allow(clippy::cast_precision_loss, reason = "microseconds of today fit")]
        let micros = domain_kernel::Timestamp::parse(text).unwrap().as_micros() as f64;
        micros / 1e6
    };
    time("finished_at") - time("started_at")
}

/// The lower layers of the machines' roots, as the host has them mounted.
fn lower_of(data: &Path, node: &str) -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let short = &node[node.len() - 12..];
    let line = mounts
        .lines()
        .find(|line| line.contains(&format!("pressluft-{short}")) && line.contains(" overlay "))
        .unwrap_or_else(|| panic!("no root of {node} under {}", data.display()));
    let options = line.rsplit(' ').next().unwrap();
    let lower = options.split(',').find_map(|option| option.strip_prefix("lowerdir="));
    PathBuf::from(lower.unwrap())
}

/// Files under a folder that hold a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let found = Command::new("grep")
        .args(["-rlaF", "--devices=skip", "-e", text, "--"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(matches!(found.status.code(), Some(0 | 1)), "{found:?}");
    let files = String::from_utf8(found.stdout).unwrap();
    files.lines().map(str::to_owned).collect()
}

#[test]
fn the_next_local_node_starts_from_an_image_that_holds_nothing_of_the_first() {
    let installation = Installation::new().with_own_roles();
    let data = installation.data_dir();
    let server = installation.start();
    let client = server.client();

    let (first, job) = client.create_local_node();
    client.success_of(&job, LONG);
    let from_bare = step_seconds(&client, &job, "provision");
    let machine = Machine::of(&data, &first);
    // Where a password of the database's own would stand; every account logs in by its socket instead.
    let query = "SELECT user FROM mysql.global_priv WHERE JSON_VALUE(priv, '$.authentication_string') LIKE '*%'";
    assert_eq!(machine.run(&format!("mariadb -BNe \"{query}\"")).trim(), "");
    let own: Vec<String> = OF_ONE_MACHINE
        .iter()
        .map(|command| machine.run(command).trim().to_owned())
        .collect();
    assert!(own.iter().all(|text| text.len() > 10), "{own:?}");

    let (second, job) = client.create_local_node();
    let done = client.success_of(&job, LONG);
    assert_eq!(client.node(&second)["readiness"]["is_ready"], true);
    let detail = done["steps"][3]["detail"].as_str().unwrap();
    assert!(detail.ends_with(" 0 changed"), "{detail}");
    let from_image = step_seconds(&client, &job, "provision");
    assert!(from_image < from_bare / 3.0, "{from_image} s after {from_bare} s");

    let image = lower_of(&data, &second);
    assert_ne!(
        image,
        lower_of(&data, &first),
        "the second one does not run on an image of its own kind"
    );
    for (text, command) in own.iter().zip(OF_ONE_MACHINE) {
        assert_eq!(
            files_with(&image, text),
            Vec::<String>::new(),
            "`{command}` of the first"
        );
    }
    let of_second = Machine::of(&data, &second);
    for (text, command) in own.iter().zip(OF_ONE_MACHINE) {
        let is_shared = command.contains("authorized_keys");
        assert_eq!(of_second.run(command).trim() == text, is_shared, "`{command}`");
    }

    for node in [&first, &second] {
        let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
        client.success_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(60));
        assert_eq!(left_of_node(&data, node), Vec::<String>::new());
    }
    server.stop();
}
