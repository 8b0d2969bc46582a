//! A site on a node, as its visitors and its node's root see it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Client, Machine};

/// How long a job of a site may take here.
pub const SITE_JOB: Duration = Duration::from_secs(180);

/// An environment of a site.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its site.
    pub site: String,
    /// Its id.
    pub id: String,
    /// Its preview URL.
    pub url: String,
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

fn short(id: &str) -> &str {
    &id[id.len() - 12..]
}

impl Environment {
    /// An environment as the API shows it.
    pub fn seen(client: &Client, id: &str) -> Self {
        let body = client.get(&format!("/api/environments/{id}"));
        Self {
            site: text(&body["site_id"]),
            id: id.to_owned(),
            url: text(&body["preview_url"]),
        }
    }

    /// Asks for a site and waits until it is there.
    pub fn new_site(client: &Client, slug: &str) -> Self {
        let body = json!({"name": format!("Site {slug}"), "slug": slug});
        let accepted = client.expect(202, "POST", "/api/sites", Some(body));
        client.success_of(&text(&accepted["job_id"]), SITE_JOB);
        Self::seen(client, &text(&accepted["environment_id"]))
    }

    /// Asks for a copy of this environment and waits until it is there.
    pub fn copy(&self, client: &Client, slug: &str, kind: &str) -> Self {
        let body = json!({"name": slug, "slug": slug, "type": kind, "source_environment_id": self.id});
        let path = format!("/api/sites/{}/environments", self.site);
        let accepted = client.expect(202, "POST", &path, Some(body));
        client.success_of(&text(&accepted["job_id"]), SITE_JOB);
        Self::seen(client, &text(&accepted["environment_id"]))
    }

    /// Asks for a backup, waits until it is complete, and returns its id.
    pub fn back_up(&self, client: &Client, scope: &str) -> String {
        let path = format!("/api/environments/{}/backups", self.id);
        let accepted = client.expect(202, "POST", &path, Some(json!({"backup_scope": scope})));
        client.success_of(&text(&accepted["job_id"]), SITE_JOB);
        let backup = text(&accepted["backup_id"]);
        assert_eq!(client.get(&format!("/api/backups/{backup}"))["status"], "completed");
        backup
    }

    /// Asks for a restore and returns its job.
    pub fn restore(&self, client: &Client, backup: &str) -> String {
        let path = format!("/api/environments/{}/restore", self.id);
        let accepted = client.expect(202, "POST", &path, Some(json!({"backup_id": backup})));
        text(&accepted["job_id"])
    }

    /// Its status.
    pub fn status(&self, client: &Client) -> String {
        text(&client.get(&format!("/api/environments/{}", self.id))["status"])
    }

    /// Its preview's host name.
    pub fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Its system user on the node.
    pub fn user(&self) -> String {
        format!("pl_{}", short(&self.id))
    }

    /// Its folder on the node.
    pub fn folder(&self) -> String {
        format!("/var/www/sites/{}/{}", short(&self.site), short(&self.id))
    }

    /// The folder of the generation that is live.
    pub fn generation(&self, machine: &Machine) -> String {
        let folder = self.folder();
        machine.run(&format!("readlink -f {folder}/current")).trim().to_owned()
    }

    /// The database of the generation that is live.
    pub fn database(&self, machine: &Machine) -> String {
        let generation = self.generation(machine);
        let (_, name) = generation.rsplit_once('/').unwrap();
        format!("{}_{name}", self.user())
    }

    /// Runs WP-CLI on it; what it reads is `input`.
    pub fn wp(&self, machine: &Machine, arguments: &str, input: &str) -> String {
        let (user, folder) = (self.user(), self.folder());
        machine.run(&format!(
            "runuser -u {user} -- php /var/lib/pressluft/artifacts/wp-cli.phar --path={folder}/current/live {arguments} <<'INPUT'\n{input}\nINPUT\n"
        ))
    }

    /// Runs SQL on the live database, as root.
    pub fn sql(&self, machine: &Machine, statement: &str) -> String {
        let database = self.database(machine);
        machine.run(&format!(
            "mariadb --batch --skip-column-names {database} <<'SQL'\n{statement}\nSQL\n"
        ))
    }

    /// What a visitor of a path gets, asked at the node's own address: the status and the body.
    pub fn visit(&self, address: &str, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(30)));
        let agent: ureq::Agent = config.build().into();
        let answer = agent
            .get(format!("http://{address}{path}"))
            .header("host", self.host())
            .call();
        let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_to_string().unwrap_or_default())
    }

    /// A fingerprint of everything that it has, a line for each table and each folder, whatever the generation is called. What
    /// changes by a visit alone (cron, transients) is left out.
    pub fn fingerprint(&self, machine: &Machine) -> String {
        let (generation, database) = (self.generation(machine), self.database(machine));
        machine.run(&format!(
            "for table in $(mariadb --batch --skip-column-names -e 'SHOW TABLES' {database}); do \
             sum=$(mariadb-dump --skip-comments --skip-dump-date --skip-extended-insert --order-by-primary {database} $table \
             | grep -v -e \"'cron'\" -e _transient_ -e 'enable the sandbox mode' | sed 's/ AUTO_INCREMENT=[0-9]*//' | sha256sum); \
             echo \"$table $sum\"; done; \
             for folder in uploads live; do cd {generation}/$folder/; \
             echo \"$folder $(find . -type f ! -name wp-config.php -print0 | sort -z | xargs -0 -r b2sum | b2sum)\"; done"
        ))
    }
}
