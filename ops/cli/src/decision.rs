//! What `approve`, `cancel` and `resume` share: the request and its answer.

use trimaran_wire::document::Decision;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::Ui;

/// Sends a decision about a run and prints what was decided, and by whom.
pub(crate) fn decide(request: &RequestIdArg, body: OperatorBody, ui: &Ui) -> Result<u8, CliError> {
    let answer = Remote::new(ui)?.change::<Decision>(request, body)?;
    answer.print(ui, |decision| {
        let stage = decision.stage.as_deref().map(|stage| format!("/{stage}")).unwrap_or_default();
        let words = decision.decision.replace('_', " ");
        ui.print(&format!("{}{stage}: {words} by {}", decision.run, decision.by));
    });
    Ok(0)
}
