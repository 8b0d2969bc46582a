//! The provider against scripted programs and a scripted SSH; its connections go to sockets of the tests' own.

mod acquire;
mod keys;
mod release;
mod support;
