//! Reading a request's query.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::field_errors::{FieldCode, FieldErrors, echo, escape};
use super::parameter::{DEFAULT_LIMIT, MAX_LIMIT, Parameter};
use super::problem::Problem;
use super::validate::read_time;
use crate::domain::texts::has_control;

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

    /// Refuses each parameter that the call does not have, or that is given twice.
    pub(super) fn check_names(&self) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let names: Vec<&str> = self.allowed.iter().map(|one| one.name()).collect();
        let mut seen = HashSet::new();
        for (name, _) in &self.given {
            if !names.contains(&name.as_str()) {
                let allowed = match names.as_slice() {
                    [] => "It has none".to_owned(),
                    names => format!("The parameters are {}", names.join(", ")),
                };
                let detail = format!("`{}` is not a parameter of this call. {allowed}.", echo(name));
                errors.add(pointer_to(name), FieldCode::UnknownField, detail);
            } else if !seen.insert(name) {
                let of_list = self
                    .allowed
                    .iter()
                    .any(|one| one.name() == name && one.words().is_some());
                let detail = match of_list {
                    true => "The parameter is given twice: give its values once, with commas between them.",
                    false => "The parameter is given twice.",
                };
                errors.add(pointer_to(name), FieldCode::Duplicate, detail);
            }
        }
        errors
    }

    /// The beginning of the page: the `next` of the one before, written as it was.
    pub(super) fn after<C: FromStr + Display>(&self, errors: &mut FieldErrors) -> Option<C> {
        let read = |text: &str| text.parse().ok().filter(|cursor: &C| cursor.to_string() == text);
        self.read(Parameter::After, read, errors)
    }

    /// The size of the page.
    pub(super) fn limit(&self, errors: &mut FieldErrors) -> u32 {
        let limit = self.read(Parameter::Limit, whole_number, errors);
        if limit.is_some_and(|limit| !(1..=u64::from(MAX_LIMIT)).contains(&limit)) {
            let detail = format!("The parameter must be {}.", Parameter::Limit.allowed());
            errors.add("/limit", FieldCode::OutOfRange, detail);
        }
        let limit = limit.and_then(|limit| u32::try_from(limit).ok());
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// An RFC 3339 time, of the years that it can write.
    pub(super) fn time(&self, parameter: Parameter, errors: &mut FieldErrors) -> Option<DateTime<Utc>> {
        // An unescaped `+` in a query is decoded as a space.
        self.read(parameter, |text| read_time(&text.replace(' ', "+")), errors)
    }

    /// A part of an id or name. Neither has control characters, and Postgres takes no NUL.
    pub(super) fn part(&self, errors: &mut FieldErrors) -> Option<String> {
        let read = |text: &str| (!has_control(text)).then(|| text.to_owned());
        self.read(Parameter::Part, read, errors)
    }

    /// A parameter with one value.
    fn read<T>(
        &self,
        parameter: Parameter,
        read: impl Fn(&str) -> Option<T>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let value = self.value(parameter)?;
        let read = read(value);
        if read.is_none() {
            let detail = format!(
                "The parameter must be {}, not `{}`.",
                parameter.allowed(),
                echo(value)
            );
            errors.add(pointer_to(parameter.name()), FieldCode::Invalid, detail);
        }
        read
    }

    /// The values of a parameter that may have several, separated by commas.
    pub(super) fn many<T: FromStr + PartialEq>(
        &self,
        parameter: Parameter,
        errors: &mut FieldErrors,
    ) -> Vec<T> {
        let mut read = Vec::new();
        let words = parameter.words().unwrap_or_default();
        for word in self
            .value(parameter)
            .into_iter()
            .flat_map(|value| value.split(','))
        {
            match word.parse() {
                Ok(value) if words.contains(&word) => {
                    if !read.contains(&value) {
                        read.push(value);
                    }
                }
                _ => {
                    let detail = format!("`{}` is not one of {}.", echo(word), words.join(", "));
                    errors.add(pointer_to(parameter.name()), FieldCode::Unknown, detail);
                    break;
                }
            }
        }
        read
    }

    fn value(&self, parameter: Parameter) -> Option<&str> {
        let mut given = self.given.iter().filter(|(name, _)| name == parameter.name());
        given
            .find(|(_, value)| !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Reads digits without a sign and without needless zeros. A number beyond all limits is the
/// largest.
fn whole_number(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Refuses every parameter of a call that has none. What has some reads its [`Query`].
pub(super) fn refuse_needless(parts: &Parts) -> Result<(), Problem> {
    match AllowedParameters::of(parts) {
        [] => Problem::check(Query::parse(parts.uri.query(), &[]).check_names()),
        _ => Ok(()),
    }
}

fn pointer_to(name: &str) -> String {
    format!("/{}", escape(name))
}

#[cfg(test)]
mod tests;
