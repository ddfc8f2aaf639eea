//! The earlier name of [`Report`](crate::report::Report); goes when the last crate has the new one.

pub use crate::report::Report as ProcessError;
