//! The answers that requests usually get, for metrics that are there before the first request.

use std::collections::BTreeSet;

use super::call::Method;
use super::calls::CALLS;
use super::observe::{METHOD_WORDS, OTHER, UNMATCHED};
#[cfg(test)]
use super::problem_type::ProblemType;
use super::{openapi, reference};

/// Statuses of a call that went wrong as it does most often.
const USUAL_PROBLEMS: [u16; 5] = [401, 404, 422, 429, 500];

/// Routes, methods and statuses: the success of each call and what goes wrong most often, the
/// methods that a path does not have, and the paths that there are not.
pub(crate) fn usual_answers() -> Vec<(&'static str, &'static str, u16)> {
    let mut answers = BTreeSet::new();
    for call in CALLS {
        let (path, method) = (call.path, call.method.as_str());
        // A path without parameters is always found.
        let occurs = |status: &u16| *status != 404 || path.contains('{');
        let problems = USUAL_PROBLEMS.into_iter().filter(occurs);
        answers.extend(problems.map(|status| (path, method, status)));
        answers.insert((path, method, call.success));
        if call.may_create {
            answers.insert((path, method, 201));
        }
        // The router answers HEAD as it does GET.
        if call.method == Method::Get {
            let statuses = [call.success, 401, 404].into_iter().filter(occurs);
            answers.extend(statuses.map(|status| (path, "HEAD", status)));
        }
        answers.insert((path, OTHER, 405));
    }
    for path in [openapi::PATH, openapi::PAGE_PATH, reference::STYLE_PATH] {
        let usual = [("GET", 200), ("GET", 422), ("HEAD", 200), (OTHER, 405)];
        answers.extend(usual.map(|(method, status)| (path, method, status)));
    }
    for method in METHOD_WORDS {
        answers.extend([404, 405].map(|status| (UNMATCHED, method, status)));
    }
    answers.into_iter().collect()
}

/// Every status that the API answers with, for the documents, but those of the HTTP parser, which
/// no metric counts.
#[cfg(test)]
pub(crate) fn statuses() -> BTreeSet<u16> {
    let is_counted =
        |problem: &&ProblemType| !matches!(problem, ProblemType::UriTooLong | ProblemType::HeadersTooLarge);
    let problems = ProblemType::ALL.iter().filter(is_counted);
    let problems = problems.map(|problem| problem.status().as_u16());
    let usual = usual_answers();
    usual
        .iter()
        .map(|(_, _, status)| *status)
        .chain(problems)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_methods_head_and_other() {
        let answers = usual_answers();
        let has = |path: &str, method: &str, status: u16| {
            let is_it = |one: &&(&str, &str, u16)| **one == (path, method, status);
            assert!(answers.iter().any(|one| is_it(&one)), "{method} {path} {status}");
        };
        for call in CALLS {
            has(call.path, call.method.as_str(), call.success);
            has(call.path, OTHER, 405);
            if call.method == Method::Get {
                has(call.path, "HEAD", call.success);
            }
        }
        for path in ["/api/docs", "/api/docs.css", "/api/openapi.json"] {
            has(path, "GET", 200);
            has(path, "HEAD", 200);
            has(path, OTHER, 405);
        }
        for method in METHOD_WORDS {
            has(UNMATCHED, method, 404);
        }
    }
}
