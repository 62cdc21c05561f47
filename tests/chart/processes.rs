//! Watcher and webhook as a release starts them, as processes under the rights that it gives them. Simulated nodes run
//! nothing, so these are the only ones.

use std::{net::TcpListener, process::Command};

use restamp_dev_certs::{Authority, Validity};
use serde_json::{Value, json};

use super::{
    helm::{HELMS, kubeconfig_of, kubectl, nodes_are_simulated, printed, until},
    objects::{list, objects, one},
    release::{Namespace, Release, left_in},
    started::{Started, free_port},
};

fn config_map(namespace: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "level", "namespace": namespace },
        "data": { "level": value },
    })
}

fn deployment(namespace: &str, name: &str) -> Value {
    let env = json!([{ "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "level", "key": "level" } } }]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": { "reloader.stakater.com/auto": "true" },
        },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": name, "image": "example", "env": env }] },
            },
        },
    })
}

/// A namespace whose workloads go through the webhook, and that is the only one with its name as a label.
fn shop(name: &str) -> Namespace {
    let labels = json!({ "restamp.dev/inject": "enabled", "chart-test": name });
    let shop = Namespace::new(&format!("chart-shop-{name}"), &labels);
    shop.apply(&config_map(&shop.name, "one"), &[]);
    shop.apply(&deployment(&shop.name, "web"), &[]);
    shop
}

fn stamp(deployment: &Value) -> Option<&str> {
    deployment["spec"]["template"]["metadata"]["annotations"]["restamp.dev/config-hash"].as_str()
}

fn is_recorded(shop: &Namespace) {
    until("the workload is recorded", || {
        let web = shop.get("deployment/web");
        let observed = &web["metadata"]["annotations"]["restamp.dev/observed"];
        observed.as_str().map(drop).ok_or(web.to_string())
    });
}

fn change_restarts(shop: &Namespace, value: &str) {
    let before = shop.get("deployment/web");
    shop.apply(&config_map(&shop.name, value), &[]);
    until("the workload is restarted", || {
        let now = shop.get("deployment/web");
        let restarted = stamp(&now) != stamp(&before);
        restarted.then_some(()).ok_or(now.to_string())
    });
}

/// Values of a release that follows that namespace, and none of other tests: each has a key of its own.
fn following(name: &str) -> String {
    let watched = format!("reloader.namespaceSelector=chart-test={name}");
    let reviewed = format!("webhook.namespaceSelector.matchLabels.chart-test={name}");
    format!("certificates.mode=provided,watcher.settle=0s,{watched},{reviewed}")
}

#[test]
fn the_rights_suffice_for_what_is_switched_on() {
    if !nodes_are_simulated() {
        return;
    }
    let ignored = "reloader.ignoreSecrets=true,reloader.ignoreJobs=true,watcher.runCronJobsOnChange=false,watcher.metaInfo=true";
    for (name, more) in [("all", ""), ("ignored", ignored), ("named", "")] {
        let shop = shop(name);
        let values = if name == "named" {
            let scope = "reloader.watchGlobally=false,certificates.mode=provided,watcher.settle=0s";
            format!("{scope},reloader.namespaces={{{}}}", shop.name)
        } else {
            format!("{},{more}", following(name))
        };
        let release = Release::install(HELMS[0], name, &["--set", values.trim_end_matches(',')]);
        let watcher = Started::new(&release, "watcher", &[]);
        watcher.until_leading();
        is_recorded(&shop);
        change_restarts(&shop, "two");
        if name == "ignored" {
            until("the set-up is told", || {
                let left = left_in(&release.home.name);
                let told = left.contains(&"configmap/reloader-meta-info".to_owned());
                told.then_some(()).ok_or(watcher.process.log())
            });
        }
        watcher.has_its_rights();
    }
}

