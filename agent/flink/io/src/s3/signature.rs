//! Signature Version 4 of AWS, for requests without a body.

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use trimaran_model::time::WallTime;

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    /// Of keys that are lent for a time.
    pub(crate) token: Option<String>,
}

/// A request with the method `GET`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unsigned<'a> {
    pub(crate) region: &'a str,
    /// As the header `Host` has it.
    pub(crate) host: &'a str,
    /// Encoded, with its slash.
    pub(crate) path: &'a str,
    /// Encoded, its parameters sorted.
    pub(crate) query: &'a str,
}

/// The headers that sign a request at a time; the header `Host` is signed too.
pub(crate) fn headers(request: &Unsigned<'_>, keys: &Keys, at: WallTime) -> Vec<(&'static str, String)> {
    let Unsigned { region, host, path, query } = *request;
    let time = basic_format(at);
    let day = &time[..8];
    let mut headers = vec![("x-amz-content-sha256", EMPTY.to_owned()), ("x-amz-date", time.clone())];
    headers.extend(keys.token.clone().map(|token| ("x-amz-security-token", token)));
    let names: Vec<&str> = std::iter::once("host").chain(headers.iter().map(|(name, _)| *name)).collect();
    let names = names.join(";");
    let mut canonical = format!("GET\n{path}\n{query}\nhost:{host}\n");
    for (name, value) in &headers {
        canonical.push_str(&format!("{name}:{value}\n"));
    }
    canonical.push_str(&format!("\n{names}\n{EMPTY}"));
    let scope = format!("{day}/{region}/s3/aws4_request");
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{hashed}");
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in [day, region, "s3", "aws4_request"] {
        key = tag(&key, part);
    }
    let signature = hex(&tag(&key, &text));
    let id = &keys.id;
    let authorization =
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.push(("authorization", authorization));
    headers
}

fn tag(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20130524T000000Z`.
fn basic_format(at: WallTime) -> String {
    let time = jiff::Timestamp::from_millisecond(at.0.max(0)).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Encodes a value of a query as the signature wants it: everything but letters, digits and `-._~`.
pub(crate) fn encoded(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(token: Option<&str>) -> Keys {
        Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: token.map(str::to_owned),
        }
    }

    fn authorization(keys: &Keys) -> String {
        let request = Unsigned {
            region: "us-east-1",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "max-keys=2&prefix=J",
        };
        // 2013-05-24T00:00:00Z
        let headers = headers(&request, keys, WallTime(1_369_353_600_000));
        headers.into_iter().find(|(name, _)| *name == "authorization").expect("it is signed").1
    }

    /// The example of the S3 manual, "Get Bucket (List Objects)".
    #[test]
    fn the_example_of_the_manual_has_its_signature() {
        assert_eq!(
            authorization(&keys(None)),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn the_token_of_lent_keys_is_signed() {
        let signed = authorization(&keys(Some("lent")));
        assert!(signed.contains("x-amz-date;x-amz-security-token, "), "{signed}");
    }

    #[test]
    fn values_are_encoded_byte_by_byte() {
        assert_eq!(encoded("clicks/a b+c=ü~"), "clicks%2Fa%20b%2Bc%3D%C3%BC~");
    }
}
