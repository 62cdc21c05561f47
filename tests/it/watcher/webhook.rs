//! The other writer of stamps, as far as the watcher's conversations need it.

use std::collections::{BTreeMap, BTreeSet};

use restamp::{
    cluster::{
        key,
        source::{self, Content},
        workload::{KINDS, Workload},
    },
    stamp::{
        decide::{Case, Decision, Live, decide},
        patch::{Annotations, merge_patch},
        policy::Marks,
        references::{Catalog, resolve},
        source::{SourceKind, SourceName},
    },
};
use serde_json::Value;

use super::world::{HOME, SHOP};
use crate::fake_api::{FakeApi, merge};

struct OnlyLiteral;

impl Catalog for OnlyLiteral {
    fn marks(&self, _: &SourceName) -> Option<Marks> {
        None
    }

    fn names(&self, _: SourceKind) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::empty())
    }
}

/// Writes into a Deployment what the live content of its sources asks for.
pub async fn stamp_as_webhook(api: &FakeApi, object: &mut Value) {
    let client = api.client();
    let keyring = key::read(&client, HOME).await.unwrap();
    let parsed = serde_json::from_value(object.clone()).unwrap();
    let facts = Workload::parse(&KINDS[0], &parsed).unwrap().facts;
    let recorded = facts
        .observed
        .as_ref()
        .and_then(|observed| observed.entries());
    let references = resolve(&facts.policy, &facts.usages, &OnlyLiteral, recorded);
    let mut contents = BTreeMap::new();
    for name in references.keys() {
        let content = source::read(&client, &name.within(SHOP), &keyring).await;
        contents.insert(name, content.unwrap());
    }
    let live = |name: &SourceName| match &contents[name] {
        Content::Absent => Live::Absent,
        Content::Present { digests, .. } => Live::Present(digests),
    };
    let decision = decide(&Case {
        namespace: SHOP,
        stamp: facts.stamp.as_deref(),
        observed: facts.observed.as_ref(),
        references: &references,
        live: &live,
        arrived: &BTreeSet::new(),
        keyring: &keyring,
    });
    let (stamp, observed) = match decision {
        Decision::Leave(_) => return,
        Decision::Record { observed, .. } => (None, observed),
        Decision::Restamp {
            stamp, observed, ..
        } => (Some(stamp.to_string()), observed),
    };
    let observed = observed.to_annotation(&keyring.current).text;
    let version = object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    let patch = merge_patch(KINDS[0].template, version, &Annotations { stamp, observed });
    merge(object, &patch);
}
