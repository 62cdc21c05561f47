//! Releases on a real API server, whose nodes are simulated: what is installed, what is left, and what users notice.

use std::{collections::BTreeSet, fs};

use restamp_dev_certs::Authority;
use serde_json::json;

use super::{
    cert_manager,
    helm::{
        HELMS, SYSTEM, cases, complaint, helm, kubectl, nodes_are_simulated, printed, rendered,
        template, until, values,
    },
    objects::objects,
    release::{Namespace, Release, left_in, restricted},
};

/// Groups of others, which the API server serves where it is ours.
const OF_OTHERS: [&str; 3] = [
    "cert-manager.io",
    "monitoring.coreos.com",
    "autoscaling.k8s.io",
];
/// What the kinds of these groups are, beside those of cert-manager, which it brings along.
const CRDS_OF_OTHERS: [&str; 4] = [
    "servicemonitors.monitoring.coreos.com",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "verticalpodautoscalers.autoscaling.k8s.io",
];
#[test]
fn every_case_is_taken_by_the_api_server_and_restricted() {
    let namespace = Namespace::new("chart-taken", &restricted());
    let serves_others =
        cert_manager::served("what the API server takes of others' kinds").is_some();
    if serves_others {
        serve_kinds_of_others();
    }
    for case in cases() {
        let warnings = dry_run(&namespace, &rendered(&case), serves_others);
        assert_eq!(warnings, "", "{case}");
    }
}

pub fn serve_kinds_of_others() {
    for crd in CRDS_OF_OTHERS {
        cert_manager::serve(&format!("tests/e2e/crds/{crd}.yaml"));
    }
}

/// Has the API server say what it would make of all that was rendered, in one namespace; gives what it warned of.
pub fn dry_run(namespace: &Namespace, rendered: &str, serves_others: bool) -> String {
    let objects = objects(rendered).into_values();
    let served = objects.filter(|object| {
        let api = object["apiVersion"].as_str().unwrap();
        serves_others || !OF_OTHERS.iter().any(|group| api.starts_with(group))
    });
    let ours: Vec<_> = served
        .map(|mut object| {
            if object["metadata"]["namespace"].is_string() {
                object["metadata"]["namespace"] = namespace.name.as_str().into();
            }
            // Its own is not there yet, since nothing is made.
            if object["kind"] == "Pod" {
                object["spec"]["serviceAccountName"] = "default".into();
            }
            object
        })
        .collect();
    let all = json!({ "apiVersion": "v1", "kind": "List", "items": ours });
    namespace.apply(&all, &["--dry-run=server"])
}

/// The objects of a release in no namespace that are there.
fn left_in_cluster(release: &str) -> String {
    let kinds = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,flowschemas,prioritylevelconfigurations,priorityclasses,namespaces";
    let label = format!("app.kubernetes.io/instance={release}");
    printed(&kubectl(&["get", kinds, "-l", &label, "-o", "name"]))
}

/// Simulated nodes run no test, so that it is over when its time is.
fn a_test_cleans_up(program: &str, release: &Release) {
    let args = [
        "test",
        &release.name,
        "-n",
        &release.home.name,
        "--timeout",
        "15s",
    ];
    let said = complaint(&helm(program, &args));
    let pod = format!("{}-check", release.name);
    assert!(said.contains(&pod), "it waits for its pod: {said}");
    until("nothing is left of the test", || {
        let mut left = left_in(&release.home.name);
        left.retain(|name| name.ends_with("-check"));
        let namespaces = printed(&kubectl(&["get", "namespaces", "-o", "name"]));
        left.extend(
            namespaces
                .lines()
                .filter(|it| it.ends_with(&pod))
                .map(str::to_owned),
        );
        left.is_empty()
            .then_some(())
            .ok_or(format!("{program}: {left:?}"))
    });
}

#[test]
fn a_release_comes_changes_goes_back_and_leaves_nothing() {
    if !nodes_are_simulated() {
        return;
    }
    for helm in HELMS {
        let release = Release::install(
            helm,
            &format!("life-{helm}"),
            &["--set", "reloader.netpol.enabled=true"],
        );
        let watcher = format!("deployment/{}-watcher", release.name);
        let webhook = format!("deployment/{}-webhook", release.name);
        for deployment in [&watcher, &webhook] {
            let status = release.home.get(deployment)["status"].clone();
            assert_eq!(status["readyReplicas"], 2, "{helm}: {deployment}: {status}");
        }
        a_test_cleans_up(helm, &release);
        let level = |deployment: &str| {
            let spec = release.home.get(deployment)["spec"].clone();
            let env = spec["template"]["spec"]["containers"][0]["env"].clone();
            let env = env.as_array().unwrap().clone();
            env.into_iter().find(|it| it["name"] == "RESTAMP_LOG_LEVEL")
        };
        release.upgrade(&[
            "--set",
            "reloader.logLevel=debug",
            "--set",
            "webhook.enabled=false",
        ]);
        assert_eq!(level(&watcher).unwrap()["value"], "debug", "{helm}");
        assert!(
            !left_in_cluster(&release.name).contains("mutatingwebhook"),
            "{helm}"
        );
        release.helm("rollback", &["1"]);
        assert_eq!(level(&watcher), None, "{helm}");
        assert!(
            left_in_cluster(&release.name).contains("mutatingwebhook"),
            "{helm}"
        );

        release.helm("uninstall", &[]);
        assert_eq!(left_in_cluster(&release.name), "", "{helm}");
        // The pods may take a moment to go.
        until(
            "nothing is left",
            || match &left_in(&release.home.name)[..] {
                [] => Ok(()),
                left => Err(format!("{helm}: {left:?}")),
            },
        );
    }
}

