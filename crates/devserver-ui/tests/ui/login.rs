//! Logging in and out.

use std::time::Duration;

use crate::panel::{EMAIL, PASSWORD, Panel};

const RIGHT: &str = "email=ops%40example.test&password=correct+horse+battery";

#[tokio::test]
async fn a_right_password_opens_a_session_and_leads_to_the_overview() {
    let panel = Panel::new().await;
    let asked = panel.stranger("GET", "/login").send().await;
    assert_eq!(asked.status, 200);
    asked.assert_has(&["name=\"email\"", "name=\"password\"", "name=\"next\" value=\"/\""]);
    assert!(!asked.has("role=\"alert\""));

    let answer = panel.stranger("POST", "/login").form(RIGHT).send().await;
    assert_eq!(answer.location(), "/");
    let cookie = answer.header("Set-Cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );

    let session = cookie.split(';').next().unwrap();
    let nodes = panel.stranger("GET", "/nodes").header("Cookie", session).send().await;
    assert_eq!(nodes.status, 200);
    nodes.assert_has(&[EMAIL, "Log out"]);
}

#[tokio::test]
async fn a_wrong_password_says_so_and_loses_nothing_that_was_entered() {
    let panel = Panel::new().await;
    let form = "email=ops%40example.test&password=wrong&next=%2Fnodes%3Fcursor%3Dx";
    let answer = panel.stranger("POST", "/login").form(form).send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.text_of("role=\"alert\""),
        "The e-mail address or the password is wrong."
    );
    answer.assert_has(&["value=\"ops@example.test\"", "name=\"next\" value=\"/nodes?cursor=x\""]);
    assert!(!answer.has("wrong\"") && answer.header("Set-Cookie").is_none());
}

#[tokio::test]
async fn too_many_failures_say_when_to_come_back() {
    let panel = Panel::new().await;
    let wrong = "email=ops%40example.test&password=wrong";
    for _ in 0..5 {
        assert_eq!(panel.stranger("POST", "/login").form(wrong).send().await.status, 401);
    }
    let refused = panel.stranger("POST", "/login").form(RIGHT).send().await;
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert!(
        refused
            .text_of("role=\"alert\"")
            .starts_with("Too many failed logins. Come back in ")
    );
    refused.assert_has(&["value=\"ops@example.test\"", " UTC."]);

    panel.clock.advance(Duration::from_secs(seconds + 1));
    assert_eq!(
        panel.stranger("POST", "/login").form(RIGHT).send().await.location(),
        "/"
    );
}

#[tokio::test]
async fn a_login_leads_on_to_pages_of_this_server_only() {
    let panel = Panel::new().await;
    for (next, place) in [
        ("%2Fnodes%3Fcursor%3Da", "/nodes?cursor=a"),
        ("https%3A%2F%2Fevil.test%2F", "/"),
        ("%2F%2Fevil.test", "/"),
        ("%2F%5Cevil.test", "/"),
        ("%2F%09%2Fevil.test", "/"),
        ("javascript%3Aalert(1)", "/"),
    ] {
        let form = format!("{RIGHT}&next={next}");
        assert_eq!(
            panel.stranger("POST", "/login").form(&form).send().await.location(),
            place
        );
        let shown = panel.stranger("GET", &format!("/login?next={next}")).send().await;
        assert_eq!(shown.value_of("name=\"next\" value=\""), place, "{next}");
        // Who is logged in already is led on as well.
        assert_eq!(panel.get(&format!("/login?next={next}")).await.location(), place);
    }
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let panel = Panel::new().await;
    let out = panel.post("/logout", "").await;
    assert_eq!(out.location(), "/login");
    assert!(out.header("Set-Cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(panel.get("/nodes").await.location(), "/login?next=/nodes");
    // Twice is once.
    assert_eq!(panel.post("/logout", "").await.location(), "/login");
}

#[tokio::test]
async fn a_form_without_its_fields_is_refused_like_a_wrong_password() {
    let panel = Panel::new().await;
    assert_eq!(panel.stranger("POST", "/login").form("").send().await.status, 401);
    let long = format!("email=a&password={}", "x".repeat(64 * 1024));
    let answer = panel.stranger("POST", "/login").form(&long).send().await;
    assert_eq!(answer.status, 400);
    answer.assert_has(&["<h1>", "The form could not be read."]);
    assert!(!answer.has(PASSWORD));
}
