//! The files of this repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The path of something in the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The text of a file.
pub fn read(relative: &str) -> String {
    fs::read_to_string(path(relative))
        .unwrap_or_else(|error| panic!("{relative} belongs to the repository: {error}"))
}

/// Every file below a directory whose name ends like that, relative to the repository, sorted.
pub fn files(directory: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(path(directory));
    for entry in entries.unwrap_or_else(|error| panic!("{directory}: {error}")) {
        let entry = entry.unwrap();
        let relative = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&relative, ending));
        } else if relative.ends_with(ending) {
            found.push(relative);
        }
    }
    found.sort();
    found
}

/// What the program says about itself.
pub fn help(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_restamp"))
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "restamp {arguments:?} --help: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}
