//! The answer to a form that was sent again and whose first answer held a secret.

use askama::Template;

use super::layout::Layout;

/// A page that says so and shows the way back.
#[derive(Debug, Template)]
#[template(path = "shown_before.html")]
pub(super) struct ShownBefore {
    l: Layout,
    back: String,
}

impl ShownBefore {
    pub(super) fn new(l: Layout, back: &str) -> Self {
        Self {
            l,
            back: back.to_owned(),
        }
    }
}
