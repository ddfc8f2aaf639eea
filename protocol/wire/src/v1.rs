//! Version 1 of every struct that is stored or sent, each with its conversion from and to the model.

pub mod agent;
pub mod agent_journal;
pub mod assignment;
pub mod command;
pub mod common;
pub mod enroll;
pub mod journal;
pub mod operator;
pub mod plan;
pub mod release;
pub mod row;
pub mod runner;
pub mod target;
