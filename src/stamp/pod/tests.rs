use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::stamp::arbitrary::spoiled;

fn usages(spec: &Value) -> Vec<String> {
    let template: PodTemplate = serde_json::from_value(json!({ "spec": spec })).unwrap();
    template
        .usages()
        .0
        .into_iter()
        .map(|(source, usage)| {
            let keys = match usage.keys {
                Keys::All => "*".to_owned(),
                Keys::Only(keys) => keys.iter().map(|k| &**k).collect::<Vec<_>>().join(","),
            };
            let optional = if usage.optional { "?" } else { "" };
            format!("{source}{optional}[{keys}]")
        })
        .collect()
}

fn mounted(volume: &Value, mounts: &Value) -> Vec<String> {
    usages(&json!({ "volumes": [volume], "containers": [{ "volumeMounts": mounts }] }))
}

#[test]
fn env_uses_single_keys_and_env_from_uses_all() {
    let found = usages(&json!({ "containers": [{
        "env": [
            { "name": "PLAIN", "value": "x" },
            { "name": "A", "valueFrom": { "secretKeyRef": { "name": "db", "key": "user" } } },
            { "name": "B", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password", "optional": true } } },
            { "name": "C", "valueFrom": { "configMapKeyRef": { "name": "app", "key": "level" } } },
            { "name": "D", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
        "envFrom": [
            { "configMapRef": { "name": "flags", "optional": true } },
            { "secretRef": { "name": "tokens" }, "prefix": "X_" },
        ],
    }]}));
    assert_eq!(
        found,
        [
            "ConfigMap/app[level]",
            "ConfigMap/flags?[*]",
            "Secret/db[password,user]",
            "Secret/tokens[*]"
        ]
    );
}

#[test]
fn init_containers_and_sidecars_count() {
    let found = usages(&json!({
        "initContainers": [
            { "envFrom": [{ "secretRef": { "name": "migrate" } }] },
            { "restartPolicy": "Always", "envFrom": [{ "configMapRef": { "name": "sidecar" } }] },
        ],
        "containers": [{ "name": "app" }],
    }));
    assert_eq!(found, ["ConfigMap/sidecar[*]", "Secret/migrate[*]"]);
}

#[test]
fn a_volume_counts_only_when_it_is_mounted() {
    let volume = json!({ "name": "v", "configMap": { "name": "app" } });
    assert!(mounted(&volume, &json!([{ "name": "other" }])).is_empty());
    assert_eq!(
        mounted(&volume, &json!([{ "name": "v" }])),
        ["ConfigMap/app[*]"]
    );
}

#[test]
fn items_and_projections_narrow_the_keys() {
    let volume = json!({ "name": "v", "projected": { "sources": [
        { "secret": { "name": "tls", "items": [{ "key": "tls.crt", "path": "crt" }] } },
        { "configMap": { "name": "ca", "optional": true } },
        { "serviceAccountToken": { "path": "token" } },
    ]}});
    assert_eq!(
        mounted(&volume, &json!([{ "name": "v" }])),
        ["ConfigMap/ca?[*]", "Secret/tls[tls.crt]"]
    );
}

#[test]
fn a_sub_path_mount_uses_the_file_it_shows() {
    let whole = json!({ "name": "v", "secret": { "secretName": "s" } });
    let items = json!({ "name": "v", "secret": { "secretName": "s", "items": [
        { "key": "a", "path": "conf/a" }, { "key": "b", "path": "conf/b" }, { "key": "c", "path": "c" },
    ]}});
    let cases = [
        (
            &whole,
            json!([{ "name": "v", "subPath": "a" }]),
            "Secret/s?[a]",
        ),
        (
            &whole,
            json!([{ "name": "v", "subPath": "a" }, { "name": "v", "subPath": "b" }]),
            "Secret/s?[a,b]",
        ),
        (
            &whole,
            json!([{ "name": "v", "subPath": "a" }, { "name": "v" }]),
            "Secret/s[*]",
        ),
        (
            &whole,
            json!([{ "name": "v", "subPathExpr": "$(POD)" }]),
            "Secret/s[*]",
        ),
        (
            &whole,
            json!([{ "name": "v", "subPath": "../a" }]),
            "Secret/s[*]",
        ),
        (
            &items,
            json!([{ "name": "v", "subPath": "conf" }]),
            "Secret/s[a,b]",
        ),
        (
            &items,
            json!([{ "name": "v", "subPath": "conf/b" }]),
            "Secret/s[b]",
        ),
        (&items, json!([{ "name": "v" }]), "Secret/s[a,b,c]"),
    ];
    for (volume, mounts, expected) in cases {
        assert_eq!(mounted(volume, &mounts), [expected], "{mounts}");
    }
}

#[test]
fn several_uses_of_one_source_add_up() {
    let found = usages(&json!({
        "volumes": [
            { "name": "unmounted", "secret": { "secretName": "s" } },
            { "name": "second", "secret": { "secretName": "s", "optional": true } },
        ],
        "containers": [
            { "volumeMounts": [{ "name": "second" }] },
            { "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }] },
        ],
    }));
    assert_eq!(found, ["Secret/s[*]"]);
}

#[test]
fn other_secrets_of_a_pod_are_not_references() {
    let found = usages(&json!({
        "imagePullSecrets": [{ "name": "pull" }],
        "volumes": [
            { "name": "v", "cephfs": { "secretRef": { "name": "ceph" } } },
            { "name": "csi", "csi": { "nodePublishSecretRef": { "name": "node" } } },
        ],
        "containers": [{ "volumeMounts": [{ "name": "v" }, { "name": "csi" }] }],
    }));
    assert!(found.is_empty());
}

#[test]
fn empty_null_and_missing_parts_are_empty() {
    for template in [
        json!({}),
        json!({ "metadata": null, "spec": null }),
        json!({ "metadata": { "annotations": null }, "spec": { "containers": null, "volumes": null } }),
        json!({ "spec": { "containers": [{ "env": null, "envFrom": null, "volumeMounts": null }] } }),
        json!({ "spec": { "containers": [{ "envFrom": [{ "secretRef": { "name": "" } }, {}] }] } }),
    ] {
        let parsed: PodTemplate = serde_json::from_value(template.clone()).unwrap();
        assert!(parsed.usages().0.is_empty(), "{template}");
        assert!(parsed.annotations().is_empty(), "{template}");
    }
}

#[test]
fn a_name_that_no_source_can_have_is_said_and_not_followed() {
    for name in [
        "a b",
        "a/b",
        "db?x",
        "../../namespaces",
        "UPPER",
        "a..b",
        "-a",
    ] {
        let template = json!({ "spec": {
            "volumes": [{ "name": "v", "secret": { "secretName": name } }],
            "containers": [{ "volumeMounts": [{ "name": "v" }] }],
        }});
        let template: PodTemplate = serde_json::from_value(template).unwrap();
        let (usages, warnings) = template.usages();
        assert!(usages.is_empty(), "{name}");
        assert_eq!(
            warnings,
            [Warning::InvalidName {
                kind: SourceKind::Secret,
                name: name.to_owned()
            }]
        );
        assert!(
            format!("Secret/{name}").parse::<SourceName>().is_err(),
            "{name}"
        );
    }
}

#[test]
fn a_class_of_a_csi_volume_counts_when_it_is_mounted_whatever_the_driver() {
    let volume = |attributes: Value| json!({ "name": "v", "csi": { "driver": "any.example.com", "volumeAttributes": attributes } });
    let vault = volume(json!({ "secretProviderClass": "vault", "other": "x" }));
    let whole = json!([{ "name": "v" }]);
    assert_eq!(mounted(&vault, &whole), ["SecretProviderClass/vault[*]"]);
    let part = json!([{ "name": "v", "subPath": "password" }]);
    assert_eq!(mounted(&vault, &part), ["SecretProviderClass/vault[*]"]);
    assert!(mounted(&vault, &json!([{ "name": "w" }])).is_empty());
    for none in [json!({}), json!(null), json!({ "secretProviderClass": "" })] {
        assert!(mounted(&volume(none), &whole).is_empty());
    }
}

/// A template that has every field that is looked at.
fn whole() -> Value {
    let all = json!({ "name": "a", "optional": true });
    let one = json!({ "name": "a", "key": "k", "optional": true });
    let files = json!({ "name": "a", "optional": true, "items": [{ "key": "k", "path": "p/q" }] });
    let container = json!({
        "env": [{ "valueFrom": { "configMapKeyRef": one, "secretKeyRef": one } }],
        "envFrom": [{ "configMapRef": all, "secretRef": all }],
        "volumeMounts": [{ "name": "v", "subPath": "p/" }, { "name": "v", "subPathExpr": "$(P)" }],
    });
    json!({
        "metadata": { "annotations": { "a": "b" } },
        "spec": {
            "containers": [container],
            "initContainers": [container],
            "volumes": [
                { "name": "v", "configMap": files },
                { "name": "v", "secret": { "secretName": "a", "items": files["items"] } },
                { "name": "v", "csi": { "volumeAttributes": { "secretProviderClass": "a" } } },
                { "name": "v", "projected": { "sources": [{ "configMap": files, "secret": files }] } },
            ],
        },
    })
}

#[test]
fn the_template_of_the_property_is_one_that_can_be_read() {
    let template: PodTemplate = serde_json::from_value(whole()).unwrap();
    let (used, warnings) = template.usages();
    assert_eq!((used.len(), warnings), (3, Vec::new()));
}

proptest! {
    #[test]
    fn whatever_stands_in_a_template_there_is_no_panic(template in spoiled(whole())) {
        if let Ok(template) = PodTemplate::deserialize(&template) {
            let (used, _) = template.usages();
            prop_assert!(used.keys().all(|source| is_source_name(&source.name)));
        }
    }
}
