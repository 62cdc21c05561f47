//! What the Helm chart is made of: `charts/restamp/schema.yaml` has every value once, and the rest follows from it.
//! With `UPDATE` in the environment, the files are written. tests/chart has what Helm makes of them.

use std::{env, fs};

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::{
    manifests::documents,
    repository::{path, read},
};

const CHART: &str = "charts/restamp";
const MADE: &str = "UPDATE=1 cargo test --test it chart";

/// A place in the tree of values.
struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    /// What is in it; nothing for a value.
    fn children(&self) -> Option<impl Iterator<Item = (&'a str, Node<'a>)>> {
        let own = self.0["inherits"] == true;
        let properties = self.0.get("properties")?.as_object()?;
        let shown = properties
            .iter()
            .filter(move |(name, _)| !own || *name == "replicas");
        Some(shown.map(|(name, node)| (name.as_str(), Node(node))))
    }

    fn description(&self) -> &'a str {
        self.0["description"]
            .as_str()
            .expect("everything is described")
    }

    fn default(&self) -> &'a Value {
        self.0.get("default").expect("every value has a default")
    }

    /// What it means, or why it does not.
    fn meaning(&self) -> String {
        match self.0["withoutEffect"].as_str() {
            Some(why) => format!("{} *No effect: {why}.*", self.description()),
            None => self.description().to_owned(),
        }
    }
}

fn schema() -> Value {
    documents(&format!("{CHART}/schema.yaml")).remove(0)
}

/// Compares a file with what it has to be, or writes it.
fn is_made(file: &str, expected: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::write(path(file), expected).unwrap();
    }
    assert!(
        read(file) == expected,
        "{file} is not what {CHART}/schema.yaml says: {MADE}"
    );
}

#[test]
fn the_default_values_are_those_of_the_schema() {
    let mut text = format!("# Made from schema.yaml: {MADE}\n");
    write_values(&mut text, &Node(&schema()), "");
    is_made(&format!("{CHART}/values.yaml"), &text);
}

fn write_values(text: &mut String, node: &Node<'_>, indent: &str) {
    for (name, child) in node.children().into_iter().flatten() {
        *text += &format!("{indent}# {}\n", child.meaning());
        if child.children().is_some() {
            *text += &format!("{indent}{name}:\n");
            write_values(text, &child, &format!("{indent}  "));
        } else {
            *text += &format!("{indent}{name}: {}\n", child.default());
        }
    }
}

/// What YAML writers leave empty is null, which Helm takes for "not set"; so it is never of the wrong type.
#[test]
fn the_schema_that_helm_checks_is_the_same() {
    let mut schema = json!({ "$schema": "http://json-schema.org/draft-07/schema#" });
    let checked = nullable(&schema_only(&self::schema()));
    let all = schema.as_object_mut().unwrap();
    all.extend(checked.as_object().unwrap().clone());
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    is_made(&format!("{CHART}/values.schema.json"), &text);
}

/// Without our own words. Unknown names are for the chart to refuse, since it can say which was meant.
fn schema_only(node: &Value) -> Value {
    let ours = ["withoutEffect", "inherits", "additionalProperties"];
    let mut left = node.as_object().unwrap().clone();
    left.retain(|name, _| !ours.contains(&name.as_str()));
    if let Some(properties) = left.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            *property = nullable(&schema_only(property));
        }
    }
    left.into()
}

fn nullable(node: &Value) -> Value {
    let mut node = node.clone();
    let types = match &node["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    if !types.contains(&json!("null")) {
        node["type"] = types.into_iter().chain([json!("null")]).collect();
    }
    if let Some(allowed) = node.get_mut("enum").and_then(Value::as_array_mut) {
        allowed.push(Value::Null);
    }
    node
}

#[test]
fn the_read_me_describes_every_value() {
    let file = format!("{CHART}/README.md");
    let text = read(&file);
    let (introduction, _) = text.split_once("## Values\n").unwrap();
    let mut text = format!("{introduction}## Values\n\nMade from `schema.yaml`.\n");
    let schema = schema();
    let mut single = String::new();
    for (name, node) in Node(&schema).children().unwrap() {
        if node.children().is_none() {
            write_rows(&mut single, &node, name);
            continue;
        }
        text += &format!("\n### `{name}`\n\n{}\n\n{HEAD}", node.description());
        write_rows(&mut text, &node, name);
    }
    text += &format!("\n### Others\n\n{HEAD}{single}");
    is_made(&file, &text);
}

const HEAD: &str = "| value | default | meaning |\n|---|---|---|\n";

