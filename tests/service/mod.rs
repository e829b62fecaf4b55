//! A mount as a service: as mount(8) and service managers start, refresh and end
//! it.

mod control;
pub(crate) mod helper;
mod leftovers;
mod network;
mod notify;
mod signals;
mod single;
mod unwritable;
mod upkeep;
