//! The command line of stakater/Reloader 1.4.21, as its chart writes it.

use std::process::Command;

/// All of its flags, in the forms in which they are given there.
const FLAGS: [&str; 42] = [
    "--log-format=json",
    "--log-level=info",
    "--resources-to-ignore=secrets",
    "--ignored-workload-types=jobs,cronjobs",
    "--namespaces=a,b",
    "--namespaces-to-ignore=c",
    "--namespace-selector=\"env=test\"",
    "--resource-label-selector=team:*",
    "--enable-pprof",
    "--pprof-addr=:6060",
    "--enable-csi-integration=true",
    "--configmap-annotation",
    "example.com/a",
    "--secret-annotation",
    "example.com/b",
    "--auto-annotation",
    "example.com/c",
    "--configmap-auto-annotation",
    "example.com/d",
    "--secret-auto-annotation",
    "example.com/e",
    "--auto-search-annotation",
    "example.com/f",
    "--search-match-annotation",
    "example.com/g",
    "--ignore-annotation",
    "example.com/h",
    "--pause-deployment-annotation",
    "example.com/i",
    "--pause-deployment-time-annotation",
    "example.com/j",
    "--webhook-url",
    "http://hooks.example",
    "--is-Argo-Rollouts=true",
    "--reload-on-create=true",
    "--reload-on-delete=true",
    "--sync-after-restart=true",
    "--reload-strategy=env-vars",
    "--enable-ha=true",
    "--auto-reload-all=true",
    "--log-level",
    "info",
];

#[test]
fn every_flag_of_reloader_is_taken_in_the_forms_of_its_chart() {
    let output = Command::new(env!("CARGO_BIN_EXE_restamp"))
        .arg("watcher")
        .args(FLAGS)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("found no cluster"), "{said}");
    let names = FLAGS.iter().filter_map(|it| it.strip_prefix("--"));
    let names = names.map(|it| it.split('=').next().unwrap());
    let names: std::collections::BTreeSet<_> = names.collect();
    assert_eq!(names.len(), 29);
}
