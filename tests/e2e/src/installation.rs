//! An installation of Pressluft with a data directory of its own, and its server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::Client;
use crate::host::eventually;
use crate::trace::Trace;

const EMAIL: &str = "operator@example.test";
const PASSWORD: &str = "correct horse battery";

/// An installation. Dropped, it gives back every machine that it still has.
pub struct Installation {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
}

/// A running server of an installation.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
    log: PathBuf,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn program() -> PathBuf {
    let program = match std::env::var_os("PRESSLUFT_TEST_BIN") {
        Some(path) => PathBuf::from(path),
        None => repository().join("target/test-bin/pressluft"),
    };
    assert!(
        program.is_file(),
        "the server's test build is missing: run `scripts/test --build`, or set PRESSLUFT_TEST_BIN"
    );
    program
}

/// Links the base images of a cache into another one. What the shared one lacks, the other makes for itself.
fn borrow_base_images(shared: &Path, own: &Path) {
    let images = own.join("images");
    std::fs::create_dir_all(&images).unwrap();
    for entry in std::fs::read_dir(shared.join("images")).into_iter().flatten() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let text = name.to_string_lossy();
        if path.is_dir() && !text.starts_with("runtime-") && !text.contains('.') {
            std::os::unix::fs::symlink(&path, images.join(&name)).unwrap();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Installation {
    /// A fresh installation with the nspawn provider and short waits.
    pub fn new() -> Self {
        // Machines are overlay mounts: their folder may not be one itself, as a temporary folder in memory could be.
        let folder = tempfile::Builder::new()
            .prefix("pl-e2e-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let cache = match std::env::var("PRESSLUFT_TEST_CACHE_DIR") {
            Ok(path) => path,
            Err(_) => repository().join("target/test-cache").display().to_string(),
        };
        let mut new = Self {
            folder,
            settings: Vec::new(),
        };
        let root = repository();
        for (name, value) in [
            ("BIND", "127.0.0.1:0"),
            ("CACHE_DIR", &cache),
            ("LOCAL_PROVIDER", "nspawn"),
            ("RETRY_DELAYS", "1s,1s"),
            ("POISON_LIMIT", "100"),
            ("ARTIFACT_SOURCE", "npm"),
            ("ANSIBLE_DIR", &root.join("ansible").display().to_string()),
            ("ANSIBLE_VENV", &root.join(".venv").display().to_string()),
            ("ADMIN_EMAIL", EMAIL),
            ("ADMIN_PASSWORD", PASSWORD),
        ] {
            new = new.with(name, value);
        }
        new
    }

    /// Sets a setting for every server that is started from now on.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name = format!("PRESSLUFT_{name}");
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    /// Makes its new local nodes by this Multipass, or stand-in of one.
    #[must_use]
    pub fn with_multipass(self, program: &Path) -> Self {
        self.with("LOCAL_PROVIDER", "multipass")
            .with("MULTIPASS_PROGRAM", &program.display().to_string())
    }

    /// Gives it roles of its own, equal to the repository's but for a comment: no image of a node that another test
    /// provisioned fits them, so that its first node is provisioned from the bare image. It has a cache of its own, too,
    /// that borrows the base images: an image that is made there removes none that another test is about to use.
    #[must_use]
    pub fn with_own_roles(self) -> Self {
        let own = self.folder.path().join("ansible");
        copy_folder(&repository().join("ansible"), &own);
        let changed = own.join("roles/base/tasks/main.yml");
        let comment = format!("\n# {}\n", self.folder.path().display());
        let tasks = std::fs::read_to_string(&changed).unwrap();
        std::fs::write(&changed, tasks + &comment).unwrap();
        let cache = self.folder.path().join("cache");
        let shared = self.settings.iter().find(|(name, _)| name == "PRESSLUFT_CACHE_DIR");
        borrow_base_images(Path::new(&shared.unwrap().1), &cache);
        let (own, cache) = (own.display().to_string(), cache.display().to_string());
        self.with("ANSIBLE_DIR", &own).with("CACHE_DIR", &cache)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for what a test needs besides.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Starts its server.
    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// Starts its server so that it is held at a named point, and returns the file that is made when it gets there.
    pub fn start_held_at(&self, point: &str) -> (Server, PathBuf) {
        let file = self.folder.path().join(format!("held-{point}"));
        let server = self.start_with(&[
            ("PRESSLUFT_HOLD_AT", point),
            ("PRESSLUFT_HOLD_FILE", file.to_str().unwrap()),
        ]);
        (server, file)
    }

    /// Starts its server under `strace`, which sees what it and everything below it executes and connects to. No machine may
    /// be started by it: what is traced cannot gain privileges.
    pub fn start_traced(&self) -> (Server, Trace) {
        let trace = Trace::to(&self.folder.path().join("trace"));
        let plain = self.command(&["dev"]);
        let mut words = trace.wrapper().into_iter();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(plain.get_program()).args(plain.get_args());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.folder.path());
        (self.spawn(command), trace)
    }

    /// A command of `pressluft` on this installation.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args).current_dir(self.folder.path());
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command.env("PRESSLUFT_DATA_DIR", self.data_dir());
        command
    }

    fn start_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.command(&["dev"]);
        command.envs(variables.iter().copied());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Server {
        let log = self.folder.path().join("server.log");
        let errors = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let Some(url) = first.strip_prefix("Pressluft listens on ").map(str::to_owned) else {
            let status = child.wait().unwrap();
            panic!(
                "the server did not start ({status}): {first}\n{}",
                std::fs::read_to_string(&log).unwrap()
            );
        };
        // The rest is read, so that the server never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, url, log }
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let machines = self.data_dir().join("machines");
        let any = std::fs::read_dir(machines).is_ok_and(|mut entries| entries.next().is_some());
        if !any {
            return;
        }
        eprintln!("a test left machines; giving them back");
        let server = self.start();
        let client = server.client();
        for status in ["queued", "running"] {
            for job in client.get(&format!("/api/jobs?status={status}&limit=100"))["items"]
                .as_array()
                .unwrap()
            {
                let id = job["id"].as_str().unwrap();
                client.send("POST", &format!("/api/jobs/{id}/cancel"), None);
                client.end_of(id, Duration::from_secs(60));
            }
        }
        for site in client.get("/api/sites?limit=100")["items"].as_array().unwrap() {
            let (id, slug) = (site["id"].as_str().unwrap(), &site["slug"]);
            let body = Some(serde_json::json!({"confirm": slug}));
            let gone = client.expect(202, "DELETE", &format!("/api/sites/{id}"), body);
            client.end_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(120));
        }
        for node in client.get("/api/nodes?limit=100")["items"].as_array().unwrap() {
            let id = node["id"].as_str().unwrap();
            let gone = client.send("DELETE", &format!("/api/nodes/{id}"), None);
            match gone.body["job_id"].as_str() {
                Some(job) => drop(client.end_of(job, Duration::from_secs(60))),
                // A site that could not be removed holds its node. A panic here would hide why the test failed.
                None => eprintln!("the node {id} stays: {}", gone.body),
            }
        }
        server.stop();
    }
}

impl Server {
    /// A logged-in client of it.
    pub fn client(&self) -> Client {
        Client::login(&self.url, EMAIL, PASSWORD)
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it by SIGTERM; it must end well, soon.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = eventually("the server's end after SIGTERM", Duration::from_secs(40), || {
            self.child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let killed = self.child.kill().and_then(|()| self.child.wait());
            assert!(killed.is_ok(), "the server cannot be ended");
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
