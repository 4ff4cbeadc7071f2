//! Log lines: for people on a terminal, JSON elsewhere. They go to stderr; stdout belongs to what a
//! command prints.

use std::io::IsTerminal as _;
use std::sync::{Arc, OnceLock};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as subscriber_fmt};

use super::Metrics;
use super::json_line::{JsonLine, SpanFields};
use crate::config::{LogFormat, TelemetryConfig};
use crate::telemetry::words::LoudLevel;

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
            .log_internal_errors(false)
            .and_then(SpanFields)
            .boxed()
    } else {
        subscriber_fmt::layer()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
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
            Level::ERROR => LoudLevel::Error,
            Level::WARN => LoudLevel::Warn,
            _ => return,
        };
        self.0.log_events.with_label_values(&[level.as_str()]).inc();
    }
}
