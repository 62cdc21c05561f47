//! What a workload says to us, taken from its annotations and its pod template.

use std::collections::BTreeMap;

use super::{
    annotations::OBSERVED,
    observed::{Observed, ObservedError},
    pod::PodTemplate,
    policy::Policy,
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
    /// The stamp on its pod template, whatever it says.
    pub stamp: Option<Box<str>>,
    /// Its memory, if there is one that can be read.
    pub observed: Option<Observed>,
    /// What is wrong with its annotations.
    pub warnings: Vec<Warning>,
}

impl Facts {
    /// Reads the annotations of a workload and its pod template, which carries `stamp`.
    pub fn parse(
        annotations: &BTreeMap<String, String>,
        template: &PodTemplate,
        stamp: Option<&str>,
    ) -> Self {
        let (policy, mut warnings) = Policy::parse(annotations, template.annotations());
        let opted_in = policy.opted_in();
        let mut facts = Self {
            stamp: stamp.map(Box::from),
            observed: None,
            usages: BTreeMap::new(),
            policy,
            warnings: Vec::new(),
        };
        if opted_in {
            facts.observed = observed(annotations, &mut warnings);
            warnings.extend(unreadable_stamp(stamp));
            let (usages, of_names) = template.usages();
            facts.usages = usages;
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
