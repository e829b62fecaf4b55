//! The ground that every layer stands on: ids, names, limits, codec, time,
//! calendar, progress, opening files of one's own, memory for secrets, and which file
//! systems are made up.
//!
//! Imports: nothing of ours.

pub mod calendar;
pub mod codec;
pub mod files;
pub mod format;
pub mod hash;
pub mod id;
pub mod limits;
pub mod locked;
pub mod mounts;
pub mod name;
pub mod progress;
pub mod sequences;
pub mod ticks;
pub mod time;
