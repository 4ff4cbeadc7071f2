//! Pages that say why there is nothing else to show.

use std::fmt;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::{Form, MAX_FORM_BYTES};
use super::layout::Layout;
use super::lost_form::LostForm;
use super::paths::sign_in_to;
use super::reply::Reply;
use super::respond::page;
use crate::chance;
use crate::record::pg_monitor::in_words;
use crate::telemetry::throttle::SharedThrottle;

/// The text of a page about a fault of ours.
const OUR_FAULT: &str = "Something went wrong on our side. Try again.";

/// A request that cannot be answered with its page.
#[derive(Debug)]
pub(super) struct PageFailure {
    status: StatusCode,
    heading: &'static str,
    text: String,
    retry_after: Option<HeaderValue>,
    /// The form that was not taken.
    lost: Option<Box<LostForm>>,
}

/// At most one log line a second of each kind, since every request may cause one.
static UNAVAILABLE: SharedThrottle = SharedThrottle::new();
static UNMADE: SharedThrottle = SharedThrottle::new();

#[derive(Template)]
#[template(path = "failure.html")]
struct FailureTemplate<'a> {
    l: Layout,
    heading: &'a str,
    text: &'a str,
    request_id: &'a str,
    is_signed_out: bool,
    /// The page to sign in.
    sign_in: String,
    lost: Option<&'a LostForm>,
    /// True if something was typed into the form.
    has_typed: bool,
    /// True if the page of the form shows no more than this one.
    is_gone: bool,
}

impl Reply {
    /// The answer, unless the API refused: then nothing is left to show but its reason.
    pub(super) fn or_failure(self) -> Result<Self, PageFailure> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(PageFailure::of_reply(&self)),
        }
    }
}

impl PageFailure {
    pub(super) fn new(status: StatusCode, heading: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            heading,
            text: text.into(),
            retry_after: None,
            lost: None,
        }
    }

    /// Nothing of this name, or nothing that the visitor may know of.
    pub(super) fn not_found() -> Self {
        let text = "There is no such page. What it showed may have been deleted.";
        Self::new(StatusCode::NOT_FOUND, "Not found", text)
    }

    /// The query of the address cannot be read: a filter is given twice, say.
    pub(super) fn unreadable_query() -> Self {
        let text = "What follows the question mark in this address cannot be read.";
        Self::new(StatusCode::BAD_REQUEST, "Not an address of ours", text)
    }

    /// An address that only takes forms was opened, or one that takes none was sent a form.
    pub(super) fn wrong_method() -> Self {
        let text = "This address works only by a button of its page. Go back, and use the button.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Not a page", text)
    }

    /// A viewer who wants to change something.
    pub(super) fn look_only() -> Self {
        let text = "You can look but not change.";
        Self::new(StatusCode::FORBIDDEN, "Not allowed", text)
    }

    /// A form that was not sent from one of our pages, or for something else.
    pub(super) fn foreign_form() -> Self {
        let text = "This form did not come from the page it belongs to, or was used for something else. \
                    Nothing was changed. Open the page again and send it from there.";
        Self::new(StatusCode::FORBIDDEN, "Not allowed", text)
    }

    /// The page of a webhook that was deleted.
    pub(super) fn deleted_webhook() -> Self {
        let text = "This webhook was deleted. The page of its deliveries is still there.";
        Self::new(StatusCode::NOT_FOUND, "Deleted", text)
    }

    /// A form without a session.
    pub(super) fn signed_out() -> Self {
        let text = "Your session has ended. Nothing was changed. Sign in, or ask for a new link if you came \
                    by one, and send the form again from its page.";
        Self::new(StatusCode::UNAUTHORIZED, "Signed out", text)
    }

    /// Shows what was typed into a form that was sent to `path`, unless it leads elsewhere.
    pub(super) fn with_form(mut self, path: &str, form: &Form) -> Self {
        self.lost
            .get_or_insert_with(|| Box::new(LostForm::new(path, form)));
        self
    }

    /// Leads to a page on which the visitor can go on.
    pub(super) fn with_page(mut self, page: String) -> Self {
        let fields = Vec::new();
        self.lost = Some(Box::new(LostForm { page, fields }));
        self
    }

    pub(super) fn too_large() -> Self {
        let text = format!(
            "The form is too large: we take {} KiB at most. Nothing was changed.",
            MAX_FORM_BYTES / 1024
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", text)
    }

    /// An address that is longer than any of ours.
    pub(super) fn long_address() -> Self {
        let text = "This address is too long for us to read. If you searched for something, use fewer words.";
        Self::new(StatusCode::URI_TOO_LONG, "Too long", text)
    }

    /// A form that broke off.
    pub(super) fn broken_form() -> Self {
        let text = "The form did not arrive in one piece. Nothing was changed. Send it again.";
        Self::new(StatusCode::BAD_REQUEST, "Not all arrived", text)
    }

    /// A fault of our own, logged here.
    pub(super) fn internal(error: &dyn fmt::Display) -> Self {
        if let Some(suppressed) = UNMADE.admit() {
            tracing::error!(%error, suppressed, "a page could not be made");
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong",
            OUR_FAULT,
        )
    }

    /// A refusal of the API's.
    pub(super) fn of_reply(reply: &Reply) -> Self {
        let mut failure = match reply.status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::FORBIDDEN => Self::look_only(),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            StatusCode::TOO_MANY_REQUESTS => {
                let text = "That was more than we answer at a time. Wait a moment and load the page again.";
                Self::new(reply.status, "Too many requests", text)
            }
            status if status.is_client_error() => Self::new(status, "Not possible", refusal(reply)),
            status => Self::new(status, "Something went wrong", OUR_FAULT),
        };
        failure.retry_after = reply.headers.get(header::RETRY_AFTER).cloned();
        failure
    }

    /// The first of two same forms has not ended.
    pub(super) fn still_at_work() -> Self {
        let text = "This form was sent twice, and the first one is still being worked on.";
        Self::new(StatusCode::CONFLICT, "Still at work", text)
    }

    fn unavailable() -> Self {
        let text = "We cannot reach our database. Nothing is lost. Load the page again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Back in a moment", text)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

