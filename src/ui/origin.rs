//! Proof that a form was sent from one of our own pages.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use url::Url;

/// True if the browser says that the request comes from a page of this very origin.
///
/// A request without `Origin` is refused: every browser sends it with a form, and a program has the
/// API. Without a public URL the origin is the host that the browser itself asked for.
pub(super) fn is_own(headers: &HeaderMap, public_url: Option<&str>) -> bool {
    let fetch_site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if fetch_site.is_some_and(|site| site != b"same-origin") {
        return false;
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    let Some(origin) = origin.to_str().ok().and_then(|text| Url::parse(text).ok()) else {
        return false;
    };
    match public_url {
        Some(own) => Url::parse(own).is_ok_and(|own| own.origin() == origin.origin()),
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            host.is_some_and(|host| origin.origin() == own_origin(origin.scheme(), host))
        }
    }
}

fn own_origin(scheme: &str, host: &str) -> url::Origin {
    Url::parse(&format!("{scheme}://{host}")).map_or_else(|_| url::Origin::new_opaque(), |url| url.origin())
}

/// The token of a session's forms: only who holds the session can know it.
pub(super) fn form_token(session: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"bellwether form\0");
    hash.update(session);
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn own(public_url: Option<&str>, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        is_own(&map, public_url)
    }

    #[test]
    fn only_a_page_of_the_same_origin_may_send_a_form() {
        let public = Some("https://hooks.example/base");
        for (headers, wanted) in [
            (&[("origin", "https://hooks.example")][..], true),
            (
                &[
                    ("origin", "https://hooks.example:443"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
            (
                &[
                    ("origin", "https://hooks.example"),
                    ("sec-fetch-site", "same-site"),
                ],
                false,
            ),
            (
                &[
                    ("origin", "https://hooks.example"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
            (&[("origin", "http://hooks.example")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "null")], false),
            (
                &[
                    ("origin", "https://hooks.example"),
                    ("origin", "https://evil.example"),
                ],
                false,
            ),
            (&[("host", "hooks.example")], false),
            (&[], false),
        ] {
            assert_eq!(own(public, headers), wanted, "{headers:?}");
        }
        let host = ("host", "127.0.0.1:8080");
        assert!(own(None, &[host, ("origin", "http://127.0.0.1:8080")]));
        assert!(!own(None, &[host, ("origin", "http://127.0.0.1:8081")]));
        assert!(!own(None, &[host, ("origin", "null")]));
    }

    #[test]
    fn each_session_has_a_token_of_its_own() {
        assert_ne!(form_token("bws_a"), form_token("bws_b"));
        assert_eq!(form_token("bws_a").len(), 43);
    }
}
