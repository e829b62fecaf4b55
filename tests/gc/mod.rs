//! `gc` returns what nothing reaches, and nothing else.

mod beside_a_mount;
mod cost;
mod full_disk;
mod killed;
mod reclaim;
mod small_files;
