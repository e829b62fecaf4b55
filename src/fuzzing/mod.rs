//! Entry points for fuzzers: every decoder of bytes that may come from somebody
//! else, and what is built on them.
//!
//! Purpose: `fuzz/` (cargo-fuzz) and the driver of this module's tests call the
//! same functions, so that each input that was ever found can be run by both.
//! Each takes any bytes, must return without a panic, and checks what it can:
//! what was decoded is encoded to the very same bytes.
//!
//! Invariants: nothing of the program uses this module; it is no part of the
//! interface of the library.
//!
//! Imports: everything that decodes.

mod archives;
mod compared;
mod decoders;
mod forge;
mod logs;
mod model;
mod requests;
mod sealed;
mod source;
mod stores;
mod views;
mod words;

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;

/// A fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. `fuzz/fuzz_targets` has a file for each.
pub const TARGETS: [Target; 36] = [
    ("decode_tree", decoders::tree),
    ("decode_chunk_list", decoders::chunk_list),
    ("decode_manifest", decoders::manifest),
    ("decode_config", decoders::config),
    ("entry_name", decoders::entry_name),
    ("open_envelope", decoders::envelope),
    ("decode_locator", decoders::locator),
    ("decode_note", decoders::note),
    ("decode_deleted", decoders::deleted),
    ("decode_lease", decoders::lease),
    ("decode_scan_page", decoders::scan_page),
    ("parse_event", decoders::event),
    ("verify_log", logs::verify),
    ("open_sealed_envelope", decoders::sealed_envelope),
    ("open_key_file", decoders::key_file),
    ("read_paper_key", decoders::paper_key),
    ("decode_pending", decoders::pending),
    ("read_rollback_record", decoders::rollback_record),
    ("read_archive", archives::read_archive),
    ("parse_time", decoders::time),
    ("read_blocks", stores::blocks),
    ("open_store", stores::open_store),
    ("open_forged_store", stores::open_forged_store),
    ("prove_event_log", logs::prove),
    ("unseal_event", sealed::details),
    ("read_sealed_records", sealed::records),
    ("unlock_key_directory", sealed::key_directory),
    ("lock_holder", words::lock_holder),
    ("mount_helper", words::mount_helper),
    ("mount_requests", requests::mount_requests),
    ("read_configuration", words::configuration),
    ("parse_options", words::options),
    ("parse_patterns", words::patterns),
    ("view_operations", views::view_operations),
    ("view_model", compared::view_model),
    ("check_repository", views::check_repository),
];

/// Runs a target by its name.
///
/// # Panics
/// When the target does, which is what is looked for.
pub fn run(name: &str, input: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) {
        target(input);
    }
}
