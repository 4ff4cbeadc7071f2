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
    (
        "token list",
        FAILED,
        &["bellwether token list", "bellwether token list --over-api"],
    ),
    (
        "token revoke",
        "failed, or there is no such token",
        &["bellwether token revoke tok_01jz0000000000000000000000"],
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
    ("site", FAILED, &["bellwether site list"]),
    (
        "site list",
        FAILED,
        &[
            "bellwether site list",
            "bellwether site list --json | jq -r '.data[].id'",
        ],
    ),
    ("site get", FAILED, &["bellwether site get example.com"]),
    (
        "site create",
        FAILED,
        &["bellwether site create example.com --name Example --time-zone Europe/Berlin"],
    ),
    (
        "site update",
        FAILED,
        &[
            "bellwether site update example.com --alias www.example.com",
            "bellwether site update example.com --field include_paths=false",
        ],
    ),
    ("site delete", FAILED, &["bellwether site delete example.com"]),
    ("site status", FAILED, &["bellwether site status example.com"]),
    (
        "site activity",
        FAILED,
        &["bellwether site activity example.com --from 2026-02-25T00:00:00Z"],
    ),
    ("webhook", FAILED, &["bellwether webhook list --site example.com"]),
    (
        "webhook list",
        FAILED,
        &["bellwether webhook list --site example.com"],
    ),
    (
        "webhook get",
        FAILED,
        &["bellwether webhook get wh_01jz0000000000000000000000 --site example.com"],
    ),
    (
        "webhook create",
        FAILED,
        &[
            "bellwether webhook create --site example.com --endpoint https://hooks.example.com/a --events goal_completion",
            "bellwether webhook create --site example.com --endpoint https://hooks.example.com/a --events visitor_spike \
             --field triggers.visitor_spike.threshold=500",
            "bellwether webhook create --site example.com --body webhook.json",
        ],
    ),
    (
        "webhook update",
        FAILED,
        &["bellwether webhook update wh_01jz0000000000000000000000 --site example.com --enabled false"],
    ),
    (
        "webhook delete",
        FAILED,
        &["bellwether webhook delete wh_01jz0000000000000000000000 --site example.com"],
    ),
    (
        "webhook test",
        "failed, or the endpoint did not accept the sample",
        &["bellwether webhook test wh_01jz0000000000000000000000 --site example.com --event visitor_spike"],
    ),
    (
        "webhook rotate-secret",
        FAILED,
        &[
            "bellwether webhook rotate-secret wh_01jz0000000000000000000000 --site example.com",
            "bellwether webhook rotate-secret wh_01jz0000000000000000000000 --site example.com --finish",
        ],
    ),
    (
        "webhook secret",
        FAILED,
        &["bellwether webhook secret wh_01jz0000000000000000000000 --site example.com"],
    ),
    (
        "webhook recover",
        "failed, or with --wait not everything was sent",
        &[
            "bellwether webhook recover wh_01jz0000000000000000000000 --site example.com --since 2026-02-25T12:00:00Z \
             --wait",
        ],
    ),
    (
        "webhook recovery",
        FAILED,
        &[
            "bellwether webhook recovery wh_01jz0000000000000000000000 job_01jz0000000000000000000000 --site \
             example.com --cancel",
        ],
    ),
    ("goal", FAILED, &["bellwether goal list --site example.com"]),
    ("goal list", FAILED, &["bellwether goal list --site example.com"]),
    (
        "goal get",
        FAILED,
        &["bellwether goal get goal_01jz0000000000000000000000 --site example.com"],
    ),
    (
        "goal create",
        FAILED,
        &[
            "bellwether goal create --site example.com --name Signup --kind event --event signup",
            "bellwether goal create --site example.com --name Blog --kind page --path /blog/*",
        ],
    ),
    (
        "goal update",
        FAILED,
        &["bellwether goal update goal_01jz0000000000000000000000 --site example.com --name Registered"],
    ),
    (
        "goal delete",
        FAILED,
        &["bellwether goal delete goal_01jz0000000000000000000000 --site example.com"],
    ),
    (
        "delivery",
        FAILED,
        &["bellwether delivery list --site example.com --webhook wh_01jz0000000000000000000000"],
    ),
    (
        "delivery list",
        FAILED,
        &[
            "bellwether delivery list --site example.com --webhook wh_01jz0000000000000000000000 --status undelivered",
            "bellwether delivery list --site example.com --webhook wh_01jz0000000000000000000000 --follow",
        ],
    ),
    (
        "delivery get",
        FAILED,
        &[
            "bellwether delivery get dlv_01jz0000000000000000000000 --site example.com --webhook \
             wh_01jz0000000000000000000000",
        ],
    ),
    (
        "delivery retry",
        FAILED,
        &[
            "bellwether delivery retry dlv_01jz0000000000000000000000 --site example.com --webhook \
             wh_01jz0000000000000000000000",
        ],
    ),
    ("alert", FAILED, &["bellwether alert list --site example.com"]),
    (
        "alert list",
        FAILED,
        &["bellwether alert list --site example.com --event visitor_spike --limit 10"],
    ),
    (
        "signature",
        FAILED,
        &["bellwether signature sign --secret \"$SECRET\" body.json"],
    ),
    (
        "signature sign",
        FAILED,
        &[
            "bellwether signature sign --secret \"$SECRET\" body.json",
            "bellwether signature sign --secret \"$SECRET\" --id evt_01jz0000000000000000000000 --timestamp 1772020800 -",
        ],
    ),
    (
        "signature verify",
        "failed, or the signature is wrong",
        &["bellwether signature verify --secret \"$SECRET\" --signature sha256=5d5d… body.json"],
    ),
    (
        "keys rotate",
        "failed, a value does not open, or a process still writes with another key",
        &["bellwether keys rotate --config bellwether.toml"],
    ),
    ("dead-letter", FAILED, &["bellwether dead-letter list"]),
    (
        "dead-letter list",
        "failed, or a partition could not be read to its end",
        &[
            "bellwether dead-letter list --last 20",
            "bellwether dead-letter list --json | jq '.data[].reason'",
        ],
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
            "bellwether listen --site example.com --events goal_completion,custom_event",
            "bellwether listen --forward http://localhost:3000/hook --site example.com --webhook \
             wh_01jz0000000000000000000000",
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
    ("openapi", FAILED, &["bellwether openapi > openapi.json"]),
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
