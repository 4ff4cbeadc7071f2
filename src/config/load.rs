//! From a file, the environment and flags to a `Config`.

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::problems::Problems;
use super::root::{Config, ConfigFile};

/// Sources of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigSources {
    /// `--config` or `BELLWETHER_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// Reads `BELLWETHER_*` variables. Tests do not, so that the machine they run on does not
    /// matter.
    pub(crate) environment: bool,
    /// `--set key=value`, which wins over all.
    pub(crate) overrides: Vec<String>,
}

/// Reason why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file {0} cannot be read: {1}")]
    File(PathBuf, std::io::Error),
    #[error("--set {0}: allowed: key=value, such as kafka.partitions=12")]
    Override(String),
    #[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
    Invalid(Vec<String>),
}

/// The sections of the file.
const SECTIONS: &[&str] = &[
    "kafka",
    "sources",
    "postgres",
    "http",
    "admin",
    "encryption",
    "webhooks",
    "detect",
    "deliver",
    "shutdown",
    "telemetry",
];

impl ConfigSources {
    /// Says in words what was read: the file, or that there is none.
    pub(crate) fn summary(&self) -> String {
        match &self.file {
            Some(path) => format!("configuration file {}", path.display()),
            None => "no configuration file (--config or BELLWETHER_CONFIG names one)".to_owned(),
        }
    }
}

/// Reads, merges and checks the configuration.
pub(crate) fn load(sources: &ConfigSources) -> Result<Config, ConfigError> {
    load_judged(sources, |_| Vec::new())
}

/// The same with the judgement of somebody who knows more: lines such as `kafka.partitions = 0:
/// what is allowed`. What could not be read has its default by then.
pub(crate) fn load_judged(
    sources: &ConfigSources,
    judge: impl FnOnce(&Config) -> Vec<String>,
) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = &sources.file {
        figment = figment.merge(Toml::string(&read(path)?));
    }
    if sources.environment {
        figment = figment.merge(
            Env::prefixed("BELLWETHER_")
                .ignore(&["config", "roles"])
                .filter(|key| !is_service_link(key.as_str()))
                .split("__"),
        );
    }
    for one in &sources.overrides {
        let (key, value) = one
            .split_once('=')
            .filter(|(key, _)| !key.trim().is_empty())
            .ok_or_else(|| ConfigError::Override(shown_key(one)))?;
        // The same reading of numbers, booleans and lists as in environment variables.
        let value: Value = value
            .parse()
            .unwrap_or_else(|never: std::convert::Infallible| match never {});
        figment = figment.merge(Serialized::default(key.trim(), value));
    }
    let file = sources.file.as_deref();
    let mut given: Dict = figment.extract().map_err(|error| {
        ConfigError::Invalid(error.into_iter().map(|one| describe(&one, None, file)).collect())
    })?;
    // Reading stops at the first key that is unknown or holds another type. Without that key the
    // rest is read again.
    let (mut problems, mut unread) = (Problems::default(), Vec::new());
    let mut config = loop {
        let error = match Figment::from(Given(&given)).extract::<Config>() {
            Ok(config) => break config,
            Err(error) => error,
        };
        problems.note(describe(&error, place_of(&figment, &error.path), file));
        unread.extend(error.path.first().cloned());
        if !take_out(&mut given, &error.path) {
            return Err(ConfigError::Invalid(problems.into_lines()));
        }
    };
    config.webhooks.add_default_schedule();
    config.file = ConfigFile(sources.file.clone());
    config.validate(&unread, &mut problems);
    for line in judge(&config) {
        problems.note_unless_known(line);
    }
    let lines = problems.into_lines();
    if lines.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Invalid(lines))
    }
}

/// True for variables that Kubernetes sets in every pod beside a Service called `bellwether`,
/// unless told `enableServiceLinks: false`. They are addresses in the form of Docker's links, and
/// no settings.
fn is_service_link(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Two underscores are between our levels, and never in a link's name.
    !name.contains("__") && (name == "port" || name.starts_with("port_") || name.starts_with("service_"))
}

/// Values that were read already.
struct Given<'a>(&'a Dict);

impl Provider for Given<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::default()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// Removes what is at `path`; in a list of plain values the list. Says whether there was anything.
fn take_out(dict: &mut Dict, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    let inner = match (dict.get_mut(key), rest.split_first()) {
        (Some(Value::Dict(_, inner)), _) => Some((inner, rest)),
        (Some(Value::Array(_, list)), Some((index, rest))) => {
            match index.parse::<usize>().ok().and_then(|index| list.get_mut(index)) {
                Some(Value::Dict(_, inner)) => Some((inner, rest)),
                _ => None,
            }
        }
        _ => None,
    };
    let taken = inner.is_some_and(|(inner, rest)| take_out(inner, rest));
    taken || dict.remove(key).is_some()
}

