//! What a build needs of the machine, checked before anything starts.

use crate::binaries::Module;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::statvfs;
use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

const MIB: u64 = 1 << 20;
const GO_BUILD_CACHE: u64 = 5120 * MIB;
const GO_MODULE_CACHE: u64 = 1024 * MIB;
const BINARIES: u64 = 512 * MIB;
const LINKER: u64 = 1024 * MIB;

/// The Go toolchain.
pub(crate) struct Go {
    program: PathBuf,
}

impl Go {
    /// A `go` command that uses this toolchain and nothing of the user's own modules.
    pub(crate) fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(dir)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local")
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH");
        command
    }

    fn ask(&self, args: &[&str]) -> Result<String> {
        // Not in the module: there, a Go that is too old answers nothing at all.
        let output = self.command(Path::new("/")).args(args).output();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`go {}`: {}",
            args.join(" "),
            said.trim_end()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Finds a Go that can build `module`.
pub(crate) fn find(module: &Module) -> Result<Go> {
    let needed = module.go_version()?;
    let path = env::var_os("PATH").unwrap_or_default();
    let Some(program) = search("go", &path) else {
        bail!("{}", missing(needed, &path));
    };
    let go = Go { program };
    let answer = go.ask(&["version"])?;
    if let Some(problem) = too_old(&answer, needed) {
        bail!("{problem} ({})", go.program.display());
    }
    Ok(go)
}

/// The program of that name in the folders of `path`.
pub(crate) fn search(name: &str, path: &OsStr) -> Option<PathBuf> {
    let executable = |file: &PathBuf| {
        fs::metadata(file)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(executable)
}

fn missing(needed: &str, path: &OsStr) -> String {
    format!(
        "Go {needed} or newer is needed once, to build Kubernetes for the tests, and there is no \
         `go` in PATH ({}). Install it (no C compiler is needed), or set E2E_KUBECONFIG to use a \
         cluster that you have.",
        path.display()
    )
}

/// What is wrong with the Go that answers `go version` so, if anything is.
fn too_old(answer: &str, needed: &str) -> Option<String> {
    let found = answer
        .split_whitespace()
        .find(|word| word.starts_with("go1."))
        .unwrap_or("an unknown version");
    let numbers = found.strip_prefix("go").map(numbers);
    if numbers.is_some_and(|found| found >= self::numbers(needed)) {
        return None;
    }
    Some(format!(
        "Go {needed} or newer is needed to build Kubernetes for the tests, but the `go` in PATH \
         is {found}"
    ))
}

/// `1.26rc1`, `1.26.8-X:nodwarf5`: what follows the digits does not count.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.split('.').map(|part| {
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part.get(..end).and_then(|n| n.parse().ok()).unwrap_or(0)
    });
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

/// Checks that there is room for what has to be built: `missing` of `all` binaries.
pub(crate) fn check_disk(go: &Go, cache: &Path, (missing, all): (usize, usize)) -> Result<()> {
    let answer = go.ask(&["env", "GOCACHE", "GOMODCACHE"])?;
    let mut folders = answer.lines().map(PathBuf::from);
    let mut folder = |name: &str| {
        folders
            .next()
            .filter(|path| path.is_absolute())
            .with_context(|| format!("Go has no {name}: set HOME or {name}"))
    };
    let uses = [
        (folder("GOCACHE")?, GO_BUILD_CACHE),
        (folder("GOMODCACHE")?, GO_MODULE_CACHE),
        (cache.to_owned(), BINARIES),
        (env::temp_dir(), LINKER),
    ];
    let (missing, all) = (u64::try_from(missing)?, u64::try_from(all)?);
    let share = |bytes: u64| bytes.saturating_mul(missing) / all.max(1);
    for disk in disks(&uses)? {
        let needed = share(disk.needed);
        ensure!(disk.free >= needed, "{}", full(&disk, needed));
    }
    Ok(())
}

struct Disk {
    needed: u64,
    free: u64,
    folders: Vec<OsString>,
}

/// What is needed of each file system.
fn disks(uses: &[(PathBuf, u64)]) -> Result<Vec<Disk>> {
    let mut disks = BTreeMap::new();
    for (folder, bytes) in uses {
        let existing = folder.ancestors().find(|path| path.exists());
        let existing = existing.with_context(|| format!("there is no {}", folder.display()))?;
        let disk = disks
            .entry(fs::metadata(existing)?.dev())
            .or_insert_with(Vec::new);
        disk.push((folder, existing, bytes));
    }
    disks
        .into_values()
        .map(|uses| {
            let first = uses
                .first()
                .map_or(Path::new("/"), |(_, existing, _)| existing);
            let stat = statvfs(first)
                .with_context(|| format!("cannot ask for the free space of {}", first.display()))?;
            Ok(Disk {
                needed: uses.iter().map(|(.., bytes)| **bytes).sum(),
                free: stat.f_bavail.saturating_mul(stat.f_frsize),
                folders: uses
                    .iter()
                    .map(|(folder, ..)| folder.as_os_str().to_owned())
                    .collect(),
            })
        })
        .collect()
}

fn full(disk: &Disk, needed: u64) -> String {
    let folders: Vec<_> = disk
        .folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    format!(
        "building Kubernetes needs about {} MB free where {} {}, and there are {} MB; free some \
         space, or point GOCACHE, GOMODCACHE, RESTAMP_CACHE_DIR and TMPDIR elsewhere",
        needed / MIB,
        folders.join(", "),
        if folders.len() == 1 { "is" } else { "are" },
        disk.free / MIB
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_by_number() {
        let fine = |answer: &str| too_old(answer, "1.26.1").is_none();
        assert!(fine("go version go1.26.8 linux/amd64"));
        assert!(fine("go version go1.26.1 linux/amd64"));
        assert!(fine("go version go1.27 linux/amd64"));
        assert!(fine("go version go1.26.8-X:nodwarf5 linux/amd64"));
        assert!(fine("go version devel go1.28-abcdef Tue linux/amd64"));
        assert!(!fine("go version go1.26.0 linux/amd64"));
        assert!(!fine("go version go1.26rc1 linux/amd64"));
        assert!(!fine("go version go1.9.7 linux/amd64"));
        assert!(!fine("gcc (GCC) 14"));
    }

    #[test]
    fn messages_say_what_is_needed_and_where_it_was_looked_for() {
        let none = missing("1.26.1", OsStr::new("/bin:/usr/bin"));
        assert!(
            none.contains("1.26.1") && none.contains("/bin:/usr/bin"),
            "{none}"
        );
        let old = too_old("go version go1.24.4 linux/amd64", "1.26.1").unwrap();
        assert!(old.contains("1.26.1") && old.contains("go1.24.4"), "{old}");
    }

    #[test]
    fn only_programs_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("go");
        fs::write(&file, "").unwrap();
        assert_eq!(search("go", dir.path().as_os_str()), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(search("go", dir.path().as_os_str()), Some(file));
    }

    #[test]
    fn what_shares_a_disk_is_added_up() {
        let dir = tempfile::tempdir().unwrap();
        let uses = [(dir.path().join("a/b"), 3), (dir.path().join("c"), 4)];
        let disks = disks(&uses).unwrap();
        assert_eq!(disks.len(), 1);
        assert_eq!(disks[0].needed, 7);
        assert!(disks[0].free > 0);
        assert!(full(&disks[0], 8000 * MIB).contains("8000 MB"));
    }
}
