//! `/api/events` as a stream of server-sent events.

use std::pin::Pin;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use futures_util::poll;
use jobs::{JobStore, LogStream, NewEvent, Outcome};
use serde_json::Value;

use crate::panel::Panel;

const STREAM: &str = "text/event-stream";

/// A client's end of a stream.
struct Reader(BoxBody);

impl Reader {
    async fn open(panel: &Panel, path: &str, headers: &[(&str, &str)]) -> Self {
        let ask = panel.ask("GET", path).header("Accept", STREAM);
        let ask = headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
        let response = ask.open().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers().get("Content-Type").unwrap(), STREAM);
        let mut reader = Self(response.into_body());
        assert_eq!(reader.piece().await.as_deref(), Some("retry: 1000\n\n"));
        reader
    }

    /// The next piece; `None` at the end.
    async fn piece(&mut self) -> Option<String> {
        let next = std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context));
        let piece = tokio::time::timeout(Duration::from_secs(5), next).await.unwrap()?;
        Some(String::from_utf8(piece.unwrap().to_vec()).unwrap())
    }

    /// The numbers of the events of the next piece, each the same in `id` and `data`.
    async fn numbers(&mut self) -> Vec<i64> {
        let piece = self.piece().await.unwrap();
        let number = |message: &str| {
            let (id, data) = message.split_once('\n').unwrap();
            let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            let id = id.strip_prefix("id: ").unwrap().parse().unwrap();
            assert_eq!(event["seq"], id);
            id
        };
        piece.split_terminator("\n\n").map(number).collect()
    }

    /// Lets the stream look and come to its wait; it must have nothing to tell.
    async fn is_silent(&mut self) {
        for _ in 0..10 {
            let next = std::future::poll_fn(|context| Pin::new(&mut self.0).poll_next(context));
            assert!(poll!(std::pin::pin!(next)).is_pending());
            tokio::task::yield_now().await;
        }
    }
}

/// Tells `count` lines of the waiting job.
async fn tell(panel: &Panel, count: usize) {
    let claim = panel.claim().await.claim;
    for number in 0..count {
        let line = NewEvent::log("provision", LogStream::Stdout, &format!("line {number}\nand more"));
        panel.jobs.append(&claim, line).await.unwrap();
    }
    panel.jobs.finish(&claim, &Outcome::Yielded).await.unwrap();
}

#[actix_web::test]
async fn a_stream_tells_what_happened_and_goes_on_with_what_happens_each_once_and_in_order() {
    let panel = Panel::new().await;
    panel.create_node().await;
    tell(&panel, 150).await;
    let before = panel.jobs.all_events().len();
    let mut reader = Reader::open(&panel, "/api/events", &[]).await;
    let mut seen = Vec::new();
    while seen.len() < before {
        seen.extend(reader.numbers().await);
    }
    reader.is_silent().await;
    tell(&panel, 3).await;
    while seen.len() < panel.jobs.all_events().len() {
        seen.extend(reader.numbers().await);
    }
    let all: Vec<i64> = panel.jobs.all_events().iter().map(|event| event.seq).collect();
    assert_eq!(seen, all);
}

#[actix_web::test]
async fn a_client_that_comes_back_goes_on_after_the_last_event_that_it_has() {
    let panel = Panel::new().await;
    panel.create_node().await;
    tell(&panel, 20).await;
    let mut reader = Reader::open(&panel, "/api/events?after=3", &[]).await;
    assert_eq!(reader.numbers().await[0], 4);
    let mut reader = Reader::open(&panel, "/api/events?after=3", &[("Last-Event-ID", "7")]).await;
    assert_eq!(reader.numbers().await[0], 8);
    for wrong in ["x", "-1", ""] {
        let ask = panel.ask("GET", "/api/events").header("Accept", STREAM);
        let refused = ask.header("Last-Event-ID", wrong).send().await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "bad_request"),
            "{wrong:?}"
        );
    }
}

