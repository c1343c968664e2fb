//! LevelDB's journals: the records of a manifest, and those of a log of writes.
//! Source: google/leveldb `doc/log_format.md`; goleveldb `leveldb/journal`.
//!
//! A file is cut into blocks of [`BLOCK`] bytes. A record is one chunk, or a first, some middle and a last one, none of which
//! crosses a block. A file that ends within a record is ordinary: that is what a kill leaves behind.
//!
//! Limit: the file, which the caller bounds.

use super::unmasked;

/// Bytes of a block.
const BLOCK: usize = 32 * 1024;
/// Bytes before a chunk's data: checksum, length, kind.
const HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The records of a file, and how many of its blocks could not be read to their end.
pub(super) fn records(file: &[u8]) -> (Vec<Vec<u8>>, u64) {
    let (mut records, mut damaged) = (Vec::new(), 0);
    let mut open: Option<Vec<u8>> = None;
    for block in file.chunks(BLOCK) {
        let is_last = block.as_ptr_range().end == file.as_ptr_range().end;
        let mut rest = block;
        loop {
            match chunk(rest) {
                Chunk::Of { kind, data, after } => {
                    take(kind, data, &mut open, &mut records);
                    rest = after;
                }
                Chunk::End => break,
                // The last write of a process that was killed.
                Chunk::Cut if is_last => return (records, damaged),
                Chunk::Cut | Chunk::Damaged => {
                    open = None;
                    damaged += 1;
                    break;
                }
            }
        }
    }
    (records, damaged)
}

enum Chunk<'a> {
    Of {
        kind: u8,
        data: &'a [u8],
        after: &'a [u8],
    },
    /// Nothing more in this block.
    End,
    /// Shorter than it says.
    Cut,
    /// Its checksum is wrong.
    Damaged,
}

fn chunk(block: &[u8]) -> Chunk<'_> {
    let Some((header, rest)) = block.split_first_chunk::<HEADER>() else { return Chunk::End };
    let [a, b, c, d, low, high, kind] = *header;
    let length = usize::from(u16::from_le_bytes([low, high]));
    if header.iter().all(|byte| *byte == 0) {
        return Chunk::End; // Space that was set aside and not written.
    }
    let Some((data, after)) = rest.split_at_checked(length) else { return Chunk::Cut };
    let stored = unmasked(u32::from_le_bytes([a, b, c, d]));
    if crc32c::crc32c_append(crc32c::crc32c(&[kind]), data) != stored {
        return Chunk::Damaged;
    }
    Chunk::Of { kind, data, after }
}

/// Puts records together. A part without its beginning belongs to one that was damaged.
fn take(kind: u8, data: &[u8], open: &mut Option<Vec<u8>>, records: &mut Vec<Vec<u8>>) {
    match kind {
        FULL => {
            *open = None;
            records.push(data.to_vec());
        }
        FIRST => *open = Some(data.to_vec()),
        MIDDLE | LAST => {
            if let Some(record) = open {
                record.extend_from_slice(data);
            }
            if kind == LAST {
                records.extend(open.take());
            }
        }
        _ => {} // None that either implementation writes.
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::masked, *};

    /// A file as LevelDB writes it.
    fn written(records: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        for record in records {
            let (mut rest, mut first) = (&record[..], true);
            loop {
                let room = BLOCK - file.len() % BLOCK;
                if room < HEADER {
                    file.resize(file.len() + room, 0);
                    continue;
                }
                let (data, after) = rest.split_at(rest.len().min(room - HEADER));
                let kind = match (first, after.is_empty()) {
                    (true, true) => FULL,
                    (true, false) => FIRST,
                    (false, false) => MIDDLE,
                    (false, true) => LAST,
                };
                let checksum = masked(crc32c::crc32c_append(crc32c::crc32c(&[kind]), data));
                file.extend(checksum.to_le_bytes());
                file.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
                file.push(kind);
                file.extend(data);
                (rest, first) = (after, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        file
    }

    fn of_sizes(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().enumerate().map(|(place, size)| vec![u8::try_from(place % 251).unwrap(); *size]).collect()
    }

    #[test]
    fn records_of_all_sizes_around_the_block() {
        let sizes: Vec<usize> = (0..20).map(|n| BLOCK - 2 * HEADER - 10 + n).chain([0, 1, 3 * BLOCK, 100]).collect();
        assert_eq!(records(&written(&of_sizes(&sizes))), (of_sizes(&sizes), 0));
        assert_eq!(records(&[]), (vec![], 0));
    }

    #[test]
    fn a_file_that_ends_within_a_record_has_the_others() {
        let all = of_sizes(&[10, 20, 2 * BLOCK]);
        let file = written(&all);
        assert_eq!(records(&file[..file.len() - 1]), (all[..2].to_vec(), 0));
        assert_eq!(records(&file[..20]), (all[..1].to_vec(), 0));
    }

    #[test]
    fn a_damaged_block_is_counted_and_costs_itself_alone() {
        let all = of_sizes(&[10, BLOCK - HEADER - 10 - HEADER, 30, 40]);
        let mut file = written(&all);
        file[HEADER + 3] ^= 1;
        assert_eq!(records(&file), (all[2..].to_vec(), 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = records(&bytes);
        }

        #[test]
        fn what_is_written_is_read(sizes in prop::collection::vec(0_usize..70_000, 0..12)) {
            prop_assert_eq!(records(&written(&of_sizes(&sizes))), (of_sizes(&sizes), 0));
        }
    }
}
