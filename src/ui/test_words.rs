//! The outcome of a test in a sentence that names the step and the side.

use super::escape::cut;
use super::model::TestOutcome;
use super::times::took;

/// Most characters of an error.
const MAX_ERROR_CHARS: usize = 300;

/// The sentence for an outcome at this host.
pub(super) fn test_words(outcome: &TestOutcome, host: &str) -> String {
    let after = outcome
        .latency_ms
        .map_or_else(String::new, |ms| format!(" after {}", took(ms)));
    let said = outcome.error.as_deref().map(|error| cut(error, MAX_ERROR_CHARS));
    let because = said.map_or_else(
        || ".".to_owned(),
        |said| format!(": {}.", said.trim_end_matches('.')),
    );
    match (outcome.result.as_str(), outcome.response_code) {
        ("2xx", Some(code)) => format!("Arrived: HTTP {code}{after}."),
        ("410", _) => "Your server wants nothing more: HTTP 410 Gone. A real notification would switch this webhook off.".to_owned(),
        ("429", _) => "Your server asked for fewer requests: HTTP 429.".to_owned(),
        ("3xx", Some(code)) => {
            format!("Your server sent us elsewhere: HTTP {code}. We follow no redirects; enter the last address.")
        }
        (_, Some(code @ (401 | 403))) => {
            format!("Your server refused it: HTTP {code}. Often a wrong secret.")
        }
        (_, Some(code @ 400..=499)) => format!("Your server refused it: HTTP {code}."),
        (_, Some(code)) => format!("Your server failed: HTTP {code}."),
        ("dns", None) => format!("No address of {host} could be found{because}"),
        ("connect" | "tls", None) => format!("No connection to {host}{because}"),
        ("timeout", None) => format!("No reply from {host}{after}{because}"),
        ("reset", None) => format!("{host} broke the connection off{because}"),
        ("protocol", None) => format!("What {host} answered is not HTTP{because}"),
        ("address_refused", None) => "We may not send to a private address.".to_owned(),
        ("internal", None) => "A fault of ours prevented the test. Try again.".to_owned(),
        _ => format!("It did not arrive{because}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(result: &str, code: Option<u16>, error: Option<&str>) -> String {
        let outcome = TestOutcome {
            delivery_id: "dlv_x".to_owned(),
            status: "failed".to_owned(),
            response_code: code,
            result: result.to_owned(),
            error: error.map(str::to_owned),
            latency_ms: Some(84),
            response: None,
        };
        test_words(&outcome, "hooks.example.com")
    }

    #[test]
    fn a_test_names_the_step_and_the_side() {
        assert_eq!(words("2xx", Some(200), None), "Arrived: HTTP 200 after 84 ms.");
        assert_eq!(
            words("4xx", Some(401), None),
            "Your server refused it: HTTP 401. Often a wrong secret."
        );
        assert_eq!(
            words("tls", None, Some("its certificate expired")),
            "No connection to hooks.example.com: its certificate expired."
        );
        assert_eq!(
            words("address_refused", None, None),
            "We may not send to a private address."
        );
        assert_eq!(
            words("timeout", None, None),
            "No reply from hooks.example.com after 84 ms."
        );
    }
}
