//! 4000 to 4999: reaching a cluster, identities, tokens and the cluster itself.

super::error_codes! { ENTRIES_CLUSTER;
    UNREACHABLE 4001 Unreachable "no coordinator answers"
        "None of the endpoints of the context answered."
        "Check the endpoints with `trimaran context list`, and whether the coordinators run.";
    NO_QUORUM 4002 Unreachable "no quorum"
        "A coordinator answered, but there is no leader that can accept changes."
        "Start the other coordinators; `trimaran cluster status` shows them.";
    INDETERMINATE 4003 Unreachable "the outcome is not known"
        "The connection or the leadership was lost after the request was sent."
        "Repeat it with the same `--request-id`: it is executed at most once.";
    TIMEOUT 4004 Timeout "timed out"
        "`--timeout` passed; the run was not stopped."
        "Watch it again: `trimaran watch RUN`.";
    DISK_FULL 4005 Refused "the coordinator's disk is almost full"
        "Below 1 GiB or 5 % of free space changes are refused."
        "Free space on the coordinator; the message has the numbers.";
    AGENT_AWAY 4006 Unreachable "the agent is not connected"
        "The agent that serves these hosts has no session with a coordinator, so they can't be asked; what runs keeps running."
        "Start the agent again; `trimaran agent list` shows its state.";
    LOGS_MISSING 4007 Unreachable "lines of some hosts are missing"
        "These hosts have no session with their agent, or lost it in the middle, so their output can't be read now; it is kept on them."
        "`trimaran runner list` shows which are connected; ask again when they are, or for the others with `--host`.";
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
    DATA_DIR 4201 Refused "the data directory can't be used"
        "It belongs to another process, role or name, or has not been set up."
        "Choose another directory, or correct what the message says.";
    STORE_DAMAGED 4202 Internal "the store is damaged"
        "A checksum in the middle of the log or the state does not match."
        "Keep the directory, then restore it from a backup or join as a new member.";
}
