//! The body of a call from arguments. Pure but for the file that it may be read from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};

use super::origin::FieldOrigins;
use crate::api::strict_json;
use crate::cli::exit::UsageError;

/// Largest body read; the API takes no more.
const MAX_BODY_BYTES: u64 = 64 << 10;

/// Fields of a body that have no argument of their own.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct BodyArgs {
    /// JSON file with the fields; `-` is stdin. Other arguments win over it
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// A field, such as triggers.visitor_spike.threshold=500: JSON, or else text; may be repeated
    #[arg(long = "field", value_name = "KEY=VALUE", value_parser = field)]
    fields: Vec<(String, Value)>,
}

impl BodyArgs {
    /// True if a field, or a file of them, is given.
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.body.is_some() || !self.fields.is_empty()
    }
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("allowed: KEY=VALUE")?;
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err("a key has names with `.` between them".to_owned());
    }
    Ok((key.to_owned(), json_or_text(value)))
}

/// A value in JSON; what is none is a text.
fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The body of a call, and the arguments that its fields came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::cli) struct CallBody {
    pub(in crate::cli) fields: Map<String, Value>,
    pub(super) origins: FieldOrigins,
}

/// A field with a flag of its own: its name, the flag, and the value if it is given.
type OwnField<'a> = (&'a str, &'a str, Option<Value>);

impl CallBody {
    /// The fields that are given.
    pub(in crate::cli) fn of<const N: usize>(own: [OwnField<'_>; N]) -> Self {
        let mut body = Self::default();
        body.add(own);
        body
    }

    /// Refuses a change of nothing.
    pub(super) fn or_nothing_to_change(self) -> Result<Self, UsageError> {
        if self.fields.is_empty() && !self.origins.has_file() {
            return Err(UsageError(
                "nothing to change is given: name a setting by its flag, or by --field or --body".to_owned(),
            ));
        }
        Ok(self)
    }

    fn add<const N: usize>(&mut self, own: [OwnField<'_>; N]) {
        for (name, flag, value) in own {
            self.origins.add_flag(name, flag, value.is_some());
            if let Some(value) = value {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl BodyArgs {
    /// The body of these arguments: the file, then `own`, then the single fields.
    pub(in crate::cli) fn build<const N: usize>(&self, own: [OwnField<'_>; N]) -> anyhow::Result<CallBody> {
        let mut body = CallBody::default();
        if let Some(path) = &self.body {
            body.fields = read(path)?;
            body.origins.add_file();
        }
        body.add(own);
        for (index, (key, value)) in self.fields.iter().enumerate() {
            if self.fields[..index].iter().any(|(before, _)| before == key) {
                return Err(UsageError(format!("--field {key} is given twice")).into());
            }
            set_field(&mut body.fields, key, value.clone())?;
            body.origins.add_key(key);
        }
        Ok(body)
    }
}

/// Sets the field at `key`, whose levels have `.` between them.
fn set_field(body: &mut Map<String, Value>, key: &str, value: Value) -> Result<(), UsageError> {
    let (levels, name) = match key.rsplit_once('.') {
        Some((levels, name)) => (levels.split('.').collect::<Vec<_>>(), name),
        None => (Vec::new(), key),
    };
    let mut object = body;
    for level in levels {
        let next = object.entry(level).or_insert_with(|| Value::Object(Map::new()));
        object = next
            .as_object_mut()
            .ok_or_else(|| UsageError(format!("--field {key}: `{level}` is not an object")))?;
    }
    object.insert(name.to_owned(), value);
    Ok(())
}

/// A list as a field, if it has any entry.
pub(super) fn unless_empty<T: ToString>(list: &[T]) -> Option<Value> {
    let texts = || list.iter().map(ToString::to_string).collect();
    (!list.is_empty()).then(texts)
}

fn read(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let mut text = String::new();
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let file = std::fs::File::open(path);
        Box::new(file.with_context(|| format!("the body cannot be read from {}", path.display()))?)
    };
    source
        .take(MAX_BODY_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("the body cannot be read from {}", path.display()))?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_BODY_BYTES,
        "{} has more than {} KiB",
        path.display(),
        MAX_BODY_BYTES >> 10
    );
    object(&text).with_context(|| path.display().to_string())
}

/// Reads a JSON object by the rules of the API.
fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    anyhow::ensure!(
        !text.starts_with('\u{feff}'),
        "it begins with a byte order mark: save it as UTF-8 without one"
    );
    let read = strict_json::read(text.as_bytes()).context("it is not a JSON object")?;
    if let Some(key) = read.repeated.first() {
        anyhow::bail!("{key} is given twice");
    }
    match read.value {
        Value::Object(fields) => Ok(fields),
        _ => anyhow::bail!("it is not a JSON object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_read_as_strictly_as_by_the_api() {
        assert_eq!(object("{\"a\": 1}").expect("an object")["a"], 1);
        for (text, wanted) in [
            ("\u{feff}{}", "byte order mark"),
            ("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "c is given twice"),
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
        ] {
            let error = format!("{:#}", object(text).expect_err(text));
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn a_field_is_given_once() {
        let field = |key: &str| (key.to_owned(), json!("a"));
        let args = BodyArgs {
            body: None,
            fields: vec![field("name"), field("url"), field("name")],
        };
        let error = args.build([]).expect_err("twice");
        assert_eq!(error.to_string(), "--field name is given twice");
    }

    #[test]
    fn fields_are_json_or_else_text_and_reach_into_objects() {
        let mut args = BodyArgs {
            body: None,
            fields: Vec::new(),
        };
        for text in [
            "triggers.visitor_spike.threshold=500",
            "triggers.goal_completion.goals=[\"Signup\"]",
            "name=Shop, the second",
            "max_age_seconds=null",
            "secret=a=b",
        ] {
            args.fields.push(field(text).expect(text));
        }
        let body = args.build([
            ("url", "--endpoint", Some("https://a.example".into())),
            ("enabled", "--enabled", None),
        ]);
        assert_eq!(
            Value::Object(body.expect("a body").fields),
            json!({
                "url": "https://a.example",
                "triggers": {"visitor_spike": {"threshold": 500}, "goal_completion": {"goals": ["Signup"]}},
                "name": "Shop, the second",
                "max_age_seconds": null,
                "secret": "a=b",
            })
        );
    }

    #[test]
    fn a_field_inside_a_plain_value_or_without_a_name_is_refused() {
        for text in ["", "a", "=1", "a..b=1", ".a=1"] {
            assert!(field(text).is_err(), "{text}");
        }
        let mut body = CallBody::of([("name", "--name", Some("x".into()))]);
        assert!(set_field(&mut body.fields, "name.first", 1.into()).is_err());
    }
}
