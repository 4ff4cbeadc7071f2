//! The reference as one page of HTML.

use std::fmt::Write as _;

use serde_json::Value;

use super::html::{escape, prose, resolve, text};
use super::schema_table::schema_table;

/// The page of `document`, which is an OpenAPI document, with the style at `style_path`.
pub(super) fn render(document: &Value, style_path: &str) -> String {
    let title = format!("{} API", text(&document["info"]["title"]));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><link rel=\"stylesheet\" \
         href=\"{style_path}\"></head><body><main><h1>{title}</h1>\n"
    );
    add(
        &mut page,
        &format!("<p>{}</p>", prose(&document["info"]["description"])),
    );
    add(
        &mut page,
        &format!(
            "<p>Version {}. The same for programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
            text(&document["info"]["version"])
        ),
    );
    let sections = sections(document);
    add(&mut page, &contents(&sections));
    for (tag, operations) in &sections {
        let (name, about) = (text(&tag["name"]), prose(&tag["description"]));
        add(&mut page, &format!("<section><h2>{name}</h2><p>{about}</p>"));
        for operation in operations {
            add(&mut page, &article(document, operation));
        }
        add(&mut page, "</section>");
    }
    page.push_str("</main></body></html>\n");
    page
}

fn add(page: &mut String, html: &str) {
    page.push_str(html);
    page.push('\n');
}

/// A call, or an outgoing request.
struct Operation<'a> {
    /// Method of a call, or nothing.
    method: String,
    /// Path of a call, or event type of an outgoing request.
    path: &'a str,
    shared: &'a Value,
    own: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> String {
        text(&self.own["operationId"])
    }
}

/// The tags of the document with their operations.
fn sections(document: &Value) -> Vec<(&Value, Vec<Operation<'_>>)> {
    let mut all = Vec::new();
    for group in ["paths", "webhooks"] {
        for (path, item) in document[group].as_object().into_iter().flatten() {
            for (method, own) in item.as_object().into_iter().flatten() {
                if own["operationId"].is_string() {
                    let is_call = group == "paths";
                    let method = if is_call {
                        method.to_ascii_uppercase()
                    } else {
                        String::new()
                    };
                    all.push(Operation {
                        method,
                        path,
                        shared: &item["parameters"],
                        own,
                    });
                }
            }
        }
    }
    let mut sections: Vec<(&Value, Vec<Operation<'_>>)> = document["tags"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|tag| (tag, Vec::new()))
        .collect();
    for operation in all {
        let tag = &operation.own["tags"][0];
        if let Some((_, operations)) = sections.iter_mut().find(|(one, _)| one["name"] == *tag) {
            operations.push(operation);
        }
    }
    sections
}

fn contents(sections: &[(&Value, Vec<Operation<'_>>)]) -> String {
    let mut html = "<nav aria-label=\"Contents\"><ul>".to_owned();
    for operation in sections.iter().flat_map(|(_, operations)| operations) {
        let (id, path) = (operation.id(), escape(operation.path));
        let short = path.trim_start_matches("/api");
        let _ = write!(
            html,
            "<li><a href=\"#{id}\">{} {short}</a></li>",
            operation.method
        );
    }
    html + "</ul></nav>"
}

fn article(document: &Value, operation: &Operation<'_>) -> String {
    let own = operation.own;
    let (id, path) = (operation.id(), escape(operation.path));
    let mut html = format!(
        "<article id=\"{id}\"><h3><b>{}</b> <code>{path}</code></h3>",
        operation.method
    );
    let _ = write!(html, "<p>{}</p>", prose(&own["summary"]));
    if own["description"].is_string() {
        let _ = write!(html, "<p>{}</p>", prose(&own["description"]));
    }
    html.push_str(&parameters(operation));
    for (media, body) in own["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(html, "<h4>Body, as {}</h4>", escape(media));
        html.push_str(&media_type(document, body));
    }
    for (status, response) in own["responses"].as_object().into_iter().flatten() {
        let response = resolve(document, response);
        let _ = write!(
            html,
            "<h4>{}: {}</h4>",
            escape(status),
            prose(&response["description"])
        );
        if let Some(body) = response["content"].get("application/json") {
            html.push_str(&media_type(document, body));
        }
    }
    html + "</article>"
}

fn parameters(operation: &Operation<'_>) -> String {
    let lists = [operation.shared, &operation.own["parameters"]];
    let all: Vec<&Value> = lists.into_iter().filter_map(Value::as_array).flatten().collect();
    if all.is_empty() {
        return String::new();
    }
    let mut html =
        "<table><thead><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr></thead><tbody>".to_owned();
    for one in all {
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
            text(&one["name"]),
            text(&one["in"]),
            match one.get("description") {
                Some(about) => prose(about),
                None => prose(&one["schema"]["description"]),
            },
        );
    }
    html + "</tbody></table>"
}

/// The fields of a body, folded, and an example.
fn media_type(document: &Value, body: &Value) -> String {
    let schema = resolve(document, &body["schema"]);
    let mut html = format!(
        "<details><summary>Fields</summary>{}</details>",
        schema_table(document, schema)
    );
    let example = body.get("example").or_else(|| schema["examples"].get(0));
    if let Some(example) = example {
        let _ = write!(html, "<pre>{}</pre>", escape(&format!("{example:#}")));
    }
    html
}