/// The reason of a refusal, in words for people.
fn refusal(reply: &Reply) -> String {
    let words = match reply.problem_type() {
        "not-sendable" => {
            "Nothing can be sent again here for now: the webhook is off or deleted, or too much waits already."
        }
        "recovery-limit" => {
            "What this webhook missed is being sent as often as we do at a time. Wait until that has ended, or \
             stop one."
        }
        "body-too-large" => "All of this together is too long. Nothing was changed.",
        "site-is-alias" => "This is another id of a site that is there already.",
        "invalid-fields" => "Something in this form is not as it must be. Nothing was changed.",
        _ => return reply.detail().replace('`', ""),
    };
    words.to_owned()
}

impl From<sqlx::Error> for PageFailure {
    fn from(error: sqlx::Error) -> Self {
        if let Some(suppressed) = UNAVAILABLE.admit() {
            let error = in_words(&error);
            tracing::warn!(error, suppressed, "the database is unavailable to a page");
        }
        Self::unavailable()
    }
}

impl IntoResponse for PageFailure {
    fn into_response(self) -> Response {
        let request_id = hex::encode(chance::bytes::<6>());
        tracing::info!(
            request.id = request_id,
            status = self.status.as_u16(),
            "a page was refused"
        );
        let has_typed = self.lost.as_ref().is_some_and(|lost| !lost.fields.is_empty());
        let shown = FailureTemplate {
            l: Layout::bare(self.heading),
            heading: self.heading,
            text: &self.text,
            request_id: &request_id,
            is_signed_out: self.status == StatusCode::UNAUTHORIZED,
            sign_in: sign_in_to(self.lost.as_ref().map_or("/sites", |lost| &lost.page)),
            has_typed,
            is_gone: has_typed && self.status == StatusCode::NOT_FOUND,
            lost: self.lost.as_deref(),
        };
        let mut response = page(self.status, &shown);
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}
