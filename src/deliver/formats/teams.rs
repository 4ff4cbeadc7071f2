//! An Adaptive Card as the webhook trigger of Teams' Workflows takes it
//! (<https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook>, schema 1.4).
//!
//! Texts are runs of a `RichTextBlock`, which knows no Markdown. A mention needs an entity of the
//! card, of which there is none, and a tag, whose brackets are replaced.

use serde_json::{Value, json};

use super::message::{ChatMessage, Mood};
use super::text::{escaped, plain};

/// A message of a workflow is at most 28 KB; headline and facts stay well below.
const MAX_HEADLINE: usize = 500;
const MAX_VALUE: usize = 1_000;
const MAX_FACTS: usize = 15;
const MAX_URL: usize = 2_048;

/// Renders a message.
pub(super) fn render(message: &ChatMessage) -> Vec<u8> {
    let headline = escaped(&message.headline, MAX_HEADLINE, bracket);
    let mut body = vec![json!({"type": "RichTextBlock", "inlines": [
        {"type": "TextRun", "text": headline, "weight": "bolder", "size": "medium", "color": color(message.mood)},
    ]})];
    for fact in message.facts.iter().take(MAX_FACTS) {
        let value = escaped(&fact.value, MAX_VALUE, bracket);
        body.push(json!({"type": "RichTextBlock", "spacing": "small", "inlines": [
            {"type": "TextRun", "text": format!("{}: ", fact.label), "weight": "bolder"},
            {"type": "TextRun", "text": value},
        ]}));
    }
    let link = message.link.as_ref().filter(|link| link.url.len() <= MAX_URL);
    let actions: Vec<Value> = link
        .map(|link| json!({"type": "Action.OpenUrl", "title": escaped(&link.text, 100, bracket), "url": link.url}))
        .into_iter()
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
    .to_string()
    .into_bytes()
}

const fn color(mood: Mood) -> &'static str {
    match mood {
        Mood::Neutral => "default",
        Mood::Good => "good",
        Mood::Alert => "attention",
    }
}

fn bracket(one: char, out: &mut String) {
    match one {
        '<' => out.push('‹'),
        '>' => out.push('›'),
        _ => plain(one, out),
    }
}
