//! Pipeline files: no bytes make the reader panic, and every finding has its place inside of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trimaran_language::{SourceFile, compile, compile_host_spec};

fuzz_target!(|bytes: &[u8]| {
    let file = SourceFile { name: "trimaran.yaml", bytes };
    let compiled = compile(&[file]);
    let host = compile_host_spec(file).err().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n').collect();
    for it in compiled.diagnostics.iter().chain(&host) {
        let line = lines.get(it.line as usize - 1).expect("a line of the file");
        let length = line.trim_end_matches('\r').chars().count();
        assert!(it.column >= 1 && it.column as usize <= length + 1, "{it:?}");
        assert!(!it.message.is_empty() && !it.help.is_empty(), "{it:?}");
    }
});
