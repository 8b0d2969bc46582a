//! What a site's jobs do where something on its node, in its storage or in a backup is not as it should be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{
    Client, Environment, Installation, Machine, SITE_JOB, Setup, ask_for_copy, ask_for_site, eventually, fill,
    killed_at,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn code(job: &Value) -> &str {
    job["error_code"].as_str().unwrap_or_default()
}

fn reset(client: &Client, environment: &str) -> (u16, Value) {
    let answer = client.send("POST", &format!("/api/environments/{environment}/reset"), None);
    (answer.status, answer.body)
}

#[test]
fn a_preview_that_does_not_prove_itself_fails_its_job_and_a_reset_says_when_it_works_again() {
    // One attempt alone: each failure is seen as it is.
    let mut setup = Setup::with(|installation| installation.with("RETRY_DELAYS", ""));
    let php = setup.machine.run("ls /etc/php").trim().to_owned();
    for (slug, service) in [
        ("no-database", "mariadb".to_owned()),
        ("no-php", format!("php{php}-fpm")),
    ] {
        let break_it = |machine: &Machine, _: &Value| drop(machine.run(&format!("systemctl stop {service}")));
        let (next, accepted) = killed_at(setup, "prove_preview.started", ask_for_site(slug), break_it);
        setup = next;
        let job = setup.client.end_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
        assert_eq!(code(&job), "PREVIEW_UNREACHABLE", "{slug}: {job:#}");
        let (environment, site) = (
            accepted["environment_id"].as_str().unwrap(),
            accepted["site_id"].as_str().unwrap(),
        );
        assert_eq!(setup.client.get(&format!("/api/sites/{site}"))["status"], "failed");
        let (status, body) = reset(&setup.client, environment);
        assert_eq!(
            (status, &body["code"]),
            (409, &json!("reset_validation_failed")),
            "{slug}: {body}"
        );
        setup.machine.run(&format!("systemctl start {service}"));
        let site_reset = setup.client.send("POST", &format!("/api/sites/{site}/reset"), None);
        assert_eq!(
            (site_reset.status, &site_reset.body["status"]),
            (200, &json!("active")),
            "{}",
            site_reset.body
        );
        assert_eq!(
            setup.client.get(&format!("/api/environments/{environment}"))["status"],
            "active"
        );
        let (status, body) = reset(&setup.client, environment);
        assert_eq!((status, &body["code"]), (409, &json!("resource_not_failed")), "{slug}");
    }

    // A copy whose addresses are the source's: the page answers, the proof does not.
    let source = setup.client.get("/api/sites")["items"][0]["primary_environment_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let source = Environment::seen(&setup.client, &source);
    let url = source.url.clone();
    let unrewritten = |machine: &Machine, accepted: &Value| {
        let copy = accepted["environment_id"].as_str().unwrap();
        let user = format!("pl_{}", &copy[copy.len() - 12..]);
        machine.run(&format!(
            "database=$(mariadb --batch --skip-column-names -e \"SHOW DATABASES LIKE '{user}%'\"); \
             mariadb $database -e \"UPDATE wp_options SET option_value = '{url}' WHERE option_name IN ('siteurl', 'home')\""
        ));
    };
    let (next, accepted) = killed_at(
        setup,
        "prove_preview.started",
        ask_for_copy(&source, "unrewritten"),
        unrewritten,
    );
    setup = next;
    let job = setup.client.end_of(accepted["job_id"].as_str().unwrap(), SITE_JOB);
    assert_eq!(code(&job), "PREVIEW_UNREACHABLE", "{job:#}");
    let copy = accepted["environment_id"].as_str().unwrap();
    assert_eq!(
        setup.client.get(&format!("/api/environments/{copy}"))["status"],
        "failed"
    );
    assert_eq!(
        setup.client.get(&format!("/api/sites/{}", source.site))["status"],
        "active"
    );
    // Asked for again, it is made whole.
    let again = format!("/api/jobs/{}/retry", accepted["job_id"].as_str().unwrap());
    let again = setup.client.expect(202, "POST", &again, None);
    setup.client.success_of(again["job_id"].as_str().unwrap(), SITE_JOB);
    assert_eq!(
        setup.client.get(&format!("/api/environments/{copy}"))["status"],
        "active"
    );
    setup.end();
}

#[test]
fn a_backup_that_is_damaged_or_does_not_work_changes_nothing_and_one_taken_meanwhile_is_consistent() {
    let setup = Setup::new();
    let Setup { client, machine, .. } = &setup;
    let (site, neighbour) = (
        Environment::new_site(client, "shop"),
        Environment::new_site(client, "next"),
    );
    fill(&site, machine, 50, 5);

    // Posts and uploads are written all the while.
    let (user, generation) = (site.user(), site.generation(machine));
    machine.run(&format!(
        "cat > /run/writer.php <<'PHP'\n<?php\nrequire '{generation}/live/wp-load.php';\nfor ($i = 0; !file_exists('{folder}/tmp/stop'); $i++) {{\n\
         $file = \"live-$i.jpg\"; $up = wp_upload_dir(); file_put_contents($up['path'] . \"/$file\", random_bytes(20000));\n\
         $id = wp_insert_attachment(['post_title' => $file, 'post_mime_type' => 'image/jpeg', 'post_status' => 'inherit'], $up['path'] . \"/$file\");\n\
         wp_insert_post(['post_title' => \"about $file\", 'post_status' => 'publish', 'post_content' => \"$id\"]);\n}}\nPHP\n\
         chmod 644 /run/writer.php; setsid runuser -u {user} -- php /run/writer.php >/dev/null 2>&1 &",
        folder = site.folder()
    ));
    let written = || -> u64 {
        site.sql(machine, "SELECT COUNT(*) FROM wp_posts WHERE post_type = 'attachment'")
            .trim()
            .parse()
            .unwrap()
    };
    let begun = written();
    eventually("something is written", SOON, || (written() > begun + 5).then_some(()));
    let backup = site.back_up(client, "full");
    machine.run(&format!(
        "touch {0}/tmp/stop; chown {user}: {0}/tmp/stop",
        site.folder()
    ));
    eventually("the writer ends", SOON, || {
        machine
            .run("pgrep -f '[w]riter.php' || true")
            .trim()
            .is_empty()
            .then_some(())
    });
    client.success_of(&site.restore(client, &backup), SITE_JOB);
    // WordPress writes the row first and then the name of its file: a row that names none yet is as the database was.
    let missing = site.wp(
        machine,
        "eval-file -",
        "<?php $all = get_posts(['post_type' => 'attachment', 'numberposts' => -1, 'post_status' => 'any']); $gone = 0; \
         foreach ($all as $one) { if (($file = get_attached_file($one->ID)) && !file_exists($file)) { $gone++; } } echo count($all) > 5 ? 'many' : 'few', ' ', $gone;",
    );
    assert_eq!(missing.trim(), "many 0", "every attachment has its file");

    // One flipped byte in what is stored.
    let (before, neighbours) = (site.fingerprint(machine), neighbour.fingerprint(machine));
    let seen = client.get(&format!("/api/backups/{backup}"));
    let stored = setup
        .installation
        .data_dir()
        .join("backups")
        .join(seen["storage_path"].as_str().unwrap());
    let mut bytes = std::fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&stored, &bytes).unwrap();
    let count = || {
        client.get(&format!("/api/environments/{}/backups", site.id))["items"]
            .as_array()
            .unwrap()
            .len()
    };
    let backups = count();
    let job = client.end_of(&site.restore(client, &backup), SITE_JOB);
    assert_eq!(code(&job), "BACKUP_CHECKSUM_MISMATCH", "{job:#}");
    assert_eq!(count(), backups, "no checkpoint was needed");
    assert_eq!(
        (site.fingerprint(machine), site.status(client)),
        (before.clone(), "active".to_owned())
    );

    // A backup that is whole and does not work.
    let broken = format!("{}/live/wp-content/mu-plugins/broken.php", site.generation(machine));
    machine.run(&format!(
        "echo '<?php throw new Exception(\"broken\");' > {broken}; chown {user}: {broken}"
    ));
    let wrong = site.back_up(client, "full");
    machine.run(&format!("rm {broken}"));
    let before = site.fingerprint(machine);
    let job = client.end_of(&site.restore(client, &wrong), SITE_JOB);
    assert_eq!(code(&job), "RESTORE_ROLLED_BACK", "{job:#}");
    assert_eq!(
        (site.fingerprint(machine), site.status(client)),
        (before, "active".to_owned())
    );
    assert_eq!(neighbour.fingerprint(machine), neighbours);

    // Cancelled while it is written, nothing of it stays on the node or in the storage.
    let path = format!("/api/environments/{}/backups", site.id);
    let accepted = client.expect(202, "POST", &path, Some(json!({"backup_scope": "full"})));
    let job = accepted["job_id"].as_str().unwrap();
    eventually("the backup is being written", SOON, || {
        client.has_task(job).then_some(())
    });
    client.expect(202, "POST", &format!("/api/jobs/{job}/cancel"), None);
    assert_eq!(client.end_of(job, SITE_JOB)["status"], "cancelled");
    let given_up = format!("/api/backups/{}", accepted["backup_id"].as_str().unwrap());
    assert_eq!(client.get(&given_up)["status"], "failed");
    assert_eq!(machine.run("ls -A /var/lib/pressluft/staging"), "");

    // A view that a removed plugin has left stops neither a backup nor a copy.
    neighbour.sql(
        machine,
        "CREATE TABLE gone (a INT); CREATE VIEW `stays``; behind` AS SELECT a FROM gone; DROP TABLE gone; \
         CREATE VIEW works AS SELECT ID FROM wp_posts",
    );
    neighbour.back_up(client, "db");
    let copy = neighbour.copy(client, "copy", "clone");
    assert_eq!(
        copy.sql(
            machine,
            "SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE()"
        ),
        "works\n"
    );

    // Another environment's backup is none of this one's.
    let path = format!("/api/environments/{}/restore", neighbour.id);
    let answer = client.send("POST", &path, Some(json!({"backup_id": wrong})));
    assert!(answer.status == 400 || answer.status == 409, "{}", answer.body);

    // Given up, it is gone from the storage too.
    let path = format!("/api/backups/{backup}");
    assert_eq!(client.expect(200, "DELETE", &path, None)["status"], "expired");
    eventually("what was stored is gone", Duration::from_secs(90), || {
        (!stored.exists()).then_some(())
    });
    setup.end();
}

