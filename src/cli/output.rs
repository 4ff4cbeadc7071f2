//! The two streams of a command: stdout has what was asked for, stderr everything else.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::ProgressDrawTarget;

use super::closed_stdout;
use super::text::{printable_lines, visible_json};
use crate::telemetry::logs;

/// Stdout is closed or full: whoever asked does not read the answer.
#[derive(Debug, thiserror::Error)]
pub(super) struct StdoutLost {
    /// `None` for a stdout that was closed from the start.
    cause: Option<io::Error>,
    /// Fate of the things whose answer was lost.
    remark: Option<String>,
    /// True if something was made that nobody has heard of.
    has_left: bool,
}

impl StdoutLost {
    /// The same, when something stays that nobody has heard of.
    pub(super) fn leaving(self, remark: String) -> Self {
        Self {
            remark: Some(remark),
            has_left: true,
            ..self
        }
    }

    /// The same, when what was made for the answer is undone.
    pub(super) fn undone(self, remark: String) -> Self {
        Self {
            remark: Some(remark),
            ..self
        }
    }

    /// True if it needs no word: the reader went because it had enough, and nothing is left.
    pub(super) fn is_quiet(&self) -> bool {
        let cause = self.cause.as_ref().map(io::Error::kind);
        cause == Some(io::ErrorKind::BrokenPipe) && !self.has_left
    }
}

impl fmt::Display for StdoutLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str("stdout: it is closed")?,
            Some(cause) => {
                let text = cause.to_string();
                let (words, _) = text.split_once(" (os error").unwrap_or((&text, ""));
                write!(f, "stdout: {words}")?;
            }
        }
        match &self.remark {
            Some(remark) => write!(f, "; {remark}"),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for StdoutLost {
    fn from(cause: io::Error) -> Self {
        Self {
            cause: Some(cause),
            remark: None,
            has_left: false,
        }
    }
}

/// Prints what was asked for, and a line end. What others wrote in it cannot drive the terminal.
pub(super) fn print(text: &str) -> Result<(), StdoutLost> {
    write(format!("{}\n", printable_lines(text)).as_bytes())
}

/// Prints JSON as it is, and a line end. A terminal gets escapes for hidden characters.
pub(super) fn print_json(json: &str) -> Result<(), StdoutLost> {
    if io::stdout().is_terminal() {
        return write(format!("{}\n", visible_json(json)).as_bytes());
    }
    write(format!("{json}\n").as_bytes())
}

/// Refuses a stdout that was closed from the start.
pub(super) fn check_open() -> Result<(), StdoutLost> {
    if closed_stdout::is_closed() {
        return Err(StdoutLost {
            cause: None,
            remark: None,
            has_left: false,
        });
    }
    Ok(())
}

/// Writes what was asked for, as it is.
pub(super) fn write(bytes: &[u8]) -> Result<(), StdoutLost> {
    check_open()?;
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes a line on stderr, or several. What others wrote in it cannot drive the terminal. A stderr
/// that is closed or full is no reason to stop.
pub(super) fn note(line: &str) {
    drop(writeln!(io::stderr(), "{}", printable_lines(line)));
}

/// Writes a line on stderr that says who complains.
pub(super) fn complain(line: &str) {
    note(&format!("bellwether: {line}"));
}

/// The place where bars of progress are drawn: stderr, unless its cursor cannot be moved.
pub(super) fn progress_target() -> ProgressDrawTarget {
    match logs::is_dumb_terminal() {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr_with_hz(10),
    }
}

/// True if stdout is a terminal on which a cursor can be moved. A dumb one shows the codes for that
/// as text.
pub(super) fn is_drawable() -> bool {
    io::stdout().is_terminal() && !logs::is_dumb_terminal()
}

/// True if stdout is a terminal whose user has nothing against colours (<https://no-color.org>).
#[expect(
    clippy::disallowed_methods,
    reason = "a convention of all programs, and no setting of this one"
)]
pub(super) fn wants_colours() -> bool {
    is_drawable() && std::env::var_os("NO_COLOR").is_none()
}
