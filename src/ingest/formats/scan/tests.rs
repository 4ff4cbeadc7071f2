use super::*;
use proptest::prelude::*;

fn scanned(text: &str) -> Option<Vec<(&str, ScannedValue<'_>)>> {
    let mut found = Vec::new();
    scan(text, |key, value| found.push((key, value))).map(|()| found)
}

#[test]
fn a_flat_object_is_scanned() {
    assert_eq!(
        scanned(" {\"a\" : \"xy\\u00fc\" }"),
        None,
        "escapes are for the general parser"
    );
    assert_eq!(
        scanned("\t{\"a\" : \"x é y\", \"\":12,\"c\":null,\"d\":false} \r\n"),
        Some(vec![
            ("a", ScannedValue::Scalar(Loose::Text("x é y".into()))),
            ("", ScannedValue::Scalar(Loose::Integer(12))),
            ("c", ScannedValue::Scalar(Loose::Absent)),
            ("d", ScannedValue::Scalar(Loose::Flag(false))),
        ])
    );
    assert_eq!(scanned("{}"), Some(vec![]));
}

#[test]
fn an_object_of_texts_inside_is_scanned() {
    let texts = |json: &'static str| ScannedValue::Texts(WrittenTexts::new(json));
    assert_eq!(
        scanned(r#"{"a":{"b":"x", "c" : "" },"d":{}}"#),
        Some(vec![("a", texts(r#""b":"x", "c" : "" "#)), ("d", texts(""))])
    );
    let entries = |count: u8| {
        let list: Vec<String> = (0..count).map(|n| format!(r#""{n}":"""#)).collect();
        format!(r#"{{"a":{{{}}}}}"#, list.join(","))
    };
    assert!(scanned(&entries(30)).is_some());
    assert!(scanned(&entries(31)).is_none());
}

#[test]
fn unusual_and_wrong_texts_are_given_up_on() {
    for text in [
        "",
        "{",
        "}",
        "[]",
        "{}x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":01}",
        "{\"a\":1.5}",
        "{\"a\":1e3}",
        "{\"a\":-1}",
        "{\"a\":{\"b\":1}}",
        "{\"a\":{\"b\":null}}",
        "{\"a\":{\"b\":{}}}",
        "{\"a\":{\"b\":\"\",}}",
        "{\"a\":{\"b\"}}",
        "{\"a\":{",
        "{\"a\":{}",
        "{\"a\":[]}",
        "{\"a\":nul}",
        "{\"a\":nulll}",
        "{\"a\":\"x",
        "{\"a\":\"x\ny\"}",
        "{\"a\":\"\\n\"}",
        "{\"a\":1234567890123456789}",
        "{a:1}",
        "{\"a\":1 2}",
        "{\"a\":1",
    ] {
        assert_eq!(scanned(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn the_scanner_reads_what_the_general_parser_reads(
        text in "[{]? ?(\"[a-c]\" ?: ?(\"[\\PC\\\\\"\n]{0,9}\"|[0-9]{1,20}|-?[0-9][.e]?[0-9]?|null|true|false|\\[\\]|[{](\"[a-c]\": ?(\"[x\\\\ü]{0,2}\"|1),?){0,3}[}]),? ?){0,4}[}]? ?",
    ) {
        if let Some(found) = scanned(&text) {
            let value: serde_json::Value = serde_json::from_str(&text).expect("a subset of JSON");
            let object = value.as_object().expect("an object");
            for (key, value) in object {
                let last = found.iter().rev().find(|(name, _)| name == key).expect("the same keys");
                let expected = match value {
                    serde_json::Value::Null => ScannedValue::Scalar(Loose::Absent),
                    serde_json::Value::Bool(flag) => ScannedValue::Scalar(Loose::Flag(*flag)),
                    serde_json::Value::String(text) => ScannedValue::Scalar(Loose::Text(text.as_str().into())),
                    serde_json::Value::Object(object) => {
                        let ScannedValue::Texts(texts) = &last.1 else { panic!("{text}") };
                        let same = object.iter().all(|(name, text)| texts.get(name) == text.as_str());
                        prop_assert!(same && texts.iter().all(|(name, _)| object.contains_key(name)));
                        continue;
                    }
                    other => ScannedValue::Scalar(Loose::Integer(other.as_i64().expect("a whole number"))),
                };
                prop_assert_eq!(&last.1, &expected);
            }
            prop_assert!(found.iter().all(|(key, _)| object.contains_key(*key)));
        }
    }
}
