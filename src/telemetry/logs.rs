//! Log lines: for people on a terminal, JSON elsewhere. They go to stderr; stdout belongs to what a
//! command prints.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt as subscriber_fmt};

use super::Metrics;
use super::json_line::{JsonLine, SpanFields};
use crate::config::{LogFormat, TelemetryConfig};
use crate::domain::hidden::is_hidden;
use crate::telemetry::words::LoudLevel;

/// Starts logging. `roles` is said in every JSON line. Doing it twice keeps the first.
pub(crate) fn start(config: &TelemetryConfig, roles: &str, metrics: Option<Arc<Metrics>>) {
    let filter = filter(&config.log);
    let lines = if is_json(config.log_format) {
        json_lines(roles).boxed()
    } else {
        subscriber_fmt::layer()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal() && !is_dumb_terminal())
            .with_writer(|| VisibleLines(std::io::stderr()))
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

/// The levels of `telemetry.log`. sqlx has a line for every slow statement and every wait for a
/// connection, however many come in a second: it is heard if the levels name it.
fn filter(levels: &str) -> Targets {
    let filter: Targets = levels.parse().unwrap_or_default();
    if levels.contains("sqlx") {
        return filter;
    }
    filter.with_target("sqlx", Level::ERROR)
}

/// Logs the error with which a process ends, where lines are JSON: whatever levels are logged, and
/// also before logging has started. False elsewhere: then it is for the command line to say.
pub(crate) fn report_fatal(format: LogFormat, roles: &str, error: &str) -> bool {
    let is_logged = is_json(format);
    if is_logged {
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json_lines(roles)), || {
            tracing::error!(error, "ending with an error");
        });
    }
    is_logged
}

fn is_json(format: LogFormat) -> bool {
    match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    }
}

/// True if the terminal says that it understands no codes.
#[expect(
    clippy::disallowed_methods,
    reason = "a convention of all programs, and no setting of this one"
)]
pub(crate) fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Passes lines on, but for characters that turn text or hide it. Colours stay, and other control
/// characters have been escaped before.
struct VisibleLines<W>(W);

impl<W: Write> Write for VisibleLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let turns = |one: char| is_hidden(one) && !one.is_control();
        let text = String::from_utf8_lossy(line).replace(turns, "\u{fffd}");
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn json_lines<S: Subscriber + for<'a> LookupSpan<'a>>(roles: &str) -> impl Layer<S> {
    subscriber_fmt::layer()
        .event_format(JsonLine {
            roles: roles.to_owned(),
        })
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .and_then(SpanFields)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlx_warns_only_if_the_levels_name_it() {
        for (levels, warns) in [
            ("info", false),
            ("debug,bellwether::record=trace", false),
            ("info,sqlx=warn", true),
        ] {
            let filter = filter(levels);
            let sqlx = filter.would_enable("sqlx::pool::acquire", &Level::WARN);
            assert_eq!(sqlx, warns, "{levels}");
            assert!(filter.would_enable("bellwether::record", &Level::INFO));
            assert!(filter.would_enable("sqlx::query", &Level::ERROR));
        }
    }

    #[test]
    fn a_log_line_keeps_colours_and_turns_no_text() {
        let mut lines = VisibleLines(Vec::new());
        lines
            .write_all("\u{1b}[32mINFO\u{1b}[0m site=\u{202e}a\n".as_bytes())
            .expect("a vector takes all");
        assert_eq!(
            String::from_utf8(lines.0).expect("UTF-8"),
            "\u{1b}[32mINFO\u{1b}[0m site=\u{fffd}a\n"
        );
    }
}
