//! `create`: what it takes, what it reads again, and what it says.

mod denied;
mod hooks;
mod incremental;
mod killed;
mod lists;
mod marks;
mod metadata;
mod outcomes;
mod place;
mod profiles;
mod rounds;
mod selection;
mod streams;
mod swaps;
mod wide;
