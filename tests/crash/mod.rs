//! kill -9 at any moment: what was there stays, and no hand is needed.

mod kill;
mod mixed;
mod power;
