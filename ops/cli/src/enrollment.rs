//! One-time tokens for new agents, runners, operators and coordinators.

use trimaran_wire::document::TokenDocument;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody};

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::Ui;

/// Asks for a token and prints it: alone for people, so that it can be piped to `--token-file -`.
pub(crate) fn enroll(
    remote: &Remote,
    request: &RequestIdArg,
    order: EnrollOrder,
    ui: &Ui,
) -> Result<u8, CliError> {
    let answer = remote.change::<TokenDocument>(request, OperatorBody::Enroll(order))?;
    answer.print(ui, |token| {
        ui.print(&token.token);
        ui.note(&format!("a token for `{}`; it can be used once, until {}", token.name, token.expires_at));
    });
    Ok(0)
}
