//! One call of the API: its method, its path, the rights that it asks for.

use axum::routing::MethodRouter;

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
}
