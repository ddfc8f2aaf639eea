//! What a coordinator with little disk space shows, and the task that watches for it and for a clock that is wrong.
//!
//! The alarm is soft state, because writing it to the log would need the space that is missing.

use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_query as query;
use trimaran_wire::document::{AlarmDocument, rfc3339};
use trimaran_wire::v1::peer::MemberAlarm;

use crate::rows::View;
use crate::server::Server;

/// How often the file system is asked, beside each change.
const OBSERVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// The alarm of a coordinator with too little disk space.
pub(crate) fn alarm(alarm: MemberAlarm) -> AlarmDocument {
    AlarmDocument {
        code: ReasonCode::DiskLow.as_str().to_owned(),
        message: alarm.message,
        since: rfc3339(WallTime(alarm.since_ms)),
        clears: trimaran_model::reason::CLEARS_WAIT.to_owned(),
    }
}

/// Why the member had no space for a command, and what to do about it. The numbers are those of this moment.
pub(crate) fn no_space(server: &Server) -> NoSpace {
    let role = server.node.member_status().borrow().role;
    let other = role.leader.filter(|leader| *leader != server.node.store.identity().raft_id);
    let Some(leader) = other else {
        return NoSpace { message: server.disk_space.message(), help: server.disk_space.help() };
    };
    let members = View::new(&server.node).read(|rows| query::members(rows)).unwrap_or_default();
    let name = members.into_iter().find(|it| it.raft_id == leader).map(|it| it.name);
    let leader = name.map_or_else(|| "the leader".to_owned(), |name| format!("the leader `{name}`"));
    NoSpace {
        message: format!("{leader} has too little free space for this"),
        help: format!("Free space on the disk of {leader}; `trimaran cluster status` has the numbers."),
    }
}

/// What is said of a command that was refused for want of space.
pub(crate) struct NoSpace {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Observes for as long as the process runs.
pub(crate) async fn watch(server: Server) {
    let mut every = tokio::time::interval(OBSERVE_INTERVAL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let observer = server.clone();
        // Only a file system that hangs makes the next one wait.
        let observe = move || {
            observer.disk_space.observe(&observer.node);
            observer.own_clock.observe(&observer.node);
        };
        let _ = tokio::task::spawn_blocking(observe).await;
    }
}
