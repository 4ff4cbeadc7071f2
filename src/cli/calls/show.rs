//! Answers as they are printed.

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value};

use super::client::{ApiAnswer, ApiClient};
use crate::cli::output::print;
use crate::cli::text::indented_json;

/// Form in which an answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct OutputArgs {
    /// Print JSON as the API answers it
    #[arg(long)]
    pub(super) json: bool,
}

impl OutputArgs {
    /// Prints an answer: on one line as it came, or indented for people.
    pub(super) fn print(self, answer: &ApiAnswer) -> anyhow::Result<()> {
        if self.json {
            print(&answer.text)?;
        } else {
            print(&indented_json(serde_json::from_str(&answer.text)?))?;
        }
        Ok(())
    }
}

/// Calls that change something whose answer is shown.
pub(super) async fn send_and_print(
    api: &ApiClient,
    method: Method,
    path: &[&str],
    body: &Map<String, Value>,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let answer = api.send(method, path, body).await?;
    answer.note_warnings()?;
    output.print(&answer)
}
