//! Looking for files and at directories without a mount: `find`, `versions`,
//! `ls`, `tree`, `list`, `stats`.

mod listing;
mod scale;
mod search;
mod stats;
mod versions;
