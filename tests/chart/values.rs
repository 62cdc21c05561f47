//! Values: which are taken, which are refused, and what becomes of them.

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::json;

use super::{
    helm::{
        HELMS, OLDEST, RELEASE, cases, complaint, helm, path, printed, rendered, template, values,
    },
    notes::notes,
    objects::{container, list, objects, one},
};

/// The values of Reloader: its own, and five typical ones and more.
const OF_RELOADER: &str = "reloader-";

#[test]
fn every_case_passes_the_strict_lint() {
    for helm_of in HELMS {
        for case in cases() {
            let file = values(&case);
            let args = ["lint", "--strict", "--kube-version", OLDEST];
            let args = [&args[..], &["-f", &file, "charts/restamp"]].concat();
            printed(&helm(helm_of, &args));
        }
    }
}

#[test]
fn a_name_that_is_not_known_is_refused_with_the_one_that_was_meant() {
    let typos = [
        (
            "reloader.autoReloadAl=true",
            "unknown value reloader.autoReloadAl: did you mean autoReloadAll?",
        ),
        (
            "webhok.enabled=true",
            "unknown value webhok: did you mean webhook?",
        ),
        (
            "reloader.deployment.env.opn.A=b",
            "unknown value reloader.deployment.env.opn: did you mean open?",
        ),
        (
            "webhook.deployment.Replicas=3",
            "unknown value webhook.deployment.Replicas: did you mean replicas?",
        ),
        (
            "reloader.custom_annotations.searh=a",
            "unknown value reloader.custom_annotations.searh: did you mean search?",
        ),
        (
            "image.flavour=small",
            "unknown value image.flavour: there are digest, name, pullPolicy, repository, tag",
        ),
    ];
    let commands: [&[&str]; 3] = [
        &["template", "--kube-version", OLDEST, RELEASE],
        &["install", "--dry-run=client", RELEASE],
        &["lint", "--kube-version", OLDEST],
    ];
    for helm_of in HELMS {
        for (given, told) in typos {
            for command in commands {
                let args = [command, &["charts/restamp", "--set", given]].concat();
                let said = complaint(&helm(helm_of, &args));
                assert!(said.contains(told), "{helm_of} {command:?} {given}: {said}");
            }
        }
    }
}

#[test]
fn a_value_that_makes_no_sense_is_refused() {
    let refused = [
        ("reloader.autoReloadAll=yes", "autoReloadAll"),
        ("reloader.reloadStrategy=rolling", "reloadStrategy"),
        ("certificates.mode=manual", "mode"),
        ("watcher.workloadKinds={widgets}", "workloadKinds"),
        (
            "reloader.ignoreSecrets=true,reloader.ignoreConfigMaps=true",
            "leave nothing to follow",
        ),
        (
            "reloader.namespaces={shop}",
            "set reloader.watchGlobally=false",
        ),
        (
            "certificates.mode=provided,certificates.caBundle=MIIB",
            "give it as PEM",
        ),
        (
            "certificates.caBundle=MIIB",
            "is for certificates.mode=provided",
        ),
        (
            "reloader.serviceAccount.name=stamp,webhook.serviceAccount.name=stamp",
            "both called stamp: give one of them another name",
        ),
        ("fullnameOverride=1st", "begins with no letter"),
        (
            "watcher.workloadKinds={example.com/v1/widgets/Widget=spec.a'b}",
            "workloadKinds",
        ),
        (
            "reloader.custom_annotations.auto=a'b",
            "reloader.custom_annotations.auto is a'b, which no annotation can be called",
        ),
    ];
    for helm_of in HELMS {
        for (given, told) in refused {
            let said = complaint(&template(helm_of, &["--set", given]));
            assert!(said.contains(told), "{helm_of} {given}: {said}");
        }
    }
}

#[test]
fn what_a_chart_around_this_one_shares_is_not_refused() {
    printed(&template(HELMS[0], &["--set", "global.somebodyElses=1"]));
}

