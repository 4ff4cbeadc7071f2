//! The pages that site owners see.
//!
//! In: requests of browsers with a session. Out: HTML, made from answers of the API, which is
//! called inside the process: what it validates, allows, limits and writes to the audit log holds
//! for pages. Guaranteed: everything works without the script; a form takes effect once, and only
//! if it was sent from one of our own pages; no secret stands in an address, a form or an error.
//! Not here: any rule of its own about sites, webhooks, goals or deliveries.

mod router;
mod pages;
mod posted;
mod button;
mod shown_before;
mod session;
mod pre_session;
mod session_cookie;
mod failure;
mod long_address;
mod lost_form;
mod client;
mod reply;
mod webhook_visit;
mod layout;
mod respond;
mod assets;
mod origin;
mod edited;
mod turns;
mod form_errors;
mod webhook_errors;
mod webhook_form;
mod form;
mod last_hours;
mod visitor_levels;
mod live_cache;
mod watchers;
mod config;
mod state;
mod health;
mod settings_words;
mod test_words;
mod delivery_line;
mod request_headers;
mod missed;
mod words;
mod model;
mod chart;
mod json_text;
mod html;
mod times;
mod paths;
mod address;
mod escape;

pub use config::UiConfig;
pub(crate) use router::is_api_path;
pub use router::router;
pub use state::UiState;
