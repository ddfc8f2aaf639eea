//! One agent with a large fleet: the loop alone on a model, and the process with simulated runners.

pub(crate) mod model;
pub(crate) mod real;
