//! Texts shortened and escaped.

use crate::domain::hidden::is_hidden;

/// Escapes `text` with `escape`, and cuts it so that at most `limit` characters come out: never
/// within an escape, and with `…` where something is missing.
pub(super) fn escaped(text: &str, limit: usize, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    // Length and bytes up to the last place where `…` would still fit.
    let (mut chars, mut cut_at) = (0, 0);
    let mut one_escaped = String::new();
    for one in text.chars() {
        one_escaped.clear();
        escape(one, &mut one_escaped);
        let length = one_escaped.chars().count();
        if chars + length > limit {
            out.truncate(cut_at);
            out.push('…');
            return out;
        }
        chars += length;
        out.push_str(&one_escaped);
        if chars < limit {
            cut_at = out.len();
        }
    }
    out
}

/// Writes a character, with a blank for what would break a line or hide text.
pub(super) fn plain(one: char, out: &mut String) {
    out.push(if is_hidden(one) { ' ' } else { one });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_escapes_and_within_its_limit() {
        let double = |one: char, out: &mut String| {
            if one == '&' {
                out.push_str("&amp;");
            } else {
                plain(one, out);
            }
        };
        for (text, limit, wanted) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("a&b", 7, "a&amp;b"),
            ("a&b", 6, "a…"),
            ("&&", 9, "&amp;…"),
            ("&", 4, "…"),
            ("a\nb\u{202e}c", 9, "a b c"),
        ] {
            let out = escaped(text, limit, double);
            assert_eq!(out, wanted, "{text}");
            assert!(out.chars().count() <= limit);
        }
    }
}
