//! Bad input and bad luck: the documented code, one clear line, and nothing
//! lost.

mod at_once;
mod bad_place;
mod busy;
mod clock;
mod damage;
mod disk_errors;
mod filling;
mod full_disk;
mod input;
mod pseudo;
mod read_only;
mod sources;

pub(crate) use damage::{VICTIM, damaged};
