//! `gc` returns what nothing reaches, and nothing else.

mod beside_a_mount;
mod reclaim;
