//! Answers of the API to pages.

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::form_errors::FieldProblem;

/// An answer of the API.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Reply {
    /// The bad fields, if the answer names any.
    pub(super) fn fields(&self) -> Vec<FieldProblem> {
        let errors = self.body.get("errors").cloned().unwrap_or_default();
        serde_json::from_value(errors).unwrap_or_default()
    }

    /// The last part of the problem's type, such as `webhook-limit`.
    pub(super) fn problem_type(&self) -> &str {
        let name = self.body.get("type").and_then(Value::as_str).unwrap_or_default();
        name.rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn detail(&self) -> &str {
        self.body
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}
