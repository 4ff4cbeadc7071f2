//! The two streams of a command: stdout has what was asked for, stderr everything else.

use std::io::{self, IsTerminal as _, Write as _};

/// Stdout is closed or full: whoever asked does not read the answer.
#[derive(Debug, thiserror::Error)]
#[error("stdout cannot be written: {0}")]
pub(super) struct StdoutLost(#[from] io::Error);

/// Prints what was asked for, and a line end.
pub(super) fn print(text: &str) -> Result<(), StdoutLost> {
    write(format!("{text}\n").as_bytes())
}

/// Writes what was asked for, as it is.
pub(super) fn write(bytes: &[u8]) -> Result<(), StdoutLost> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes a line on stderr. A stderr that is closed or full is no reason to stop.
pub(super) fn note(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// Writes a line on stderr that says who complains.
pub(super) fn complain(line: &str) {
    note(&format!("bellwether: {line}"));
}

/// True if stdout is a terminal whose user has nothing against colours (<https://no-color.org>).
#[expect(
    clippy::disallowed_methods,
    reason = "a convention of all programs, and no setting of this one"
)]
pub(super) fn wants_colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
