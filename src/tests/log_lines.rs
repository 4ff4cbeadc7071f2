//! Log lines, read from the sources.

use std::fs;
use std::path::Path;

use super::{collect, is_test};

#[test]
fn a_line_about_another_try_counts_those_left_out() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut found = 0;
    for file in files.iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(file).expect("a readable source");
        for line in loud_lines(&text) {
            if line.contains("trying again") || line.contains("tried again") {
                found += 1;
                assert!(line.contains("suppressed"), "{}: {line}", file.display());
            }
        }
    }
    assert!(found > 5, "{found}");
}

/// The statements that log a warning or an error.
fn loud_lines(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["tracing::warn!(", "tracing::error!("];
    starts.into_iter().flat_map(move |start| {
        text.match_indices(start)
            .map(|(at, _)| text[at..].split_once(");").map_or(&text[at..], |(line, _)| line))
    })
}
