//! The roots that count: those that the group's tree had last, since a member may prove for one of a moment ago.
//!
//! Deployed nodes keep 50 and compare before they add, so that 51 count. Not one of none: an empty window verifies nothing.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{Notify, watch};

use super::element::Element;

/// How many count.
pub const ROOTS: usize = 50;

/// The last roots of a tree, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roots(VecDeque<Element>);

impl Roots {
    /// The tree has this one now. Says whether that is news.
    pub fn now(&mut self, root: Element) -> bool {
        if self.newest() == Some(&root) {
            return false;
        }
        // One that comes back, after a reorganisation say, is the newest again and takes one place.
        self.0.retain(|known| *known != root);
        if self.0.len() == ROOTS {
            self.0.pop_front();
        }
        self.0.push_back(root);
        true
    }

    /// Does this one count?
    #[must_use]
    pub fn contains(&self, root: &Element) -> bool {
        self.0.contains(root)
    }

    /// The one to prove for: an older one would tell how old a member is.
    #[must_use]
    pub fn newest(&self) -> Option<&Element> {
        self.0.back()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is none known yet? Then nothing is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The roots of a group as whoever follows it tells them.
#[derive(Debug, Clone)]
pub struct Known {
    /// Told at each change.
    pub roots: watch::Receiver<Arc<Roots>>,
    /// Asks for a look at once, when one is missing.
    pub look: Arc<Notify>,
}

/// The other end of [`Known`].
#[derive(Debug)]
pub struct Follow {
    /// Where changes are told.
    pub roots: watch::Sender<Arc<Roots>>,
    /// Somebody misses a root.
    pub look: Arc<Notify>,
}

impl Follow {
    /// The tree has this root now. Says whether that is news.
    pub fn now(&self, root: Element) -> bool {
        self.roots.send_if_modified(|roots| Arc::make_mut(roots).now(root))
    }
}

/// Two ends, with no root known.
#[must_use]
pub fn follow() -> (Follow, Known) {
    let (sender, receiver) = watch::channel(Arc::default());
    let look = Arc::new(Notify::new());
    (Follow { roots: sender, look: Arc::clone(&look) }, Known { roots: receiver, look })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_count_and_none_of_none() {
        let mut roots = Roots::default();
        assert!(!roots.contains(&Element::ZERO) && roots.is_empty());
        for number in 0..51 {
            assert!(roots.now(Element::from(number)));
            assert!(!roots.now(Element::from(number)));
        }
        assert_eq!(roots.len(), ROOTS);
        assert!(!roots.contains(&Element::from(0)));
        assert!(roots.contains(&Element::from(1)));
        assert_eq!(roots.newest(), Some(&Element::from(50)));
    }

    #[test]
    fn one_that_comes_back_is_the_newest_and_takes_one_place() {
        let mut roots = Roots::default();
        for number in [1, 2, 3, 2] {
            assert!(roots.now(Element::from(number)));
        }
        assert_eq!((roots.len(), roots.newest()), (3, Some(&Element::from(2))));
    }
}
