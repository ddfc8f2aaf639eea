//! Real platforms for tests: clusters that a test starts, cuts off from itself and throws away.
//!
//! The scripts in the folder of each platform do the work and can be used by hand; this is their handle for tests. A
//! platform that can't be had is a failure of the test, never a reason to skip it.
//! Deliberately not here: any crate of the product.
#![allow(
    clippy::disallowed_methods,
    reason = "a test environment starts processes and reads its environment"
)]

pub mod etcd;
pub mod flink;
pub mod kubernetes;
mod ports;
