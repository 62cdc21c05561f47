//! A cluster with Restamp's manifests in it, and watchers as processes under their real rights.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use restamp_test_cluster::{SupervisedCluster, install, skipped};
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::{replica::Replica, wait::until, webhook::Webhook};

/// The namespace that Restamp is installed in.
pub const SYSTEM: &str = "restamp-system";
/// The settle window of every watcher in the tests.
pub const SETTLE: &str = "1s";
/// Control planes of their own that run at once; each takes half a gigabyte.
const OWN_CLUSTERS: usize = 2;

static OWN: Semaphore = Semaphore::const_new(OWN_CLUSTERS);
static SHARED: OnceCell<Shared> = OnceCell::const_new();

struct Shared {
    ground: Ground,
    watcher: Replica,
    webhook: Option<Webhook>,
}

/// A cluster and the way to it.
#[derive(Clone)]
pub struct Ground {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    audit_log: Option<PathBuf>,
    files: Arc<TempDir>,
    own: Option<Arc<Own>>,
}

struct Own {
    cluster: SupervisedCluster,
    _permit: SemaphorePermit<'static>,
}

impl Ground {
    /// The cluster that all tests share, with a watcher that nobody stops.
    pub async fn shared() -> Ground {
        Self::shared_with_watcher().await.0
    }

    /// The shared cluster, and its watcher.
    pub async fn shared_with_watcher() -> (Ground, &'static Replica) {
        let shared = Self::get_shared().await;
        (shared.ground.clone(), &shared.watcher)
    }

    /// The shared cluster, and its webhook; nothing where the API server cannot call us.
    pub async fn shared_with_webhook(test: &str) -> Option<(Ground, &'static Webhook)> {
        let shared = Self::get_shared().await;
        let webhook = shared.webhook.as_ref();
        if webhook.is_none() {
            skipped(format_args!(
                "{test} needs E2E_WEBHOOK_HOST, where the API server can call this machine"
            ));
        }
        Some((shared.ground.clone(), webhook?))
    }

