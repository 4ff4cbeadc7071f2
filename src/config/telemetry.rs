//! `[telemetry]`: levels and form of the log.

use serde::Deserialize;

use super::problems::{Problems, quoted};
use crate::domain::words::words;

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Levels of the log, in `tracing`'s filter syntax: `info`, `warn,bellwether::deliver=debug`.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log: "info".into(),
            log_format: LogFormat::Auto,
        }
    }
}

words! {
    /// Form of the log lines.
    pub(crate) enum LogFormat {
        /// `human` on a terminal, `json` elsewhere.
        Auto = "auto",
        Human = "human",
        Json = "json",
    }
}

words! {
    /// Level of the log, as a filter writes it.
    enum LogLevel {
        Off = "off",
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

/// Crates of which something may be logged.
const CRATES: &[&str] = &[
    "bellwether",
    "librdkafka",
    "sqlx",
    "reqwest",
    "hyper",
    "hyper_util",
    "h2",
    "rustls",
    "axum",
    "tower",
    "tokio",
];

/// Modules of Bellwether that log.
const MODULES: &[&str] = &[
    "ingest",
    "detect",
    "dispatch",
    "deliver",
    "record",
    "api",
    "config",
    "telemetry",
    "kafka",
    "cli",
    "app",
    "tasks",
];

impl TelemetryConfig {
    pub(super) fn validate(&self, problems: &mut Problems) {
        for directive in self.log.split(',').map(str::trim) {
            if directive.is_empty() {
                let allowed = "one of its parts is empty: allowed: levels, with one comma between them";
                problems.add("telemetry.log", quoted(&self.log), allowed);
            } else if !is_log_directive(directive) {
                problems.add(
                    "telemetry.log",
                    quoted(directive),
                    &format!(
                        "allowed: a level ({}), or target=level, such as bellwether::deliver=debug. A target is one of \
                         these crates: {}; or one of these modules of bellwether: {}",
                        LogLevel::WORDS.join(", "),
                        CRATES.join(", "),
                        MODULES.join(", "),
                    ),
                );
            }
        }
    }
}

/// True for a level, and for a known target with a level. A filter takes every other word for the
/// name of a target, and is then silent on all others.
fn is_log_directive(directive: &str) -> bool {
    let is_level = |word: &str| word.to_ascii_lowercase().parse::<LogLevel>().is_ok();
    let Some((target, level)) = directive.split_once('=') else {
        return is_level(directive);
    };
    let mut path = target.split("::");
    let is_target = match (path.next(), path.next()) {
        // A part of a module that is no part of it would be silent.
        (Some("bellwether"), Some(module)) => MODULES.contains(&module) && path.next().is_none(),
        (Some(name), _) => CRATES.contains(&name),
        (None, _) => false,
    };
    is_target && is_level(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_directives_name_known_levels_and_targets() {
        for (directive, ok) in [
            ("info", true),
            ("WARN", true),
            ("off", true),
            ("bellwether::deliver=debug", true),
            ("bellwether::deliver::http=trace", false),
            ("hyper::proto=trace", true),
            ("warning", false),
            ("loud", false),
            ("", false),
            ("bellwether", false),
            ("bellwether=loud", false),
            ("belwether=info", false),
            ("bellwether::delivr=debug", false),
        ] {
            assert_eq!(is_log_directive(directive), ok, "{directive}");
        }
    }

    #[test]
    fn modules_that_log_are_modules_of_the_crate() {
        let root = include_str!("../lib.rs");
        for module in MODULES {
            assert!(root.contains(&format!("pub mod {module};")), "{module}");
        }
    }
}
