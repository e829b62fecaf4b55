//! Repositories that an attacker made, and places that an attacker prepared:
//! every command keeps its bounds of memory and time, ends with a documented
//! code, writes nowhere else, steers no terminal, and still serves what is whole.

mod bombs;
mod forge;
mod graphs;
mod numbers;
mod places;
mod records;
mod run;
mod texts;
mod users;
mod verbs;
