//! Characters that are not seen themselves: those that change how the text around them is shown,
//! and those that only a copy loses.

/// True for control characters, for those that turn the direction of writing, and for others
/// without a shape. The joiners of Persian, of Indian scripts and of emoji (U+200C, U+200D) are
/// left: their texts are misspelt without them.
pub(crate) fn is_hidden(one: char) -> bool {
    one.is_control()
        || matches!(one,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            // Line and paragraph separators stand before the directions.
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// True if a reader does not see the character by itself: blanks, everything hidden, joiners,
/// fillers and selectors.
pub(crate) fn is_unseen(one: char) -> bool {
    is_hidden(one)
        || one.is_whitespace()
        || matches!(one,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_text_is_hidden_and_letters_are_not() {
        for one in
            "\0\n\u{1b}\u{9b}\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}".chars()
        {
            assert!(is_hidden(one), "{one:?}");
        }
        for one in "aß \u{a0}שلم我🦌\u{200d}\u{200c}\u{fe0f}\u{301}".chars() {
            assert!(!is_hidden(one), "{one:?}");
        }
    }

    #[test]
    fn what_nobody_sees_is_unseen_and_what_is_seen_is_not() {
        for one in "\0 \u{a0}\u{200b}\u{200c}\u{200d}\u{feff}\u{2800}\u{3164}\u{fe0f}\u{e0100}".chars() {
            assert!(is_unseen(one), "{one:?}");
        }
        for one in "aß-שلم我🦌\u{301}".chars() {
            assert!(!is_unseen(one), "{one:?}");
        }
    }
}
