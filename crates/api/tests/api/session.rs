//! `/api/login`, `/api/logout`, `/api/session`.

use std::time::Duration;

use http_session::HttpSettings;
use operations::SESSION_LIFETIME;
use serde_json::json;

use crate::panel::{Answer, BIND, EMAIL, PASSWORD, Panel};

async fn login_from(panel: &Panel, password: &str, peer: &str) -> Answer {
    let body = json!({"email": EMAIL, "password": password}).to_string();
    panel.stranger("POST", "/api/login").peer(peer).json(&body).send().await
}

async fn login(panel: &Panel, password: &str) -> Answer {
    login_from(panel, password, "192.0.2.9:1").await
}

/// The cookie's value and its attributes in order.
fn cookie(answer: &Answer) -> (String, Vec<String>) {
    let text = answer.header("Set-Cookie").unwrap();
    let mut parts = text.split("; ").map(str::to_owned);
    let value = parts.next().unwrap().strip_prefix("session_token=").unwrap().to_owned();
    let mut attributes: Vec<_> = parts.collect();
    attributes.sort();
    (value, attributes)
}

#[actix_web::test]
async fn a_login_opens_a_session_whose_cookie_scripts_and_other_sites_do_not_get() {
    let panel = Panel::new().await;
    let answer = login(&panel, PASSWORD).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    let (token, attributes) = cookie(&answer);
    assert_eq!(attributes, ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Lax"]);
    let cookie = format!("session_token={token}");
    let session = panel
        .stranger("GET", "/api/session")
        .header("Cookie", &cookie)
        .send()
        .await;
    assert_eq!((session.status, &session.json()["email"]), (200, &json!(EMAIL)));
    assert_eq!(session.json()["expires_at"], json!("2030-01-01T12:00:00Z"));
    assert!(!session.body.contains(&token));
}

#[actix_web::test]
async fn over_https_the_cookie_is_for_https_only() {
    let panel = Panel::with(HttpSettings::new(BIND, Some("https://panel.example.test")).unwrap()).await;
    let (_, attributes) = cookie(&login(&panel, PASSWORD).await);
    assert_eq!(
        attributes,
        ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Lax", "Secure"]
    );
    let (_, attributes) = cookie(&panel.post("/api/logout").await);
    assert!(attributes.contains(&"Secure".to_owned()));
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() {
    let panel = Panel::new().await;
    let wrong = login(&panel, "wrong").await;
    let unknown = r#"{"email":"who@example.test","password":"correct horse battery"}"#;
    let unknown = panel.stranger("POST", "/api/login").json(unknown).send().await;
    assert_eq!((wrong.status, wrong.code().as_str()), (401, "unauthorized"));
    assert_eq!(wrong.body, unknown.body);
    assert!(wrong.header("Set-Cookie").is_none());
}

#[actix_web::test]
async fn after_five_failures_a_peer_waits_and_others_do_not() {
    let panel = Panel::new().await;
    for _ in 0..5 {
        assert_eq!(login(&panel, "wrong").await.status, 401);
    }
    let answer = login(&panel, PASSWORD).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("Retry-After"), Some("900"));
    assert_eq!(answer.json()["details"], json!({"retry_after_s": 900}));
    // Another port is the same peer, another address is not.
    assert_eq!(login_from(&panel, PASSWORD, "192.0.2.9:2").await.status, 429);
    assert_eq!(login_from(&panel, PASSWORD, "192.0.2.10:1").await.status, 200);
    panel.clock.advance(Duration::from_secs(900));
    assert_eq!(login(&panel, PASSWORD).await.status, 200);
}

#[actix_web::test]
async fn behind_a_trusted_proxy_each_client_waits_for_itself_and_others_cannot_name_one() {
    let settings = HttpSettings::new(BIND, None).unwrap();
    let panel = Panel::with(settings.with_trusted_proxies(["192.0.2.9".parse().unwrap()])).await;
    let ask = async |password: &str, peer: &str, list: &str| {
        let body = json!({"email": EMAIL, "password": password}).to_string();
        let ask = panel.stranger("POST", "/api/login").peer(peer).json(&body);
        ask.header("X-Forwarded-For", list).send().await.status
    };
    for number in 0..5 {
        let list = format!("198.51.100.{number}, 203.0.113.1");
        assert_eq!(ask("wrong", "192.0.2.9:1", &list).await, 401);
    }
    assert_eq!(ask(PASSWORD, "192.0.2.9:1", "203.0.113.1").await, 429);
    assert_eq!(ask(PASSWORD, "192.0.2.9:1", "203.0.113.2").await, 200);
    // An untrusted peer has one account of failures, whatever it says.
    for number in 0..5 {
        assert_eq!(
            ask("wrong", "192.0.2.8:1", &format!("203.0.113.{}", 10 + number)).await,
            401
        );
    }
    assert_eq!(ask(PASSWORD, "192.0.2.8:1", "203.0.113.99").await, 429);
}

#[actix_web::test]
async fn a_login_that_is_no_login_is_a_400_and_does_not_repeat_the_password() {
    let panel = Panel::new().await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        r#"{"email":"a@b"}"#,
        r#"{"email":"a@b","password":"hunter2","x":1}"#,
    ] {
        let answer = panel.stranger("POST", "/api/login").json(body).send().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{body}");
        assert!(!answer.body.contains("hunter2"));
    }
}

#[actix_web::test]
async fn a_logout_ends_the_session_and_takes_the_cookie_away() {
    let panel = Panel::new().await;
    let answer = panel.post("/api/logout").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"success": true})));
    let (value, attributes) = cookie(&answer);
    assert_eq!(
        (value.as_str(), attributes.contains(&"Max-Age=0".to_owned())),
        ("", true)
    );
    assert_eq!(panel.get("/api/session").await.status, 401);
    // Once more, and without any cookie, is no error.
    assert_eq!(panel.post("/api/logout").await.status, 200);
    assert_eq!(panel.stranger("POST", "/api/logout").send().await.status, 200);
}

#[actix_web::test]
async fn a_session_ends_by_itself() {
    let panel = Panel::new().await;
    panel.clock.advance(SESSION_LIFETIME - Duration::from_secs(1));
    assert_eq!(panel.get("/api/session").await.status, 200);
    panel.clock.advance(Duration::from_secs(1));
    assert_eq!(panel.get("/api/session").await.code(), "unauthorized");
}
