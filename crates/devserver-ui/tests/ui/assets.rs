//! The stylesheet, the scripts and the icon.

use crate::panel::Panel;

const ALL: [(&str, &str); 5] = [
    ("/assets/app.css", "text/css; charset=utf-8"),
    ("/assets/app.js", "text/javascript; charset=utf-8"),
    ("/assets/events-worker.js", "text/javascript; charset=utf-8"),
    ("/assets/icon.svg", "image/svg+xml"),
    ("/assets/morph.js", "text/javascript; charset=utf-8"),
];

/// What no page names: another script does, without a hash.
const UNNAMED: &str = "/assets/morph.js";

#[tokio::test]
async fn an_asset_under_its_hash_is_kept_for_ever_and_under_another_is_asked_for_again() {
    let panel = Panel::new().await;
    let page = panel.get("/nodes").await;
    for (path, media_type) in ALL.into_iter().filter(|(path, _)| *path != UNNAMED) {
        let version = page.value_of(&format!("\"{path}?v="));
        let asset = panel.stranger("GET", &format!("{path}?v={version}")).send().await;
        assert_eq!((asset.status, asset.header("Content-Type")), (200, Some(media_type)));
        assert_eq!(
            asset.header("Cache-Control"),
            Some("public, max-age=31536000, immutable")
        );
        for other in ["", "?v=0", "?v="] {
            let asset = panel.stranger("GET", &format!("{path}{other}")).send().await;
            assert_eq!(
                (asset.status, asset.header("Cache-Control")),
                (200, Some("no-cache")),
                "{path}{other}"
            );
        }
    }
}

#[tokio::test]
async fn an_asset_that_the_browser_has_is_not_sent_again() {
    let panel = Panel::new().await;
    for (path, _) in ALL {
        let asset = panel.stranger("GET", path).send().await;
        let tag = asset.header("ETag").unwrap();
        let again = panel.stranger("GET", path).header("If-None-Match", tag).send().await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        let old = panel
            .stranger("GET", path)
            .header("If-None-Match", "\"0\"")
            .send()
            .await;
        assert_eq!(old.status, 200);
    }
}

#[tokio::test]
async fn the_workers_script_may_connect() {
    let panel = Panel::new().await;
    let worker = panel.stranger("GET", "/assets/events-worker.js").send().await;
    assert!(
        worker
            .header("Content-Security-Policy")
            .unwrap()
            .contains("connect-src 'self'")
    );
}
