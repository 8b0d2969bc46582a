//! What keeps a node safe, tried against a real machine: from this host as the control plane, and from a second address of
//! this host as anybody else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and tries the machine by itself"
)]

use std::process::Command;
use std::time::Duration;

use e2e::{Client, Installation, Machine, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
const PROVISIONED: Duration = Duration::from_secs(600);

/// Addresses that nobody has logged in from (RFC 5737).
const STRANGER: &str = "198.51.100.7";
const PASSER_BY: &str = "198.51.100.8";

/// A site as a later version may write it, with a login page that refuses and one that lets in.
const SITE: &str = r#"
cat > /etc/nginx/conf.d/site.conf <<'END'
server {
    listen 80;
    server_name site.test;
    root /var/www/sites/test;
    access_log /var/log/nginx/site.log;
    include /etc/nginx/snippets/pressluft-login-log.conf;
    include /etc/nginx/snippets/pressluft-security-headers.conf;
    include /etc/nginx/snippets/pressluft-hidden-files.conf;
    location = /wp-login.php { return 200 "the form again\n"; }
    location = /right/wp-login.php { return 302 /wp-admin/; }
}
END
mkdir -p /var/www/sites/test/.git
echo hello > /var/www/sites/test/index.html
echo secret | tee /var/www/sites/test/.git/config > /var/www/sites/test/wp-config.php
nginx -t -q
systemctl reload nginx
"#;

/// The exit status of a program and what it printed, both streams.
fn output(program: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let status = output.status.code().unwrap_or(-1);
    (status, String::from_utf8_lossy(&text).into_owned())
}

/// A machine and who tries it.
struct Node<'a> {
    client: &'a Client,
    id: &'a str,
    machine: Machine,
    host: String,
}

impl Node<'_> {
    /// curl from this host's own address, or from another; its exit status and the answer, the head first.
    fn curl(&self, from: Option<&str>, path: &str, args: &[&str]) -> (i32, String) {
        let url = format!("http://{}{path}", self.host);
        let mut all = vec![
            "--silent",
            "--show-error",
            "--include",
            "--max-time",
            "5",
            "--noproxy",
            "*",
        ];
        if let Some(address) = from {
            all.extend(["--interface", address]);
        }
        all.extend(args);
        if !path.is_empty() {
            all.push(&url);
        }
        output("curl", &all)
    }

    /// What a login by SSH says that cannot work.
    fn failing_login(&self, from: Option<&str>, user: &str, method: &str) -> String {
        let methods = format!("PreferredAuthentications={method}");
        let target = format!("{user}@{}", self.host);
        // A ban in the middle of a login leaves ssh waiting for good.
        let mut all = vec!["20", "ssh", "-F", "/dev/null", "-o", &methods];
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityFile=none",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=5",
            "LogLevel=ERROR",
        ] {
            all.extend(["-o", option]);
        }
        if let Some(address) = from {
            all.extend(["-b", address]);
        }
        all.extend([&target, "true"]);
        let (status, text) = output("timeout", &all);
        assert_eq!(status, 255, "{text}");
        text
    }

    /// Sends the form of WordPress's login.
    fn log_in_to_wordpress(&self, from: Option<&str>, path: &str) -> (i32, String) {
        self.curl(
            from,
            path,
            &["--data", "log=admin&pwd=guess", "--header", "Host: site.test"],
        )
    }

    /// Whether the stranger is banned, by fail2ban's word and by the kernel's.
    fn has_banned(&self, jail: &str) -> bool {
        let status = self.machine.run(&format!("fail2ban-client status {jail}"));
        let list = status.lines().find(|line| line.contains("Banned IP list")).unwrap();
        let set = format!("nft list set inet f2b-table addr-set-{jail} 2>/dev/null || true");
        list.contains(STRANGER) && self.machine.run(&set).contains(STRANGER)
    }

    /// Asks Redis as its admin.
    fn redis(&self, command: &str) -> String {
        let login = "REDISCLI_AUTH=$(cat /etc/pressluft/redis-admin.password) redis-cli --user pressluft";
        self.machine.run(&format!("{login} {command}")).trim().to_owned()
    }

    /// Provisions it again, and returns whether anything was changed by that.
    fn provision(&self) -> bool {
        let again = self
            .client
            .expect(202, "POST", &format!("/api/nodes/{}/provision", self.id), None);
        let done = self.client.success_of(again["job_id"].as_str().unwrap(), PROVISIONED);
        let seen = self.client.node(self.id);
        assert_eq!(seen["readiness"]["is_ready"], true, "{seen:#}");
        let steps: &Vec<Value> = done["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == "provision").unwrap();
        !step["detail"].as_str().unwrap().ends_with(" 0 changed")
    }
}

