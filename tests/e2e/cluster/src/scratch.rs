//! The folder of one running cluster.

use anyhow::{Context, Result, ensure};
use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What the names of such folders begin with.
pub(crate) const PREFIX: &str = "restamp-cluster-";
const LOCK: &str = "lock";

/// A private folder, removed when dropped.
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes `wanted`, or a folder in the system's place for temporary files.
    pub(crate) fn create(wanted: Option<&Path>) -> Result<Self> {
        let path = match wanted {
            Some(path) => exactly(path)?,
            None => {
                sweep(&env::temp_dir());
                temporary().context("cannot make a temporary folder")?
            }
        };
        let lock = lock(&path);
        if lock.is_err() {
            fs::remove_dir_all(&path).ok();
        }
        let _lock = lock.with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, _lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

fn temporary() -> io::Result<PathBuf> {
    let private = fs::Permissions::from_mode(0o700);
    let mut builder = tempfile::Builder::new();
    let dir = builder.prefix(PREFIX).permissions(private).tempdir()?;
    std::path::absolute(dir.keep())
}

fn exactly(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(path)
        .with_context(|| format!("cannot create {shown}"))?;
    let empty = fs::read_dir(path)?.next().is_none();
    ensure!(
        empty,
        "{shown} is not empty, and it would be removed at the end"
    );
    Ok(std::path::absolute(path)?)
}

/// Marks the folder as in use, for as long as the file is open.
fn lock(dir: &Path) -> io::Result<File> {
    // Under its final name, the file is never seen without the lock.
    let unnamed = dir.join("lock.new");
    let file = File::create(&unnamed)?;
    file.lock()?;
    fs::rename(unnamed, dir.join(LOCK))?;
    Ok(file)
}

/// Removes what clusters left behind that were killed with SIGKILL.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let unused = || {
            let lock = File::open(entry.path().join(LOCK)).ok()?;
            lock.try_lock().ok().map(|()| lock)
        };
        if ours && let Some(_lock) = unused() {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new");
        let scratch = Scratch::create(Some(&path)).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn does_not_take_a_folder_with_something_in_it() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("precious"), "").unwrap();
        assert!(Scratch::create(Some(parent.path())).is_err());
        assert!(parent.path().join("precious").exists());
    }

    #[test]
    fn sweeps_only_what_nobody_uses() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            let lock = lock(&path).unwrap();
            (path, lock)
        };
        let (used, _lock) = make("restamp-cluster-used");
        let (dead, lock_of_dead) = make("restamp-cluster-dead");
        let (other, lock_of_other) = make("other");
        drop((lock_of_dead, lock_of_other));
        let unready = parent.path().join("restamp-cluster-unready");
        fs::create_dir(&unready).unwrap();
        sweep(parent.path());
        assert!(used.exists() && other.exists() && unready.exists());
        assert!(!dead.exists());
    }
}
