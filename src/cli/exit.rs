//! Exit codes: 0 done, 1 failed, 2 used wrongly.

use clap::Command;
use clap::error::{ContextKind, ContextValue};

use super::output::{StdoutLost, check_open, complain};
use crate::app::in_words;

/// The exit code of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExitCode(pub(super) u8);

impl ExitCode {
    pub(super) const SUCCESS: Self = Self(0);
    pub(super) const FAILURE: Self = Self(1);
    /// The command was used wrongly, as by the parser of the command line.
    const USED_WRONGLY: Self = Self(2);
}

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
    if error.downcast_ref().is_some_and(StdoutLost::is_quiet) {
        return ExitCode::FAILURE;
    }
    complain(&in_words(&error));
    code_of_failure(&error)
}

/// The exit code of a command that failed.
pub(super) fn code_of_failure(error: &anyhow::Error) -> ExitCode {
    if error.is::<UsageError>() {
        ExitCode::USED_WRONGLY
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

/// Shows the usage of the command as its help does. By itself the parser also shows the options
/// whose values come from the environment, as if they had to be given.
pub(super) fn with_whole_usage(mut answer: clap::Error, command_line: &mut Command) -> clap::Error {
    let Some(ContextValue::StyledStr(usage)) = answer.get(ContextKind::Usage) else {
        return answer;
    };
    // `Usage: bellwether webhook get --site <SITE_ID> <ID>`
    let usage = usage.to_string();
    let mut command = command_line;
    for word in usage.split_whitespace().skip(2) {
        if command.find_subcommand(word).is_none() {
            break;
        }
        command = match command.find_subcommand_mut(word) {
            Some(below) => below,
            None => return answer,
        };
    }
    let whole = command.render_usage();
    answer.insert(ContextKind::Usage, ContextValue::StyledStr(whole));
    answer
}

/// The exit code of a command line that the parser answers itself: help, version, or an error.
pub(super) fn code_of_parser(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        drop(answer.print());
        return ExitCode::USED_WRONGLY;
    }
    let shown = check_open().and_then(|()| answer.print().map_err(StdoutLost::from));
    code_of(shown.map(|()| ExitCode::SUCCESS).map_err(anyhow::Error::from))
}
