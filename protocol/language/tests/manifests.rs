//! What holds for files of manifests whatever is in them.

use proptest::prelude::*;
use trimaran_language::manifest::{Places, read};

/// Pieces that make files which are nearly right.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        [
            "a: ",
            "b: ",
            "- ",
            "\n",
            "\n  ",
            "\n    ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            "'",
            "&x ",
            "*x",
            "<<: *x",
            "---\n",
            "...\n",
            "|\n",
            ">-\n",
            "# c",
            "0644",
            "yes",
            "~",
            "!!str ",
            "!!int ",
            "!x ",
            "\t",
            "1e3",
            ".inf",
            "ä",
            "\u{feff}",
            "\\ud83d",
            ": ",
            "? ",
            "kind: Pod\n",
            "{\"a\": [1, {\"b\": null}]}",
            "\"a\": \"b\"",
            "%YAML 1.1\n",
            "\r\n",
            "\0",
        ]
        .as_slice(),
    );
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// The files of a few names that a text may have.
fn check(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count() as u32;
    for name in ["a.yaml", "a.json"] {
        match read(name, bytes) {
            Err(problem) => {
                assert!(problem.line >= 1 && problem.column >= 1 && problem.line <= lines + 1, "{problem:?}");
                assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{problem:?}");
            }
            Ok(documents) => {
                let places = Places::default();
                for document in documents {
                    assert!(!document.value.is_null());
                    for pointer in ["", "/a", "/a/0/b", "/b/a", "/nothing/at/all"] {
                        let place = places.of(bytes, document.place, pointer);
                        assert!(place.line >= 1 && place.line <= lines && place.column >= 1, "{place:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn texts_that_are_nearly_right_end(text in text()) {
        check(text.as_bytes());
    }

    #[test]
    fn bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        check(&bytes);
    }
}
