//! Savepoints in a store of objects, which checks signatures as S3 does: it makes them again from the secret.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use trimaran_agent_core::platform::Answer;
use trimaran_flink::{Access, S3Settings, Savepoints};
use trimaran_flink_core::call::{Call, Reply, SavepointSeen};

use crate::server::{Answer as Said, Asked, Server};
use crate::{ask, target};

const ID: &str = "AKIAEXAMPLE";
const SECRET: &str = "an example+of/a secret";
/// Prefixes and keys that one page has.
const PAGE: usize = 2;

/// A store with one bucket `flink`.
async fn store(keys: &'static [&'static str]) -> Server {
    Server::start(None, move |asked| {
        let refused = |code: &str| {
            Some((403, format!("<Error><Code>{code}</Code><Message>go away &amp; stay</Message></Error>")))
        };
        match is_signed(asked) {
            true => list(keys, asked),
            false => refused("SignatureDoesNotMatch"),
        }
    })
    .await
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            plain.push(u8::from_str_radix(&text[at + 1..at + 3], 16).expect("hex digits"));
            at += 3;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(plain).expect("keys are text")
}

fn list(keys: &[&str], asked: &Asked) -> Said {
    let (path, query) = asked.path.split_once('?').expect("a listing has a query");
    let query: BTreeMap<&str, String> =
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k, decoded(v))).collect();
    if path != "/flink" || query.get("list-type").map(String::as_str) != Some("2") {
        return Some((404, "<Error><Code>NoSuchBucket</Code></Error>".to_owned()));
    }
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let mut entries = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(&prefix)) {
        let below = key[prefix.len()..].split_once('/').filter(|_| query.contains_key("delimiter"));
        let entry = match below {
            Some((first, _)) => format!("<CommonPrefixes><Prefix>{prefix}{first}/</Prefix></CommonPrefixes>"),
            None => format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-30T00:00:00.500Z</LastModified></Contents>"
            ),
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    let from: usize = query.get("continuation-token").map_or(0, |token| token.parse().expect("its own"));
    let next = (from + PAGE < entries.len()).then_some(from + PAGE);
    let more = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |next| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
        },
    );
    let shown: String = entries.into_iter().skip(from).take(PAGE).collect();
    let body = format!("<ListBucketResult><Prefix>{prefix}</Prefix>{more}{shown}</ListBucketResult>");
    Some((200, body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn tag(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// Whether a request has the signature that its own headers and the secret make.
fn is_signed(asked: &Asked) -> bool {
    let Some(header) = asked.headers.get("authorization") else { return false };
    let part = |name: &str| {
        let (_, behind) = header.split_once(&format!("{name}="))?;
        Some(behind.split([',', ' ']).next().unwrap_or_default().to_owned())
    };
    let (Some(credential), Some(names), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return false;
    };
    let (id, scope) = credential.split_once('/').expect("a scope");
    let (path, query) = asked.path.split_once('?').expect("a query");
    let mut sorted: Vec<&str> = query.split('&').collect();
    sorted.sort_unstable();
    let headers: String =
        names.split(';').map(|name| format!("{name}:{}\n", asked.headers[name].trim())).collect();
    let body = &asked.headers["x-amz-content-sha256"];
    let canonical = format!("GET\n{path}\n{}\n{headers}\n{names}\n{body}", sorted.join("&"));
    let time = &asked.headers["x-amz-date"];
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(&canonical));
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| tag(&key, part));
    id == ID && body == &sha256("") && signature == hex(&tag(&key, &text))
}

/// The settings of an agent that has these variables beside the address of the store.
fn settings(server: &Server, variables: &[(&str, &str)]) -> S3Settings {
    let endpoint = format!("http://{}", server.address);
    S3Settings::from_variables(|name| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
    })
}

async fn listed(s3: S3Settings, directory: &str) -> Reply {
    let it = target(&[], Access::default(), Savepoints::new("s3://flink/base".to_owned(), s3));
    match ask(&it, Call::List { directory: directory.to_owned() }).await {
        Answer::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

const KEYS: &[&str] = &[
    "base/clicks/2-1-1/other",
    "base/clicks/2-1-1/savepoint-0a1b2c-1/1f2e",
    "base/clicks/2-1-1/savepoint-0a1b2c-2/_metadata",
    "base/clicks/2-1-1/savepoint-0a1b2c-2/state-1",
    "base/clicks/2-1-1/savepoint-0a1b2c-3/_metadata-not",
    "base/clicks/2-1-1/taskowned/x",
    "base/clicks/2-1-2/savepoint-0a1b2c-4/_metadata",
    "base/clicks/a & b/chk-7/_metadata",
];

#[tokio::test]
async fn complete_savepoints_of_one_directory_are_listed_page_by_page() {
    let server = store(KEYS).await;
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let list = async |directory: &str| match listed(settings(&server, &keys), directory).await {
        Reply::Savepoints(found) => found,
        other => panic!("{directory}: {other:?}"),
    };
    let found = list("s3://flink/base/clicks/2-1-1").await;
    let [SavepointSeen { path, is_complete, modified }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(path, "s3://flink/base/clicks/2-1-1/savepoint-0a1b2c-2");
    assert!(*is_complete && modified.0 == 1_795_996_800_500, "{modified:?}");
    let odd = list("s3p://flink/base/clicks/a & b/").await;
    assert_eq!(odd.len(), 1);
    assert_eq!(odd[0].path, "s3p://flink/base/clicks/a & b/chk-7");
    assert!(list("s3://flink/base/clicks/9-1-1").await.is_empty());
}

#[tokio::test]
async fn keys_come_from_the_file_as_it_is_now_and_refusals_have_the_stores_words() {
    let server = store(KEYS).await;
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("credentials");
    let write = |secret: &str| {
        let text = format!("[default]\naws_access_key_id = {ID}\naws_secret_access_key = {secret}\n");
        std::fs::write(&file, text).expect("a file");
    };
    let path = file.display().to_string();
    let s3 = settings(&server, &[("AWS_SHARED_CREDENTIALS_FILE", &path), ("AWS_REGION", "eu-central-1")]);
    write("another secret");
    let refused = listed(s3.clone(), "s3://flink/base/clicks/2-1-1").await;
    let Reply::Unavailable { message } = &refused else { panic!("{refused:?}") };
    assert!(
        message.contains("s3://flink/base") && message.contains("403 SignatureDoesNotMatch"),
        "{message}"
    );
    write(SECRET);
    let found = listed(s3.clone(), "s3://flink/base/clicks/2-1-1").await;
    assert!(matches!(&found, Reply::Savepoints(found) if found.len() == 1), "{found:?}");
    let missing = listed(s3, "s3://other/base").await;
    let Reply::Unavailable { message } = &missing else { panic!("{missing:?}") };
    assert!(message.contains("404 NoSuchBucket"), "{message}");
}
