//! The progress of a replay: a bar on a terminal, log lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::answers::Answers;
use crate::cli::output::progress_target;
use crate::cli::text::{counted, printable_lines};
use crate::clock;

/// Time between two log lines where there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The progress as it is shown.
pub(super) struct Progress {
    bar: ProgressBar,
    is_on_terminal: bool,
    logged_at: Instant,
    size: Option<u64>,
}

impl Progress {
    /// The progress through `size` bytes, if that is known.
    pub(super) fn new(size: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(size, progress_target());
        let template = match size {
            Some(_) => "{bar:40} {percent:>3} %  {msg}  {elapsed} (about {eta} left)",
            None => "{spinner} {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let is_on_terminal = !bar.is_hidden();
        Self {
            bar,
            is_on_terminal,
            logged_at: clock::monotonic(),
            size,
        }
    }

    /// Events of the file's first `bytes` were handed over: published are those that the brokers
    /// have acknowledged.
    pub(super) fn set(&mut self, bytes: u64, answers: &Answers, now: Instant) {
        if self.is_on_terminal {
            self.bar.set_position(bytes);
            let (published, waiting) = (counted(answers.acknowledged(), "event"), answers.waiting());
            self.bar.set_message(match waiting {
                0 => published,
                _ => format!("{published}, {waiting} waiting"),
            });
            // The time goes on while nothing else changes.
            self.bar.tick();
        } else if now.duration_since(self.logged_at) >= LOG_INTERVAL {
            self.logged_at = now;
            let percent = self.size.map(|size| bytes.min(size) * 100 / size.max(1));
            let (published, waiting) = (answers.acknowledged(), answers.waiting());
            let refused = answers.refusals().map(|(count, _)| count);
            tracing::info!(published, waiting, refused, percent, "replaying");
        }
    }

    /// Says something above the bar, or logs it.
    pub(super) fn say(&self, text: &str) {
        if self.is_on_terminal {
            self.bar.println(printable_lines(text))
        } else {
            tracing::warn!("{text}")
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
