//! The library against a real cluster of its own. The first run builds Kubernetes, so it is only
//! run when asked for: `cargo test -p restamp-test-cluster -- --ignored`.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use restamp_test_cluster::{
    Part, SupervisedCluster,
    install::{Process, apply_manifests, service_account_kubeconfig},
};
use std::{fs, path::Path, process::Command, time::Duration};

const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds Kubernetes on its first run"]
async fn a_process_has_the_rights_of_its_service_account() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let cluster = SupervisedCluster::start(Path::new(env!("CARGO_BIN_EXE_restamp-test-cluster")))?;
    let dir = cluster.dir().to_owned();
    let own = tempfile::tempdir()?;

    write_manifests(own.path())?;
    apply_manifests(cluster.kubectl(), cluster.kubeconfig(), own.path()).await?;
    let reader = own.path().join("reader.kubeconfig");
    let admin = client(cluster.kubeconfig()).await?;
    let account = ("default", "reader");
    service_account_kubeconfig(admin, cluster.kubeconfig(), account.0, account.1, &reader).await?;
    rights_are_those_of_the_role(&reader).await?;

    cluster.restart(Part::Etcd)?;
    cluster.stop(Part::ApiServer)?;
    ensure!(rights_are_those_of_the_role(&reader).await.is_err());
    cluster.start_part(Part::ApiServer)?;
    rights_are_those_of_the_role(&reader).await?;

    kubectl_runs_as_the_account(&cluster, &reader, own.path()).await?;
    let audit = fs::read_to_string(cluster.audit_log())?;
    ensure!(audit.contains("system:serviceaccount:default:reader"));

    drop(cluster);
    ensure!(!dir.exists(), "{} was left behind", dir.display());
    Ok(())
}

fn write_manifests(dir: &Path) -> Result<()> {
    let kustomization = "namespace: default\nresources: [reader.yaml]\n";
    fs::write(dir.join("kustomization.yaml"), kustomization)?;
    fs::write(dir.join("reader.yaml"), MANIFEST)?;
    Ok(())
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn rights_are_those_of_the_role(kubeconfig: &Path) -> Result<()> {
    let client = client(kubeconfig).await?;
    let list = ListParams::default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    config_maps.list(&list).await?;
    let secrets: Api<Secret> = Api::namespaced(client, "default");
    match secrets.list(&list).await {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => anyhow::bail!("not forbidden: {other:?}"),
    }
}

async fn kubectl_runs_as_the_account(
    cluster: &SupervisedCluster,
    kubeconfig: &Path,
    dir: &Path,
) -> Result<()> {
    let mut kubectl = Command::new(cluster.kubectl());
    kubectl
        .args(["auth", "whoami", "--cache-dir"])
        .arg(dir)
        .env("KUBECONFIG", kubeconfig);
    let mut process = Process::start(kubectl, &dir.join("whoami.log"))?;
    let status = process.wait(Duration::from_secs(30)).await?;
    ensure!(status.success(), "{}", process.log());
    let said = process.log();
    said.contains("system:serviceaccount:default:reader")
        .then_some(())
        .context(said)
}
