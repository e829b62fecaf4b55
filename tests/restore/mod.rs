//! `restore`: what comes out equals what went in, whatever is in the way.

mod damage;
mod denied;
mod existing;
mod full_disk;
mod hostile;
mod in_place;
mod interrupted;
mod place;
mod selection;
mod unchanged;
mod whole;
