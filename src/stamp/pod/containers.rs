//! Where Reloader's variables go: which container, and which of them are there already (its `upgrade.go`).

use std::collections::BTreeMap;

use serde_json::json;

use super::{Container, PodTemplate, Usages};
use crate::stamp::{
    patch::Operation,
    reloader::{ContentHash, VARIABLE_PREFIX, variable},
    source::SourceName,
};

/// The containers of a pod template, as far as Reloader's variables are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers {
    containers: Box<[Variables]>,
    /// The container whose variable tells of a source, by its place.
    users: BTreeMap<SourceName, usize>,
}

/// The variables of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Variables {
    /// How many there are.
    count: usize,
    /// Those of Reloader, by name: place and value.
    known: BTreeMap<Box<str>, (usize, Option<Box<str>>)>,
}

/// A source whose change is to be told to the pods.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Which one.
    pub source: &'a SourceName,
    /// Its hash; nothing if it is gone.
    pub hash: Option<ContentHash>,
    /// Whether it is told to the first container if none uses it.
    pub anyway: bool,
}

impl PodTemplate {
    /// See [`Containers`].
    pub fn containers(&self) -> Containers {
        Containers {
            containers: self.spec.containers.iter().map(variables).collect(),
            users: self.users(),
        }
    }

    /// The first container that mounts the source, or else takes its environment from it. The first of all stands in
    /// for init containers.
    fn users(&self) -> BTreeMap<SourceName, usize> {
        let mut users = BTreeMap::new();
        let mut add = |found: Usages, index: usize| {
            for source in found.valid.into_keys() {
                users.entry(source).or_insert(index);
            }
        };
        let (main, init) = (&self.spec.containers, &self.spec.init_containers);
        for volume in &self.spec.volumes {
            let mounts = |container: &Container| {
                let mut mounts = container.volume_mounts.iter();
                mounts.any(|mount| mount.name == volume.name)
            };
            let by_init = || init.iter().any(mounts).then_some(0);
            if let Some(index) = main.iter().position(mounts).or_else(by_init) {
                let mut found = Usages::default();
                volume.collect(&self.mounts_of(&volume.name), &mut found);
                add(found, index);
            }
        }
        let by_environment = main.iter().enumerate();
        for (index, container) in by_environment.chain(init.iter().map(|it| (0, it))) {
            let mut found = Usages::default();
            container.collect(&mut found);
            add(found, index);
        }
        users
    }
}

fn variables(container: &Container) -> Variables {
    let mut known = BTreeMap::new();
    for (index, var) in container.env.iter().enumerate() {
        if var.name.starts_with(VARIABLE_PREFIX) {
            let value = var.value.as_deref().map(Box::from);
            known.entry(Box::from(&*var.name)).or_insert((index, value));
        }
    }
    Variables {
        count: container.env.len(),
        known,
    }
}

impl Containers {
    /// What to change in the template, by paths within it, so that the variables tell of these sources; nothing if
    /// they do already.
    pub fn tell<'a>(&self, told: impl Iterator<Item = Told<'a>>) -> Vec<Operation> {
        let mut wanted = vec![BTreeMap::new(); self.containers.len()];
        for Told {
            source,
            hash,
            anyway,
        } in told
        {
            let user = self.users.get(source).copied().or(anyway.then_some(0));
            if let Some(of_container) = user.and_then(|index| wanted.get_mut(index)) {
                of_container.insert(variable(source), hash.map(|hash| hash.to_string()));
            }
        }
        let all = self.containers.iter().zip(wanted).enumerate();
        all.flat_map(|(index, (variables, wanted))| variables.set(index, wanted))
            .collect()
    }

    /// Reloader's variables, by name; of those of several containers, the first.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let known = self.containers.iter().flat_map(|it| &it.known);
        known.filter_map(|(name, (_, value))| Some((&**name, value.as_deref()?)))
    }
}

