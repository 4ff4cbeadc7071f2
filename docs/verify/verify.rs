//! Verify a webhook of Bellwether. Needs the crates base64, hmac and sha2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

const TOLERANCE_SECONDS: u64 = 300;

/// The headers of a request that a signature is made of.
pub struct SignedHeaders<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`
    pub timestamp: &'a str,
    /// `webhook-signature`
    pub signature: &'a str,
}

/// True if the request is genuine and recent. `body` is the raw one, `now` in seconds since 1970.
pub fn verify(secret: &str, headers: &SignedHeaders<'_>, body: &[u8], now: u64) -> bool {
    let is_recent = headers
        .timestamp
        .parse::<u64>()
        .is_ok_and(|seconds| now.abs_diff(seconds) <= TOLERANCE_SECONDS);
    let key = match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).ok(),
        None => Some(secret.as_bytes().to_vec()),
    };
    let Some(mac) = key.and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok()) else {
        return false;
    };
    let mac = mac
        .chain_update(headers.id)
        .chain_update(".")
        .chain_update(headers.timestamp)
        .chain_update(".")
        .chain_update(body);
    // During a rotation there are two signatures.
    let mut given = headers
        .signature
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    is_recent && given.any(|one| mac.clone().verify_slice(&one).is_ok())
}
