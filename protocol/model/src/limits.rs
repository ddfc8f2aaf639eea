//! Every bound of Trimaran with its name and its arithmetic. Over a bound there is a clear refusal,
//! never a crash. Sizes are bytes unless the name says otherwise.

use crate::time::Millis;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// RFC 1123 label length.
pub const NAME_BYTES_MAX: usize = 63;
/// The name of an instance, as a pod's (RFC 1123 subdomain).
pub const INSTANCE_NAME_BYTES_MAX: usize = 253;
/// A version of an artifact; a tag of an image is no longer either.
pub const VERSION_BYTES_MAX: usize = 128;
/// Where a coordinator or an agent is dialed: a host's name (RFC 1035: 253 characters) and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;
/// Key and value of a runner's label, each.
pub const LABEL_BYTES_MAX: usize = 128;
/// Labels of one runner.
pub const LABELS_MAX: usize = 64;
/// Runners that one request changes.
pub const RUNNERS_PER_CHANGE_MAX: usize = 1000;
/// Messages that an agent takes from one runner a second, behind a burst.
pub const RUNNER_MESSAGES_PER_SECOND: u64 = 200;
pub const RUNNER_MESSAGES_BURST: u32 = 1024;
/// Facts that a runner says of its host; each is a label.
pub const FACTS_MAX: usize = 16;
/// A pipeline or target file, refused by size before it is parsed (INTERFACE 1).
pub const SPEC_FILE_BYTES_MAX: usize = MIB;
/// Values of one file: ten bytes each in a file of 1 MiB, where a line of a real one has three values.
/// It keeps `lint` below 100 ms whatever is in the file.
pub const SPEC_NODES_MAX: usize = 100_000;
/// Nesting of one YAML file.
pub const SPEC_DEPTH_MAX: usize = 64;
/// Nodes that aliases may add to one file; more is an alias bomb.
pub const SPEC_ALIAS_NODES_MAX: usize = 10_000;
/// Findings that are reported of one file; whoever has more has another problem.
pub const SPEC_DIAGNOSTICS_MAX: usize = 1000;
/// Known names that an unknown one is compared with for "did you mean", and the characters of each.
pub const SUGGEST_CANDIDATES_MAX: usize = 64;
pub const SUGGEST_NAME_CHARS_MAX: usize = 64;
/// Unknown targets of one file that get a "did you mean".
pub const SUGGESTIONS_MAX: usize = 100;
/// A file of Kubernetes manifests or objects (INTERFACE 5).
pub const MANIFEST_FILE_BYTES_MAX: usize = 256 * MIB;
/// All files of one command.
pub const MANIFEST_TOTAL_BYTES_MAX: usize = 1024 * MIB;
/// Values of one YAML file of manifests: a file of 256 MiB with eight bytes a value stays below.
pub const MANIFEST_NODES_MAX: usize = 32_000_000;
/// Nesting of one manifest; a JSON file has the same bound.
pub const MANIFEST_DEPTH_MAX: usize = 127;
/// Values of about 64 bytes that aliases may add to one file of manifests.
pub const MANIFEST_ALIAS_NODES_MAX: usize = 1_000_000;
/// Findings that are shown to people; programs get all of them.
pub const FINDINGS_SHOWN_MAX: usize = 200;
/// Data of one ConfigMap or Secret, values alone (Kubernetes `MaxSecretSize`).
pub const CONFIG_DATA_BYTES_MAX: usize = MIB;
/// Keys and values of an object's annotations together (Kubernetes `TotalAnnotationSizeLimitB`).
pub const ANNOTATIONS_BYTES_MAX: usize = 256 * KIB;
/// One object in the store of a cluster (etcd `--max-request-bytes`).
pub const OBJECT_BYTES_MAX: usize = 1536 * KIB;
/// Files of one command, and how deep their folders may lie.
pub const MANIFEST_FILES_MAX: usize = 100_000;
pub const MANIFEST_FOLDER_DEPTH_MAX: usize = 32;
/// Artifacts of a pipeline.
pub const ARTIFACTS_MAX: usize = 256;
/// Environments of a pipeline.
pub const ENVIRONMENTS_MAX: usize = 64;
/// Targets of one environment.
pub const TARGETS_PER_ENVIRONMENT_MAX: usize = 256;
/// Waves of one stage.
pub const WAVES_MAX: usize = 32;

