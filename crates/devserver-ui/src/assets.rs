//! The stylesheet, the scripts and the icon. A page names each with a hash of its content, so that a browser may keep it
//! for ever and still never uses an old one.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse};
use http_session::ApiError;
use serde::Serialize;
use sha2::{Digest, Sha256};

struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const CSS: Asset = Asset {
    path: "/assets/app.css",
    media_type: "text/css; charset=utf-8",
    content: concat!(
        include_str!("../assets/frame.css"),
        include_str!("../assets/forms.css"),
        include_str!("../assets/parts.css"),
        include_str!("../assets/overview.css"),
        include_str!("../assets/nodes.css"),
        include_str!("../assets/sites.css"),
        include_str!("../assets/jobs.css"),
        include_str!("../assets/lists.css"),
        include_str!("../assets/small.css"),
    ),
};
const APP: Asset = Asset {
    path: "/assets/app.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("../assets/app.js"),
};
const MORPH: Asset = Asset {
    path: "/assets/morph.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("../assets/morph.js"),
};
const WORKER: Asset = Asset {
    path: "/assets/events-worker.js",
    media_type: "text/javascript; charset=utf-8",
    content: include_str!("../assets/events-worker.js"),
};
const ICON: Asset = Asset {
    path: "/assets/icon.svg",
    media_type: "image/svg+xml",
    content: include_str!("../assets/icon.svg"),
};

const ALL: [Asset; 5] = [CSS, APP, MORPH, WORKER, ICON];

/// The route's path.
pub(crate) const PATH: &str = "/assets/{name}";

/// The addresses of the assets, as pages name them.
#[derive(Serialize)]
pub(crate) struct AssetUrls {
    css: String,
    app: String,
    worker: String,
    icon: String,
}

impl AssetUrls {
    pub(crate) fn new() -> Self {
        let url = |asset: &Asset| format!("{}?v={}", asset.path, hash(asset));
        Self {
            css: url(&CSS),
            app: url(&APP),
            worker: url(&WORKER),
            icon: url(&ICON),
        }
    }
}

/// The first 16 digits of the content's SHA-256.
fn hash(asset: &Asset) -> String {
    let digest = Sha256::digest(asset.content);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /assets/{name}`
pub(crate) async fn show(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asset = ALL
        .iter()
        .find(|asset| asset.path == request.path())
        .ok_or_else(|| ApiError::not_found("file"))?;
    let hash = hash(asset);
    // Under the address of another version this one may not be kept.
    let kept = if request.query_string() == format!("v={hash}") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let tag = EntityTag::new_strong(hash);
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.contains(&tag.to_string()));
    let mut response = if is_known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((CACHE_CONTROL, kept))
        .insert_header((ETAG, tag.to_string()))
        .insert_header((CONTENT_TYPE, asset.media_type));
    Ok(if is_known {
        response.finish()
    } else {
        response.body(asset.content)
    })
}