    async fn get_shared() -> &'static Shared {
        SHARED
            .get_or_init(|| async {
                let ground = Self::given();
                ground.install().await;
                let watcher = ground.watcher("shared").await;
                watcher.until_ready().await;
                let webhook = match Webhook::host() {
                    Some(host) => Some(ground.webhook(&host).await),
                    None => None,
                };
                Shared {
                    ground,
                    watcher,
                    webhook,
                }
            })
            .await
    }

    /// A cluster with nodes that run containers, and nothing of Restamp on it; nothing where there is none.
    pub async fn with_nodes(test: &str) -> Option<Ground> {
        if let Some(problem) = env::var_os("E2E_NO_NODES") {
            skipped(format_args!("{test}: {}", problem.display()));
            return None;
        }
        Some(Self::given())
    }

    fn given() -> Ground {
        let var = |name: &str| env::var_os(name).map(PathBuf::from);
        Ground {
            kubeconfig: var("E2E_KUBECONFIG")
                .expect("no cluster: run `make e2e`, or set E2E_KUBECONFIG"),
            kubectl: var("E2E_KUBECTL").unwrap_or_else(|| "kubectl".into()),
            audit_log: var("E2E_AUDIT_LOG"),
            files: files(),
            own: None,
        }
    }

    /// A cluster of one's own, with neither watcher nor webhook; nothing where the tests run on somebody's cluster,
    /// whose parts they must not break.
    pub async fn own(test: &str) -> Option<Ground> {
        let ground = Self::own_and_empty(test).await?;
        ground.install().await;
        Some(ground)
    }

    /// As [`Ground::own`], without the manifests.
    pub async fn own_and_empty(test: &str) -> Option<Ground> {
        let Some(program) = env::var_os("E2E_CLUSTER_BIN").map(PathBuf::from) else {
            skipped(format_args!("{test} needs a control plane of its own"));
            return None;
        };
        let permit = OWN.acquire().await.expect("never closed");
        let start = move || SupervisedCluster::start(&program).expect("a control plane of its own");
        let cluster = tokio::task::spawn_blocking(start)
            .await
            .expect("starting does not panic");
        Some(Ground {
            kubeconfig: cluster.kubeconfig().to_owned(),
            kubectl: cluster.kubectl().to_owned(),
            audit_log: Some(cluster.audit_log().to_owned()),
            files: files(),
            own: Some(Arc::new(Own {
                cluster,
                _permit: permit,
            })),
        })
    }

    /// The cluster whose parts this test may stop.
    pub fn cluster(&self) -> &SupervisedCluster {
        &self
            .own
            .as_ref()
            .expect("only of a ground of one's own")
            .cluster
    }

    /// Applies the release manifests.
    async fn install(&self) {
        install::apply_manifests(&self.kubectl, &self.kubeconfig, &manifests())
            .await
            .expect("the manifests apply");
    }

    /// Has the API server call a webhook at `url`, whose CA is `ca_pem`.
    pub async fn send_reviews_to(&self, url: &str, ca_pem: &str) {
        let (kubectl, admin) = (&self.kubectl, &self.kubeconfig);
        install::apply_webhook_configuration(kubectl, admin, &manifests(), url, ca_pem)
            .await
            .expect("the webhook configuration applies");
    }

    /// A client of one's own: a runtime's connections end with it, and every test has its own.
    pub async fn client(&self) -> Client {
        self.client_of(&self.kubeconfig).await
    }

    /// A client with the rights of a ServiceAccount.
    pub async fn client_as(&self, namespace: &str, account: &str) -> Client {
        let kubeconfig = self.kubeconfig_of(namespace, account).await;
        self.client_of(&kubeconfig).await
    }

    async fn client_of(&self, kubeconfig: &Path) -> Client {
        // An error means that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .expect("a config");
        Client::try_from(config).expect("a client")
    }

    /// A counter of the API server's own, summed over its series that contain `part`; 0 if there is none.
    pub async fn api_server_metric(&self, name: &str, part: &str) -> f64 {
        let request = http::Request::get("/metrics").body(Vec::new());
        let request = request.expect("a request");
        let text = self.client().await.request_text(request).await;
        let series = format!("{name}{{");
        text.expect("metrics")
            .lines()
            .filter(|line| line.starts_with(&series) && line.contains(part))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// How many requests went on without the webhook, since it gave no answer.
    pub async fn failed_open(&self) -> f64 {
        self.api_server_metric("apiserver_admission_webhook_fail_open_count", "")
            .await
    }

    /// The audit log, where there is one.
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// kubectl as the administrator.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.files.path());
        command
    }

    /// Runs kubectl as the administrator, and gives what it printed.
    pub async fn kubectl(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::from(self.kubectl_command());
        let output = command.args(args).output().await.expect("kubectl runs");
        assert!(
            output.status.success(),
            "kubectl {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A kubeconfig with the rights of a ServiceAccount.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let out = self
            .files
            .path()
            .join(format!("{namespace}-{account}-{}.json", unique()));
        let client = self.client().await;
        until("a token of the ServiceAccount", async || {
            let client = client.clone();
            install::service_account_kubeconfig(client, &self.kubeconfig, namespace, account, &out)
                .await
                .map_err(|error| format!("{error:#}"))
        })
        .await;
        out
    }

    /// Where the API server of this machine listens.
    pub fn api_server(&self) -> SocketAddr {
        let server = self.cluster_entry().server.expect("a URL");
        let address = server.strip_prefix("https://").expect("HTTPS");
        address.parse().expect("an address")
    }

    /// The CA of the API server of this machine, PEM.
    pub fn api_server_ca(&self) -> Vec<u8> {
        let file = self.cluster_entry().certificate_authority.expect("a file");
        fs::read(file).expect("a CA")
    }

    fn cluster_entry(&self) -> kube::config::Cluster {
        let config = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        config.clusters[0].cluster.clone().expect("a cluster")
    }

    /// As [`Ground::kubeconfig_of`], with the API server at another address.
    pub async fn kubeconfig_via(&self, address: &str, namespace: &str, account: &str) -> PathBuf {
        let path = self.kubeconfig_of(namespace, account).await;
        let config = fs::read_to_string(&path).expect("a kubeconfig");
        let config = config.replace(&self.api_server().to_string(), address);
        fs::write(&path, config).expect("a kubeconfig");
        path
    }

    /// Starts a watcher under its own ServiceAccount.
    pub async fn watcher(&self, name: &str) -> Replica {
        let kubeconfig = self.kubeconfig_of(SYSTEM, "restamp-watcher").await;
        self.watcher_with(name, &kubeconfig, &[])
    }

    /// Starts a watcher with somebody's rights, and more flags.
    pub fn watcher_with(&self, name: &str, kubeconfig: &Path, flags: &[&str]) -> Replica {
        let args = ["watcher", "--settle", SETTLE, "--identity", name];
        Replica::start(&[&args, flags].concat(), kubeconfig, &self.new_log(name))
    }

    /// Where the log of a new process goes.
    pub fn new_log(&self, name: &str) -> PathBuf {
        self.files.path().join(format!("{name}-{}.log", unique()))
    }

    /// A watcher that leads.
    pub async fn leading_watcher(&self, name: &str) -> Replica {
        self.leading_watcher_with(name, &[]).await
    }

    /// A watcher with more flags that leads.
    pub async fn leading_watcher_with(&self, name: &str, flags: &[&str]) -> Replica {
        let kubeconfig = self.kubeconfig_of(SYSTEM, "restamp-watcher").await;
        let watcher = self.watcher_with(name, &kubeconfig, flags);
        watcher.until_leading().await;
        watcher
    }

    /// Runs `restamp` to its end with somebody's rights; gives its exit code and what it printed.
    pub async fn restamp(&self, kubeconfig: &Path, args: &[&str]) -> (Option<i32>, String, String) {
        let output = tokio::process::Command::new(restamp())
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .output()
            .await
            .expect("restamp runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// Writes a file that lives as long as the ground.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }
}

/// The program.
pub fn restamp() -> &'static str {
    env!("CARGO_BIN_EXE_restamp")
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base")
}

fn files() -> Arc<TempDir> {
    Arc::new(
        tempfile::Builder::new()
            .prefix("restamp-e2e-")
            .tempdir()
            .expect("a temporary folder"),
    )
}

/// A port of this machine that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A number that no other caller gets.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
