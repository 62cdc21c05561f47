//! What the compiler does not check: the core is pure, arrows between modules point one way, and every
//! file is compiled.

use std::collections::BTreeSet;

use regex::Regex;

use crate::repository::{files, path, read};

/// The code of a file without comments and without its tests.
fn product_code(file: &str) -> String {
    let text = read(file);
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

fn product_files(directory: &str) -> Vec<String> {
    let mut found = files(directory, ".rs");
    found.retain(|file| !file.ends_with("/tests.rs") && !file.contains("/tests/"));
    assert!(!found.is_empty(), "no code in {directory}");
    found
}

/// The modules at the root of the crate that some code names.
fn used_modules(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut used = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            used.insert(word(after));
            continue;
        };
        let (mut depth, mut at_start) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => at_start = true,
                c if at_start && c.is_alphabetic() => {
                    used.insert(word(&group[at..]));
                    at_start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

#[test]
fn the_core_has_no_io_clock_chance_or_log() {
    let impure = Regex::new(
        r"(?x) \b(tokio|axum|kube|tracing|SystemTime|Instant|rand|async|Timestamp)\b
             | \bstd::(fs|net|env|io|thread|process|sync)\b | \.await | \be?print(ln)?!",
    )
    .unwrap();
    let find = |file: &str, code: &str| {
        if let Some(found) = impure.find(code) {
            panic!("{file} uses {:?}; it is pure", found.as_str());
        }
    };
    for file in product_files("src/stamp") {
        find(&file, &product_code(&file));
    }
    // It is told what time it is.
    let step = "src/certificates/step.rs";
    find(step, &product_code(step).replace("Timestamp", ""));
}

#[test]
fn impurity_in_a_group_of_imports_would_be_found_too() {
    let code = "use crate::{\n    cluster::{self, error::Error},\n    watcher,\n};\nlet x = crate::cli::main();";
    let used: Vec<_> = used_modules(code).into_iter().collect();
    assert_eq!(used, ["cli", "cluster", "watcher"]);
}

#[test]
fn arrows_between_modules_point_one_way() {
    let allowed: [(&str, &[&str]); 10] = [
        ("stamp", &["stamp"]),
        ("certificates", &["certificates"]),
        ("cluster", &["cluster", "stamp"]),
        ("runtime", &["runtime", "certificates"]),
        ("alerts", &["alerts", "runtime"]),
        (
            "watcher",
            &[
                "watcher",
                "alerts",
                "certificates",
                "cluster",
                "stamp",
                "runtime",
            ],
        ),
        ("webhook", &["webhook", "cluster", "stamp", "runtime"]),
        ("check", &["check", "cluster"]),
        ("explain", &["explain", "cluster", "stamp"]),
        ("migrate", &["migrate", "cluster", "stamp"]),
    ];
    for (module, may_use) in allowed {
        let directory = format!("src/{module}");
        if !path(&directory).exists() {
            continue;
        }
        for file in product_files(&directory) {
            let code = product_code(&file);
            assert!(
                !code.contains("super::super"),
                "{file}: name the module instead"
            );
            let used = used_modules(&code);
            let wrong = used.iter().find(|used| !may_use.contains(&used.as_str()));
            assert_eq!(wrong, None, "{file}: src/{module} may use {may_use:?}");
        }
    }
}

#[test]
fn only_the_cluster_module_and_the_watches_talk_to_the_api_server() {
    let talks = Regex::new(r"\bApi(<|::<|::\w+\()|\bclient\.(send|request\w*)\(").unwrap();
    for file in product_files("src") {
        let may = file.starts_with("src/cluster/") || file == "src/watcher/streams.rs";
        assert!(
            may || !talks.is_match(&product_code(&file)),
            "{file} talks to the API server"
        );
    }
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for file in product_files("src") {
        let reads = product_code(&file).contains("std::env");
        assert!(
            !reads || file == "src/cli.rs" || file.starts_with("src/cli/"),
            "{file} reads the environment"
        );
    }
}

/// The files that may declare a module of that file.
fn parents(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap();
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let (directory, _) = stem.rsplit_once('/').unwrap();
    let inside = ["mod.rs", "lib.rs", "main.rs"].map(|name| format!("{directory}/{name}"));
    inside
        .into_iter()
        .chain([format!("{directory}.rs")])
        .collect()
}

#[test]
fn every_file_is_part_of_the_program() {
    let all = ["src", "tests", "examples"]
        .map(|directory| files(directory, ".rs"))
        .concat();
    let is_root = |file: &str| {
        file.ends_with("/main.rs")
            || file.ends_with("/lib.rs")
            || file.starts_with("tests/e2e/cluster/tests/")
    };
    for file in all.iter().filter(|file| !is_root(file)) {
        let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = stem.rsplit('/').next().unwrap();
        let declares = Regex::new(&format!(r"(?m)^\s*(pub(\([a-z]+\))? )?mod {module}\b")).unwrap();
        let declared = parents(file)
            .iter()
            .filter(|parent| path(parent).exists())
            .any(|parent| declares.is_match(&read(parent)));
        assert!(
            declared,
            "{file} is not compiled: none of {:?} declares it",
            parents(file)
        );
    }
}
