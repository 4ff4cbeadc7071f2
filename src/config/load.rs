//! Reading of the configuration: from a file, the environment and flags to a `Config`.

use std::path::PathBuf;

use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::explain::{explain, explain_text, misshapen};
use super::file::ConfigFile;
use super::origins::{FLAG_PLACE, ValueOrigins};
use super::problems::Problems;
use super::root::Config;
use super::telemetry::LogFormat;

/// Sources of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigSources {
    /// `--config` or `BELLWETHER_CONFIG`.
    pub(crate) file: Option<PathBuf>,
    /// Reads `BELLWETHER_*` variables. Off in tests, which must not depend on the machine.
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
    #[error("the configuration is wrong:\n  {}", .lines.join("\n  "))]
    Invalid {
        lines: Vec<String>,
        /// True if `--set` gave some of it.
        is_by_flag: bool,
    },
}

impl ConfigError {
    /// The error of these lines, each of which names the source of its value.
    fn of_lines(lines: Vec<String>) -> Self {
        let is_by_flag = lines.iter().any(|line| line.ends_with(FLAG_PLACE));
        Self::Invalid { lines, is_by_flag }
    }
}

impl ConfigSources {
    /// Names the file that is read in words, or says that there is none.
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

/// [`load`], with checks that belong to rooms above. They give lines such as `kafka.partitions = 0:
/// allowed: …`, and see defaults in the place of values that could not be read.
pub(crate) fn load_judged(
    sources: &ConfigSources,
    judge: impl FnOnce(&Config) -> Vec<String>,
) -> Result<Config, ConfigError> {
    let figment = merge(sources)?;
    let mut problems = Problems::default();
    if sources.environment {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| has_nameless_level(name)) {
            problems.add_line(format!(
                "{name} names no setting: `__` stands between the levels of a key, as in BELLWETHER_KAFKA__BROKERS"
            ));
        }
    }
    let given: Dict = figment.extract().map_err(|error| {
        ConfigError::of_lines(
            error
                .into_iter()
                .map(|one| explain_text(&one, sources.file.as_deref()))
                .collect(),
        )
    })?;
    let origins = ValueOrigins::new(&figment, &given, sources.file.as_deref());
    let (mut config, unread) = read_all(given.clone(), &origins, &mut problems)?;
    config.file = ConfigFile(sources.file.clone());
    config.webhooks.add_default_schedule();
    config.validate(&unread, &mut problems);
    for line in judge(&config) {
        problems.add_line_unless_known(line);
    }
    let lines = problems.into_lines(|key| origins.place_of_key(key));
    if lines.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::of_lines(lines))
    }
}

/// The form of log lines, whatever else is wrong: the usual one if it cannot be read. A file that
/// cannot be read counts as none.
pub(crate) fn log_format(sources: &ConfigSources) -> LogFormat {
    let without_file = || {
        let sources = ConfigSources {
            file: None,
            ..sources.clone()
        };
        merge(&sources)
    };
    let read = |figment: Figment| figment.extract_inner("telemetry.log_format").ok();
    let found = merge(sources).ok().and_then(read);
    let found = found.or_else(|| without_file().ok().and_then(read));
    found.unwrap_or(LogFormat::Auto)
}

/// Merges the sources, a later one over those before it.
fn merge(sources: &ConfigSources) -> Result<Figment, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File(path.clone(), error))?;
        figment = figment.merge(Toml::string(&text));
    }
    if sources.environment {
        figment = figment.merge(
            Env::prefixed("BELLWETHER_")
                .ignore(&["config", "roles", "api_url", "api_token"])
                .filter(|key| !is_service_link(key.as_str(), &variable(key.as_str())))
                .split("__"),
        );
    }
    for one in &sources.overrides {
        let (key, value) = split_override(one)?;
        // Numbers, booleans and lists are read as in environment variables.
        let value: Value = value
            .parse()
            .unwrap_or_else(|never: std::convert::Infallible| match never {});
        figment = figment.merge(Serialized::default(key, value));
    }
    Ok(figment)
}

/// Splits `key=value`. The error shows the key only if it can be one: it may be a value by mistake.
fn split_override(text: &str) -> Result<(&str, &str), ConfigError> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value)),
        None => (text.trim(), None),
    };
    // Keys of all levels, those of librdkafka and the names of schedules among them.
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_key = (1..=100).contains(&key.len()) && key.chars().all(is_part);
    match value {
        Some(value) if is_key => Ok((key, value)),
        None if is_key => Err(ConfigError::Override(key.to_owned())),
        _ => Err(ConfigError::Override("…".to_owned())),
    }
}

/// Reads what was merged, and names the sections in which something could not be read.
fn read_all(
    mut given: Dict,
    origins: &ValueOrigins<'_>,
    problems: &mut Problems,
) -> Result<(Config, Vec<String>), ConfigError> {
    let mut unread = Vec::new();
    for (section, line) in misshapen(&given, origins) {
        problems.add_line(line);
        given.remove(&section);
        unread.push(section);
    }
    // Reading stops at the first key that is unknown or holds another type. Without that key the
    // rest is read again.
    loop {
        let error = match Figment::from(Given(&given)).extract::<Config>() {
            Ok(config) => return Ok((config, unread)),
            Err(error) => error,
        };
        problems.add_line(explain(&error, origins));
        unread.extend(error.path.first().cloned());
        if !take_out(&mut given, &error.path) {
            let lines = std::mem::take(problems).into_lines(|key| origins.place_of_key(key));
            return Err(ConfigError::of_lines(lines));
        }
    }
}

/// The value of a variable of ours, by its name without the prefix.
fn variable(name: &str) -> String {
    let wanted = format!("BELLWETHER_{name}");
    let mut variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(Some(value)));
    let found = variables.find(|(name, _)| name.eq_ignore_ascii_case(&wanted));
    found
        .map(|(_, value)| value.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// True for variables that Kubernetes sets in every pod beside a Service called `bellwether`, or
/// `bellwether-` and more, unless `enableServiceLinks` is false. They are addresses in the form of
/// Docker's links, and no settings.
fn is_service_link(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Two underscores separate the levels of a key, and are in no link's name.
    if name.contains("__") {
        return false;
    }
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    let names_service = |suffix: &str| name == suffix[1..] || name.ends_with(suffix);
    name.starts_with("service_")
        || names_service("_service_host")
        || names_service("_service_port")
        || name.contains("_service_port_")
        || names_service("_port") && (name == "port" || is_address)
        || is_link_to_port(&name)
}

/// True for `port_8080_tcp`, `postgres_port_5432_tcp_addr` and the like.
fn is_link_to_port(name: &str) -> bool {
    let after = match name.strip_prefix("port_") {
        Some(after) => Some(after),
        None => name.split_once("_port_").map(|(_, after)| after),
    };
    let Some((port, protocol)) = after.and_then(|after| after.split_once('_')) else {
        return false;
    };
    let is_protocol = protocol.starts_with("tcp") || protocol.starts_with("udp");
    port.parse::<u16>().is_ok() && is_protocol
}

/// True for a variable of ours in whose name a level has no name. It would be read as nothing.
fn has_nameless_level(variable: &str) -> bool {
    const PREFIX: &str = "BELLWETHER_";
    let levels = variable
        .split_at_checked(PREFIX.len())
        .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(PREFIX))
        .map(|(_, levels)| levels);
    levels.is_some_and(|levels| levels.split("__").any(str::is_empty))
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

/// Removes the value at `path`, or the whole list if it is one of a list of plain values. False if
/// there is none.
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

#[cfg(test)]
mod tests;
