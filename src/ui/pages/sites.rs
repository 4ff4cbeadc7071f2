//! The list of a visitor's sites.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use crate::clock;
use crate::domain::health::CountedState;
use crate::ui::address::PageQuery;
use crate::ui::failure::PageFailure;
use crate::ui::layout::Layout;
use crate::ui::model::{Listed, SiteView};
use crate::ui::paths::{SitePath, query};
use crate::ui::respond::{page, see_other};
use crate::ui::session::PageVisit;
use crate::ui::times::{Stamp, Zone, counted};

#[derive(Template)]
#[template(path = "sites.html")]
struct SitesPage {
    l: Layout,
    sites: Vec<SiteLine>,
    q: String,
    older: Option<String>,
    /// True if the list does not begin at its first site.
    is_later: bool,
}

/// One site.
struct SiteLine {
    title: String,
    site_id: String,
    href: String,
    last_event: Option<Stamp>,
    /// Its webhooks by their health, in words.
    webhooks: String,
    open_alerts: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::ui) struct SiteSearch {
    q: String,
    after: String,
}

/// `GET /sites?q=&after=`
pub(in crate::ui) async fn list(
    visit: PageVisit,
    PageQuery(wanted): PageQuery<SiteSearch>,
) -> Result<Response, PageFailure> {
    // No id or name has control characters, which the API refuses to look for.
    let q: String = wanted.q.trim().replace(char::is_control, "");
    let asked = query(&[("q", &q), ("after", &wanted.after)]);
    let found: Listed<SiteView> = visit.api.get(&format!("/api/sites?{asked}")).await?;
    let is_whole = q.is_empty() && wanted.after.is_empty() && found.next.is_none();
    if let ([only], true) = (&found.data[..], is_whole) {
        return Ok(see_other(&SitePath::new(&only.site_id).page("/webhooks")));
    }
    let older = found
        .next
        .map(|after| format!("/sites?{}", query(&[("q", &q), ("after", &after)])));
    let sites = found.data.iter().map(line).collect();
    let l = visit.layout("Sites");
    let shown = SitesPage {
        l,
        sites,
        q,
        older,
        is_later: !wanted.after.is_empty(),
    };
    Ok(page(StatusCode::OK, &shown))
}

/// The state of a webhook in a list of sites.
fn state_word(state: CountedState) -> &'static str {
    match state {
        CountedState::Ok => "working",
        CountedState::Careful => "careful",
        CountedState::Open => "not answering",
        CountedState::Paused => "paused",
        CountedState::Disabled => "off",
    }
}

fn line(site: &SiteView) -> SiteLine {
    let zone = Zone::new(&site.time_zone, clock::now());
    let counts = CountedState::ALL.iter().filter_map(|state| {
        let number = site
            .webhooks
            .get(state.as_str())
            .and_then(Value::as_u64)
            .filter(|number| *number > 0)?;
        Some(format!("{number} {}", state_word(*state)))
    });
    SiteLine {
        title: site.title().to_owned(),
        site_id: site.site_id.clone(),
        href: SitePath::new(&site.site_id).page("/webhooks"),
        last_event: site.last_event_at.map(|at| zone.minute(at)),
        webhooks: counts.collect::<Vec<_>>().join(", "),
        open_alerts: (site.open_episodes > 0).then(|| counted(site.open_episodes, "open alert")),
    }
}
