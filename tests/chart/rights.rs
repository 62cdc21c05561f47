//! Rights are those of what is switched on, and no others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    helm::{HELMS, cases, printed, rendered, template},
    objects::{Id, list, objects},
};

/// Of each role (its kind, namespace and name) the rights: verb and resource, and which one if only one.
type Rights = BTreeMap<Id, BTreeSet<String>>;

fn rights(objects: &BTreeMap<Id, Value>) -> Rights {
    let roles = objects.iter();
    let roles = roles.filter(|((kind, ..), _)| kind == "Role" || kind == "ClusterRole");
    let mut rights = Rights::new();
    for (id, role) in roles {
        let found = rights.entry(id.clone()).or_default();
        for rule in role["rules"].as_array().unwrap() {
            let names = list(&rule["resourceNames"]).join(",");
            for verb in list(&rule["verbs"]) {
                let resources = list(&rule["resources"]).into_iter();
                found.extend(resources.map(|it| format!("{verb} {it} {names}").trim().to_owned()));
            }
        }
    }
    rights
}

fn with(set: &str) -> Rights {
    rights(&objects(&printed(&template(
        HELMS[0],
        &["--set", set, "--skip-tests"],
    ))))
}

/// The rights of both processes, wherever, that are about a resource.
fn about(rights: &Rights, resource: &str) -> BTreeSet<String> {
    let all = rights.values().flatten();
    let about = all.filter(|right| right.split(' ').nth(1) == Some(resource));
    about.cloned().collect()
}

#[test]
fn there_are_no_rights_to_what_is_ignored() {
    let none = BTreeSet::new();
    let set = |rights: &[&str]| rights.iter().map(|it| (*it).to_owned()).collect();
    let provided = "certificates.mode=provided";

    let rights = with("reloader.ignoreConfigMaps=true");
    assert_eq!(about(&rights, "configmaps"), none);

    let rights = with(&format!("{provided},reloader.ignoreSecrets=true"));
    let own: BTreeSet<String> = set(&[
        "create secrets",
        "list secrets",
        "delete secrets",
        "get secrets restamp-key",
    ]);
    assert_eq!(about(&rights, "secrets"), own);
    let home = ("Role".to_owned(), "restamp-system".to_owned());
    for (id, rights) in &rights {
        let is_home = (&id.0, &id.1) == (&home.0, &home.1);
        assert!(
            is_home || !rights.iter().any(|it| it.contains(" secrets")),
            "{id:?}"
        );
    }

    let rights = with("reloader.ignoreCronJobs=true");
    assert_eq!(about(&rights, "cronjobs"), none);

    let rights = with(&format!(
        "{provided},reloader.ignoreJobs=true,reloader.ignoreSecrets=true"
    ));
    assert_eq!(
        about(&rights, "jobs"),
        set(&["create jobs"]),
        "those of CronJobs"
    );
    assert_eq!(
        about(&rights, "secrets"),
        set(&["create secrets", "get secrets restamp-key"])
    );

    let rights = with("reloader.ignoreJobs=true,watcher.runCronJobsOnChange=false");
    assert_eq!(about(&rights, "jobs"), none);
    let rights = with("reloader.ignoreJobs=true,reloader.ignoreCronJobs=true");
    assert_eq!(about(&rights, "jobs"), none);
}

#[test]
fn in_place_of_restarts_no_workload_is_touched() {
    let rights = with("reloader.webhookUrl=http://hooks.example");
    for resource in ["deployments", "jobs", "cronjobs", "rollouts", "events"] {
        assert_eq!(about(&rights, resource), BTreeSet::new());
    }
    let verbs = about(&rights, "secrets");
    assert_eq!(verbs.len(), 3, "{verbs:?}");
}

#[test]
fn for_namespaces_that_are_named_there_are_rights_in_them_alone() {
    for set in [
        "reloader.watchGlobally=false,certificates.mode=provided",
        "reloader.watchGlobally=false,reloader.namespaces={shop,mall},certificates.mode=cert-manager",
    ] {
        let rights = with(set);
        assert!(!rights.is_empty());
        for (kind, ..) in rights.keys() {
            assert_eq!(kind, "Role", "{set}");
        }
    }
    // Webhook configurations are in no namespace.
    let rights = with("reloader.watchGlobally=false,reloader.namespaces={shop}");
    let cluster: Vec<_> = rights
        .iter()
        .filter(|((kind, ..), _)| kind == "ClusterRole")
        .collect();
    assert_eq!(cluster.len(), 1);
    for right in cluster[0].1 {
        assert!(
            right.ends_with(" mutatingwebhookconfigurations restamp"),
            "{right}"
        );
    }
}

#[test]
fn labels_of_namespaces_are_seen_only_where_they_are_asked_for() {
    let see: BTreeSet<_> = ["list namespaces", "watch namespaces"]
        .map(str::to_owned)
        .into();
    assert_eq!(
        about(&with("reloader.namespaceSelector=env=prod"), "namespaces"),
        see
    );
    for case in ["default", "namespaced", "no-webhook"] {
        let rights = rights(&objects(&rendered(case)));
        assert_eq!(about(&rights, "namespaces"), BTreeSet::new());
    }
}

#[test]
fn without_rbac_there_is_neither_role_nor_binding() {
    let objects = objects(&printed(&template(
        HELMS[0],
        &["--set", "reloader.rbac.enabled=false"],
    )));
    assert!(!objects.keys().any(|(kind, ..)| kind.contains("Role")));
}

#[test]
fn every_role_is_bound_to_the_account_of_a_deployment() {
    for case in cases() {
        let objects = objects(&rendered(&case));
        let accounts: BTreeSet<_> = objects
            .values()
            .filter_map(|object| match object["kind"].as_str()? {
                "Deployment" => Some(&object["spec"]["template"]["spec"]),
                "Pod" => Some(&object["spec"]),
                _ => None,
            })
            .map(|pod| pod["serviceAccountName"].clone())
            .map(|name| name.to_string())
            .collect();
        for (kind, namespace, name) in rights(&objects).into_keys() {
            let binding = &objects[&(format!("{kind}Binding"), namespace, name.clone())];
            assert_eq!(binding["roleRef"]["kind"], kind);
            assert_eq!(binding["roleRef"]["name"], name);
            for subject in binding["subjects"].as_array().unwrap() {
                assert!(
                    accounts.contains(&subject["name"].to_string()),
                    "{case}: {subject}"
                );
            }
        }
    }
}
