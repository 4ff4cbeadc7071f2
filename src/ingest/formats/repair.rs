//! JSON that the parser refuses although the grammar (RFC 8259) allows it: half a surrogate pair, a
//! number beyond every double, and deep nesting.
//!
//! Such a record is written in a form that the parser takes and read once more. Nothing is lost: no
//! field of an event lies that deep, and no field may have so large a number.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::surrogates;

/// Deepest nesting that is kept; the parser reads 127 levels.
const MAX_DEPTH: usize = 100;
/// Largest double, which is put in the place of larger numbers.
pub(super) const LARGEST: f64 = f64::MAX;

/// Parses JSON after a byte order mark or none, and what the parser refuses in a form that it
/// takes.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    let json = without_mark(json);
    serde_json::from_str(json).or_else(|error| match repair(json) {
        Some(repaired) => serde_json::from_str(&repaired),
        None => Err(error),
    })
}

/// A text without the byte order mark before it.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Writes JSON in a form that the parser takes; `None` if it is no JSON, or has that form already.
pub(super) fn repair(json: &str) -> Option<String> {
    // Checks the grammar only.
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    let halves = surrogates::replace_halves(json);
    bound(halves.as_deref().unwrap_or(json)).or(halves)
}

/// Replaces numbers beyond every double by the largest one, and what lies too deep by `null`.
fn bound(json: &str) -> Option<String> {
    let mut bounded = String::new();
    let mut copied = 0;
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = json.as_bytes().get(at) {
        let begin = at;
        at = token_end(json, begin);
        let replacement = match byte {
            b'[' | b'{' if depth == MAX_DEPTH => {
                at = container_end(json, begin);
                Some("null".to_owned())
            }
            b'[' | b'{' => {
                depth += 1;
                None
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                None
            }
            b'-' | b'0'..=b'9' if serde_json::from_str::<f64>(&json[begin..at]).is_err() => {
                let sign = if *byte == b'-' { "-" } else { "" };
                Some(format!("{sign}{LARGEST:e}"))
            }
            _ => None,
        };
        if let Some(replacement) = replacement {
            bounded.push_str(&json[copied..begin]);
            bounded.push_str(&replacement);
            copied = at;
        }
    }
    (copied > 0).then(|| bounded + &json[copied..])
}

/// The position after the text, number or single character that begins at `at`.
fn token_end(json: &str, at: usize) -> usize {
    let rest = &json.as_bytes()[at..];
    let length = match rest[0] {
        b'"' => {
            let mut escaped = false;
            let close = rest[1..].iter().position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            close.map_or(rest.len(), |close| close + 2)
        }
        b'-' | b'0'..=b'9' => rest
            .iter()
            .take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .count(),
        // Outside of texts JSON is ASCII.
        _ => 1,
    };
    at + length
}

/// The position after the array or object that begins at `at`.
fn container_end(json: &str, mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = json.as_bytes().get(at) {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at = token_end(json, at);
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_the_grammar_allows_is_parsed() {
        let deep = format!(
            r#"{{"a":{}{}, "b":1e999,"c":"]1e999","d":[-2E+999,1e3]}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let value: Value = parse(&deep).expect("JSON");
        assert_eq!(value["b"], f64::MAX);
        assert_eq!(value["c"], "]1e999");
        assert_eq!(value["d"], serde_json::json!([f64::MIN, 1e3]));
        let cut = parse::<Value>("\u{feff}{\"a\\ud83d\":\"\\\"[\\\\\",\"b\":1e400}").expect("JSON");
        assert_eq!(cut, serde_json::json!({"a\u{fffd}": "\"[\\", "b": f64::MAX}));
    }

    #[test]
    fn what_is_no_json_stays_refused() {
        for text in ["{", "[1e999", "{\"a\":01}", "[1e999]]", "NaN", ""] {
            assert_eq!(repair(text), None, "{text}");
            assert!(parse::<Value>(text).is_err(), "{text}");
        }
        assert_eq!(repair("[1e308,\"1e999\",[]]"), None, "nothing is to be repaired");
    }
}
