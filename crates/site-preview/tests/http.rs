//! Against HTTP servers of the tests' own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in tests a panic is the way to fail; helpers of tests are not seen as tests by clippy"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use domain_kernel::{Secret, StopReason};
use site_preview::HttpPreviewProbe;
use sites_domain::{PreviewError, PreviewProbe, proof_of};
use test_support::{RealClock, step_context};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    host: String,
    nonce: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let path = lines.next()?.split(' ').nth(1)?.to_owned();
        let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let header = |name: &str| {
            let found = headers.iter().filter_map(|line| line.split_once(": "));
            let mut found = found.filter(|(found, _)| found.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        Some(Self {
            path,
            host: header("host"),
            nonce: header("x-pressluft-nonce"),
        })
    }
}

/// What writes the answer to a request.
type Answer = Box<dyn Fn(&mut TcpStream, &Request, &str) + Send>;

/// A server on a port of its own.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// The answer is given the stream, the request and the preview's own URL.
    fn start(answer: impl Fn(&mut TcpStream, &Request, &str) + Send + 'static) -> Self {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let answer: Answer = Box::new(answer);
        let thread = std::thread::spawn({
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut stream = stream.unwrap();
                    if let Some(request) = Request::read(&stream) {
                        requests.lock().unwrap().push(request.clone());
                        answer(&mut stream, &request, &url(port));
                    }
                }
            }
        });
        Self {
            port,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    async fn prove(&self) -> Result<(), PreviewError> {
        let (context, _cancel, _) = step_context("prove", Duration::from_secs(30), Arc::new(RealClock));
        HttpPreviewProbe.prove(&url(self.port), HERE, &secret(), &context).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect((HERE, self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A name that no name service knows.
fn url(port: u16) -> String {
    format!("http://0123456789ab.preview.invalid:{port}")
}

fn secret() -> Secret {
    Secret::new("the right secret")
}

/// Writes an answer; a client that went away is not the server's trouble.
fn write(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

fn write_proof(stream: &mut TcpStream, request: &Request, secret: &str, siteurl: &str) {
    let proof = proof_of(&Secret::new(secret), &request.nonce, siteurl);
    write(stream, "200 OK", &format!("X-Pressluft-Proof: {proof}\r\n"), "<html>");
}

#[tokio::test]
async fn a_preview_that_signs_a_new_nonce_with_its_secret_and_its_own_url_is_proved() {
    let server = Server::start(|stream, request, url| write_proof(stream, request, "the right secret", url));
    server.prove().await.unwrap();
    server.prove().await.unwrap();
    let requests = server.requests();
    let nonce = &requests[0].nonce;
    assert!(
        nonce.len() == 32 && nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{nonce}"
    );
    assert_ne!(nonce, &requests[1].nonce);
    assert_eq!(requests[0].path, "/");
    assert_eq!(
        requests[0].host,
        format!("0123456789ab.preview.invalid:{}", server.port)
    );
}

#[tokio::test]
async fn another_secret_or_another_siteurl_is_a_wrong_proof() {
    let server = Server::start(|stream, request, url| write_proof(stream, request, "another secret", url));
    assert_eq!(server.prove().await, Err(PreviewError::WrongProof));
    let server =
        Server::start(|stream, request, _| write_proof(stream, request, "the right secret", "http://live.test"));
    assert_eq!(server.prove().await, Err(PreviewError::WrongProof));
    let server = Server::start(|stream, _, _| write(stream, "200 OK", "X-Pressluft-Proof: \r\n", ""));
    assert_eq!(server.prove().await, Err(PreviewError::WrongProof));
}

#[tokio::test]
async fn an_answer_without_a_signature_proves_nothing() {
    let server = Server::start(|stream, _, _| write(stream, "200 OK", "", "Welcome to nginx!"));
    assert_eq!(server.prove().await, Err(PreviewError::NoProof));
}

#[tokio::test]
async fn any_other_status_than_200_is_told_even_with_the_right_proof() {
    let server = Server::start(|stream, request, url| {
        let proof = proof_of(&secret(), &request.nonce, url);
        write(stream, "500 Oops", &format!("X-Pressluft-Proof: {proof}\r\n"), "");
    });
    assert_eq!(server.prove().await, Err(PreviewError::Status { status: 500 }));
    let server = Server::start(|stream, _, _| write(stream, "304 Not Modified", "", ""));
    assert_eq!(server.prove().await, Err(PreviewError::Status { status: 304 }));
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed_with_the_nonce() {
    let server = Server::start(|stream, request, url| match request.path.as_str() {
        "/" => write(stream, "302 Found", "Location: /en/\r\n", ""),
        "/en/" => write(stream, "301 Moved", &format!("Location: {url}/en/home\r\n"), ""),
        _ => write_proof(stream, request, "the right secret", url),
    });
    server.prove().await.unwrap();
    let requests = server.requests();
    let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/", "/en/", "/en/home"]);
    assert!(
        requests.iter().all(|request| request.nonce == requests[0].nonce),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_redirect_to_another_host_port_or_scheme_leads_away_and_is_not_followed() {
    for (location, case) in [
        ("http://live.example.test/", "host"),
        ("http://0123456789ab.preview.invalid:1/", "port"),
        ("https://0123456789ab.preview.invalid/", "scheme"),
        ("//live.example.test/", "host without scheme"),
        ("http://[", "no URL"),
    ] {
        let server = Server::start(move |stream, _, _| {
            write(stream, "302 Found", &format!("Location: {location}\r\n"), "");
        });
        assert_eq!(
            server.prove().await,
            Err(PreviewError::LedAway(location.to_owned())),
            "{case}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_in_a_circle_is_given_up_after_five() {
    let server = Server::start(|stream, _, _| write(stream, "302 Found", "Location: /\r\n", ""));
    let result = server.prove().await;
    assert!(matches!(result, Err(PreviewError::LedAway(_))), "{result:?}");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn nobody_at_the_port_and_an_answer_that_breaks_off_are_no_answer() {
    let closed = TcpListener::bind((HERE, 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let (context, _cancel, _) = step_context("prove", Duration::from_secs(30), Arc::new(RealClock));
    let result = HttpPreviewProbe.prove(&url(port), HERE, &secret(), &context).await;
    let Err(PreviewError::NoAnswer { address, reason }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(address, format!("127.0.0.1:{port}"));
    assert!(reason.contains("refused"), "{reason}");

    let server = Server::start(|stream, request, url| {
        let proof = proof_of(&secret(), &request.nonce, url);
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nX-Pressluft-Proof: {proof}\r\nContent-Length: 1000\r\n\r\nhalf"
        );
    });
    let result = server.prove().await;
    assert!(matches!(result, Err(PreviewError::NoAnswer { .. })), "{result:?}");
}

#[tokio::test]
async fn a_url_that_would_not_lead_to_the_given_address_is_refused() {
    let (context, _cancel, _) = step_context("prove", Duration::from_secs(30), Arc::new(RealClock));
    for url in ["http://127.0.0.1:1", "http://[::1]", "https://a.invalid", "no url"] {
        let result = HttpPreviewProbe.prove(url, HERE, &secret(), &context).await;
        let Err(PreviewError::NoAnswer { reason, .. }) = result else {
            panic!("{result:?}")
        };
        assert!(reason.starts_with("the URL "), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_stays_silent_is_timed_out_by_the_contexts_deadline_or_after_ten_seconds() {
    // The backlog takes the connection, and nobody ever answers.
    let silent = TcpListener::bind((HERE, 0)).unwrap();
    let url = url(silent.local_addr().unwrap().port());
    for (limit, allowed) in [(Duration::from_secs(1), 0..=1), (Duration::from_secs(60), 10..=10)] {
        let (context, _cancel, _) = step_context("prove", limit, Arc::new(RealClock));
        let begin = Instant::now();
        let result = HttpPreviewProbe.prove(&url, HERE, &secret(), &context).await;
        let Err(PreviewError::TimedOut(told)) = result else {
            panic!("{result:?}")
        };
        assert!(allowed.contains(&told.as_secs()), "{told:?}");
        assert!(
            begin.elapsed() >= told && begin.elapsed() < told + Duration::from_secs(2),
            "{:?}",
            begin.elapsed()
        );
    }
}

#[tokio::test]
async fn a_cancelled_try_stops_at_once() {
    let silent = TcpListener::bind((HERE, 0)).unwrap();
    let url = url(silent.local_addr().unwrap().port());
    let (context, cancel, _) = step_context("prove", Duration::from_secs(60), Arc::new(RealClock));
    let begin = Instant::now();
    let secret = secret();
    let (result, ()) = tokio::join!(HttpPreviewProbe.prove(&url, HERE, &secret, &context), async {
        let accepted = tokio::task::spawn_blocking(move || silent.accept().unwrap())
            .await
            .unwrap();
        cancel.cancel(StopReason::Cancelled);
        drop(accepted);
    });
    assert_eq!(result, Err(PreviewError::Stopped(StopReason::Cancelled)));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

// Two threads: the server's end is waited for here while the client lets its connection go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_end_is_left_when_enough_was_read() {
    let written = Arc::new(Mutex::new(0));
    let server = Server::start({
        let written = Arc::clone(&written);
        move |stream, request, url| {
            let proof = proof_of(&secret(), &request.nonce, url);
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nX-Pressluft-Proof: {proof}\r\nConnection: close\r\n\r\n"
            );
            let chunk = [b'x'; 64 * 1024];
            while stream.write_all(&chunk).is_ok() {
                *written.lock().unwrap() += chunk.len();
            }
        }
    });
    server.prove().await.unwrap();
    drop(server);
    // What is read, and what is on the way in buffers of both ends.
    let written = *written.lock().unwrap();
    assert!(written < 24 * 1024 * 1024, "{written} bytes");
}
