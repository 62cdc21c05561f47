//! What real nodes need of the machine.

use crate::{progress::say, toolchain::search};
use rustix::process::geteuid;
use std::{env, path::Path, process::Command};

/// Where Debian has the plugins that give pods their network.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

const PROGRAMS: [&str; 7] = [
    "unshare", "mount", "ip", "iptables", "runc", "busybox", "buildah",
];
/// Debian's packages of all that.
const PACKAGES: [&str; 7] = [
    "util-linux",
    "iproute2",
    "iptables",
    "runc",
    "containernetworking-plugins",
    "busybox-static",
    "buildah",
];

/// Why there can be no real nodes here; nothing if there can. Installs what is missing where that is one command.
pub(crate) fn problem() -> Option<String> {
    if env::consts::OS != "linux" {
        return Some("real nodes need Linux".to_owned());
    }
    if !geteuid().is_root() {
        return Some("real nodes need root".to_owned());
    }
    if !missing().is_empty() {
        install();
    }
    let missing = missing();
    if !missing.is_empty() {
        let (missing, packages) = (missing.join(", "), PACKAGES.join(" "));
        return Some(format!(
            "real nodes need {missing}; on Debian: apt-get install {packages}"
        ));
    }
    let mut try_out = super::isolation::command(Path::new("true"));
    match try_out.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!(
                "no namespaces can be made here: {}",
                said.trim_end()
            ))
        }
        Err(error) => Some(format!("no namespaces can be made here: {error}")),
    }
}

fn missing() -> Vec<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let programs = PROGRAMS
        .into_iter()
        .filter(|name| search(name, &path).is_none());
    let plugins = (!Path::new(CNI_PLUGINS).join("bridge").exists()).then_some(CNI_PLUGINS);
    programs.chain(plugins).collect()
}

/// With Debian's package manager, where there is one.
fn install() {
    say(format_args!(
        "installing {} for real nodes",
        PACKAGES.join(", ")
    ));
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(PACKAGES);
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => say(String::from_utf8_lossy(&output.stderr).trim_end()),
        Err(error) => say(format_args!("cannot run apt-get: {error}")),
    }
}