/// One frame between peers, and so one raft entry with its commands (`raft` 0.7 `max_size_per_msg`).
pub const FRAME_BYTES_MAX: usize = 4 * MIB;
/// A stored row with its envelope. Anything that would make a larger one is undone and refused; a snapshot still
/// carries one in a single chunk.
pub const ROW_BYTES_MAX: usize = 2 * MIB;
/// What stored bytes may decode to. Larger than anything is written, so that a smaller bound of a later build never makes
/// what is stored unreadable.
pub const STORED_BYTES_MAX: usize = 16 * MIB;
/// A text of the sender that a refusal repeats.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 256;
/// One replicated entry.
pub const ENTRY_BYTES_MAX: usize = MIB + 256 * KIB;
/// One command, with room for what an entry adds to its commands, generously.
pub const COMMAND_BYTES_MAX: usize = ENTRY_BYTES_MAX - 2 * KIB;
/// Commands of one entry.
pub const ENTRY_COMMANDS_MAX: usize = 256;
/// What a release names by digest, as a set of manifests: all of it, and the parts in which it is uploaded, stored and
/// fetched.
pub const CONTENT_BYTES_MAX: u64 = 16 << 20;
pub const CONTENT_PART_BYTES: usize = 512 * KIB;
/// Files that a job on Flink reads from the distributed cache, each at most so large: all of them are one content.
pub const FLINK_FILES_MAX: usize = 16;
pub const FLINK_FILE_BYTES_MAX: usize = MIB;
const _: () = assert!((FLINK_FILES_MAX * FLINK_FILE_BYTES_MAX) as u64 <= CONTENT_BYTES_MAX);
/// The name that the program asks the cache for.
pub const FLINK_FILE_NAME_BYTES_MAX: usize = 63;
/// Where the JobManager has put an upload, and how many times one job is begun anew because it has lost its uploads.
pub const FLINK_UPLOAD_PATH_BYTES_MAX: usize = 512;
pub const FLINK_UPLOADS_LOST_MAX: u32 = 5;
/// From the first byte of what a release names to the verified file on an agent.
pub const CONTENT_FETCH: Millis = Millis::minutes(2);
/// An agent looks so often whether what rollbacks need is in its store, and again so soon when something is not.
pub const ARTIFACTS_CHECK_INTERVAL: Millis = Millis::hours(24);
pub const ARTIFACTS_RETRY_DELAY: Millis = Millis::seconds(30);
/// A file that an agent fetched is kept so long, whatever needs it: a new order is known to others a little later.
pub const ARTIFACTS_GRACE: Millis = Millis::hours(1);
/// Uploaded contents that no release names yet, and how long one is kept (cluster time).
pub const CONTENTS_UNNAMED_MAX: usize = 64;
pub const CONTENT_UNNAMED_TTL: Millis = Millis::hours(1);
/// A request of an operator: a spec file with its envelope.
pub const OPERATOR_REQUEST_BYTES_MAX: usize = MIB + 64 * KIB;
/// A reply to an operator; larger answers are paged.
pub const OPERATOR_REPLY_BYTES_MAX: usize = 4 * MIB;
/// A message of an agent or to one.
pub const AGENT_FRAME_BYTES_MAX: usize = MIB;
/// What the lists of one message of an agent may take in memory, on top of its bytes.
pub const AGENT_MESSAGE_MEMORY_MAX: usize = 2 * AGENT_FRAME_BYTES_MAX;
/// A message of a runner or to one.
pub const RUNNER_FRAME_BYTES_MAX: usize = 256 * KIB;
/// What the lists of one message of a runner may take in memory, on top of its bytes.
pub const RUNNER_MESSAGE_MEMORY_MAX: usize = 2 * RUNNER_FRAME_BYTES_MAX;
/// The one request that an enrolment session may make, or its answer: a coordinator's has two chains of certificates.
pub const ENROLL_FRAME_BYTES_MAX: usize = 64 * KIB;

