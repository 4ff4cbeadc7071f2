//! A message of Discord's webhooks, within the limits of embeds
//! (<https://docs.discord.com/developers/resources/message#embed-object-embed-limits>).
//!
//! `allowed_mentions` allows none, and every character that Markdown knows is escaped.

use serde_json::{Value, json};

use super::message::{ChatMessage, Mood};
use super::text::{escaped, plain};

const MAX_TITLE: usize = 256;
const MAX_FIELDS: usize = 25;
const MAX_VALUE: usize = 1_024;
const MAX_URL: usize = 2_048;
/// Most characters of all texts of an embed together: 6,000, less those of its labels.
const MAX_TOGETHER: usize = 5_500;

/// Renders a message.
pub(super) fn render(message: &ChatMessage) -> Vec<u8> {
    let title = escaped(&message.headline, MAX_TITLE, backslash);
    let mut left = MAX_TOGETHER - title.chars().count();
    let mut fields: Vec<Value> = Vec::new();
    for fact in message.facts.iter().take(MAX_FIELDS) {
        let value = escaped(&fact.value, MAX_VALUE.min(left), backslash);
        left -= value.chars().count();
        if !value.is_empty() {
            fields.push(json!({"name": fact.label, "value": value, "inline": value.chars().count() <= 40}));
        }
    }
    let mut embed = json!({"title": title, "color": color(message.mood), "fields": fields});
    if let Some(link) = message.link.as_ref().filter(|link| link.url.len() <= MAX_URL) {
        embed["url"] = link.url.clone().into();
    }
    if !message.timestamp.is_empty() {
        embed["timestamp"] = message.timestamp.clone().into();
    }
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
        .to_string()
        .into_bytes()
}

const fn color(mood: Mood) -> u32 {
    match mood {
        Mood::Neutral => 0x5b_6b_7b,
        Mood::Good => 0x2e_8b_57,
        Mood::Alert => 0xd9_48_3b,
    }
}

fn backslash(one: char, out: &mut String) {
    if one.is_ascii_punctuation()
        && !matches!(
            one,
            '.' | ',' | ';' | '\'' | '"' | '%' | '/' | '=' | '?' | '&' | '$' | '^'
        )
    {
        out.push('\\');
    }
    plain(one, out);
}
