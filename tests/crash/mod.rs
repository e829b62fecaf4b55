//! kill -9 and power cuts at any moment: what was there stays, and no hand is
//! needed.

mod kill;
mod life;
mod mixed;
mod power;
mod repair;

pub(crate) use life::{Life, rounds};
