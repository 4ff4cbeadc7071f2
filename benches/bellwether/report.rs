//! Figures, the table, the JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::machine;
use super::options::Part;
use super::stats;

/// The bar that a figure must reach.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// A measured quantity, with one value a run.
#[derive(Debug, Clone)]
pub struct Figure {
    name: String,
    unit: &'static str,
    values: Vec<f64>,
    bar: Option<Bar>,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            values,
            bar: None,
        }
    }

    pub fn at_least(mut self, bar: f64) -> Self {
        self.bar = Some(Bar::AtLeast(bar));
        self
    }

    pub fn at_most(mut self, bar: f64) -> Self {
        self.bar = Some(Bar::AtMost(bar));
        self
    }

    /// True if the median reaches the bar.
    fn verdict(&self) -> Option<bool> {
        let median = stats::median(&self.values);
        self.bar.map(|bar| match bar {
            Bar::AtLeast(least) => median >= least,
            Bar::AtMost(most) => median <= most,
        })
    }

    fn bar_text(&self) -> String {
        let reached = match self.verdict() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => return String::new(),
        };
        match self.bar {
            Some(Bar::AtLeast(least)) => format!(">= {} {reached}", number(least)),
            Some(Bar::AtMost(most)) => format!("<= {} {reached}", number(most)),
            None => String::new(),
        }
    }
}

/// Lists one value of each run.
pub fn across<R>(runs: &[R], of: impl Fn(&R) -> f64) -> Vec<f64> {
    runs.iter().map(of).collect()
}

/// All figures of one call.
#[derive(Debug)]
pub struct Report {
    machine: Value,
    parts: Vec<(Part, Vec<Figure>)>,
}

impl Report {
    pub fn begin() -> Self {
        let mut machine = machine::describe();
        machine["load_before"] = json!(machine::load());
        Self {
            machine,
            parts: Vec::new(),
        }
    }

    pub fn add(&mut self, part: Part, figures: Vec<Figure>) {
        self.parts.push((part, figures));
    }

    pub fn finish(&mut self) {
        self.machine["load_after"] = json!(machine::load());
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\n{}", machine::sentence(&self.machine));
        for (part, figures) in &self.parts {
            let _ = writeln!(
                out,
                "\n{:<56} {:>11} {:>11} {:>11}",
                part.title(),
                "min",
                "median",
                "max"
            );
            for figure in figures {
                let name = format!("  {} [{}]", figure.name, figure.unit);
                let _ = writeln!(
                    out,
                    "{name:<56} {:>11} {:>11} {:>11}  {}",
                    number(stats::min(&figure.values)),
                    number(stats::median(&figure.values)),
                    number(stats::max(&figure.values)),
                    figure.bar_text()
                );
            }
        }
        out
    }

    pub fn json(&self) -> String {
        let parts: serde_json::Map<String, Value> = self
            .parts
            .iter()
            .map(|(part, figures)| {
                let figures: Vec<Value> = figures.iter().map(figure_json).collect();
                (part.name().to_owned(), Value::Array(figures))
            })
            .collect();
        let report = json!({"machine": self.machine, "parts": parts});
        format!("{report:#}\n")
    }
}

fn figure_json(figure: &Figure) -> Value {
    let mut value = json!({
        "name": figure.name, "unit": figure.unit, "runs": figure.values,
        "min": stats::min(&figure.values), "median": stats::median(&figure.values), "max": stats::max(&figure.values),
    });
    match figure.bar {
        Some(Bar::AtLeast(least)) => value["at_least"] = json!(least),
        Some(Bar::AtMost(most)) => value["at_most"] = json!(most),
        None => {}
    }
    if let Some(reached) = figure.verdict() {
        value["reached"] = json!(reached);
    }
    value
}

/// Writes a number with about three significant digits, thousands apart.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
        return match text.strip_suffix(".00") {
            Some(whole) => whole.to_owned(),
            None => text,
        };
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