/// Finds the source of the value at `path`, or of the nearest thing around it.
fn place_of<'a>(figment: &'a Figment, path: &[String]) -> Option<&'a Metadata> {
    (1..=path.len())
        .rev()
        .find_map(|length| figment.find_metadata(&path[..length].join(".")))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::File(path.to_owned(), error))
}

/// A key without its value, or a sign in its place if it is none: it may be a value.
fn shown_key(text: &str) -> String {
    let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    if text.len() <= 64 && text.chars().all(is_key) {
        text.to_owned()
    } else {
        "…".to_owned()
    }
}

/// Describes an error in one line: `kafka.partitions: found string "x", expected i32 (in
/// bellwether.toml)`.
fn describe(error: &figment::Error, place: Option<&Metadata>, file: Option<&Path>) -> String {
    let key = key_of(&error.path);
    let problem = problem_of(error);
    let place = match place
        .or(error.metadata.as_ref())
        .map(|metadata| metadata.name.as_ref())
    {
        Some(name) if name.contains("environment") => {
            format!(
                " (in the environment variable BELLWETHER_{})",
                error.path.join("__").to_uppercase()
            )
        }
        Some(name) if name.contains("TOML") => file
            .map(|path| format!(" (in {})", path.display()))
            .unwrap_or_default(),
        Some(_) => " (in --set)".to_owned(),
        None => String::new(),
    };
    if key.is_empty() {
        format!("{problem}{place}")
    } else {
        format!("{key}: {problem}{place}")
    }
}

/// A path as documents write it: `sources[0].clock`.
fn key_of(path: &[String]) -> String {
    path.iter()
        .fold(String::new(), |key, part| match part.parse::<usize>() {
            Ok(index) => format!("{key}[{index}]"),
            Err(_) if key.is_empty() => part.clone(),
            Err(_) => format!("{key}.{part}"),
        })
}

/// Says what is wrong with a value. Of a section that holds secrets no value is repeated.
fn problem_of(error: &figment::Error) -> String {
    let section = error.path.first().map_or("", String::as_str);
    let is_secret = matches!(section, "postgres" | "encryption")
        || (section == "kafka" && error.path.get(1).is_some_and(|key| key == "properties"));
    match &error.kind {
        Kind::UnknownField(field, _) if error.path.len() <= 1 => match section_before(field) {
            Some((section, key)) => format!(
                "unknown field; two underscores stand between section and key: BELLWETHER_{}__{}",
                section.to_uppercase(),
                key.to_uppercase()
            ),
            None => error.kind.to_string(),
        },
        Kind::InvalidType(..) if SECTIONS.contains(&section) && error.path.len() == 1 => format!(
            "this is a section, with keys of its own; as an environment variable: BELLWETHER_{}__<KEY>",
            section.to_uppercase()
        ),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) if is_secret => {
            if expected.starts_with("allowed:") {
                expected.clone()
            } else {
                format!("the value, which is not shown, is none of this kind: {expected}")
            }
        }
        Kind::Message(text) if is_secret => {
            let allowed = text.find("allowed:").map_or("", |at| &text[at..]);
            format!("the value, which is not shown, cannot be used; {allowed}")
        }
        // The parser shows the line, and the line may hold a secret.
        Kind::Message(text) => {
            let lines = text
                .lines()
                .filter(|line| !line.contains('|') && !line.trim().is_empty());
            lines.collect::<Vec<_>>().join(": ")
        }
        kind => kind.to_string(),
    }
}

