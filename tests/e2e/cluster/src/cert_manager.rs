//! cert-manager as a process of the test, on a cluster of ours.

use crate::install::Process;
use anyhow::Result;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Where it is, with the folder `crds` beside it; nothing where the cluster is somebody's own, or it was not asked for
/// (`exec --with cert-manager`).
pub fn folder() -> Option<PathBuf> {
    env::var_os("E2E_CERT_MANAGER").map(PathBuf::from)
}

/// Starts its controllers and its CA injector, as an administrator. The cluster has the CRDs already.
///
/// # Errors
/// When the program cannot be started.
pub fn start(folder: &Path, kubeconfig: &Path, log: &Path) -> Result<Process> {
    let mut command = Command::new(folder.join("cert-manager"));
    command.env("KUBECONFIG", kubeconfig);
    Process::start(command, log)
}
