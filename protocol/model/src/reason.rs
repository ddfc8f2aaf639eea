//! Reasons: one closed list for all platforms, with what each means and what clears it.
//!
//! A reason is a code with parameters; its text is made at the edge. `trimaran explain CODE` prints
//! [`ReasonCode::summary`] and [`ReasonCode::advice`].

use crate::verdict::Fault;

macro_rules! reason_codes {
    ($($variant:ident $name:literal $fault:ident $summary:literal $advice:literal;)*) => {
        /// Why something does not move, is not healthy or was refused on a host.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode { $($variant),* }
        impl ReasonCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The public spelling: `crash_loop`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
            /// One sentence: what it means.
            pub fn summary(self) -> &'static str {
                match self { $(Self::$variant => $summary),* }
            }
            /// What to do about it.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice),* }
            }
            /// Whose fault it is; `None` for what only waits.
            pub fn fault(self) -> Option<Fault> {
                match self { $(Self::$variant => reason_codes!(@fault $fault)),* }
            }
            /// Reads what [`ReasonCode::as_str`] writes.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == name)
            }
        }
    };
    (@fault waits) => { None };
    (@fault release) => { Some(Fault::Release) };
    (@fault platform) => { Some(Fault::Platform) };
}

reason_codes! {
    // What holds a stage or run.
    After "after" waits "An earlier environment is not done." "It starts automatically when that environment is done.";
    Approval "approval" waits "A user has to choose an option before the environment starts." "Choose with `trimaran approve RUN`.";
    ApprovalExpired "approval_expired" waits "No one chose before the approval's timeout, so the run was stopped." "Start a new run with `trimaran deploy`.";
    Concurrency "concurrency" waits "An earlier run of the same pipeline is not done." "It starts automatically; or cancel the earlier run.";
    InstallationBusy "installation_busy" waits "Another run works on the same installation." "It starts automatically when that run is done.";
    TargetParallel "target_parallel" waits "The target works on as many installations as its `parallel` allows." "It starts automatically; or raise `parallel` of the target.";
    AgentNotConnected "agent_not_connected" waits "The target's agent is not connected." "Start the agent; `trimaran agent list` shows it.";
    AgentLost "agent_lost" waits "The target's agent fell silent in the middle of the work; what runs keeps running." "Start the agent again, or enroll a replacement under the same name.";
    AgentHandover "agent_handover" waits "A new incarnation of the agent waits until no call of the old one can be in flight." "It continues automatically.";
    WavePause "wave_pause" waits "The strategy pauses between waves." "It continues automatically.";
    BudgetPaused "paused_budget" platform "More hosts than allowed are down from other causes, so no further host may be taken down." "Repair the hosts named in the message, then `trimaran resume RUN`.";
    PausedFault "paused_fault" platform "A fault of the platform, not of the release, stopped the work." "Mend what the message names, then `trimaran resume RUN`.";
    NoHosts "no_hosts" waits "The target's selector matches no enrolled host." "Enroll runners with the target's labels; it continues automatically.";
    PausedUnknown "paused_unknown" platform "There was no evidence for a verdict until the deadline." "Check the instances, then `trimaran resume RUN` or `trimaran cancel RUN`.";
    PausedRollback "paused_rollback" waits "The way back is held, so that a human looks before more is changed." "`trimaran resume RUN` goes on.";
    Restored "restored" waits "The cluster was restored from a backup and has not been resumed." "`trimaran cluster resume`.";
    Settle "settle" waits "The scheduler has more to do than fits one log entry." "It continues automatically.";
    Canceled "canceled" waits "A user canceled the run." "Start a new run with `trimaran deploy`.";
    Canceling "canceling" waits "The run was canceled and waits for hosts in flight." "It ends automatically.";
    UpstreamFailed "upstream_failed" waits "An earlier stage of the run did not succeed, so this one never started." "Check the earlier stage with `trimaran why RUN`.";
    RolledBackByChoice "rolled_back_by_choice" waits "A user chose to roll back at an approval." "Nothing has to be done.";
    RollbackRequested "rollback_requested" waits "A user asked for a rollback." "Nothing has to be done.";
    NoEarlierRelease "no_earlier_release" release "There is no earlier good release, so the failed one was stopped." "Deploy a release that becomes healthy.";
    MixedReleases "mixed_releases" waits "A run ended early, so some hosts have its release and the others have the earlier one." "Deploy again, or `trimaran rollback PIPELINE --env ENV --to RELEASE`.";
    HeldAssignment "held_assignment" platform "An agent finished work that no coordinator knows, as after a restore; it keeps the result and waits for people." "Deploy or roll back the installation: a newer assignment replaces what is held.";
    DiskLow "disk_low" platform "A coordinator has little free disk space, so it refuses changes and gives leadership away." "Free space on its disk; `trimaran-coordinator free-ballast --data-dir DIR` frees 256 MiB at once.";
    ClockJump "clock_jump" platform "The wall clock of a coordinator jumped; the cluster's time follows it slowly." "Check the clock and its synchronisation on the coordinator's machine; `trimaran cluster status` shows the cluster's time.";
    OrderRefused "order_refused" platform "The agent refused the order; the message says why." "Do what the message says; `trimaran cancel RUN` ends the run.";
    Bug "bug" platform "A defect of Trimaran stopped the run; the state was left as it was." "Cancel the run and report the code in the message.";
    // One host.
    PreflightDisk "preflight_disk" platform "The host has too little free disk or inodes for the release." "Free space on the host, then resume or deploy again.";
    PreflightPort "preflight_port" platform "A process that is not ours listens on the service's port." "End the process named in the message.";
    FetchUnreachable "fetch_unreachable" platform "The artifact's server did not answer." "Check the artifact server and the host's network.";
    FetchTimeout "fetch_timeout" platform "The artifact did not arrive in time." "Check the artifact server and the host's network.";
    FetchMissing "fetch_missing" release "The artifact does not exist at its place." "Publish the artifact or deploy another version.";
    FetchDigest "fetch_digest" release "The artifact's bytes are not those that were planned." "Someone replaced the file: publish it under a new version and deploy that.";
    UnpackCorrupt "unpack_corrupt" release "The archive can't be decoded." "Build the artifact again.";
    UnpackEscape "unpack_escape" release "The archive has an entry that leaves the release directory or is no plain file, directory or link." "Build the artifact without the entry named in the message.";
    UnpackLimit "unpack_limit" release "The archive is over a limit of entries, size, depth or compression ratio." "Build a smaller artifact.";
    UnpackProgram "unpack_program" release "The program of the command is not in the artifact, or it is not executable." "Build the artifact with the program where the command names it.";
    StartFailed "start_failed" release "The process could not be started." "Check the command and its permissions.";
    ProcessExited "process_exited" release "The process ended while its health was being verified." "Check its output with `trimaran logs`.";
    ProbeFailed "probe_failed" release "The health probe did not succeed for long enough before the deadline." "Check the service's output with `trimaran logs`.";
    ListenerUnknown "listener_unknown" waits "The health probe succeeded, but whether a process of the release answered can't be known." "Probe the port that the service itself listens on, with a runner that may see its processes; behind a proxy nothing has to be done.";
    ProbeFlap "probe_flap" release "The health probe succeeded and failed alternately." "Check the service's output with `trimaran logs`.";
    StopFailed "stop_failed" platform "A process could not be ended." "Check the host: a process in uninterruptible sleep can't be killed.";
    RevertFailed "revert_failed" release "The earlier release did not become healthy again." "Check the host named in the message.";
    HostLost "host_lost" platform "The host's runner fell silent." "Start the runner again.";
    HostNotConnected "host_not_connected" platform "The host's runner is not connected to its agent." "Start the runner.";
    Fenced "fenced" platform "A later order for the same installation was seen, so this one was refused." "Nothing has to be done.";
    Interrupted "interrupted" platform "The work was ended before it was finished." "Nothing has to be done.";
    HostInternal "host_internal" platform "The runner could not do what it had to: the message has the system's words." "Check the host named in the message.";
    MaxFailures "max_failures" release "More hosts failed than the strategy allows." "Check the first failed host in the message.";
    NothingToRestore "nothing_to_restore" platform "The release to go back to is not on the host and could not be fetched." "Publish its artifact again, then resume.";
    // Objects on Kubernetes.
    ImagePull "image_pull" release "An image does not exist, has an invalid name or may not be pulled; trying again does not help." "Publish the image under the name in the message, or fix the pull secret of the pod.";
    ImagePullTransient "image_pull_transient" platform "The registry did not answer as it should (a timeout, an overload, a bad certificate), the node could not unpack the image, or no cause was named." "Check the registry, the way from the node to it, and the disk of the node; the release is not to blame.";
    ConfigError "config_error" release "A container can't be made from its configuration: a key, ConfigMap or Secret is missing, or its security settings contradict the image." "Add or correct what the message names.";
    StartError "start_error" release "A container's command can't be started: it is not in the image, not executable, or made for another platform." "Correct the command, or build the image for the platform of the nodes.";
    CrashLoop "crash_loop" release "Containers of the new revision end again and again." "Check the last output with `kubectl logs --previous`; the message has the exit code.";
    OomKilled "oom_killed" release "A container was ended again and again for using more memory than its limit." "Raise the limit in the message, or use less memory.";
    ProbeKill "probe_kill" release "The liveness probe ended a container again and again." "Check the probe and the service.";
    Unschedulable "unschedulable" platform "No node can take a pod, and none is on its way." "Add capacity, or change what the pod asks for; the message has the scheduler's words.";
    Quota "quota" platform "A quota of the namespace does not allow another pod." "Raise the quota or ask for less; set the limits that the quota wants.";
    AdmissionDenied "admission_denied" release "An admission rule refuses the pods." "Change the object so that the rule named in the message allows it.";
    WebhookUnavailable "webhook_unavailable" platform "An admission webhook did not answer, so nothing can be created." "Check the pods behind the webhook's service; the release is not to blame.";
    FailedCreate "failed_create" release "A controller can't create its pods." "Check the message: it has the API server's words.";
    Mount "mount" release "A volume can't be made or mounted." "Add what the message says is missing: a ConfigMap, Secret, key, claim or storage class.";
    VolumeAttach "volume_attach" platform "A volume is still attached to another node, so the new pod waits for the old one." "Use the strategy Recreate, which ends the old pod first.";
    VolumeLost "volume_lost" platform "A claim lost its volume." "Restore the volume from a backup.";
    ProgressDeadline "progress_deadline" release "The rollout made no progress before its deadline." "Check the pods of the new revision.";
    NotReady "not_ready" waits "Not all instances are ready." "It continues automatically until the deadline.";
    MinReady "min_ready" waits "Instances are ready but not yet for as long as they must be." "It continues automatically.";
    OldPodsTerminating "old_pods_terminating" waits "Pods of an earlier revision are still there." "It continues automatically.";
    Generation "generation" waits "The controller has not seen the latest change, so the status speaks of an earlier one." "It continues automatically; check the controller when it does not.";
    StsStuckPod "sts_stuck_pod" release "A pod of an earlier, broken revision blocks the StatefulSet; Kubernetes does not replace it automatically." "Delete the pod named in the message; its controller makes a good one.";
    Ondelete "ondelete" waits "Pods are replaced only when a user deletes them (OnDelete)." "Delete the pods of the earlier revision.";
    NodeNotReady "node_not_ready" platform "A node is not ready." "Check the node.";
    JobFailed "job_failed" release "The job, or a pod that runs once, has failed." "Check the output of its pods; the message has the exit code.";
    Missing "missing" platform "The object is not there." "Apply it.";
    Superseded "superseded" waits "Something else changed the object after us." "Check who changed it.";
    NoEndpoints "no_endpoints" waits "The service selects no ready pod." "Check the selector and the pods.";
    Paused "paused" waits "A user paused or suspended the object." "Resume it; nothing continues automatically.";
    ConditionFailed "condition_failed" release "A condition of the object says that it failed." "Check the message: it has the controller's words.";
    NoAddress "no_address" waits "No load balancer or ingress controller assigned an address yet." "It continues automatically; check the controller and the events of the object when it does not.";
    NoRule "no_rule" waits "No rule understands this kind or status, so nothing is claimed." "Add a rule: the page `ops/docs/kubernetes/rules.md` shows how.";
}

/// Why a stage does not move, as stored: what it waits for, since when, what clears it and who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: ReasonCode,
    /// One sentence with the names of this case.
    pub message: String,
    pub since: crate::time::WallTime,
    /// One runnable command, or `wait`.
    pub clears: String,
    /// Who may clear it: names or roles; empty when no one may.
    pub who: Vec<String>,
    /// When it will be checked again; `None` when only an event clears it.
    pub next_check: Option<crate::time::WallTime>,
}

/// `clears` of a reason that clears automatically.
pub const CLEARS_WAIT: &str = "wait";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_words() {
        let mut names: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        for code in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_name(code.as_str()), Some(*code));
            assert!(code.summary().ends_with('.') && code.advice().ends_with('.'), "{code:?}");
        }
    }
}
