//! The pages of the documentation, followed as a reader would: every command of theirs, with what it prints.

use trimaran_e2e::lab::Lab;
use trimaran_e2e::pages::follow;

#[test]
fn getting_started_works_as_it_is_written() {
    let lab = Lab::fresh(6);
    let builds = lab.folder.path().join("builds").display().to_string();
    let address = lab.host(1, 0).ip().to_string();
    let prefix = address.trim_end_matches('1').to_owned();
    follow(&lab, "getting-started.md", &[("/tmp/trimaran-builds", &builds), ("127.0.1.", &prefix)]);
}

#[test]
fn hosts_join_leave_and_are_divided_among_agents_as_it_is_written() {
    follow(&Lab::fresh(7), "fleets.md", &[]);
}
