//! The limits of fields in docs/api.md, compared with those that the API enforces.

use serde_json::Value;

/// Schemas of bodies, and the section of docs/api.md about each.
const INPUTS: [(&str, &str); 6] = [
    ("SiteSettings", "## Sites"),
    ("NewWebhook", "## Webhooks"),
    ("SecretRotation", "## Webhooks"),
    ("NewGoal", "## Goals"),
    ("NewToken", "## Tokens"),
    ("PortalLinkRequest", "## Portal links"),
];

/// A limit of a field, by the names that lead to it.
type Limit = (Vec<String>, u64);

/// Collects the limits in a schema. A least length of 1 only says that a text is not empty.
fn collect(schema: &Value, names: &[String], limits: &mut Vec<Limit>) {
    if !schema.is_object() {
        return;
    }
    for word in [
        "maximum",
        "maxLength",
        "maxItems",
        "maxProperties",
        "minimum",
        "minLength",
    ] {
        let limit = schema[word].as_u64();
        let says_more = |limit: &u64| !word.starts_with("min") || *limit > 1;
        limits.extend(limit.filter(says_more).map(|limit| (names.to_vec(), limit)));
    }
    let several = ["anyOf", "oneOf", "allOf"].map(|word| schema[word].as_array());
    let one = [
        &schema["items"],
        &schema["additionalProperties"],
        &schema["propertyNames"],
    ];
    let below = several.into_iter().flatten().flatten().chain(one);
    below.for_each(|schema| collect(schema, names, limits));
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        collect(schema, &[names, std::slice::from_ref(name)].concat(), limits);
    }
}

/// The rows of tables and the points of lists in a section.
fn blocks(section: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in section.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with("  ") => *block += line,
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks
}

/// `2592000` as `2,592,000`.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// True if a number stands in a text by itself.
fn names_number(text: &str, number: &str) -> bool {
    let is_part = |one: Option<char>| one.is_some_and(|one| one.is_ascii_digit());
    text.match_indices(number).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + number.len()..]);
        let goes_on = after.starts_with(',') && is_part(after.chars().nth(1));
        let went_before = before.ends_with(',') && is_part(before.chars().rev().nth(1));
        !is_part(before.chars().last()) && !is_part(after.chars().next()) && !goes_on && !went_before
    })
}

#[test]
fn the_reference_has_every_limit_of_every_field() {
    let reference = include_str!("../../docs/api.md");
    let document = crate::api::openapi();
    for (input, heading) in INPUTS {
        let (_, section) = reference.split_once(&format!("\n{heading}\n")).expect(heading);
        let section = section
            .split_once("\n## ")
            .map_or(section, |(section, _)| section);
        let blocks = blocks(section);
        let mut limits = Vec::new();
        collect(&document["components"]["schemas"][input], &[], &mut limits);
        assert!(!limits.is_empty(), "{input}");
        for (names, limit) in limits {
            // `triggers`, the event type, the option.
            let (event, field) = match names.as_slice() {
                [triggers, event, field, ..] if triggers == "triggers" => (Some(event), field),
                [field, ..] => (None, field),
                [] => continue,
            };
            let is_about = |block: &&String| match event {
                Some(event) if block.starts_with('|') => block.starts_with(&format!("| `{event}` |")),
                Some(_) => block.contains(&format!("`{field}`")),
                None => block.starts_with(&format!("| `{field}` |")),
            };
            let number = with_commas(limit);
            let is_named = blocks
                .iter()
                .filter(is_about)
                .any(|block| names_number(block, &number));
            assert!(is_named, "{input}: {} has the limit {number}", names.join("."));
        }
    }
}