#[actix_web::test]
async fn a_client_that_is_ahead_of_the_database_is_told_so_once_and_goes_on_from_there() {
    let panel = Panel::new().await;
    let (_, job) = panel.create_node().await;
    let last = panel.jobs.all_events().last().unwrap().seq;
    let reset = format!("event: reset\nid: {last}\ndata: {{\"last_seq\":{last}}}\n\n");
    let ahead = (last + 1).to_string();
    let all = "/api/events".to_owned();
    let mut readers = vec![
        Reader::open(&panel, &format!("{all}?after={ahead}"), &[]).await,
        Reader::open(&panel, &all, &[("Last-Event-ID", &i64::MAX.to_string())]).await,
        Reader::open(&panel, &format!("/api/jobs/{job}/events?after={ahead}"), &[]).await,
    ];
    for reader in &mut readers {
        assert_eq!(reader.piece().await.as_ref(), Some(&reset));
        reader.is_silent().await;
    }
    tell(&panel, 1).await;
    for reader in &mut readers {
        assert_eq!(reader.numbers().await[0], last + 1);
    }

    // Who has had the last event is not ahead.
    let last = panel.jobs.all_events().last().unwrap().seq;
    let mut reader = Reader::open(&panel, &format!("{all}?after={last}"), &[]).await;
    reader.is_silent().await;
    let page = panel.get(&format!("{all}?after={}", last + 5)).await;
    assert_eq!(page.json()["next_after"], last + 5, "JSON is as it was");
}

#[actix_web::test]
async fn a_stream_of_a_job_tells_of_that_job_alone() {
    let panel = Panel::new().await;
    let (_, first) = panel.create_node().await;
    let (_, second) = panel.create_node().await;
    let mut reader = Reader::open(&panel, &format!("/api/jobs/{second}/events"), &[]).await;
    let told = reader.piece().await.unwrap();
    assert!(
        told.contains(&second.to_string()) && !told.contains(&first.to_string()),
        "{told}"
    );
    reader.is_silent().await;
}

#[actix_web::test]
async fn a_silent_stream_carries_a_comment_every_15_seconds() {
    let panel = Panel::new().await;
    let mut reader = Reader::open(&panel, "/api/events", &[]).await;
    reader.is_silent().await;
    panel.clock.advance(Duration::from_secs(14));
    reader.is_silent().await;
    panel.clock.advance(Duration::from_secs(1));
    assert_eq!(reader.piece().await.as_deref(), Some(":\n\n"));
}

#[actix_web::test]
async fn a_stream_ends_with_the_session_and_with_the_server() {
    let panel = Panel::new().await;
    let mut reader = Reader::open(&panel, "/api/events", &[]).await;
    reader.is_silent().await;
    panel.state.streams.stop();
    assert_eq!(reader.piece().await, None, "the server stops");

    let panel = Panel::new().await;
    let mut reader = Reader::open(&panel, "/api/events", &[]).await;
    reader.is_silent().await;
    assert_eq!(panel.post("/api/logout").await.status, 200);
    panel.clock.advance(Duration::from_secs(15));
    assert_eq!(reader.piece().await.as_deref(), Some(":\n\n"));
    assert_eq!(reader.piece().await, None, "logged out");

    let panel = Panel::new().await;
    let mut reader = Reader::open(&panel, "/api/events", &[]).await;
    panel.create_node().await;
    panel.clock.advance(operations::SESSION_LIFETIME);
    assert_eq!(
        reader.piece().await,
        None,
        "the session is over, whatever there is to tell"
    );
}

#[actix_web::test]
async fn more_streams_than_a_server_keeps_are_refused_and_closed_ones_make_room() {
    let panel = Panel::new().await;
    let mut readers = Vec::new();
    for _ in 0..256 {
        readers.push(Reader::open(&panel, "/api/events", &[]).await);
    }
    let ask = || panel.ask("GET", "/api/events").header("Accept", STREAM);
    assert_eq!(ask().send().await.code(), "too_many_requests");
    readers.pop();
    let _room = Reader::open(&panel, "/api/events", &[]).await;
    assert_eq!(panel.get("/api/events").await.status, 200, "JSON is not limited");
}