#[test]
fn a_service_account_may_be_that_of_both_processes() {
    let name = "reloader.serviceAccount.name=stamp,webhook.serviceAccount.name=stamp";
    let values = format!("{name},webhook.serviceAccount.create=false");
    let objects = objects(&printed(&template(HELMS[0], &["--set", &values])));
    one(&objects, "ServiceAccount", "stamp");
    for name in ["restamp-watcher", "restamp-webhook"] {
        let pod = &one(&objects, "Deployment", name)["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "stamp", "{name}");
    }
}

#[test]
fn a_chart_around_this_one_may_switch_it_on_and_off() {
    let parent = tempfile::tempdir().unwrap();
    let chart = json!({
        "apiVersion": "v2", "name": "platform", "version": "1.0.0",
        "dependencies": [{ "name": "restamp", "version": "*", "condition": "restamp.enabled" }],
    });
    fs::write(parent.path().join("Chart.yaml"), chart.to_string()).unwrap();
    fs::create_dir(parent.path().join("charts")).unwrap();
    symlink(path("charts/restamp"), parent.path().join("charts/restamp")).unwrap();
    let folder = parent.path().to_str().unwrap();
    for helm_of in HELMS {
        let made = |more: &[&str]| {
            let args = ["template", RELEASE, folder, "--kube-version", OLDEST];
            printed(&helm(helm_of, &[&args, more].concat()))
        };
        let on = objects(&made(&["--set", "restamp.enabled=true"]));
        assert_eq!(on, objects(&made(&[])), "{helm_of}");
        one(&on, "Deployment", "restamp-watcher");
        let off = made(&["--set", "restamp.enabled=false"]);
        assert_eq!(off.trim(), "", "{helm_of}");
    }
}

/// As the program would, which stops the start at what it does not know. What it is told about certificates is by variables.
#[test]
fn both_processes_understand_what_they_are_told_and_are_told_the_same() {
    for case in cases() {
        let objects = objects(&rendered(&case));
        let mut policies = Vec::new();
        for ((kind, _, name), object) in &objects {
            if kind != "Deployment" {
                continue;
            }
            let args = list(&container(object)["args"]);
            assert!(name.ends_with(args[0]), "{name}: {args:?}");
            let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
                .args(&args)
                .arg("--help")
                .env_clear()
                .output()
                .unwrap();
            let help = printed(&output);
            assert!(help.contains(&format!("restamp {}", args[0])), "{help}");
            let own = ["--settle", "--webhook-url"];
            let policy = args[1..].iter();
            let policy = policy.filter(|arg| !own.iter().any(|own| arg.starts_with(own)));
            policies.push(policy.copied().collect::<Vec<_>>());
        }
        policies.dedup();
        assert_eq!(policies.len(), 1, "{case}: {policies:?}");
    }
}

#[test]
fn an_image_of_reloader_s_is_not_run_and_any_other_is() {
    let image = |given: &str| {
        let rendered = printed(&template(HELMS[0], &["--set", given]));
        let objects = objects(&rendered);
        let images = ["restamp-watcher", "restamp-webhook"].map(|name| {
            let image = &container(one(&objects, "Deployment", name))["image"];
            image.as_str().unwrap().to_owned()
        });
        assert_eq!(images[0], images[1]);
        images[0].clone()
    };
    let ours = "restamp:dev";
    for reloader in [
        "image.repository=ghcr.io/stakater/reloader,image.tag=v1.4.21",
        "image.repository=mirror.example/reloader-ubi,image.digest=sha256:1",
        "image.repository=mirror.example/corp/stakater-reloader,image.digest=sha256:1",
        "image.name=stakater/reloader,image.digest=sha256:1",
        "image.tag=v1.4.21",
    ] {
        assert_eq!(image(reloader), ours, "{reloader}");
    }
    for key in ["name", "repository"] {
        let values = format!(
            "global.imageRegistry=mirror.example,image.{key}=stakater/reloader,image.digest=sha256:1"
        );
        assert_eq!(image(&values), format!("mirror.example/{ours}"), "{key}");
    }
    assert_eq!(
        image("global.imageRegistry=mirror.example:5000"),
        format!("mirror.example:5000/{ours}")
    );
    // What Reloader's file says beside it is not what would be pulled.
    let own = "image.name=stakater/reloader,image.repository=mirror.example/restamp,image.tag=v2";
    assert_eq!(image(own), "mirror.example/restamp:v2");
    assert_eq!(image("image.digest=sha256:1"), "restamp@sha256:1");
}

/// As scripts/push-chart makes it.
#[test]
fn a_published_chart_runs_its_image_by_the_digest() {
    let published = "registry.example:5000/corp/restamp:1.2.0@sha256:12";
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-R")
        .arg(path("charts/restamp"))
        .arg(folder.path())
        .status();
    assert!(copied.unwrap().success());
    let chart = folder.path().join("restamp");
    let about = fs::read_to_string(chart.join("Chart.yaml")).unwrap();
    let about = about.replace("image: restamp:dev", &format!("image: {published}"));
    fs::write(chart.join("Chart.yaml"), about).unwrap();
    let image = |given: &str| {
        let args = [
            "template",
            "restamp",
            chart.to_str().unwrap(),
            "--set",
            given,
        ];
        let objects = objects(&printed(&helm(HELMS[0], &args)));
        let watcher = container(one(&objects, "Deployment", "restamp-watcher"));
        watcher["image"].as_str().unwrap().to_owned()
    };
    for ours in [
        "image.tag=",
        "image.tag=v1.4.21",
        "image.repository=ghcr.io/stakater/reloader,image.digest=sha256:1",
    ] {
        assert_eq!(image(ours), published, "{ours}");
    }
    // A copy may have another.
    for (given, expected) in [
        (
            "global.imageRegistry=mirror.example",
            "mirror.example/corp/restamp:1.2.0",
        ),
        (
            "image.repository=mirror.example/restamp",
            "mirror.example/restamp:1.2.0",
        ),
        (
            "image.tag=1.1.0",
            "registry.example:5000/corp/restamp:1.1.0",
        ),
        (
            "image.digest=sha256:1",
            "registry.example:5000/corp/restamp@sha256:1",
        ),
    ] {
        assert_eq!(image(given), expected, "{given}");
    }
}

#[test]
fn values_of_reloader_are_taken_as_they_are_and_notes_say_which_change_nothing() {
    let of_reloader = cases().into_iter();
    let of_reloader: Vec<_> = of_reloader
        .filter(|case| case.starts_with(OF_RELOADER))
        .collect();
    assert!(of_reloader.len() > 5, "{of_reloader:?}");
    for case in of_reloader {
        let notes = notes(&["-f", &values(&case)]);
        assert!(notes.contains("helm test restamp"), "{notes}");
    }
    let without_effect = |case| {
        let notes = notes(&["-f", &values(case)]);
        let lines = notes.lines().filter(|line| line.starts_with("- "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        without_effect("reloader-defaults"),
        ["- image is one of Reloader's and is not run: restamp:dev is."]
    );
    assert_eq!(
        without_effect("reloader-ha"),
        [
            "- reloader.enableHA has no effect: several replicas always elect one.",
            "- reloader.syncAfterRestart has no effect: what changed meanwhile is always found.",
        ]
    );
    assert_eq!(without_effect("default"), [""; 0]);
}

#[test]
fn each_value_of_reloader_s_that_changes_nothing_is_named_with_why() {
    for (given, why) in [
        ("reloader.isArgoRollouts=true", "they always are"),
        ("reloader.isOpenshift=true", "they always are"),
        ("reloader.enableCSIIntegration=true", "they always are"),
        ("reloader.enableHA=true", "several replicas always elect"),
        ("reloader.syncAfterRestart=true", "what changed meanwhile"),
        ("reloader.enablePProf=true", "there is none"),
        ("reloader.pprofAddr=:1", "there is no profiler"),
        ("reloader.legacy.rbac=true", "these clusters are too old"),
        (
            "reloader.deployment.gomaxprocsOverride=1",
            "there is no Go runtime",
        ),
        (
            "reloader.deployment.gomemlimitOverride=1",
            "there is no Go runtime",
        ),
        ("kubernetes.host=https://a.example", "Kubernetes tells"),
    ] {
        let (name, _) = given.split_once('=').unwrap();
        let told = format!("- {name} has no effect: {why}");
        let notes = notes(&["--set", given]);
        assert!(notes.contains(&told), "{told}: {notes}");
    }
}

/// Every value that Reloader's chart has by default is known, so that files made from it are taken.
#[test]
fn the_rest_of_reloader_s_values_is_known() {
    let more = json!({
        "reloader": {
            "volumes": [], "volumeMounts": [],
            "deployment": { "gomaxprocsOverride": 1, "gomemlimitOverride": 100_000_000, "automountServiceAccountToken": true, "hostUsers": true },
            "serviceAccount": { "automountServiceAccountToken": false },
            "serviceMonitor": { "namespace": "a", "interval": "1s", "scheme": "http", "tlsConfig": {}, "bearerTokenFile": "b", "timeout": "1s" },
            "podMonitor": { "namespace": "a", "interval": "1s", "scheme": "http", "tlsConfig": {}, "bearerTokenSecret": {}, "timeout": "1s" },
            "verticalPodAutoscaler": { "recommenders": [], "controlledValues": "RequestsOnly" },
            "service": { "ipFamilies": ["IPv4"] },
        },
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    fs::write(&file, more.to_string()).unwrap();
    printed(&template(HELMS[0], &["-f", file.to_str().unwrap()]));
}

#[test]
fn the_ca_is_rendered_only_where_it_is_given() {
    for case in cases() {
        let objects = objects(&rendered(&case));
        for ((kind, _, name), object) in &objects {
            if kind != "MutatingWebhookConfiguration" {
                continue;
            }
            let client = &object["webhooks"][0]["clientConfig"];
            let given = client.get("caBundle").is_some();
            assert_eq!(given, case == "provided-ca", "{case} {name}");
        }
    }
    assert!(path("charts/restamp/values.schema.json").exists());
}
