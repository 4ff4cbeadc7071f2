use super::*;
use crate::api::calls::CALLS;
use crate::domain::delivery::DeliveryStatus;
use crate::domain::id::TokenId;

fn parsed(query: &str) -> Query {
    Query::parse(Some(query), Parameter::ALL.as_slice())
}

/// The value that `read` finds, or the codes of the errors.
fn read<T>(query: &str, read: impl Fn(&Query, &mut FieldErrors) -> T) -> Result<T, Vec<&'static str>> {
    let query = parsed(query);
    let mut errors = query.check_names();
    let value = read(&query, &mut errors);
    match errors.is_empty() {
        true => Ok(value),
        false => Err(errors.list().iter().map(|error| error.code.as_str()).collect()),
    }
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
        ("limit=99999999999999999999999", Err("out_of_range")),
        ("limit=-1", Err("invalid")),
        ("limit=ten", Err("invalid")),
        ("limit=%2B5", Err("invalid")),
        ("limit=+5", Err("invalid")),
        ("limit=05", Err("invalid")),
        ("limit=00", Err("invalid")),
        ("limit=5.0", Err("invalid")),
        ("limit=%D9%A5", Err("invalid")),
        ("limit=1&limit=2", Err("duplicate")),
        ("limit=&limit=2", Err("duplicate")),
    ] {
        let limit = read(query, |query, errors| query.limit(errors));
        assert_eq!(limit, wanted.map_err(|code| vec![code]), "{query}");
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
        let errors = query.check_names();
        let named: Vec<&str> = errors.list().iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(named, wanted);
    }
}

#[test]
fn every_parameter_of_every_call_is_given_once() {
    for call in CALLS {
        for parameter in call.query {
            let name = parameter.name();
            for query in [format!("{name}=a&{name}=b"), format!("{name}&{name}=a")] {
                let errors = Query::parse(Some(&query), call.query).check_names();
                let named: Vec<_> = errors
                    .list()
                    .iter()
                    .map(|one| (one.pointer.as_str(), one.code))
                    .collect();
                assert_eq!(
                    named,
                    [(format!("/{name}").as_str(), FieldCode::Duplicate)],
                    "{query}"
                );
            }
        }
    }
}

#[test]
fn a_list_has_its_words_with_commas_between_them() {
    let statuses = |query: &str| {
        read(query, |query, errors| {
            query.many::<DeliveryStatus>(Parameter::Statuses, errors)
        })
    };
    let both = vec![DeliveryStatus::Failed, DeliveryStatus::Cancelled];
    assert_eq!(statuses("status=failed,cancelled"), Ok(both.clone()));
    assert_eq!(statuses("status=failed%2Ccancelled,failed"), Ok(both));
    assert_eq!(statuses("status="), Ok(vec![]));
    for bad in ["lost,found", "failed,", ",failed", "failed, cancelled", "Failed"] {
        assert_eq!(statuses(&format!("status={bad}")), Err(vec!["unknown"]), "{bad}");
    }
}

#[test]
fn a_cursor_is_taken_only_as_it_was_written() {
    let after = |text: &str| {
        read(&format!("after={text}"), |query, errors| {
            query.after::<TokenId>(errors)
        })
    };
    let id = "tok_00000000000000000000000007";
    assert_eq!(after(id), Ok(id.parse().ok()));
    assert_eq!(after(""), Ok(None));
    for bad in [
        "tok_7",
        "TOK_00000000000000000000000007",
        "wh_00000000000000000000000007",
        "x",
    ] {
        assert_eq!(after(bad), Err(vec!["invalid"]), "{bad}");
    }
}

#[test]
fn a_time_is_one_that_rfc_3339_can_write() {
    let since = |text: &str| {
        read(&format!("since={text}"), |query, errors| {
            query.time(Parameter::Since, errors).map(|at| at.timestamp())
        })
    };
    for good in [
        "1970-01-01T00:01:00Z",
        "1970-01-01T01:01:00%2B01:00",
        "1970-01-01T01:01:00+01:00",
    ] {
        assert_eq!(since(good), Ok(Some(60)), "{good}");
    }
    for bad in [
        "yesterday",
        "60",
        "1970-01-01",
        "0000-01-01T00:00:00%2B01:00",
        "9999-12-31T23:59:59-01:00",
    ] {
        assert_eq!(since(bad), Err(vec!["invalid"]), "{bad}");
    }
}

#[test]
fn a_part_of_a_name_has_no_control_characters() {
    let part = |text: &str| read(&format!("q={text}"), Query::part);
    assert_eq!(part("shop"), Ok(Some("shop".to_owned())));
    for bad in ["%00", "a%0A", "%C2%80"] {
        assert_eq!(part(bad), Err(vec!["invalid"]), "{bad}");
    }
}
