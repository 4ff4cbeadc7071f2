//! Buttons of a webhook's pages that have an address of their own, and no page at it.

use crate::domain::words::words;

words! {
    /// Such a button, by the end of the address that it sends its form to.
    pub(super) enum Button {
        Enable = "enable",
        Disable = "disable",
        Pause = "pause",
        Resume = "resume",
        FinishRotation = "finish-rotation",
        Secret = "secret",
        Test = "test",
        /// Stands on the page of a delivery.
        Resend = "resend",
    }
}

impl Button {
    /// The address that it sends its form to from the page at `page`.
    pub(super) fn action(self, page: &str) -> String {
        format!("{page}/{self}")
    }

    /// The page that a form was sent from by one of the buttons.
    pub(super) fn page_of(action: &str) -> Option<&str> {
        let (page, end) = action.rsplit_once('/')?;
        end.parse::<Self>().ok().map(|_| page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_each_button_is_found() {
        for button in Button::ALL {
            let page = "/sites/a/webhooks/wh_1";
            assert_eq!(Button::page_of(&button.action(page)), Some(page));
        }
        assert_eq!(Button::page_of("/sites/a/webhooks/new"), None);
    }
}