impl Variables {
    /// New ones come first, where the API server puts those of Reloader.
    fn set(&self, container: usize, wanted: BTreeMap<String, Option<String>>) -> Vec<Operation> {
        let env = format!("/spec/containers/{container}/env");
        let (mut replaced, mut removed, mut added) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (name, value) in wanted {
            match (self.known.get(&*name), value) {
                (Some((_, current)), Some(value)) if current.as_deref() == Some(&*value) => {}
                (Some((index, _)), Some(value)) => replaced.push(Operation::Replace {
                    path: format!("{env}/{index}"),
                    value: json!({ "name": name, "value": value }),
                }),
                (Some((index, _)), None) => {
                    removed.insert(*index, format!("{env}/{index}"));
                }
                (None, Some(value)) => added.push(json!({ "name": name, "value": value })),
                (None, None) => {}
            }
        }
        // From the last on, so that no place moves before it is used.
        let removed = removed.into_values().rev();
        let removed = removed.map(|path| Operation::Remove { path });
        let added: Vec<_> = if self.count == 0 && !added.is_empty() {
            vec![Operation::Add {
                path: env.clone(),
                value: added.into(),
            }]
        } else {
            let add = |value| Operation::Add {
                path: format!("{env}/0"),
                value,
            };
            added.into_iter().map(add).collect()
        };
        replaced.into_iter().chain(removed).chain(added).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::stamp::{digest::Encoding, source::SourceKind};

    fn template(spec: &Value) -> PodTemplate {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn config(name: &str) -> SourceName {
        SourceName::new(SourceKind::ConfigMap, name)
    }

    fn hash(content: &str) -> ContentHash {
        ContentHash::of(
            SourceKind::ConfigMap,
            &[("k", Encoding::Text, content.as_bytes())],
        )
    }

    /// The template after it was told, and how many changes that took.
    fn told(spec: &Value, changes: &[(&str, Option<&str>, bool)]) -> (Value, usize) {
        let sources: Vec<_> = changes.iter().map(|(name, ..)| config(name)).collect();
        let told = changes.iter().zip(&sources);
        let told = told.map(|((_, content, anyway), source)| Told {
            source,
            hash: content.map(hash),
            anyway: *anyway,
        });
        let operations = template(spec).containers().tell(told);
        let count = operations.len();
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::to_value(operations).unwrap()).unwrap();
        let mut object = json!({ "spec": spec });
        json_patch::patch(&mut object, &patch).unwrap();
        (object["spec"].take(), count)
    }

    fn env_from(name: &str) -> Value {
        json!([{ "configMapRef": { "name": name } }])
    }

    /// The place of the container that is told of ConfigMap `cfg`, if any is.
    fn container_of(spec: &Value, anyway: bool) -> Option<usize> {
        let (spec, _) = told(spec, &[("cfg", Some("a"), anyway)]);
        let containers = spec["containers"].as_array().cloned().unwrap_or_default();
        containers.iter().position(|container| {
            let env = container["env"].as_array();
            env.is_some_and(|env| {
                env.iter()
                    .any(|var| var["name"] == "STAKATER_CFG_CONFIGMAP")
            })
        })
    }

    #[test]
    fn one_container_is_told_the_one_that_reloader_tells() {
        let volume = json!([{ "name": "v", "configMap": { "name": "cfg" } }]);
        let mount = json!([{ "name": "v", "mountPath": "/v" }]);
        let unmounted = json!({ "name": "u", "configMap": { "name": "cfg" } });
        let a = json!({ "name": "a" });
        for (what, spec, anyway, expected) in [
            (
                "mounted by the second",
                json!({ "volumes": volume, "containers": [a, { "volumeMounts": mount }] }),
                false,
                Some(1),
            ),
            (
                "mounted by an init container alone",
                json!({ "volumes": volume, "containers": [a], "initContainers": [{ "volumeMounts": mount }] }),
                false,
                Some(0),
            ),
            (
                "a variable in the second, all variables in the first",
                json!({ "containers": [{ "envFrom": env_from("cfg") }, { "env": [
                    { "name": "K", "valueFrom": { "configMapKeyRef": { "name": "cfg", "key": "k" } } },
                ] }] }),
                false,
                Some(0),
            ),
            (
                "mounted by nobody",
                json!({ "volumes": volume, "containers": [a] }),
                false,
                None,
            ),
            (
                "mounted by nobody, but named",
                json!({ "volumes": volume, "containers": [a] }),
                true,
                Some(0),
            ),
            (
                "two volumes, the first of which nobody mounts",
                json!({ "volumes": [unmounted, volume[0]], "containers": [a, { "volumeMounts": mount }] }),
                false,
                Some(1),
            ),
            (
                "mounted by the second, environment of the first",
                json!({ "volumes": volume, "containers": [{ "envFrom": env_from("cfg") }, { "volumeMounts": mount }] }),
                false,
                Some(1),
            ),
            ("not used", json!({ "containers": [a] }), false, None),
            (
                "not used, but named",
                json!({ "containers": [a] }),
                true,
                Some(0),
            ),
            ("no container", json!({ "containers": [] }), true, None),
        ] {
            assert_eq!(container_of(&spec, anyway), expected, "{what}");
        }
    }

    #[test]
    fn a_new_variable_comes_first_and_one_that_is_there_keeps_its_place() {
        let spec = json!({ "containers": [{ "name": "a", "env": [
            { "name": "OTHER", "value": "o" },
            { "name": "STAKATER_OLD_CONFIGMAP", "value": "x" },
        ] }] });
        let (spec, _) = told(&spec, &[("cfg", Some("1"), true), ("old", Some("2"), true)]);
        assert_eq!(
            spec["containers"][0]["env"],
            json!([
                { "name": "STAKATER_CFG_CONFIGMAP", "value": hash("1").to_string() },
                { "name": "OTHER", "value": "o" },
                { "name": "STAKATER_OLD_CONFIGMAP", "value": hash("2").to_string() },
            ])
        );
        let (spec, _) = told(&spec, &[("cfg", None, true), ("old", None, true)]);
        assert_eq!(
            spec["containers"][0]["env"],
            json!([{ "name": "OTHER", "value": "o" }])
        );
    }

    proptest! {
        #[test]
        fn what_is_told_is_there_once_and_telling_it_again_changes_nothing(
            changes in proptest::collection::btree_map("[a-c]", proptest::option::of("[xy]"), 0..4),
            before in proptest::collection::vec(("[a-d]", "[xy]"), 0..4),
        ) {
            let env: Vec<_> = before
                .iter()
                .map(|(name, value)| (variable(&config(name)), value))
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            let spec = json!({ "containers": [{ "name": "a", "env": env }] });
            let changes: Vec<_> = changes
                .iter()
                .map(|(name, content)| (name.as_str(), content.as_deref(), true))
                .collect();
            let (spec, _) = told(&spec, &changes);
            let env = spec["containers"][0]["env"].as_array().unwrap().clone();
            for (name, content, _) in &changes {
                let found: Vec<_> = env
                    .iter()
                    .filter(|var| var["name"] == json!(variable(&config(name))))
                    .map(|var| var["value"].clone())
                    .collect();
                let expected: Vec<_> = content.map(|it| json!(hash(it).to_string())).into_iter().collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(told(&spec, &changes).1, 0);
        }
    }
}
