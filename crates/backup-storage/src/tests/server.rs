//! A real S3 server (moto, from the development virtual environment) on a free port of 127.0.0.1, and a plain view into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, Clock, Limits, Secret, StopReason};
use process_exec::{CommandRunner, CommandSpec, LineHandler, OutputLine, SystemRunner};
use test_support::RealClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::S3Settings;

pub(super) const SECRET: &str = "the-secret-of-the-bucket";

/// Ended, with all its processes, by [`Server::end`].
pub(super) struct Server {
    address: String,
    cancel: CancelToken,
    running: JoinHandle<()>,
}

struct Port(Option<oneshot::Sender<String>>);

#[async_trait]
impl LineHandler for Port {
    async fn line(&mut self, line: OutputLine) {
        let address = line
            .text
            .split_once("Running on http://")
            .map(|(_, address)| address.trim());
        if let Some(address) = address
            && let Some(sender) = self.0.take()
        {
            sender.send(address.to_owned()).unwrap();
        }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/moto_server");
        assert!(program.exists(), "there is no S3 server: run scripts/setup --dev");
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let cancel = CancelToken::new();
        let limits = Limits {
            cancel: cancel.clone(),
            deadline: clock.now().plus(Duration::from_secs(300)),
        };
        let command = CommandSpec::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1");
        let (sender, address) = oneshot::channel();
        let running = tokio::spawn(async move {
            let runner = SystemRunner::unrecorded(clock);
            // Its end is ours: it is told to stop.
            let _ = runner.stream(command, &limits, &mut Port(Some(sender))).await;
        });
        let address = address.await.expect("the S3 server did not start");
        let server = Self {
            address,
            cancel,
            running,
        };
        assert!(server.ask("PUT", "/backups").await.starts_with("HTTP/1.1 200"));
        server
    }

    pub(super) fn settings(&self, prefix: &str) -> S3Settings {
        settings(&format!("http://{}", self.address), prefix)
    }

    /// The keys below a prefix.
    pub(super) async fn keys(&self, prefix: &str) -> Vec<String> {
        let listing = self.ask("GET", &format!("/backups?list-type=2&prefix={prefix}/")).await;
        let mut keys: Vec<_> = listing.split("<Key>").skip(1).collect();
        keys.iter_mut()
            .for_each(|key| *key = key.split("</Key>").next().unwrap());
        keys.iter()
            .map(|key| key.trim_start_matches(prefix).trim_start_matches('/').to_owned())
            .collect()
    }

    /// How many uploads are not ended.
    pub(super) async fn unfinished_uploads(&self) -> usize {
        let listing = self.ask("GET", "/backups?uploads").await;
        assert!(listing.contains("ListMultipartUploadsResult"), "{listing}");
        listing.matches("<UploadId>").count()
    }

    pub(super) async fn end(self) {
        self.cancel.cancel(StopReason::Cancelled);
        self.running.await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

pub(super) fn settings(endpoint: &str, prefix: &str) -> S3Settings {
    S3Settings {
        bucket: "backups".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        access_key_id: "operator".to_owned(),
        secret_access_key: Secret::new(SECRET),
        prefix: prefix.to_owned(),
    }
}
