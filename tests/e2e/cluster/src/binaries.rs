//! The binaries of the cluster: what they are built from, and where they are.

use crate::{cache, compile, progress::say, toolchain};
use anyhow::{Context, Result};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A program that is built from the pinned Go module.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// In the order of building: each shares packages with those before it.
pub(crate) const TOOLS: [Tool; 6] = [
    Tool::new("etcd", "go.etcd.io/etcd/server/v3"),
    Tool::new("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Tool::new(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
    ),
    Tool::new("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Tool::new("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Tool::new("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
];

impl Tool {
    const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }
}

/// The Go module that pins every version.
pub(crate) struct Module {
    pub(crate) dir: PathBuf,
    text: String,
    sum: Vec<u8>,
}

impl Module {
    fn load() -> Result<Self> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let missing = || {
            let dir = dir.display();
            format!(
                "cannot read go.mod and go.sum in {dir}; if the clone has moved, build this program again"
            )
        };
        let text = fs::read_to_string(dir.join("go.mod")).with_context(missing)?;
        let sum = fs::read(dir.join("go.sum")).with_context(missing)?;
        Ok(Self { dir, text, sum })
    }

    /// The Go version that the module needs.
    pub(crate) fn go_version(&self) -> Result<&str> {
        directive(&self.text, &["go"]).context("go.mod has no line `go VERSION`")
    }

    /// The version of Kubernetes, such as `v1.37.0`.
    fn kubernetes_version(&self) -> Result<&str> {
        directive(&self.text, &["require", "k8s.io/kubernetes"])
            .context("go.mod has no line `require k8s.io/kubernetes VERSION`")
    }

    /// The linker flags, which tell the binaries the version that they are.
    pub(crate) fn ldflags(&self) -> Result<String> {
        let version = self.kubernetes_version()?;
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
        let flags = [compile::FLAGS.join(" "), self.ldflags()?].join(" ");
        let platform = format!("{} {}", env::consts::OS, env::consts::ARCH);
        cache::folder(&[
            self.text.as_bytes(),
            &self.sum,
            flags.as_bytes(),
            platform.as_bytes(),
        ])
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

/// The folder with the built binaries.
pub(crate) struct Binaries {
    dir: PathBuf,
    version: String,
}

impl Binaries {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version of Kubernetes, such as `1.37.0`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder with kwok's Stage files.
    pub(crate) fn stages(&self) -> PathBuf {
        self.dir.join("stages")
    }

    fn complete(&self) -> bool {
        self.missing() == 0 && self.stages().exists()
    }

    fn missing(&self) -> usize {
        let missing = |tool: &&Tool| !self.path(tool.name).exists();
        TOOLS.iter().filter(missing).count()
    }
}

/// Builds what is not in the cache folder yet. With all there, nothing but the folder is needed.
pub(crate) fn ensure() -> Result<Binaries> {
    let module = Module::load()?;
    let version = module.kubernetes_version()?;
    let binaries = Binaries {
        dir: module.cache_folder()?,
        version: version.trim_start_matches('v').to_owned(),
    };
    if binaries.complete() {
        return Ok(binaries);
    }
    let go = toolchain::find(&module)?;
    toolchain::check_disk(&go, binaries.dir(), (binaries.missing(), TOOLS.len()))?;
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
        let module = Module::load().unwrap();
        let block = module.text.split_once("tool (").unwrap().1;
        let block = block.split_once(')').unwrap().0;
        let mut pinned: Vec<_> = block.split_whitespace().collect();
        let mut ours: Vec<_> = TOOLS.iter().map(|tool| tool.package).collect();
        pinned.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, pinned);
    }

    #[test]
    fn versions_come_from_go_mod() {
        let text = "module x\n\ngo 1.30.1\n\nrequire k8s.io/kubernetes v1.40.2\n";
        let module = Module {
            dir: PathBuf::new(),
            text: text.to_owned(),
            sum: Vec::new(),
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
            assert!(TOOLS.iter().any(|tool| tool.name == part.name()), "{part}");
        }
    }
}
