//! Schemas of tokens.

use serde_json::{Value, json};

use super::schema::{
    Fields, about, answer, any_text, boolean, by_default, id, input, list, nullable, page, text, time, word,
};
use super::sites::site_id;
use crate::api::token_input::{MAX_SITES, MAX_SUBJECT_CHARS};
use crate::record::tokens::Role;

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let mut with_secret = fields();
    with_secret.push(("token", about(any_text(), "Shown in this answer alone.")));
    let (mut token, mut with_secret) = (answer(fields()), answer(with_secret));
    token["examples"] = json!([example()]);
    let mut shown = example();
    shown["token"] = json!("bw_example-of-a-token-which-is-shown-once-only");
    with_secret["examples"] = json!([shown]);
    vec![
        ("NewToken", new_token()),
        ("Token", token),
        ("TokenWithSecret", with_secret),
        ("Tokens", page("Token")),
    ]
}

/// A token is for all sites, or for those named.
fn new_token() -> Value {
    let mut site = site_id();
    site["pattern"] = text(MAX_SUBJECT_CHARS)["pattern"].clone();
    let sites =
        json!({"type": "array", "items": site, "minItems": 1, "maxItems": MAX_SITES, "uniqueItems": true});
    let mut schema = input(
        &["role", "subject"],
        vec![
            (
                "admin",
                by_default(
                    about(nullable(boolean()), "For every site, and for tokens."),
                    false,
                ),
            ),
            (
                "sites",
                about(nullable(sites), "Required unless `admin` is true."),
            ),
            ("role", word(Role::WORDS)),
            (
                "subject",
                about(text(MAX_SUBJECT_CHARS), "Name in the audit log."),
            ),
            (
                "expires_at",
                about(nullable(time()), "In the future; null is never."),
            ),
        ],
    );
    schema["oneOf"] = json!([
        {"required": ["admin"], "properties": {"admin": {"const": true}, "sites": {"type": "null"}}},
        {"required": ["sites"],
         "properties": {"admin": {"enum": [false, null]}, "sites": {"type": "array"}}},
    ]);
    schema["examples"] = json!([
        {"sites": ["example.com"], "role": "viewer", "subject": "dashboard"},
        {"admin": true, "role": "editor", "subject": "platform", "expires_at": "2030-01-01T00:00:00Z"},
    ]);
    schema
}

fn fields() -> Fields {
    vec![
        ("id", id("tok")),
        ("subject", any_text()),
        ("admin", boolean()),
        ("sites", about(list(any_text()), "Empty for an admin token.")),
        ("role", word(Role::WORDS)),
        (
            "prefix",
            about(any_text(), "First characters, to tell tokens apart."),
        ),
        ("expires_at", nullable(time())),
        ("last_used_at", nullable(time())),
        ("inserted_at", time()),
    ]
}

fn example() -> Value {
    json!({
        "id": "tok_01jz0000000000000000000000", "subject": "dashboard", "admin": false, "sites": ["example.com"],
        "role": "viewer", "prefix": "bw_exampl", "expires_at": null, "last_used_at": null,
        "inserted_at": "2026-02-01T08:00:00.000Z"
    })
}
