//! Answers as they are printed.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::body::CallBody;
use super::client::{ApiAnswer, ApiClient};
use crate::cli::output::{StdoutLost, check_open, print_json};
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
            print_json(&answer.text)?;
        } else {
            print_json(&indented_json(serde_json::from_str(&answer.text)?))?;
        }
        Ok(())
    }

    /// Prints the answer to something that was done. If nobody reads it, the error says with
    /// `remark` what is there now.
    pub(super) fn print_or(
        self,
        answer: &ApiAnswer,
        remark: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        self.print(answer)
            .map_err(|error| match error.downcast::<StdoutLost>() {
                Ok(lost) => lost.leaving(remark(&answer.json().unwrap_or_default())).into(),
                Err(other) => other,
            })
    }
}

/// Calls that change something whose answer is shown.
pub(super) async fn send_and_print(
    api: &ApiClient,
    method: Method,
    path: &[&str],
    body: &CallBody,
    output: OutputArgs,
) -> anyhow::Result<()> {
    check_open()?;
    let answer = api.send(method, path, body).await?;
    answer.note_warnings()?;
    output.print_or(&answer, |answer| {
        let id = answer["id"].as_str().or_else(|| answer["site_id"].as_str());
        format!("{} is stored, and its answer was not shown", id.unwrap_or("it"))
    })
}
