//! See `src/fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| icecore::fuzzing::run("open_forged_store", input));
