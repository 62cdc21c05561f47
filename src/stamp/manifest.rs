//! A workload as JSON, as somebody writes it or as it is stored: what of it is ours to look at.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    annotations::{OBSERVED, STAMP},
    facts::Facts,
    patch::Own,
    pod::{ObjectMeta, PodTemplate},
    settings::PolicySettings,
};

/// A workload's JSON, read no further than needed.
#[derive(Debug)]
pub struct Manifest<'a> {
    metadata: Option<ObjectMeta>,
    template: Option<Template<'a>>,
}

#[derive(Debug)]
struct Template<'a> {
    json: &'a str,
    pod: PodTemplate,
}

#[derive(Deserialize)]
struct WithMetadata {
    metadata: Option<ObjectMeta>,
}

type Fields<'a> = BTreeMap<String, &'a RawValue>;

impl<'a> Manifest<'a> {
    /// Reads an object whose pod template is at `template_path`. One without a template is one too.
    ///
    /// # Errors
    /// When the JSON is not that of a workload.
    pub fn parse(json: &'a str, template_path: &[&str]) -> serde_json::Result<Self> {
        let mut template = Some(json);
        for field in template_path {
            template = match template {
                Some(json) => member(json, field)?,
                None => None,
            };
        }
        let template = template.map(Template::parse).transpose()?;
        let WithMetadata { metadata } = serde_json::from_str(json)?;
        Ok(Self { metadata, template })
    }

    /// The metadata; nothing if there is none.
    pub fn metadata(&self) -> Option<&ObjectMeta> {
        self.metadata.as_ref()
    }

    /// The metadata of the pod template, if it has any; nothing if there is no template.
    pub fn template_metadata(&self) -> Option<Option<&ObjectMeta>> {
        self.template
            .as_ref()
            .map(|template| template.pod.metadata.as_ref())
    }

    /// Our annotations on it.
    pub fn own(&self) -> Own {
        let template = self.template_metadata().flatten();
        Own {
            stamp: annotation(template, STAMP).cloned(),
            observed: annotation(self.metadata(), OBSERVED).cloned(),
        }
    }

    /// What it says, were our annotations `own`.
    pub fn facts(&self, own: &Own, settings: &PolicySettings) -> Facts {
        let mut annotations = self
            .metadata()
            .and_then(|metadata| metadata.annotations.clone())
            .unwrap_or_default();
        annotations.remove(OBSERVED);
        annotations.extend(own.observed.clone().map(|text| (OBSERVED.to_owned(), text)));
        let none = PodTemplate::default();
        let template = self
            .template
            .as_ref()
            .map_or(&none, |template| &template.pod);
        Facts::parse(&annotations, template, own.stamp.as_deref(), settings)
    }

    /// Whether its pods start anew when it takes the place of `stored`: the template differs in more than
    /// our stamp.
    pub fn rolls_out(&self, stored: &Manifest<'_>) -> bool {
        let ours = self.template.as_ref().map(|template| template.json);
        let theirs = stored.template.as_ref().map(|template| template.json);
        ours != theirs && ours.map(without_stamp) != theirs.map(without_stamp)
    }
}

impl<'a> Template<'a> {
    fn parse(json: &'a str) -> serde_json::Result<Self> {
        let pod = serde_json::from_str(json)?;
        Ok(Self { json, pod })
    }
}

fn annotation<'a>(metadata: Option<&'a ObjectMeta>, key: &str) -> Option<&'a String> {
    metadata?.annotations.as_ref()?.get(key)
}

fn member<'a>(json: &'a str, field: &str) -> serde_json::Result<Option<&'a str>> {
    let fields: Fields<'a> = serde_json::from_str(json)?;
    let value = fields.get(field).map(|value| value.get());
    Ok(value.filter(|value| *value != "null"))
}

/// The template without our stamp, and without what is left empty by that.
fn without_stamp(json: &str) -> Option<Value> {
    let mut template: Value = serde_json::from_str(json).ok()?;
    for (parent, child) in [
        ("/metadata/annotations", STAMP),
        ("/metadata", "annotations"),
        ("", "metadata"),
    ] {
        if let Some(Value::Object(fields)) = template.pointer_mut(parent) {
            let is_empty = |value: &Value| {
                value.is_null() || value.as_object().is_some_and(|fields| fields.is_empty())
            };
            if child == STAMP || fields.get(child).is_some_and(is_empty) {
                fields.remove(child);
            }
        }
    }
    Some(template)
}
