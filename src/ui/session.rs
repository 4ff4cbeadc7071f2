//! The visitor of a page: the session in a cookie.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use url::form_urlencoded;

use super::client::PageApi;
use super::failure::PageFailure;
use super::layout::{Layout, Section, SiteFrame, once};
use super::model::SiteView;
use super::origin::form_token;
use super::paths::{SitePath, sign_in_to};
use super::respond::see_other;
use super::session_cookie::{CookieSlot, cookie_of, set_cookie};
use super::state::UiState;
use super::times::Zone;
use crate::clock;
use crate::domain::id::WebhookId;
use crate::domain::site::SiteId;
use crate::record::sessions::{LINK_SESSION, SiteOfPage, TOKEN_SESSION};
use crate::record::tokens::{Role, Scope, TokenRecord};

const SECURE_COOKIE: &str = "__Host-bw";
const PLAIN_COOKIE: &str = "bw";

/// Somebody with a valid session, and the page that they asked for.
pub(super) struct PageVisit {
    pub(super) state: UiState,
    pub(super) token: TokenRecord,
    pub(super) api: PageApi,
    form_token: String,
    /// Address of the page, without the switch of the zone.
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
    /// The site as it was read with the session of a page that shows something.
    known: Option<Arc<SiteOfPage>>,
}

impl SiteVisit {
    /// The names of its webhooks by their ids, of those that were deleted lately, too.
    pub(super) fn webhook_names(&self) -> HashMap<String, &str> {
        let known = self.known.iter().flat_map(|known| &known.webhooks);
        known
            .map(|one| (WebhookId::from_uuid(one.id).to_string(), one.name.as_str()))
            .collect()
    }

    /// Ids and names of webhooks that were deleted lately, with the time of that, newest first.
    pub(super) fn deleted_webhooks(&self) -> Vec<(String, &str, DateTime<Utc>)> {
        let known = self.known.iter().flat_map(|known| &known.webhooks);
        let deleted = known.filter_map(|one| {
            let id = WebhookId::from_uuid(one.id).to_string();
            Some((id, one.name.as_str(), one.deleted_at?))
        });
        deleted.collect()
    }
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
        let zone = match self.is_utc {
            true => Zone::switched(clock::now()),
            false => Zone::new(&site.time_zone, clock::now()),
        };
        let known = self.api.known_site();
        let known = known.filter(|known| known.site.site_id == site.site_id);
        Ok(SiteVisit {
            known: known.cloned(),
            site,
            path,
            zone,
        })
    }

    /// The same visit with the site that its page watches: found together with other watchers, the
    /// session brought none.
    pub(super) async fn watching(&self, site_id: &str) -> Result<Self, PageFailure> {
        let known = match site_id.parse() {
            Ok(id) => self.state.watched_site(&self.token, &id).await?,
            Err(_) => None,
        };
        Ok(Self {
            state: self.state.clone(),
            token: self.token.clone(),
            api: self.api.with_site(known),
            form_token: self.form_token.clone(),
            here: self.here.clone(),
            is_utc: self.is_utc,
        })
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
        let SiteVisit { site, path, zone, .. } = visit;
        let frame = SiteFrame::new(site, path, zone, section, &self.here);
        Layout {
            title: format!("{title} – {}", site.title()),
            site: Some(frame),
            ..self.layout(title)
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
    parts: &mut Parts,
) -> Result<Option<(PageVisit, Option<HeaderValue>)>, PageFailure> {
    let site = site_to_show(parts).await;
    // Only one of the two names counts.
    let Some(text) = cookie_of(&parts.headers, cookie_name(state)) else {
        return Ok(None);
    };
    let found = match is_poll(parts) {
        true => state.find_watching_session(text).await?,
        false => state.find_session(text, site.as_ref()).await?,
    };
    let Some(found) = found else {
        return Ok(None);
    };
    let extended = found
        .is_extended
        .then(|| set_cookie(state, cookie_name(state), text, TOKEN_SESSION))
        .flatten();
    let (here, is_utc) = without_switch(original_uri(parts));
    let visit = PageVisit {
        api: PageApi::new(state.clone(), found.token.clone(), found.site),
        state: state.clone(),
        token: found.token,
        form_token: form_token(text),
        here,
        is_utc,
    };
    Ok(Some((visit, extended)))
}

/// The site in the address of a page that shows something. A form reads it when its turn comes.
async fn site_to_show(parts: &mut Parts) -> Option<SiteId> {
    if !parts.method.is_safe() {
        return None;
    }
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let (_, id) = params.iter().find(|(name, _)| *name == "site_id")?;
    id.parse().ok()
}

/// True if a page's script asks what is new, as it does every few seconds.
fn is_poll(parts: &Parts) -> bool {
    let uri = original_uri(parts);
    let asks_for_newer = || uri.query().is_some_and(|query| query.contains("newer_than="));
    parts.method == Method::GET && (uri.path().ends_with("/now") || asks_for_newer())
}

/// The address without the switch of the zone, and true if that asks for UTC.
fn without_switch(uri: &Uri) -> (String, bool) {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let (switches, others): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| name == "tz");
    let mut here = uri.path().to_owned();
    if !others.is_empty() {
        here.push('?');
        here.push_str(
            &form_urlencoded::Serializer::new(String::new())
                .extend_pairs(others)
                .finish(),
        );
    }
    (here, switches.iter().any(|(_, value)| value == "utc"))
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
    match parts.method == Method::GET {
        true => sign_in_to(here),
        false => sign_in_to("/sites"),
    }
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
    set_cookie(state, cookie_name(state), session, life)
}

/// The cookie that ends a session in the browser.
pub(super) fn no_cookie(state: &UiState) -> Option<HeaderValue> {
    set_cookie(state, cookie_name(state), "", TimeDelta::zero())
}
