//! Sites whose previews get another address, and sites whose node is gone for good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;
use std::time::Duration;

use e2e::{Client, Environment, Machine, SITE_JOB, Server, Setup, eventually, files_under, fill, left_of_node};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const CONNECT: &str = "$r = new Redis(); $r->connect(WP_REDIS_HOST); $r->auth([WP_REDIS_USERNAME, WP_REDIS_PASSWORD]);";

/// What the keeper has asked for so far.
fn moves(client: &Client) -> Vec<Value> {
    let jobs = client.get("/api/jobs?kind=env_readdress&limit=100");
    jobs["items"].as_array().unwrap().clone()
}

/// Waits until an environment has moved to a domain, and returns it as it is there.
fn moved(client: &Client, environment: &Environment, domain: &str) -> Environment {
    eventually(&format!("the move to {domain}"), SITE_JOB, || {
        let seen = Environment::seen(client, &environment.id);
        let failed = moves(client).into_iter().find(|job| job["status"] == "failed");
        assert!(failed.is_none(), "{failed:#?}");
        seen.host().ends_with(domain).then_some(seen)
    })
}

/// How many lines of everything that the live database holds name a host.
fn naming(environment: &Environment, machine: &Machine, host: &str) -> String {
    let database = environment.database(machine);
    let dump = machine.run(&format!(
        "mariadb-dump --skip-comments --skip-extended-insert {database}"
    ));
    assert!(dump.contains("siteurl"), "nothing was dumped");
    dump.lines().filter(|line| line.contains(host)).count().to_string()
}

fn deleted(client: &Client, path: &str, body: Value) -> String {
    let gone = client.expect(202, "DELETE", path, Some(body));
    gone["job_id"].as_str().unwrap().to_owned()
}

#[test]
fn sites_follow_the_domain_of_previews_and_are_given_up_when_their_node_is_gone_for_good() {
    let setup = Setup::with(|installation| installation.with("PROBE_INTERVAL", "1s"));
    let site = Environment::new_site(&setup.client, "main");
    fill(&site, &setup.machine, 50, 1);
    let copy = site.copy(&setup.client, "try-out", "staging");
    site.back_up(&setup.client, "db");
    let Setup {
        server,
        installation,
        node,
        machine,
        address,
        ..
    } = setup;
    let key = format!("{}:cached", site.user());
    site.wp(
        &machine,
        "eval-file -",
        &format!("<?php {CONNECT} $r->set('{key}', 'old');"),
    );

    // Another domain.
    server.stop();
    let installation = installation.with("PREVIEW_DOMAIN", "first.test");
    let server = installation.start();
    let client = server.client();
    for before in [&site, &copy] {
        let after = moved(&client, before, ".first.test");
        assert_eq!(after.status(&client), "active");
        let (status, page) = after.visit(&address, "/");
        assert!(
            status == 200 && page.contains(after.host()) && !page.contains(before.host()),
            "{status} {page}"
        );
        assert_eq!(naming(&after, &machine, before.host()), "0");
        assert_ne!(naming(&after, &machine, after.host()), "0");
    }
    let nested = site.wp(&machine, "option get e2e_nested --format=json", "");
    let nested: Value = serde_json::from_str(nested.trim()).unwrap();
    let at_first = Environment::seen(&client, &site.id);
    assert_eq!(nested["deep"]["object"]["at"], json!(at_first.url));
    let cached = site.wp(
        &machine,
        "eval-file -",
        &format!("<?php {CONNECT} var_export($r->get('{key}'));"),
    );
    assert_eq!(cached.trim(), "false", "what was cached goes with the address");
    let jobs: Vec<_> = moves(&client);
    let ends: Vec<_> = jobs.iter().map(|job| &job["status"]).collect();
    assert_eq!(ends, [&json!("succeeded"); 2], "one for each");

    // A run that was killed between two tables has written down what it replaces, and left some of it.
    site.sql(
        &machine,
        &format!(
            "UPDATE wp_posts SET post_content = 'at {}' ORDER BY ID DESC LIMIT 1",
            site.url
        ),
    );
    machine.run(&format!(
        "umask 077; echo '{}' > {}/moved-from",
        site.url,
        site.folder()
    ));
    server.stop();
    let installation = installation.with("PREVIEW_DOMAIN", "second.test");
    let server = installation.start();
    let client = server.client();
    let at_second = moved(&client, &site, ".second.test");
    moved(&client, &copy, ".second.test");
    for old in [&site, &at_first] {
        assert_eq!(naming(&at_second, &machine, old.host()), "0");
    }
    machine.run(&format!("test ! -e {}/moved-from", site.folder()));

    let stored = installation.data_dir().join("backups");
    assert_eq!(files_under(&stored).len(), 1);
    gone_for_good(server, &node, &machine, &at_second, &copy);
    assert_eq!(left_of_node(&installation.data_dir(), &node), Vec::<String>::new());
    assert_eq!(files_under(&stored), Vec::<PathBuf>::new(), "left of backups");
}

/// The machine does not come back: its sites and then the node are given up.
fn gone_for_good(server: Server, node: &str, machine: &Machine, site: &Environment, copy: &Environment) {
    let client = server.client();
    let (of_site, of_copy) = (
        format!("/api/sites/{}", site.site),
        format!("/api/environments/{}", copy.id),
    );
    let abandon = |slug: &str| json!({"confirm": slug, "abandon": true});
    let refused = client.send("DELETE", &of_site, Some(abandon("main")));
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")));

    machine.stop();
    eventually("the node counts as unreachable", SOON, || {
        (client.node(node)["status"] == "unreachable").then_some(())
    });
    let job = deleted(&client, &of_copy, json!({"confirm": "try-out"}));
    let ended = client.end_of(&job, SITE_JOB);
    assert_eq!(
        (&ended["status"], &ended["error_code"]),
        (&json!("failed"), &json!("ANSIBLE_HOST_UNREACHABLE")),
        "{ended:#}"
    );
    client.success_of(&deleted(&client, &of_copy, abandon("try-out")), SOON);
    client.expect(404, "GET", &of_copy, None);
    client.success_of(&deleted(&client, &of_site, abandon("main")), SOON);
    client.expect(404, "GET", &of_site, None);
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), SOON);
    assert_eq!(client.node(node)["status"], "decommissioned");
    server.stop();
}
