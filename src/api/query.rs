//! Reading a request's query.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::field_errors::{FieldCode, FieldErrors, echo, escape};
use super::parameter::Parameter;
use super::problem::Problem;

/// Entries of a page if `limit` is absent.
pub(super) const DEFAULT_LIMIT: u32 = 50;
/// Most entries of a page.
pub(super) const MAX_LIMIT: u32 = 250;

/// The parameters of a route's call, as the router adds them to each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct AllowedParameters(pub(super) &'static [Parameter]);

impl AllowedParameters {
    fn of(parts: &Parts) -> &'static [Parameter] {
        parts.extensions.get::<Self>().map_or(&[], |allowed| allowed.0)
    }
}

/// The parameters of a request. `?status=`, as a form sends it for "any", counts as absent.
#[derive(Debug)]
pub(super) struct Query {
    /// Names and values.
    given: Vec<(String, String)>,
    allowed: &'static [Parameter],
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::parse(parts.uri.query(), AllowedParameters::of(parts)))
    }
}

impl Query {
    pub(super) fn parse(query: Option<&str>, allowed: &'static [Parameter]) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let given = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Self { given, allowed }
    }

    /// Refuses each parameter that the call does not have.
    pub(super) fn refuse_unknown(&self) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let names: Vec<&str> = self.allowed.iter().map(|one| one.name()).collect();
        for (name, _) in &self.given {
            if names.contains(&name.as_str()) {
                continue;
            }
            let allowed = match names.as_slice() {
                [] => "It has none".to_owned(),
                names => format!("The parameters are {}", names.join(", ")),
            };
            let detail = format!("`{}` is not a parameter of this call. {allowed}.", echo(name));
            errors.add(pointer_to(name), FieldCode::UnknownField, detail);
        }
        errors
    }

    /// The beginning of the page: the `next` of the one before.
    pub(super) fn after<C: FromStr>(&self, errors: &mut FieldErrors) -> Option<C> {
        self.one("after", "the `next` of an earlier page", errors)
    }

    /// The size of the page.
    pub(super) fn limit(&self, errors: &mut FieldErrors) -> u32 {
        let allowed = format!("a whole number from 1 to {MAX_LIMIT}");
        let limit: Option<u32> = self.one("limit", &allowed, errors);
        if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            let detail = format!("The parameter must be {allowed}.");
            errors.add("/limit", FieldCode::OutOfRange, detail);
        }
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// A parameter that may be given once. `allowed` describes its values.
    pub(super) fn one<T: FromStr>(&self, name: &str, allowed: &str, errors: &mut FieldErrors) -> Option<T> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() {
            errors.add(
                pointer_to(name),
                FieldCode::Duplicate,
                "The parameter is given twice.",
            );
        }
        let read = value.parse().ok();
        if read.is_none() {
            let detail = format!("The parameter must be {allowed}, not `{}`.", echo(value));
            errors.add(pointer_to(name), FieldCode::Invalid, detail);
        }
        read
    }

    /// A parameter that may have several values, separated by commas or given several times.
    pub(super) fn many<T: FromStr + PartialEq>(
        &self,
        name: &str,
        allowed: &[&str],
        errors: &mut FieldErrors,
    ) -> Vec<T> {
        let mut read = Vec::new();
        for word in self
            .values(name)
            .flat_map(|value| value.split(','))
            .map(str::trim)
        {
            match word.parse() {
                Ok(value) if read.contains(&value) => {}
                Ok(value) => read.push(value),
                Err(_) => {
                    let detail = format!("`{}` is not one of {}.", echo(word), allowed.join(", "));
                    errors.add(pointer_to(name), FieldCode::Unknown, detail);
                    break;
                }
            }
        }
        read
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.given
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Refuses every parameter of a call that has none. What has some reads its [`Query`].
pub(super) fn refuse_needless(parts: &Parts) -> Result<(), Problem> {
    match AllowedParameters::of(parts) {
        [] => Problem::check(Query::parse(parts.uri.query(), &[]).refuse_unknown()),
        _ => Ok(()),
    }
}

/// An RFC 3339 time in a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instant(pub(super) DateTime<Utc>);

impl Instant {
    /// Words for the values that are allowed.
    pub(super) const ALLOWED: &str = "an RFC 3339 time such as 2026-02-25T12:00:00Z";
}

impl FromStr for Instant {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, chrono::ParseError> {
        // An unescaped `+` in a query is decoded as a space.
        DateTime::parse_from_rfc3339(&text.replace(' ', "+")).map(|at| Self(at.to_utc()))
    }
}

fn pointer_to(name: &str) -> String {
    format!("/{}", escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::DeliveryStatus;

    fn limit(query: &str) -> Result<u32, &'static str> {
        let mut errors = FieldErrors::default();
        let limit = Query::parse(Some(query), &[]).limit(&mut errors);
        errors
            .list()
            .first()
            .map_or(Ok(limit), |error| Err(error.code.as_str()))
    }

    #[test]
    fn a_page_has_1_to_250_entries_and_50_by_default() {
        for (query, wanted) in [
            ("", Ok(50)),
            ("limit=", Ok(50)),
            ("limit=1", Ok(1)),
            ("limit=250", Ok(250)),
            ("limit=0", Err("out_of_range")),
            ("limit=251", Err("out_of_range")),
            ("limit=-1", Err("invalid")),
            ("limit=ten", Err("invalid")),
            ("limit=1&limit=2", Err("duplicate")),
        ] {
            assert_eq!(limit(query), wanted, "{query}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_named_even_without_a_value() {
        for (query, wanted) in [
            ("", vec![]),
            ("status=", vec![]),
            ("colour=", vec!["/colour"]),
            ("a&b=1&status", vec!["/a", "/b"]),
            ("=", vec!["/"]),
        ] {
            let query = Query::parse(Some(query), &[Parameter::Statuses]);
            let errors = query.refuse_unknown();
            let named: Vec<&str> = errors.list().iter().map(|one| one.pointer.as_str()).collect();
            assert_eq!(named, wanted);
        }
    }

    #[test]
    fn a_parameter_takes_several_values() {
        let read = |query: &str| {
            let mut errors = FieldErrors::default();
            let all = Query::parse(Some(query), &[]).many::<DeliveryStatus>("status", &[], &mut errors);
            (all, errors.list().len())
        };
        let both = vec![DeliveryStatus::Failed, DeliveryStatus::Cancelled];
        assert_eq!(read("status=failed,cancelled"), (both.clone(), 0));
        assert_eq!(read("status=failed&status=cancelled&status=failed"), (both, 0));
        assert_eq!(read("status="), (vec![], 0));
        assert_eq!(read("status=lost,found").1, 1);
    }
}
