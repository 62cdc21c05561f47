//! What holds whatever is written over whatever is stored.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn any_workload() -> impl Strategy<Value = Value> {
    let annotations = prop::collection::btree_map(
        prop::sample::select(vec![
            AUTO,
            SEARCH,
            STAMP,
            OBSERVED,
            "secret.reloader.stakater.com/reload",
            "other",
        ]),
        prop::sample::select(vec![
            "true",
            "db",
            "d.*",
            "v1.abcdef01.00112233445566778899aabbccddeeff.3",
            "{}",
            "",
        ]),
        0..4,
    );
    let secrets = prop::collection::vec(prop::sample::select(vec!["db", "mail", "none"]), 0..3);
    (annotations.clone(), annotations, 0..3, secrets).prop_map(
        |(own, templates, image, secrets)| {
            let mut object = workload(&json!(own), &format!("app:{image}"), &secrets);
            object["spec"]["template"]["metadata"]["annotations"] = json!(templates);
            prune(object)
        },
    )
}

proptest! {
    /// The API server may ask again with what was answered, and a dry run asks before.
    #[test]
    fn asked_again_with_the_answer_nothing_more_is_changed(
        sent in any_workload(),
        stored in prop::option::of(any_workload()),
        reads in any::<bool>(),
    ) {
        let world = reads.then_some(ONE);
        let (object, _) = admit(&sent, stored.as_ref(), world);
        let (again, verdict) = admit(&object, stored.as_ref(), world);
        prop_assert_eq!(again, object);
        prop_assert_eq!(verdict.patch, []);
    }

    /// P4: a template that differs in nothing but our stamp is left as it is stored.
    #[test]
    fn nothing_rolls_that_would_not_roll_without_us(
        stored in any_workload(),
        stamp in prop::option::of("[a-z0-9.]{0,20}"),
        own in any_workload(),
    ) {
        let mut sent = stored.clone();
        sent["metadata"] = own["metadata"].clone();
        let template = sent["spec"]["template"]["metadata"].as_object_mut().unwrap();
        let annotations = template.entry("annotations").or_insert(json!({})).as_object_mut().unwrap();
        match stamp {
            Some(stamp) => annotations.insert(STAMP.to_owned(), json!(stamp)),
            None => annotations.remove(STAMP),
        };
        let (object, _) = admit(&prune(sent), Some(&stored), Some(ONE));
        prop_assert_eq!(&object["spec"], &stored["spec"]);
        prop_assert_eq!(&object["metadata"]["annotations"][OBSERVED], &stored["metadata"]["annotations"][OBSERVED]);
    }

    /// Whatever is written, only our two annotations are touched.
    #[test]
    fn nothing_but_our_annotations_is_touched(
        sent in any_workload(),
        stored in prop::option::of(any_workload()),
    ) {
        let without_ours = |mut object: Value| {
            for (parent, key) in [("/metadata/annotations", OBSERVED), ("/spec/template/metadata/annotations", STAMP)] {
                if let Some(Value::Object(annotations)) = object.pointer_mut(parent) {
                    annotations.remove(key);
                }
            }
            prune(object)
        };
        let (object, _) = admit(&sent, stored.as_ref(), Some(ONE));
        prop_assert_eq!(without_ours(object), without_ours(sent));
    }
}
