//! The visitor of a page: the session in a cookie.

use std::fmt;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use url::form_urlencoded;

use super::client::PageApi;
use super::failure::PageFailure;
use super::layout::{Layout, Section, SiteFrame, once};
use super::model::SiteView;
use super::origin::form_token;
use super::paths::SitePath;
use super::respond::see_other;
use super::session_cookie::CookieSlot;
use super::state::UiState;
use super::times::Zone;
use crate::clock;
use crate::record::sessions::{self, LINK_SESSION, TOKEN_SESSION};
use crate::record::tokens::{Role, Scope, TokenRecord};

const SECURE_COOKIE: &str = "__Host-bw";
const PLAIN_COOKIE: &str = "bw";
/// Longer than any session's text.
const MAX_TEXT_BYTES: usize = 128;

/// Somebody with a valid session, and the page that they asked for.
pub(super) struct PageVisit {
    pub(super) state: UiState,
    pub(super) token: TokenRecord,
    pub(super) api: PageApi,
    form_token: String,
    /// Path of the page.
    here: String,
    is_utc: bool,
}

impl fmt::Debug for PageVisit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageVisit")
            .field("here", &self.here)
            .finish_non_exhaustive()
    }
}

/// A site with what its pages need.
#[derive(Debug)]
pub(super) struct SiteVisit {
    pub(super) site: SiteView,
    pub(super) path: SitePath,
    pub(super) zone: Zone,
}

impl PageVisit {
    pub(super) fn is_editor(&self) -> bool {
        self.token.role == Role::Editor
    }

    /// Viewers get no forms.
    pub(super) fn check_editor(&self) -> Result<(), PageFailure> {
        match self.is_editor() {
            true => Ok(()),
            false => Err(PageFailure::look_only()),
        }
    }

    pub(super) fn is_own_token(&self, given: &str) -> bool {
        // Both are hashes; the time of the comparison tells nothing of use.
        given == self.form_token
    }

    /// Reads a site of the visitor's.
    pub(super) async fn site(&self, site_id: &str) -> Result<SiteVisit, PageFailure> {
        let path = SitePath::new(site_id);
        let site: SiteView = self.api.get(&path.api("")).await?;
        let zone_name = if self.is_utc { "UTC" } else { &site.time_zone };
        let zone = Zone::new(zone_name, clock::now());
        Ok(SiteVisit { site, path, zone })
    }

    /// The frame of a page that belongs to no site.
    pub(super) fn layout(&self, title: &str) -> Layout {
        Layout {
            title: title.to_owned(),
            is_error: false,
            site: None,
            form_token: self.form_token.clone(),
            once: once(),
            has_sites: self.has_sites(),
            is_editor: self.is_editor(),
        }
    }

    /// The frame of a page of a site.
    pub(super) fn site_layout(&self, visit: &SiteVisit, section: Section, title: &str) -> Layout {
        let SiteVisit { site, path, zone } = visit;
        let frame = SiteFrame::new(site, path, zone, self.is_utc, section, &self.here);
        Layout {
            title: format!("{title} – {}", site.title()),
            site: Some(frame),
            ..self.layout(title)
        }
    }

    /// The address in the zone of the page.
    pub(super) fn in_zone(&self, path: String) -> String {
        match self.is_utc {
            true => format!("{path}?tz=utc"),
            false => path,
        }
    }

    /// The key of the site's present in the zone of the page.
    pub(super) fn live_key(&self, site_id: &str) -> String {
        format!("{}/{site_id}", self.is_utc)
    }

    fn has_sites(&self) -> bool {
        match &self.token.scope {
            Scope::Admin => true,
            Scope::Sites(sites) => sites.len() > 1,
        }
    }
}

/// Finds the session of a request. The second value is a cookie that extends it.
async fn find(
    state: &UiState,
    parts: &Parts,
) -> Result<Option<(PageVisit, Option<HeaderValue>)>, PageFailure> {
    let Some(text) = cookie(&parts.headers, state) else {
        return Ok(None);
    };
    let mut conn = state.connection().await?;
    let Some(found) = sessions::find(&mut conn, text, clock::now()).await? else {
        return Ok(None);
    };
    let extended = found
        .is_extended
        .then(|| set_cookie(state, text, TOKEN_SESSION))
        .flatten();
    let query = original_uri(parts).query().unwrap_or_default();
    let is_utc = form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "tz" && value == "utc");
    let visit = PageVisit {
        api: PageApi::new(state.clone(), found.token.clone()),
        state: state.clone(),
        token: found.token,
        form_token: form_token(text),
        here: original_uri(parts).path().to_owned(),
        is_utc,
    };
    Ok(Some((visit, extended)))
}

impl FromRequestParts<UiState> for PageVisit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &UiState) -> Result<Self, Response> {
        match find(state, parts).await {
            Ok(Some((visit, extended))) => {
                if let (Some(cookie), Some(slot)) = (extended, parts.extensions.get::<CookieSlot>()) {
                    slot.set(cookie);
                }
                Ok(visit)
            }
            Ok(None) if parts.method.is_safe() => Err(see_other(&sign_in_path(parts))),
            Ok(None) => Err(PageFailure::signed_out().into_response()),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

impl OptionalFromRequestParts<UiState> for PageVisit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &UiState) -> Result<Option<Self>, Response> {
        match find(state, parts).await {
            Ok(found) => Ok(found.map(|(visit, _)| visit)),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

/// The address that was asked for: nested routers cut off what they have matched.
pub(super) fn original_uri(parts: &Parts) -> &Uri {
    parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0)
}

/// The sign-in page that leads back to the page that was asked for.
fn sign_in_path(parts: &Parts) -> String {
    let here = original_uri(parts)
        .path_and_query()
        .map_or("/", |here| here.as_str());
    if parts.method != Method::GET || here == "/" || here == "/sites" {
        return "/sign-in".to_owned();
    }
    let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    format!("/sign-in?next={next}")
}

/// The text of the session's cookie. Only one of the two names counts.
fn cookie<'a>(headers: &'a HeaderMap, state: &UiState) -> Option<&'a str> {
    let name = cookie_name(state);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, text)| text)
        .filter(|text| text.len() <= MAX_TEXT_BYTES)
}

fn cookie_name(state: &UiState) -> &'static str {
    match state.config().is_secure() {
        true => SECURE_COOKIE,
        false => PLAIN_COOKIE,
    }
}

/// The cookie of a session that was opened with a token, or with a link.
pub(super) fn new_cookie(state: &UiState, session: &str, is_of_link: bool) -> Option<HeaderValue> {
    let life = if is_of_link { LINK_SESSION } else { TOKEN_SESSION };
    set_cookie(state, session, life)
}

/// The cookie that ends a session in the browser.
pub(super) fn no_cookie(state: &UiState) -> Option<HeaderValue> {
    set_cookie(state, "", TimeDelta::zero())
}

fn set_cookie(state: &UiState, text: &str, life: TimeDelta) -> Option<HeaderValue> {
    let secure = if state.config().is_secure() {
        "; Secure"
    } else {
        ""
    };
    let (name, seconds) = (cookie_name(state), life.num_seconds());
    HeaderValue::try_from(format!(
        "{name}={text}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}"
    ))
    .ok()
}
