//! Version 1 of every struct that is stored or sent, each with its conversion from and to the model.

pub mod agent;
pub mod agent_journal;
pub mod artifact;
pub mod assignment;
pub mod command;
pub mod common;
pub mod enroll;
pub mod flink_journal;
pub mod journal;
pub mod kubernetes_journal;
pub mod lifecycle;
pub mod operator;
pub mod peer;
pub mod plan;
pub mod release;
pub mod release_platforms;
pub mod row;
pub mod runner;
pub mod service;
pub mod target;
