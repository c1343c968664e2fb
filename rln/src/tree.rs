//! The tree of members: binary, of depth 20, Poseidon of left and right; a leaf is a rate commitment, and zero that of nobody.
//!
//! For groups that are a list: of tests, and static ones. A contract keeps its own tree and gives paths out of it; those are checked
//! here. Limits: [`MAX_MEMBERS`] leaves, which with the nodes above them take 64 MiB.
//! Spec: 17/WAKU2-RLN-RELAY; deployed: LazyIMT of the contract.

use std::sync::LazyLock;

use ark_bn254::Fr;
use waku2::rln::element::Element;

use crate::{
    field::{element, scalar},
    poseidon::scalars,
};

/// Levels above the leaves.
pub const DEPTH: usize = 20;

/// Leaves that there is room for.
pub const MAX_MEMBERS: u32 = 1 << DEPTH;

/// What subtrees of nobody hash to, by their height.
static EMPTY: LazyLock<[Fr; DEPTH + 1]> = LazyLock::new(|| {
    let mut empty = [Fr::default(); DEPTH + 1];
    for height in 0..DEPTH {
        empty[height + 1] = scalars(&[empty[height]; 2]);
    }
    empty
});

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a group has {MAX_MEMBERS} members at most")]
pub struct Full;

/// There is no such leaf yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no member has index {0}")]
pub struct NoMember(pub u32);

/// The members of a group, without a gap: who has left is a leaf of zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// By height, from the leaves; the nodes to the right of those that are here are [`EMPTY`].
    levels: [Vec<Fr>; DEPTH + 1],
}

impl Tree {
    /// The tree of a list.
    ///
    /// # Errors
    /// [`Full`] for a longer one than there is room for.
    pub fn new(members: &[Element]) -> Result<Self, Full> {
        if members.len() > MAX_MEMBERS as usize {
            return Err(Full);
        }
        let mut levels: [Vec<Fr>; DEPTH + 1] = Default::default();
        levels[0] = members.iter().map(scalar).collect();
        for height in 0..DEPTH {
            levels[height + 1] = levels[height]
                .chunks(2)
                .map(|pair| scalars(&[pair[0], *pair.get(1).unwrap_or(&EMPTY[height])]))
                .collect();
        }
        Ok(Self { levels })
    }

    /// How many leaves were ever set.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.levels[0].len()).unwrap_or(MAX_MEMBERS)
    }

    /// Was none ever set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels[0].is_empty()
    }

    /// A new member, at the next index.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, member: &Element) -> Result<u32, Full> {
        let index = self.len();
        if index == MAX_MEMBERS {
            return Err(Full);
        }
        self.put(index, member);
        Ok(index)
    }

    /// Another member in the place of one; [`Element::ZERO`] for nobody.
    ///
    /// # Errors
    /// [`NoMember`] when the place was never taken.
    pub fn set(&mut self, index: u32, member: &Element) -> Result<(), NoMember> {
        if index >= self.len() {
            return Err(NoMember(index));
        }
        self.put(index, member);
        Ok(())
    }

    /// What a proof shows membership under.
    #[must_use]
    pub fn root(&self) -> Element {
        element(self.node(DEPTH, 0))
    }

    /// The leaf at an index.
    #[must_use]
    pub fn member(&self, index: u32) -> Option<Element> {
        self.levels[0].get(index as usize).map(|leaf| element(*leaf))
    }

    /// The index of a member, the first if there are several.
    #[must_use]
    pub fn index_of(&self, member: &Element) -> Option<u32> {
        let place = self.levels[0].iter().position(|leaf| *leaf == scalar(member))?;
        u32::try_from(place).ok()
    }

    /// The way from a leaf to the root.
    #[must_use]
    pub fn path(&self, index: u32) -> Option<Path> {
        (index < self.len()).then(|| {
            let siblings = std::array::from_fn(|height| element(self.node(height, (index as usize >> height) ^ 1)));
            Path { index, siblings }
        })
    }

    fn put(&mut self, index: u32, member: &Element) {
        let mut node = scalar(member);
        for height in 0..=DEPTH {
            let place = index as usize >> height;
            match self.levels[height].get_mut(place) {
                Some(there) => *there = node,
                None => self.levels[height].push(node),
            }
            if height < DEPTH {
                node = scalars(&[self.node(height, place & !1), self.node(height, place | 1)]);
            }
        }
    }

    fn node(&self, height: usize, place: usize) -> Fr {
        *self.levels[height].get(place).unwrap_or(&EMPTY[height])
    }
}

impl Default for Tree {
    /// Without members.
    fn default() -> Self {
        Self { levels: Default::default() }
    }
}

