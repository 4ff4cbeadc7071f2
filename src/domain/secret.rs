//! A webhook's signing secret, and other texts that must not be shown.

use std::fmt;

use super::hidden::is_unseen;
use super::texts::has_control;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Prefix of a secret in the form of Standard Webhooks.
pub(crate) const WHSEC_PREFIX: &str = "whsec_";

/// A signing secret as its owner sees it: 12 to 64 characters, or `whsec_` and strict base64 of 24
/// to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Reason why a text cannot be a secret. It never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    #[error("a secret has 12 to 64 characters, this one has {0}")]
    Length(usize),
    #[error("after `whsec_` a secret is base64 of 24 to 64 bytes, with padding")]
    NotBase64,
    #[error("after `whsec_` a secret is base64 of 24 to 64 bytes, this one has {0}")]
    KeyLength(usize),
    #[error("a secret has no control characters")]
    ControlCharacter,
    #[error(
        "a secret has no blanks and no invisible characters at its ends: they are easily lost when it is copied"
    )]
    BlankEnd,
}

impl Secret {
    /// Reads a secret chosen by a user.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        if let Some(encoded) = text.strip_prefix(WHSEC_PREFIX) {
            let key = STANDARD.decode(encoded).map_err(|_| InvalidSecret::NotBase64)?;
            if !(24..=64).contains(&key.len()) {
                return Err(InvalidSecret::KeyLength(key.len()));
            }
        } else {
            let chars = text.chars().count();
            if !(12..=64).contains(&chars) {
                return Err(InvalidSecret::Length(chars));
            }
            if has_control(text) {
                return Err(InvalidSecret::ControlCharacter);
            }
            if text.starts_with(is_unseen) || text.ends_with(is_unseen) {
                return Err(InvalidSecret::BlankEnd);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// `whsec_` and base64 of these 32 bytes of chance.
    pub(crate) fn generate(random: [u8; 32]) -> Self {
        Self(format!("{WHSEC_PREFIX}{}", STANDARD.encode(random)))
    }

    /// A text that was checked before it was stored: a secret, or the value of an own header, which
    /// has rules of its own but is as secret.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The secret as shown to its owner. Never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key of the Standard Webhooks signature: the decoded bytes of a `whsec_` secret, else its
    /// UTF-8 bytes.
    pub(crate) fn standard_key(&self) -> Vec<u8> {
        self.0
            .strip_prefix(WHSEC_PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .unwrap_or_else(|| self.0.as_bytes().to_vec())
    }

    /// The form that Standard Webhooks libraries take, for a secret that is not already in it.
    pub(crate) fn standard_form(&self) -> Option<String> {
        (!self.0.starts_with(WHSEC_PREFIX)).then(|| format!("{WHSEC_PREFIX}{}", STANDARD.encode(&self.0)))
    }

    /// Under 24 characters a secret works, but its owner is warned.
    pub(crate) fn is_short(&self) -> bool {
        self.0.chars().count() < 24
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text that must never reach a log, an error or a metric: the value of a webhook's own header.
/// Its `Debug` tells nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hidden(String);

impl Hidden {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Never log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_plain_and_whsec_secrets() {
        for (text, ok) in [
            ("elevenchars", false),
            ("twelve-chars", true),
            (&"x".repeat(64) as &str, true),
            (&"x".repeat(65), false),
            (" twelve-chars", false),
            ("twelve-chars ", false),
            ("\u{a0}twelve-chars", false),
            ("\u{200b}twelve-chars", false),
            ("twelve-chars\u{feff}", false),
            ("twelve-chars\u{200d}", false),
            ("\u{2060}twelve-chars", false),
            ("\u{3164}twelve-chars", false),
            ("twelve\u{200b}chars", true),
            ("twelve chars", true),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", false),
            ("whsec_not base64 at all!!", false),
            (&format!("whsec_{}", STANDARD.encode([1; 23])), false),
            (&format!("whsec_{}", STANDARD.encode([1; 64])), true),
            (&format!("whsec_{}", STANDARD.encode([1; 65])), false),
        ] {
            assert_eq!(Secret::parse(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn a_secret_never_shows_in_debug_output() {
        let secret = Secret::parse("a-rather-plain-secret").expect("valid");
        assert!(!format!("{secret:?}").contains("plain"));
        assert!(!format!("{:?}", Hidden::new("plain")).contains("plain"));
    }

    #[test]
    fn the_standard_form_of_a_plain_secret_decodes_to_its_bytes() {
        let secret = Secret::parse("a-rather-plain-secret").expect("valid");
        let standard = secret.standard_form().expect("plain");
        assert_eq!(
            STANDARD.decode(&standard[6..]).expect("base64"),
            secret.standard_key()
        );
        assert_eq!(Secret::generate([1; 32]).standard_form(), None);
    }
}
