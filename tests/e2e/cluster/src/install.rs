//! Restamp as a process of the test, under the rights that its release gives it.

use crate::{kubeconfig, process::spawn_tied};
use anyhow::{Context, Result, bail};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{Cluster, Kubeconfig},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// Applies a kustomize folder with server-side apply.
///
/// # Errors
/// When kubectl refuses; the error carries what it said.
pub async fn apply_manifests(kubectl: &Path, admin_kubeconfig: &Path, dir: &Path) -> Result<()> {
    apply(kubectl, admin_kubeconfig, "-k", dir).await
}

/// Lets the API server of the cluster call a webhook at `url`, whose CA is `ca_pem`: applies the
/// MutatingWebhookConfiguration of a kustomize folder, changed in nothing but where it leads.
///
/// # Errors
/// When the folder has not exactly one, or kubectl refuses.
pub async fn apply_webhook_configuration(
    kubectl: &Path,
    admin_kubeconfig: &Path,
    dir: &Path,
    url: &str,
    ca_pem: &str,
) -> Result<()> {
    let mut configuration = webhook_configuration(kubectl, dir).await?;
    let ca_bundle = ByteString(ca_pem.as_bytes().to_vec());
    let webhooks = configuration.get_mut("webhooks");
    for webhook in webhooks.and_then(Value::as_array_mut).into_iter().flatten() {
        webhook["clientConfig"] = json!({ "url": url, "caBundle": ca_bundle });
    }
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    fs::write(&file, configuration.to_string()).context("cannot write a temporary file")?;
    apply(kubectl, admin_kubeconfig, "-f", file.path()).await
}

async fn webhook_configuration(kubectl: &Path, dir: &Path) -> Result<Value> {
    let mut command = tokio::process::Command::new(kubectl);
    command.arg("kustomize").arg(dir);
    let rendered = run(command).await?;
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&rendered)
        .with_context(|| format!("{} does not render to YAML", dir.display()))?;
    objects.retain(|object| object["kind"] == "MutatingWebhookConfiguration");
    match objects.pop() {
        Some(configuration) if objects.is_empty() => Ok(configuration),
        _ => bail!("{} has not one MutatingWebhookConfiguration", dir.display()),
    }
}

/// Server-side apply of what an option of kubectl says: `-k` a folder, `-f` a file.
async fn apply(kubectl: &Path, admin_kubeconfig: &Path, option: &str, what: &Path) -> Result<()> {
    // Clusters reuse ports, so the discovery cache of the user may be about another one.
    let cache = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut command = tokio::process::Command::new(kubectl);
    command
        .args(["apply", "--server-side"])
        .arg(option)
        .arg(what)
        .arg("--kubeconfig")
        .arg(admin_kubeconfig)
        .arg("--cache-dir")
        .arg(cache.path());
    run(command).await.map(drop)
}

/// What the command printed.
async fn run(mut command: tokio::process::Command) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}", said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown}: not UTF-8"))
}

/// Writes to `out` a kubeconfig that acts as a ServiceAccount, with a token for a day (in the file
/// `out` with `.token` added) and the cluster that `admin_kubeconfig` names.
///
/// # Errors
/// When the ServiceAccount does not exist, or a file cannot be read or written.
pub async fn service_account_kubeconfig(
    client: Client,
    admin_kubeconfig: &Path,
    namespace: &str,
    name: &str,
    out: &Path,
) -> Result<()> {
    let cluster = cluster_of(admin_kubeconfig)?;
    let token = token(client, namespace, name)
        .await
        .with_context(|| format!("cannot get a token of ServiceAccount {namespace}/{name}"))?;
    let token_file = std::path::absolute(out)?.with_added_extension("token");
    kubeconfig::write_private(&token_file, token)?;
    let user = json!({ "tokenFile": token_file });
    let config = kubeconfig::render(serde_json::to_value(cluster)?, user);
    kubeconfig::write_private(out, config.to_string())
}

async fn token(client: Client, namespace: &str, name: &str) -> Result<String> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await?;
    Ok(answer.status.context("the answer has no token")?.token)
}

fn cluster_of(admin_kubeconfig: &Path) -> Result<Cluster> {
    let shown = admin_kubeconfig.display();
    // Read from an absolute path, so that a relative path of the CA becomes absolute, too.
    let config = Kubeconfig::read_from(std::path::absolute(admin_kubeconfig)?)
        .with_context(|| format!("cannot read the kubeconfig {shown}"))?;
    let name = match &config.current_context {
        Some(current) => config
            .contexts
            .iter()
            .find(|context| context.name == *current)
            .and_then(|context| context.context.as_ref())
            .map(|context| context.cluster.clone()),
        None => None,
    };
    let name = name.with_context(|| format!("{shown} has no current context"))?;
    config
        .clusters
        .into_iter()
        .find(|cluster| cluster.name == name)
        .and_then(|cluster| cluster.cluster)
        .with_context(|| format!("{shown} has no cluster {name:?}"))
}

/// A process that ends with its handle, and its output.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to the file `log`.
    ///
    /// # Errors
    /// When the program or the file cannot be opened.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let program = command.get_program().to_owned();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child =
            spawn_tied(command).with_context(|| format!("cannot start {}", program.display()))?;
        let log = log.to_owned();
        Ok(Self { child, log })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it, as a crash would, and waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Asks it to end (SIGTERM). A process that has ended already is no error.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn terminate(&mut self) -> Result<()> {
        // Until it has been waited for, the id cannot have become another process's.
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("process {} still runs after {limit:?}", self.id());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it has printed so far, and what earlier processes printed to the same file.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_process_is_waited_for_and_logged() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process = Process::start(shell("echo out; echo err >&2; exit 3"), &log).unwrap();
        let status = process.wait(Duration::from_secs(10)).await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(process.log(), "out\nerr\n");
        process.terminate().unwrap();
    }

    #[tokio::test]
    async fn a_process_ends_when_asked_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process = Process::start(shell("exec sleep 60"), &log).unwrap();
        assert!(process.is_running());
        assert!(process.wait(Duration::ZERO).await.is_err());
        process.terminate().unwrap();
        let status = process.wait(Duration::from_secs(10)).await.unwrap();
        assert!(!status.success());
    }

    #[test]
    fn the_cluster_is_copied_with_an_absolute_ca() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let cluster = json!({"server": "https://x:1", "certificate-authority": "ca.crt"});
        let text = kubeconfig::render(cluster, json!({})).to_string();
        fs::write(&path, text).unwrap();
        let cluster = cluster_of(&path).unwrap();
        let ca = cluster.certificate_authority.unwrap();
        assert_eq!(Path::new(&ca), dir.path().join("ca.crt"));
        assert_eq!(cluster.server.as_deref(), Some("https://x:1"));
    }
}
