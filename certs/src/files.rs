//! Files that are there as a whole, or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::Error;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    Owner,
    All,
}

pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|cause| unwritable(path, cause))
}

/// The content of a file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Writes or replaces a file, under the eyes of readers that never see a part of it.
pub(crate) fn write(path: &Path, content: &str, readers: Readers) -> Result<(), Error> {
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let replace = || {
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder)?;
        file.write_all(content.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    replace().map_err(|cause| unwritable(path, cause))
}

fn unwritable(path: &Path, cause: io::Error) -> Error {
    let path = PathBuf::from(path);
    Error::Write { path, cause }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.crt");
        write(&path, "one", Readers::All).unwrap();
        let mut reader = File::open(&path).unwrap();
        write(&path, "another", Readers::All).unwrap();
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "one");
        assert_eq!(read(&path).unwrap().as_deref(), Some("another"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_is_private_and_stays_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls.key");
        fs::write(&path, "").unwrap();
        write(&path, "secret", Readers::Owner).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_written_or_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, [0xff]).unwrap();
        let below = file.join("tls.crt");
        for error in [
            make_folder(&below).unwrap_err(),
            write(&below, "", Readers::All).unwrap_err(),
        ] {
            let said = error.to_string();
            let expected = format!("cannot write {}: ", below.display());
            assert!(said.starts_with(&expected), "{said}");
        }
        let said = read(&file).unwrap_err().to_string();
        let expected = format!("cannot read {}: ", file.display());
        assert!(said.starts_with(&expected), "{said}");
    }
}
