//! SQLite alone: its C interface, one prepared statement, one step a row, one transaction a batch.
#![expect(unsafe_code, reason = "SQLite's C interface is what the archive is measured against")]

use std::{
    ffi::{CString, c_int},
    path::Path,
    ptr::{null, null_mut},
};

use archive::Row;
use libsqlite3_sys as ffi;

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_log.sql");

/// A file with the log.
pub(crate) struct Bare {
    connection: *mut ffi::sqlite3,
    insert: *mut ffi::sqlite3_stmt,
}

impl Bare {
    pub(crate) fn new(path: &Path) -> Self {
        let path = CString::new(path.to_str().expect("a path in UTF-8")).expect("a path");
        let mut connection = null_mut();
        // SAFETY: the path ends with a NUL, and the pointer is written before it is used.
        let result = unsafe { ffi::sqlite3_open(path.as_ptr(), &raw mut connection) };
        assert_eq!(result, ffi::SQLITE_OK);
        let mut bare = Self { connection, insert: null_mut() };
        bare.run("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
        bare.run(SCHEMA);
        let columns = "sent, nanos, id, content, topic, ttl, wrapped, envelope, nonce, pubsub_topic, content_topic, version, \
                       meta, proof, proven, first, reason, stored_at, size, payload";
        let text = format!("INSERT INTO log ({columns}) VALUES ({})", ["?"; 20].join(", "));
        let text = CString::new(text).expect("no NUL");
        // SAFETY: the connection is open, and the text ends with a NUL.
        let result =
            unsafe { ffi::sqlite3_prepare_v2(bare.connection, text.as_ptr(), -1, &raw mut bare.insert, null_mut()) };
        assert_eq!(result, ffi::SQLITE_OK);
        bare
    }

    fn run(&self, text: &str) {
        let text = CString::new(text).expect("no NUL");
        // SAFETY: the connection is open, the text ends with a NUL, and no callback is given.
        let result = unsafe { ffi::sqlite3_exec(self.connection, text.as_ptr(), None, null_mut(), null_mut()) };
        assert_eq!(result, ffi::SQLITE_OK);
    }

    pub(crate) fn insert(&mut self, rows: &[Row]) {
        self.run("BEGIN IMMEDIATE");
        for row in rows {
            let (envelope, message) = (row.envelope.as_ref().expect("both"), row.message.as_ref().expect("both"));
            let mined = envelope.mined.expect("mined");
            let second = 1_000_000_000;
            self.int(1, row.sent_ns / second);
            self.int(2, row.sent_ns % second);
            self.blob(3, &message.hash);
            self.blob(4, &row.content);
            self.blob(5, &envelope.topic);
            self.int(6, envelope.ttl.into());
            self.int(7, envelope.wrapped.into());
            self.blob(8, &mined.hash);
            self.int(9, mined.nonce as i64);
            self.blob(10, message.pubsub_topic.as_bytes());
            self.blob(11, message.content_topic.as_bytes());
            self.int(12, message.version.into());
            self.blob(13, &message.meta);
            self.int(15, row.proven.into());
            self.int(16, row.first as i64);
            self.int(18, row.stored_at as i64);
            self.int(19, row.size_bytes() as i64);
            self.blob(20, &row.payload);
            // SAFETY: the statement is prepared, and what is bound to it outlives the step.
            let results = unsafe { (ffi::sqlite3_step(self.insert), ffi::sqlite3_reset(self.insert)) };
            assert_eq!(results, (ffi::SQLITE_DONE, ffi::SQLITE_OK));
        }
        self.run("COMMIT");
    }

    fn int(&self, place: c_int, value: i64) {
        // SAFETY: the statement is prepared and not being stepped.
        assert_eq!(unsafe { ffi::sqlite3_bind_int64(self.insert, place, value) }, ffi::SQLITE_OK);
    }

    fn blob(&self, place: c_int, value: &[u8]) {
        let length = c_int::try_from(value.len()).expect("short");
        let start = if value.is_empty() { null() } else { value.as_ptr().cast() };
        // SAFETY: the statement is prepared and not being stepped; without a destructor the bytes are taken as they stand, and they
        // outlive the step.
        assert_eq!(unsafe { ffi::sqlite3_bind_blob(self.insert, place, start, length, None) }, ffi::SQLITE_OK);
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: both were made by SQLite and are not used any more.
        unsafe {
            ffi::sqlite3_finalize(self.insert);
            ffi::sqlite3_close(self.connection);
        }
    }
}
