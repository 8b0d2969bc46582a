//! Small archives, and a server of them on 127.0.0.1.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::Notify;

pub(crate) fn sha256(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn wordpress_tar(version: &str) -> Vec<u8> {
    let text = format!("<?php\n$wp_version = '{version}';\n");
    tar_of(&[
        ("wordpress/index.php", "<?php\n"),
        ("wordpress/wp-includes/version.php", &text),
    ])
}

pub(crate) fn wordpress_tgz(version: &str) -> Vec<u8> {
    gzip(&wordpress_tar(version))
}

pub(crate) fn tgz_with(name: &str) -> Vec<u8> {
    let version = ("wordpress/wp-includes/version.php", "$wp_version = '7.1.1';\n");
    gzip(&tar_of(&[version, (name, "x")]))
}

pub(crate) fn phar() -> Vec<u8> {
    b"#!/usr/bin/env php\n<?php __HALT_COMPILER(); ?>\ncontent".to_vec()
}

#[derive(Default)]
struct Served {
    files: Mutex<HashMap<String, Vec<u8>>>,
    cut_short: Mutex<Option<String>>,
    stalling: Mutex<Option<String>>,
    stalled: Notify,
    asked: AtomicUsize,
    ended: AtomicBool,
}

/// Serves files until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    served: Arc<Served>,
}

impl Server {
    /// WordPress 7.1.1 and WP-CLI 2.12.0, with their checksums.
    pub(crate) fn good() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            served: Arc::default(),
        };
        let served = Arc::clone(&server.served);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.ended.load(Ordering::SeqCst) {
                    return;
                }
                let served = Arc::clone(&served);
                std::thread::spawn(move || answer(&stream.unwrap(), &served));
            }
        });
        let phar_sum = format!("{:x}\n", Sha512::digest(phar())).into_bytes();
        server
            .publishing(wordpress_tgz("7.1.1"))
            .with("/v2.12.0/wp-cli-2.12.0.phar", Some(phar()))
            .with("/v2.12.0/wp-cli-2.12.0.phar.sha512", Some(phar_sum))
    }

    /// Another WordPress, with its checksum.
    pub(crate) fn publishing(self, tgz: Vec<u8>) -> Self {
        let sum = format!("{:x}", Sha1::digest(&tgz)).into_bytes();
        self.with("/wordpress-7.1.1.tar.gz", Some(tgz))
            .with("/wordpress-7.1.1.tar.gz.sha1", Some(sum))
    }

    /// Another file, or none.
    pub(crate) fn with(self, path: &str, body: Option<Vec<u8>>) -> Self {
        let mut files = self.served.files.lock().unwrap();
        match body {
            Some(body) => files.insert(path.to_owned(), body),
            None => files.remove(path),
        };
        drop(files);
        self
    }

    /// Ends the connection in the middle of this one.
    pub(crate) fn cut_short(self, path: &str) -> Self {
        *self.served.cut_short.lock().unwrap() = Some(path.to_owned());
        self
    }

    /// Says nothing more in the middle of this one.
    pub(crate) fn stalling(self, path: &str) -> Self {
        *self.served.stalling.lock().unwrap() = Some(path.to_owned());
        self
    }

    /// Returns when it says nothing more.
    pub(crate) async fn stalled(&self) {
        self.served.stalled.notified().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        self.served.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.served.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(mut stream: &TcpStream, served: &Served) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        line.clear();
    }
    served.asked.fetch_add(1, Ordering::SeqCst);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let body = served.files.lock().unwrap().get(path).cloned();
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let stalls = served.stalling.lock().unwrap().as_deref() == Some(path);
    let cut = stalls || served.cut_short.lock().unwrap().as_deref() == Some(path);
    stream
        .write_all(if cut { &body[..body.len() / 2] } else { &body })
        .unwrap();
    if stalls {
        served.stalled.notify_one();
        // Until the other end is gone.
        let _ = reader.read_line(&mut line);
    }
}