/// Uncompacted log held in memory.
pub const LOG_BYTES_MAX: usize = 64 * MIB;
/// Entries after which a snapshot is taken.
pub const SNAPSHOT_ENTRIES: u64 = 10_000;
/// Entries of one message between peers, unless one entry alone is larger.
pub const APPEND_BYTES_MAX: usize = MIB;
/// Appends that a leader sends to a member without an answer.
pub const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// Entries that a leader has not committed yet.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 * MIB;
/// Write jobs of a replica that are not done: above it no proposal and no append is taken.
pub const WRITE_JOBS_MAX: usize = 256;
/// Jobs that the writer joins to one record, and their bytes.
pub const WRITE_GROUP_JOBS_MAX: usize = 256;
pub const WRITE_GROUP_BYTES_MAX: usize = MIB;
/// Entries that a replica applies before it handles its next input, and their bytes: a command of an entry has at
/// least some tens of bytes and takes some tens of microseconds.
pub const APPLY_ENTRIES_PER_STEP_MAX: usize = 64;
pub const APPLY_BYTES_PER_STEP_MAX: usize = 64 * KIB;
/// Rows of one chunk of a snapshot file, unless one row alone is larger.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * KIB;
/// Below this many free bytes, or below [`DISK_LOW_PERCENT`], a coordinator accepts what ends, undoes or decides and
/// what agents report, refuses other changes and enrolments, and alarms.
pub const DISK_LOW_BYTES: u64 = 1 << 30;
/// Percent of the file system.
pub const DISK_LOW_PERCENT: u64 = 5;
/// Below this many free bytes only time goes on: all changes are refused, and what agents report waits; twice what the
/// log may take.
pub const DISK_FULL_BYTES: u64 = 128 << 20;
/// The wall clock of a member that differs from the cluster's by more, for longer than [`CLOCK_SETTLES`], is wrong.
pub const CLOCK_ERROR_MAX: Millis = Millis::seconds(5);
pub const CLOCK_SETTLES: Millis = Millis::seconds(5);
/// Size of the ballast file unless set otherwise.
pub const BALLAST_BYTES: u64 = 256 << 20;
/// Proposals that wait in front of the replica, and their bytes.
pub const PROPOSALS_MAX: usize = 1024;
pub const PROPOSALS_BYTES_MAX: usize = 32 * MIB;
/// Further ones, and their bytes, that stop, undo or decide: cancel, rollback, approve, resume.
pub const PROPOSALS_RESERVED: usize = 128;
pub const PROPOSALS_BYTES_RESERVED: usize = 2 * MIB;
/// Requests for a linearizable view that wait in front of the replica, and further ones of rollbacks.
pub const READS_WAITING_MAX: usize = 768;
pub const READS_WAITING_RESERVED: usize = 128;
/// Messages of other coordinators that wait in front of the replica; what exceeds them is lost as on the way.
pub const PEER_MESSAGES_WAITING_MAX: usize = 1024;
/// Runs settled per entry; the rest waits in the replicated settle queue.
pub const SETTLE_RUNS_PER_ENTRY_MAX: usize = 64;
/// Remembered request ids; when full new writes are refused as busy.
pub const REQUESTS_MAX: usize = 200_000;
/// Of these the last ones are for changes that stop, undo or decide: cancel, rollback, approve, resume.
pub const REQUESTS_RESERVED: usize = 20_000;
/// Request ids of one identity that are remembered, and of these the last ones for changes that stop, undo or decide.
pub const REQUESTS_PER_IDENTITY_MAX: usize = REQUESTS_MAX / 2;
pub const REQUESTS_PER_IDENTITY_RESERVED: usize = 4096;
/// Changes of one identity that a coordinator works on at once, and further ones that stop, undo or decide.
pub const CHANGES_IN_PROGRESS_MAX: usize = 256;
pub const CHANGES_IN_PROGRESS_RESERVED: usize = 64;
/// Changes of one identity in a second, unless set otherwise; twice as many at once. A pipeline's automation needs a few.
pub const CHANGES_PER_SECOND: u64 = 1000;
/// Changes in a second that stop, undo or decide, when the others are used up.
pub const CHANGES_PER_SECOND_RESERVED: u64 = 50;
/// How long a request id is remembered (wall time).
pub const REQUEST_KEPT: Millis = Millis::hours(24);
/// Live runs of one pipeline: one runs, the others are queued.
pub const RUNS_QUEUED_PER_PIPELINE_MAX: usize = 64;
/// Quarantined plans of one pipeline; the oldest leaves first.
pub const QUARANTINED_PER_PIPELINE_MAX: usize = 256;
/// Tokens that are not past their time.
pub const TOKENS_MAX: usize = 10_000;
/// Ended assignments that an installation remembers, to answer repeated results.
pub const ENDED_ASSIGNMENTS_MAX: usize = 8;
/// Instances named in one result or one progress report; failures come first.
pub const INSTANCES_REPORTED_MAX: usize = 512;
/// Installations that a target works on at once, unless it says otherwise.
pub const TARGET_PARALLEL: u32 = 64;
/// Events kept for watchers that resume, and the bytes of their documents.
pub const EVENTS_KEPT_MAX: usize = 100_000;
pub const EVENTS_BYTES_MAX: usize = 32 * MIB;
/// Events that one watcher may be behind; a slower one resumes.
pub const EVENTS_LIVE_MAX: usize = 4096;
/// A document of a reply, in parts of one frame each.
pub const DOCUMENT_BYTES_MAX: usize = 64 * MIB;
/// Text of one part: its JSON fits a frame.
pub const DOCUMENT_PART_BYTES: usize = 2 * MIB;
/// The message of one instance among many: all of them with their names fit one frame of an agent.
pub const INSTANCE_MESSAGE_BYTES_MAX: usize = 512;
/// The path of a savepoint or checkpoint (Linux: `PATH_MAX`; S3: keys of 1 KiB).
pub const STATE_PATH_BYTES_MAX: usize = 4 * KIB;
/// Commands that a stage shows of what was sent to its platform, and the length of one.
pub const STEPS_REPORTED_MAX: usize = 12;
pub const STEP_BYTES_MAX: usize = 2 * KIB;
/// Name of a pipeline or target file, as stored and shown.
pub const FILE_NAME_BYTES_MAX: usize = 4 * KIB;
/// Refusals that one deploy is meant to pass (`--override`).
pub const OVERRIDES_MAX: usize = 16;
/// Free text written by users: comments and reasons.
pub const COMMENT_BYTES_MAX: usize = 4 * KIB;
/// A message that a host or service caused, as stored.
pub const MESSAGE_BYTES_MAX: usize = 2 * KIB;

