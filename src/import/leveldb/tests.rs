//! Databases that another implementation of LevelDB wrote.

use rusty_leveldb::{DB, Options};
use tempfile::TempDir;

use super::*;

/// Keys of the databases.
const KEYS: u32 = 4_000;

type Content = BTreeMap<Vec<u8>, Bytes>;

fn key(number: u32) -> Vec<u8> {
    [&number.wrapping_mul(2_654_435_761).to_be_bytes()[..], b"-key"].concat()
}

fn options() -> Options {
    // Many small tables in several levels, packed by snappy.
    Options { write_buffer_size: 32 << 10, max_file_size: 16 << 10, compressor: 1, ..Options::default() }
}

/// Written, partly written again, partly deleted; some of it still in the journal.
fn written() -> (TempDir, Content) {
    let directory = tempfile::tempdir().unwrap();
    let mut database = DB::open(directory.path(), options()).unwrap();
    let mut content = Content::new();
    let mut put = |database: &mut DB, number: u32, value: Vec<u8>| {
        database.put(&key(number), &value).unwrap();
        content.insert(key(number), value.into());
    };
    for number in 0..KEYS {
        put(&mut database, number, number.to_string().repeat(10).into());
    }
    for number in (0..KEYS).step_by(3) {
        put(&mut database, number, vec![7; number as usize % 500]);
    }
    for number in (0..KEYS).step_by(5) {
        database.delete(&key(number)).unwrap();
        content.remove(&key(number));
    }
    drop(database);
    (directory, content)
}

fn tables(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "ldb")).collect();
    tables.sort();
    tables
}

/// All entries in their order, and how often something was damaged.
fn all(directory: &Path) -> (Vec<(Vec<u8>, Bytes)>, usize) {
    let mut database = Database::open(directory).unwrap();
    let (mut entries, mut damaged) = (Vec::new(), 0);
    while let Some(step) = database.next() {
        match step {
            Step::Entry { key, value } => entries.push((key, value)),
            Step::Damaged(_) => damaged += 1,
        }
    }
    let (read, total) = database.progress();
    assert_eq!(read, total);
    (entries, damaged)
}

#[test]
fn the_newest_value_of_each_key_in_order() {
    let (directory, content) = written();
    assert!(tables(directory.path()).len() > 3, "a test of tables needs some");
    let (entries, damaged) = all(directory.path());
    assert_eq!(entries, content.into_iter().collect::<Vec<_>>());
    assert_eq!(damaged, 0);
}

#[test]
fn nothing_is_written() {
    let (directory, _) = written();
    let files = || -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let before = files();
    all(directory.path());
    assert_eq!(files(), before);
}

#[test]
fn an_empty_database_has_nothing() {
    let directory = tempfile::tempdir().unwrap();
    drop(DB::open(directory.path(), options()).unwrap());
    assert_eq!(all(directory.path()), (vec![], 0));
}

#[test]
fn a_database_in_use_is_not_read() {
    let (directory, content) = written();
    let server = DB::open(directory.path(), options()).unwrap();
    assert!(matches!(Database::open(directory.path()), Err(DatabaseError::InUse(_))));
    drop(server);
    assert_eq!(all(directory.path()).0.len(), content.len());
}

#[test]
fn a_damaged_block_costs_its_entries_and_no_others() {
    let (directory, content) = written();
    let table = tables(directory.path()).remove(1);
    let mut bytes = fs::read(&table).unwrap();
    bytes[100] ^= 1;
    fs::write(&table, bytes).unwrap();
    let (entries, damaged) = all(directory.path());
    assert_eq!(damaged, 1);
    // A block has 4 KiB of entries of a few dozen bytes. What it hid may have been deleted or written again.
    let same = entries.iter().filter(|(key, value)| content.get(key) == Some(value)).count();
    assert!(same + 400 > content.len() && entries.len() > content.len() / 2, "{same} of {}", content.len());
    assert!(entries.is_sorted());
}

#[test]
fn a_table_that_is_cut_off_or_gone_is_told_and_the_others_are_read() {
    for cut in [true, false] {
        let (directory, content) = written();
        let table = tables(directory.path()).remove(1);
        match cut {
            true => fs::write(&table, &fs::read(&table).unwrap()[..1_000]).unwrap(),
            false => fs::remove_file(&table).unwrap(),
        }
        let (entries, damaged) = all(directory.path());
        assert_eq!(damaged, 1);
        assert!(entries.len() > content.len() / 2);
    }
}

#[test]
fn a_directory_that_says_nothing_readable_is_named() {
    let (directory, _) = written();
    let current = fs::read_to_string(directory.path().join("CURRENT")).unwrap();
    let manifest = directory.path().join(current.trim_end());
    let whole = fs::read(&manifest).unwrap();
    let opened = || Database::open(directory.path()).map(drop);
    let mut flipped = whole;
    flipped[10] ^= 1;
    fs::write(&manifest, flipped).unwrap();
    assert!(matches!(opened(), Err(DatabaseError::Manifest(..))));
    fs::remove_file(&manifest).unwrap();
    assert!(matches!(opened(), Err(DatabaseError::Io(..))));
    for name in ["", "../elsewhere", "MANIFEST-../../x", "\u{fffd}"] {
        fs::write(directory.path().join("CURRENT"), name).unwrap();
        assert!(matches!(opened(), Err(DatabaseError::Manifest(..))), "{name}");
    }
    assert!(matches!(Database::open(&directory.path().join("none")), Err(DatabaseError::Io(..))));
}

#[test]
fn any_byte_of_a_table_may_be_wrong() {
    let (directory, _) = written();
    let table = tables(directory.path()).remove(0);
    let whole = fs::read(&table).unwrap();
    for at in (0..whole.len()).step_by(97).chain(whole.len() - 60..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&table, bytes).unwrap();
        let Ok(mut opened) = Table::open(&table) else { continue };
        while !matches!(opened.next(), Ok(None)) {}
    }
}
