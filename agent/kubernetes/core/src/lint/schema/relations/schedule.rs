//! Schedules of CronJobs, as `ParseStandard` of `robfig/cron` v3 reads them, which the API server uses.

/// The fields of a schedule, with their bounds and the names of their values.
const FIELDS: [(&str, u32, u32, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of the month", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    ("day of the week", 0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

const NAMES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule.
pub(super) fn fault(text: &str) -> Option<String> {
    let zone = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
    if zone.is_some() {
        return Some("the time zone stands in `timeZone`".to_owned());
    }
    if let Some(length) = text.strip_prefix("@every ") {
        // A duration of Go: `1h30m`.
        let fits = !length.is_empty() && length.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'.');
        return (!fits).then(|| "`@every` takes a duration such as 1h30m".to_owned());
    }
    if text.starts_with('@') {
        return (!NAMES.contains(&text)).then(|| format!("the names are {}", NAMES.join(", ")));
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Some(format!("it has {} fields and not 5", parts.len()));
    }
    parts.iter().zip(FIELDS).find_map(|(part, field)| {
        let (name, least, most, _) = field;
        (!part.split(',').all(|range| is_range(range, field)))
            .then(|| format!("`{part}` is no {name}, which is {least} to {most}"))
    })
}

/// `*`, `5`, `mon-fri`, `*/15`, `10-20/5`.
fn is_range(text: &str, (_, least, most, names): (&str, u32, u32, &[&str])) -> bool {
    let value = |text: &str| {
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = named.and_then(|at| u32::try_from(at).ok()).map(|at| at + least);
        let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        named.or_else(|| if digits { text.parse().ok() } else { None })
    };
    let (range, step) = match text.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (text, None),
    };
    if step.is_some_and(|step| step.parse::<u32>().ok().is_none_or(|step| step == 0)) {
        return false;
    }
    let (from, to) = match range.split_once('-') {
        _ if matches!(range, "*" | "?") => (Some(least), Some(most)),
        Some((from, to)) => (value(from), value(to)),
        None => (value(range), value(range)),
    };
    matches!((from, to), (Some(from), Some(to)) if least <= from && from <= to && to <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_as_a_server_reads_them() {
        for good in [
            "* * * * *",
            "*/5 * * * *",
            "0 3 * * 1-5",
            "0 0 1 jan *",
            "15,45 8-18/2 * * MON-fri",
            "0 0 ? * 0",
            "@hourly",
            "@every 1h30m",
            " 0  4 * * * ",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for (bad, part) in [
            ("* * * *", "4 fields"),
            ("0 0 * * * *", "6 fields"),
            ("60 * * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 0 0 * *", "day of the month"),
            ("0 0 * 13 *", "month"),
            ("0 0 * * 7", "day of the week"),
            ("*/0 * * * *", "minute"),
            ("5-1 * * * *", "minute"),
            ("a * * * *", "minute"),
            ("@noon", "@hourly"),
            ("TZ=UTC 0 0 * * *", "timeZone"),
            ("", "0 fields"),
        ] {
            assert!(fault(bad).is_some_and(|why| why.contains(part)), "{bad}: {:?}", fault(bad));
        }
    }
}