/// A one-time token is valid this long (wall time).
pub const TOKEN_TTL: Millis = Millis::hours(1);
/// A token for many runners is good for so long at most, and enrolls so many.
pub const GROUP_TOKEN_TTL_MAX: Millis = Millis::hours(24 * 365);
pub const GROUP_USES_MAX: u32 = 1_000_000;
/// A leaf certificate of an agent or runner (wall time).
pub const LEAF_TTL: Millis = Millis::hours(24);
/// The certificate of a coordinator's issuing key.
pub const ISSUER_TTL: Millis = Millis::hours(24 * 365 * 10);
/// An expired leaf may renew this long after its end.
pub const LEAF_RENEWABLE_AFTER_END: Millis = Millis::hours(24 * 30);
/// How long the certificate of an operator is valid: operators renew when they work.
pub const OPERATOR_LEAF_TTL: Millis = Millis::hours(24 * 30);
/// A revoked key is forgotten so much later than its last certificate could be renewed: clocks differ, and a
/// certificate may have been issued while its key was revoked.
pub const REVOKED_SLACK: Millis = Millis::hours(1);

/// Agents' claims of a larger epoch than a restored cluster has are believed up to so many: each restore and recovery makes
/// one, and an agent is not trusted to use up the 65,535 that there are.
pub const EPOCHS_BELIEVED: u16 = 16;
/// Revoked keys of one runner that are known to its agent alone; an older one is sent to all agents.
pub const RUNNER_REVOKED_MAX: usize = 16;
/// Keep-alive of an agent's session.
pub const AGENT_KEEP_ALIVE: Millis = Millis::seconds(3);
/// An agent without a sign for so long is lost.
pub const AGENT_LOST_AFTER: Millis = Millis::seconds(12);
/// An unguarded call is made only while a coordinator answered within this time.
pub const LEASE: Millis = Millis::seconds(8);
/// An agent asks its coordinator for a sign this often; its lease survives two lost answers.
pub const LEASE_PING: Millis = Millis::seconds(2);
/// A coordinator keeps leases of agents for so long after it was sure of a leader with a quorum. With the lease itself it
/// stays below the time after which an agent counts as lost.
pub const QUORUM_LEASE: Millis = Millis::seconds(3);
/// How often a coordinator makes sure of a leader with a quorum.
pub const QUORUM_CHECK_INTERVAL: Millis = Millis(500);
/// A coordinator without a leader for so long sends its agents to others.
pub const QUORUM_LOST_AFTER: Millis = Millis::seconds(5);
/// What a coordinator passed on to the leader is given up after so long.
pub const FORWARD_TIMEOUT: Millis = Millis::seconds(3);
/// A coordinator that gave the leader no sign for so long serves no agents, as far as the leader knows.
pub const COORDINATOR_SILENT_AFTER: Millis = Millis::seconds(3);
/// Frames that wait for a peer on one stream; the bytes of entries are bounded by what raft has in flight.
pub const PEER_QUEUE_MAX: usize = 4096;
/// A learner is promoted when its log is at most so many entries behind what is committed.
pub const LEARNER_LAG_MAX: u64 = 64;
/// Deadline of an unguarded call.
pub const UNGUARDED_CALL: Millis = Millis::seconds(10);
/// A host in flight that is silent for so long is lost: the wave pauses. Long enough for a runner to be
/// started again. A wave that can't start a host for so long pauses too.
pub const HOST_LOST_AFTER: Millis = Millis::seconds(30);
/// A rollback, which must not wait, leaves a host behind that was connected and is away for so long.
pub const HOST_SKIPPED_AFTER: Millis = Millis::seconds(5);
/// Hosts of later waves that fetch and unpack at once beside the hosts of the present wave.
pub const HOSTS_PREPARED_AHEAD_MAX: usize = 8;
/// Assignments that one agent holds, ended and unanswered ones included.
pub const AGENT_ASSIGNMENTS_MAX: usize = 4096;
/// Live progress of one assignment is sent at most this often.
pub const PROGRESS_INTERVAL: Millis = Millis(100);
/// The body of one commit of a driver; it is in the assignment's row and comes back with it.
pub const COMMIT_BYTES_MAX: usize = 64 * KIB;
/// A superseded assignment reaches a safe point within this time, or is stopped where it is.
pub const SUPERSEDE_TIMEOUT: Millis = Millis::seconds(20);
/// Calls of one target that an agent has in flight; more wait in the target's own queue.
pub const TARGET_CALLS_MAX: usize = 256;
/// Targets that one agent serves.
pub const AGENT_TARGETS_MAX: usize = 10_000;
/// Installations of one agent's targets, each observed between its orders.
pub const AGENT_INSTALLATIONS_MAX: usize = 100_000;
/// Targets that are written down, or sent, at once.
pub const TARGETS_PER_MESSAGE_MAX: usize = 256;
/// Messages that wait for one session of an agent or runner; a session that takes none for so long is closed.
pub const SESSION_QUEUE_MAX: usize = 1024;
/// Events that wait for the loop of an agent; above it sessions are not read.
pub const AGENT_EVENTS_MAX: usize = 1024;

