//! The end of every help text: examples, and the meaning of the exit codes.

use std::fmt::Write as _;

use clap::Command;

/// The words of a command after `bellwether`, the meaning of its exit code 1, and examples.
type Ending = (&'static str, &'static str, &'static [&'static str]);

const FAILED: &str = "failed";

const ENDINGS: &[Ending] = &[
    (
        "",
        FAILED,
        &[
            "bellwether demo",
            "bellwether check-config --config bellwether.toml",
            "bellwether serve --config bellwether.toml",
        ],
    ),
    (
        "serve",
        FAILED,
        &[
            "bellwether serve --config bellwether.toml",
            "bellwether serve --roles detect,deliver --set kafka.brokers=kafka:9092",
        ],
    ),
    (
        "migrate",
        FAILED,
        &["bellwether migrate --config bellwether.toml"],
    ),
    (
        "topics",
        FAILED,
        &["bellwether topics create", "bellwether topics check"],
    ),
    (
        "topics create",
        FAILED,
        &["bellwether topics create --config bellwether.toml"],
    ),
    (
        "topics check",
        "a topic is missing or looks wrong, or the brokers could not be asked",
        &[
            "bellwether topics check --config bellwether.toml",
            "bellwether topics check --roles api",
        ],
    ),
    ("sources", FAILED, &["bellwether sources inspect"]),
    (
        "sources inspect",
        "something keeps events from their webhooks, or the brokers could not be asked",
        &[
            "bellwether sources inspect",
            "bellwether sources inspect analytics.events --last 1000 --all",
            "bellwether sources inspect --json | jq '.sources[].findings'",
        ],
    ),
    (
        "health",
        "not alive, or with --ready not ready",
        &["bellwether health", "bellwether health --ready --wait 30s"],
    ),
    ("token", FAILED, &["bellwether token create --admin"]),
    (
        "token create",
        FAILED,
        &[
            "TOKEN=$(bellwether token create --admin)",
            "bellwether token create --site example.com --role viewer --subject dashboard",
        ],
    ),
    ("keys", FAILED, &["bellwether keys generate"]),
    (
        "keys generate",
        FAILED,
        &[
            "bellwether keys generate >> keys.txt",
            "bellwether keys generate --id 2026-11",
        ],
    ),
    (
        "keys rotate",
        "failed, a value does not open, or a process still writes with another key",
        &["bellwether keys rotate --config bellwether.toml"],
    ),
    (
        "check-config",
        "the configuration is wrong",
        &[
            "bellwether check-config --config bellwether.toml",
            "bellwether check-config --set kafka.partitions=12",
        ],
    ),
    (
        "listen",
        FAILED,
        &[
            "bellwether listen --secret \"$SECRET\"",
            "bellwether listen --port 9001 --fail 2 --status 503 --json",
        ],
    ),
    (
        "demo",
        "failed, or a signature was wrong",
        &["bellwether demo", "bellwether demo --speed 10 --for 5m"],
    ),
    (
        "replay",
        "failed, or nothing could be published",
        &[
            "bellwether replay events.jsonl --speed 10",
            "bellwether replay access.log.gz --site example.com --speed 100 --now",
            "tail -n 1000 access.log | bellwether replay - --site example.com --speed 0",
        ],
    ),
    (
        "completions",
        FAILED,
        &[
            "source <(bellwether completions bash)",
            "bellwether completions fish > ~/.config/fish/completions/bellwether.fish",
        ],
    ),
    (
        "man",
        FAILED,
        &[
            "bellwether man | man -l -",
            "bellwether man --to /usr/local/share/man/man1",
        ],
    ),
];

/// The command line with its ending under the help of every command.
pub(super) fn with_examples(command_line: Command) -> Command {
    ENDINGS
        .iter()
        .fold(command_line, |command_line, (words, failed, examples)| {
            let words: Vec<&str> = words.split_whitespace().collect();
            set_ending(command_line, &words, &ending(failed, examples))
        })
}

fn set_ending(command: Command, words: &[&str], ending: &str) -> Command {
    match words.split_first() {
        Some((name, rest)) => command.mut_subcommand(name, |command| set_ending(command, rest, ending)),
        None => command.after_help(ending.to_owned()),
    }
}

fn ending(failed: &str, examples: &[&str]) -> String {
    let mut text = String::from(if examples.len() == 1 {
        "Example:\n"
    } else {
        "Examples:\n"
    });
    for example in examples {
        let _ = writeln!(text, "  {example}");
    }
    let _ = write!(text, "\nExit codes:\n  0  done\n  1  {failed}\n  2  used wrongly");
    text
}
