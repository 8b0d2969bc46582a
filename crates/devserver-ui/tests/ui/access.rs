//! Who may see what, and what every answer says.

use std::time::Duration;

use crate::panel::Panel;

#[tokio::test]
async fn a_page_without_a_session_leads_to_the_login_and_back() {
    let panel = Panel::new().await;
    let (node, job) = panel.create_node("first").await;
    for (path, place) in [
        ("/nodes".to_owned(), "/login?next=/nodes".to_owned()),
        (
            format!("/nodes?cursor={node}"),
            format!("/login?next=/nodes%3Fcursor%3D{node}"),
        ),
        (
            format!("/nodes/{node}?confirm=delete"),
            format!("/login?next=/nodes/{node}%3Fconfirm%3Ddelete"),
        ),
    ] {
        assert_eq!(panel.stranger("GET", &path).send().await.location(), place);
    }
    let before = panel.jobs.all_events().len();
    for path in [
        "/nodes".to_owned(),
        format!("/nodes/{node}/provision"),
        format!("/nodes/{node}/delete"),
        format!("/nodes/{node}/host-key"),
        format!("/nodes/{node}/check"),
        format!("/jobs/{job}/cancel"),
        format!("/jobs/{job}/retry"),
    ] {
        let answer = panel
            .stranger("POST", &path)
            .form("acquisition_source=local")
            .send()
            .await;
        let page = path.rsplit_once('/').map_or("", |(page, _)| page);
        let page = if page.is_empty() { &path } else { page };
        assert_eq!(answer.location(), format!("/login?next={page}&unsent=1"));
    }
    assert_eq!(panel.jobs.all_events().len(), before, "something was done");
    assert_eq!(panel.nodes.all().len(), 1);
}

#[tokio::test]
async fn a_session_that_ended_leads_to_the_login() {
    let panel = Panel::new().await;
    assert_eq!(panel.get("/nodes").await.status, 200);
    panel.clock.advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(panel.get("/nodes").await.location(), "/login?next=/nodes");
    assert_eq!(
        panel.post("/nodes", "acquisition_source=local").await.location(),
        "/login?next=/nodes&unsent=1"
    );
    assert!(panel.nodes.all().is_empty());
    let login = panel.stranger("GET", "/login?next=/nodes&unsent=1").send().await;
    assert!(login.has("what you just sent was not done") && login.has("name=\"next\" value=\"/nodes\""));
    let plain = panel.stranger("GET", "/login?next=/nodes").send().await;
    assert!(!plain.has("was not done"));
}

#[tokio::test]
async fn pages_load_and_send_nothing_from_or_to_another_origin() {
    let panel = Panel::new().await;
    for answer in [
        panel.stranger("GET", "/login").send().await,
        panel.get("/nodes").await,
        panel.get("/no-such-page").await,
    ] {
        let policy = answer.header("Content-Security-Policy").unwrap();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "worker-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(
                policy.split("; ").any(|part| part == directive),
                "{directive}: {policy}"
            );
        }
    }
}

#[tokio::test]
async fn another_origins_form_does_nothing() {
    let panel = Panel::new().await;
    for (name, value) in [
        ("Origin", "http://evil.test"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let answer = panel
            .ask("POST", "/nodes")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header(name, value)
            .send()
            .await;
        assert_eq!(answer.status, 403, "{name}: {value}");
        answer.assert_has(&["another origin"]);
    }
    assert!(panel.nodes.all().is_empty());
    assert_eq!(
        panel.ask("GET", "/nodes").host("evil.test:8080").send().await.status,
        403
    );
}

#[tokio::test]
async fn an_unknown_path_is_a_page_for_browsers_and_json_for_programs() {
    let panel = Panel::new().await;
    for path in ["/no-such-page", "/nodes/x/y/z", "/assets/none.css", "/environments"] {
        let page = panel.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        page.assert_has(&[
            "<h1>Not found</h1>",
            "<a href=\"/\">the overview</a>",
            "<a href=\"/jobs\">jobs</a>",
        ]);
    }
    let program = panel.ask("GET", "/api/none").send().await;
    assert_eq!(
        (program.status, program.header("Content-Type")),
        (404, Some("application/json"))
    );
    let put = panel.ask("PUT", "/nodes").send().await;
    assert_eq!((put.status, put.header("Allow")), (405, Some("GET, HEAD, POST")));
}

#[tokio::test]
async fn the_first_page_is_the_overview() {
    let panel = Panel::new().await;
    panel
        .get("/")
        .await
        .assert_has(&["<a href=\"/\" aria-current=\"page\">Overview</a>"]);
    let head = panel.ask("HEAD", "/nodes").send().await;
    assert_eq!(head.status, 200);
}
