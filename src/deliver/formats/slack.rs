//! A message of Slack's incoming webhooks, within the limits of Block Kit
//! (<https://docs.slack.dev/reference/block-kit/blocks>).
//!
//! Values stand in `plain_text`, which formats nothing; `&`, `<` and `>` are written as entities,
//! so that nothing is a mention or a link
//! (<https://docs.slack.dev/messaging/formatting-message-text>).

use serde_json::{Value, json};

use super::message::{ChatMessage, Fact, Link};
use super::text::{escaped, plain};

const MAX_HEADER: usize = 150;
const MAX_TEXT: usize = 3_000;
const MAX_FIELDS: usize = 10;
const MAX_FIELD: usize = 2_000;

/// Renders a message.
pub(super) fn render(message: &ChatMessage) -> Vec<u8> {
    let headline = escaped(&message.headline, MAX_HEADER, entity);
    let mut blocks = vec![json!({"type": "header", "text": plain_text(&headline)})];
    for facts in message.facts.chunks(MAX_FIELDS) {
        let fields: Vec<Value> = facts.iter().map(field).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    blocks.extend(message.link.as_ref().and_then(link));
    json!({
        // For notifications, and for services that take Slack's form but know no blocks.
        "text": fallback(message),
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
    .to_string()
    .into_bytes()
}

fn plain_text(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn field(fact: &Fact) -> Value {
    let value = escaped(&fact.value, MAX_FIELD - fact.label.len() - 2, entity);
    plain_text(&format!("{}: {value}", fact.label))
}

/// The one text that formats: a link. A URL with characters that end it is left out.
fn link(link: &Link) -> Option<Value> {
    let is_safe = |one: char| !one.is_control() && !one.is_whitespace() && !matches!(one, '<' | '>' | '|');
    if !link.url.chars().all(is_safe) || link.url.len() > MAX_TEXT / 2 {
        return None;
    }
    let text = escaped(&link.text, 75, |one, out| match one {
        // They would format the link's text.
        '*' | '_' | '~' | '`' | '|' => out.push(' '),
        _ => entity(one, out),
    });
    let url = link.url.replace('&', "&amp;");
    Some(
        json!({"type": "section", "text": {"type": "mrkdwn", "text": format!("<{url}|{text}>"), "verbatim": true}}),
    )
}

fn fallback(message: &ChatMessage) -> String {
    let mut text = message.headline.clone();
    for fact in &message.facts {
        text.push_str(&format!("; {}: {}", fact.label, fact.value));
    }
    escaped(&text, MAX_TEXT, |one, out| match one {
        // A service that mentions by name would do so after an at sign.
        '@' => out.push('＠'),
        _ => entity(one, out),
    })
}

fn entity(one: char, out: &mut String) {
    match one {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        _ => plain(one, out),
    }
}
