//! Bad input and bad luck: the documented code, one clear line, and nothing
//! lost.

mod busy;
mod damage;
mod full_disk;
mod input;
mod pseudo;
mod sources;

pub(crate) use damage::{VICTIM, damaged};
