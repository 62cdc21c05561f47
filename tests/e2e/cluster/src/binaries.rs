//! The binaries of the cluster: what they are built from, and where they are.

use crate::{cache, compile, progress::say, toolchain};
use anyhow::{Context, Result};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// A program that is built from a pinned Go module.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Tool {
    const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }
}

/// The programs of one Go module.
pub(crate) struct Set {
    /// Whose programs they are.
    pub(crate) project: &'static str,
    /// The folder of the module, below this package.
    folder: &'static str,
    /// The module whose version names that of the set.
    main_module: &'static str,
    /// How long the first build takes, for people.
    pub(crate) takes: &'static str,
    /// In the order of building: each shares packages with those before it.
    pub(crate) tools: &'static [Tool],
    /// Build tags.
    pub(crate) tags: &'static str,
    /// What is kept beside the programs.
    pub(crate) files: Option<Files>,
}

/// YAML files of a Go module.
pub(crate) struct Files {
    /// The folder that they are kept in.
    pub(crate) name: &'static str,
    /// Where they are from.
    pub(crate) module: &'static str,
    pub(crate) folders: &'static [&'static str],
}

/// The control plane, simulated nodes, and what real ones have of Kubernetes itself.
pub(crate) const KUBERNETES: Set = Set {
    project: "Kubernetes",
    folder: "",
    main_module: "k8s.io/kubernetes",
    takes: "10-15 minutes",
    tools: &[
        Tool::new("etcd", "go.etcd.io/etcd/server/v3"),
        Tool::new("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        Tool::new(
            "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        ),
        Tool::new("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        Tool::new("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        Tool::new("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        Tool::new("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        Tool::new("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    ],
    tags: "",
    files: Some(Files {
        name: "stages",
        module: "sigs.k8s.io/kwok",
        folders: &[
            "kustomize/stage/node/fast",
            "kustomize/stage/node/heartbeat-with-lease",
            "kustomize/stage/pod/fast",
        ],
    }),
};

/// Both Helms that people install charts with.
pub(crate) const HELM: Set = Set {
    project: "Helm",
    folder: "helm",
    main_module: "helm.sh/helm/v4",
    takes: "4 minutes",
    tools: &[
        Tool::new("helm", "helm.sh/helm/v4/cmd/helm"),
        Tool::new("helm3", "helm.sh/helm/v3/cmd/helm"),
    ],
    tags: "",
    files: None,
};

/// What makes certificates, and has API servers trust them.
pub(crate) const CERT_MANAGER: Set = Set {
    project: "cert-manager",
    folder: "cert-manager",
    main_module: "github.com/cert-manager/cert-manager",
    takes: "2 minutes",
    tools: &[Tool::new(
        "cert-manager",
        "restamp.dev/tests/e2e/cluster/cert-manager",
    )],
    tags: "",
    files: Some(Files {
        name: "crds",
        module: "github.com/cert-manager/cert-manager",
        folders: &["deploy/crds"],
    }),
};

/// What evaluates rules.
pub(crate) const PROMETHEUS: Set = Set {
    project: "Prometheus",
    folder: "prometheus",
    main_module: "github.com/prometheus/prometheus",
    takes: "1 minute",
    tools: &[Tool::new(
        "check-rules",
        "restamp.dev/tests/e2e/cluster/prometheus",
    )],
    tags: "",
    files: None,
};

/// What runs the containers of real nodes.
pub(crate) const CONTAINERD: Set = Set {
    project: "containerd",
    folder: "containerd",
    main_module: "github.com/containerd/containerd/v2",
    takes: "3 minutes",
    tools: &[
        Tool::new(
            "containerd",
            "github.com/containerd/containerd/v2/cmd/containerd",
        ),
        Tool::new(
            "containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        ),
        Tool::new("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
    ],
    tags: "no_btrfs,no_devmapper,no_zfs",
    files: None,
};

/// The Go module that pins every version of a set.
pub(crate) struct Module {
    pub(crate) dir: PathBuf,
    pub(crate) set: &'static Set,
    text: String,
    sum: Vec<u8>,
    /// A program of our own, if the module has one.
    main: Option<Vec<u8>>,
}

impl Module {
    fn load(set: &'static Set) -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(set.folder);
        let missing = || {
            let dir = dir.display();
            format!(
                "cannot read go.mod and go.sum in {dir}; if the clone has moved, build this program again"
            )
        };
        let text = fs::read_to_string(dir.join("go.mod")).with_context(missing)?;
        let sum = fs::read(dir.join("go.sum")).with_context(missing)?;
        let main = fs::read(dir.join("main.go")).ok();
        Ok(Self {
            dir,
            set,
            text,
            sum,
            main,
        })
    }

    /// The Go version that the module needs.
    pub(crate) fn go_version(&self) -> Result<&str> {
        directive(&self.text, &["go"]).context("go.mod has no line `go VERSION`")
    }

    /// The version of the set, such as `v1.37.0`.
    fn version(&self) -> Result<&str> {
        let name = self.set.main_module;
        let line = directive(&self.text, &["require", name]);
        line.or_else(|| directive(&self.text, &[name]))
            .with_context(|| format!("go.mod does not require {name}"))
    }

    /// The linker flags, which tell the programs of Kubernetes the version that they are.
    pub(crate) fn ldflags(&self) -> Result<String> {
        let version = self.version()?;
        let mut numbers = version.trim_start_matches('v').split('.');
        let mut number = || numbers.next().context("go.mod: odd version of Kubernetes");
        let set = [
            ("gitVersion", version),
            ("gitMajor", number()?),
            ("gitMinor", number()?),
        ];
        let set =
            set.map(|(name, value)| format!("-X k8s.io/component-base/version.{name}={value}"));
        Ok(format!("-s -w {}", set.join(" ")))
    }

    fn cache_folder(&self) -> Result<PathBuf> {
        let flags = [&compile::FLAGS.join(" "), self.set.tags, &self.ldflags()?].join(" ");
        let platform = format!("{} {}", env::consts::OS, env::consts::ARCH);
        let mut inputs = vec![
            self.text.as_bytes(),
            &self.sum,
            flags.as_bytes(),
            platform.as_bytes(),
        ];
        inputs.extend(self.main.as_deref());
        cache::folder(&inputs)
    }
}

/// The word after `words`, on the line that begins with them.
fn directive<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut found = line.split_whitespace();
        words
            .iter()
            .all(|word| found.next() == Some(word))
            .then(|| found.next())?
    })
}

/// The folder with the built binaries of a set.
pub(crate) struct Binaries {
    set: &'static Set,
    dir: PathBuf,
    version: String,
}

impl Binaries {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Their version, such as `1.37.0`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder with what is kept beside them.
    pub(crate) fn files(&self) -> Option<PathBuf> {
        Some(self.dir.join(self.set.files.as_ref()?.name))
    }

    fn complete(&self) -> bool {
        self.missing() == 0 && self.files().is_none_or(|folder| folder.exists())
    }

    fn missing(&self) -> usize {
        let missing = |tool: &&Tool| !self.path(tool.name).exists();
        self.set.tools.iter().filter(missing).count()
    }
}

/// PATH with these folders in it, first.
pub(crate) fn in_path(folders: Vec<PathBuf>) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = folders.into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).context("PATH cannot be extended")
}

/// Builds what is not in the cache folder yet. With all there, nothing but the folder is needed.
pub(crate) fn ensure(set: &'static Set) -> Result<Binaries> {
    let module = Module::load(set)?;
    let version = module.version()?;
    let binaries = Binaries {
        set,
        dir: module.cache_folder()?,
        version: version.trim_start_matches('v').to_owned(),
    };
    if binaries.complete() {
        return Ok(binaries);
    }
    let go = toolchain::find(&module)?;
    toolchain::check_disk(&go, binaries.dir(), (binaries.missing(), set.tools.len()))?;
    fs::create_dir_all(binaries.dir())
        .with_context(|| format!("cannot create {}", binaries.dir().display()))?;
    let _lock = cache::lock(binaries.dir(), || {
        say(format_args!("waiting for another build to finish"));
    })?;
    if !binaries.complete() {
        compile::all(&go, &module, &binaries)?;
    }
    Ok(binaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_mod_names_the_same_tools() {
        for set in [&KUBERNETES, &HELM, &CERT_MANAGER, &PROMETHEUS, &CONTAINERD] {
            let module = Module::load(set).unwrap();
            let block = module.text.split_once("\ntool ").unwrap().1;
            let block = match block.strip_prefix('(') {
                Some(several) => several.split_once(')').unwrap().0,
                None => block.lines().next().unwrap(),
            };
            let mut pinned: Vec<_> = block.split_whitespace().collect();
            let mut ours: Vec<_> = set.tools.iter().map(|tool| tool.package).collect();
            pinned.sort_unstable();
            ours.sort_unstable();
            assert_eq!(ours, pinned);
            assert!(
                module.version().unwrap().starts_with('v'),
                "{}",
                set.project
            );
        }
    }

    #[test]
    fn versions_come_from_go_mod() {
        let text = "module x\n\ngo 1.30.1\n\nrequire k8s.io/kubernetes v1.40.2\n";
        let module = Module {
            dir: PathBuf::new(),
            set: &KUBERNETES,
            text: text.to_owned(),
            sum: Vec::new(),
            main: None,
        };
        assert_eq!(module.go_version().unwrap(), "1.30.1");
        let flags = module.ldflags().unwrap();
        assert!(flags.contains("gitVersion=v1.40.2"), "{flags}");
        assert!(flags.contains("gitMajor=1 "), "{flags}");
        assert!(flags.ends_with("gitMinor=40"), "{flags}");
    }

    #[test]
    fn every_part_is_built() {
        for part in restamp_test_cluster::Part::ALL {
            let mut tools = KUBERNETES.tools.iter();
            assert!(tools.any(|tool| tool.name == part.name()), "{part}");
        }
    }
}
