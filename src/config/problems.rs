//! Problems of a configuration, collected so that all are named at once.

use std::fmt::Display;

/// Shown instead of a value that may be secret.
pub(super) const HIDDEN: &str = "\"…\"";

/// Problems found in a configuration, a line each.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds that `key` holds `value`, which is not `allowed`.
    pub(super) fn add(&mut self, key: &str, value: impl Display, allowed: &str) {
        self.0.push(format!("{key} = {value}: {allowed}"));
    }

    /// Adds it unless `ok`.
    pub(super) fn check(&mut self, ok: bool, key: &str, value: impl Display, allowed: &str) {
        if !ok {
            self.add(key, value, allowed);
        }
    }

    /// Adds a line that was written elsewhere.
    pub(super) fn add_line(&mut self, line: String) {
        self.0.push(line);
    }

    /// Adds a line unless there is one of the same key: two checks may find the same value wrong.
    pub(super) fn add_line_unless_known(&mut self, line: String) {
        let key = |line: &str| line.split(" = ").next().map(str::to_owned);
        if !self.0.iter().any(|known| key(known) == key(&line)) {
            self.0.push(line);
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0
    }
}

/// A text as a TOML file has it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}