/// Both in the whole cluster and in some namespaces, with no right to Secrets but to those of Restamp.
#[test]
fn certificates_are_made_with_the_rights_of_a_release_and_stay_when_it_changes() {
    if !nodes_are_simulated() {
        return;
    }
    let scoped =
        "reloader.watchGlobally=false,reloader.namespaces={default},reloader.ignoreSecrets=true";
    let all = following("made").replace("certificates.mode=provided,", "");
    for (name, values) in [("made", all.as_str()), ("made-scoped", scoped)] {
        let release = Release::install(HELMS[0], name, &["--set", values]);
        let watcher = Started::new(&release, "watcher", &[]);
        watcher.until_leading();
        let trusted = || {
            let what = format!("mutatingwebhookconfiguration/{}", release.name);
            let configuration = release.home.get(&what);
            let ca = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
            ca.as_str().map(str::to_owned).ok_or(watcher.process.log())
        };
        let ca = until("the API server is told whom to trust", trusted);
        let address = format!("127.0.0.1:{}", free_port());
        let webhook = Started::new(&release, "webhook", &["--listen", &address]);
        webhook.until_ready();
        release.upgrade(&["--set", "webhook.deployment.replicas=1"]);
        assert_eq!(trusted(), Ok(ca));
        for process in [&watcher, &webhook] {
            process.has_its_rights();
        }
    }
}

#[test]
fn in_place_of_restarts_a_webhook_is_told_with_few_rights() {
    if !nodes_are_simulated() {
        return;
    }
    let shop = shop("told");
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let url = format!("http://{}", receiver.local_addr().unwrap());
    let values = format!("{},reloader.webhookUrl={url}", following("told"));
    let release = Release::install(HELMS[0], "told", &["--set", &values]);
    let watcher = Started::new(&release, "watcher", &[]);
    watcher.until_leading();
    shop.apply(&config_map(&shop.name, "two"), &[]);
    until("the receiver is told", || {
        let call = receiver.accept().map_err(|error| error.to_string());
        call.map(drop)
    });
    watcher.has_its_rights();
    assert_eq!(stamp(&shop.get("deployment/web")), None);
}

/// Has the API server call the process as it would call the Service, behind which nothing runs.
fn lead_here(release: &Release, url: &str, authority: &Authority) {
    let objects = release.objects();
    let mut configuration = one(&objects, "MutatingWebhookConfiguration", &release.name).clone();
    let ca = k8s_openapi::ByteString(authority.certificate().as_bytes().to_vec());
    let name = format!("{}-here", release.name);
    configuration["metadata"] = json!({ "name": name });
    configuration["webhooks"][0]["clientConfig"] = json!({ "url": url, "caBundle": ca });
    release.home.apply(&configuration, &[]);
}

#[test]
fn a_release_that_works_restarts_nothing_by_its_own_changes_and_leaves_what_is_documented() {
    if !nodes_are_simulated() {
        return;
    }
    let shop = shop("works");
    let values = following("works");
    let release = Release::install(HELMS[0], "works", &["--set", &values]);
    let mut watcher = Started::new(&release, "watcher", &[]);
    watcher.until_leading();
    is_recorded(&shop);

    let authority = Authority::generate().unwrap();
    let identity = authority.server(&["127.0.0.1"], Validity::for_days(1));
    let folder = release.home.folder();
    identity.unwrap().write(folder, "tls").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let more = ["--listen", &address, "--cert-dir", folder.to_str().unwrap()];
    let webhook = Started::new(&release, "webhook", &more);
    webhook.until_ready();
    lead_here(&release, &format!("https://{address}/mutate"), &authority);
    until("a workload is stamped while it is made", || {
        let file = folder.join("new.json");
        std::fs::write(&file, deployment(&shop.name, "new").to_string()).unwrap();
        let file = file.to_str().unwrap();
        let args = ["create", "--dry-run=server", "-o", "json", "-f", file];
        let made = printed(&kubectl(&args));
        let made: Value = serde_json::from_str(&made).unwrap();
        stamp(&made).map(drop).ok_or(webhook.process.log())
    });
    change_restarts(&shop, "two");
    let generation = || shop.get("deployment/web")["metadata"]["generation"].clone();
    let before = generation();
    release.upgrade(&["--set", "reloader.deployment.replicas=3"]);
    watcher.process.terminate().unwrap();
    watcher = Started::new(&release, "watcher", &[]);
    watcher.until_leading();
    release.helm("rollback", &["1"]);
    assert_eq!(generation(), before);
    for process in [&watcher, &webhook] {
        process.has_its_rights();
    }
    a_trial_fails_without(&release, watcher, webhook);
    release.helm("uninstall", &[]);
    let here = format!("{}-here", release.name);
    printed(&kubectl(&["delete", "mutatingwebhookconfiguration", &here]));
    assert_eq!(generation(), before);
    until("what is documented is left", || {
        let left = left_in(&release.home.name);
        let documented = [
            "secret/restamp-key",
            "lease.coordination.k8s.io/restamp-watcher",
        ];
        (left == documented)
            .then_some(())
            .ok_or(format!("{left:?}"))
    });
    shop.apply(&deployment(&shop.name, "new"), &[]);
}