fn the_firewall_lets_nothing_in_but_ssh_and_the_web(node: &Node<'_>) {
    let rules = node.machine.run("nft --stateless list table inet pressluft");
    for rule in [
        "hook input priority filter; policy drop;",
        "hook forward priority filter; policy drop;",
        "tcp dport 22 accept",
        "tcp dport { 80, 443 } accept",
    ] {
        assert!(rules.contains(rule), "{rule} is not in\n{rules}");
    }
    node.machine
        .run("systemd-run --quiet --unit=listener python3 -m http.server 8099");
    let inside = "curl --silent --output /dev/null --noproxy '*' http://127.0.0.1:8099/";
    node.machine
        .run(&format!("timeout 10 sh -c \"until {inside}; do sleep 0.1; done\""));
    let url = format!("http://{}:8099/", node.host);
    let (status, text) = node.curl(None, "", &["--max-time", "2", &url]);
    assert_eq!(status, 28, "a dropped connection times out: {text}");
    node.machine.run("systemctl stop listener");
}

fn nginx_answers_no_unknown_host_and_shows_little_of_a_known_one(node: &Node<'_>) {
    for from in [None, Some(STRANGER)] {
        let (status, text) = node.curl(from, "/", &["--header", "Host: unknown.test"]);
        assert_eq!((status, text.lines().count()), (52, 1), "{text}");
        let url = format!("https://{}/", node.host);
        let (status, text) = node.curl(from, "", &["--insecure", &url]);
        assert_eq!(status, 35, "no certificate is shown: {text}");
    }
    node.machine.run(SITE);
    let site = |path: &str| node.curl(None, path, &["--header", "Host: site.test"]).1;
    let home = eventually("the site answers", SOON, || {
        Some(site("/")).filter(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    assert!(home.contains("\r\nServer: nginx\r\n"), "no version: {home}");
    for header in [
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: SAMEORIGIN",
        "Referrer-Policy: strict-origin-when-cross-origin",
        "Permissions-Policy: camera=(), geolocation=(), microphone=()",
    ] {
        for answer in [&home, &site("/nothing")] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{header}: {answer}");
        }
    }
    for hidden in ["/.git/config", "/wp-config.php"] {
        let answer = site(hidden);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
}

fn php_does_not_tell_that_it_is_there(node: &Node<'_>) {
    let cli = node.machine.run("php -i");
    assert!(cli.contains("\nexpose_php => Off => Off\n"));
    let page = "<?php foreach (ini_get_all(null, false) as $name => $value) echo \"$name is $value.\\n\";";
    let answer = node.machine.run(&format!(
        "page=/var/lib/pressluft/info.php; printf '%s' '{page}' > $page; \
         REQUEST_METHOD=GET SCRIPT_NAME=/info.php SCRIPT_FILENAME=$page \
         cgi-fcgi -bind -connect \"$(ls /run/php/php[0-9]*-fpm.sock)\"; rm $page"
    ));
    assert!(!answer.contains("X-Powered-By"), "{answer}");
    for (name, values) in [
        ("expose_php", ["", "0"]),
        ("display_errors", ["", "0"]),
        ("allow_url_include", ["", "0"]),
        ("session.cookie_httponly", ["1", "1"]),
        ("session.use_strict_mode", ["1", "1"]),
        ("opcache.validate_permission", ["1", "1"]),
    ] {
        assert!(
            values
                .iter()
                .any(|value| answer.contains(&format!("\n{name} is {value}.\n"))),
            "{name} is not as it should be: {answer}"
        );
    }
}

fn redis_answers_its_admin_alone(node: &Node<'_>) {
    let machine = &node.machine;
    assert_eq!(machine.run("redis-cli ping").trim(), "NOAUTH Authentication required.");
    assert_eq!(node.redis("ping"), "PONG");
    let listening = machine.run("ss --listening --tcp --numeric --no-header 'sport = :6379'");
    assert_eq!(listening.lines().count(), 1, "{listening}");
    assert!(listening.contains("127.0.0.1:6379"), "{listening}");
    let modes = "stat --format '%a %U %G' /etc/pressluft /etc/pressluft/redis-admin.password /etc/redis/users.acl";
    assert_eq!(machine.run(modes), "700 root root\n600 root root\n640 root redis\n");
    let password = machine.run("cat /etc/pressluft/redis-admin.password");
    assert_eq!(password.len(), 64);
    assert!(!machine.run("cat /etc/redis/*").contains(&password), "only its hash");

    // A user for an environment is added without a restart.
    machine.run("echo 'user site on >its-own ~site:* &* +@all -@admin' >> /etc/redis/users.acl");
    assert_eq!(node.redis("acl load"), "OK");
    let as_site = |command: &str| machine.run(&format!("REDISCLI_AUTH=its-own redis-cli --user site {command}"));
    assert_eq!(as_site("set site:a 1").trim(), "OK");
    assert!(as_site("get other:a").contains("NOPERM"));
}

fn whoever_guesses_passwords_of_wordpress_is_banned(node: &Node<'_>) {
    // What lets in does not count.
    for _ in 0..12 {
        let (_, answer) = node.log_in_to_wordpress(Some(STRANGER), "/right/wp-login.php");
        assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    }
    for _ in 0..9 {
        let (_, answer) = node.log_in_to_wordpress(Some(STRANGER), "/wp-login.php");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    eventually("nine failures are counted", SOON, || {
        let status = node.machine.run("fail2ban-client status pressluft-wordpress");
        status.contains("Total failed:\t9\n").then_some(())
    });
    assert!(!node.has_banned("pressluft-wordpress"));
    node.log_in_to_wordpress(Some(STRANGER), "/wp-login.php");
    eventually("a ban for logins to WordPress", SOON, || {
        node.has_banned("pressluft-wordpress").then_some(())
    });
    let (status, text) = node.log_in_to_wordpress(Some(STRANGER), "/wp-login.php");
    assert_eq!(status, 7, "the connection is refused: {text}");
    node.machine
        .run(&format!("fail2ban-client set pressluft-wordpress unbanip {STRANGER}"));
}

fn whoever_fails_to_log_in_to_ssh_is_banned(node: &Node<'_>) {
    for (user, method) in [
        ("root", "password"),
        ("pressluft", "keyboard-interactive"),
        ("pressluft", "publickey"),
        ("nobody-here", "publickey"),
        ("nobody-here", "password"),
    ] {
        let refused = node.failing_login(Some(STRANGER), user, method);
        assert!(refused.contains("Permission denied (publickey)."), "{refused}");
    }
    eventually("a ban for logins to SSH", SOON, || {
        node.has_banned("sshd").then_some(())
    });
    let refused = node.failing_login(Some(STRANGER), "root", "password");
    assert!(refused.contains("Connection refused"), "{refused}");
}

fn the_control_plane_may_fail_as_often_and_gets_in(node: &Node<'_>) {
    for _ in 0..6 {
        node.failing_login(None, "root", "password");
        node.failing_login(None, "nobody-here", "publickey");
        node.log_in_to_wordpress(None, "/wp-login.php");
        node.log_in_to_wordpress(None, "/wp-login.php");
    }
    // Failures are read in their order: when those of somebody else are found, these have been judged.
    node.failing_login(Some(PASSER_BY), "nobody-here", "publickey");
    node.log_in_to_wordpress(Some(PASSER_BY), "/wp-login.php");
    for jail in ["sshd", "pressluft-wordpress"] {
        eventually("later failures are found", SOON, || {
            let log = node.machine.run("cat /var/log/fail2ban.log");
            log.contains(&format!("[{jail}] Found {PASSER_BY}")).then_some(())
        });
        let status = node.machine.run(&format!("fail2ban-client status {jail}"));
        let (_, list) = status.split_once("Banned IP list:").unwrap();
        assert!(list.split_whitespace().all(|address| address == STRANGER), "{status}");
    }
    let (_, answer) = node.log_in_to_wordpress(None, "/wp-login.php");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let path = format!("/api/nodes/{}/readiness-check", node.id);
    let seen = node.client.expect(200, "POST", &path, None);
    assert_eq!(seen["is_ready"], true, "{seen:#}");
}

fn security_updates_come_by_themselves_and_nothing_else(node: &Node<'_>) {
    let apt = node.machine.run("apt-config dump");
    assert!(apt.contains("APT::Periodic::Unattended-Upgrade \"1\";"), "{apt}");
    assert!(apt.contains("Unattended-Upgrade::Automatic-Reboot \"false\";"), "{apt}");
    assert!(apt.contains("\nDPkg::Lock::Timeout \"300\";"), "{apt}");
    let origins: Vec<_> = apt
        .lines()
        .filter(|line| line.contains("Origins-Pattern:: ") || line.contains("Allowed-Origins:: "))
        .collect();
    assert!(!origins.is_empty());
    assert!(origins.iter().all(|line| line.contains("ecurity")), "{origins:?}");
    node.machine
        .run("systemctl is-active apt-daily.timer apt-daily-upgrade.timer unattended-upgrades");
}

#[test]
fn a_node_is_hardened_and_stays_so() {
    let installation = Installation::new().with("PROBE_INTERVAL", "1h");
    let server = installation.start();
    let client = server.client();
    let (id, job) = client.create_local_node();
    client.success_of(&job, PROVISIONED);
    let seen = client.node(&id);
    let node = Node {
        client: &client,
        id: &id,
        machine: Machine::of(&installation.data_dir(), &id),
        host: seen["public_ip"].as_str().unwrap().to_owned(),
    };
    // They go away with the node's interface.
    let interface = format!("pl{}", &id[id.len() - 12..]);
    for address in [STRANGER, PASSER_BY] {
        let (status, text) = output("ip", &["address", "add", &format!("{address}/32"), "dev", &interface]);
        assert_eq!(status, 0, "{text}");
    }

    the_firewall_lets_nothing_in_but_ssh_and_the_web(&node);
    nginx_answers_no_unknown_host_and_shows_little_of_a_known_one(&node);
    php_does_not_tell_that_it_is_there(&node);
    redis_answers_its_admin_alone(&node);
    security_updates_come_by_themselves_and_nothing_else(&node);
    whoever_guesses_passwords_of_wordpress_is_banned(&node);
    whoever_fails_to_log_in_to_ssh_is_banned(&node);
    the_control_plane_may_fail_as_often_and_gets_in(&node);

    // Up to date; bans and users that were added are left alone.
    assert!(!node.provision());
    assert!(node.has_banned("sshd"));
    assert!(node.redis("acl users").contains("site"));

    // Rules that somebody took away come back.
    node.machine.run("nft delete table inet pressluft");
    assert!(node.provision());
    the_firewall_lets_nothing_in_but_ssh_and_the_web(&node);
    assert!(node.has_banned("sshd"), "a reload keeps the bans");

    // Without its secrets, as one that was made from an image, a machine makes its own when it starts.
    let secrets = "cat /etc/pressluft/redis-admin.password /etc/redis/users.acl";
    let before = node.machine.run(secrets);
    node.machine.run("rm -r /etc/pressluft /etc/redis/users.acl");
    node.machine.stop();
    assert!(!node.provision());
    assert_ne!(node.machine.run(secrets), before);
    assert_eq!(node.redis("ping"), "PONG");
    assert_eq!(
        node.machine.run("redis-cli ping").trim(),
        "NOAUTH Authentication required."
    );
    the_firewall_lets_nothing_in_but_ssh_and_the_web(&node);

    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{id}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), SOON);
    server.stop();
}
