//! Text as a terminal should have it. Pure.

use std::fmt;

use serde_json::value::RawValue;

/// Spaces by which a level of JSON is indented.
const INDENT: usize = 2;

/// `1 record`, `2 records`
pub(super) fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Text that a sender wrote, without the means to drive the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { '\u{fffd}' } else { one })
        .collect()
}

/// `text` in a colour by its ANSI code; as it is when `colours` are unwanted or there is no code.
pub(super) fn paint(colours: bool, code: &str, text: &str) -> String {
    if colours && !code.is_empty() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// JSON on several lines. Keys stay in their order and every value as it was written.
pub(super) fn indented_json(json: &RawValue) -> String {
    let mut out = String::new();
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    let mut characters = json.get().chars().peekable();
    while let Some(one) = characters.next() {
        if is_text {
            out.push(one);
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
