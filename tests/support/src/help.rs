//! Checks that the help of a program is whole: every command says what it does and what its arguments are, with
//! examples that its own parser takes.

use clap::Command;

/// Checks a program's commands, its own name's included. Their number is `at_least` so many, so that none is lost.
pub fn check(program: &Command, at_least: usize) {
    let mut commands = Vec::new();
    all(program, "", &mut commands);
    assert!(commands.len() >= at_least, "{} commands", commands.len());
    for (path, command) in commands {
        assert!(command.get_about().is_some(), "`{path}` does not say what it does");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "`{path}` does not explain `{}`", argument.get_id());
        }
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let start = format!("  {} ", program.get_name());
        let examples: Vec<&str> = after.lines().filter(|line| line.starts_with(&start)).collect();
        assert!(!examples.is_empty(), "`{path}` has no examples");
        for part in examples.iter().flat_map(|line| line.split(" && ")).flat_map(|line| line.split(" | ")) {
            check_example(program, part.trim());
        }
    }
}

/// Every command with its path, groups too.
fn all(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
    let path = format!("{path}{}", command.get_name());
    for below in command.get_subcommands() {
        all(below, &format!("{path} "), found);
    }
    found.push((path, command.clone()));
}

/// A comment stands behind two spaces; what a shell makes of the rest is left out.
fn check_example(program: &Command, text: &str) {
    let line = text.split("  ").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
    if !line.starts_with(&format!("{} ", program.get_name())) {
        return;
    }
    // Every second part stands between quotes and is one word.
    let words = line.split('"').enumerate().flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().collect(),
        _ => vec![part],
    });
    let why = program.clone().try_get_matches_from(words).err().map(|error| error.to_string());
    assert_eq!(why, None, "`{line}` does not parse");
}
