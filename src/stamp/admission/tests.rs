use serde_json::{Value, json};

use super::*;
use crate::stamp::{
    annotations::{AUTO, OBSERVED, SEARCH, STAMP},
    digest::{Encoding, InstallationKey, KEY_BYTES},
    source::SourceId,
};

mod properties;

const PATH: &[&str] = &["spec", "template"];

fn ring() -> Keyring {
    Keyring {
        current: InstallationKey::new(&[7; KEY_BYTES]).unwrap(),
        previous: None,
    }
}

fn secret(name: &str) -> SourceName {
    SourceName::new(SourceKind::Secret, name)
}

/// The live content of Secrets, by name.
type World<'a> = &'a [(&'a str, &'a str)];

fn read(sources: &[SourceName], world: World<'_>) -> Reads {
    let find = |name: &SourceName| {
        let (_, content) = world.iter().find(|(known, _)| *known == &*name.name)?;
        let id: SourceId = name.within("shop");
        let value = ("value", Encoding::Text, content.as_bytes());
        Some(Found {
            marks: Marks {
                ignored: *content == "ignored",
                matched: false,
            },
            digests: SourceDigests::of(&ring(), id, &[value]),
        })
    };
    sources
        .iter()
        .map(|name| (name.clone(), find(name)))
        .collect()
}

