//! A caller of the HTTP API that costs as little as it can, because it shares its cores with the server. (The client of
//! the tests reads every answer into a tree of values.)

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// A logged-in caller with a connection of its own.
pub(crate) struct Caller {
    agent: ureq::Agent,
    url: String,
    cookie: String,
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(120))).build().into()
}

impl Caller {
    /// Logs in.
    pub(crate) fn login(url: &str, email: &str, password: &str) -> anyhow::Result<Self> {
        let agent = agent();
        let answer = agent
            .post(format!("{url}/api/login"))
            .send_json(json!({"email": email, "password": password}))?;
        ensure!(answer.status() == 200, "the login was answered {}", answer.status());
        let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
        Ok(Self {
            cookie: cookie.split(';').next().unwrap_or_default().to_owned(),
            agent,
            url: url.to_owned(),
        })
    }

    /// The same session over another connection.
    pub(crate) fn another(&self) -> Self {
        Self {
            agent: agent(),
            url: self.url.clone(),
            cookie: self.cookie.clone(),
        }
    }

    /// `GET`, which must be answered 200: the body.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let mut answer = request.header("cookie", &self.cookie).call()?;
        ensure!(answer.status() == 200, "GET {path} was answered {}", answer.status());
        Ok(answer.body_mut().read_to_vec()?)
    }

    /// Asks for a local node, which must be answered 202: its id.
    pub(crate) fn create_node(&self) -> anyhow::Result<String> {
        let request = self.agent.post(format!("{}/api/nodes", self.url));
        let mut answer = request
            .header("cookie", &self.cookie)
            .send_json(json!({"acquisition_source": "local"}))?;
        ensure!(
            answer.status() == 202,
            "POST /api/nodes was answered {}",
            answer.status()
        );
        let body: Value = answer.body_mut().read_json()?;
        Ok(body["node_id"].as_str().context("no node_id")?.to_owned())
    }

    /// The lines of the stream of events from now on; the stream is open when this returns.
    pub(crate) fn follow_events(&self) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>> + use<>> {
        let request = self.agent.get(format!("{}/api/events", self.url));
        let answer = request
            .header("cookie", &self.cookie)
            .header("accept", "text/event-stream")
            .call()?;
        ensure!(
            answer.status() == 200,
            "GET /api/events was answered {}",
            answer.status()
        );
        let kind = answer
            .headers()
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        ensure!(kind == Some("text/event-stream"), "GET /api/events answered {kind:?}");
        Ok(BufReader::new(answer.into_body().into_reader()).lines())
    }
}