/// Reports of one agent that a coordinator has proposed and the log has not answered.
pub const AGENT_REPORTS_IN_FLIGHT_MAX: usize = 256;
/// Reports of one agent that a coordinator holds beside these: the log or the disk is too busy for them. Above it,
/// or above the bytes of both, the session is not read and more waits in the agent's stream.
pub const AGENT_REPORTS_WAITING_MAX: usize = 4096;
pub const AGENT_REPORTS_BYTES_MAX: usize = 2 * MIB;
/// Verdicts of one agent that wait for the rows that they are compared with.
pub const AGENT_VERDICTS_WAITING_MAX: usize = 1024;
/// Instances of one installation, as counts in reports.
pub const INSTALLATION_INSTANCES_MAX: u32 = 1_000_000;
/// Names of one page of an agent's inventory or of the hosts of an assignment, and the bytes of one page.
pub const PAGE_NAMES_MAX: usize = 4096;
pub const PAGE_BYTES_MAX: usize = AGENT_FRAME_BYTES_MAX / 2;
/// Reads of operators that run at once, and those of one identity: a scan takes a thread and a processor.
pub const READS_AT_ONCE_MAX: usize = 4;
pub const READS_PER_IDENTITY_MAX: usize = 2;
/// Earlier keys of an agent that its runners refuse; the last ones, where it was enrolled anew more often than that within
/// a month.
pub const AGENT_REVOKED_MAX: usize = 1024;
/// Issuing keys of coordinators that a runner knows, of present and of earlier ones, and of these the revoked ones.
pub const RUNNER_ISSUERS_MAX: usize = 1024;
/// Revoked keys that an agent keeps for its next start: in its directory, and in a Secret, which holds 1 MiB and is written
/// whole. Where there are more, it asks the coordinators for all of them at its start.
pub const AGENT_KEPT_REVOKED_MAX: usize = 65_536;
pub const SECRET_KEPT_REVOKED_MAX: usize = 2048;
/// Revoked keys of one message.
pub const REVOKED_PER_MESSAGE_MAX: usize = 4096;
/// Verdicts of one message; each has the words of one failure.
pub const VERDICTS_PER_MESSAGE_MAX: usize = 32;
/// How many installations have a host more or less down is sent at most this often; the first one at once.
pub const DOWN_COUNTS_INTERVAL: Millis = Millis(200);
/// Hosts that a verdict names beside its counts.
pub const HOST_FINDINGS_MAX: usize = 16;
/// A connected runner's row says within this time when it was seen.
pub const RUNNER_SEEN_INTERVAL: Millis = Millis::hours(1);
/// Runners of one message about who is connected, each with its facts.
pub const RUNNERS_PER_MESSAGE_MAX: usize = 200;
/// Earlier incarnations of one name that are remembered as superseded.
pub const SUPERSEDED_KEPT: usize = 1024;
/// Incarnations of one agent that may take over from each other within an hour; so the kept ones are those of the last
/// hours at least, and of months where an agent is seldom started.
pub const SUPERSEDED_PER_HOUR_MAX: usize = 256;
/// Lines about one target in the answer to a question for what a deploy would change.
pub const DIFFERENCE_LINES_MAX: usize = 100_000;
/// The public key of a target.
pub const SEALING_KEY_BYTES_MAX: usize = 4 * KIB;
/// Batches of log lines on their way through an agent or a coordinator, for one question.
pub const LOG_BATCHES_MAX: usize = 16;
/// How long a question for logs waits for a host that has no session, since a runner that was just started is
/// about to have one.
pub const LOG_HOST_WAIT: Millis = Millis::seconds(5);
/// How often such a question is continued with the next session of a host before it says that lines are missing.
pub const LOG_SESSIONS_MAX: usize = 3;
/// Bytes of an agent's journal after which it is compacted, when most of them are of no use any more.
pub const JOURNAL_COMPACT_BYTES: usize = MIB;
/// Bytes of records that one write of an agent's journal joins, unless one record alone is larger.
pub const JOURNAL_GROUP_BYTES: usize = MIB;
/// A journal file over this size is not opened: compaction keeps it far below.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// Archive limits: entries, unpacked bytes per packed byte, path depth, unpacked size.
pub const ARCHIVE_ENTRIES_MAX: u64 = 1_000_000;
pub const ARCHIVE_RATIO_MAX: u64 = 200;
pub const ARCHIVE_DEPTH_MAX: usize = 64;
pub const ARCHIVE_BYTES_MAX: u64 = 8 << 30;
/// Below this many unpacked bytes the ratio is not checked: small texts compress well.
pub const ARCHIVE_RATIO_FREE_BYTES: u64 = 16 << 20;
/// One extension header of an archive (long name, PAX records): a path has at most 4 KiB.
pub const ARCHIVE_EXTENSION_BYTES_MAX: usize = 256 * KIB;
/// A path inside an archive, and one component of it (Linux: `PATH_MAX`, `NAME_MAX`).
pub const ARCHIVE_PATH_BYTES_MAX: usize = 4096;
pub const ARCHIVE_COMPONENT_BYTES_MAX: usize = 255;
/// Symbolic links of one archive, and the steps that resolving all of them may take.
pub const ARCHIVE_LINKS_MAX: usize = 65_536;
pub const ARCHIVE_LINK_STEPS_MAX: usize = 10_000_000;
/// Links followed by one resolution (Linux: `MAXSYMLINKS`).
pub const ARCHIVE_LINK_DEPTH_MAX: usize = 40;
/// Tries of one download; faults of the platform alone are tried again.
pub const FETCH_TRIES_MAX: u32 = 5;
/// Redirects that a download follows; the digest decides what is accepted in the end.
pub const FETCH_REDIRECTS_MAX: usize = 5;
/// Pieces of a download between the socket and the disk.
pub const FETCH_PIECES_QUEUED_MAX: usize = 16;
/// Probes of one service.
pub const HOST_PROBES_MAX: usize = 8;
/// Hooks of a service at one place of a change.
pub const HOST_HOOKS_MAX: usize = 8;
/// Kept free on a host's file system: this share of it, at most [`HOST_DISK_RESERVE_BYTES_MAX`].
pub const HOST_DISK_RESERVE_PERCENT: u64 = 5;
pub const HOST_DISK_RESERVE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a probe's answer that are read.
pub const PROBE_BODY_BYTES_MAX: usize = 64 * KIB;
/// Log files of one service on one host.
pub const LOG_FILES_KEPT: usize = 10;
pub const LOG_FILE_BYTES_MAX: u64 = 10 << 20;
/// One line of a service's output; a longer one is split.
pub const LOG_LINE_BYTES_MAX: usize = 16 * KIB;
/// Text and lines of one batch of log lines, unless one line alone is larger: fits a runner's frame.
pub const LOG_BATCH_BYTES_MAX: usize = 64 * KIB;
pub const LOG_BATCH_LINES_MAX: usize = 1024;
/// Connections that a shim serves at once.
pub const SHIM_CONNECTIONS_MAX: usize = 8;
/// What a shim is started with: command and environment of one service (Linux: a quarter of the 8 MiB stack).
pub const SHIM_SPEC_BYTES_MAX: usize = 2 * MIB;
/// Releases kept on a host: current, previous good and the one in flight.
pub const RELEASES_KEPT: usize = 3;
/// Verified releases that a host remembers to roll back to.
pub const STABLE_RELEASES_MAX: usize = 8;
/// While a verification waits for its first success, the shortest pause between two probes.
pub const PROBE_FIRST_INTERVAL: Millis = Millis(25);
/// That pause grows to this part of the time waited so far, at most to the check's interval.
pub const PROBE_FIRST_SHARE: u64 = 8;
/// A pause between two probes that is longer than interval, timeout and this was not watched.
pub const PROBE_GAP: Millis = Millis::seconds(2);
/// Restarts of one service that are remembered; a policy with a larger `max` counts these.
pub const RESTARTS_COUNTED_MAX: usize = 64;
/// From the first byte to the verified file.
pub const HOST_FETCH: Millis = Millis::minutes(30);
pub const HOST_UNPACK: Millis = Millis::minutes(10);
/// A call to a host's disk or process table.
pub const HOST_CALL: Millis = Millis::seconds(30);
pub const HOST_START: Millis = Millis::seconds(60);
/// A command that makes a service read its configuration anew.
pub const HOST_RELOAD: Millis = Millis::seconds(60);
/// A goal that a host can't write down within this time is refused, before its agent ends the session.
pub const HOST_GOAL_TIMEOUT: Millis = Millis::seconds(4);
/// Calls of one installation that are in flight at once, those that hang in a disk after their deadline included.
pub const HOST_CALLS_MAX: usize = HOST_PROBES_MAX + 6;
/// Waiting for other installations of the host to end their disruptive step.
pub const HOST_SLOT_TIMEOUT: Millis = Millis::hours(24);
/// Installations of one host.
pub const HOST_INSTALLATIONS_MAX: usize = 256;
/// Commands that wait for one installation of a host.
pub const HOST_COMMANDS_MAX: usize = 16;
/// Changes that a host has sent and its reader has not read; of one installation the latest counts.
pub const HOST_REPORTS_QUEUED_MAX: usize = 64;
/// Removed when a host's disk is full, so that a journal can still be written.
pub const HOST_RESERVE_BYTES: usize = MIB;
/// For the first inspection of everything on a host: longer than a shim may take to answer.
pub const HOST_INSPECT_TIMEOUT: Millis = Millis::seconds(45);
/// An inspection of a host that failed is repeated after this.
pub const HOST_INSPECT_RETRY_DELAY: Millis = Millis::seconds(1);
/// A host that can't be inspected so often in a row is reported as broken.
pub const HOST_INSPECTION_FAILURES_MAX: u8 = 2;
/// How often a blob may vanish between its fetch and its unpacking.
pub const HOST_BLOB_LOSSES_MAX: u8 = 3;
/// Answers of calls that a host may lose before it fails a goal.
pub const HOST_LOSSES_MAX: u8 = 16;

