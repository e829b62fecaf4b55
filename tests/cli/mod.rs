//! Each command at its work.

mod commands;
mod naming;
mod usage;
