//! Text of others in pages: escaped, with its hidden characters shown.

use std::fmt::{self, Write};

use askama::filters::Escaper;

use crate::domain::hidden::is_hidden;

/// The escaper of every template. Besides the characters of HTML it writes hidden characters, such
/// as those that turn the direction of writing, as `⟦U+202E⟧`, so that no name can pose as another.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut rest = string;
        while let Some((at, found)) = rest.char_indices().find(|(_, one)| is_special(*one)) {
            dest.write_str(&rest[..at])?;
            match found {
                '<' => dest.write_str("&lt;")?,
                '>' => dest.write_str("&gt;")?,
                '&' => dest.write_str("&amp;")?,
                '"' => dest.write_str("&quot;")?,
                '\'' => dest.write_str("&#39;")?,
                hidden => write!(dest, "⟦U+{:04X}⟧", u32::from(hidden))?,
            }
            rest = &rest[at + found.len_utf8()..];
        }
        dest.write_str(rest)
    }
}

fn is_special(one: char) -> bool {
    matches!(one, '<' | '>' | '&' | '"' | '\'') || (is_hidden(one) && !matches!(one, '\n' | '\t'))
}

/// Escapes `text` for HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let _ = Visible.write_escaped_str(&mut out, text);
    out
}

/// Escapes `text` for the value of a form's field, where it must come back unchanged.
pub(super) fn field_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No form of HTML has it.
            '\0' => {}
            other => out.push(other),
        }
    }
    out
}

/// The first `chars` characters of `text`, with a mark where it was cut.
pub(super) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_hidden_characters_are_shown() {
        for (text, wanted) in [
            ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;"),
            ("a\u{202E}b", "a⟦U+202E⟧b"),
            ("\0\r\u{7f}", "⟦U+0000⟧⟦U+000D⟧⟦U+007F⟧"),
            ("two\nlines\t", "two\nlines\t"),
            ("🦌 שלום", "🦌 שלום"),
        ] {
            assert_eq!(escaped(text), wanted);
        }
    }

    #[test]
    fn the_value_of_a_field_keeps_its_characters() {
        assert_eq!(field_value("a\u{202E}\"b\0"), "a\u{202E}&quot;b");
    }

    #[test]
    fn a_long_text_is_cut_where_it_is_seen() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äöü…");
    }
}
