//! The useful part of Java's errors, and what it says of a run.

use serde::Deserialize;
use trimaran_model::action::Failure;
use trimaran_model::limits::MESSAGE_BYTES_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::cut;

use crate::call::RefusalKind;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// The innermost cause of an answer that is no success.
pub(super) fn of_error(body: &str) -> String {
    let whole = match serde_json::from_str::<Errors>(body) {
        Ok(Errors { errors }) => errors.join("\n"),
        Err(_) => body.to_owned(),
    };
    of_stack_trace(&whole)
}

/// The innermost cause of a stack trace: the last `Caused by:`, otherwise its first line.
pub(super) fn of_stack_trace(trace: &str) -> String {
    let lines = || trace.lines().map(str::trim).filter(|line| !line.is_empty());
    let caused = lines().filter_map(|line| line.strip_prefix("Caused by: ")).next_back();
    // A body of two texts says first that there is a second one.
    let plain =
        |line: &&str| !line.starts_with("at ") && *line != "Internal server error." && !line.starts_with('<');
    let cause = caused.or_else(|| lines().find(plain)).unwrap_or("without a cause");
    cut(cause.trim_end_matches(',').to_owned(), MESSAGE_BYTES_MAX)
}

/// The savepoint that a failed stop says it has made.
pub(super) fn created_savepoint(trace: &str) -> Option<String> {
    let (_, behind) = trace.split_once("A savepoint has been created at: ")?;
    let path = behind.split([',', ' ', '\n']).next().unwrap_or_default();
    (!path.is_empty()).then(|| path.trim_end_matches('.').to_owned())
}

/// Whether a savepoint was refused because not all tasks of its job run, whatever the job's own state is: behind a failover
/// a job is `RUNNING` before they are, and before that it has no JobMaster that could be asked.
pub(super) fn is_not_ready(cause: &str) -> bool {
    const TEXTS: [&str; 4] = [
        // `CheckpointFailureReason.NOT_ALL_REQUIRED_TASKS_RUNNING`.
        "Not all required tasks are currently running",
        "is not being executed at the moment",
        // The adaptive scheduler, while it does not execute.
        "job is currently not executing",
        // The dispatcher, of a job that is being initialized.
        "UnavailableDispatcherOperationException",
    ];
    TEXTS.iter().any(|text| cause.contains(text))
}

/// What an error of a plan or a run means; `None`: nothing about the jar or the state.
pub(super) fn refusal(status: u16, body: &str) -> Option<(RefusalKind, Failure)> {
    let has = |text: &str| body.contains(text);
    // What can't be read lies under the name of one of our uploads: another path is the program's own.
    let is_file_gone =
        has("Could not upload job files") && has("java.io.FileNotFoundException: ") && has("_trimaran-");
    let (kind, code) = if (has("Jar file ") && has(" does not exist")) || is_file_gone {
        (RefusalKind::UploadGone, ReasonCode::JarRefused)
    } else if has("Cannot map checkpoint/savepoint state") {
        (RefusalKind::State, ReasonCode::StateIncompatible)
    } else if has("Cannot find checkpoint or savepoint")
        || has("UnsupportedFileSystemSchemeException")
        || has("Cannot find meta data file '_metadata'")
    {
        (RefusalKind::StateMissing, ReasonCode::StateMissing)
    } else if status == 400
        || has("ProgramInvocationException")
        || has("entry point class")
        || has("'Main-Class'")
    {
        (RefusalKind::Jar, ReasonCode::JarRefused)
    } else {
        return None;
    };
    Some((kind, Failure { code, message: of_error(body), instance: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_one_of_ours() {
        let recorded = |path: &str| {
            format!(
                "{{\"errors\":[\"org.apache.flink.runtime.rest.handler.RestHandlerException: Could not execute application.\\n\\t\
                 ... 8 more\\nCaused by: org.apache.flink.util.FlinkException: Could not upload job files.\\n\\tat a\\nCaused \
                 by: java.io.FileNotFoundException: {path} (No such file or directory)\\n\\t... 46 more\\n\"]}}"
            )
        };
        let kind = |path: &str| refusal(400, &recorded(path)).expect("it is refused").0;
        assert_eq!(kind("/tmp/flink-web-upload/a1_trimaran-clicks-0123.jar"), RefusalKind::UploadGone);
        assert_eq!(kind("/etc/rules.json"), RefusalKind::Jar, "the program names a file of its own");
    }

    #[test]
    fn a_stop_that_never_began_is_not_one_that_failed() {
        let recorded = "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint triggering task Source: \
                        numbers (1/1) of job 2c60a65f7dbc28d91b19e25c1c33e93a is not being executed at the moment. \
                        Aborting checkpoint. Failure reason: Not all required tasks are currently running.";
        let initializing = "org.apache.flink.runtime.dispatcher.UnavailableDispatcherOperationException: Unable to get \
                            JobMasterGateway for initializing job. The requested operation is not available while the \
                            JobManager is still initializing.";
        assert!(is_not_ready(recorded) && is_not_ready(initializing));
        let failed = [
            "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint expired before completing.",
            "java.io.IOException: Failed to create savepoint directory",
            "org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job (00)",
        ];
        assert!(failed.iter().all(|cause| !is_not_ready(cause)));
    }
}
