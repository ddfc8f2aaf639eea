//! The machine of one host against a host in memory: what it does, and what it does when it is killed, when
//! power fails, and when answers are lost, late or repeated.

mod behaviour;
mod crashes;
mod damage;
mod goals;
mod lifecycle;
mod random;
mod replies;
mod restarts;