const _: () = assert!(2 * LOG_BATCH_BYTES_MAX + 32 * LOG_BATCH_LINES_MAX < RUNNER_FRAME_BYTES_MAX);
/// A file with a rule for a kind of custom resource.
pub const RULE_FILE_BYTES_MAX: usize = 256 * KIB;
/// Rule files that one judge takes.
pub const RULES_MAX: usize = 4096;
/// Clauses of one rule, and kinds that it matches.
pub const RULE_CLAUSES_MAX: usize = 64;
/// One CEL expression: text, nesting, loops inside of loops.
pub const CEL_BYTES_MAX: usize = 2 * KIB;
pub const CEL_DEPTH_MAX: usize = 64;
pub const CEL_LOOPS_MAX: u32 = 2;
/// The longest list or map that a CEL loop may meet, and the steps that all loops of an expression may take.
pub const CEL_COLLECTION_MAX: usize = 4096;
pub const CEL_STEPS_MAX: u64 = 20_000_000;
/// Values of an object's status that are checked for hidden bad news, and how deep.
pub const STATUS_VALUES_MAX: usize = 200_000;
pub const STATUS_DEPTH_MAX: usize = 32;
/// A value of an object inside of a message or as evidence, in characters.
pub const EVIDENCE_CHARS_MAX: usize = 400;
/// Owners from a custom resource down to its pods that a verdict follows.
pub const OWNER_DEPTH_MAX: usize = 16;
/// Evidence that can be a flap counts once it is so old.
pub const STRIKE_AGE: Millis = Millis::seconds(3);

