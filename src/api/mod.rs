//! The REST API.
//!
//! In: HTTP requests with a token. Out: JSON, and rows through `record`. Guaranteed: a body is
//! validated as a whole and every bad field is named; a site outside the scope of the token answers
//! as if it did not exist; a secret is shown only in the answers to the requests that create or
//! rotate it, and to editors by a call that is audited.
//! Not here: sending. Nothing in this module talks to Kafka or to an endpoint.

mod router;
mod calls;
mod call;
mod observe;
mod unread;
mod answers;
mod auth;
mod state;
mod extract;
mod caller;
mod client_address;
mod limits;
mod connection_share;
mod idempotency;
mod sites;
mod site_input;
mod site_answer;
mod webhooks;
mod webhook_input;
mod trigger_input;
mod webhook_answer;
mod secrets;
mod webhook_test;
mod test_sender;
mod resend;
mod recoveries;
mod merge;
mod portal_links;
mod tokens;
mod token_input;
mod goals;
mod goal_input;
mod activity;
mod alerts;
mod deliveries;
mod delivery_answer;
mod query;
mod body;
pub(crate) mod strict_json;
mod validate;
mod answer;
/// The parameters in the queries of calls.
mod parameter;
mod problem;
mod problem_type;
mod openapi;
mod reference;
mod field_errors;
mod timed;

#[cfg(test)]
pub(crate) use answers::statuses;
pub(crate) use answers::usual_answers;
pub use call::{Access, Call, Method};
pub use calls::CALLS;
pub(crate) use observe::{UNMATCHED, method_word};
pub use openapi::openapi;
pub use problem_type::ProblemType;
pub use router::router;
pub use state::{AnsweredRequest, ApiConfig, ApiState};
pub(crate) use test_sender::{TestRequest, TestSender, TestShares};
pub use unread::{AnsweringListener, AnsweringStream, Connections, answering};
pub use webhook_input::WebhookRules;
