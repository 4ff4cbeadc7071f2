//! The two kinds of signature that every request carries.
//!
//! `X-Webhook-Signature` is for people with `openssl dgst -sha256 -hmac "$SECRET"`: keyed with the
//! secret as shown. `webhook-signature` is for the libraries of Standard Webhooks
//! (<https://www.standardwebhooks.com>, specification 1.0.0, "Signature scheme"): keyed with the
//! decoded secret, over id, timestamp and body, so that an old request cannot be replayed as a new
//! one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::secret::Secret;

/// Beginning of a plain signature.
pub(crate) const PLAIN_PREFIX: &str = "sha256=";
/// Beginning of a Standard Webhooks signature of the symmetric kind.
pub(crate) const STANDARD_PREFIX: &str = "v1,";

/// `sha256=` and lower-case hex HMAC-SHA256 of the body, keyed with the UTF-8 bytes of the secret
/// as shown.
pub(crate) fn plain(secret: &Secret, body: &[u8]) -> String {
    let mac = keyed(secret.reveal().as_bytes()).chain_update(body);
    format!("{PLAIN_PREFIX}{}", hex::encode(mac.finalize().into_bytes()))
}

/// `v1,` and base64 HMAC-SHA256 of `id.timestamp.body`; `timestamp` in seconds since the Unix
/// epoch.
pub(crate) fn standard(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mac = keyed(&secret.standard_key())
        .chain_update(id)
        .chain_update(b".")
        .chain_update(timestamp.to_string())
        .chain_update(b".")
        .chain_update(body);
    format!(
        "{STANDARD_PREFIX}{}",
        STANDARD.encode(mac.finalize().into_bytes())
    )
}

/// True if `header` (`X-Webhook-Signature`) is the plain signature of `body` by `secret`.
pub(crate) fn verify_plain(secret: &Secret, body: &[u8], header: &str) -> bool {
    header
        .strip_prefix(PLAIN_PREFIX)
        .and_then(|text| hex::decode(text).ok())
        .is_some_and(|tag| {
            keyed(secret.reveal().as_bytes())
                .chain_update(body)
                .verify_slice(&tag)
                .is_ok()
        })
}

/// True if one of the signatures in `header` (`webhook-signature`: a list separated by spaces) is
/// by `secret`.
pub(crate) fn verify_standard(secret: &Secret, id: &str, timestamp: &str, body: &[u8], header: &str) -> bool {
    let mac = keyed(&secret.standard_key())
        .chain_update(id)
        .chain_update(b".")
        .chain_update(timestamp)
        .chain_update(b".")
        .chain_update(body);
    header
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix(STANDARD_PREFIX)?).ok())
        .any(|tag| mac.clone().verify_slice(&tag).is_ok())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 §3)")
}

#[cfg(test)]
mod tests;
