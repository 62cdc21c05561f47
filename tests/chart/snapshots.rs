//! What both Helms make of each case is what was looked at when it was checked in. With `UPDATE` in the environment, the
//! snapshots are written.

use std::{collections::BTreeMap, env, fs};

use super::{
    helm::{HELMS, cases, path, printed, rendered, template, values},
    objects::{Id, texts},
};

/// The case whose snapshot is whole; those of others hold what is different from it.
const DEFAULT: &str = "default";

fn shown(objects: &BTreeMap<Id, String>, beside: &BTreeMap<Id, String>) -> String {
    let mut text = String::new();
    for (kind, namespace, name) in beside.keys().filter(|id| !objects.contains_key(*id)) {
        text += &format!("# without {kind} {namespace}/{name}\n");
    }
    for (id, object) in objects {
        if beside.get(id) != Some(object) {
            text += &format!("---\n{object}");
        }
    }
    // A release is no change of the chart.
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn each_case_is_rendered_as_its_snapshot_says() {
    let default = texts(&rendered(DEFAULT));
    let mut different = Vec::new();
    for case in cases() {
        let [four, three] =
            HELMS.map(|helm| texts(&printed(&template(helm, &["-f", &values(&case)]))));
        assert_eq!(four, three, "{case}: both Helms make the same of it");
        let nothing = BTreeMap::new();
        let beside = if case == DEFAULT { &nothing } else { &default };
        let shown = shown(&four, beside);
        let snapshot = path(&format!("tests/chart/snapshots/{case}.yaml"));
        if env::var_os("UPDATE").is_some() {
            fs::write(&snapshot, &shown).unwrap();
        }
        if fs::read_to_string(&snapshot).unwrap_or_default() != shown {
            different.push(case);
        }
    }
    assert!(
        different.is_empty(),
        "{different:?}: see what changed by UPDATE=1 make chart, and git diff"
    );
}

#[test]
fn there_is_a_snapshot_for_each_case_and_none_else() {
    let entries = fs::read_dir(path("tests/chart/snapshots")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, cases());
}
