//! What tests of the whole system share: a lab of real processes driven through the public interface, a
//! server of artifacts, a balancer with traffic, and archives of a real small service.
//!
//! Deliberately not here: any crate of the product. Whoever uses this sees what a user sees.
#![allow(clippy::disallowed_methods, reason = "a test harness starts processes and reads clocks")]

pub mod artifacts;
pub mod balancer;
pub mod clicks;
pub mod hostile_runner;
pub mod http;
pub mod hung;
pub mod lab;
pub mod machine;
pub mod network;
pub mod pages;
pub mod preload;
pub mod process;
pub mod regions;
pub mod requests;
pub mod web;
