//! Who may ask what, under which name, and from where.

use http_session::HttpSettings;

use crate::panel::{BIND, Panel};
use crate::schema::DOCUMENT;

/// The endpoints that anybody may ask; all others need a session.
const PUBLIC: [&str; 4] = ["POST /api/login", "POST /api/logout", "GET /healthz", "GET /readyz"];

/// Every endpoint of the document, an id in the place of `{id}`.
fn endpoints() -> Vec<(String, String)> {
    let id = domain_kernel::NodeId::generate().to_string();
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let endpoints = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (method.to_uppercase(), path.replace("{id}", &id)))
    });
    endpoints.collect()
}

#[actix_web::test]
async fn without_a_session_only_the_listed_endpoints_answer() {
    let panel = Panel::new().await;
    let mut seen = Vec::new();
    for (method, path) in endpoints() {
        for cookie in [None, Some("session_token=wrong"), Some("session_token=")] {
            let ask = panel.stranger(&method, &path);
            let ask = match cookie {
                Some(cookie) => ask.header("Cookie", cookie),
                None => ask,
            };
            let answer = ask.send().await;
            let endpoint = format!("{method} {path}");
            if PUBLIC.contains(&endpoint.as_str()) {
                assert_ne!(answer.status, 401, "{endpoint}");
                seen.push(endpoint);
            } else {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (401, "unauthorized"),
                    "{endpoint}"
                );
            }
        }
    }
    seen.dedup();
    assert_eq!(seen.len(), PUBLIC.len());
    panel.assert_nothing_was_written();
}

#[actix_web::test]
async fn the_document_says_which_endpoints_need_a_session() {
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_public = PUBLIC.contains(&format!("{} {path}", method.to_uppercase()).as_str());
            assert_eq!(
                operation["security"].as_array().unwrap().is_empty(),
                is_public,
                "{method} {path}"
            );
        }
    }
}

#[actix_web::test]
async fn another_method_of_a_path_is_a_405_that_names_the_right_ones() {
    let panel = Panel::new().await;
    let is_served = |method: &str, path: &str| {
        let known = endpoints();
        known
            .iter()
            .any(|(other, of)| other == method && without_id(of) == without_id(path))
    };
    for (_, path) in endpoints() {
        let others = ["PUT", "PATCH", "OPTIONS"].into_iter();
        for method in others.filter(|method| !is_served(method, &path)) {
            let answer = panel.ask(method, &path).send().await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
            let allowed = answer.header("Allow").unwrap();
            for (method, other) in endpoints() {
                let is_same = path.len() == other.len() && without_id(&path) == without_id(&other);
                assert!(!is_same || allowed.contains(&method), "{path}: {allowed}");
            }
        }
    }
    let answer = panel.ask("DELETE", "/api/nodes").send().await;
    assert_eq!(answer.header("Allow"), Some("GET, HEAD, POST"));
    assert_eq!(panel.post("/api/session").await.header("Allow"), Some("GET, HEAD"));
}

