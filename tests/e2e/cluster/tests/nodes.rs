//! `nodes` on machines that lack what nodes need: by a PATH without it.

use anyhow::{Result, ensure};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

/// Notes what it is asked for, and can do it or not.
const APT: &str = r#"#!/bin/sh
echo "$1" >> "$0.log"
[ "$1" != "$FAILS" ] || { echo "no such package" >&2; exit 100; }
"#;
const THERE_CAN_BE_NONE: Option<i32> = Some(3);

fn nodes(path: &Path, apt_fails_to: &str) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restamp-test-cluster"));
    command.arg("nodes").env("FAILS", apt_fails_to);
    Ok(command.env("PATH", path).output()?)
}

#[test]
fn without_a_package_manager_there_can_be_none() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let output = nodes(empty.path(), "")?;
    ensure!(output.status.code() == THERE_CAN_BE_NONE, "{output:?}");
    let told = String::from_utf8(output.stderr)?;
    ensure!(told.contains("no real nodes: "), "{told}");
    Ok(())
}

/// A run that is to show something on nodes does not go on without them because of that.
#[test]
fn an_installation_that_fails_is_an_error_and_not_a_reason_to_skip() -> Result<()> {
    for (fails_to, asked_for, told_of) in [
        (
            "update",
            "update\n",
            "apt-get update: exit status: 100: no such package",
        ),
        (
            "install",
            "update\ninstall\n",
            "apt-get install: exit status: 100: no such package",
        ),
        (
            "nothing",
            "update\ninstall\n",
            "are installed, but not unshare, mount",
        ),
    ] {
        let path = tempfile::tempdir()?;
        let apt = path.path().join("apt-get");
        fs::write(&apt, APT)?;
        fs::set_permissions(&apt, Permissions::from_mode(0o755))?;
        let output = nodes(path.path(), fails_to)?;
        let told = String::from_utf8(output.stderr)?;
        if told.contains("need root") || told.contains("need Linux") {
            ensure!(output.status.code() == THERE_CAN_BE_NONE, "{told}");
            return Ok(());
        }
        ensure!(output.status.code() == Some(1), "{told}");
        ensure!(
            told.contains("real nodes need unshare, mount") && told.contains(told_of),
            "{told}"
        );
        let log = fs::read_to_string(path.path().join("apt-get.log"))?;
        ensure!(log == asked_for, "{log}");
    }
    Ok(())
}
