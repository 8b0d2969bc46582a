//! Events as a stream of server-sent events, for pages and programs that follow what happens.
//!
//! A stream holds no queue: it reads the next events from the database when the client has taken the ones before, so a slow
//! client costs nothing but its connection, and a client that comes back goes on after the last number that it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::jobs::{EventFilter, EventWatch};
use accounts_domain::SessionToken;
use actix_web::http::header::{CONTENT_TYPE, HeaderName};
use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpResponse};
use domain_kernel::{ApiErrorCode, CancelToken, StopReason, Timestamp};
use futures_util::future::{Either, select};
use futures_util::stream;
use http_session::ApiError;

use crate::ApiState;
use crate::events::EventBody;

/// The media type of server-sent events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// A quiet stream carries a comment this often, so that nobody between takes the connection for dead; the session is
/// looked at again as often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a client waits before it comes back, in milliseconds.
const COME_BACK_MS: u64 = 1000;

/// How many events are read at once.
const BATCH: u32 = 100;

/// Streams that one server keeps open at a time.
const MOST: usize = 256;

/// Keeps unbuffered what a proxy would otherwise collect.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The open streams of a server.
#[derive(Clone, Default)]
pub struct Streams {
    stop: CancelToken,
    open: Arc<AtomicUsize>,
}

impl Streams {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all of them, and every new one at once: the server stops.
    pub fn stop(&self) {
        self.stop.cancel(StopReason::Shutdown);
    }

    fn open(&self) -> Option<Open> {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        (before < MOST).then_some(open)
    }
}

/// Counts a stream for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One client's stream.
struct Follow {
    state: web::Data<ApiState>,
    watch: Box<dyn EventWatch>,
    filter: EventFilter,
    token: SessionToken,
    session_end: Timestamp,
    look_at_session: Timestamp,
    _open: Open,
}

/// Answers with the events after `after`, of one job or of all, those that are still to come included, until the session
/// ends or the server stops.
pub(crate) async fn follow(
    state: web::Data<ApiState>,
    token: SessionToken,
    session_end: Timestamp,
    filter: EventFilter,
) -> Result<HttpResponse, ApiError> {
    let open = state.streams.open().ok_or_else(|| {
        let message = format!("There are {MOST} event streams already. Close one, or ask for JSON.");
        ApiError::new(ApiErrorCode::TooManyRequests, message)
    })?;
    // Before the first look, so that nothing falls between.
    let watch = state.jobs.watch_events();
    let last = state.jobs.last_seq().await?;
    let is_ahead = filter.after > last;
    let follow = Follow {
        watch,
        look_at_session: state.clock.now().plus(KEEP_ALIVE),
        filter: EventFilter {
            after: filter.after.min(last),
            limit: BATCH,
            ..filter
        },
        state,
        token,
        session_end,
        _open: open,
    };
    let greeting = format!("retry: {COME_BACK_MS}\n\n");
    let reset = is_ahead.then(|| reset(last));
    let first = [Some(greeting), reset]
        .into_iter()
        .flatten()
        .map(|text| Ok(Bytes::from(text)));
    let events = stream::unfold(Some(follow), |follow| async {
        let mut follow = follow?;
        let next = follow.next().await?;
        Some((Ok::<_, Error>(next), Some(follow)))
    });
    let whole = futures_util::StreamExt::chain(stream::iter(first), events);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, EVENT_STREAM))
        .insert_header((X_ACCEL_BUFFERING, "no"))
        .streaming(whole))
}

impl Follow {
    /// The next piece; `None` at the end. A client takes every end as a reason to come back, where it is told more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.state.streams.stop.reason().is_some() || !self.session_is_valid().await {
                return None;
            }
            let events = match self.state.jobs.events(&self.filter).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "an event stream broke off");
                    return None;
                }
            };
            if let Some(last) = events.last() {
                self.filter.after = last.seq;
                let text: String = events.into_iter().map(EventBody::from).filter_map(message).collect();
                return Some(Bytes::from(text));
            }
            if self.waited_in_vain().await {
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
    }

    /// Whether the session still stands. A log-out ends it early, and is seen at the next look.
    async fn session_is_valid(&mut self) -> bool {
        let now = self.state.clock.now();
        if now >= self.session_end {
            return false;
        }
        if now < self.look_at_session {
            return true;
        }
        self.look_at_session = now.plus(KEEP_ALIVE);
        self.state.accounts.session(&self.token).await.is_ok()
    }

    /// Waits for something new; true where there was nothing for as long as a stream may be silent.
    async fn waited_in_vain(&mut self) -> bool {
        let silence = KEEP_ALIVE.min(self.session_end.since(self.state.clock.now()));
        let stopped = self.state.streams.stop.cancelled();
        futures_util::pin_mut!(stopped);
        let ends = select(stopped, self.state.clock.sleep(silence));
        matches!(
            select(self.watch.changed(), ends).await,
            Either::Right((Either::Right(_), _))
        )
    }
}

/// Tells a client that it has had later events than there are, as after a restore from a backup: what it knows is void. The
/// message has the number of the last event, so that a client that comes back goes on after it.
fn reset(last: i64) -> String {
    format!("event: reset\nid: {last}\ndata: {{\"last_seq\":{last}}}\n\n")
}

/// An event as a message: its number, so that a client can go on after it, and its JSON, which has no line feed.
fn message(event: EventBody) -> Option<String> {
    let seq = event.seq();
    let json = serde_json::to_string(&event).ok()?;
    Some(format!("id: {seq}\ndata: {json}\n\n"))
}
