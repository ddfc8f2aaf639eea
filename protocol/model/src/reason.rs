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
            /// Whether it says that work is paused until a user resumes it.
            pub fn is_pause(self) -> bool {
                self.as_str().starts_with("paused_")
            }
            /// Whether it says that the platform was not asked, or gave no answer: neither yes nor no.
            pub fn is_no_answer(self) -> bool {
                matches!(
                    self,
                    Self::ApiUnavailable
                        | Self::JobmanagerUnreachable
                        | Self::FetchUnreachable
                        | Self::FetchTimeout
                        | Self::AgentNotConnected
                        | Self::AgentLost
                        | Self::OrderRefused
                        | Self::UnsupportedWorkload
                )
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
    BudgetPaused "paused_budget" platform "Hosts that are down already use up `max_unavailable`, so no further host may be taken down." "Repair the hosts named in the message, then `trimaran resume RUN`.";
    PausedFault "paused_fault" platform "A fault of the platform, not of the release, stopped the work." "Fix what the message names, then `trimaran resume RUN`.";
    NoHosts "no_hosts" waits "The target's selector matches no enrolled host." "Enroll runners with the target's labels; it continues automatically.";
    PausedUnknown "paused_unknown" platform "There was no evidence for a verdict until the deadline." "Check the instances, then `trimaran resume RUN` or `trimaran cancel RUN`.";
    PausedRollback "paused_rollback" waits "The rollback is held, so that a human checks before more is changed." "`trimaran resume RUN` continues it.";
    Restored "restored" waits "The cluster was restored from a backup, so what runs may be newer than what it knows; nothing is changed before a user decides." "While the cluster only observes `trimaran cluster resume --yes`; then `trimaran installation adopt` keeps what runs, and `trimaran installation reapply` brings back what the cluster knows.";
    Adopted "adopted" waits "A user decided after a restore that what runs is right." "Nothing has to be done.";
    Reapplied "reapplied" waits "A user decided after a restore that what the cluster knows is right." "Nothing has to be done.";
    Settle "settle" waits "The scheduler has more to do than fits one log entry." "It continues automatically.";
    Canceled "canceled" waits "A user canceled the run." "Start a new run with `trimaran deploy`.";
    Canceling "canceling" waits "The run was canceled and waits for hosts in flight." "It ends automatically.";
    UpstreamFailed "upstream_failed" waits "An earlier stage of the run did not succeed, so this one never started." "Check the earlier stage with `trimaran why RUN`.";
    RolledBackByChoice "rolled_back_by_choice" waits "A user chose to roll back at an approval." "Nothing has to be done.";
    RollbackRequested "rollback_requested" waits "A user asked for a rollback." "Nothing has to be done.";
    NoEarlierRelease "no_earlier_release" release "There is no earlier good release, so the failed one was stopped." "Deploy a release that becomes healthy.";
    MixedReleases "mixed_releases" waits "A run ended early, so some hosts have its release and the others have the earlier one." "Deploy again, or `trimaran rollback PIPELINE --env ENV --to RELEASE`.";
    HeldAssignment "held_assignment" platform "An agent finished work that no coordinator knows, as after a restore; it keeps the result and waits for people." "Deploy or roll back the installation: a newer assignment replaces what is held.";
    DiskLow "disk_low" platform "A coordinator has little free disk space, so it accepts only what ends, undoes or decides what was begun." "Free space on its disk; `trimaran-coordinator free-ballast --data-dir DIR` frees 256 MiB at once.";
    ClockJump "clock_jump" platform "The wall clock of a coordinator jumped; the cluster's time follows it slowly." "Check the clock and its synchronisation on the coordinator's machine; `trimaran cluster status` shows the cluster's time.";
    ClockWrong "clock_wrong" platform "The wall clock of a coordinator is not the cluster's, which is the median of the voters' clocks: nothing goes by the wrong one." "Check the clock and its synchronisation on the machine of the coordinator that the message names.";
    OtherIncarnation "other_incarnation" platform "An agent or a host has seen a later state of the cluster than this one, or the same epoch of another: the cluster was restored from a backup, or this is a copy of it. Services run on, and no orders of it are taken." "End the cluster that is not wanted, or enroll the agent anew with an empty data directory.";
    OrderRefused "order_refused" platform "The agent refused the order; the message says why." "Do what the message says; `trimaran cancel RUN` ends the run.";
    UnsupportedWorkload "unsupported_workload" platform "The target's agent has no driver for this kind of workload." "Run an agent of a version that has one, then `trimaran resume RUN`; `trimaran agent list -o json` shows what each agent drives.";
    Bug "bug" platform "A defect of Trimaran stopped the run; the state was left as it was." "Cancel the run and report the code in the message.";
    // One host.
    PreflightDisk "preflight_disk" platform "The host has too little free disk or inodes for the release." "Free space on the host, then resume or deploy again.";
    PreflightPort "preflight_port" platform "A process that is not ours listens on the service's port." "End the process named in the message.";
    PreflightUser "preflight_user" platform "The host can't run the service as the user, with the groups or rights that its file says." "Make the user or group that the message names on the host, or run the runner as root.";
    SecretMissing "secret_missing" platform "A secret that the service needs is not among the runner's." "Put a file of that name into the directory of the runner's `--secrets`.";
    EnvironmentFile "environment_file" release "A file with variables of the service is not in the release or can't be read as lines `NAME=VALUE`." "Build the artifact with the file that the message names.";
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
    LivenessFailed "liveness_failed" release "A liveness probe failed too often in a row, so the service is ended and started again as its restart policy says." "Check the service's output with `trimaran logs`.";
    LimitsNotEnforced "limits_not_enforced" waits "The service's file has limits for all its processes together, and its host's runner has no control group with the controllers for them." "Run the runner under a unit with `Delegate=yes` on a host with cgroup v2, as `trimaran-agent install` writes it.";
    UserPath "user_path" waits "The service's user can't reach the release by its full path, so only paths relative to the release work." "Let others pass through the directory that the message names: `chmod o+x`.";
    RunsAsRoot "runs_as_root" waits "The service runs as root without its file saying so." "Add `user:` to `process` of the pipeline's workload; `user: root` says that it is meant.";
    ListenerUnknown "listener_unknown" waits "The health probe succeeded, but whether a process of the release answered can't be known." "Probe the port that the service itself listens on, with a runner that may see its processes; behind a proxy nothing has to be done.";
    ProbeFlap "probe_flap" release "The health probe succeeded and failed alternately." "Check the service's output with `trimaran logs`.";
    StopFailed "stop_failed" platform "A process could not be ended." "Check the host: a process in uninterruptible sleep can't be killed.";
    HookFailed "hook_failed" release "A hook of the service failed or was ended by a signal; the message has its last line." "Correct the hook, or what it checks; it can be run by hand in the release's directory.";
    HookTimeout "hook_timeout" release "A hook of the service did not end within its timeout and was ended." "Make the hook quicker or its `timeout` longer.";
    DrainFailed "drain_failed" platform "The service could not be left out of its balancer, or taken back into it." "Check the balancer, and the command or URL in the message.";
    DrainTimeout "drain_timeout" waits "The drain took longer than its `wait`, so the service was stopped without it." "Make `wait` longer than requests may take.";
    ReloadFailed "reload_failed" release "The service could not be made to read its new configuration." "Check the reload command or signal of its file, and the last line in the message.";
    StopVetoed "stop_vetoed" platform "The service did not allow its stop before the deadline of `may_stop`; it runs on as it was." "Check what the service waits for, then `trimaran resume RUN` or deploy again.";
    RevertFailed "revert_failed" release "The earlier release did not become healthy again." "Check the host named in the message.";
    HostLost "host_lost" platform "The host's runner fell silent." "Start the runner again.";
    HostNotConnected "host_not_connected" platform "The host's runner is not connected to its agent." "Start the runner.";
    Orphan "orphan" waits "A host that does not belong to the target runs a release of the installation; what it says counts for nothing." "Give the host the target's labels, or end its services with `trimaran runner drain`.";
    Diverged "diverged" platform "What runs is not the release: a host has another one, or someone else changed what the release set." "Deploy the release again to bring it back; a host that was away gets it automatically. What should stay belongs into the release's files.";
    JoinFailed "join_failed" waits "A host that joined the target could not bring the release up; the others are left as they are." "Check the host named in the message; the next deploy tries it again.";
    Crashed "crashed" waits "A process ended and its restart policy brought it back." "Check its output with `trimaran logs`.";
    PausedTraffic "paused_traffic" waits "There is no earlier good release to go back to, and on a prod target instances that still answer are not stopped automatically." "`trimaran rollback PIPELINE --env ENV --override traffic` stops them, `trimaran resume RUN` keeps them.";
    Fenced "fenced" platform "A later order for the same installation was seen, so this one was refused." "Nothing has to be done.";
    Interrupted "interrupted" platform "The work was ended before it was finished." "Nothing has to be done.";
    HostInternal "host_internal" platform "The runner could not do what it had to: the message has the system's words." "Check the host named in the message.";
    MaxFailures "max_failures" release "More hosts failed than the strategy allows." "Check the first failed host in the message.";
    NothingToRestore "nothing_to_restore" platform "The release to go back to is not on the host and could not be fetched." "Publish its artifact again, then resume.";
    // Deploys on Kubernetes.
    FieldConflict "field_conflict" release "Fields of an object belong to another manager, and the release sets them differently." "Remove the fields from the release, or choose `on_conflict: take` or `leave`.";
    ObjectRefused "object_refused" release "The API server does not accept an object of the release." "Correct the field in the message; a field that can't be changed needs an object of another name.";
    KindNotServed "kind_not_served" release "The cluster does not serve a kind or version that the release has." "Install its definition first, or write a version that the cluster serves.";
    PermissionDenied "permission_denied" platform "The agent has no right to do in the cluster what the release needs." "Give the agent's account the right in the message.";
    ForeignObject "foreign_object" release "An object of the release belongs to another installation." "Give the object another name, or remove it from one of the two pipelines.";
    ObjectEnding "object_ending" platform "An object of the release is being deleted and does not end." "Check who deleted it and what its finalizers wait for.";
    ApiUnavailable "api_unavailable" platform "The API server of the cluster does not answer as it should, so nothing is known about the release." "Check the API server and the way to it; the release is not to blame.";
    // Objects on Kubernetes.
    ImagePull "image_pull" release "An image does not exist, has an invalid name or may not be pulled; trying again does not help." "Publish the image under the name in the message, or fix the pull secret of the pod.";
    ImagePullTransient "image_pull_transient" platform "The registry did not answer as it should (a timeout, an overload, a bad certificate), the node could not unpack the image, or no cause was named." "Check the registry, the way from the node to it, and the disk of the node; the release is not to blame.";
    ConfigError "config_error" release "A container can't be made from its configuration: a key, ConfigMap or Secret is missing, or its security settings contradict the image." "Add or correct what the message names.";
    StartError "start_error" release "A container's command can't be started: it is not in the image, not executable, or made for another platform." "Correct the command, or build the image for the platform of the nodes.";
    CrashLoop "crash_loop" release "Containers of the new revision end again and again." "Check the last output with `kubectl logs --previous`; the message has the exit code.";
    OomKilled "oom_killed" release "A container was ended again and again, or a service on a host once, for using more memory than its limit." "Raise the limit in the message, or use less memory.";
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
    // Jobs on Flink.
    JobmanagerUnreachable "jobmanager_unreachable" platform "No JobManager of the target answers." "Check the JobManager and the way from the agent to it, then `trimaran resume RUN`.";
    JarRefused "jar_refused" release "Flink can't make a job of the jar; the running job was left alone where that was possible." "Correct what the message says: it has the words of Flink or of the program.";
    UploadsLost "uploads_lost" platform "The JobManager loses what was uploaded to it before a job can begin with it." "Give it a `web.upload.dir` that nothing else empties, and each JobManager an address of its own in the target, then `trimaran resume RUN`.";
    StateIncompatible "state_incompatible" release "The new version can't read the state of the job." "Keep the uids and the types of stateful operators, or migrate the state; the message names the operator.";
    StateMissing "state_missing" platform "The savepoint or checkpoint to begin from is not there." "Bring back what the message names, then `trimaran resume RUN`.";
    StateChoice "state_choice" platform "Going back needs a choice between two states, because either has a cost." "The message has the cost of each state: choose one with `trimaran rollback PIPELINE --env ENV --from savepoint` or `--from last_checkpoint`.";
    SavepointFailed "savepoint_failed" platform "The running job could not be stopped with a savepoint; it keeps running." "Correct what the message says, then `trimaran resume RUN`.";
    SlotsMissing "slots_missing" platform "The cluster has fewer free task slots than the job needs." "Add TaskManagers or lower the parallelism, then `trimaran resume RUN`.";
    CheckpointingOff "checkpointing_off" release "The job makes no checkpoints, so that neither its health nor its state can be kept." "Turn checkpointing on in the job or with `execution.checkpointing.interval`.";
    JobRestarts "job_restarts" release "The job fails and is restarted again and again." "Check the exception in the message.";
    JobNotStarted "job_not_started" release "Not all tasks of the job ran before the deadline." "Check the exception in the message and the free slots of the cluster.";
    JobEnded "job_ended" release "The job ended although it should not." "Check the exception in the message; a job that ends on its own needs `bounded: true`.";
    CheckpointsFail "checkpoints_fail" release "The job's checkpoints fail." "Check the failure in the message.";
    TaskmanagerLost "taskmanager_lost" platform "The job is restarted because TaskManagers are lost." "Check the TaskManagers, then `trimaran resume RUN`.";
    JobLost "job_lost" platform "The JobManager does not know the job any more, as after its loss without high availability." "`trimaran resume RUN` starts it again from the state in the message.";
    NoRule "no_rule" waits "No rule understands this kind or status, so nothing is claimed." "Add a rule: the page `ops/docs/kubernetes/rules.md` shows how.";
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
