//! The image of a provisioned machine in the cache that all tests share, so that most of them need not provision one from
//! nothing. Made once in a run of the tests; the bare path has tests of its own.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use nodes_domain::RuntimeImage;
use rustix::fs::{FlockOperation, flock};

use crate::Installation;

/// Sees to it that the cache holds an image of today's roles, and waits where another test is making it.
pub fn warm_cache() {
    let cache = machines::cache_dir();
    let lock = File::create(cache.join("warm.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    // Without nextest each test sees to it anew, which takes seconds where the image is there.
    let run = std::env::var("NEXTEST_RUN_ID").unwrap_or_default();
    let marker = cache.join("warm.run");
    if !run.is_empty() && std::fs::read_to_string(&marker).is_ok_and(|known| known == run) {
        return;
    }
    let installation = Installation::new();
    let server = installation.start();
    let client = server.client();
    let (node, job) = client.create_local_node();
    client.success_of(&job, Duration::from_secs(600));
    let gone = client.expect(202, "DELETE", &format!("/api/nodes/{node}"), None);
    client.success_of(gone["job_id"].as_str().unwrap(), Duration::from_secs(60));
    server.stop();
    std::fs::write(marker, run).unwrap();
}

/// The newest image of the cache that [`warm_cache`] saw to.
pub fn runtime_image() -> RuntimeImage {
    warm_cache();
    let images = std::fs::read_dir(machines::cache_dir().join("images")).unwrap();
    let files = images.map(|entry| entry.unwrap().path().join("image.json"));
    let runtime = |path: &PathBuf| path.to_string_lossy().contains("/runtime-") && path.is_file();
    let newest = files
        .filter(runtime)
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .expect("an image of a provisioned machine");
    let text = std::fs::read_to_string(newest).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    RuntimeImage {
        key: record["key"].as_str().expect("the image's key").to_owned(),
        secrets: Vec::new(),
    }
}
