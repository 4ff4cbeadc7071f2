//! Reading a request's query.

use std::str::FromStr;

use url::form_urlencoded;

use super::validate::{Errors, echo};

/// Entries of a page unless asked otherwise.
pub(super) const DEFAULT_LIMIT: u32 = 50;
/// Most entries of a page.
pub(super) const MAX_LIMIT: u32 = 250;

/// The parameters that have a value. `?status=` is what a form sends for "any", and counts as absent.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(
            pairs
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// Notes each parameter that is none of `allowed`.
    pub(super) fn refuse_unknown(&self, allowed: &[&str], errors: &mut Errors) {
        for (name, _) in self
            .0
            .iter()
            .filter(|(name, _)| !allowed.contains(&name.as_str()))
        {
            let detail = format!(
                "`{}` is no parameter here; there are {}",
                echo(name),
                allowed.join(", ")
            );
            errors.add(pointer(name), "unknown_field", detail);
        }
    }

    /// The size of the page.
    pub(super) fn limit(&self, errors: &mut Errors) -> u32 {
        let allowed = format!("a whole number from 1 to {MAX_LIMIT}");
        let limit: Option<u32> = self.one("limit", &allowed, errors);
        if limit.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            errors.add("/limit", "out_of_range", format!("must be {allowed}"));
        }
        limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// A parameter that is given at most once.
    pub(super) fn one<T: FromStr>(&self, name: &str, allowed: &str, errors: &mut Errors) -> Option<T> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() {
            errors.add(pointer(name), "duplicate", "is given twice");
        }
        let read = value.parse().ok();
        if read.is_none() {
            errors.add(
                pointer(name),
                "invalid",
                format!("must be {allowed}, not `{}`", echo(value)),
            );
        }
        read
    }

    /// A parameter that may hold several values, with commas or given several times.
    pub(super) fn many<T: FromStr + PartialEq>(
        &self,
        name: &str,
        allowed: &[&str],
        errors: &mut Errors,
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
                    let detail = format!("`{}` is none of {}", echo(word), allowed.join(", "));
                    errors.add(pointer(name), "unknown", detail);
                    break;
                }
            }
        }
        read
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", super::validate::escape(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::DeliveryStatus;

    fn limit(query: &str) -> Result<u32, &'static str> {
        let mut errors = Errors::default();
        let limit = Query::parse(Some(query)).limit(&mut errors);
        errors.list().first().map_or(Ok(limit), |error| Err(error.code))
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
    fn several_values_with_commas_or_one_by_one() {
        let read = |query: &str| {
            let mut errors = Errors::default();
            let all = Query::parse(Some(query)).many::<DeliveryStatus>("status", &[], &mut errors);
            (all, errors.list().len())
        };
        let both = vec![DeliveryStatus::Failed, DeliveryStatus::Cancelled];
        assert_eq!(read("status=failed,cancelled"), (both.clone(), 0));
        assert_eq!(read("status=failed&status=cancelled&status=failed"), (both, 0));
        assert_eq!(read("status="), (vec![], 0));
        assert_eq!(read("status=lost,found").1, 1);
    }
}
