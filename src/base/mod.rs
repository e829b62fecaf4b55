//! The ground that every layer stands on: ids, names, limits, codec, time,
//! calendar and progress.
//!
//! Imports: nothing of ours.

pub mod calendar;
pub mod codec;
pub mod format;
pub mod hash;
pub mod id;
pub mod limits;
pub mod name;
pub mod progress;
pub mod sequences;
pub mod ticks;
pub mod time;
