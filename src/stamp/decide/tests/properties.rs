//! What holds of any workload, history and world.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::stamp::arbitrary::spoiled;

fn worlds() -> impl Strategy<Value = World> {
    let source = prop_oneof![
        1 => Just(None),
        6 => prop::collection::btree_map("[ab]", "[xy]", 0..3).prop_map(Some),
    ];
    prop::collection::btree_map("[abc]".prop_map(|name| secret(&name)), source, 0..4)
        .prop_map(|sources| World { sources })
}

fn references() -> impl Strategy<Value = References> {
    let keys = prop_oneof![
        Just(Keys::All),
        prop::collection::btree_set("[ab]".prop_map(Box::<str>::from), 1..3).prop_map(Keys::Only),
    ];
    let reference = (keys, any::<bool>()).prop_map(|(keys, literal)| Reference {
        literal,
        ..reference(keys)
    });
    prop::collection::btree_map("[abc]".prop_map(|name| secret(&name)), reference, 0..4)
}

fn stamps() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        Just(None),
        any::<String>().prop_map(Some),
        (0..3u8, any::<[u8; 16]>(), any::<u64>()).prop_map(|(seed, bytes, n)| {
            let digest: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("v1.{}.{digest}.{n}", key(seed).id()))
        }),
    ]
}

/// What may have happened to a workload since it was decided for the first time.
#[derive(Clone, Debug)]
struct Past {
    /// The stamp that somebody put there instead.
    moved: Option<Option<String>>,
    folded: bool,
    rotated: bool,
}

fn pasts() -> impl Strategy<Value = Past> {
    let moved = prop::option::of(stamps());
    (moved, any::<bool>(), any::<bool>()).prop_map(|(moved, folded, rotated)| Past {
        moved,
        folded,
        rotated,
    })
}

impl Past {
    fn apply(self, stored: &mut Stored) {
        if let Some(stamp) = self.moved {
            stored.stamp = stamp;
        }
        if let Some(observed) = stored.observed.as_mut().filter(|_| self.folded) {
            let entries = observed.entries().cloned().unwrap_or_default();
            observed.recorded = Recorded::Folded(fold(&key(1), "shop", &entries));
        }
    }
}

fn names() -> impl Strategy<Value = BTreeSet<SourceName>> {
    prop::collection::btree_set("[abc]".prop_map(|name| secret(&name)), 0..4)
}

/// Any text, or an `observed` with parts that do not belong there.
fn records() -> impl Strategy<Value = String> {
    let entry = json!({ "digest": "0".repeat(32), "keys": ["a"] });
    let valid = json!({
        "v": 1, "ns": "shop", "key": key(1).id().as_str(), "stamp": "v1.k.d.1",
        "sources": { "Secret/a": entry, "Secret/b": { "digest": null } },
    });
    prop_oneof![
        1 => any::<String>(),
        4 => spoiled(valid).prop_map(|value| value.to_string()),
    ]
}

proptest! {
    /// Whatever is stored, the first decision's patch leaves nothing to decide.
    #[test]
    fn deciding_is_idempotent(
        uses in references(),
        before in worlds(),
        earlier in references(),
        world in worlds(),
        past in pasts(),
        arrived in names(),
    ) {
        let mut stored = Stored::default();
        let first = ring(1, None);
        stored.apply(&setting(&earlier, &first).decide(&stored, &before));
        let keyring = if past.rotated { ring(2, Some(1)) } else { first };
        past.apply(&mut stored);
        let rule = Setting { arrived, ..setting(&uses, &keyring) };
        stored.apply(&rule.decide(&stored, &world));
        let again = rule.decide(&stored, &world);
        prop_assert!(matches!(again, Decision::Leave(_)), "{:?}", again);
    }

    /// Nor does it matter what was written there by hand.
    #[test]
    fn whatever_is_recorded_comes_to_rest(
        uses in references(),
        world in worlds(),
        moved in prop::option::of(stamps()),
        record in records(),
        arrived in names(),
    ) {
        let keyring = ring(1, None);
        let observed = Observed::parse(&record).ok();
        let recorded = observed.as_ref().and_then(|observed| observed.stamp.as_deref());
        let stamp = moved.unwrap_or_else(|| recorded.map(str::to_owned));
        let mut stored = Stored { stamp, observed };
        let rule = Setting { arrived, ..setting(&uses, &keyring) };
        stored.apply(&rule.decide(&stored, &world));
        let again = rule.decide(&stored, &world);
        prop_assert!(matches!(again, Decision::Leave(_)), "{:?}", again);
    }

    /// P2: whatever else differs, the same content does not restamp a template that nobody moved.
    #[test]
    fn the_same_content_never_restamps(
        uses in references(),
        earlier in references(),
        world in worlds(),
        rotated in any::<bool>(),
    ) {
        let mut stored = Stored::default();
        let first = ring(1, None);
        stored.apply(&setting(&earlier, &first).decide(&stored, &world));
        let keyring = if rotated { ring(2, Some(1)) } else { first };
        let decision = setting(&uses, &keyring).decide(&stored, &world);
        prop_assert!(!matches!(decision, Decision::Restamp { .. }), "{:?}", decision);
    }

    /// P1: with a record, a readable difference in what is used always restamps.
    #[test]
    fn a_recorded_difference_always_restamps(uses in references(), before in worlds(), after in worlds()) {
        let keyring = ring(1, None);
        let rule = setting(&uses, &keyring);
        let mut stored = Stored::default();
        stored.apply(&rule.decide(&stored, &before));
        let seen = |world: &World, name: &SourceName, keys: &Keys| -> Option<Vec<Option<String>>> {
            let content = world.sources.get(name)?.as_ref()?;
            Some(match keys {
                Keys::All => content.iter().map(|(key, value)| Some(format!("{key}={value}"))).collect(),
                Keys::Only(keys) => keys.iter().map(|key| content.get(&**key).cloned()).collect(),
            })
        };
        let differs = uses.iter().any(|(name, reference)| {
            let keys = &reference.usage.keys;
            let (before, after) = (seen(&before, name, keys), seen(&after, name, keys));
            before.is_some() && after.is_some() && before != after
        });
        let restamps = matches!(rule.decide(&stored, &after), Decision::Restamp { .. });
        prop_assert!(restamps || !differs);
    }
}
