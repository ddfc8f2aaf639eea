//! What a store answers to a listing: the few elements that are read of its XML.
//!
//! No element of it holds another one of its own name, and none that is read has attributes.

use trimaran_model::time::WallTime;

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// What keys have in common up to the next slash, with the slash.
    pub(crate) prefixes: Vec<String>,
    pub(crate) objects: Vec<Object>,
    /// Where the next page begins.
    pub(crate) next: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) key: String,
    pub(crate) modified: WallTime,
}

/// Reads a page; `None`: it is none.
pub(crate) fn page(xml: &str) -> Option<Page> {
    if !xml.contains("<ListBucketResult") {
        return None;
    }
    let prefixes = elements(xml, "CommonPrefixes").filter_map(|it| text(it, "Prefix")).collect();
    let objects = elements(xml, "Contents").map(object).collect::<Option<_>>()?;
    let is_truncated = text(xml, "IsTruncated").is_some_and(|it| it == "true");
    let next = text(xml, "NextContinuationToken").filter(|_| is_truncated);
    Some(Page { prefixes, objects, next })
}

fn object(xml: &str) -> Option<Object> {
    let modified: jiff::Timestamp = text(xml, "LastModified")?.parse().ok()?;
    Some(Object { key: text(xml, "Key")?, modified: WallTime(modified.as_millisecond()) })
}

/// The code and the message of a refusal, or the beginning of what came instead.
pub(crate) fn refusal(body: &str) -> String {
    match (text(body, "Code"), text(body, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        (None, _) => body.chars().take(200).collect(),
    }
}

/// The text of the first element of this name.
fn text(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).next().map(unescaped)
}

/// What is inside of each element of this name.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(&begin)?;
        let (inside, behind) = behind.split_once(&end)?;
        rest = behind;
        Some(inside)
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        plain.push_str(before);
        let entity = behind.split_once(';').and_then(|(name, behind)| Some((entity(name)?, behind)));
        match entity {
            Some((c, behind)) => {
                plain.push(c);
                rest = behind;
            }
            None => {
                plain.push('&');
                rest = behind;
            }
        }
    }
    plain + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let xml = "<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                   <Prefix>clicks/</Prefix><IsTruncated>true</IsTruncated>\
                   <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>\
                   <Contents><Key>clicks/_metadata</Key><LastModified>2013-05-24T00:00:00.250Z</LastModified>\
                   <Size>7</Size></Contents>\
                   <CommonPrefixes><Prefix>clicks/a &amp; b&#x2f;</Prefix></CommonPrefixes>\
                   <CommonPrefixes><Prefix>clicks/c/</Prefix></CommonPrefixes></ListBucketResult>";
        let read = page(xml).expect("it is a page");
        assert_eq!(read.prefixes, ["clicks/a & b/", "clicks/c/"]);
        let modified = WallTime(1_369_353_600_250);
        assert_eq!(read.objects, [Object { key: "clicks/_metadata".to_owned(), modified }]);
        assert_eq!(read.next.as_deref(), Some("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM="));
        let last = xml.replace("<IsTruncated>true", "<IsTruncated>false");
        assert_eq!(page(&last).expect("it is a page").next, None);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert_eq!(page("<html>502</html>"), None);
        let broken = "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>";
        assert_eq!(page(broken), None, "an object without its time");
    }

    #[test]
    fn refusals_have_the_words_of_the_store() {
        let body = "<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>";
        assert_eq!(refusal(body), "NoSuchBucket: The bucket does not exist");
        assert_eq!(refusal("502 Bad Gateway"), "502 Bad Gateway");
    }
}
