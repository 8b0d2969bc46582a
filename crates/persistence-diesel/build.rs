//! The migrations are embedded: a changed one means a new build.
#![allow(clippy::print_stdout)] // It is how a build script speaks to cargo.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
