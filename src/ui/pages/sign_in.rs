//! Signing in with a token, signing out, and arriving by a link.

use std::net::SocketAddr;

use askama::Template;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use sqlx::{Connection as _, PgConnection};

use crate::clock;
use crate::record::portal_links::{self, LinkState};
use crate::record::sessions;
use crate::record::tokens;
use crate::ui::address::{PageQuery, Path};
use crate::ui::client;
use crate::ui::failure::PageFailure;
use crate::ui::form::{Form, MAX_FORM_BYTES};
use crate::ui::layout::Layout;
use crate::ui::origin;
use crate::ui::posted::Posted;
use crate::ui::pre_session::PreSession;
use crate::ui::respond::{page, see_other};
use crate::ui::session::{PageVisit, new_cookie, no_cookie};
use crate::ui::session_cookie::with_cookie;
use crate::ui::state::UiState;

/// Longer than any token or link.
const MAX_TEXT_BYTES: usize = 128;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    l: Layout,
    /// The token of the form.
    token: String,
    /// The page to go to.
    next: String,
    error: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "portal.html")]
struct PortalPage {
    l: Layout,
    /// The token of the form.
    token: String,
    /// False if it was used or is over.
    is_open: bool,
}

/// The page that sign-in leads to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct NextPage {
    next: String,
}

/// `GET /sign-in`
pub(in crate::ui) async fn show(
    State(state): State<UiState>,
    visit: Option<PageVisit>,
    PageQuery(query): PageQuery<NextPage>,
    headers: HeaderMap,
) -> Response {
    if visit.is_some() {
        return see_other(&own_path(&query.next));
    }
    let browser = PreSession::of(&headers, &state);
    let shown = sign_in_page(&browser, &query.next, None);
    browser.keep(page(StatusCode::OK, &shown), &state)
}

fn sign_in_page(browser: &PreSession, next: &str, error: Option<&'static str>) -> SignInPage {
    SignInPage {
        l: Layout::bare("Sign in").with_error(error.is_some()),
        token: browser.token(),
        next: own_path(next),
        error,
    }
}

/// `next` if it is a page of ours, else the list of sites.
fn own_path(next: &str) -> String {
    let rest = next.strip_prefix("/sites");
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        && next.bytes().all(|one| one.is_ascii_graphic() && one != b'\\');
    if is_own {
        next.to_owned()
    } else {
        "/sites".to_owned()
    }
}

/// `POST /sign-in`: the token is checked by the API, which also counts failures by address.
pub(in crate::ui) async fn sign_in(
    State(state): State<UiState>,
    request: Request,
) -> Result<Response, PageFailure> {
    let browser = PreSession::of(request.headers(), &state);
    let (form, sender) = read_form(&state, request).await?;
    let (text, next) = (form.text("secret_token"), form.text("next"));
    let refused = |status, error| Ok(page(status, &sign_in_page(&browser, next, Some(error))));
    if text.is_empty() {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Enter your token");
    }
    let Some(probe) = probe(text, &sender) else {
        return refused(StatusCode::UNAUTHORIZED, NOT_VALID);
    };
    let reply = client::send(&state, probe).await?;
    match reply.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return refused(StatusCode::UNAUTHORIZED, NOT_VALID),
        _ => return Err(PageFailure::of_reply(&reply)),
    }
    let mut conn = state.connection_of_stranger().await?;
    let now = clock::now();
    let Some(token) = tokens::find(&mut conn, text, now).await? else {
        return refused(StatusCode::UNAUTHORIZED, NOT_VALID);
    };
    let session = sessions::open(&mut conn, &token, now).await?;
    Ok(with_cookie(
        see_other(&own_path(next)),
        new_cookie(&state, &session, false),
    ))
}

const NOT_VALID: &str = "This token is not valid: it may be mistyped, revoked or expired";

/// A form that needs no session: it has to come from a page that we showed to this browser.
async fn read_form(state: &UiState, request: Request) -> Result<(Form, Sender), PageFailure> {
    if !origin::is_own(request.headers(), state.config().public_url.as_deref()) {
        return Err(PageFailure::foreign_form());
    }
    let sender = Sender {
        address: request.extensions().get::<ConnectInfo<SocketAddr>>().copied(),
        forwarded: request
            .headers()
            .get_all("x-forwarded-for")
            .iter()
            .cloned()
            .collect(),
    };
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_FORM_BYTES)
        .await
        .map_err(|_| PageFailure::too_large())?;
    let form = Form::parse(&body);
    match PreSession::is_own_token(&parts.headers, state, form.text("token")) {
        true => Ok((form, sender)),
        false => Err(PageFailure::foreign_form()),
    }
}

