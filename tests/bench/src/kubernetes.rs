//! Deploys to a real cluster, beside `kubectl apply` and `kubectl rollout status` on the same one: how long good and bad
//! versions take, how soon the old pods serve again, what an agent costs that has nothing to do, and many rollouts at once.
//!
//! Both deploy the same Deployment of the same image, in turn, each in a namespace of its own. When a pod showed something
//! is what a watch of neither of them received.

mod doomed;
mod events;
mod idle;
mod many;
mod pods;
mod rollouts;
mod service;

use trimaran_test_env::kubernetes::Cluster;

use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    let cluster = Cluster::start();
    rollouts::run(report, &cluster);
    idle::run(report, &cluster);
    many::run(report, &cluster);
}
