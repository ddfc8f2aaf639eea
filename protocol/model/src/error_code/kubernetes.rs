//! 5000 to 5999: manifests, their lint, rendering and judging without a server.

super::error_codes! { ENTRIES_KUBERNETES;
    UNREADABLE 5001 BadInput "the file can't be read"
        "The file is missing, too large, or neither YAML nor JSON."
        "The message has the file, the place and the parser's words.";
}
