//! Message codes shared by several capabilities on one connection.
//!
//! A capability is shared when name and version agree. Of several shared versions of one name the highest runs. The
//! shared ones get their message codes one after another from 0x10, in ascending order of name (RLPx, "Capability
//! Messaging"); both sides reckon this alone, so nothing about it is sent.

use crate::hello::{Capability, Offered};

/// First code after those of the base protocol. Source: RLPx, "Capability Messaging".
pub const FIRST_CODE: u64 = 0x10;

/// The capabilities that run on a connection, with their codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mux {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    offered: Offered,
    first_code: u64,
}

impl Mux {
    /// Lays out what `ours` and `theirs` have in common. Empty when that is nothing.
    #[must_use]
    pub fn new(ours: &[Offered], theirs: &[Capability]) -> Self {
        let mut shared: Vec<Offered> =
            ours.iter().filter(|offered| theirs.contains(&offered.capability)).copied().collect();
        // Ascending names, and within one name the highest version first, which alone stays.
        shared.sort_by_key(|offered| (offered.capability.name, std::cmp::Reverse(offered.capability.version)));
        shared.dedup_by_key(|offered| offered.capability.name);
        let slots = shared
            .into_iter()
            .scan(FIRST_CODE, |next, offered| {
                let first_code = *next;
                *next += u64::from(offered.length);
                Some(Slot { offered, first_code })
            })
            .collect();
        Self { slots }
    }

    /// The capabilities that run, in order of their codes.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        self.slots.iter().map(|slot| slot.offered.capability).collect()
    }

    /// True when nothing is shared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The capability a code of the wire belongs to, and the code relative to it.
    #[must_use]
    pub fn locate(&self, code: u64) -> Option<(Capability, u8)> {
        self.slots.iter().find_map(|slot| {
            let relative = u8::try_from(code.checked_sub(slot.first_code)?).ok()?;
            (relative < slot.offered.length).then_some((slot.offered.capability, relative))
        })
    }

    /// The code on the wire of a capability's code.
    #[must_use]
    pub fn wire_code(&self, capability: Capability, code: u8) -> Option<u64> {
        let slot = self.slots.iter().find(|slot| slot.offered.capability == capability)?;
        (code < slot.offered.length).then_some(slot.first_code + u64::from(code))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHH6: Capability = Capability::from_static("shh", 6);
    const WAKU0: Capability = Capability::from_static("waku", 0);
    const WAKU1: Capability = Capability::from_static("waku", 1);
    const ETH63: Capability = Capability::from_static("eth", 63);

    fn offered(capability: Capability) -> Offered {
        Offered { capability, length: if capability == ETH63 { 17 } else { 128 } }
    }

    /// Where each shared capability begins when both sides have these.
    fn layout(both: &[Capability]) -> Vec<(Capability, u64)> {
        let ours: Vec<_> = both.iter().copied().map(offered).collect();
        let mux = Mux::new(&ours, both);
        mux.capabilities().into_iter().map(|capability| (capability, mux.wire_code(capability, 0).unwrap())).collect()
    }

    #[test]
    fn codes_run_from_16_in_order_of_names_with_the_highest_version() {
        assert_eq!(layout(&[WAKU0]), [(WAKU0, 16)]);
        assert_eq!(layout(&[WAKU0, WAKU1]), [(WAKU1, 16)]);
        assert_eq!(layout(&[WAKU1, WAKU0]), [(WAKU1, 16)]);
        assert_eq!(layout(&[WAKU0, SHH6]), [(SHH6, 16), (WAKU0, 144)]);
        assert_eq!(layout(&[WAKU0, ETH63]), [(ETH63, 16), (WAKU0, 33)]);
    }

    #[test]
    fn name_and_version_must_both_agree() {
        assert!(Mux::new(&[offered(WAKU0)], &[WAKU1, SHH6]).is_empty());
        assert_eq!(Mux::new(&[offered(WAKU0)], &[WAKU1, WAKU0]).capabilities(), [WAKU0]);
        assert!(Mux::new(&[offered(WAKU0)], &[]).is_empty());
    }

    #[test]
    fn codes_outside_belong_to_nobody() {
        let mux = Mux::new(&[offered(SHH6), offered(WAKU0)], &[SHH6, WAKU0]);
        assert_eq!(mux.locate(15), None);
        assert_eq!(mux.locate(16), Some((SHH6, 0)));
        assert_eq!(mux.locate(143), Some((SHH6, 127)));
        assert_eq!(mux.locate(144), Some((WAKU0, 0)));
        assert_eq!(mux.locate(271), Some((WAKU0, 127)));
        assert_eq!(mux.locate(272), None);
        assert_eq!(mux.locate(u64::MAX), None);
        assert_eq!(mux.wire_code(WAKU0, 128), None);
        assert_eq!(mux.wire_code(WAKU1, 0), None);
    }

    proptest! {
        #[test]
        fn both_sides_reckon_the_same(ours in any::<[bool; 4]>(), theirs in any::<[bool; 4]>(), code: u8) {
            let pick = |which: [bool; 4]| -> Vec<_> {
                [WAKU0, ETH63, WAKU1, SHH6].into_iter().zip(which).filter_map(|(capability, yes)| yes.then_some(capability)).collect()
            };
            let (ours, theirs) = (pick(ours), pick(theirs));
            let offer = |from: &[Capability]| from.iter().copied().map(offered).collect::<Vec<_>>();
            let mux = Mux::new(&offer(&ours), &theirs);
            prop_assert_eq!(&mux, &Mux::new(&offer(&theirs), &ours));
            for capability in mux.capabilities() {
                if let Some(wire) = mux.wire_code(capability, code) {
                    prop_assert_eq!(mux.locate(wire), Some((capability, code)));
                }
            }
        }
    }
}
