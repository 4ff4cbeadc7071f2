//! Exit codes: 0 done, 1 failed, 2 used wrongly.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use super::output::{StdoutLost, complain};

/// The code of a command that was used wrongly, as by the parser of the command line.
const USED_WRONGLY: u8 = 2;

/// Arguments that exclude or need each other in a way that the parser cannot tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// The exit code of a command that has ended; its error is written to stderr.
pub(super) fn code_of(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    // A command whose reader has gone ends quietly.
    if error.is::<StdoutLost>() {
        return ExitCode::FAILURE;
    }
    complain(&format!("{error:#}"));
    if error.is::<UsageError>() {
        ExitCode::from(USED_WRONGLY)
    } else {
        ExitCode::FAILURE
    }
}

/// Flags whose values no error shows: secrets, and URLs that may hold one.
const SECRET_FLAGS: &[&str] = &["--secret", "--token", "--url"];

/// Hides a refused value that may be secret.
pub(super) fn without_secrets(mut answer: clap::Error) -> clap::Error {
    // `--url <URL>`
    let is_secret = match answer.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => {
            let name = flag.split_whitespace().next().unwrap_or(flag);
            SECRET_FLAGS.contains(&name)
        }
        _ => false,
    };
    if is_secret {
        answer.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    answer
}

/// The exit code of a command line that the parser answers itself: help, version, or an error.
pub(super) fn code_of_parser(answer: &clap::Error) -> ExitCode {
    let is_shown = answer.print().is_ok();
    match (answer.use_stderr(), is_shown) {
        (true, _) => ExitCode::from(USED_WRONGLY),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}
