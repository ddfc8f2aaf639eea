//! The host as a runner uses it.
