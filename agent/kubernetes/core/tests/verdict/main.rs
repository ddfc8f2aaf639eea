//! Verdicts against live objects: the cases of `tests/cases`, and properties that hold for all of them.
#![allow(clippy::disallowed_methods, reason = "a test reads its cases from files")]

mod bundle;
mod cases;
mod docs;
mod kinds;
#[path = "../mutations/places.rs"]
mod places;
mod properties;