/// The way from a leaf to the root: what stands beside it at each height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    index: u32,
    siblings: [Element; DEPTH],
}

impl Path {
    /// That of the leaf at `index`, from its own sibling upwards. `None` for an index that no tree has.
    #[must_use]
    pub fn new(index: u32, siblings: [Element; DEPTH]) -> Option<Self> {
        (index < MAX_MEMBERS).then_some(Self { index, siblings })
    }

    /// Whose it is.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// From the leaf's own upwards.
    #[must_use]
    pub const fn siblings(&self) -> &[Element; DEPTH] {
        &self.siblings
    }

    /// The root that it leads to from `leaf`.
    #[must_use]
    pub fn root(&self, leaf: &Element) -> Element {
        let steps = self.siblings.iter().zip(self.sides());
        element(steps.fold(scalar(leaf), |node, (sibling, is_right)| match is_right {
            0 => scalars(&[node, scalar(sibling)]),
            _ => scalars(&[scalar(sibling), node]),
        }))
    }

    /// From the leaf upwards: 1 where the node is the right one of its pair.
    pub(crate) fn sides(&self) -> impl Iterator<Item = u8> {
        (0..DEPTH).map(|height| u8::from(self.index >> height & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::poseidon;

    fn element_of(hex_le: &str) -> Element {
        Element::canonical(hex::decode(hex_le).unwrap().try_into().unwrap()).unwrap()
    }

    #[test]
    fn the_published_roots() {
        let empty = element_of("3e1f1922dfb671d3f912f7ea461e0a88ee848fdde12b6c18ab1ad2c56ae73421");
        assert_eq!((Tree::default().root(), Tree::new(&[]).unwrap().root()), (empty, empty));
        let leaf = element_of("202de188b9889b2badd1bc05af310786e19d98c9bf927a962d706c39a4392508");
        let root = element_of("507a6def7128168f64a915e7145fcf490802258bfa2a175f066babd8a6879d20");
        let mut tree = Tree::default();
        assert_eq!(tree.push(&leaf), Ok(0));
        assert_eq!(tree.root(), root);
        tree.set(0, &Element::ZERO).unwrap();
        assert_eq!(tree.root(), empty);
    }

    /// The definition, without anything kept.
    fn naive(leaves: &[Element], height: usize, empty: Element) -> Element {
        let level: Vec<_> =
            leaves.chunks(2).map(|pair| poseidon::hash([pair[0], *pair.get(1).unwrap_or(&empty)])).collect();
        let empty = poseidon::hash([empty, empty]);
        match height {
            1 => level.first().copied().unwrap_or(empty),
            _ => naive(&level, height - 1, empty),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn pushed_and_overwritten_it_is_the_naive_one(
            pushed in prop::collection::vec(any::<u64>(), 1..24),
            others in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..8),
        ) {
            let mut leaves: Vec<Element> = pushed.into_iter().map(Element::from).collect();
            let mut tree = Tree::default();
            for (index, leaf) in leaves.iter().enumerate() {
                prop_assert_eq!(tree.push(leaf), Ok(u32::try_from(index).unwrap()));
            }
            for (index, number) in others {
                let index = index.index(leaves.len());
                leaves[index] = number.into();
                tree.set(u32::try_from(index).unwrap(), &leaves[index]).unwrap();
            }
            prop_assert_eq!(&tree, &Tree::new(&leaves).unwrap());
            prop_assert_eq!(tree.root(), naive(&leaves, DEPTH, Element::ZERO));
            for (index, leaf) in (0..).zip(&leaves) {
                let path = tree.path(index).unwrap();
                prop_assert_eq!(path.root(leaf), tree.root());
                prop_assert_ne!(path.root(&poseidon::hash([*leaf])), tree.root());
                prop_assert_eq!(tree.member(index), Some(*leaf));
            }
        }
    }

    #[test]
    fn there_is_no_path_and_no_place_where_nobody_was() {
        let mut tree = Tree::new(&[7.into(), 8.into()]).unwrap();
        assert_eq!((tree.path(2), tree.member(2), tree.set(2, &9.into())), (None, None, Err(NoMember(2))));
        assert_eq!((tree.index_of(&8.into()), tree.index_of(&9.into())), (Some(1), None));
        let path = tree.path(1).unwrap();
        assert_eq!(Path::new(path.index(), *path.siblings()), Some(path.clone()));
        assert_eq!(Path::new(MAX_MEMBERS, *path.siblings()), None);
        let elsewhere = Path::new(0, *path.siblings()).unwrap();
        assert_ne!(elsewhere.root(&8.into()), tree.root());
    }
}
