//! Envelopes on their way to peers, gathered while packets are read, so that those for the same peers share a packet.
//!
//! Limit: nothing of its own; it holds references to envelopes of the pool, until the actions of the core are taken.

use std::{collections::HashMap, sync::Arc};

use crate::{envelope::Envelope, slots::SlotSet};

/// Envelopes by whom they go to, in the order of the first of each group.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    groups: Vec<(SlotSet, Vec<Arc<Envelope>>)>,
    places: HashMap<SlotSet, usize>,
}

impl Forwards {
    /// Adds an envelope for these peers. No peers: nothing happens.
    pub(crate) fn add(&mut self, to: SlotSet, envelope: Arc<Envelope>) {
        if to.is_empty() {
            return;
        }
        // As a rule all go to the same peers.
        if let Some((last, envelopes)) = self.groups.last_mut()
            && *last == to
        {
            envelopes.push(envelope);
            return;
        }
        match self.places.get(&to) {
            Some(place) => self.groups[*place].1.push(envelope),
            None => {
                self.places.insert(to.clone(), self.groups.len());
                self.groups.push((to, vec![envelope]));
            }
        }
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> Vec<(SlotSet, Vec<Arc<Envelope>>)> {
        self.places.clear();
        std::mem::take(&mut self.groups)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::topic::Topic;

    fn envelope(nonce: u64) -> Arc<Envelope> {
        Arc::new(Envelope::new(10, 1, Topic([0; 4]), Bytes::new(), nonce).unwrap())
    }

    fn to(slots: &[usize]) -> SlotSet {
        let mut set = SlotSet::default();
        slots.iter().for_each(|slot| set.insert(*slot));
        set
    }

    #[test]
    fn equal_selections_share_a_group_in_order() {
        let mut forwards = Forwards::default();
        let selections = [to(&[1, 2]), to(&[1]), to(&[]), to(&[1, 2]), to(&[2, 1]), to(&[1])];
        for (nonce, selection) in selections.into_iter().enumerate() {
            forwards.add(selection, envelope(nonce as u64));
        }
        let groups = forwards.take();
        let nonces: Vec<Vec<u64>> = groups.iter().map(|(_, group)| group.iter().map(|e| e.nonce()).collect()).collect();
        assert_eq!(nonces, [vec![0, 3, 4], vec![1, 5]]);
        assert!(forwards.is_empty());
        forwards.add(to(&[1]), envelope(9));
        assert_eq!(forwards.take().len(), 1);
    }
}
