//! Repositories that an attacker made, and places that an attacker prepared:
//! every command keeps its bounds of memory and time, ends with a documented
//! code, writes nowhere else, steers no terminal, and still serves what is whole.

mod archives;
mod attributes;
mod bombs;
mod closed;
mod configs;
mod forge;
mod graphs;
mod ground;
mod index;
mod leases;
mod links;
mod logs;
mod numbers;
mod pages;
mod people;
mod permissions;
mod places;
mod records;
mod rollbacks;
mod run;
mod sources;
mod tables;
mod terminals;
mod texts;
mod users;
mod verbs;
