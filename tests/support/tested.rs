//! Tables of what is asked and the tests that show it: that every test named in one exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// How a row of a table is met.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Met {
    /// These tests show it.
    By(&'static [&'static str]),
    /// No test can, or does so far.
    Untested(&'static str),
}

impl Met {
    /// The tests that show it.
    pub(crate) fn tests(self) -> &'static [&'static str] {
        match self {
            Self::By(tests) => tests,
            Self::Untested(_) => &[],
        }
    }
}

/// Panics when a row names a test that is not there, or neither a test nor a reason.
pub(crate) fn check(rows: impl IntoIterator<Item = (String, Met)>) {
    let there = tests();
    for (row, met) in rows {
        match met {
            Met::By(tests) => {
                assert!(!tests.is_empty(), "{row}");
                for test in tests {
                    assert!(there.contains(*test), "{row}: there is no test {test}");
                }
            }
            Met::Untested(reason) => assert!(reason.len() > 10, "{row}"),
        }
    }
}

/// Panics when a test whose name begins with the number of a row, as `r_012_` or `h12_`, is not in the table.
pub(crate) fn check_numbered(is_numbered: impl Fn(&str) -> bool, listed: impl IntoIterator<Item = Met>) {
    let listed: BTreeSet<&str> = listed.into_iter().flat_map(Met::tests).copied().collect();
    for name in tests().iter().filter(|name| is_numbered(name)) {
        assert!(listed.contains(name.as_str()), "{name} is in no row");
    }
}

/// The names of all tests of the workspace, those of the longer commands included.
fn tests() -> BTreeSet<String> {
    let mut folders: Vec<PathBuf> = [".", "devp2p", "waku0", "waku2", "rln", "membership", "bridge", "archive", "fuzz"]
        .iter()
        .flat_map(|member| ["src", "tests"].map(|part| root().join(member).join(part)))
        .filter(|folder| folder.is_dir())
        .collect();
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_in(&fs::read_to_string(path).expect("a source file")));
            }
        }
    }
    names
}

/// Functions with the attribute of a test, by their lines.
fn tests_in(source: &str) -> Vec<String> {
    let (mut names, mut is_test, is_list) = (Vec::new(), false, source.contains("macro_rules! each_case"));
    for line in source.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        // A case that runs on every archive: `part: name;` in the list of a macro.
        if let Some((_, case)) = line.strip_suffix(';').and_then(|line| line.split_once(": ")).filter(|_| is_list) {
            names.push(case.to_owned());
        }
        let Some(function) = line.trim_start_matches("async ").strip_prefix("fn ") else { continue };
        if std::mem::take(&mut is_test) {
            names.extend(function.split('(').next().map(str::to_owned));
        }
    }
    names
}

/// The folder of the workspace, from whichever of its packages.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).expect("a package of the workspace")
}