const _: () = assert!(ENTRY_BYTES_MAX < ROW_BYTES_MAX && 2 * ROW_BYTES_MAX <= STORED_BYTES_MAX);
const _: () = assert!(DOCUMENT_PART_BYTES < OPERATOR_REPLY_BYTES_MAX / 2 + 1);
const _: () = assert!(CONTENT_PART_BYTES < AGENT_FRAME_BYTES_MAX / 2 + 1);
const _: () = assert!(SPEC_FILE_BYTES_MAX < OPERATOR_REQUEST_BYTES_MAX);
const _: () = assert!(OPERATOR_REQUEST_BYTES_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(ENTRY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX + ENTRY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(DISK_FULL_BYTES >= 2 * LOG_BYTES_MAX as u64);
const _: () = assert!(UNCOMMITTED_BYTES_MAX < LOG_BYTES_MAX / 2);
const _: () = assert!(
    INSTANCES_REPORTED_MAX * (INSTANCE_MESSAGE_BYTES_MAX + INSTANCE_NAME_BYTES_MAX + 3 * NAME_BYTES_MAX)
        < AGENT_FRAME_BYTES_MAX / 2
);
const _: () = assert!(
    VERDICTS_PER_MESSAGE_MAX
        * (2 * (MESSAGE_BYTES_MAX + INSTANCE_NAME_BYTES_MAX + NAME_BYTES_MAX)
            + 4 * NAME_BYTES_MAX
            + HOST_FINDINGS_MAX * (INSTANCE_MESSAGE_BYTES_MAX + 2 * NAME_BYTES_MAX))
        < AGENT_FRAME_BYTES_MAX / 2
);
const _: () = assert!(
    RUNNERS_PER_MESSAGE_MAX * (FACTS_MAX * (2 * LABEL_BYTES_MAX + 4) + 3 * NAME_BYTES_MAX)
        < AGENT_FRAME_BYTES_MAX
);
const _: () = assert!(COMMIT_BYTES_MAX < AGENT_FRAME_BYTES_MAX / 4);
const _: () = assert!(UNGUARDED_CALL.0 < SUPERSEDE_TIMEOUT.0);
const _: () = assert!(LEASE.0 < AGENT_LOST_AFTER.0);
const _: () = assert!(QUORUM_LEASE.0 + LEASE.0 < AGENT_LOST_AFTER.0);
const _: () = assert!(QUORUM_LEASE.0 < QUORUM_LOST_AFTER.0);
const _: () = assert!(AGENT_KEEP_ALIVE.0 * 2 < LEASE.0);
const _: () = assert!(LEASE_PING.0 * 3 < LEASE.0);
const _: () = assert!(HOST_LOST_AFTER.0 > AGENT_LOST_AFTER.0);
const _: () = assert!(REVOKED_PER_MESSAGE_MAX * 48 < AGENT_FRAME_BYTES_MAX);
const _: () = assert!(AGENT_REVOKED_MAX * 48 < RUNNER_FRAME_BYTES_MAX);
const _: () = assert!(RUNNER_ISSUERS_MAX * (48 + 32) < RUNNER_FRAME_BYTES_MAX);
// A line of text each, beside the identity and the end of the journal.
const _: () = assert!(SECRET_KEPT_REVOKED_MAX * 96 < MIB / 2);
const _: () = assert!(AGENT_REPORTS_BYTES_MAX > AGENT_FRAME_BYTES_MAX);
const _: () = assert!(PROPOSALS_BYTES_MAX > ENTRY_BYTES_MAX);
const _: () = assert!(PROPOSALS_RESERVED * 2 * COMMENT_BYTES_MAX <= PROPOSALS_BYTES_RESERVED);
const _: () = assert!(READS_WAITING_MAX + READS_WAITING_RESERVED <= PROPOSALS_MAX);