/// Splits a name such as `kafka_brokers` into a section and a key of it.
fn section_before(name: &str) -> Option<(&str, &str)> {
    SECTIONS
        .iter()
        .filter_map(|section| Some((*section, name.strip_prefix(section)?.strip_prefix('_')?)))
        .find(|(_, key)| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_toml(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bellwether.toml");
        std::fs::write(&path, text).expect("written");
        load(&ConfigSources {
            file: Some(path),
            ..Default::default()
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = from_toml("").expect("valid");
        assert_eq!(config.kafka.partitions, 48);
        assert_eq!(config.sources.0[0].topic, "analytics.events");
        assert_eq!(config.webhooks.retry_schedules["default"], ["1s", "2s", "4s"]);
    }

    #[test]
    fn the_example_file_is_valid_and_says_the_defaults() {
        let example = from_toml(include_str!("../../bellwether.example.toml")).expect("valid");
        assert_eq!(format!("{example:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn a_wrong_key_is_refused_with_its_name_and_what_is_allowed() {
        let error = from_toml("[kafka]\npartition = 3").expect_err("unknown key");
        assert!(
            error.contains("`partition`") && error.contains("`partitions`"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_name_its_value_and_what_is_allowed() {
        for (text, wanted) in [
            (
                "[kafka]\npartitions = \"many\"",
                vec!["kafka.partitions", "many", "i32"],
            ),
            (
                "[kafka]\npartitions = 0",
                vec!["kafka.partitions = 0", "1 to 10000"],
            ),
            (
                "[webhooks]\ntimeout = \"soon\"",
                vec!["webhooks.timeout", "soon", "30s"],
            ),
            (
                "[[sources]]\ntopic = \"a\"\nclock = \"wall\"",
                vec!["clock", "wall", "live", "log"],
            ),
            ("[http]\nlisten = \"nowhere\"", vec!["http.listen"]),
            (
                "[webhooks]\ntimeout = \"60s\"",
                vec!["shutdown.grace = 40s", "1m 10s"],
            ),
            (
                "[kafka.properties]\nacks = 1",
                vec!["kafka.properties.\"acks\"", "guarantees"],
            ),
            (
                "[webhooks.retry_schedules]\nquick = []",
                vec!["webhooks.retry_schedules.quick", "1 to 20 delays"],
            ),
        ] {
            let error = from_toml(text).expect_err(text);
            for part in wanted {
                assert!(error.contains(part), "{text}: {error} lacks {part}");
            }
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let error = from_toml("[kafka]\npartitions = 0\nbrokers = \"\"\n[webhooks]\nmax_per_site = 0")
            .expect_err("three problems");
        assert_eq!(error.lines().count(), 4, "{error}");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named_beside_the_rest() {
        let error = from_toml(
            "colour = 1\n[kafka]\npartition = 3\nbroker = \"\"\npartitions = \"many\"\ntopic_prefix = \"a b\"\n\
             [[sources]]\ntopic = \"a\"\nclock = \"wall\"\n[[sources]]\ntopics = \"b\"\n\
             [webhooks]\ntimeout = \"soon\"\nallow_networks = [\"nowhere\", \"neither\"]\nmax_per_site = 0",
        )
        .expect_err("many problems");
        for wanted in [
            "colour: unknown field",
            "kafka.partition: unknown field",
            "kafka.broker: unknown field",
            "kafka.partitions: invalid type",
            "kafka.topic_prefix = \"a b\"",
            "sources[0].clock: ",
            "sources[1].topics: unknown field",
            "webhooks.timeout: ",
            "webhooks.allow_networks",
            "webhooks.max_per_site = 0",
        ] {
            let lines = error.lines().filter(|line| line.trim().starts_with(wanted));
            assert_eq!(lines.count(), 1, "{wanted}: {error}");
        }
        assert_eq!(error.lines().count(), 1 + 10, "{error}");
        assert_eq!(
            error.matches("(in ").count(),
            8,
            "where those stand that could not be read: {error}"
        );
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_our_name_is_no_setting() {
        for (name, link) in [
            ("PORT", true),
            ("PORT_8080_TCP", true),
            ("PORT_8080_TCP_ADDR", true),
            ("SERVICE_HOST", true),
            ("SERVICE_PORT_HTTP", true),
            ("PORTS", false),
            ("SERVICE", false),
            ("SERVICE__HOST", false),
            ("PORT__X", false),
            ("API_SERVICE_HOST", false),
            ("KAFKA__BROKERS", false),
        ] {
            assert_eq!(is_service_link(name), link, "{name}");
        }
    }

    #[test]
    fn librdkafka_properties_may_be_dotted_or_quoted() {
        let config = from_toml("[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"ssl.ca.location\" = \"/ca\"\nssl.cipher.suites = \"x\"").expect("valid");
        assert_eq!(config.kafka.properties["security.protocol"], "SSL");
        assert_eq!(config.kafka.properties["ssl.ca.location"], "/ca");
    }

    #[test]
    fn librdkafka_properties_may_be_numbers_wherever_they_come_from() {
        let config = from_toml("[kafka.properties]\nsession.timeout.ms = 6000").expect("valid");
        assert_eq!(config.kafka.properties["session.timeout.ms"], "6000");
        let sources = ConfigSources {
            overrides: vec![
                "kafka.properties.session.timeout.ms=6000".into(),
                "kafka.properties.x=-1".into(),
                "kafka.properties.y=0.5".into(),
            ],
            ..Default::default()
        };
        let properties = load(&sources).expect("valid").kafka.properties;
        assert_eq!(properties["session.timeout.ms"], "6000");
        assert_eq!(
            (properties["x"].as_str(), properties["y"].as_str()),
            ("-1", "0.5")
        );
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let sources = ConfigSources {
            overrides: vec!["kafka.partitions=7".into(), "webhooks.allow_http=true".into()],
            ..Default::default()
        };
        let config = load(&sources).expect("valid");
        assert_eq!(config.kafka.partitions, 7);
        assert!(config.webhooks.allow_http);
    }

    #[test]
    fn no_error_prints_a_value_of_a_section_with_secrets() {
        for text in [
            "postgres = \"postgres://u:hunter2@h/d\"",
            "[postgres]\nurl = [\"hunter2\"]",
            "[postgres]\nurl = postgres://u:hunter2@h/d",
            "[postgres]\nurl = \"mysql://u:hunter2@h\"",
            "[postgres]\nmax_connections = \"hunter2\"",
            "[postgres]\nstatement_timeout = \"hunter2\"",
            "encryption = \"hunter2\"",
            "[encryption]\nkeys = { a = \"hunter2\" }",
            "[encryption]\nkeys = [\"hunter2\"]",
            "[encryption]\nkeys = [1, \"hunter2\"]",
            "[kafka]\nproperties = \"sasl.password=hunter2\"",
            "[kafka.properties]\nsasl.password = [\"hunter2\"]",
            "[kafka.properties]\nsasl.password = hunter2",
            "[kafka.properties]\nacks = \"hunter2\"",
        ] {
            let error = from_toml(text).expect_err(text);
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
        for overridden in [
            "postgres=postgres://u:hunter2@h/d",
            "postgres://u:hunter2@h/d",
            "encryption.keys={a=hunter2}",
        ] {
            let sources = ConfigSources {
                overrides: vec![overridden.into()],
                ..Default::default()
            };
            let error = load(&sources).expect_err(overridden).to_string();
            assert!(!error.contains("hunter2"), "{overridden}: {error}");
        }
    }

    #[test]
    fn near_misses_are_told_the_right_way_to_write() {
        for (text, wanted) in [
            ("kafka_brokers = \"h:1\"", "BELLWETHER_KAFKA__BROKERS"),
            ("postgres = \"postgres://h/d\"", "BELLWETHER_POSTGRES__<KEY>"),
            ("[webhooks]\ntimeout = 30", "write \"30s\""),
            ("[kafka]\nbrokers = \"broker\"", "host:port"),
            ("[kafka]\nbrokers = \"a:9092,b:0\"", "kafka.brokers = \"b:0\""),
            (
                "[http]\nlisten = \"127.0.0.1:9464\"",
                "http.listen and admin.listen",
            ),
            (
                "[http]\nlisten = \"0.0.0.0:9464\"",
                "http.listen and admin.listen",
            ),
            ("[telemetry]\nlog = \"warning\"", "telemetry.log = \"warning\""),
            (
                "[telemetry]\nlog = \"bellwether=loud\"",
                "off, error, warn, info, debug, trace",
            ),
            ("[telemetry]\nlog = \"belwether=info\"", "bellwether"),
        ] {
            let error = from_toml(text).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error} lacks {wanted}");
        }
        for good in [
            "info",
            "warn,bellwether::deliver=debug",
            "off",
            "INFO,librdkafka=error",
            "bellwether=trace",
        ] {
            from_toml(&format!("[telemetry]\nlog = \"{good}\"")).expect(good);
        }
        for good in ["h:1", "h:9092,[::1]:9093", "SASL_SSL://broker.example:9093"] {
            from_toml(&format!("[kafka]\nbrokers = \"{good}\"")).expect(good);
        }
        from_toml("[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"").expect("free ports");
    }

    #[test]
    fn passwords_do_not_show_in_debug_output() {
        let config = from_toml("[kafka.properties]\nsasl.password = \"hunter2\"\n[postgres]\nurl = \"postgres://u:hunter2@h/d\"\n[encryption]\nkeys = [\"a:hunter2\"]").expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
