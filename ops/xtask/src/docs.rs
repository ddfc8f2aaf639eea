//! Pages that are made from the source: the catalogue of errors and the reasons. `tidy` checks that they are
//! the ones that would be made now.

use std::fmt::Write as _;
use std::path::Path;

use trimaran_model::error_code;
use trimaran_model::reason::ReasonCode;

const ERRORS: &str = "ops/docs/errors.md";
const HEALTH: &str = "ops/docs/kubernetes/health.md";

/// Writes the pages.
pub(crate) fn write(root: &Path) -> std::io::Result<()> {
    let health = std::fs::read_to_string(root.join(HEALTH))?;
    std::fs::write(root.join(HEALTH), with_reasons(&health))?;
    std::fs::write(root.join(ERRORS), errors())
}

/// What is not as it would be made now.
pub(crate) fn check(root: &Path) -> Vec<String> {
    let read = |page: &str| std::fs::read_to_string(root.join(page)).unwrap_or_default();
    let (found, health) = (read(ERRORS), read(HEALTH));
    let pages = [(ERRORS, found != errors()), (HEALTH, health != with_reasons(&health))];
    let stale = pages.into_iter().filter(|(_, stale)| *stale);
    stale.map(|(page, _)| format!("{page} is not what the catalogue says; run `cargo xtask docs`")).collect()
}

const REASONS_HEAD: &str = "| reason | verdict | fault | meaning |\n|---|---|---|---|\n";

/// The page on health with its table of reasons as it has to be: the reasons of objects on Kubernetes.
fn with_reasons(page: &str) -> String {
    let Some((before, after)) = page.split_once(REASONS_HEAD) else {
        return format!("{page}\n{REASONS_HEAD}");
    };
    let (_, after) = after.split_once("\n\n").unwrap_or((after, ""));
    let reasons = ReasonCode::ALL.iter().skip_while(|code| **code != ReasonCode::ImagePull);
    let rows = reasons.map(|code| {
        let verdict = match code {
            ReasonCode::Missing => "missing",
            ReasonCode::Paused => "suspended",
            ReasonCode::NoRule => "unknown",
            ReasonCode::NoEndpoints | ReasonCode::Ondelete => "a warning",
            code if code.fault().is_none() => "progressing",
            _ => "degraded",
        };
        let fault = code.fault().map_or("-", |fault| fault.as_str());
        format!("| `{}` | {verdict} | {fault} | {} |", code.as_str(), code.summary())
    });
    format!("{before}{REASONS_HEAD}{}\n\n{after}", rows.collect::<Vec<_>>().join("\n"))
}

fn errors() -> String {
    let mut page = "\
# Errors and reasons

Made by `cargo xtask docs` from the catalogue; `trimaran explain CODE` prints the same without this page.

## Errors

"
    .to_owned();
    for entry in error_code::catalogue() {
        let (code, exit) = (entry.code, entry.exit as u8);
        let of_warning = if entry.exit == error_code::Exit::BadInput { "; as a warning 0" } else { "" };
        // The anchor keeps links short and stable when a title changes.
        write!(
            page,
            "<a id=\"{}\"></a>\n### {code}: {}\n\n{}\n\n{} Exit code {exit}{of_warning}.\n\n",
            code.to_string().to_lowercase(),
            entry.title,
            entry.cause,
            entry.help
        )
        .expect("a string grows");
    }
    page.push_str("## Reasons\n\nWhy a stage or host does not move, is not healthy or was refused.\n\n");
    page.push_str("| reason | meaning | what to do | fault |\n|---|---|---|---|\n");
    for reason in ReasonCode::ALL {
        let fault = reason.fault().map_or("none, it waits", |fault| fault.as_str());
        let row =
            [reason.as_str(), reason.summary(), reason.advice(), fault].map(|cell| cell.replace('|', "\\|"));
        writeln!(page, "| `{}` | {} | {} | {} |", row[0], row[1], row[2], row[3]).expect("a string grows");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_reason_is_on_the_page_once() {
        let page = errors();
        for entry in error_code::catalogue() {
            assert_eq!(page.matches(&format!("### {}:", entry.code)).count(), 1);
        }
        for reason in ReasonCode::ALL {
            assert_eq!(page.matches(&format!("| `{}` |", reason.as_str())).count(), 1);
        }
    }
}
