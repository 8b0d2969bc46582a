//! Every test of this folder once more, on a PostgreSQL server that is started for it and is gone afterwards.

// The server is a process of the test's own: process-exec belongs to the product.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use crate::support::{Case, TestDatabase};

/// Set by `scripts/test`, which installs the server: then its absence is a failure.
const REQUIRED: &str = "PRESSLUFT_TEST_POSTGRES";

fn cases() -> Vec<&'static Case> {
    let all = [
        crate::accounts::CASES,
        crate::atomicity::CASES,
        crate::audit::CASES,
        crate::backups::CASES,
        crate::cancel::CASES,
        crate::catalog::CASES,
        crate::claim::CASES,
        crate::concurrency::CASES,
        crate::data_model::CASES,
        crate::events::CASES,
        crate::fence::CASES,
        crate::filters::CASES,
        crate::follow::CASES,
        crate::idempotency::CASES,
        crate::migrations::CASES,
        crate::nodes::CASES,
        crate::open::CASES,
        crate::outcomes::CASES,
        crate::overview::CASES,
        crate::recovery::CASES,
        crate::remote::CASES,
        crate::retention::CASES,
        crate::schema::CASES,
        crate::site_database::CASES,
        crate::sites::CASES,
    ];
    all.into_iter().flatten().collect()
}

/// The folder of the newest server's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    folders
        .filter(|folder| folder.join("initdb").exists())
        .max_by_key(version)
}

/// A server in a folder of its own that listens on a socket in it and nowhere else.
struct Server {
    process: Child,
    programs: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(programs: PathBuf) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pressluft-pg-")
            .tempdir_in("/tmp")
            .unwrap();
        if is_root() {
            // The server refuses to run as root.
            let (uid, gid) = owner();
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = folder.path().join("data");
        let made = as_owner(&programs.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut process = as_owner(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until_ready(&mut process);
        Self {
            process,
            programs,
            folder,
        }
    }

    /// The URL of the server's one database with a schema of its own, which is made much faster than a database.
    fn url(&self, schema: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres:///postgres?host={folder}&user=postgres&options=-csearch_path%3D{schema}")
    }

    fn new_database(&self, name: &str) -> TestDatabase {
        let url = self.url(name);
        let mut connection = PgConnection::establish(&url).unwrap();
        connection.batch_execute(&format!("CREATE SCHEMA {name}")).unwrap();
        TestDatabase::postgres(url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = as_owner(&self.programs.join("pg_ctl"))
            .args(["stop", "--mode=immediate", "--wait", "--silent", "--pgdata"])
            .arg(self.folder.path().join("data"))
            .status();
        let stopped = stopped.and_then(|_| self.process.wait());
        if let Err(error) = stopped {
            eprintln!("the server was not stopped: {error}");
        }
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The user of Debian's package.
fn owner() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .expect("the user postgres");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

/// A command that ends with the test, whatever ends the test.
fn as_owner(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=QUIT");
    if is_root() {
        let (uid, gid) = owner();
        command
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={gid}"))
            .arg("--clear-groups");
    }
    command
        .arg(program)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Reads what the server says until it is ready; the rest is read and dropped, so that it never waits for a reader.
fn wait_until_ready(process: &mut Child) {
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // Nobody listens any more once it is ready.
            let _ = sender.send(line);
        }
    });
    let mut said = Vec::new();
    loop {
        match receiver.recv_timeout(Duration::from_secs(60)) {
            Ok(line) if line.contains("database system is ready to accept connections") => return,
            Ok(line) => said.push(line),
            Err(error) => panic!("the server did not start ({error}):\n{}", said.join("\n")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_store_test_holds_on_postgresql() {
    let Some(programs) = programs() else {
        assert!(
            std::env::var_os(REQUIRED).is_none_or(|value| value != "1"),
            "{REQUIRED}=1, but there is no PostgreSQL server under /usr/lib/postgresql: \
             apt-get install --no-install-recommends postgresql"
        );
        eprintln!("NOT COVERED: there is no PostgreSQL server under /usr/lib/postgresql, only SQLite was tested");
        return;
    };
    let server = Server::start(programs);
    let mut failed = Vec::new();
    for (number, case) in cases().into_iter().enumerate() {
        let run = (case.run)(server.new_database(&format!("case_{number}")));
        if tokio::spawn(run).await.is_err() {
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "on PostgreSQL failed:\n{}", failed.join("\n"));
}
