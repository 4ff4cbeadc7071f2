//! The operator's template for the page of a site, to which notifications link.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::site::SiteId;

/// Place in a template where the site's id stands.
const PLACE: &str = "{site_id}";
/// Longest template, in characters.
const MAX_CHARS: usize = 500;
/// The unreserved characters of RFC 3986 §2.3 stay as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A URL such as `https://stats.example/{site_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTemplate(String);

/// Reason why a text is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLinkTemplate {
    #[error("allowed: a URL with {{site_id}} in it, such as \"https://stats.example/{{site_id}}\"")]
    NotAUrl,
    #[error("allowed: at most {MAX_CHARS} characters")]
    TooLong,
}

impl LinkTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, InvalidLinkTemplate> {
        if text.chars().count() > MAX_CHARS {
            return Err(InvalidLinkTemplate::TooLong);
        }
        let filled = Url::parse(&text.replace(PLACE, "site")).ok();
        let is_web = filled.is_some_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let is_clean = !text.chars().any(|one| one.is_control() || one.is_whitespace());
        if is_web && is_clean && text.contains(PLACE) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidLinkTemplate::NotAUrl)
        }
    }

    /// Fills the template with a site's id, percent-encoded.
    pub(crate) fn link_to(&self, site: &SiteId) -> String {
        let id = utf8_percent_encode(site.as_str(), ENCODED).to_string();
        self.0.replace(PLACE, &id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_the_id_as_one_segment() {
        let template =
            LinkTemplate::parse("https://stats.example/{site_id}?from={site_id}").expect("a template");
        for (site, link) in [
            (
                "example.com",
                "https://stats.example/example.com?from=example.com",
            ),
            (
                "a/b c&d",
                "https://stats.example/a%2Fb%20c%26d?from=a%2Fb%20c%26d",
            ),
        ] {
            assert_eq!(template.link_to(&site.parse().expect("a site id")), link);
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "https://stats.example/",
            "{site_id}",
            "ftp://x/{site_id}",
            "https://x/{site_id} y",
            "javascript:{site_id}",
        ] {
            assert_eq!(
                LinkTemplate::parse(text),
                Err(InvalidLinkTemplate::NotAUrl),
                "{text}"
            );
        }
        let long = format!("https://x/{{site_id}}{}", "a".repeat(MAX_CHARS));
        assert_eq!(LinkTemplate::parse(&long), Err(InvalidLinkTemplate::TooLong));
    }
}