/// The address that a form came from.
struct Sender {
    address: Option<ConnectInfo<SocketAddr>>,
    forwarded: Vec<HeaderValue>,
}

/// A request to the API that shows if the token is valid. `None` if it cannot be one.
fn probe(token: &str, sender: &Sender) -> Option<Request> {
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    let mut request = Request::builder()
        .uri("/api/sites?limit=1")
        .header(header::AUTHORIZATION, bearer)
        .body(Body::empty())
        .ok()?;
    for forwarded in &sender.forwarded {
        request.headers_mut().append("x-forwarded-for", forwarded.clone());
    }
    if let Some(address) = sender.address {
        request.extensions_mut().insert(address);
    }
    Some(request)
}

/// `POST /sign-out`
pub(in crate::ui) async fn sign_out(posted: Posted) -> Result<Response, PageFailure> {
    let (state, token) = (&posted.visit.state, &posted.visit.token);
    let mut conn = state.connection_of(token).await?;
    sessions::end(&mut conn, token.id, clock::now()).await?;
    Ok(with_cookie(see_other("/sign-in"), no_cookie(state)))
}

/// `GET /p/{link}`: shows a button. Scanners of mails read links, too, and spend none.
pub(in crate::ui) async fn portal(
    State(state): State<UiState>,
    Path(link): Path<String>,
    headers: HeaderMap,
) -> Result<Response, PageFailure> {
    let link_state = match link.len() <= MAX_TEXT_BYTES {
        true => {
            let mut conn = state.connection_of_stranger().await?;
            portal_links::link_state(&mut conn, &link, clock::now()).await?
        }
        false => LinkState::Unknown,
    };
    let browser = PreSession::of(&headers, &state);
    let shown = portal_page(link_state, browser.token());
    Ok(match link_state {
        LinkState::Open => browser.keep(shown, &state),
        LinkState::Over | LinkState::Unknown => shown,
    })
}

fn portal_page(link_state: LinkState, token: String) -> Response {
    let (status, is_open) = match link_state {
        LinkState::Open => (StatusCode::OK, true),
        LinkState::Over => (StatusCode::GONE, false),
        LinkState::Unknown => (StatusCode::NOT_FOUND, false),
    };
    let title = if is_open {
        "Open your webhooks"
    } else {
        "This link is over"
    };
    let l = Layout::bare(title);
    let mut response = page(status, &PortalPage { l, token, is_open });
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `POST /p/{link}`: spends the link.
pub(in crate::ui) async fn open_portal(
    State(state): State<UiState>,
    Path(link): Path<String>,
    visit: Option<PageVisit>,
    request: Request,
) -> Result<Response, PageFailure> {
    let browser = PreSession::of(request.headers(), &state);
    read_form(&state, request).await?;
    let now = clock::now();
    let mut conn = state.connection_of_stranger().await?;
    let session = match link.len() <= MAX_TEXT_BYTES {
        true => session_of_link(&mut conn, &link, &browser, now).await?,
        false => None,
    };
    match session {
        Some(session) => Ok(with_cookie(
            see_other("/sites"),
            new_cookie(&state, &session, true),
        )),
        // The second of two clicks: the first has opened the session.
        None if visit.is_some() => Ok(see_other("/sites")),
        None => {
            let state = portal_links::link_state(&mut conn, &link, now).await?;
            let state = match state {
                LinkState::Open => LinkState::Over,
                other => other,
            };
            Ok(portal_page(state, String::new()))
        }
    }
}

/// The session that a link opens. The second of two clicks gets that of the first.
async fn session_of_link(
    conn: &mut PgConnection,
    link: &str,
    browser: &PreSession,
    now: DateTime<Utc>,
) -> Result<Option<String>, sqlx::Error> {
    let mut tx = conn.begin().await?;
    let session = portal_links::spend_link(&mut tx, link, browser.text(), now).await?;
    tx.commit().await?;
    match session {
        Some(session) => Ok(Some(session)),
        None => portal_links::reopen_link(conn, link, browser.text(), now).await,
    }
}

/// `GET /`
pub(in crate::ui) async fn root() -> Response {
    see_other("/sites")
}

/// Everything that has a page or takes a form, asked for in another way.
pub(in crate::ui) async fn wrong_method(_headers: HeaderMap) -> Response {
    PageFailure::wrong_method().into_response()
}

/// Everything that has no page.
pub(in crate::ui) async fn not_found(_headers: HeaderMap) -> Response {
    PageFailure::not_found().into_response()
}
