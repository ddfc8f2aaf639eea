//! Sizes that an API server or its store refuses.

use serde_json::Value;
use trimaran_model::error_code;
use trimaran_model::limits;

use super::set::Set;
use crate::config::{ConfigKind, decode};
use crate::finding::Finding;

pub(super) fn check(set: &Set<'_>, found: &mut Vec<Finding>) {
    for (index, object) in set.objects.iter().enumerate() {
        let config = ConfigKind::of(object).map(|kind| (kind, data_bytes(kind, object)));
        if let Some((kind, bytes)) = config
            && bytes > limits::CONFIG_DATA_BYTES_MAX
        {
            let message = format!(
                "the {} holds {bytes} bytes, at most {} are allowed",
                kind.as_str(),
                limits::CONFIG_DATA_BYTES_MAX
            );
            let pointer = if object.get("data").is_some() { "/data" } else { "/binaryData" };
            let help = "split it, or mount a volume or an image with the data";
            found.push(Finding::error(index, pointer, error_code::OBJECT_TOO_LARGE, message).help(help));
            continue;
        }
        let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
        let bytes: usize = annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum();
        if bytes > limits::ANNOTATIONS_BYTES_MAX {
            let message = format!(
                "the annotations have {bytes} bytes together, at most {} are allowed",
                limits::ANNOTATIONS_BYTES_MAX
            );
            let help = "put the text into a ConfigMap; `kubectl apply` without `--server-side` adds a copy of the object";
            found.push(
                Finding::error(index, "/metadata/annotations", error_code::OBJECT_TOO_LARGE, message)
                    .help(help),
            );
        }
        let bytes = json_bytes(object);
        if bytes > limits::OBJECT_BYTES_MAX {
            let message =
                format!("the object has {bytes} bytes, at most {} are stored", limits::OBJECT_BYTES_MAX);
            found.push(Finding::error(index, "", error_code::OBJECT_TOO_LARGE, message).help("split it"));
        }
    }
}

/// What a server counts: values as bytes, keys not.
fn data_bytes(kind: ConfigKind, object: &Value) -> usize {
    let section = |key: &str| object.get(key).and_then(Value::as_object).into_iter().flatten();
    let plain = |value: &Value| value.as_str().map_or(0, str::len);
    let coded = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        decode(text).map_or(text.len(), |bytes| bytes.len())
    };
    match kind {
        ConfigKind::ConfigMap => {
            section("data").map(|(_, value)| plain(value)).sum::<usize>()
                + section("binaryData").map(|(_, value)| coded(value)).sum::<usize>()
        }
        ConfigKind::Secret => {
            let overridden = |key: &String| object.get("stringData").is_some_and(|it| it.get(key).is_some());
            section("data").filter(|(key, _)| !overridden(key)).map(|(_, value)| coded(value)).sum::<usize>()
                + section("stringData").map(|(_, value)| plain(value)).sum::<usize>()
        }
    }
}

/// Length of the value as JSON, without making it.
fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a JSON value prints");
    count.0
}
