//! Integration tests: the real binary, real FUSE mounts, real tools.
//!
//! One binary holds every theme, since RocksDB links slowly. `support` has what
//! the themes share: a repository, a mount, a generator of trees and a
//! comparator. What a machine cannot run says so and is skipped; with
//! `ICECORE_REQUIRE_FUSE` or `ICECORE_REQUIRE_ROOT` set it fails instead.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise and says what it skips"
)]

mod support;

mod archive;
mod audit;
mod cli;
mod crash;
mod create;
mod damage;
mod diff;
mod encryption;
mod failure;
mod fidelity;
mod find;
mod frozen;
mod gc;
mod hostile;
mod mount;
mod prune;
mod restore;
mod service;
mod views;
