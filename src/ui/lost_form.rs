//! A form that could not be taken: what was typed into it, and the page that it stands on.

use super::button::Button;
use super::escape::field_value;
use super::form::Form;

/// Starts of the names of fields that are not shown: those of every form, and secrets.
const NOT_SHOWN: [&str; 7] = [
    "token",
    "once",
    "seen",
    "tz",
    "switch_on",
    "secret",
    "header_value",
];

/// Length from which on a value has a field of several lines.
const LONG_BYTES: usize = 200;

/// Such a form. It is not sent again by itself: it belongs to a session that has ended, or to
/// something else.
#[derive(Debug)]
pub(super) struct LostForm {
    /// Address of its page.
    pub(super) page: String,
    pub(super) fields: Vec<LostField>,
}

/// A field that was filled in.
#[derive(Debug)]
pub(super) struct LostField {
    pub(super) label: String,
    /// HTML.
    pub(super) value: String,
    pub(super) is_long: bool,
}

impl LostForm {
    /// The form that was sent to `path`.
    pub(super) fn new(path: &str, form: &Form) -> Self {
        let of_button = Button::page_of(path);
        let page = of_button.unwrap_or(path);
        let is_page = page.starts_with("/sites/");
        let fields = form.pairs().filter(|(name, value)| {
            !value.is_empty() && !NOT_SHOWN.iter().any(|start| name.starts_with(start))
        });
        Self {
            page: if is_page { page } else { "/sites" }.to_owned(),
            fields: match of_button {
                Some(_) => Vec::new(),
                None => fields.map(|(name, value)| LostField::new(name, value)).collect(),
            },
        }
    }
}

impl LostField {
    fn new(name: &str, value: &str) -> Self {
        let words = match name {
            "url" => "address".to_owned(),
            other => other.replace('_', " "),
        };
        let mut letters = words.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        Self {
            label: first.into_iter().chain(letters).collect(),
            value: field_value(value),
            is_long: value.contains('\n') || value.len() > LONG_BYTES,
        }
    }
}
