//! The cluster that the demo was given, and Restamp on it.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use restamp::webhook::PATH;
use restamp_dev_certs::{Authority, Validity};
use restamp_test_cluster::install::{self, Process};
use tempfile::TempDir;

use crate::{Result, shop::NAMESPACE};

/// The cluster, and the program that was built.
pub struct Ground {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    program: PathBuf,
    files: TempDir,
}

/// A process of Restamp. It ends with this handle.
pub struct Restamp(Process);

impl Restamp {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        Ok(())
    }
}

impl Ground {
    /// Looks where `restamp-test-cluster exec` and cargo put things.
    pub fn find() -> Result<Self> {
        let kubeconfig = env::var_os("E2E_KUBECONFIG").ok_or("no cluster: run `make demo`")?;
        // target/debug/restamp beside target/debug/examples/demo.
        let own = env::current_exe()?;
        let program = own.ancestors().nth(2).map(|dir| dir.join("restamp"));
        let program = program
            .filter(|program| program.exists())
            .ok_or("restamp is not built: run `make demo`")?;
        Ok(Self {
            kubeconfig: kubeconfig.into(),
            kubectl: env::var_os("E2E_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from),
            program,
            files: tempfile::Builder::new().prefix("restamp-demo-").tempdir()?,
        })
    }

    /// The administrator.
    pub async fn client(&self) -> Result<Client> {
        // An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        Ok(Client::try_from(config)?)
    }

    /// Applies the release manifests, and gets kubeconfigs with the rights that they give.
    pub async fn install(&self, client: &Client) -> Result<()> {
        install::apply_manifests(&self.kubectl, &self.kubeconfig, &manifests()).await?;
        for part in ["watcher", "webhook"] {
            let (admin, out) = (&self.kubeconfig, self.file(&format!("{part}.json")));
            let account = format!("restamp-{part}");
            let client = client.clone();
            install::service_account_kubeconfig(client, admin, "restamp-system", &account, &out)
                .await?;
        }
        Ok(())
    }

    /// Starts a watcher with the rights that the manifests give it.
    pub fn start_watcher(&self) -> Result<Restamp> {
        self.start("watcher", &[])
    }

    /// Starts a webhook with the rights that the manifests give it, and tells the API server where it is.
    pub async fn start_webhook(&self) -> Result<Restamp> {
        let host = webhook_host()?;
        let authority = Authority::generate()?;
        let identity = authority.server(&[&host], Validity::for_days(1))?;
        identity.write(self.files.path(), "tls")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen = match host.as_str() {
            "127.0.0.1" => format!("{host}:{port}"),
            _ => format!("0.0.0.0:{port}"),
        };
        let certs = self.files.path().display().to_string();
        let webhook = self.start("webhook", &["--listen", &listen, "--cert-dir", &certs])?;
        let url = format!("https://{host}:{port}{PATH}");
        let (kubectl, admin) = (&self.kubectl, &self.kubeconfig);
        let ca = authority.certificate();
        install::apply_webhook_configuration(kubectl, admin, &manifests(), &url, ca).await?;
        Ok(webhook)
    }

    fn start(&self, part: &str, args: &[&str]) -> Result<Restamp> {
        let mut command = Command::new(&self.program);
        command
            .arg(part)
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(args)
            .env("KUBECONFIG", self.file(&format!("{part}.json")));
        let process = Process::start(command, &self.file("restamp.log"))?;
        Ok(Restamp(process))
    }

    /// What watchers and webhook logged.
    pub fn log(&self) -> String {
        // There is no file if the demo broke off before.
        fs::read_to_string(self.file("restamp.log")).unwrap_or_default()
    }

    /// Runs kubectl as the administrator, from the top of the project.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.kubectl);
        command.arg("--cache-dir").arg(self.file("kubectl"));
        self.output(command.args(args)).await
    }

    /// Runs `restamp` as the administrator.
    pub async fn restamp(&self, args: &[&str]) -> Result<String> {
        self.output(tokio::process::Command::new(&self.program).args(args))
            .await
    }

    /// Commands for people who look around.
    pub fn hints(&self) -> [String; 3] {
        let (kubectl, program) = (self.kubectl.display(), self.program.display());
        [
            format!("export KUBECONFIG={}", self.kubeconfig.display()),
            format!("{kubectl} -n {NAMESPACE} get all,events"),
            format!("{program} explain statefulset/catalog -n {NAMESPACE}"),
        ]
    }

    async fn output(&self, command: &mut tokio::process::Command) -> Result<String> {
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .kill_on_drop(true);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().await?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&stderr);
        Err(format!("{:?}: {status}: {}", command.as_std(), said.trim_end()).into())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base")
}

/// Where the API server reaches this machine.
fn webhook_host() -> Result<String> {
    let ours = env::var_os("E2E_CLUSTER_BIN").map(|_| "127.0.0.1".to_owned());
    let host = env::var("E2E_WEBHOOK_HOST").ok().or(ours);
    Ok(host.ok_or("E2E_WEBHOOK_HOST has to say where the API server can call this machine")?)
}