#[test]
fn a_variable_that_is_taken_out_of_the_values_is_gone_from_its_secret() {
    if !nodes_are_simulated() {
        return;
    }
    for helm in HELMS {
        let values = "reloader.deployment.env.secret.STAYS=a,reloader.deployment.env.secret.GOES=b";
        let release = Release::install(helm, &format!("env-{helm}"), &["--set", values]);
        let secret = format!("secret/{}-watcher", release.name);
        let keys = || {
            let data = release.home.get(&secret)["data"].clone();
            data.as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(), ["GOES", "STAYS"], "{helm}");
        release.upgrade(&["--set", "reloader.deployment.env.secret.GOES="]);
        assert_eq!(keys(), ["STAYS"], "{helm}");
    }
}

/// As docs/install.md says: Helm 4 takes no field from whoever else has written it.
#[test]
fn a_ca_of_ones_own_takes_the_place_of_that_of_restamp() {
    if !nodes_are_simulated() {
        return;
    }
    for program in HELMS {
        let release = Release::install(program, &format!("ca-{program}"), &[]);
        let [theirs, ours] =
            [0; 2].map(|_| Authority::generate().unwrap().certificate().to_owned());
        let ca = k8s_openapi::ByteString(theirs.into_bytes());
        let written = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": release.name },
            "webhooks": [{ "name": "workloads.restamp.dev", "clientConfig": { "caBundle": ca } }],
        });
        release.home.apply(&written, &["--field-manager=restamp"]);
        let file = release.home.folder().join("ca.crt");
        fs::write(&file, &ours).unwrap();
        let ca = format!("certificates.caBundle={}", file.display());
        let provided = ["--set", "certificates.mode=provided", "--set-file", &ca];
        if program == HELMS[0] {
            let args = ["upgrade", &release.name, "charts/restamp"];
            let args = [&args[..], &["-n", &release.home.name], &provided].concat();
            let said = complaint(&helm(program, &args));
            assert!(said.contains("conflict"), "{said}");
            release.upgrade(&[&provided[..], &["--force-conflicts"]].concat());
        } else {
            release.upgrade(&provided);
        }
        let what = format!("mutatingwebhookconfiguration/{}", release.name);
        let client = release.home.get(&what)["webhooks"][0]["clientConfig"].clone();
        assert_eq!(
            client["caBundle"],
            json!(k8s_openapi::ByteString(ours.into_bytes())),
            "{program}"
        );
    }
}

#[test]
fn values_of_reloader_make_a_release_that_is_ready() {
    if !nodes_are_simulated() {
        return;
    }
    for case in cases().iter().filter(|case| case.starts_with("reloader-")) {
        let needs = Needs::of(case);
        for helm in HELMS {
            let release = Release::prepare(helm, &format!("{case}-{helm}"));
            for account in &needs.accounts {
                let args = [
                    "create",
                    "serviceaccount",
                    account,
                    "-n",
                    &release.home.name,
                ];
                printed(&kubectl(&args));
            }
            release.helm("install", &["charts/restamp", "-f", &values(case)]);
            let objects = release.objects().into_iter();
            let deployments = objects.filter(|((kind, ..), _)| kind == "Deployment");
            let deployments: Vec<_> = deployments.collect();
            assert!(!deployments.is_empty(), "{case}");
            for ((_, _, name), object) in deployments {
                let status = &release.home.get(&format!("deployment/{name}"))["status"];
                let (ready, wanted) = (&status["readyReplicas"], &object["spec"]["replicas"]);
                assert_eq!(ready, wanted, "{helm}: {name}: {status}");
            }
        }
    }
}

/// What has to be there for some values: namespaces that are followed, and ServiceAccounts that the chart does not make.
struct Needs {
    namespaces: BTreeSet<String>,
    accounts: BTreeSet<String>,
}

impl Needs {
    fn of(case: &str) -> Self {
        let args = ["-f", &values(case), "--skip-tests"];
        let objects = objects(&printed(&template(HELMS[0], &args)));
        let accounts = objects.values().filter_map(|object| {
            let account = object.pointer("/spec/template/spec/serviceAccountName")?;
            Some(account.as_str()?.to_owned())
        });
        let is_made = |account: &String| {
            let id = (
                "ServiceAccount".to_owned(),
                SYSTEM.to_owned(),
                account.clone(),
            );
            objects.contains_key(&id)
        };
        let accounts = accounts.filter(|account| !is_made(account)).collect();
        let namespaces = objects.keys().map(|(_, namespace, _)| namespace.clone());
        let namespaces: BTreeSet<_> = namespaces
            .filter(|name| !name.is_empty() && name != SYSTEM)
            .collect();
        for name in &namespaces {
            printed(&kubectl(&["create", "namespace", name]));
        }
        Self {
            namespaces,
            accounts,
        }
    }
}

impl Drop for Needs {
    fn drop(&mut self) {
        for name in &self.namespaces {
            kubectl(&["delete", "namespace", name, "--wait=false"]);
        }
    }
}
