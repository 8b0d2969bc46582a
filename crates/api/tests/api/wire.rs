//! Over a real connection: a client that is refused in the middle of sending still reads why.

use actix_web::{App, HttpServer};
use http_session::HttpSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::panel::Panel;

/// Sends `head`, then 2 MB, and reads the answer to its end.
async fn send(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}Host: {address}\r\nConnection: close\r\nContent-Length: 2097152\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; 2 * 1024 * 1024]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[actix_web::test]
async fn a_body_of_2_mb_is_refused_with_an_answer_that_arrives() {
    let panel = Panel::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = HttpSettings::new(&address, None).unwrap();
    let configure = api::configure(panel.state.clone(), settings);
    let server = HttpServer::new(move || App::new().configure(configure.clone()))
        .workers(1)
        .disable_signals();
    let server = server.listen(listener).unwrap().run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    let cookie = format!("Cookie: {}\r\n", panel.cookie);
    for (head, status, code) in [
        (
            format!("POST /api/nodes HTTP/1.1\r\nContent-Type: application/json\r\n{cookie}"),
            413,
            "payload_too_large",
        ),
        (
            format!("POST /api/nodes HTTP/1.1\r\nContent-Type: text/plain\r\n{cookie}"),
            415,
            "unsupported_media_type",
        ),
        (
            "POST /api/login HTTP/1.1\r\nContent-Type: application/json\r\n".to_owned(),
            413,
            "payload_too_large",
        ),
        (
            "POST /api/nodes HTTP/1.1\r\nContent-Type: application/json\r\n".to_owned(),
            401,
            "unauthorized",
        ),
        ("POST /nowhere HTTP/1.1\r\n".to_owned(), 404, "not_found"),
    ] {
        let answer = send(&address, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!(r#""code":"{code}""#)), "{answer}");
    }
    panel.assert_nothing_was_written();
    handle.stop(true).await;
    running.await.unwrap().unwrap();
}
