//! The rule files that come with Trimaran, as they stand in `rules/`.

include!(concat!(env!("OUT_DIR"), "/builtin_rules.rs"));
