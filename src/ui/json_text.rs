//! JSON as it was sent, broken into lines: nothing but white space is added.

/// Spaces of one level.
const INDENT: usize = 2;

/// `text`, which is JSON without white space, with a line for each member.
pub(super) fn in_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut chars = text.chars().peekable();
    while let Some(one) = chars.next() {
        if in_string {
            out.push(one);
            in_string = one != '"' || is_escaped;
            is_escaped = one == '\\' && !is_escaped;
            continue;
        }
        match one {
            '{' | '[' => {
                out.push(one);
                let closing = if one == '{' { '}' } else { ']' };
                if chars.peek() == Some(&closing) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
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
            other => {
                in_string = other == '"';
                out.push(other);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    // However deep it goes, a screen has an edge.
    out.extend(std::iter::repeat_n(' ', INDENT * depth.min(20)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_texts_their_characters() {
        let text = r#"{"z":1,"a":{"b":[1,{}],"c":"{\"x\":[,]}\\"},"e":[]}"#;
        let wanted = "{\n  \"z\": 1,\n  \"a\": {\n    \"b\": [\n      1,\n      {}\n    ],\n    \
                      \"c\": \"{\\\"x\\\":[,]}\\\\\"\n  },\n  \"e\": []\n}";
        assert_eq!(in_lines(text), wanted);
        let read: serde_json::Value = serde_json::from_str(&in_lines(text)).expect("JSON");
        assert_eq!(
            read,
            serde_json::from_str::<serde_json::Value>(text).expect("JSON")
        );
    }
}
