//! What a mounted snapshot shows is what the source was.

mod copies;
mod generated;
mod labels;
mod lifecycle;
mod mounted;
mod read_only;
mod system;
