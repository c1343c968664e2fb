//! Rate-limit proofs across implementations: an earlier release of the reference library and its WebAssembly build make them and judge
//! ours, and we theirs.
//!
//! All three prove the same messages. But for the blinded part their proofs must be one; each must be taken by all, and a changed one by
//! none.

use super::Lab;
use crate::payloads::bytes;
use crate::rln_peer::{RlnPeer, Task};
use anyhow::{Context as _, Result, ensure};
use devp2p::clock::{self, Now};
use rand::{SeedableRng as _, rngs::StdRng};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use waku_rln::{Identity, Limit, Member, Path as TreePath, Prover, Tree, Verifier, prove, share};
use waku2::message::{Meta, WakuMessage};
use waku2::rln::Verify as _;
use waku2::rln::check::{Terms, check};
use waku2::rln::element::Element;
use waku2::rln::epoch::EpochLength;
use waku2::rln::proof::{IDENTIFIER, RateLimitProof};
use waku2::rln::signal::Signal;
use waku2::rules::Rules;

/// The members' limits: the least and the most that the deployed contract has, one between, and the most that the circuit counts.
const LIMITS: [u64; 4] = [20, 100, 600, 65_535];
/// Payload sizes of the messages, in turns.
const SIZES: [usize; 4] = [0, 5, 1_000, 100_000];
/// When the messages are sent: in two epochs.
const SENT_SECS: [u64; 2] = [1_699_999_800 + 300, 1_795_000_000];

/// Us and the two builds of the reference library.
pub(super) fn proofs(lab: &Lab) -> Result<String> {
    let programs = lab.programs();
    let earlier = RlnPeer::start(&programs.rln_0_9, "rln-0.9", &[])?;
    let wasm = RlnPeer::start(Path::new("node"), "rln-wasm", &[&programs.rln_wasm, &programs.rln_circuit])?;
    let peers = [&earlier, &wasm];
    let us = Us::new()?;
    us.has_their_identities(&peers)?;
    let cases = us.cases()?;
    let made = us.made(&cases, &peers)?;
    for (case, proofs) in cases.iter().zip(&made) {
        for proof in proofs {
            us.all_take(&peers, case, proof)?;
        }
    }
    let changed = us.none_takes_a_changed_one(&peers, &cases, &made)?;
    us.none_takes_more_than_the_limit(&peers)?;
    let secrets = us.two_of_one_id(&peers, &cases[0], &made[0])?;
    let count = made.as_flattened().len();
    Ok(format!(
        "{count} proofs of {} messages taken by all three, {changed} changed ones by none; {secrets} secrets found",
        cases.len()
    ))
}

/// Our own prover and verifier, with the group.
struct Us {
    verifier: Arc<Verifier>,
    prover: Prover,
    members: Vec<(Member, TreePath)>,
    root: Element,
}

/// A message with what its proof is to be of.
struct Case<'a> {
    member: &'a (Member, TreePath),
    id: u16,
    message: WakuMessage,
    sent: Now,
    signal: Vec<u8>,
}

impl Case<'_> {
    fn task(&self) -> Task<'_> {
        let (member, path) = self.member;
        let epoch = EpochLength::default().at(self.sent.unix).bytes();
        Task { member, path, id: self.id, epoch, identifier: IDENTIFIER, signal: &self.signal }
    }
}

impl Us {
    /// The members stand among others in the tree, left and right.
    fn new() -> Result<Self> {
        let verifier = Arc::new(Verifier::new(&mut StdRng::seed_from_u64(1)));
        let members = LIMITS.map(|limit| {
            let identity = Arc::new(Identity::seeded(&seed(limit)));
            Some(Member { identity, limit: Limit::new(limit)? })
        });
        let members = members.into_iter().collect::<Option<Vec<_>>>().context("limits that the circuit counts")?;
        let others = (1..).map(Element::from);
        let leaves: Vec<_> =
            members.iter().zip(others).flat_map(|(member, other)| [other, member.leaf(), other]).collect();
        let tree = Tree::new(&leaves)?;
        let paths = (0..).map(|place| tree.path(3 * place + 1));
        let members = members.into_iter().zip(paths).map(|(member, path)| Some((member, path?)));
        let members = members.collect::<Option<Vec<_>>>().context("a path for each member")?;
        Ok(Self { prover: Prover::new(Arc::clone(&verifier)), verifier, members, root: tree.root() })
    }

