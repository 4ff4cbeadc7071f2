//! One call of the API: its method, its path, the rights that it asks for.

use axum::routing::MethodRouter;

use super::parameter::Parameter;
use super::problem_type::ProblemType;
use super::state::ApiState;
use crate::domain::words::words;

words! {
    /// Method of a call, in upper case.
    pub enum Method {
        Get = "GET",
        Post = "POST",
        Put = "PUT",
        Patch = "PATCH",
        Delete = "DELETE",
    }
}

words! {
    /// Rights that a call asks for.
    pub enum Access {
        /// Any valid token; the answer holds what lies in its scope.
        Scoped = "scoped",
        /// A token whose scope holds the site in the path.
        Viewer = "viewer",
        /// A token whose scope holds the site in the path, with the role `editor`.
        Editor = "editor",
        /// A token for all sites; changes ask for the role `editor` too.
        Admin = "admin",
    }
}

words! {
    /// Body that a call takes.
    pub(super) enum BodyRule {
        None = "none",
        /// A JSON object.
        Required = "required",
        /// A JSON object, or nothing at all, which counts as an empty object.
        Optional = "optional",
    }
}

/// A call of the API.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub method: Method,
    /// Pattern of the path; parameters stand in braces.
    pub path: &'static str,
    pub access: Access,
    /// Status of a success.
    pub success: u16,
    /// Makes the handler.
    pub(super) handler: fn() -> MethodRouter<ApiState>,
    /// One line for people.
    pub(super) summary: &'static str,
    /// Parameters in the query.
    pub(super) query: &'static [Parameter],
    pub(super) body: BodyRule,
    /// Schema of the body, by its name in the document.
    pub(super) input: &'static str,
    /// Schema of the answer, by its name in the document; empty for an answer without a body.
    pub(super) output: &'static str,
    /// True if the call may also register what it changes, which is answered by 201.
    pub(super) may_create: bool,
    /// True if a repetition with the same `Idempotency-Key` takes effect once.
    pub(super) is_idempotent: bool,
    /// Problems of this call beyond those that its kind of call has.
    pub(super) problems: &'static [ProblemType],
}

impl Call {
    /// A call without query, body and problems of its own.
    pub(super) const fn new(
        method: Method,
        path: &'static str,
        access: Access,
        success: u16,
        handler: fn() -> MethodRouter<ApiState>,
    ) -> Self {
        Self {
            method,
            path,
            access,
            success,
            handler,
            summary: "",
            query: &[],
            body: BodyRule::None,
            input: "",
            output: "",
            may_create: false,
            is_idempotent: matches!(method, Method::Post),
            problems: &[],
        }
    }

    /// Says in one line what the call does.
    pub(super) const fn does(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Adds parameters in the query.
    pub(super) const fn asks(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    /// Adds a body of the schema `input`.
    pub(super) const fn takes(self, input: &'static str) -> Self {
        let body = BodyRule::Required;
        Self { body, input, ..self }
    }

    /// Adds a body of the schema `input`, which may be left out.
    pub(super) const fn may_take(self, input: &'static str) -> Self {
        let body = BodyRule::Optional;
        Self { body, input, ..self }
    }

    /// Answers with the schema `output`.
    pub(super) const fn answers(self, output: &'static str) -> Self {
        Self { output, ..self }
    }

    /// Answers 201 if it has registered what it changes.
    pub(super) const fn may_create(self) -> Self {
        let may_create = true;
        Self { may_create, ..self }
    }

    /// Adds problems of its own.
    pub(super) const fn refuses(self, problems: &'static [ProblemType]) -> Self {
        Self { problems, ..self }
    }
}
