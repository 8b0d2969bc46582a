//! Real machines on this host. Needs root and what `pressluft doctor` asks for; a host that cannot run machines fails these
//! tests with the reason and the remedy. `PRESSLUFT_TEST_CACHE_DIR` names the image cache (default: `target/test-cache`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's helpers fail the test"
)]

mod installation;
mod real_machine;
mod real_machine_conformance;
mod real_machine_images;
mod real_machine_images_refused;
