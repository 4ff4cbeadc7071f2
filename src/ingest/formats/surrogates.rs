//! Halves of surrogate pairs in JSON texts.
//!
//! JavaScript cuts text by UTF-16 units, so a name that is shortened there may end in half an
//! emoji. It is written as an escape that stands for no character, over which a parser gives up.

/// Bytes of an escape such as `\ud83d`.
const ESCAPE: usize = 6;
/// Replacement character U+FFFD as an escape.
const REPLACEMENT: &str = "\\ufffd";

/// Replaces each half without its other half by U+FFFD; `None` if the JSON has none.
pub(super) fn replace_halves(json: &str) -> Option<String> {
    let mut replaced = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json.as_bytes()[at..]) {
        at += found;
        match code_unit(json, at) {
            Some(0xd800..=0xdbff) if matches!(code_unit(json, at + ESCAPE), Some(0xdc00..=0xdfff)) => {
                at += 2 * ESCAPE;
            }
            Some(0xd800..=0xdfff) => {
                replaced.push_str(&json[copied..at]);
                replaced.push_str(REPLACEMENT);
                at += ESCAPE;
                copied = at;
            }
            // Another escape: the character after the backslash may be a backslash too.
            _ => at += 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    (copied > 0).then(|| replaced + &json[copied..])
}

/// The UTF-16 unit of the escape at this position.
fn code_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_are_replaced() {
        for (json, replaced) in [
            (r#""a\ud83d""#, Some(r#""a\ufffd""#)),
            (r#""a\uDE00b""#, Some(r#""a\ufffdb""#)),
            (
                r#""\ud83d\ud83d\ude00\ude00""#,
                Some(r#""\ufffd\ud83d\ude00\ufffd""#),
            ),
            (r#""\ud83d\n""#, Some(r#""\ufffd\n""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\u00e9 ü \""#, None),
            (r#""\ud83""#, None),
            ("\\", None),
            ("", None),
        ] {
            assert_eq!(replace_halves(json).as_deref(), replaced, "{json}");
        }
    }
}
