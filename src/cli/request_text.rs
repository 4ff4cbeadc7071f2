//! A request in lines, as `listen` and `demo` show it. Pure.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::value::RawValue;

use super::text::{indented_json, printable};

/// Headers by name, the values of one name joined as HTTP allows.
pub(super) fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    joined
}

/// A body for people: JSON on several lines, its keys as they came; anything else as it is.
pub(super) fn body_lines(body: &[u8]) -> Vec<String> {
    let json = serde_json::from_slice::<&RawValue>(body);
    let text = json.map_or_else(|_| String::from_utf8_lossy(body).into_owned(), indented_json);
    text.lines().map(printable).collect()
}
