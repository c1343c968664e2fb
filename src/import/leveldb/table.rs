//! LevelDB's tables: sorted entries in blocks, and an index of these.
//! Source: google/leveldb `doc/table_format.md`; goleveldb `leveldb/table`.
//!
//! A block that can't be read costs its own entries and no others.
//!
//! Limits: [`MAX_BLOCK_BYTES`] of a block, before and after it is unpacked.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Entry, unmasked, varint};

/// Largest block read, in bytes: 64 MiB. Blocks hold 4 KiB and one entry more; an index has some dozens of bytes for each.
const MAX_BLOCK_BYTES: usize = 64 << 20;
/// Bytes at the end of a table.
const FOOTER: usize = 48;
/// What ends a table.
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();
/// Behind a block: how it is packed, and a checksum.
const TRAILER: usize = 5;

/// What can be wrong with a table or a block of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Malformed(&'static str),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it can't be unpacked: {0}")]
    Packed(#[from] snap::Error),
}

/// One table, read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    path: PathBuf,
    /// Where its blocks are, the next one last.
    blocks: Vec<Handle>,
    /// What is left of the block at hand, the next one last.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Handle {
    offset: u64,
    size: usize,
}

impl Table {
    pub(super) fn open(path: &Path) -> Result<Self, TableError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let footer_at = length.checked_sub(FOOTER as u64).ok_or(TableError::Malformed("too short for a table"))?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, footer_at)?;
        let mut handles = footer.strip_suffix(&MAGIC).ok_or(TableError::Malformed("not the end of a table"))?;
        handle(&mut handles).ok_or(TableError::Malformed("a footer without a metaindex"))?;
        let index = handle(&mut handles).ok_or(TableError::Malformed("a footer without an index"))?;
        let index = block(&file, index)?;
        let mut blocks = Vec::new();
        entries(&index, |_, value| {
            let mut value = value;
            blocks.push(handle(&mut value)?);
            Some(())
        })?;
        blocks.reverse();
        Ok(Self { file, path: path.to_owned(), blocks, entries: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next entry; `None` behind the last one.
    ///
    /// # Errors
    /// A block that can't be read. The next call goes on behind it.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TableError> {
        loop {
            if let Some(entry) = self.entries.pop() {
                return Ok(Some(entry));
            }
            let Some(handle) = self.blocks.pop() else { return Ok(None) };
            let block = block(&self.file, handle)?;
            let entries_read = &mut self.entries;
            let whole = entries(&block, |key, value| {
                entries_read.push(Entry::of(key, value)?);
                Some(())
            });
            self.entries.reverse();
            whole?; // What stands before the damage is kept for the next call.
        }
    }
}

fn handle(bytes: &mut &[u8]) -> Option<Handle> {
    let offset = varint(bytes)?;
    let size = usize::try_from(varint(bytes)?).ok()?;
    Some(Handle { offset, size })
}

/// Reads and unpacks a block.
fn block(file: &File, at: Handle) -> Result<Vec<u8>, TableError> {
    if at.size > MAX_BLOCK_BYTES {
        return Err(TableError::Malformed("a block of more than 64 MiB"));
    }
    let end = at.offset.checked_add((at.size + TRAILER) as u64);
    if end.is_none_or(|end| file.metadata().map_or(true, |file| end > file.len())) {
        return Err(TableError::Malformed("a block beyond the end"));
    }
    let mut bytes = vec![0; at.size + TRAILER];
    file.read_exact_at(&mut bytes, at.offset)?;
    let (packed, trailer) = bytes.split_at(at.size);
    let [kind, a, b, c, d] = *trailer else { return Err(TableError::Malformed("no trailer")) };
    if crc32c::crc32c(&bytes[..=at.size]) != unmasked(u32::from_le_bytes([a, b, c, d])) {
        return Err(TableError::Checksum);
    }
    match kind {
        0 => Ok(packed.to_vec()),
        1 if snap::raw::decompress_len(packed)? > MAX_BLOCK_BYTES => {
            Err(TableError::Malformed("a block that unpacks to more than 64 MiB"))
        }
        1 => Ok(snap::raw::Decoder::new().decompress_vec(packed)?),
        _ => Err(TableError::Malformed("packed in an unknown way")),
    }
}

/// Walks over the entries of a block: each shares the beginning of its key with the one before.
fn entries<'a>(block: &'a [u8], mut each: impl FnMut(&[u8], &'a [u8]) -> Option<()>) -> Result<(), TableError> {
    const WRONG: TableError = TableError::Malformed("entries that can't be read");
    let (_, restarts) =
        block.split_last_chunk::<4>().map(|(rest, count)| (rest, u32::from_le_bytes(*count))).ok_or(WRONG)?;
    let end = (restarts as usize).checked_add(1).and_then(|words| words.checked_mul(4)).ok_or(WRONG)?;
    let mut rest = block.len().checked_sub(end).and_then(|end| block.get(..end)).ok_or(WRONG)?;
    let mut key = Vec::new();
    while !rest.is_empty() {
        let mut length = || usize::try_from(varint(&mut rest)?).ok();
        let (shared, unshared, value) = (length().ok_or(WRONG)?, length().ok_or(WRONG)?, length().ok_or(WRONG)?);
        let (suffix, after) = rest.split_at_checked(unshared).ok_or(WRONG)?;
        let (value, after) = after.split_at_checked(value).ok_or(WRONG)?;
        if shared > key.len() {
            return Err(WRONG);
        }
        key.truncate(shared);
        key.extend_from_slice(suffix);
        each(&key, value).ok_or(WRONG)?;
        rest = after;
    }
    Ok(())
}
