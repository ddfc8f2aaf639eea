//! 2000 to 3999: requests of operators: planning, deploying, deciding.

super::error_codes! { ENTRIES_REQUEST;
    USAGE 2001 Usage "invalid arguments"
        "An argument is missing, unknown or of the wrong form."
        "`trimaran COMMAND --help` shows the forms with examples.";
    DENIED 2101 Denied "not allowed"
        "The role of your certificate does not include this request."
        "Ask an admin, or use a context with another role.";
    NOT_FOUND 2102 NotFound "not found"
        "Nothing of this name exists in this cluster."
        "List what exists: `trimaran run list`, `target list`, `agent list`, `runner list` or `installation list`.";
    PIPELINE_UNKNOWN 2201 NotFound "unknown pipeline"
        "No pipeline of this name was applied or deployed."
        "Name the file with `-f FILE`, or apply it first.";
    TARGET_UNKNOWN 2202 Refused "unknown target"
        "The pipeline names a target that was not applied to this cluster."
        "`trimaran target list` shows the targets; an admin adds one with `trimaran apply`.";
    TARGET_PLATFORM 2203 Refused "the target is of another platform"
        "The pipeline's workload can't run on the platform of this target."
        "Name a target of the workload's platform.";
    ARTIFACT_MISSING 2204 Usage "an artifact has no version"
        "The workload needs an artifact whose version is not in the request."
        "Add `--artifact NAME=VERSION`.";
    ARTIFACT_DIGEST 2205 Usage "an artifact has no digest"
        "The artifact can't be read from this machine, so its digest can't be computed."
        "Check the version, or add the digest: `--artifact NAME=VERSION@sha256:HEX`.";
    PLAN_CHANGED 2206 Refused "the plan is another one"
        "The digest of the request is not the digest of the plan that would run."
        "Plan again, review the plan and use its digest.";
    WORKLOAD_UNSUPPORTED 2207 Refused "the agent has no driver for this workload"
        "The pipeline is right, but the agent of its target is of a version that can't deploy such a workload."
        "Run an agent of a version that has a driver for it; `trimaran agent list -o json` shows what each agent drives.";
    NO_HOSTS 2208 Refused "the target has no hosts"
        "No enrolled runner has the labels that the target selects."
        "Enroll runners with these labels; `trimaran runner list` shows them.";
    CONTENT_MISSING 2209 Refused "a part of the release is not in the cluster"
        "The release needs files that were never uploaded, or that were removed because no release used them."
        "Deploy with the pipeline's file (`-f FILE`), which uploads them.";
    CONTENT_INVALID 2210 Refused "uploaded files are not what they are said to be"
        "The bytes of an upload do not have its digest or its length."
        "Deploy again; report it if it repeats.";
    SECRET_PLAIN 2211 Refused "a secret is not sealed"
        "The manifests have a Secret with values, and no key came to seal them with, so they did not leave your machine."
        "Start the agents of all targets of the pipeline: each gives the key that its values are sealed with.";
    QUESTION_UNANSWERED 2212 Refused "the target's agent does not answer this"
        "The agent of the target has no answer to the question, or its session broke off."
        "Do what the message says; `trimaran agent list` shows the agent.";
    PLATFORM_REFUSES 2213 Refused "the platform would refuse this plan"
        "A target's platform was asked about the plan, changed nothing, and would refuse a part of it."
        "Do what the plan says of each object; `trimaran explain CODE` explains the code of each target in `-o json`.";
    QUARANTINED 2301 Refused "this plan failed before"
        "The same plan was rolled back, so it is not deployed again without an override."
        "Deploy a new version, or repeat with `--override quarantine --reason TEXT`.";
    QUEUE_FULL 2302 Refused "too many runs wait"
        "The pipeline has as many waiting runs as are kept."
        "Cancel some of them or wait.";
    ALREADY_DECIDED 2303 Refused "already decided"
        "Another operator decided this approval first."
        "The message says who chose what; to do the opposite: `trimaran cancel RUN`, or `trimaran rollback PIPELINE --env ENV`.";
    NOT_WAITING 2304 Refused "nothing waits for this"
        "The run has no stage that waits for such an answer."
        "`trimaran why RUN` shows what it waits for.";
    AMBIGUOUS_STAGE 2305 Usage "several stages wait"
        "More than one stage of the run waits for an answer."
        "Name one: `RUN/STAGE`.";
    OPTION_UNKNOWN 2306 Usage "unknown option"
        "The approval has no option of this name."
        "The message lists the options.";
    RUN_DONE 2307 Refused "the run is done"
        "A run that is done can't be changed."
        "Start a new run.";
    NOTHING_TO_ROLL_BACK 2308 Refused "nothing to roll back to"
        "There is no earlier good release of this environment, or it already runs."
        "`trimaran history PIPELINE` shows the releases.";
    CONFIRMATION 2309 Usage "confirmation needed"
        "The command changes production and can't ask, because there is no terminal."
        "Add `--yes`.";
    OTHER_RELEASE_RUNS 2310 Refused "another release runs"
        "`--from` names the version that has to run now; another rollback or deploy was faster."
        "`trimaran status PIPELINE` shows what runs; roll back from that version.";
    REQUEST_ID 2401 Usage "not a UUIDv7"
        "A request id must be a UUID of version 7, because its time decides how long it is kept."
        "Omit `--request-id`, or make one with a UUIDv7 generator.";
    REQUEST_ID_REUSED 2402 Refused "request id used for something else"
        "The same request id was used before with another body."
        "Use a new request id for a new request.";
    REQUEST_EXPIRED 2403 Refused "request id too old"
        "The request id was made more than 24 hours ago, so it can't be known whether it was answered."
        "Check what happened (`trimaran history`), then use a new request id.";
    BUSY 2404 Unreachable "the coordinator is busy"
        "A queue or table of the coordinator is full."
        "Try again; the same request id is safe to repeat.";
    REQUEST_FUTURE 2405 Refused "request id of the future"
        "The request id was made more than 24 hours after the cluster's time, so a clock is wrong."
        "Check the clock of the machine that made the id; `trimaran cluster status` shows the cluster's.";
    QUOTA 2406 Refused "too many changes of one identity"
        "One identity made as many changes as it may have in progress, in a second or in a day, so that the others can work."
        "Try again when the message says; cancel, rollback, approve and resume have a reserve of their own.";
    BUG 2901 Internal "a defect of Trimaran"
        "The request ran into a defect; the state was left as it was before."
        "Report the code in the message.";
}