/// What `helm test` would run, with the rights that it would have; simulated nodes would not run it.
struct Trial<'a> {
    release: &'a Release,
    args: Vec<String>,
}

impl<'a> Trial<'a> {
    fn new(release: &'a Release) -> Self {
        let name = format!("{}-check", release.name);
        let rendered = release.helm(
            "template",
            &["charts/restamp", "--set", &following("works")],
        );
        let mut hooks: Vec<_> = objects(&rendered)
            .into_values()
            .filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "test")
            .collect();
        hooks.sort_by_key(|hook| hook["kind"] != "Namespace");
        let pod = hooks.iter().find(|hook| hook["kind"] == "Pod").unwrap();
        assert_eq!(pod["spec"]["serviceAccountName"], name);
        let args = list(&pod["spec"]["containers"][0]["args"]);
        let args = args.into_iter().map(str::to_owned).collect();
        hooks.retain(|hook| hook["kind"] != "Pod");
        for hook in &hooks {
            release.home.apply(hook, &[]);
        }
        Self { release, args }
    }

    /// Runs it; gives what it printed, and whether it went well.
    fn run(&self, timeout: &str) -> (String, bool) {
        let home = &self.release.home;
        let account = format!("{}-check", self.release.name);
        let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
            .args(&self.args)
            .args(["--timeout", timeout])
            .env(
                "KUBECONFIG",
                kubeconfig_of(home.folder(), &home.name, &account),
            )
            .env("RESTAMP_NAMESPACE", &home.name)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said, output.status.success())
    }

    /// Runs it, and expects these beginnings of lines.
    fn says(&self, expected: [&str; 4]) {
        let well = expected.iter().all(|line| line.starts_with("ok"));
        let (said, went_well) = self.run(if well { "60s" } else { "4s" });
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{said}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{said}");
        }
        assert_eq!(went_well, well, "{said}");
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        let name = format!("{}-check", self.release.name);
        kubectl(&["delete", "namespace", &name, "--wait=false"]);
        let kinds = "serviceaccount,role,rolebinding";
        kubectl(&["delete", kinds, &name, "-n", &self.release.home.name]);
    }
}

fn a_trial_fails_without(release: &Release, mut watcher: Started, webhook: Started) {
    let trial = Trial::new(release);
    let ready = "ok: 2 of 2 pods of restamp-works-";
    let stamped = "ok: what is created in restamp-works-check is stamped";
    trial.says([ready, ready, "ok: ", stamped]);
    drop(webhook);
    trial.says([
        ready,
        ready,
        "ok: ",
        "FAILED: what is created in restamp-works-check is not stamped",
    ]);
    watcher.process.terminate().unwrap();
    until("the watcher has ended", || {
        match watcher.process.is_running() {
            true => Err("it runs".to_owned()),
            false => Ok(()),
        }
    });
    trial.says([ready, ready, "FAILED: no watcher leads", "FAILED: what"]);
    let deployment = format!("deployment/{}-watcher", release.name);
    printed(&kubectl(&[
        "scale",
        &deployment,
        "--replicas=1000",
        "-n",
        &release.home.name,
    ]));
    trial.says([
        "FAILED: ",
        ready,
        "FAILED: no watcher leads",
        "FAILED: what",
    ]);
}

#[test]
fn the_objects_of_a_release_are_those_that_are_rendered() {
    if !nodes_are_simulated() {
        return;
    }
    let release = Release::install(HELMS[0], "same", &[]);
    let rendered = objects(&release.helm("template", &["charts/restamp", "--skip-tests"]));
    assert_eq!(release.objects(), rendered);
}
