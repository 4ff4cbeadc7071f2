//! The reference page against the document.

use super::*;
use crate::api::CALLS;

#[test]
fn the_page_shows_every_call_and_every_outgoing_event() {
    let page = page::render(openapi(), STYLE_PATH);
    for call in CALLS {
        let heading = format!("<b>{}</b> <code>{}</code>", call.method, call.path);
        assert!(page.contains(&heading), "{heading}");
    }
    let events = openapi()["webhooks"].as_object().expect("webhooks");
    for event in events.keys() {
        assert!(page.contains(&format!("<code>{event}</code></h3>")), "{event}");
    }
}

#[test]
fn the_page_loads_nothing_but_its_own_style() {
    let page = page::render(openapi(), STYLE_PATH);
    for forbidden in ["<script", "http-equiv", "style=", "src=", "url(", "onload"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let links: Vec<&str> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(links.len() > 30);
    for link in links {
        assert!(
            link.starts_with('#') || ["openapi.json", STYLE_PATH].contains(&link),
            "{link}"
        );
    }
    assert!(!include_str!("style.css").contains("url("));
}

#[test]
fn every_link_within_the_page_leads_somewhere() {
    let page = page::render(openapi(), STYLE_PATH);
    for link in page
        .split("href=\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
    }
}
