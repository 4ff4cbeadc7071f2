//! Rows of an answer in columns, for people. Pure.

use serde_json::Value;

use crate::cli::text::printable;

/// Longest text of a cell; a longer one is cut.
const MAX_CELL_CHARS: usize = 60;

/// A column: its title, and the JSON pointer of its values.
pub(super) type Column = (&'static str, &'static str);

/// The rows as lines under the titles, each column as wide as it needs to be. No line has blanks at
/// its end.
pub(super) fn lines(columns: &[Column], rows: &[Value]) -> Vec<String> {
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let mut cells: Vec<Vec<String>> = vec![titles];
    cells.extend(rows.iter().map(|row| row_cells(columns, row)));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    cells.iter().map(|row| aligned(row, &widths)).collect()
}

/// One row as a line, of cells that are as wide as `widths` says.
pub(super) fn line(columns: &[Column], row: &Value, widths: &[usize]) -> String {
    aligned(&row_cells(columns, row), widths)
}

fn row_cells(columns: &[Column], row: &Value) -> Vec<String> {
    columns
        .iter()
        .map(|(_, pointer)| cell(row.pointer(pointer).unwrap_or(&Value::Null)))
        .collect()
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        let missing = width.saturating_sub(cell.chars().count());
        line.extend(std::iter::repeat_n(' ', missing + 2));
    }
    line.trim_end().to_owned()
}

/// A value as text. Null is `-`.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    match text.char_indices().nth(MAX_CELL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 3] = [("ID", "/id"), ("STATE", "/health/state"), ("EVENTS", "/events")];

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            json!({"id": "wh_1", "health": {"state": "disabled"}, "events": ["a", "b"]}),
            json!({"id": "wh_22", "health": {"state": null}, "events": []}),
        ];
        assert_eq!(
            lines(&COLUMNS, &rows),
            ["ID     STATE     EVENTS", "wh_1   disabled  a,b", "wh_22  -",]
        );
    }

    #[test]
    fn a_cell_cannot_drive_the_terminal_and_is_cut() {
        let row = json!({"id": format!("\u{1b}[2J{}", "x".repeat(100)), "health": {"state": 1}});
        let shown = line(&COLUMNS, &row, &[1, 1, 1]);
        assert!(!shown.contains('\u{1b}') && shown.contains('…'), "{shown}");
    }
}
