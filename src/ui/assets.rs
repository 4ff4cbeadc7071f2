//! The style sheet, the script and the icon, compiled in, with a hash in their names.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

const CSS: &[u8] = include_bytes!("../../assets/app.css");
const JS: &[u8] = include_bytes!("../../assets/app.js");
const ICON: &[u8] = include_bytes!("../../assets/icon.svg");

/// A file that pages load.
#[derive(Debug)]
pub(super) struct Asset {
    /// Name with the hash of the content.
    name: String,
    content_type: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
}

impl Asset {
    fn new(stem: &str, extension: &str, content_type: &'static str, plain: &'static [u8]) -> Self {
        let hash = hex::encode(&Sha256::digest(plain)[..6]);
        Self {
            name: format!("{stem}.{hash}.{extension}"),
            content_type,
            plain,
            gzip: compress(plain),
        }
    }

    pub(super) fn path(&self) -> String {
        format!("/assets/{}", self.name)
    }
}

/// The files: style sheet, script, icon.
pub(super) static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("app", "css", "text/css; charset=utf-8", CSS),
        Asset::new("app", "js", "text/javascript; charset=utf-8", JS),
        Asset::new("icon", "svg", "image/svg+xml", ICON),
    ]
});

/// `GET /assets/{name}`
pub(super) async fn get(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let accepts = headers.get(header::ACCEPT_ENCODING);
    let is_gzip = accepts
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let mut response = match is_gzip {
        true => asset.gzip.clone().into_response(),
        false => asset.plain.into_response(),
    };
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    answered.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    answered.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_gzip {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// `bytes` as gzip.
pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(6));
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_keep_within_four_kilobytes_each() {
        for asset in ASSETS.iter() {
            assert!(
                asset.gzip.len() <= 4 * 1024,
                "{}: {}",
                asset.name,
                asset.gzip.len()
            );
        }
    }
}
