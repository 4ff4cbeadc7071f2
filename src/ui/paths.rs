//! The addresses of a site's pages and of its part of the API.

use crate::domain::site::escape_segment;

/// The addresses of one site.
#[derive(Debug, Clone)]
pub(super) struct SitePath(String);

impl SitePath {
    pub(super) fn new(site_id: &str) -> Self {
        Self(escape_segment(site_id))
    }

    /// A page of the site; `end` begins with a slash or is empty.
    pub(super) fn page(&self, end: &str) -> String {
        format!("/sites/{}{end}", self.0)
    }

    /// A call about the site.
    pub(super) fn api(&self, end: &str) -> String {
        format!("/api/sites/{}{end}", self.0)
    }
}

/// The sign-in page that leads back to a page.
pub(super) fn sign_in_to(here: &str) -> String {
    match here {
        "/" | "/sites" => "/sign-in".to_owned(),
        _ => format!("/sign-in?{}", query(&[("next", here)])),
    }
}

/// A query of those pairs that have a value.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_id_is_one_segment_of_its_addresses() {
        let path = SitePath::new("a/b?ü");
        assert_eq!(path.page("/webhooks"), "/sites/a%2Fb%3F%C3%BC/webhooks");
        assert_eq!(path.api(""), "/api/sites/a%2Fb%3F%C3%BC");
    }

    #[test]
    fn a_query_has_only_what_was_given() {
        assert_eq!(query(&[("a", "1 &"), ("b", ""), ("c", "ü")]), "a=1+%26&c=%C3%BC");
    }
}
