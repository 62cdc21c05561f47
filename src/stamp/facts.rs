//! What a workload says to us, taken from its annotations and its pod template.

use std::collections::BTreeMap;

use super::{
    annotations::OBSERVED,
    observed::{Observed, ObservedError},
    pod::{Containers, PodTemplate},
    policy::Policy,
    settings::{PolicySettings, ReloadStrategy},
    source::{SourceName, Usage},
    stamp::Stamp,
    warning::Warning,
};

/// What a decision rests on, apart from the sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What its annotations ask for.
    pub policy: Policy,
    /// What its pod spec uses; empty if not opted in.
    pub usages: BTreeMap<SourceName, Usage>,
    /// Where Reloader's variables go; empty if not opted in, or if the stamp tells of changes.
    pub containers: Containers,
    /// The stamp on its pod template, whatever it says.
    pub stamp: Option<Box<str>>,
    /// Its memory, if there is one that can be read.
    pub observed: Option<Observed>,
    /// What is wrong with its annotations.
    pub warnings: Vec<Warning>,
}

impl Facts {
    /// Reads the annotations of a workload and its pod template, which carries `stamp`, as `settings` say.
    pub fn parse(
        annotations: &BTreeMap<String, String>,
        template: &PodTemplate,
        stamp: Option<&str>,
        settings: &PolicySettings,
    ) -> Self {
        let (policy, mut warnings) = Policy::parse(annotations, template.annotations(), settings);
        let opted_in = policy.opted_in();
        let mut facts = Self {
            stamp: stamp.map(Box::from),
            observed: None,
            usages: BTreeMap::new(),
            containers: Containers::default(),
            policy,
            warnings: Vec::new(),
        };
        if opted_in {
            facts.observed = observed(annotations, &mut warnings);
            warnings.extend(unreadable_stamp(stamp));
            let (mut usages, of_names) = template.usages();
            usages.retain(|source, _| !settings.ignored.contains(&source.kind));
            facts.usages = usages;
            if settings.strategy == ReloadStrategy::Variables {
                facts.containers = template.containers();
            }
            warnings.extend(of_names);
        }
        Self { warnings, ..facts }
    }
}

fn observed(
    annotations: &BTreeMap<String, String>,
    warnings: &mut Vec<Warning>,
) -> Option<Observed> {
    let parsed = Observed::parse(annotations.get(OBSERVED)?);
    let warning = |error: ObservedError| Warning::ObservedUnreadable {
        error: error.to_string(),
    };
    parsed.map_err(|error| warnings.push(warning(error))).ok()
}

fn unreadable_stamp(stamp: Option<&str>) -> Option<Warning> {
    let value = stamp.filter(|text| text.parse::<Stamp>().is_err())?;
    Some(Warning::StampUnreadable {
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::stamp::{
        annotations::{AUTO, STAMP},
        arbitrary::spoiled,
        manifest::Manifest,
    };

    /// Opted in, stamped and recorded.
    fn whole() -> Value {
        let observed = json!({ "v": 1, "ns": "shop", "key": "k", "stamp": "v1.k.d.1", "sources": {
            "Secret/db": { "digest": "0".repeat(32), "keys": ["password"] },
        } });
        json!({
            "metadata": { "annotations": { AUTO: "true", OBSERVED: observed } },
            "spec": { "template": {
                "metadata": { "annotations": { STAMP: "v1.k.d.1" } },
                "spec": { "containers": [{ "envFrom": [{ "secretRef": { "name": "db" } }] }] },
            }},
        })
    }

    /// The facts of an object whose memory is written out as JSON, if it is one that can be read.
    fn facts(mut object: Value) -> Option<Facts> {
        if let Some(observed) = object.pointer_mut("/metadata/annotations/restamp.dev~1observed") {
            *observed = json!(observed.to_string());
        }
        let text = object.to_string();
        let manifest = Manifest::parse(&text, &["spec", "template"]).ok()?;
        Some(manifest.facts(&manifest.own(), &PolicySettings::default()))
    }

    #[test]
    fn the_workload_of_the_property_is_one_that_can_be_read() {
        let facts = facts(whole()).unwrap();
        assert!(facts.policy.opted_in() && facts.observed.is_some() && !facts.usages.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_workload_there_is_no_panic(object in spoiled(whole())) {
            if let Some(facts) = facts(object) {
                prop_assert!(facts.policy.opted_in() || facts.usages.is_empty());
            }
        }
    }
}
