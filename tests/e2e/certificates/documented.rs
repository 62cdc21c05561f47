//! Commands of documents, as they stand there.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tempfile::TempDir;

use super::site::folder;
use crate::support::{Ground, detour::Detour};

/// The documents.
pub const CERTIFICATES: &str = "docs/certificates.md";
pub const INSTALL: &str = "docs/install.md";

/// What users have: a clone.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    pub fn copied() -> Repository {
        let clone = Repository {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        for part in ["manifests", "certs/cert-manager"] {
            copy(&folder(part), &clone.folder.path().join(part));
        }
        clone
    }

    /// One in which the Service leads out of the cluster, to this machine, which has no addresses of Services.
    pub fn leading_to(way: &Detour) -> Repository {
        let clone = Self::copied();
        let address = way.address();
        let (host, port) = address.split_once(':').expect("a port");
        clone.replace(
            "manifests/base/webhook-configuration.yaml",
            "port: 443",
            &format!("port: {port}"),
        );
        let ports = "  ports:\n    - name: https\n      port: 443\n";
        let external = format!("  type: ExternalName\n  externalName: {host}\n{ports}");
        clone.replace("manifests/base/webhook.yaml", ports, &external);
        clone
    }

    fn replace(&self, file: &str, text: &str, by: &str) {
        let file = self.folder.path().join(file);
        let before = fs::read_to_string(&file).expect("a file");
        assert_eq!(before.matches(text).count(), 1, "{text:?} in {file:?}");
        fs::write(&file, before.replace(text, by)).expect("a file");
    }

    /// Runs commands there, as an administrator, until one fails; gives what they printed.
    pub async fn run(&self, ground: &Ground, commands: &str) -> String {
        let kubectl = ground.kubectl_command();
        let kubectl = Path::new(kubectl.get_program()).parent();
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = kubectl.map(PathBuf::from).into_iter();
        let path = env::join_paths(folders.chain(env::split_paths(&path))).expect("a PATH");
        let output = tokio::process::Command::new("sh")
            .args(["-e", "-c", commands])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("KUBECONFIG", ground.kubeconfig())
            .env("KUBECACHEDIR", self.folder.path().join("cache"))
            .stdin(Stdio::null())
            .output()
            .await
            .expect("a shell runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file");
        }
    }
}

/// The blocks with commands below a heading of a document.
pub fn commands<const N: usize>(document: &str, heading: &str) -> [String; N] {
    let text = fs::read_to_string(folder(document)).expect("a document");
    let lines = text.lines().skip_while(|line| *line != heading);
    let section: Vec<_> = lines
        .skip(1)
        .take_while(|line| !line.starts_with("##"))
        .collect();
    let section = section.join("\n");
    let blocks = section.split("```").skip(1).step_by(2).map(str::to_owned);
    let blocks: Vec<_> = blocks.collect();
    blocks
        .try_into()
        .unwrap_or_else(|blocks| panic!("{document}: {heading}: {blocks:?}"))
}