#[test]
fn a_site_needs_a_ready_node_and_says_which_reason_stands_in_the_way() {
    let installation = Installation::new();
    let server = installation.start();
    let client = server.client();
    let body = json!({"name": "No node", "slug": "no-node"});
    let answer = client.send("POST", "/api/sites", Some(body.clone()));
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (409, &json!("no_node_available")),
        "{}",
        answer.body
    );
    assert_eq!(client.get("/api/sites")["items"], json!([]));
    assert_eq!(client.get("/api/jobs")["items"], json!([]));
    server.stop();

    let setup = Setup::new();
    setup.machine.run("systemctl stop redis-server");
    setup
        .client
        .expect(200, "POST", &format!("/api/nodes/{}/readiness-check", setup.node), None);
    let mut named = body.clone();
    named["node_id"] = json!(setup.node);
    let answer = setup.client.send("POST", "/api/sites", Some(named));
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (409, &json!("node_not_ready")),
        "{}",
        answer.body
    );
    assert!(
        answer.body["details"].to_string().contains("runtime_missing"),
        "{}",
        answer.body
    );
    let answer = setup.client.send("POST", "/api/sites", Some(body));
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (409, &json!("no_node_available")),
        "{}",
        answer.body
    );
    setup.machine.run("systemctl start redis-server");
    setup.end();
}
