//! The container image that `make image` made, unpacked.

use std::{
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use restamp_test_cluster::skipped;
use serde_json::Value;
use tempfile::TempDir;

/// The user and group that its processes have.
pub const USER: &str = "65532";

/// What is in the image, in a folder of the test's own.
pub struct Image {
    /// Its configuration, as the image format has it.
    pub configuration: Value,
    /// How many bytes its layers have.
    pub size: u64,
    files: TempDir,
}

impl Image {
    /// The one that `E2E_IMAGE` names; nothing where there is none.
    pub fn given(test: &str) -> Option<Image> {
        let Some(archive) = env::var_os("E2E_IMAGE") else {
            skipped(format_args!(
                "{test} needs an image, which `make image-check` makes"
            ));
            return None;
        };
        let files = tempfile::Builder::new()
            .prefix("restamp-e2e-image-")
            .tempdir()
            .expect("a temporary folder");
        let packed = files.path().join("packed");
        unpack(Path::new(&archive), &packed);
        let json = |name: &str| -> Value {
            let text = fs::read(packed.join(name)).expect("a file of the archive");
            serde_json::from_slice(&text).expect("JSON")
        };
        let manifest = &json("manifest.json")[0];
        let mut size = 0;
        for layer in manifest["Layers"].as_array().expect("layers") {
            let layer = packed.join(layer.as_str().expect("a name"));
            size += fs::metadata(&layer).expect("a layer").len();
            unpack(&layer, &files.path().join("root"));
        }
        Some(Image {
            configuration: json(manifest["Config"].as_str().expect("a name")),
            size,
            files,
        })
    }

    /// The root of its file system.
    pub fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    /// Every file and folder below its root, relative to it, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect(&self.root(), &mut found);
        let relative = |path: PathBuf| {
            let path = path.strip_prefix(self.root()).expect("below it").to_owned();
            path.into_os_string().into_string().expect("UTF-8")
        };
        let mut names: Vec<String> = found.into_iter().map(relative).collect();
        names.sort();
        names
    }

    /// Adds a file, as a mounted volume does.
    pub fn mount(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    /// A command that runs its program as its user, with its files alone, none of which can be written; nothing where
    /// that takes rights that we lack.
    pub fn command(&self, test: &str, args: &[&str]) -> Option<Command> {
        let user = ["--map-user", "--map-group"].map(|option| format!("{option}={USER}"));
        let possible = Command::new("unshare").args(&user).arg("true").output();
        if !possible.is_ok_and(|output| output.status.success()) {
            skipped(format_args!(
                "{test} needs unshare, and the right to make a user namespace"
            ));
            return None;
        }
        set_mode_of_folders(&self.root(), 0o555);
        let mut command = Command::new("unshare");
        command
            .args(&user)
            .arg(format!("--root={}", self.root().display()))
            .arg("/restamp")
            .args(args)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default());
        Some(command)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        set_mode_of_folders(&self.root(), 0o755);
    }
}

fn unpack(archive: &Path, into: &Path) {
    fs::create_dir_all(into).expect("a folder");
    let args = [
        OsStr::new("-xpf"),
        archive.as_os_str(),
        OsStr::new("-C"),
        into.as_os_str(),
    ];
    let output = Command::new("tar").args(args).output().expect("tar runs");
    assert!(output.status.success(), "{}: {output:?}", archive.display());
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        }
        found.push(path);
    }
}

fn set_mode_of_folders(folder: &Path, mode: u32) {
    fs::set_permissions(folder, Permissions::from_mode(mode)).expect("our own folder");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            set_mode_of_folders(&path, mode);
        }
    }
}
