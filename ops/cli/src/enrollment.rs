//! One-time tokens for new agents, runners, operators and coordinators.

use trimaran_wire::document::{Document as _, TokenDocument};
use trimaran_wire::v1::operator::EnrollOrder;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::remote::{Answer, Remote, answer, client_error};
use crate::ui::Ui;

/// Asks for a token and prints it: alone for people, so that it can be piped to `--token-file -`.
pub(crate) fn enroll(
    remote: &Remote,
    request: &RequestIdArg,
    order: EnrollOrder,
    ui: &Ui,
) -> Result<u8, CliError> {
    let made =
        remote.block_on(remote.client().enroll(request.bytes(), order.clone())).map_err(client_error)?;
    let made: Answer<TokenDocument> = answer(&made.to_json())?;
    let times = if matches!(order, EnrollOrder::Runners { .. }) { "by several runners" } else { "once" };
    made.print(ui, |token| {
        ui.print(&token.token);
        ui.note(&format!("a token for `{}`; it can be used {times}, until {}", token.name, token.expires_at));
    });
    Ok(0)
}
