//! Tests of a repository's whole life: every verb that changes it, over RocksDB and
//! over the twin that can lose power, stopped wherever it can be stopped, against a
//! plain model of what must be there.
//!
//! - [`script`]: one life with every verb in it, stopped at each call of the store.
//! - [`loss`]: content is lost, and its repair is stopped at each call.
//! - [`machine`]: any life, made up by proptest.
//! - [`home`], [`world`] and [`act`]: where a repository lives, what must be in it,
//!   and what is done to it.
//!
//! Each rig has canaries: the same with a rule broken, which must be noticed.
//!
//! Imports: everything below `cli`.

mod act;
mod home;
mod loss;
mod machine;
mod script;
mod world;
