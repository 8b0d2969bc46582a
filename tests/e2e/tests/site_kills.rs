//! Jobs of sites whose server is killed: held at each step, and in the middle of the work on the node.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and the moment at which a server is killed is what is tried out"
)]

use std::time::Duration;

use e2e::{Client, Environment, Machine, SITE_JOB, Setup, ask_for_copy, ask_for_site, eventually, fill, killed_at};
use serde_json::{Value, json};

/// The points at which a server is killed, by the job that passes them.
const SITE_POINTS: [&str; 3] = ["artifacts.finished", "create.finished", "prove_preview.finished"];
const BACKUP_POINTS: [&str; 3] = ["stage.finished", "store.finished", "unstage.finished"];
const RESTORE_POINTS: [&str; 6] = [
    "check_backup.finished",
    "checkpoint.finished",
    "stage.finished",
    "restore.finished",
    "prove_preview.finished",
    "keep.finished",
];

#[test]
fn a_job_of_a_site_whose_server_is_killed_in_every_step_ends_as_if_nothing_had_happened() {
    let nothing = |_: &Machine, _: &Value| {};
    let mut setup = Setup::new();
    let ended = |setup: &Setup, accepted: &Value| {
        let job = setup.client.success_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
        assert_eq!(job["attempt_count"], 1, "{job:#}");
    };
    for (number, point) in SITE_POINTS.into_iter().enumerate() {
        let (next, accepted) = killed_at(setup, point, ask_for_site(&format!("site-{number}")), nothing);
        setup = next;
        ended(&setup, &accepted);
        let site = Environment::seen(&setup.client, accepted["environment_id"].as_str().unwrap());
        assert_eq!(site.visit(&setup.address, "/").0, 200, "{point}");
    }
    let site = setup.client.get("/api/sites")["items"][0]["primary_environment_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let site = Environment::seen(&setup.client, &site);
    fill(&site, &setup.machine, 20, 5);
    let before = site.fingerprint(&setup.machine);
    for point in ["create.finished", "prove_preview.finished"] {
        let slug = point.replace(['.', '_'], "-");
        let (next, accepted) = killed_at(setup, point, ask_for_copy(&site, &slug), nothing);
        setup = next;
        ended(&setup, &accepted);
    }
    assert_eq!(site.fingerprint(&setup.machine), before);

    let ask_for_backup = |client: &Client| {
        let path = format!("/api/environments/{}/backups", site.id);
        client.expect(202, "POST", &path, Some(json!({"backup_scope": "full"})))
    };
    let mut backup = String::new();
    for point in BACKUP_POINTS {
        let (next, accepted) = killed_at(setup, point, ask_for_backup, nothing);
        setup = next;
        ended(&setup, &accepted);
        backup = accepted["backup_id"].as_str().unwrap().to_owned();
        assert_eq!(
            setup.client.get(&format!("/api/backups/{backup}"))["status"],
            "completed",
            "{point}"
        );
    }
    let ask_for_restore = |client: &Client| {
        let path = format!("/api/environments/{}/restore", site.id);
        client.expect(202, "POST", &path, Some(json!({"backup_id": backup})))
    };
    for point in RESTORE_POINTS {
        site.wp(&setup.machine, "option update blogname damaged", "");
        let (next, accepted) = killed_at(setup, point, ask_for_restore, nothing);
        setup = next;
        ended(&setup, &accepted);
        assert_eq!(site.fingerprint(&setup.machine), before, "{point}");
        assert_eq!(site.status(&setup.client), "active", "{point}");
    }
    let checkpoints = setup
        .client
        .get(&format!("/api/environments/{}/backups?limit=100", site.id));
    let checkpoints = checkpoints["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["trigger"] == "checkpoint");
    assert_eq!(checkpoints.count(), RESTORE_POINTS.len(), "one for each restore");
    let left = setup.machine.run(&format!(
        "ls /var/lib/pressluft/staging; ls {}/generations | wc -l",
        site.folder()
    ));
    assert_eq!(left.trim(), "1", "one generation and nothing staged is left");
    setup.end();
}

/// Kills the server while the module is at work on the node, some time after its task has begun, and starts it again.
fn killed_in_the_task(setup: Setup, after: Duration, ask: impl FnOnce(&Client) -> Value) -> (Setup, Value) {
    let accepted = ask(&setup.client);
    let job = accepted["job_id"].as_str().unwrap();
    eventually("a task has begun", SITE_JOB, || {
        setup.client.has_task(job).then_some(())
    });
    std::thread::sleep(after);
    setup.server.kill();
    let server = setup.installation.start();
    let client = server.client();
    let setup = Setup {
        server,
        client,
        ..setup
    };
    (setup, accepted)
}

#[test]
fn a_module_that_loses_its_server_anywhere_is_ended_and_repeated_to_the_same_end() {
    let mut setup = Setup::new();
    let moments = [100, 700, 1500].map(Duration::from_millis);
    for (number, moment) in moments.into_iter().enumerate() {
        let (next, accepted) = killed_in_the_task(setup, moment, ask_for_site(&format!("site-{number}")));
        setup = next;
        setup.client.success_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
        let site = Environment::seen(&setup.client, accepted["environment_id"].as_str().unwrap());
        assert_eq!(site.visit(&setup.address, "/").0, 200, "{moment:?}");
        let generations = setup.machine.run(&format!("ls {}/generations | wc -l", site.folder()));
        assert_eq!(generations.trim(), "1", "{moment:?}");
    }
    let site = setup.client.get("/api/sites")["items"][0]["primary_environment_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let site = Environment::seen(&setup.client, &site);
    fill(&site, &setup.machine, 200, 60);
    let before = site.fingerprint(&setup.machine);
    let mut copy = None;
    for (number, moment) in moments.into_iter().enumerate() {
        let (next, accepted) = killed_in_the_task(setup, moment, ask_for_copy(&site, &format!("copy-{number}")));
        setup = next;
        setup.client.success_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
        let made = Environment::seen(&setup.client, accepted["environment_id"].as_str().unwrap());
        let count = "SELECT COUNT(*) FROM wp_posts";
        assert_eq!(
            made.sql(&setup.machine, count),
            site.sql(&setup.machine, count),
            "{moment:?}"
        );
        copy = Some(made);
    }
    assert_eq!(site.fingerprint(&setup.machine), before, "the source is as it was");
    let copy = copy.unwrap();
    let backup = copy.back_up(&setup.client, "full");
    let before = copy.fingerprint(&setup.machine);
    let ask_for_restore = |client: &Client| {
        let path = format!("/api/environments/{}/restore", copy.id);
        client.expect(202, "POST", &path, Some(json!({"backup_id": backup})))
    };
    for moment in moments.into_iter().chain([2_500].map(Duration::from_millis)) {
        copy.wp(&setup.machine, "option update blogname damaged", "");
        let (next, accepted) = killed_in_the_task(setup, moment, ask_for_restore);
        setup = next;
        setup.client.success_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
        assert_eq!(copy.fingerprint(&setup.machine), before, "{moment:?}");
    }
    setup.end();
}