    fn has_their_identities(&self, peers: &[&RlnPeer]) -> Result<()> {
        for (limit, (member, _)) in LIMITS.into_iter().zip(&self.members) {
            let identity = &member.identity;
            let [trapdoor, nullifier, secret] = [identity.trapdoor(), identity.nullifier(), identity.secret()]
                .map(|secret| hex::encode(secret.to_bytes()));
            let ours = [trapdoor, nullifier, secret, hex::encode(identity.commitment().bytes())];
            for peer in peers {
                ensure!(peer.identity(&seed(limit))? == ours, "{}: another identity of a seed", peer.name());
            }
        }
        Ok(())
    }

    /// The first and the last message of each member in each epoch.
    fn cases(&self) -> Result<Vec<Case<'_>>> {
        let members = self.members.iter().flat_map(|member| [(member, 0), (member, member.0.limit.get() - 1)]);
        let all = members.flat_map(|(member, id)| SENT_SECS.map(|secs| (member, id, secs))).zip(0_u64..);
        all.map(|((member, id, secs), n)| {
            let payload = bytes(SIZES[n as usize % SIZES.len()], n);
            self.case(member, id, secs, payload)
        })
        .collect()
    }

    fn case<'a>(&self, member: &'a (Member, TreePath), id: u16, secs: u64, payload: Vec<u8>) -> Result<Case<'a>> {
        let unix = Duration::from_secs(secs) + Duration::from_nanos(id.into());
        let nanos = i64::try_from(unix.as_nanos())?;
        let content_topic = "/waku/2/default-content/proto";
        let signal = [&payload[..], content_topic.as_bytes(), &nanos.to_le_bytes()].concat();
        let message = WakuMessage {
            payload: payload.into(),
            content_topic: content_topic.into(),
            version: 0,
            timestamp: Some(nanos),
            meta: Meta::default(),
            rate_limit_proof: None,
            ephemeral: false,
        };
        Ok(Case { member, id, message, sent: Now { unix, ..clock::now() }, signal })
    }

    /// The proofs of each message: ours first, then the peers'. All at once, since each takes seconds of one thread.
    fn made(&self, cases: &[Case<'_>], peers: &[&RlnPeer; 2]) -> Result<Vec<[RateLimitProof; 3]>> {
        let theirs = |peer: &RlnPeer| cases.iter().map(|case| proven(peer, case)).collect::<Result<Vec<_>>>();
        let (ours, earlier, wasm) = thread::scope(|scope| {
            let [earlier, wasm] = [peers[0], peers[1]].map(|peer| scope.spawn(move || theirs(peer)));
            let ours = cases.iter().map(|case| self.proven(case)).collect::<Result<Vec<_>>>();
            (ours, earlier.join(), wasm.join())
        });
        let [earlier, wasm] = [earlier, wasm].map(|made| made.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))));
        let together = ours?.into_iter().zip(earlier?).zip(wasm?);
        let made: Vec<_> = together.map(|((ours, earlier), wasm)| [ours, earlier, wasm]).collect();
        for (case, [ours, others @ ..]) in cases.iter().zip(&made) {
            for other in others {
                ensure!(other.snark != ours.snark, "two proofs are blinded alike");
                let unblinded = RateLimitProof { snark: ours.snark, ..other.clone() };
                ensure!(
                    unblinded == *ours,
                    "message {} of {}: {other:?} is not {ours:?}",
                    case.id,
                    case.task().member.limit.get()
                );
            }
        }
        Ok(made)
    }

    fn proven(&self, case: &Case<'_>) -> Result<RateLimitProof> {
        let (member, path) = case.member;
        let ready = self.prover.ready(member.clone(), path.clone(), self.root)?;
        let message = prove::Message {
            id: case.id,
            x: *Signal::of(&case.message).x(),
            epoch: EpochLength::default().at(case.sent.unix),
            identifier: IDENTIFIER,
        };
        Ok(self.prover.prove(&ready, &message)?)
    }

    /// As a node of ours does when the message arrives, in the moment in which it was sent.
    fn takes(&self, case: &Case<'_>, proof: &RateLimitProof, roots: &[Element]) -> bool {
        let terms = Terms { epochs: EpochLength::default(), identifier: IDENTIFIER };
        let claim = check(&case.message, &proof.encode(), &terms, &Rules::live(), case.sent);
        claim.is_ok_and(|claim| roots.contains(&claim.root) && self.verifier.verify(&[claim.proof]) == [true])
    }

    fn all_take(&self, peers: &[&RlnPeer], case: &Case<'_>, proof: &RateLimitProof) -> Result<()> {
        let roots = [Element::from(1), self.root];
        ensure!(self.takes(case, proof, &roots), "we refuse {proof:?}");
        for peer in peers {
            ensure!(peer.takes(proof, &case.signal, &roots)?, "{} refuses {proof:?}", peer.name());
        }
        Ok(())
    }

    fn none_takes(&self, peers: &[&RlnPeer], case: &Case<'_>, proof: &RateLimitProof, roots: &[Element]) -> Result<()> {
        ensure!(!self.takes(case, proof, roots), "we take {proof:?}");
        for peer in peers {
            ensure!(!peer.takes(proof, &case.signal, roots)?, "{} takes {proof:?}", peer.name());
        }
        Ok(())
    }

    /// A bit of each part, the proof of another message, another message, and another group. Gives how many.
    fn none_takes_a_changed_one(
        &self,
        peers: &[&RlnPeer],
        cases: &[Case<'_>],
        made: &[[RateLimitProof; 3]],
    ) -> Result<usize> {
        let roots = [self.root];
        let mut count = 0;
        for (proof, other) in made[0].iter().zip(&made[1]) {
            let mut changed: Vec<_> = (0..PARTS).map(|part| flipped(proof, part)).collect();
            changed.push(RateLimitProof { snark: other.snark, ..proof.clone() });
            changed.push(RateLimitProof { snark: [0; 128], ..proof.clone() });
            for changed in &changed {
                self.none_takes(peers, &cases[0], changed, &roots)?;
            }
            // Of the same epoch.
            self.none_takes(peers, &cases[2], proof, &roots)?;
            self.none_takes(peers, &cases[0], proof, &[Element::from(1), Element::from(2)])?;
            count += changed.len() + 2;
        }
        Ok(count)
    }

    /// The circuit counts from 0, so that an id as large as the limit is one too many.
    fn none_takes_more_than_the_limit(&self, peers: &[&RlnPeer]) -> Result<()> {
        let member = &self.members[1];
        let over = self.case(member, member.0.limit.get(), SENT_SECS[0], vec![1; 9])?;
        ensure!(self.proven(&over).is_err(), "we prove a message beyond the limit");
        for peer in peers {
            // The earlier release makes one that does not hold.
            if let Ok(proof) = peer.prove(&over.task())? {
                self.none_takes(peers, &over, &proof, &[self.root])?;
            }
        }
        Ok(())
    }

    /// Two messages of one id, by two libraries: they have one nullifier, and give the secret away. Gives how many times.
    fn two_of_one_id(&self, peers: &[&RlnPeer], case: &Case<'_>, made: &[RateLimitProof; 3]) -> Result<usize> {
        let again = self.case(case.member, case.id, SENT_SECS[0], b"another".to_vec())?;
        for (peer, first) in peers.iter().zip(made) {
            let second = proven(peer, &again)?;
            self.all_take(peers, &again, &second)?;
            ensure!(
                share::secret(first, &second)? == *case.member.0.identity.secret(),
                "{}: another secret",
                peer.name()
            );
        }
        Ok(peers.len())
    }
}

fn seed(limit: u64) -> Vec<u8> {
    format!("member of {limit}").into_bytes()
}

fn proven(peer: &RlnPeer, case: &Case<'_>) -> Result<RateLimitProof> {
    peer.prove(&case.task())?.map_err(|why| anyhow::anyhow!("{} makes no proof: {why}", peer.name()))
}

/// What may be changed of a proof: its three points, and six numbers.
const PARTS: usize = 9;

fn flipped(proof: &RateLimitProof, part: usize) -> RateLimitProof {
    let mut proof = proof.clone();
    let byte = match part {
        0 => &mut proof.snark[0],
        1 => &mut proof.snark[32],
        2 => &mut proof.snark[96],
        3 => &mut proof.root[0],
        4 => &mut proof.epoch[0],
        5 => &mut proof.share_x[0],
        6 => &mut proof.share_y[0],
        7 => &mut proof.nullifier[0],
        _ => &mut proof.identifier[0],
    };
    *byte ^= 1;
    proof
}
