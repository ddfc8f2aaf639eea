//! The same request by hand: what a call that changes something sends, as a command of a shell.
//!
//! The JobManager's address is the variable `$JOBMANAGER`: which one answers is known where the request is sent, and who
//! shows the command fills in the first one of the target.

use trimaran_model::action::JOBMANAGER;
use trimaran_model::limits::STEP_BYTES_MAX;
use trimaran_model::text::cut;

use super::{Body, Exchange, Method, Next, Request};
use crate::call::Call;

/// The command of a call that changes something at the JobManager; `None` for one that reads. Long arguments and
/// configuration are cut.
pub fn curl(call: &Call) -> Option<String> {
    let request = match call {
        Call::Upload { name, jar } => Request {
            method: Method::Post,
            path: "/jars/upload".to_owned(),
            body: Body::Jar { name: name.clone(), jar: jar.clone() },
        },
        Call::Stop { .. } | Call::Cancel { .. } | Call::Run { .. } => {
            let mut exchange = Exchange::new(call.clone(), "").expect("it is a call of the API");
            let Next::Send(request) = exchange.next(None) else { unreachable!("it begins with its request") };
            request
        }
        _ => return None,
    };
    let url = quoted(&request.path);
    let body = match &request.body {
        Body::None => String::new(),
        Body::Json(text) => format!(" -H 'Content-Type: application/json' -d {}", quoted(text)),
        Body::Jar { name, .. } => format!(" -F {}", quoted(&format!("jarfile=@job.jar;filename={name}"))),
    };
    let command = format!("curl -sS -X {} \"{JOBMANAGER}\"{url}{body}", request.method.as_str());
    Some(cut(command, STEP_BYTES_MAX))
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
        assert_eq!(curl(&Call::Jobs), None);
        let cancel = curl(&Call::Cancel { job }).expect("it changes something");
        assert_eq!(cancel, format!("curl -sS -X PATCH \"$JOBMANAGER\"'/jobs/{id}?mode=cancel'"));
        let request = RunRequest { jar: "v2.jar".to_owned(), body: r#"{"a":"it's"}"#.to_owned() };
        let run = curl(&Call::Run { job, request }).expect("it changes something");
        assert_eq!(
            run,
            "curl -sS -X POST \"$JOBMANAGER\"'/jars/v2.jar/run' -H 'Content-Type: application/json' -d \
             '{\"a\":\"it'\\''s\"}'"
        );
    }
}