/// A workload whose pods take these Secrets.
fn workload(annotations: &Value, image: &str, secrets: &[&str]) -> Value {
    let env: Vec<_> = secrets
        .iter()
        .map(|name| json!({ "secretRef": { "name": name } }))
        .collect();
    json!({
        "metadata": { "name": "web", "annotations": annotations },
        "spec": { "replicas": 1, "template": {
            "metadata": { "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "app", "image": image, "envFrom": env }] },
        }},
    })
}

fn auto(image: &str) -> Value {
    workload(&json!({ AUTO: "true" }), image, &["db"])
}

/// Writes the object as the API server does: with what the verdict changes. Nothing live: no reads succeed.
fn admit(object: &Value, stored: Option<&Value>, world: Option<World<'_>>) -> (Value, Verdict) {
    admit_kind(true, object, stored, world)
}

fn admit_kind(
    may_stamp: bool,
    object: &Value,
    stored: Option<&Value>,
    world: Option<World<'_>>,
) -> (Value, Verdict) {
    let texts = (object.to_string(), stored.map(Value::to_string));
    let object_read = Manifest::parse(&texts.0, PATH).unwrap();
    let stored_read = texts
        .1
        .as_deref()
        .map(|text| Manifest::parse(text, PATH).unwrap());
    let admission = Admission {
        may_stamp,
        namespace: "shop",
        template_path: PATH,
        object: &object_read,
        stored: stored_read.as_ref(),
        settings: &PolicySettings::default(),
    };
    let verdict = match (admission.plan(), world) {
        (Plan::Answer(verdict), _) => verdict,
        (Plan::Read(fresh), None) => admission.unread(&fresh),
        (Plan::Read(fresh), Some(world)) => {
            admission.stamp(&fresh, &read(&fresh.sources, world), &ring())
        }
    };
    let mut written = object.clone();
    let patch = serde_json::to_value(&verdict.patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
    json_patch::patch(&mut written, &patch).expect("a patch that cannot fail");
    (prune(written), verdict)
}

/// As the API server stores it: maps that are left empty vanish.
fn prune(mut object: Value) -> Value {
    for parent in ["/metadata", "/spec/template/metadata"] {
        if let Some(Value::Object(metadata)) = object.pointer_mut(parent) {
            metadata.retain(|_, value| *value != json!({}));
        }
    }
    object
}

fn stamp(object: &Value) -> Option<Stamp> {
    let annotations = &object["spec"]["template"]["metadata"]["annotations"];
    annotations[STAMP]
        .as_str()
        .map(|text| text.parse().unwrap())
}

fn observed(object: &Value) -> Option<Observed> {
    let text = object["metadata"]["annotations"][OBSERVED].as_str()?;
    Some(Observed::parse(text).unwrap())
}

fn created(world: World<'_>) -> Value {
    admit(&auto("app:1"), None, Some(world)).0
}

const ONE: World<'static> = &[("db", "one")];
const TWO: World<'static> = &[("db", "two")];

#[test]
fn a_workload_is_created_with_a_stamp_and_a_memory_that_names_it() {
    let (object, verdict) = admit(&auto("app:1"), None, Some(ONE));
    assert_eq!(verdict.reason, Reason::Deployed);
    let stamp = stamp(&object).unwrap();
    assert_eq!(stamp.n, 1);
    let observed = observed(&object).unwrap();
    assert_eq!(observed.stamp.as_deref(), Some(&*stamp.to_string()));
    assert!(observed.entries().unwrap()[&secret("db")].digest.is_some());
}

#[test]
fn a_template_that_cannot_be_changed_later_is_left_alone() {
    for sent in [auto("app:1"), created(ONE)] {
        let (object, verdict) = admit_kind(false, &sent, None, Some(ONE));
        assert_eq!(verdict.reason, Reason::Deployed);
        assert_eq!(object["spec"], sent["spec"]);
        let observed = observed(&object).unwrap();
        let stamp = stamp(&sent).map(|stamp| stamp.to_string());
        assert_eq!(observed.stamp.as_deref(), stamp.as_deref());
        assert_eq!(verdict.warnings, []);
    }
}

#[test]
fn a_missing_source_is_recorded_as_absent_and_said() {
    let (object, verdict) = admit(&auto("app:1"), None, Some(&[]));
    let observed = observed(&object).unwrap();
    assert_eq!(observed.entries().unwrap()[&secret("db")].digest, None);
    let missing = Warning::SourceMissing {
        source: secret("db"),
    };
    assert_eq!(verdict.warnings, [missing]);
}

#[test]
fn a_source_that_says_ignore_is_left_out_and_a_searched_one_is_left_to_the_watcher() {
    let (object, verdict) = admit(&auto("app:1"), None, Some(&[("db", "ignored")]));
    assert_eq!((verdict.reason, stamp(&object)), (Reason::NoSources, None));
    let searching = workload(&json!({ SEARCH: "true" }), "app:1", &["db"]);
    let (object, verdict) = admit(&searching, None, Some(ONE));
    assert_eq!((verdict.reason, stamp(&object)), (Reason::NoSources, None));
}

#[test]
fn a_deploy_takes_the_live_content_and_the_next_number() {
    let stored = created(ONE);
    let (object, verdict) = admit(&auto("app:2"), Some(&stored), Some(TWO));
    assert_eq!(verdict.reason, Reason::Deployed);
    assert_eq!(stamp(&object).unwrap().n, 2);
    assert_ne!(
        observed(&object).unwrap().entries(),
        observed(&stored).unwrap().entries()
    );
    let (again, _) = admit(&auto("app:3"), Some(&object), Some(TWO));
    assert_eq!(
        stamp(&again),
        stamp(&object),
        "the same content keeps its stamp"
    );
}

#[test]
fn whoever_leaves_our_annotations_out_changes_nothing() {
    let stored = created(ONE);
    let put = auto("app:1");
    let mut scaled = put.clone();
    scaled["spec"]["replicas"] = json!(3);
    let opted_out = workload(&json!({}), "app:1", &["db"]);
    let mut bare = opted_out.clone();
    bare["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    for sent in [put, scaled, opted_out, bare] {
        let (object, verdict) = admit(&sent, Some(&stored), Some(TWO));
        assert_eq!(verdict.reason, Reason::CarriedOver);
        assert_eq!(object["spec"]["template"], stored["spec"]["template"]);
        assert_eq!(observed(&object), observed(&stored));
        assert_eq!(verdict.warnings, []);
    }
}

#[test]
fn a_stamp_that_alone_was_altered_is_put_back_and_that_is_said() {
    let first = created(ONE);
    let (second, _) = admit(&auto("app:2"), Some(&first), Some(TWO));
    let mut undone = second.clone();
    undone["spec"]["template"]["metadata"]["annotations"][STAMP] =
        json!(stamp(&first).unwrap().to_string());
    undone["metadata"]["annotations"][OBSERVED] =
        first["metadata"]["annotations"][OBSERVED].clone();
    let (object, verdict) = admit(&undone, Some(&second), Some(TWO));
    assert_eq!(object, second);
    assert_eq!(verdict.warnings, [Warning::StampPutBack]);
}

#[test]
fn a_stamp_that_nobody_had_stored_is_taken_away() {
    let mut sent = auto("app:1");
    sent["spec"]["template"]["metadata"]["annotations"] = json!({ STAMP: "v9.of.the.future" });
    let stored = auto("app:1");
    let (object, verdict) = admit(&sent, Some(&stored), Some(ONE));
    assert_eq!(object, stored);
    assert_eq!(verdict.warnings, [Warning::StampPutBack]);
}

#[test]
fn a_manifest_that_brings_a_stamp_gets_its_own() {
    let current = created(ONE);
    let (restored, verdict) = admit(&current, None, Some(ONE));
    assert_eq!(restored, current, "the same content, so the same stamp");
    assert_eq!(verdict.warnings, []);
    let (restored, verdict) = admit(&current, None, Some(TWO));
    assert_eq!(stamp(&restored).unwrap().n, 2);
    assert_eq!(verdict.warnings, [Warning::StampSent]);
    let (deployed, verdict) = admit(&restored, Some(&auto("app:0")), Some(ONE));
    assert_eq!(stamp(&deployed).unwrap().n, 1);
    assert_eq!(verdict.warnings, [Warning::StampSent]);
    for foreign in [
        "v9.of.the.future",
        "v1.abcdef01.00112233445566778899aabbccddeeff.41",
    ] {
        let mut sent = current.clone();
        sent["spec"]["template"]["metadata"]["annotations"][STAMP] = json!(foreign);
        let (object, verdict) = admit(&sent, None, Some(ONE));
        assert_eq!(
            stamp(&object).unwrap().digest,
            stamp(&current).unwrap().digest
        );
        assert_eq!(verdict.warnings.len(), 1, "{:?}", verdict.warnings);
        let stored = created(TWO);
        let (object, verdict) = admit(&sent, Some(&auto("app:0")), Some(ONE));
        assert_eq!(stamp(&object).unwrap().n, 1, "nothing was stored");
        assert_eq!(verdict.warnings, [Warning::StampSent]);
        sent["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:2");
        let (object, verdict) = admit(&sent, Some(&stored), Some(ONE));
        assert_eq!(stamp(&object).unwrap().n, 2);
        assert_eq!(verdict.warnings, [Warning::StampSent]);
    }
}

#[test]
fn what_cannot_be_read_in_time_stays_as_it_was() {
    let (object, verdict) = admit(&auto("app:1"), None, None);
    assert_eq!(
        (verdict.reason, &object),
        (Reason::Unreadable, &auto("app:1"))
    );
    let stored = created(ONE);
    let (object, verdict) = admit(&auto("app:2"), Some(&stored), None);
    assert_eq!(verdict.reason, Reason::Unreadable);
    assert_eq!(
        (stamp(&object), observed(&object)),
        (stamp(&stored), observed(&stored))
    );
}

#[test]
fn what_a_manifest_brings_is_no_evidence_of_pods_that_are_yet_to_start() {
    let exported = created(ONE);
    let mut not_asked = exported.clone();
    not_asked["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(AUTO);
    for (sent, reason) in [
        (&exported, Reason::Unreadable),
        (&not_asked, Reason::CarriedOver),
    ] {
        let (object, verdict) = admit(sent, None, None);
        assert_eq!((stamp(&object), observed(&object)), (None, None));
        assert_eq!(verdict.warnings, [Warning::StampSent]);
        assert_eq!(verdict.reason, reason);
    }
    let mut next = auto("app:2");
    next["spec"]["template"]["metadata"]["annotations"] =
        json!({ STAMP: "v1.abcdef01.00112233445566778899aabbccddeeff.41" });
    let (object, verdict) = admit(&next, Some(&exported), None);
    assert_eq!(stamp(&object), stamp(&exported));
    assert_eq!(verdict.warnings, [Warning::StampSent]);
}

#[test]
fn a_workload_that_did_not_ask_is_left_alone() {
    let plain = workload(&json!({}), "app:1", &["db"]);
    let (object, verdict) = admit(&plain, None, Some(ONE));
    assert_eq!((verdict.reason, object), (Reason::NotOptedIn, prune(plain)));
    let wrong = workload(&json!({ AUTO: "yes" }), "app:1", &["db"]);
    let (_, verdict) = admit(&wrong, None, Some(ONE));
    assert!(matches!(
        verdict.warnings[..],
        [Warning::NotABoolean { .. }]
    ));
}

#[test]
fn annotations_never_grow_beyond_what_the_api_server_takes() {
    let full = |more: usize| {
        let filler = "x".repeat(MAX_ANNOTATION_BYTES - AUTO.len() - "true".len() - 1 - more);
        workload(&json!({ AUTO: "true", "f": filler }), "app:1", &["db"])
    };
    let (object, verdict) = admit(&full(0), None, Some(ONE));
    assert_eq!((verdict.reason, object), (Reason::NoRoom, full(0)));
    assert!(matches!(verdict.warnings[..], [Warning::NoRoom { .. }]));
    let (object, verdict) = admit(&full(1000), None, Some(ONE));
    assert_eq!((verdict.reason, object), (Reason::NoRoom, full(1000)));
    let reserve = ANNOTATION_RESERVE_BYTES + 1000;
    let (object, verdict) = admit(&full(reserve), None, Some(ONE));
    assert_eq!(verdict.reason, Reason::Deployed);
    assert!(stamp(&object).is_some());

    let (object, verdict) = admit(&full(0), Some(&created(ONE)), Some(ONE));
    assert_eq!(verdict.reason, Reason::NoRoom);
    assert_eq!(
        stamp(&object),
        stamp(&created(ONE)),
        "at least nothing rolls"
    );
}

#[test]
fn a_template_without_any_metadata_can_be_stamped() {
    for metadata in [json!(null), json!({}), json!({ "annotations": null })] {
        let mut sent = auto("app:1");
        sent["spec"]["template"]["metadata"] = metadata;
        assert!(stamp(&admit(&sent, None, Some(ONE)).0).is_some());
        sent["spec"]["template"]
            .as_object_mut()
            .unwrap()
            .remove("metadata");
        assert!(stamp(&admit(&sent, None, Some(ONE)).0).is_some());
    }
    let (object, _) = admit(&json!({ "metadata": {} }), None, Some(ONE));
    assert_eq!(object, json!({ "metadata": {} }));
}
