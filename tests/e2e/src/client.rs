//! A client of the HTTP API, as a program would be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::eventually;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// How long it took.
    pub took: Duration,
}

/// A logged-in client.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    cookie: String,
}

impl Client {
    /// Logs in.
    pub fn login(url: &str, email: &str, password: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.timeout_global(Some(Duration::from_secs(30))).build().into();
        let body = json!({"email": email, "password": password});
        let answer = agent
            .post(format!("{url}/api/login"))
            .send_json(body)
            .expect("the server answers");
        assert_eq!(answer.status(), 200, "login");
        let cookie = answer.headers().get("set-cookie").expect("a cookie").to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self {
            agent,
            url: url.to_owned(),
            cookie,
        }
    }

    /// Asks.
    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}{path}", self.url);
        let begin = Instant::now();
        let answer = match (method, body) {
            ("GET", None) => self.agent.get(url).header("cookie", &self.cookie).call(),
            ("DELETE", None) => self.agent.delete(url).header("cookie", &self.cookie).call(),
            ("DELETE", Some(body)) => {
                let request = self.agent.delete(url).header("cookie", &self.cookie);
                request.force_send_body().send_json(body)
            }
            ("PUT", Some(body)) => self.agent.put(url).header("cookie", &self.cookie).send_json(body),
            ("POST", Some(body)) => self.agent.post(url).header("cookie", &self.cookie).send_json(body),
            ("POST", None) => self.agent.post(url).header("cookie", &self.cookie).send_empty(),
            other => panic!("no such request here: {other:?}"),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let took = begin.elapsed();
        let text = answer.body_mut().read_to_string().unwrap();
        Answer {
            status: answer.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
            took,
        }
    }

    /// Asks and expects a status.
    pub fn expect(&self, status: u16, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.send(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer.body
    }

    /// Reads.
    pub fn get(&self, path: &str) -> Value {
        self.expect(200, "GET", path, None)
    }

    /// Asks for a local node and returns its id and its job's.
    pub fn create_local_node(&self) -> (String, String) {
        let body = self.expect(202, "POST", "/api/nodes", Some(json!({"acquisition_source": "local"})));
        (text(&body["node_id"]), text(&body["job_id"]))
    }

    /// Asks for a remote node, with these fields beside the source, and returns its id and its job's.
    pub fn create_remote_node(&self, mut fields: Value) -> (String, String) {
        fields["acquisition_source"] = "remote".into();
        let body = self.expect(202, "POST", "/api/nodes", Some(fields));
        (text(&body["node_id"]), text(&body["job_id"]))
    }

    /// A step of a job; null where it has not begun.
    pub fn step_of(&self, job: &str, name: &str) -> Value {
        let job = self.job(job);
        let steps = job["steps"].as_array().unwrap();
        steps
            .iter()
            .find(|step| step["name"] == name)
            .cloned()
            .unwrap_or_default()
    }

    /// A node.
    pub fn node(&self, id: &str) -> Value {
        self.get(&format!("/api/nodes/{id}"))
    }

    /// A job.
    pub fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}"))
    }

    /// The status of a job's step; empty where it has not begun.
    pub fn step(&self, job: &str, name: &str) -> String {
        let job = self.job(job);
        let step = job["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["name"] == name)
            .cloned();
        step.map(|step| text(&step["status"])).unwrap_or_default()
    }

    /// Every event of a job so far.
    pub fn events(&self, job: &str) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("/api/jobs/{job}/events?limit=100&after={after}"));
            let items = page["items"].as_array().unwrap();
            if items.is_empty() {
                return events;
            }
            events.extend(items.iter().cloned());
            after = page["next_after"].as_i64().unwrap();
        }
    }

    /// Whether a task of Ansible has begun.
    pub fn has_task(&self, job: &str) -> bool {
        self.events(job).iter().any(|event| event["kind"] == "task")
    }

    /// Waits until a job has ended, and returns it.
    pub fn end_of(&self, job: &str, limit: Duration) -> Value {
        eventually(&format!("the end of job {job}"), limit, || {
            let seen = self.job(job);
            let ended = ["succeeded", "failed", "cancelled"]
                .iter()
                .any(|status| seen["status"] == *status);
            ended.then_some(seen)
        })
    }

    /// Waits until a job has ended, which must be well.
    pub fn success_of(&self, job: &str, limit: Duration) -> Value {
        let seen = self.end_of(job, limit);
        if seen["status"] != "succeeded" {
            panic!("{seen:#}\n{:#}", Value::Array(self.events(job)));
        }
        seen
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}
