//! Damage on real files: what `check` finds, what can still be read, what
//! `repair` makes of it, and what the next `create` heals.

mod blocks;
mod cancelled;
mod gaps;
mod matrix;
mod objects;
mod tables;
mod wrong_type;
