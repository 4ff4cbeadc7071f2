//! Problems that the integration tests cannot see over HTTP, and the details of all.

use axum::body::to_bytes;

use crate::api::body;
use crate::api::field_errors::FieldCode;

use super::*;

/// The answer as a client sees it.
async fn shown(problem: Problem) -> String {
    let response = problem.into_response();
    let headers: String = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text")))
        .collect();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    format!("{status}\n{headers}\n{body:#}")
}

#[tokio::test]
async fn each_problem_of_the_server_has_its_body() {
    insta::assert_snapshot!("internal", shown(sqlx::Error::RowNotFound.into()).await);
    insta::assert_snapshot!("unavailable", shown(sqlx::Error::PoolTimedOut.into()).await);
    // Over HTTP it takes 15 seconds to see this one.
    insta::assert_snapshot!("request-timeout", shown(body::timed_out()).await);
}

#[test]
fn bad_fields_are_counted_beyond_the_first_hundred() {
    for (count, wanted) in [
        (2, "2 fields are not valid; `errors` names each."),
        (100, "100 fields are not valid; `errors` names each."),
        (130, "130 fields are not valid; `errors` names the first 100."),
    ] {
        let mut errors = FieldErrors::default();
        for n in 0..count {
            errors.add(format!("/{n}"), FieldCode::UnknownField, "is none");
        }
        assert_eq!(Problem::invalid(errors).detail, wanted);
    }
}

#[test]
fn a_database_that_is_away_is_not_an_internal_error() {
    let problem_type = |error: sqlx::Error| Problem::from(error).problem_type();
    assert_eq!(problem_type(sqlx::Error::PoolTimedOut), ProblemType::Unavailable);
    assert_eq!(problem_type(sqlx::Error::RowNotFound), ProblemType::Internal);
}
