//! An installation with a ready node for sites, and what tests of sites do with it again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Client, Environment, Installation, Machine, SITE_JOB, Server, eventually, left_of_node, warm_cache};

const PROVISIONED: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(60);

/// An installation with a ready node.
pub struct Setup {
    /// Its server. Dropped first: whatever a failing test leaves is given back by another one.
    pub server: Server,
    /// The installation.
    pub installation: Installation,
    /// A client of its server.
    pub client: Client,
    /// The node's id.
    pub node: String,
    /// The node's machine.
    pub machine: Machine,
    /// Where it answers.
    pub address: String,
}

impl Setup {
    /// With the settings of tests.
    #[allow(clippy::new_without_default, reason = "it starts a server")]
    pub fn new() -> Self {
        Self::with(|installation| installation)
    }

    /// With settings of its own.
    pub fn with(change: impl FnOnce(Installation) -> Installation) -> Self {
        warm_cache();
        let installation = change(Installation::new());
        let server = installation.start();
        let client = server.client();
        let (node, job) = client.create_local_node();
        client.success_of(&job, PROVISIONED);
        let machine = Machine::of(&installation.data_dir(), &node);
        let address = client.node(&node)["public_ip"].as_str().unwrap().to_owned();
        Self {
            installation,
            server,
            client,
            node,
            machine,
            address,
        }
    }

    /// Gives everything back; nothing is left of it.
    pub fn end(self) {
        for site in self.client.get("/api/sites")["items"].as_array().unwrap() {
            let body = Some(json!({"confirm": site["slug"]}));
            let path = format!("/api/sites/{}", site["id"].as_str().unwrap());
            let gone = self.client.expect(202, "DELETE", &path, body);
            self.client.success_of(gone["job_id"].as_str().unwrap(), SITE_JOB);
        }
        assert_eq!(self.client.get("/api/sites")["items"], json!([]));
        let left = self.machine.run(
            "find /var/www/sites /var/lib/pressluft/staging -mindepth 1; sed -n '/^pl_/p' /etc/passwd; \
             find /etc/nginx/sites-enabled /etc/php/*/fpm/pool.d -name '*pl_*'; sed -n '/pl_/p' /etc/redis/users.acl; \
             mariadb --batch --skip-column-names -e \"SHOW DATABASES LIKE 'pl\\_%'; SELECT user FROM mysql.global_priv WHERE user LIKE 'pl\\_%'\"",
        );
        assert_eq!(left.trim(), "", "left on the node");
        let stored = self.installation.data_dir().join("backups");
        let files = files_under(&stored);
        assert!(files.is_empty(), "left of backups: {files:?}");
        let gone = self
            .client
            .expect(202, "DELETE", &format!("/api/nodes/{}", self.node), None);
        self.client.success_of(gone["job_id"].as_str().unwrap(), SOON);
        self.server.stop();
        assert_eq!(
            left_of_node(&self.installation.data_dir(), &self.node),
            Vec::<String>::new()
        );
    }
}

/// The files under a folder; none where there is no such folder.
pub fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            files.extend(files_under(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// Fills a site: posts, an option that is a serialized value of its own, uploads of `megabytes`.
pub fn fill(site: &Environment, machine: &Machine, posts: u32, megabytes: u32) {
    let url = &site.url;
    site.wp(
        machine,
        "eval-file -",
        &format!(
            "<?php
global $wpdb;
$rows = [];
for ($i = 0; $i < {posts}; $i++) {{
    $rows[] = $wpdb->prepare('(1, NOW(), NOW(), %s, %s, %s, NOW(), NOW(), %s)', \"Text $i at {url}/p$i\", \"Post $i\", \"post-$i\", \"{url}/?p=$i\");
    if (count($rows) === 500 || $i === {posts} - 1) {{
        $wpdb->query(\"INSERT INTO $wpdb->posts (post_author, post_date, post_date_gmt, post_content, post_title, post_name, post_modified, post_modified_gmt, guid) VALUES \" . implode(',', $rows));
        $rows = [];
    }}
}}
$wpdb->query(\"UPDATE $wpdb->posts SET post_excerpt = '', to_ping = '', pinged = '', post_content_filtered = '' WHERE 1\");
update_option('e2e_nested', ['link' => '{url}/ärger/', 'deep' => ['object' => (object) ['at' => '{url}', 'n' => 7]], 'text' => serialize(['in' => '{url}/inner'])]);"
        ),
    );
    let uploads = format!("{}/uploads/2030/01", site.generation(machine));
    let user = site.user();
    machine.run(&format!(
        "install -d -o {user} -g {user} {uploads} && cd {uploads} && for i in $(seq {megabytes}); do \
         head -c 1048576 /dev/urandom > photo-$i.jpg; done; chown -R {user}: {uploads}"
    ));
}

/// Asks for something while the server is held at a point, kills the server there, does something to the machine, and starts
/// the server again.
pub fn killed_at(
    setup: Setup,
    point: &str,
    ask: impl FnOnce(&Client) -> Value,
    then: impl FnOnce(&Machine, &Value),
) -> (Setup, Value) {
    setup.server.stop();
    let (server, held) = setup.installation.start_held_at(point);
    let accepted = ask(&server.client());
    eventually(&format!("held at {point}"), SITE_JOB, || held.exists().then_some(()));
    server.kill();
    std::fs::remove_file(&held).unwrap();
    then(&setup.machine, &accepted);
    let server = setup.installation.start();
    let client = server.client();
    let setup = Setup {
        server,
        client,
        ..setup
    };
    (setup, accepted)
}

/// A request for a site.
pub fn ask_for_site(slug: &str) -> impl Fn(&Client) -> Value {
    let body = json!({"name": slug, "slug": slug});
    move |client| client.expect(202, "POST", "/api/sites", Some(body.clone()))
}

/// A request for a copy.
pub fn ask_for_copy(source: &Environment, slug: &str) -> impl Fn(&Client) -> Value {
    let body = json!({"name": slug, "slug": slug, "type": "clone", "source_environment_id": source.id});
    let path = format!("/api/sites/{}/environments", source.site);
    move |client| client.expect(202, "POST", &path, Some(body.clone()))
}
