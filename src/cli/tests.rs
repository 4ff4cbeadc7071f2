use super::*;

/// Every command below `command`, itself included, with the words that name it.
fn all_commands(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
    let mut all = vec![(words.to_owned(), command.clone())];
    for child in command
        .get_subcommands()
        .filter(|child| child.get_name() != "help")
    {
        all.extend(all_commands(child, &format!("{words} {}", child.get_name())));
    }
    all
}

/// The text of `--help` on a wide terminal.
fn help_of(words: &str) -> String {
    let mut command_line = command_line().term_width(100);
    let arguments = words.split_whitespace().chain(["--help"]);
    let answer = command_line
        .try_get_matches_from_mut(arguments)
        .expect_err("help");
    answer.render().to_string()
}

#[test]
fn the_command_line_is_well_formed() {
    command_line().debug_assert();
}

#[test]
fn every_help_has_an_example_and_the_exit_codes() {
    for (words, _) in all_commands(&command_line(), "bellwether") {
        let help = help_of(&words);
        assert!(
            help.contains("Example") && help.contains("Exit codes:"),
            "{words}: {help}"
        );
    }
}

#[test]
fn every_example_is_a_command_line_that_is_taken() {
    for (words, command) in all_commands(&command_line(), "bellwether") {
        let ending = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let examples = ending
            .lines()
            .filter(|line| line.starts_with("  ") && line.contains("bellwether "));
        for line in examples {
            let start = line.find("bellwether ").unwrap_or_default();
            let arguments = line[start..]
                .split(['|', '>', ')'])
                .next()
                .unwrap_or_default()
                .replace("\"$SECRET\"", "a-secret-of-12-or-more");
            let taken = command_line().try_get_matches_from(arguments.split_whitespace());
            assert!(taken.is_ok(), "{words}: {line}: {:?}", taken.err());
        }
    }
}

#[test]
fn help_texts_are_these() {
    for (words, _) in all_commands(&command_line(), "bellwether") {
        insta::assert_snapshot!(words.replace(' ', "_"), help_of(&words));
    }
}

#[test]
fn configuration_flags_are_refused_where_they_do_nothing() {
    for words in [
        "keys generate",
        "demo",
        "listen",
        "openapi",
        "completions bash",
        "man",
    ] {
        for flag in [["--config", "x.toml"], ["--set", "a=b"]] {
            let arguments = ["bellwether"].into_iter().chain(words.split(' ')).chain(flag);
            assert!(
                command_line().try_get_matches_from(arguments).is_err(),
                "{words} {flag:?}"
            );
        }
    }
    for words in [
        "serve",
        "migrate",
        "topics check",
        "sources inspect",
        "health",
        "check-config",
    ] {
        let arguments = ["bellwether"]
            .into_iter()
            .chain(words.split(' '))
            .chain(["--set", "a=b"]);
        assert!(command_line().try_get_matches_from(arguments).is_ok(), "{words}");
    }
}

#[test]
fn no_usage_error_prints_a_value_that_may_be_secret() {
    for words in [
        "bellwether site list --url http://user:hunter2@api.example",
        "bellwether signature sign --secret hunter2 body.json",
        "bellwether listen --secret hunter2",
    ] {
        let mut command_line = command_line();
        let answer = command_line
            .try_get_matches_from_mut(words.split_whitespace())
            .expect_err(words);
        let text = exit::without_secrets(answer)
            .format(&mut command_line)
            .to_string();
        assert!(
            text.contains("invalid value '…'") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
