//! Builds the binaries with `go build`, one after the other (each uses every core itself).

use crate::{
    binaries::{Binaries, Files, Module, Tool},
    progress::{Progress, say},
    toolchain::Go,
};
use anyhow::{Context, Result, bail};
use restamp_test_cluster::process::spawn_tied;
use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

/// The flags of `go build`; the linker's come from go.mod.
pub(crate) const FLAGS: [&str; 4] = ["build", "-buildvcs=false", "-trimpath", "-mod=readonly"];

const KEPT_LINES: usize = 20;

/// Builds what `binaries` lacks. An interrupted build goes on where it was.
pub(crate) fn all(go: &Go, module: &Module, binaries: &Binaries) -> Result<()> {
    say(format_args!(
        "The first run builds {} {} from source, about {} on 2 cores, once.",
        module.set.project,
        binaries.version(),
        module.set.takes
    ));
    let mut seen = BTreeSet::new();
    for (number, tool) in (1..).zip(module.set.tools) {
        let label = format!("[{number}/{}] {}", module.set.tools.len(), tool.name);
        let mut progress = Progress::start(label);
        let packages = packages(go, module, tool, &mut progress)?;
        let new: BTreeSet<_> = packages.difference(&seen).cloned().collect();
        if !binaries.path(tool.name).exists() {
            build(go, module, binaries, tool, &new, &mut progress)?;
            progress.finish("built");
        }
        seen.extend(new);
    }
    match &module.set.files {
        Some(files) => copy_files(go, module, files, binaries.dir()),
        None => Ok(()),
    }
}

fn packages(
    go: &Go,
    module: &Module,
    tool: &Tool,
    progress: &mut Progress,
) -> Result<BTreeSet<String>> {
    let mut command = go.command(&module.dir);
    command.args(["list", "-mod=readonly", "-deps", "-tags", module.set.tags]);
    command.arg(tool.package);
    let mut downloads = 0;
    let list = run(command, |line| {
        let download = line.is_some_and(|line| line.starts_with("go: downloading "));
        downloads += usize::from(download);
        progress.show(format_args!("{downloads} modules downloaded"));
        download
    });
    if list.is_err() {
        progress.clear();
    }
    let list = list.with_context(|| format!("cannot find the packages of {}", tool.name))?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn build(
    go: &Go,
    module: &Module,
    binaries: &Binaries,
    tool: &Tool,
    packages: &BTreeSet<String>,
    progress: &mut Progress,
) -> Result<()> {
    let unfinished = binaries.path(&format!("{}.unfinished", tool.name));
    let mut command = go.command(&module.dir);
    command.args(FLAGS).args(["-v", "-tags", module.set.tags]);
    command.args(["-ldflags", &module.ldflags()?]);
    command.arg("-o").arg(&unfinished);
    command.arg(tool.package);
    let mut done = 0;
    let built = run(command, |line| {
        let package = line.is_some_and(|line| packages.contains(line));
        done += usize::from(package);
        progress.show(format_args!("{done} of {} packages", packages.len()));
        package
    });
    if built.is_err() {
        progress.clear();
    }
    built.with_context(|| format!("cannot build {}", tool.name))?;
    let finished = binaries.path(tool.name);
    fs::rename(&unfinished, &finished)
        .with_context(|| format!("cannot create {}", finished.display()))
}

/// Runs `command` and returns its standard output. `watch` sees each line of standard error, and
/// nothing once a second; it says which lines are mere progress and not worth keeping.
fn run(mut command: Command, mut watch: impl FnMut(Option<&str>) -> bool) -> Result<String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn_tied(command).context("cannot start go")?;
    let stdout = child.stdout.take().context("no pipe from go")?;
    let stderr = child.stderr.take().context("no pipe from go")?;
    let output = thread::spawn(move || std::io::read_to_string(stdout));
    let lines = lines(stderr);
    let mut kept = VecDeque::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) if watch(Some(&line)) => {}
            Ok(line) => kept.push_back(line),
            Err(RecvTimeoutError::Timeout) => drop(watch(None)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if kept.len() > KEPT_LINES {
            kept.pop_front();
        }
    }
    let status = child.wait().context("cannot wait for go")?;
    if !status.success() {
        let said: Vec<_> = kept.into();
        bail!("go ended with {status}:\n{}", said.join("\n"));
    }
    let output = output.join().ok().context("lost the output of go")?;
    output.context("cannot read the output of go")
}

fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Keeps files of a module beside the binaries, so that later starts need no Go.
fn copy_files(go: &Go, module: &Module, files: &Files, beside: &Path) -> Result<()> {
    let to = &beside.join(files.name);
    let mut command = go.command(&module.dir);
    command.args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}"]);
    command.arg(files.module);
    let source = PathBuf::from(run(command, |_| false)?.trim_end());
    let unfinished = to.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir(&unfinished)?;
    for folder in files.folders {
        copy_yaml(&source.join(folder), &unfinished)
            .with_context(|| format!("cannot copy {folder} of {}", files.module))?;
    }
    fs::rename(&unfinished, to).with_context(|| format!("cannot keep {}", to.display()))
}

fn copy_yaml(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?;
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if yaml && name != "kustomization.yaml" {
            // Written, not copied: files of the module cache are read-only.
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn progress_is_watched_and_output_returned() {
        let mut seen = 0;
        let output = run(shell("echo pkg >&2; echo pkg >&2; echo result"), |line| {
            seen += usize::from(line == Some("pkg"));
            true
        });
        assert_eq!(output.unwrap(), "result\n");
        assert_eq!(seen, 2);
    }

    #[test]
    fn a_failure_shows_the_last_lines_but_not_the_progress() {
        let script =
            "i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo e$i >&2; echo pkg >&2; done; exit 2";
        let error = run(shell(script), |line| line == Some("pkg")).unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with("e29\ne30"), "{error}");
        assert!(
            !error.contains("e10\n") && !error.contains("pkg"),
            "{error}"
        );
    }
}
