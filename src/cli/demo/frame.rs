//! The live part of a terminal: lines that stay below everything that is said. Pure.

/// The lines that stand on the screen.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// Columns of each line as it was drawn.
    drawn: Vec<usize>,
}

impl Frame {
    /// Text that takes the lines away, says `above` for good, and draws `lines` below it. `columns`
    /// are the terminal's now.
    pub(super) fn redraw(&mut self, above: Option<&str>, lines: &[String], columns: usize) -> String {
        let mut out = self.erased(columns);
        for line in above.into_iter().chain(lines.iter().map(String::as_str)) {
            out.push_str(line);
            out.push_str("\r\n");
        }
        self.drawn = lines.iter().map(|line| columns_of(line)).collect();
        out
    }

    /// Text that takes the lines away.
    fn erased(&mut self, columns: usize) -> String {
        // A terminal that has become narrower has wrapped what it showed.
        let rows: usize = self
            .drawn
            .drain(..)
            .map(|drawn| drawn.div_ceil(columns.max(1)).max(1))
            .sum();
        match rows {
            0 => String::new(),
            rows => format!("\x1b[{rows}A\r\x1b[J"),
        }
    }
}

/// Columns that a line takes: its characters without the codes of colours.
fn columns_of(line: &str) -> usize {
    let mut is_code = false;
    line.chars()
        .filter(|one| {
            let was_code = is_code;
            is_code = *one == '\x1b' || (is_code && *one != 'm');
            !was_code && !is_code
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn lines_are_drawn_again_where_they_stood() {
        let mut frame = Frame::default();
        assert_eq!(frame.redraw(None, &lines(&["a", "b"]), 80), "a\r\nb\r\n");
        assert_eq!(
            frame.redraw(Some("said"), &lines(&["c"]), 80),
            "\x1b[2A\r\x1b[Jsaid\r\nc\r\n"
        );
        assert_eq!(frame.redraw(None, &[], 80), "\x1b[1A\r\x1b[J");
        assert_eq!(frame.redraw(None, &[], 80), "");
    }

    #[test]
    fn lines_that_a_narrower_terminal_wrapped_go_too() {
        let mut frame = Frame::default();
        let wide = "x".repeat(70);
        frame.redraw(None, &lines(&[&wide, "", "\x1b[33myy\x1b[0m"]), 120);
        assert!(frame.redraw(None, &[], 40).starts_with("\x1b[4A"));
    }

    #[test]
    fn codes_of_colours_take_no_column() {
        assert_eq!(columns_of("\x1b[1;33mab\x1b[0m ▇"), 4);
    }
}