fn without_id(path: &str) -> String {
    path.split('/')
        .map(|part| if part.len() == 36 { "*" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[actix_web::test]
async fn the_head_of_a_resource_is_that_of_its_get() {
    let panel = Panel::new().await;
    assert_eq!(panel.ask("HEAD", "/api/nodes").send().await.status, 200);
    assert_eq!(panel.ask("HEAD", "/healthz").send().await.status, 200);
}

#[actix_web::test]
async fn unknown_paths_are_a_404() {
    let panel = Panel::new().await;
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/nope",
        "/api/nodes/",
        "/healthz/x",
        "/..%2fetc",
        "/api/nodes/x/y/z",
    ] {
        let answer = panel.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[actix_web::test]
async fn an_id_that_is_none_names_nothing() {
    let panel = Panel::new().await;
    for id in ["x", "0", "%00", "%ff", "..", "{id}", "01970000000070008000000000000000"] {
        for (method, path) in [
            ("GET", format!("/api/nodes/{id}")),
            ("DELETE", format!("/api/nodes/{id}")),
            ("POST", format!("/api/nodes/{id}/provision")),
            ("GET", format!("/api/jobs/{id}")),
            ("GET", format!("/api/jobs/{id}/events")),
            ("GET", format!("/api/sites/{id}")),
            ("POST", format!("/api/sites/{id}/reset")),
            ("GET", format!("/api/environments/{id}")),
            ("POST", format!("/api/environments/{id}/wordpress-login")),
            ("DELETE", format!("/api/backups/{id}")),
        ] {
            let answer = panel.ask(method, &path).send().await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (404, "not_found"),
                "{method} {path}"
            );
        }
    }
}

#[actix_web::test]
async fn a_request_for_another_host_is_refused_whatever_it_asks() {
    let panel = Panel::new().await;
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"] {
        assert_eq!(
            panel.ask("GET", "/api/nodes").host(Some(host)).send().await.status,
            200,
            "{host}"
        );
    }
    for host in [
        Some("evil.test"),
        Some("evil.test:8080"),
        Some("localhost"),
        Some("localhost:81"),
        Some("a b"),
        None,
    ] {
        for path in ["/api/nodes", "/api/login", "/metrics", "/nope"] {
            let answer = panel.ask("GET", path).host(host).peer("127.0.0.1:9").send().await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "forbidden"),
                "{host:?} {path}"
            );
        }
        // The health checks tell nothing, and who asks them often knows the server by another name.
        assert_eq!(panel.stranger("GET", "/healthz").host(host).send().await.status, 200);
    }
    let twice = panel
        .ask("GET", "/api/nodes")
        .host(None)
        .header("Host", BIND)
        .header("Host", "evil.test");
    assert_eq!(twice.send().await.status, 403);
}

#[actix_web::test]
async fn the_public_url_is_a_name_of_the_server_too() {
    let panel = Panel::with(HttpSettings::new(BIND, Some("https://panel.example.test")).unwrap()).await;
    for host in ["panel.example.test", "panel.example.test:443", BIND] {
        assert_eq!(
            panel.ask("GET", "/api/nodes").host(Some(host)).send().await.status,
            200,
            "{host}"
        );
    }
    assert_eq!(
        panel
            .ask("GET", "/api/nodes")
            .host(Some("other.example.test"))
            .send()
            .await
            .status,
        403
    );
    let own = panel.ask("POST", "/api/logout").host(Some("panel.example.test"));
    assert_eq!(
        own.header("Origin", "https://panel.example.test").send().await.status,
        200
    );
}

#[actix_web::test]
async fn a_page_of_another_origin_changes_nothing() {
    let panel = Panel::new().await;
    for (name, value) in [
        ("Origin", "https://evil.test"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:3000"),
        ("Origin", "http://localhost:8080"),
        ("Origin", ""),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let body = r#"{"acquisition_source":"local"}"#;
        let answer = panel
            .ask("POST", "/api/nodes")
            .json(body)
            .header(name, value)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "forbidden"),
            "{name}: {value}"
        );
        let login = panel
            .stranger("POST", "/api/login")
            .json("{}")
            .header(name, value)
            .send()
            .await;
        assert_eq!(login.status, 403, "{name}: {value}");
        let read = panel.ask("GET", "/api/nodes").header(name, value).send().await;
        assert_eq!(read.status, 200, "{name}: {value}");
    }
    panel.assert_nothing_was_written();
}

#[actix_web::test]
async fn a_page_of_its_own_and_a_program_are_served() {
    let panel = Panel::new().await;
    for (name, value) in [
        ("Origin", "http://127.0.0.1:8080"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Site", "none"),
        ("Accept", "*/*"),
    ] {
        let body = r#"{"acquisition_source":"local"}"#;
        let answer = panel
            .ask("POST", "/api/nodes")
            .json(body)
            .header(name, value)
            .send()
            .await;
        assert_eq!(answer.status, 202, "{name}: {value}");
    }
}
