//! Sites, copies, backups and restores on a real node.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use e2e::{Environment, SITE_JOB, Setup, eventually, fill};
use serde_json::{Value, json};

fn code(job: &Value) -> &str {
    job["error_code"].as_str().unwrap_or_default()
}

#[test]
fn a_site_is_made_copied_backed_up_damaged_and_restored_and_leaves_nothing() {
    let setup = Setup::new();
    let Setup {
        client,
        machine,
        address,
        ..
    } = &setup;
    let site = Environment::new_site(client, "main");
    let (status, page) = site.visit(address, "/");
    assert!(status == 200 && page.contains("Site main"), "{status} {page}");
    assert_eq!(client.get(&format!("/api/sites/{}", site.site))["status"], "active");
    let version = client.get(&format!("/api/environments/{}/wordpress-version", site.id));
    let known = client.get(&format!("/api/environments/{}", site.id));
    assert_eq!(version["wordpress_version"], known["wordpress_version"]);
    let login = format!("/api/environments/{}/wordpress-login", site.id);
    let login = client.expect(200, "POST", &login, None);
    let check = format!(
        "<?php echo is_wp_error(wp_authenticate('{}', '{}')) ? 'no' : 'yes';",
        login["user"].as_str().unwrap(),
        login["password"].as_str().unwrap()
    );
    assert_eq!(site.wp(machine, "eval-file -", &check).trim(), "yes");

    // The node is somebody's now.
    let answer = client.send("DELETE", &format!("/api/nodes/{}", setup.node), None);
    assert_eq!((answer.status, &answer.body["code"]), (409, &json!("node_in_use")));

    fill(&site, machine, 2_000, 500);
    let neighbour = Environment::new_site(client, "neighbour");
    let before = site.fingerprint(machine);
    let neighbour_before = neighbour.fingerprint(machine);

    let copy = site.copy(client, "try-out", "staging");
    assert_eq!(site.fingerprint(machine), before, "a copy leaves its source alone");
    let (status, page) = copy.visit(address, "/");
    assert!(status == 200 && page.contains(copy.host()) && !page.contains(site.host()));
    assert!(
        page.contains("noindex"),
        "search engines are told to leave a copy alone"
    );
    let count = "SELECT COUNT(*) FROM wp_posts";
    assert_eq!(copy.sql(machine, count), site.sql(machine, count));
    let nested = copy.wp(machine, "option get e2e_nested --format=json", "");
    let nested: Value = serde_json::from_str(nested.trim()).unwrap();
    assert_eq!(nested["link"], json!(format!("{}/ärger/", copy.url)));
    assert_eq!(nested["deep"]["object"]["at"], json!(copy.url));
    assert!(nested["text"].as_str().unwrap().contains(&copy.url), "{nested}");

    let backup = site.back_up(client, "full");
    let seen = client.get(&format!("/api/backups/{backup}"));
    assert!(seen["size_bytes"].as_u64().unwrap() > 500 << 20, "{seen:#}");
    let (database, generation) = (site.database(machine), site.generation(machine));
    machine.run(&format!(
        "mariadb {database} -e 'DROP TABLE wp_posts, wp_options'; rm -rf {generation}/uploads/2030 {generation}/live/wp-includes"
    ));
    assert_ne!(site.visit(address, "/").0, 200);
    client.success_of(&site.restore(client, &backup), SITE_JOB);
    assert_eq!(site.status(client), "active");
    assert_eq!(site.fingerprint(machine), before, "what was backed up is back");
    assert_ne!(site.generation(machine), generation);
    assert_eq!(
        neighbour.fingerprint(machine),
        neighbour_before,
        "a neighbour is left alone"
    );
    let backups = client.get(&format!("/api/environments/{}/backups", site.id));
    let triggers: Vec<_> = backups["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["trigger"])
        .collect();
    assert_eq!(triggers, [&json!("checkpoint"), &json!("manual")]);

    // What was damaged was kept: the checkpoint brings it back, and does not pass, so that what is live stays.
    let checkpoint = backups["items"][0]["id"].as_str().unwrap();
    let job = client.end_of(&site.restore(client, checkpoint), SITE_JOB);
    assert_eq!(code(&job), "RESTORE_ROLLED_BACK", "{job:#}");
    assert_eq!(site.fingerprint(machine), before);
    assert_eq!(site.status(client), "active");

    // Each scope alone.
    site.wp(machine, "option update blogname 'Another name'", "");
    machine.run(&format!("rm {}/uploads/2030/01/photo-1.jpg", site.generation(machine)));
    let database_only = site.back_up(client, "db");
    client.success_of(&site.restore(client, &backup), SITE_JOB);
    client.success_of(&site.restore(client, &database_only), SITE_JOB);
    assert_eq!(site.wp(machine, "option get blogname", "").trim(), "Another name");
    machine.run(&format!(
        "test -e {}/uploads/2030/01/photo-1.jpg",
        site.generation(machine)
    ));

    let body = Some(json!({"confirm": "try-out"}));
    let gone = client.expect(202, "DELETE", &format!("/api/environments/{}", copy.id), body);
    client.success_of(gone["job_id"].as_str().unwrap(), SITE_JOB);
    client.expect(404, "GET", &format!("/api/environments/{}", copy.id), None);
    setup.end();
}

#[test]
fn environments_of_one_node_are_kept_apart() {
    let setup = Setup::new();
    let Setup { client, machine, .. } = &setup;
    let (one, other) = (
        Environment::new_site(client, "one"),
        Environment::new_site(client, "other"),
    );
    let probes = std::cell::Cell::new(0);
    let php = |code: &str| {
        // By the environment's own pool, as a visitor would have it run; under a name that no cache knows.
        probes.set(probes.get() + 1);
        let (name, live) = (
            format!("probe-{}.php", probes.get()),
            format!("{}/current/live", one.folder()),
        );
        machine.run(&format!(
            "cat > {live}/{name} <<'PHP'\n<?php {code}\nPHP\nchown {user}: {live}/{name}",
            user = one.user()
        ));
        let (status, body) = one.visit(&setup.address, &format!("/{name}"));
        machine.run(&format!("rm {live}/{name}"));
        format!("{status} {body}")
    };
    let config = format!("{}/wp-config.php", other.generation(machine));
    assert_eq!(
        php("echo 'runs as ' . get_current_user();").split_once(' ').unwrap().0,
        "200"
    );
    let read = php(&format!(
        "echo var_export(@file_get_contents('{config}'), true), var_export(@scandir('{}'), true);",
        other.folder()
    ));
    assert_eq!(read, "200 falsefalse");
    // Past open_basedir too: by the system user's own rights.
    let denied = machine.run(&format!(
        "runuser -u {} -- sh -c 'cat {config} || echo denied; ls {} || echo denied' 2>/dev/null",
        one.user(),
        other.folder()
    ));
    assert_eq!(denied, "denied\ndenied\n");
    let shell = php(
        "echo function_exists('shell_exec') ? 'there' : 'not there', function_exists('proc_open') ? 'there' : 'not there';",
    );
    assert_eq!(shell, "200 not therenot there");
    let database = other.database(machine);
    let query = php(&format!(
        "require 'wp-load.php'; global $wpdb; $wpdb->suppress_errors(); echo var_export($wpdb->query('SELECT * FROM {database}.wp_users'), true), \
         count($wpdb->get_col('SHOW DATABASES'));"
    ));
    assert_eq!(query, "200 false2", "its own database and information_schema");
    // Each key is written by the other one itself, so that there is something to be refused.
    let key = format!("{}:secret", other.user());
    let connect = "$r = new Redis(); $r->connect(WP_REDIS_HOST); \
        $r->auth([WP_REDIS_USERNAME, WP_REDIS_PASSWORD]);";
    other.wp(
        machine,
        "eval-file -",
        &format!("<?php {connect} $r->set('{key}', 'kept');"),
    );
    let redis = php(&format!(
        "require 'wp-load.php'; {connect} echo var_export($r->set('{own}:a', '1'), true), $r->get('{own}:a'); \
         foreach ([['GET', '{key}'], ['SET', '{key}', 'x'], ['DEL', '{key}'], ['GET', 'a'], ['KEYS', '*'], ['CONFIG', 'GET', '*'], ['FLUSHALL']] as $c) \
         {{ try {{ $r->clearLastError(); $r->rawCommand(...$c); $e = (string) $r->getLastError(); }} catch (RedisException $x) {{ $e = $x->getMessage(); }} \
         echo strpos($e, 'NOPERM') === 0 ? ' refused' : ' LET IN'; }}",
        own = one.user(),
    ));
    assert_eq!(redis, format!("200 true1{}", " refused".repeat(7)));
    let kept = other.wp(
        machine,
        "eval-file -",
        &format!("<?php {connect} echo $r->get('{key}');"),
    );
    assert_eq!(kept.trim(), "kept");

    // PHP in uploads is neither run nor shown.
    let uploads = format!("{}/uploads", one.generation(machine));
    for name in ["evil.php", "evil.phtml", "evil.PHP", "evil.php/x", "evil.jpg/evil.php"] {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.ends_with(".php") {
            machine.run(&format!(
                "mkdir -p {uploads}/{folder}; echo '<?php echo 6*7, \"executed\";' > {uploads}/{name}"
            ));
        }
        let (status, body) = one.visit(&setup.address, &format!("/wp-content/uploads/{name}"));
        assert!(!body.contains("42executed"), "{name} was run");
        assert!(status >= 400, "{name}: {status} {body}");
    }

    // Processes of each wait for visitors before there is one: whoever comes while the only one is being ended would hang.
    let waiting = |environment: &Environment| {
        let pids = machine.run(&format!("pgrep --uid {} || true", environment.user()));
        pids.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = [&one, &other].map(waiting);
    machine.run("systemctl reload \"$(basename /lib/systemd/system/php*-fpm.service)\"");
    for (environment, before) in [&one, &other].into_iter().zip(before) {
        eventually("PHP waits for visitors", Duration::from_secs(30), || {
            let now = waiting(environment);
            (now.len() >= 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
    }
    setup.end();
}
