//! The note beside a committed offset.

/// What is written beside a committed offset: `v1 <nonce> open|handed-over`.
pub(super) struct Note {
    pub(super) nonce: String,
    pub(super) handed_over: bool,
}

impl Note {
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split(' ').skip(1);
        Self {
            nonce: words.next().unwrap_or_default().to_owned(),
            handed_over: words.next() == Some("handed-over"),
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "v1 {} {}",
            self.nonce,
            if self.handed_over { "handed-over" } else { "open" }
        )
    }
}
