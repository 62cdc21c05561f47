//! What real nodes need of the machine.

use crate::{progress::say, toolchain::search};
use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use std::{
    env,
    path::Path,
    process::{Command, Output},
};

/// Where Debian has the plugins that give pods their network.
pub(crate) const CNI_PLUGINS: &str = "/usr/lib/cni";

const PROGRAMS: [&str; 7] = [
    "unshare", "mount", "ip", "iptables", "runc", "busybox", "buildah",
];
/// Debian's package manager, and its packages of all that.
const APT: &str = "apt-get";
const PACKAGES: [&str; 7] = [
    "util-linux",
    "iproute2",
    "iptables",
    "runc",
    "containernetworking-plugins",
    "busybox-static",
    "buildah",
];

/// Why there can be no real nodes here; nothing if there can. Installs what is missing where a package manager that we
/// know is there, and fails if that fails: then there could be nodes.
pub(crate) fn problem() -> Result<Option<String>> {
    if env::consts::OS != "linux" {
        return Ok(Some("real nodes need Linux".to_owned()));
    }
    if !geteuid().is_root() {
        return Ok(Some("real nodes need root".to_owned()));
    }
    let lacking = missing();
    if !lacking.is_empty() {
        let (lacking, packages) = (lacking.join(", "), PACKAGES.join(" "));
        let needs = format!("real nodes need {lacking}; on Debian: apt-get install {packages}");
        if !is_in_path(APT) {
            return Ok(Some(needs));
        }
        install().context(needs)?;
    }
    Ok(isolation_problem())
}

fn isolation_problem() -> Option<String> {
    let mut try_out = super::isolation::command(Path::new("true"));
    let problem = match try_out.output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => said(&output),
        Err(error) => error.to_string(),
    };
    Some(format!("no namespaces can be made here: {problem}"))
}

fn missing() -> Vec<&'static str> {
    let programs = PROGRAMS.into_iter().filter(|name| !is_in_path(name));
    let plugins = (!Path::new(CNI_PLUGINS).join("bridge").exists()).then_some(CNI_PLUGINS);
    programs.chain(plugins).collect()
}

fn is_in_path(program: &str) -> bool {
    search(program, &env::var_os("PATH").unwrap_or_default()).is_some()
}

/// With Debian's package manager.
fn install() -> Result<()> {
    let packages = PACKAGES.join(", ");
    say(format_args!("installing {packages} for real nodes"));
    apt(&["update"])?;
    apt(&[
        &["install", "--yes", "--no-install-recommends"],
        &PACKAGES[..],
    ]
    .concat())?;
    let still = missing().join(", ");
    ensure!(
        still.is_empty(),
        "{packages} are installed, but not {still}"
    );
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    let mut command = Command::new(APT);
    command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    let output = command
        .output()
        .with_context(|| format!("cannot run {APT}"))?;
    let (action, ended) = (args.first().unwrap_or(&""), output.status);
    ensure!(
        ended.success(),
        "{APT} {action}: {ended}: {}",
        said(&output)
    );
    Ok(())
}

/// What a program wrote to standard error.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim_end().to_owned()
}
