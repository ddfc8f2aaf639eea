//! Pages that are made from the source: the catalogue of errors and the reasons. `tidy` checks that they are
//! the ones that would be made now.

use std::fmt::Write as _;
use std::path::Path;

use trimaran_model::error_code;
use trimaran_model::reason::ReasonCode;

const ERRORS: &str = "ops/docs/errors.md";

/// Writes the pages.
pub(crate) fn write(root: &Path) -> std::io::Result<()> {
    std::fs::write(root.join(ERRORS), errors())
}

/// What is not as it would be made now.
pub(crate) fn check(root: &Path) -> Vec<String> {
    let found = std::fs::read_to_string(root.join(ERRORS)).unwrap_or_default();
    let stale = found != errors();
    stale
        .then(|| format!("{ERRORS} is not what the catalogue says; run `cargo xtask docs`"))
        .into_iter()
        .collect()
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
        // The anchor keeps links short and stable when a title changes.
        write!(
            page,
            "<a id=\"{}\"></a>\n### {code}: {}\n\n{}\n\n{} Exit code {exit}.\n\n",
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
