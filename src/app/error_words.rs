//! Errors and their causes in one line, for people. Libraries name what only their authors know.

use crate::kafka::error_words::chain_in_words;
use crate::record::pg_monitor;

/// An error and its causes in one line, each said once.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    chain_in_words(error, |cause| cause.downcast_ref().map(pg_monitor::in_words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_postgres_are_in_words_and_said_once() {
        let refused = || std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        for (error, words) in [
            (
                sqlx::Error::PoolTimedOut,
                "looking: no connection was free in time: all of them are in use, or the server does not answer",
            ),
            (
                sqlx::Error::Io(refused()),
                "looking: the connection failed: refused",
            ),
        ] {
            let error = anyhow::Error::from(error).context("looking");
            assert_eq!(in_words(&error), words);
        }
    }
}
