//! The body of a request in the form that its endpoint takes.
//!
//! In comes the canonical body, out comes the body that is signed and sent. Pure, and done when the
//! request is made, so that an edited format holds for what is queued. Names, paths and texts of
//! others are escaped: they neither format anything nor mention anybody.

/// A notification as a message: a headline, facts, a link.
mod message;
/// Texts shortened and escaped.
mod text;
mod cloudevents;
mod slack;
mod discord;
mod teams;

use bytes::Bytes;

use self::message::ChatMessage;
use crate::domain::webhook::Format;

/// A body and its `Content-Type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RenderedBody {
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

const JSON: &str = "application/json";

/// Renders a canonical body in a format. Of what is not a canonical body a message says only that
/// there is a notification; as CloudEvents it goes out as it is: better than not at all.
pub(crate) fn render(format: Format, canonical: &Bytes) -> RenderedBody {
    let message = || ChatMessage::read(canonical).unwrap_or_else(ChatMessage::unreadable);
    let (content_type, body) = match format {
        Format::Json => (JSON, None),
        Format::CloudEvents => (cloudevents::CONTENT_TYPE, cloudevents::render(canonical)),
        Format::Slack => (JSON, Some(slack::render(&message()))),
        Format::Discord => (JSON, Some(discord::render(&message()))),
        Format::Teams => (JSON, Some(teams::render(&message()))),
    };
    match body {
        Some(body) => RenderedBody {
            content_type,
            body: body.into(),
        },
        None => RenderedBody {
            content_type: JSON,
            body: canonical.clone(),
        },
    }
}

#[cfg(test)]
mod tests;
