//! 4000 to 4999: reaching a cluster, identities, tokens and the cluster itself.

super::error_codes! { ENTRIES_CLUSTER;
    UNREACHABLE 4001 Unreachable "no coordinator answers"
        "None of the endpoints of the context answered."
        "Check the endpoints with `trimaran context list`, and whether the coordinators run.";
    NO_QUORUM 4002 Unreachable "no quorum"
        "A coordinator answered, but there is no leader that can accept changes."
        "Start the other coordinators; `trimaran cluster status` shows them. When they are lost for good, recover one that is left: `trimaran-coordinator recover --data-dir DIR`.";
    INDETERMINATE 4003 Unreachable "the outcome is not known"
        "The connection or the leadership was lost after the request was sent."
        "Repeat it with the same `--request-id`: it is executed at most once.";
    TIMEOUT 4004 Timeout "timed out"
        "`--timeout` passed; the run was not stopped."
        "Watch it again: `trimaran watch RUN`.";
    DISK_FULL 4005 Refused "the coordinator's disk is almost full"
        "Below 1 GiB or 5 % of free space only `cancel`, `rollback`, `approve` and `resume` are accepted; below 128 MiB no change is."
        "Free space on the coordinator; the message has the numbers.";
    AGENT_AWAY 4006 Unreachable "the agent is not connected"
        "The agent that serves these hosts has no session with a coordinator, so they can't be asked; what runs keeps running."
        "Start the agent again; `trimaran agent list` shows its state.";
    LOGS_MISSING 4007 Unreachable "lines of some hosts are missing"
        "These hosts have no session with their agent, or lost it in the middle, so their output can't be read now; it is kept on them."
        "`trimaran runner list` shows which are connected; ask again when they are, or for the others with `--host`.";
    NO_LEADER 4008 Unreachable "there is no leader now"
        "The coordinators are electing a leader, or the one that answered has not found it yet."
        "Repeat the command in a moment; `trimaran cluster status` shows the members.";
    IDENTITY 4101 Denied "the certificate was refused"
        "The certificate is of another cluster, of another role, revoked or expired."
        "Enroll again with a new token.";
    TOKEN_UNKNOWN 4102 Denied "the token is not valid"
        "The token is unknown, used, expired, or for another name, role or cluster."
        "Ask for a new one: `trimaran agent|runner|operator enroll NAME`.";
    CONTEXT_UNKNOWN 4103 Usage "no usable context"
        "The configuration has no context of this name, or a file of its identity can't be read."
        "`trimaran context list` shows them; `trimaran context add` makes one.";
    SUPERSEDED 4104 Refused "another process took over"
        "A later incarnation with the same name has attached, so this one ended and does not come back."
        "End one of the two; a copy of a data directory must not run beside its original.";
    OTHER_INCARNATION 4105 Refused "the agent knows another incarnation of the cluster"
        "The cluster was restored from a backup, or this is a copy of it: the agent has seen a later or another state, and obeys neither silently."
        "Keep one of the two clusters; `trimaran cluster status` shows the alarm, and the agent's services run on.";
    OBSERVES 4106 Refused "the cluster only observes"
        "It was restored from a backup, so agents may have done what it does not know; it orders nothing before a user says that it is the one that goes on."
        "End every coordinator of the cluster before, then `trimaran cluster resume --yes`.";
    NOT_OBSERVING 4107 Refused "the cluster was not restored, or goes on already"
        "There is nothing to resume or to decide."
        "`trimaran cluster status` shows what waits for a decision.";
    EPOCH 4108 Refused "the epoch has to be chosen"
        "An agent says that it has seen a far larger epoch than this cluster ever had, or the chosen epoch is not above those that were seen."
        "Check the agent that the message names. `trimaran cluster resume --epoch N --yes` with a larger number lets it obey again; with a smaller one it has to be enrolled anew.";
    UNDECIDED 4109 Refused "a restore left this installation undecided"
        "What runs there may be newer than what the restored cluster knows."
        "`trimaran installation adopt PIPELINE/ENV/TARGET` keeps what runs, `trimaran installation reapply PIPELINE/ENV/TARGET` brings back what the cluster knows.";
    NOT_ONE_RELEASE 4110 Refused "what runs can't be adopted"
        "The hosts have different releases, or what runs there can't be read."
        "`trimaran installation reapply PIPELINE/ENV/TARGET`, or deploy what should run with `--override restored --reason TEXT`.";
    FEATURE_LEVEL 4111 Refused "the cluster's feature level does not allow this"
        "Coordinators of two builds work in one cluster at the level of the older one, and the level is raised only when every coordinator supports it."
        "`trimaran cluster status` shows the level and what each coordinator supports. Upgrade those that lack it, then `trimaran cluster finalize`.";
    BUILD_TOO_OLD 4112 Refused "this build is too old for the cluster"
        "The cluster's feature level was raised above what this build supports, so it can't read what the log has now. Nothing is lost."
        "Start the coordinator with the build that the others run, on the same data directory.";
    DATA_DIR 4201 Refused "the data directory can't be used"
        "It belongs to another process, role or name, has not been set up, or the system refuses to open it: the message and its cause say which."
        "Choose another directory, or correct what the cause names: rights, space on the disk, the limit of open files.";
    STORE_DAMAGED 4202 Internal "the store is damaged"
        "A checksum in the middle of the log or the state does not match."
        "Keep the directory, then restore it from a backup or join as a new member.";
    NOTHING_RUNS 4203 Refused "nothing of the service runs"
        "No release of the service should run on this host."
        "Deploy a release; `trimaran-agent host status --data-dir DIR` shows what is here.";
    MEMBERS 4204 Refused "this change of the coordinators is not possible"
        "A quorum, more than half of the coordinators with a vote, would not be there afterwards, or the coordinator is not what the change needs it to be."
        "Start the coordinators that are away, or add one with `trimaran cluster token NAME` first; `trimaran cluster members` shows who is there.";
    BACKUP 4205 BadInput "the file is no whole backup"
        "It is another file, its end is missing, or a byte of it is not the one that was written."
        "Use another backup; `trimaran cluster backup list DIR` shows those of a directory.";
}
