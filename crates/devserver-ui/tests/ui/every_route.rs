//! What holds for every path of the pages, read from the routes themselves: none is left out.

use domain_kernel::{JobId, NodeId, SiteId};

use crate::panel::{Answer, Panel};
use crate::site_support::Shop;

const ROUTES: &str = include_str!("../../src/routes.rs");

/// A path as the routes declare it.
struct Declared {
    pattern: &'static str,
    allowed: &'static str,
}

impl Declared {
    fn takes(&self, method: &str) -> bool {
        self.allowed.split(", ").any(|allowed| allowed == method)
    }

    /// Whether everybody may ask for it.
    fn is_open(&self) -> bool {
        matches!(self.pattern, "/login" | "/logout" | "/assets/{name}")
    }

    /// The path of something that is there.
    fn path(&self, shop: Shop) -> String {
        let id = match self.pattern.split('/').nth(1) {
            Some("nodes") => shop.node.to_string(),
            Some("sites") => shop.site.to_string(),
            _ => shop.job.to_string(),
        };
        self.with_id(&id)
    }

    fn with_id(&self, id: &str) -> String {
        self.pattern.replace("{id}", id).replace("{name}", "app.css")
    }

    fn has_id(&self) -> bool {
        self.pattern.contains("{id}")
    }
}

/// Every path: `page(config, "/path", "GET, HEAD", ...)` or `form(config, "/path", ...)`.
fn routes() -> Vec<Declared> {
    let calls =
        ["page(config, ", "form(config, "].map(|call| ROUTES.match_indices(call).map(move |found| (found.0, call)));
    let found: Vec<Declared> = calls
        .into_iter()
        .flatten()
        .filter_map(|(at, call)| {
            let rest = &ROUTES[at + call.len()..];
            // The helper that the others call hands its own arguments on.
            if rest.starts_with("path,") {
                return None;
            }
            let pattern = rest
                .strip_prefix('"')
                .map_or("/assets/{name}", |rest| rest.split('"').next().unwrap());
            let allowed = match call {
                "form(config, " => "POST",
                _ => rest.split('"').find(|text| text.starts_with("GET")).unwrap(),
            };
            Some(Declared { pattern, allowed })
        })
        .collect();
    assert_eq!(
        found.len() + 1,
        ROUTES.matches("(config, ").count(),
        "a path is declared in another way"
    );
    assert!(found.len() > 25);
    found
}

fn text(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("Location"))
}

/// A panel with a site, and how many events there are before anybody asks.
async fn panel() -> (Panel, Shop, usize) {
    let panel = Panel::new().await;
    let shop = panel.shop().await;
    let events = panel.jobs.all_events().len();
    (panel, shop, events)
}

#[tokio::test]
async fn every_page_is_there_and_can_be_asked_for_its_head() {
    let (panel, shop, _) = panel().await;
    for route in routes().iter().filter(|route| route.takes("GET")) {
        let path = route.path(shop);
        let page = panel.get(&path).await;
        // Who is logged in has no use for the login.
        let expected = if path == "/login" { 303 } else { 200 };
        assert_eq!(page.status, expected, "{path}: {}", page.body);
        let head = panel.ask("HEAD", &path).send().await;
        assert_eq!(text(&head), text(&page), "{path}");
        assert_eq!(head.header("Content-Type"), page.header("Content-Type"), "{path}");
        if path != "/login" && !path.starts_with("/assets/") {
            assert_eq!(page.body.matches("<h1").count(), 1, "{path}");
            assert_eq!(page.body.matches("aria-current=\"page\"").count(), 1, "{path}");
        }
    }
}

#[tokio::test]
async fn every_other_method_is_refused_with_those_that_there_are() {
    let (panel, shop, events) = panel().await;
    for route in routes() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if route.takes(method) {
                continue;
            }
            let path = route.path(shop);
            let answer = panel.ask(method, &path).form("").send().await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("Allow"), Some(route.allowed), "{method} {path}");
        }
    }
    assert_eq!(panel.jobs.all_events().len(), events);
}

#[tokio::test]
async fn every_page_but_the_login_needs_a_session() {
    let (panel, shop, events) = panel().await;
    for route in routes() {
        let path = route.path(shop);
        for method in ["GET", "HEAD", "POST"] {
            if !route.takes(method) {
                continue;
            }
            let ask = panel.stranger(method, &path);
            let answer = if method == "POST" {
                ask.form("").send().await
            } else {
                ask.send().await
            };
            if route.is_open() {
                assert_ne!(answer.header("Location"), Some("/login?next=/login"), "{path}");
                continue;
            }
            let login = match method {
                "POST" => {
                    let parts: Vec<_> = path.split('/').take(3).collect();
                    format!("/login?next={}&unsent=1", parts.join("/"))
                }
                _ => format!("/login?next={path}"),
            };
            assert_eq!(text(&answer), (303, Some(login.as_str())), "{method} {path}");
            assert!(!answer.has("Corner shop") && !answer.has("web-1"), "{path}");
        }
    }
    assert_eq!(panel.jobs.all_events().len(), events, "something was done");
}

#[tokio::test]
async fn every_form_of_another_origin_is_refused() {
    let (panel, shop, events) = panel().await;
    for route in routes() {
        let path = route.path(shop);
        for (name, value) in [
            ("Origin", "http://evil.test"),
            ("Origin", "https://127.0.0.1:8080"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
        ] {
            let ask = panel.ask("POST", &path);
            let ask = ask.header("Content-Type", "application/x-www-form-urlencoded");
            let answer = ask.header(name, value).send().await;
            assert_eq!(answer.status, 403, "POST {path} with {name}: {value}");
        }
        for method in ["GET", "POST"] {
            let answer = panel.ask(method, &path).host("evil.test").send().await;
            assert_eq!(answer.status, 403, "{method} {path} for another host");
        }
    }
    assert_eq!(panel.jobs.all_events().len(), events, "something was done");
    // The session has not ended either.
    assert_eq!(panel.get("/nodes").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_a_404_on_every_path_that_names_something() {
    let (panel, _, events) = panel().await;
    let unknown = [
        NodeId::generate().to_string(),
        SiteId::generate().to_string(),
        JobId::generate().to_string(),
        "x".to_owned(),
    ];
    for route in routes().iter().filter(|route| route.has_id()) {
        for id in &unknown {
            let path = route.with_id(id);
            let answer = if route.takes("GET") {
                panel.get(&path).await
            } else {
                let form = format!(
                    "environment_id={id}&backup_id={id}&confirm=x&name=x&slug=x&type=staging&source_environment_id={id}\
                     &backup_scope=full&fingerprint=SHA256:{}",
                    "A".repeat(43)
                );
                panel.post(&path, &form).await
            };
            assert_eq!(answer.status, 404, "{path}: {}", answer.body);
            answer.assert_has(&["<h1>Not found</h1>"]);
        }
    }
    assert_eq!(panel.jobs.all_events().len(), events);
}
