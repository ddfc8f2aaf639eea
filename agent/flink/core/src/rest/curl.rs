//! The same request by hand: what a call that changes something sends, as a command of a shell.
//!
//! The JobManager's address is the variable `$JOBMANAGER`: which one answers is known where the request is sent, and who
//! shows the command fills in the first one of the target.

use trimaran_model::action::JOBMANAGER;
use trimaran_model::limits::STEP_BYTES_MAX;
use trimaran_model::text::cut;

use super::{Body, Exchange, Next, Request, upload};
use crate::call::Call;
use crate::files::ShippedFiles;

/// The commands of a call that changes something at the JobManager, one behind the other; none for one that reads. Long
/// arguments and configuration are cut.
pub fn curl(call: &Call) -> Vec<String> {
    let request = match call {
        Call::Upload { name, jar, files, .. } => {
            let jar = command(&upload::jar_request(name, jar));
            return [jar].into_iter().chain(files.as_ref().map(files_command)).collect();
        }
        Call::Stop { .. } | Call::Cancel { .. } | Call::Run { .. } => {
            let mut exchange = Exchange::new(call.clone(), "").expect("it is a call of the API");
            let Next::Send(request) = exchange.next(None) else { unreachable!("it begins with its request") };
            request
        }
        _ => return Vec::new(),
    };
    vec![command(&request)]
}

/// All files with one command.
fn files_command(shipped: &ShippedFiles) -> String {
    let uploads = shipped.uploads();
    let requests = uploads.iter().map(|(name, file)| upload::file_request(name, file, shipped.clone()));
    let forms = requests.map(|request| arguments(&request)).collect::<Vec<_>>();
    cut(format!("curl {}", forms.join(" --next ")), STEP_BYTES_MAX)
}

fn command(request: &Request) -> String {
    cut(format!("curl {}", arguments(request)), STEP_BYTES_MAX)
}

fn arguments(request: &Request) -> String {
    let url = quoted(&request.path);
    let body = match &request.body {
        Body::None => String::new(),
        Body::Json(text) => format!(" -H 'Content-Type: application/json' -d {}", quoted(text)),
        Body::Jar { name, .. } => format!(" -F {}", quoted(&format!("jarfile=@job.jar;filename={name}"))),
        Body::File { name, file, .. } => {
            format!(" -F {}", quoted(&format!("jarfile=@{file};filename={name}")))
        }
    };
    format!("-sS -X {} \"{JOBMANAGER}\"{url}{body}", request.method.as_str())
}

/// A word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::FlinkId;
    use crate::ledger::RunRequest;

    #[test]
    fn what_changes_something_is_a_command_and_what_reads_is_none() {
        let job = FlinkId([0x2c; 16]);
        let id = "2c".repeat(16);
        assert_eq!(curl(&Call::Jobs), [""; 0]);
        let cancel = curl(&Call::Cancel { job });
        assert_eq!(cancel, [format!("curl -sS -X PATCH \"$JOBMANAGER\"'/jobs/{id}?mode=cancel'")]);
        let request = RunRequest { jar: "v2.jar".to_owned(), body: r#"{"a":"it's"}"#.to_owned() };
        let run = curl(&Call::Run { job, request, at: None });
        assert_eq!(
            run,
            ["curl -sS -X POST \"$JOBMANAGER\"'/jars/v2.jar/run' -H 'Content-Type: application/json' -d \
             '{\"a\":\"it'\\''s\"}'"]
        );
    }
}