fn write_rows(text: &mut String, node: &Node<'_>, path: &str) {
    let Some(children) = node.children() else {
        let default = node.default();
        let meaning = node.meaning().replace('|', "\\|");
        *text += &format!("| `{path}` | `{default}` | {meaning} |\n");
        return;
    };
    for (name, child) in children {
        let path = format!("{path}.{name}");
        if child.children().is_some() {
            *text += &format!("| `{path}` | | {} |\n", child.description());
        }
        write_rows(text, &child, &path);
    }
}

#[test]
fn the_chart_is_of_this_version_and_of_the_image_that_is_built() {
    let chart = documents(&format!("{CHART}/Chart.yaml")).remove(0);
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = chart["annotations"]["artifacthub.io/images"].as_str();
    let images: Value = serde_saphyr::from_str(images.unwrap()).unwrap();
    let built = read("Makefile");
    let built = built
        .lines()
        .find_map(|line| line.strip_prefix("IMAGE := "));
    assert_eq!(images[0]["image"].as_str(), built);
}

/// An alert or a panel about a metric that there is not would stay silent for ever.
#[test]
fn alerts_and_dashboard_are_about_metrics_that_there_are() {
    let described = read("docs/metrics.md");
    let metric = Regex::new(r"\b(?:restamp|reloader|rest_client|apiserver)_[a-z_]+").unwrap();
    for file in ["templates/prometheus-rule.yaml", "files/dashboard.json"] {
        let text = read(&format!("{CHART}/{file}"));
        let named: Vec<_> = metric.find_iter(&text).map(|it| it.as_str()).collect();
        assert!(!named.is_empty(), "{file}");
        for name in named {
            let name = name.trim_end_matches("_bucket");
            assert!(described.contains(name), "{file}: there is no {name}");
        }
    }
}

/// Where the documents say what is worth an alert, the chart has one.
#[test]
fn what_is_worth_an_alert_has_one() {
    let rules = read(&format!("{CHART}/templates/prometheus-rule.yaml"));
    let text = read("docs/metrics.md");
    let (_, table) = text.split_once("## Worth an alert").unwrap();
    let (table, _) = table.split_once("## Events").unwrap();
    let metric = Regex::new(r"^\| `[^|`]*?((?:restamp|apiserver)_[a-z_]+)").unwrap();
    let worth: Vec<_> = table
        .lines()
        .filter_map(|line| Some(metric.captures(line)?[1].to_owned()))
        .collect();
    assert!(worth.len() > 5, "{worth:?}");
    for name in worth {
        assert!(rules.contains(&name), "no alert is about {name}");
    }
}

/// A pod is scraped twice where there are two monitors, which nobody may take for two pods.
#[test]
fn no_gauge_is_summed_over_scrapes() {
    let described = read("docs/metrics.md");
    let row = Regex::new(r"(?m)^\| `([a-z_]+)` \| gauge \|").unwrap();
    let gauges: Vec<_> = row
        .captures_iter(&described)
        .map(|it| it[1].to_owned())
        .collect();
    assert!(gauges.contains(&"restamp_leader".to_owned()), "{gauges:?}");
    let gauges = gauges.join("|");
    let sum = Regex::new(&format!(r"sum *(by *\([^)]*\) *)?\((?:{gauges})\b")).unwrap();
    assert!(sum.is_match("sum by (pod) (restamp_leader)"));
    for file in [
        "charts/restamp/templates/prometheus-rule.yaml",
        "charts/restamp/files/dashboard.json",
        "docs/metrics.md",
    ] {
        let found = sum.find(&read(file)).map(|it| it.as_str().to_owned());
        assert_eq!(found, None, "{file}");
    }
}

/// The words of a schema that Helm checks, and our own. Of any other, nobody would notice that it means nothing.
const WORDS: [&str; 12] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "inherits",
    "items",
    "maxItems",
    "minimum",
    "pattern",
    "properties",
    "type",
    "withoutEffect",
];

/// The tree of the chart, as a map, so that two of them can be compared.
#[test]
fn every_value_is_described_and_has_a_default_of_its_type() {
    fn look(node: &Value, path: &str) {
        let described = node["description"].as_str();
        assert!(
            path.is_empty() || described.is_some_and(|it| !it.is_empty()),
            "{path}"
        );
        for word in node.as_object().unwrap().keys() {
            assert!(WORDS.contains(&word.as_str()), "{path}: what is {word}?");
        }
        let none = Map::new();
        let properties = node["properties"].as_object().unwrap_or(&none);
        for (name, child) in properties {
            look(child, &format!("{path}.{name}"));
        }
        let default = &node["default"];
        if properties.is_empty() && !default.is_null() {
            let types = match &node["type"] {
                Value::Array(types) => types.clone(),
                one => vec![one.clone()],
            };
            let is = match default {
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                _ => "object",
            };
            assert!(
                types.contains(&json!(is)),
                "{path}: {default} is no {types:?}"
            );
        }
    }
    look(&schema(), "");
}
