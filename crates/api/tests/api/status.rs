//! `/api/metrics`, `/metrics`, `/healthz`, `/readyz`.

use std::sync::atomic::Ordering;

use http_session::HttpSettings;
use serde_json::json;

use crate::panel::{BIND, Panel};

#[actix_web::test]
async fn the_numbers_are_those_of_jobs_and_nodes() {
    let panel = Panel::new().await;
    panel.create_node().await;
    panel.create_node().await;
    panel.claim().await;
    let numbers = json!({"jobs_running": 1, "jobs_queued": 1, "nodes_active": 0, "sites_total": 0});
    assert_eq!(panel.get("/api/metrics").await.json(), numbers);
    let answer = panel.get("/metrics").await;
    assert_eq!(
        answer.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "# TYPE pressluft_jobs_running gauge",
        "pressluft_jobs_running 1",
        "pressluft_sites_total 0",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line}");
    }
}

#[actix_web::test]
async fn programs_on_this_host_read_the_metrics_without_a_session() {
    let panel = Panel::new().await;
    let ask = |peer: &str| panel.stranger("GET", "/metrics").peer(peer);
    for peer in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
        assert_eq!(ask(peer).send().await.status, 200, "{peer}");
    }
    assert_eq!(ask("192.0.2.9:9").send().await.code(), "unauthorized");
    // Behind a proxy on this host everybody comes from loopback.
    assert_eq!(
        ask("127.0.0.1:9")
            .header("X-Forwarded-For", "192.0.2.9")
            .send()
            .await
            .code(),
        "unauthorized"
    );
}

#[actix_web::test]
async fn what_a_trusted_proxy_forwards_never_comes_from_this_host() {
    let proxies = ["127.0.0.1".parse().unwrap(), "192.0.2.9".parse().unwrap()];
    let settings = HttpSettings::new(BIND, None).unwrap().with_trusted_proxies(proxies);
    let panel = Panel::with(settings).await;
    let ask = |peer: &str| panel.stranger("GET", "/metrics").peer(peer);
    for peer in ["127.0.0.1:9", "192.0.2.9:9"] {
        for client in ["192.0.2.1", "127.0.0.1", "::1", ""] {
            let answer = ask(peer).header("X-Forwarded-For", client).send().await;
            assert_eq!(answer.code(), "unauthorized", "{client:?} from {peer}");
        }
    }
    assert_eq!(ask("192.0.2.9:9").send().await.status, 401);
    assert_eq!(ask("127.0.0.1:9").send().await.status, 200, "nobody forwarded it");
}

#[actix_web::test]
async fn the_server_is_alive_even_when_it_is_not_ready() {
    let panel = Panel::new().await;
    for path in ["/healthz", "/readyz"] {
        let answer = panel.stranger("GET", path).send().await;
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{path}");
    }
    panel.health.0.store(false, Ordering::SeqCst);
    assert_eq!(panel.stranger("GET", "/healthz").send().await.status, 200);
    let answer = panel.stranger("GET", "/readyz").send().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "internal"));
}
