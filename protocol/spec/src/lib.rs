//! The pipeline language: YAML text to a spanned tree to the model, with every error found at once.
#![forbid(unsafe_code)]

pub mod suggest;
