//! Text as a terminal should have it. Pure.

use std::fmt::{self, Write as _};

use serde_json::value::RawValue;

use crate::domain::hidden::is_hidden;

/// Spaces by which a level of JSON is indented.
const INDENT: usize = 2;

/// `1 record`, `2 records`
pub(super) fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Text that somebody else wrote, in one line, without the means to drive the terminal or to hide
/// and turn what is shown on it.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|one| if is_hidden(one) { '\u{fffd}' } else { one })
        .collect()
}

/// The same of several lines.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON whose texts have escapes for hidden characters, and so mean what they meant.
pub(super) fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for one in json.chars() {
        match one {
            '\n' => out.push(one),
            // Only between values.
            '\r' | '\t' => out.push(' '),
            _ => push_visible(one, &mut out),
        }
    }
    out
}

/// Adds a character of a JSON text, as an escape if it is hidden.
fn push_visible(one: char, out: &mut String) {
    if !is_hidden(one) {
        out.push(one);
        return;
    }
    for unit in one.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// `text` in a colour by its ANSI code; as it is when `colours` are unwanted or there is no code.
pub(super) fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours && !code.is_empty() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// JSON on several lines. Keys stay in their order and every value as it was written, but hidden
/// characters, which get escapes.
pub(super) fn indented_json(json: &RawValue) -> String {
    let mut out = String::new();
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    let mut characters = json.get().chars().peekable();
    while let Some(one) = characters.next() {
        if is_text {
            push_visible(one, &mut out);
            is_text = is_escaped || one != '"';
            is_escaped = one == '\\' && !is_escaped;
            continue;
        }
        match one {
            '{' | '[' => {
                out.push(one);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        break_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(one);
            }
            ',' => {
                out.push(one);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => {
                is_text = other == '"';
                out.push(other);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth * INDENT));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_thing_is_no_plural() {
        assert_eq!(
            (counted(1, "record"), counted(0, "record")),
            ("1 record".into(), "0 records".into())
        );
    }

    #[test]
    fn what_drives_the_terminal_or_turns_text_is_replaced() {
        let odd = "a\u{1b}[2J\u{202e}b\u{2066}c\u{200b}\u{feff}\nd\t🦌 שלום";
        assert_eq!(
            printable(odd),
            "a\u{fffd}[2J\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}\u{fffd}d\u{fffd}🦌 שלום"
        );
        assert_eq!(printable_lines("a\u{202e}\nb"), "a\u{fffd}\nb");
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let odd = serde_json::json!({"a\u{202e}": ["\u{9b}31m\u{e0041}\n\t\"", "é 🦌"]});
        for text in [odd.to_string(), format!("{odd:#}").replace('\n', "\r\n\t")] {
            let shown = [visible_json(&text), indented(&text)];
            for shown in shown {
                let hidden = |one: char| is_hidden(one) && one != '\n';
                assert!(!shown.contains(hidden), "{shown:?}");
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"),
                    odd
                );
            }
        }
    }

    fn indented(json: &str) -> String {
        indented_json(serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn json_keeps_the_order_of_its_keys_and_its_numbers() {
        assert_eq!(
            indented(r#"{"b":1.50,"a":[1,{"x":null}],"b":true}"#),
            "{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    {\n      \"x\": null\n    }\n  ],\n  \"b\": true\n}"
        );
    }

    #[test]
    fn json_texts_are_left_as_they_are() {
        let odd = r#"{"a, {b}": "c: \"d\" \\", "e": ""}"#;
        assert_eq!(
            indented(odd),
            "{\n  \"a, {b}\": \"c: \\\"d\\\" \\\\\",\n  \"e\": \"\"\n}"
        );
    }

    #[test]
    fn json_without_anything_inside_stays_on_one_line() {
        assert_eq!(indented("{ }"), "{}");
        assert_eq!(indented("[[ ],\n{}]"), "[\n  [],\n  {}\n]");
        assert_eq!(indented(" \"x\" "), "\"x\"");
    }
}
