//! Helm and kubectl as commands.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use restamp_test_cluster::skipped;

/// Helm 4 and Helm 3, as `make chart` has them in PATH.
pub const HELMS: [&str; 2] = ["helm", "helm3"];
/// The oldest Kubernetes that the chart is for.
pub const OLDEST: &str = "1.30.0";
/// The namespace and the release whose names the manifests have.
pub const SYSTEM: &str = "restamp-system";
pub const RELEASE: &str = "restamp";
/// No condition takes longer, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(90);

/// The path of something in the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The values of the tests: names of files in tests/chart/values, without their ending.
pub fn cases() -> Vec<String> {
    let entries = fs::read_dir(path("tests/chart/values")).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The file of a case.
pub fn values(case: &str) -> String {
    let file = path(&format!("tests/chart/values/{case}.yaml"));
    file.to_str().unwrap().to_owned()
}

fn kubectl_program() -> PathBuf {
    env::var_os("E2E_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}

/// The administrator's kubeconfig.
pub fn kubeconfig() -> PathBuf {
    let given = env::var_os("E2E_KUBECONFIG");
    given
        .expect("no cluster: run `make chart`, or set E2E_KUBECONFIG")
        .into()
}

/// Whether the cluster is one of `make chart`, whose nodes take every pod for ready and run none. Says what is skipped
/// on another, where nothing has the images, or the API server may not reach this machine.
pub fn nodes_are_simulated() -> bool {
    let simulated = env::var_os("E2E_CLUSTER_BIN").is_some();
    if !simulated {
        skipped("it needs simulated nodes, as `make chart` has without E2E_KUBECONFIG");
    }
    simulated
}

/// One of [`HELMS`], about the chart and the cluster.
pub fn helm(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(path("."))
        .env("KUBECONFIG", kubeconfig());
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{program} is needed, run `make chart`: {error}"))
}

/// What a command printed that went well.
pub fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command complained about that did not go well.
pub fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// What `helm template` makes of the chart, for the oldest Kubernetes.
pub fn template(program: &str, more: &[&str]) -> Output {
    let args = [
        "template",
        RELEASE,
        "charts/restamp",
        "-n",
        SYSTEM,
        "--kube-version",
        OLDEST,
    ];
    helm(program, &[&args, more].concat())
}

/// What Helm 4 makes of a case.
pub fn rendered(case: &str) -> String {
    printed(&template(HELMS[0], &["-f", &values(case)]))
}

/// kubectl as the administrator.
pub fn kubectl(args: &[&str]) -> Output {
    let mut command = Command::new(kubectl_program());
    command
        .args(args)
        .current_dir(path("."))
        .env("KUBECONFIG", kubeconfig());
    command.output().expect("kubectl runs")
}

/// A kubeconfig with the rights of a ServiceAccount, in `folder`.
pub fn kubeconfig_of(folder: &Path, namespace: &str, account: &str) -> PathBuf {
    let token = printed(&kubectl(&["create", "token", account, "-n", namespace]));
    let admin = printed(&kubectl(&["config", "view", "--raw", "-o", "json"]));
    let mut config: serde_json::Value = serde_json::from_str(&admin).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    if let Some(file) = cluster["certificate-authority"].as_str() {
        let absolute = kubeconfig().parent().unwrap().join(file);
        cluster["certificate-authority"] = absolute.to_str().unwrap().into();
    }
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = serde_json::json!({ "token": token.trim() });
    }
    let file = folder.join(format!("{account}.json"));
    fs::write(&file, config.to_string()).unwrap();
    file
}

/// Waits until `probe` gives `Ok`; panics with its last complaint when it takes too long.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > deadline => panic!("{what}: {complaint}"),
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
