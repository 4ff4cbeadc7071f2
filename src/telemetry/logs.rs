//! Log lines: for people on a terminal, JSON elsewhere. They go to stderr; stdout belongs to what a
//! command prints.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as subscriber_fmt};

use super::Metrics;
use crate::clock;
use crate::config::{LogFormat, TelemetryConfig};

/// Starts logging. `roles` is said in every JSON line. Doing it twice keeps the first.
pub(crate) fn start(config: &TelemetryConfig, roles: &str, metrics: Option<Arc<Metrics>>) {
    let filter: Targets = config.log.parse().unwrap_or_default();
    let json = match config.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = if json {
        subscriber_fmt::layer()
            .event_format(JsonLine {
                roles: roles.to_owned(),
            })
            .with_writer(std::io::stderr)
            .boxed()
    } else {
        subscriber_fmt::layer()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed()
    };
    let counted = metrics.map(Counted);
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(counted)
        .try_init();
    // A second start, as in tests, changes nothing.
    if started.is_ok() {
        let _is_first = JSON_LINES.set(json);
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(
                error = panic.payload_as_str(),
                place,
                "a panic: this is our own fault"
            );
            default(panic);
        }));
    }
}

/// Logs the error with which a process ends, where lines are JSON. False elsewhere: then it is for
/// the command line to say.
pub(crate) fn report_fatal(error: &anyhow::Error) -> bool {
    let is_logged = JSON_LINES.get() == Some(&true) && tracing::enabled!(Level::ERROR);
    if is_logged {
        tracing::error!(error = format!("{error:#}"), "ending with an error");
    }
    is_logged
}

/// True once logging has started, if its lines are JSON.
static JSON_LINES: OnceLock<bool> = OnceLock::new();

/// Counts warnings and errors.
struct Counted(Arc<Metrics>);

impl<S: Subscriber> Layer<S> for Counted {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        self.0.log_events.with_label_values(&[level]).inc();
    }
}

/// Lines of JSON: `{"ts":…,"level":…,"msg":…,…}`, then the other fields by their dotted names.
struct JsonLine {
    roles: String,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut fields = Map::new();
        event.record(&mut Fields(&mut fields));
        fields.insert("target".into(), metadata.target().into());
        fields.insert("role".into(), self.roles.as_str().into());
        fields.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        let ts = Value::from(clock::now().to_rfc3339_opts(SecondsFormat::Millis, true));
        let level = metadata.level().as_str().to_ascii_lowercase();
        let msg = fields.remove("msg").unwrap_or_default();
        write!(writer, "{{\"ts\":{ts},\"level\":\"{level}\",\"msg\":{msg}")?;
        for (name, value) in &fields {
            write!(writer, ",{}:{value}", Value::from(name.as_str()))?;
        }
        writeln!(writer, "}}")
    }
}

/// Fields of an event, gathered as JSON.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" {
            "msg"
        } else {
            field.name()
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one writer").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_json_line_begins_with_ts_level_msg() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer = subscriber_fmt::layer()
            .event_format(JsonLine {
                roles: "detect,api".into(),
            })
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(topic = "t", partition = 3, offset = 17_i64, webhook.id = %"wh_1", "cannot \"read\" it");
        });
        let text = String::from_utf8(buffer.0.lock().expect("no writer left").clone()).expect("text");
        assert!(text.starts_with("{\"ts\":\"") && text.ends_with("}\n"), "{text}");
        let place = |key: &str| text.find(key).expect(key);
        assert!(
            place("\"level\":") < place("\"msg\":") && place("\"msg\":") < place("\"offset\":"),
            "{text}"
        );
        let line: Value = serde_json::from_str(&text).expect("one JSON line");
        assert_eq!(line["level"], "warn");
        assert_eq!(line["msg"], "cannot \"read\" it");
        assert_eq!(line["role"], "detect,api");
        assert_eq!(line["offset"], 17);
        assert_eq!(line["webhook.id"], "wh_1");
        for key in ["ts", "target", "version"] {
            assert!(line[key].is_string(), "{key}");
        }
    }
}
