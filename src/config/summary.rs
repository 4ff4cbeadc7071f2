//! The configuration in a few words, for the first line of a process's log. Nothing in it is
//! secret.

use super::root::Config;

/// The file that was read and the servers that a process connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigSummary {
    /// Path of the file, or `none`.
    pub(crate) file: String,
    pub(crate) brokers: String,
    pub(crate) topic_prefix: String,
    /// Topics of the sources, separated by commas.
    pub(crate) sources: String,
    /// Host, port and name, without credentials.
    pub(crate) database: String,
}

impl Config {
    /// Sums up the configuration.
    pub(crate) fn summary(&self) -> ConfigSummary {
        let topics: Vec<&str> = self.sources.0.iter().map(|one| one.topic.as_str()).collect();
        ConfigSummary {
            file: self.file.to_string(),
            brokers: self.kafka.brokers.clone(),
            topic_prefix: self.kafka.topic_prefix.clone(),
            sources: topics.join(","),
            database: self.postgres.database(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_servers_and_no_credentials() {
        let mut config = Config::default();
        config.kafka.brokers = "a:9092,b:9092".to_owned();
        for (url, database) in [
            (
                "postgres://u:hunter2@db.example:5433/hooks?password=hunter2",
                "db.example:5433/hooks",
            ),
            ("postgres://u:hunter2@[::1]/hooks", "[::1]:5432/hooks"),
            (
                "postgres:///hooks?host=/run/postgresql&password=hunter2",
                "/run/postgresql/hooks",
            ),
            ("postgres:///hooks", "localhost:5432/hooks"),
            ("hunter2", "a database whose URL cannot be read"),
        ] {
            config.postgres.url = url.to_owned();
            let summary = config.summary();
            assert_eq!(summary.database, database, "{url}");
            assert_eq!(summary.sources, "analytics.events");
            assert!(!format!("{summary:?}").contains("hunter2"), "{summary:?}");
            assert_eq!(summary.file, "none");
        }
    }
}
