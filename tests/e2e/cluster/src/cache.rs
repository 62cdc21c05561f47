//! Where the binaries are kept, outside the clone, so that every clone and worktree shares them.

use anyhow::{Context, Result};
use ring::digest::{Context as Digest, SHA256};
use std::{
    env,
    ffi::OsString,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

/// The cache folder of what is built from `inputs`.
pub(crate) fn folder(inputs: &[&[u8]]) -> Result<PathBuf> {
    let root = root(|name| env::var_os(name)).context(
        "there is no place for the built binaries: set HOME, XDG_CACHE_HOME or RESTAMP_CACHE_DIR",
    )?;
    let root = std::path::absolute(root)?;
    Ok(root.join("test-cluster").join(key(inputs)))
}

fn root(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    path("RESTAMP_CACHE_DIR")
        .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("restamp")))
        .or_else(|| path("HOME").map(|home| home.join(".cache").join("restamp")))
}

/// Names `inputs`, each of which is hashed with its length so that no two lists look the same.
fn key(inputs: &[&[u8]]) -> String {
    let mut digest = Digest::new(&SHA256);
    for input in inputs {
        digest.update(&input.len().to_be_bytes());
        digest.update(input);
    }
    let hash = digest.finish();
    let short = hash.as_ref().iter().take(8);
    short.map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until no other process builds into `dir`. The lock lasts as long as the file is open.
pub(crate) fn lock(dir: &Path, waiting: impl FnOnce()) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache"),
    }
    file.lock().context("cannot lock the cache")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_every_input_and_their_borders() {
        let base = key(&[b"go.mod", b"go.sum", b"-s -w"]);
        assert_eq!(base, key(&[b"go.mod", b"go.sum", b"-s -w"]));
        assert_ne!(base, key(&[b"go.mod", b"go.sum", b"-s"]));
        assert_ne!(base, key(&[b"go.mod", b"go.sum2", b"-s -w"]));
        assert_ne!(base, key(&[b"go.modg", b"o.sum", b"-s -w"]));
        assert_eq!(base.len(), 16);
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|&(k, v)| (k.to_owned(), v.into())).collect();
            root(|name| {
                set.iter()
                    .find(|(k, _)| k == name)
                    .map(|(_, v)| OsString::clone(v))
            })
        };
        let home = ("HOME", "/h");
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[home]), Some("/h/.cache/restamp".into()));
        assert_eq!(with(&[home, ("XDG_CACHE_HOME", "")]), with(&[home]));
        assert_eq!(with(&[home, xdg]), Some("/x/restamp".into()));
        let all = [home, xdg, ("RESTAMP_CACHE_DIR", "/r")];
        assert_eq!(with(&all), Some("/r".into()));
    }

    #[test]
    fn a_second_builder_waits_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        let first = lock(dir.path(), || unreachable!()).unwrap();
        let path = dir.path().to_owned();
        let second = std::thread::spawn(move || lock(&path, || said.send(()).unwrap()).unwrap());
        heard.recv().unwrap();
        drop(first);
        second.join().unwrap();
    }
}
