//! Problems of a configuration, collected so that all are named at once.

/// Problems found in a configuration, a line each.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Notes that `key` holds `value`, which is not `allowed`.
    pub(crate) fn add(&mut self, key: &str, value: impl std::fmt::Display, allowed: &str) {
        self.0.push(format!("{key} = {value}: {allowed}"));
    }

    /// Notes it unless `ok`.
    pub(crate) fn check(&mut self, ok: bool, key: &str, value: impl std::fmt::Display, allowed: &str) {
        if !ok {
            self.add(key, value, allowed);
        }
    }

    /// Notes a line that was written elsewhere.
    pub(super) fn note(&mut self, line: String) {
        self.0.push(line);
    }

    /// Notes a line unless there is one of its key: whoever is asked second says the same in other
    /// words.
    pub(super) fn note_unless_known(&mut self, line: String) {
        let key = |line: &str| line.split(" = ").next().map(str::to_owned);
        if !self.0.iter().any(|known| key(known) == key(&line)) {
            self.0.push(line);
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0
    }
}
