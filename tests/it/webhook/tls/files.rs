//! The folder of a certificate, and everybody who writes to it.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::Pair;

/// The folder that the webhook is told of.
pub struct Files {
    dir: TempDir,
    mounted: u32,
}

impl Files {
    /// An empty one.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        Self { dir, mounted: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where a file of it is.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes `tls.crt` in place.
    pub fn write_certificate(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file("tls.crt"), text).unwrap();
    }

    /// Writes `tls.key` in place.
    pub fn write_key(&self, text: impl AsRef<[u8]>) {
        fs::write(self.file("tls.key"), text).unwrap();
    }

    /// Writes both in place, one after the other.
    pub fn write(&self, pair: &Pair) {
        self.write_certificate(&pair.certificate);
        self.write_key(&pair.key);
    }

    /// Changes both at once, as the kubelet does for a Secret that is mounted: both are links into
    /// `..data`, which is a link to a folder, and takes the place of the one before by a rename.
    pub fn mount(&mut self, pair: &Pair) {
        self.mounted += 1;
        let folder = format!("..{}", self.mounted);
        fs::create_dir(self.file(&folder)).unwrap();
        fs::write(self.file(&folder).join("tls.crt"), &pair.certificate).unwrap();
        fs::write(self.file(&folder).join("tls.key"), &pair.key).unwrap();
        symlink(&folder, self.file("..data_tmp")).unwrap();
        fs::rename(self.file("..data_tmp"), self.file("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            match symlink(Path::new("..data").join(name), self.file(name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked.unwrap(),
            }
        }
        let before = self.file(&format!("..{}", self.mounted - 1));
        if self.mounted > 1 {
            fs::remove_dir_all(before).unwrap();
        }
    }
}
