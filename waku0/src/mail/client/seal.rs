//! A request in its envelope.  Spec: 8/WAKU-MAIL, "Requesting messages"; status-go `services/ext/api.go`.

use devp2p::NodeKey;
use rand::Rng;

use super::super::{
    REQUEST_TOPIC,
    request::{Form, Request},
};
use crate::{
    envelope::{Envelope, EnvelopeError},
    payload::{Content, SealError, SealTo, seal},
    pow::{Pow, Unsealed},
};

/// Time to live of a request, in seconds. Source: status-go, `newEnvelope`. No server looks at it.
pub const REQUEST_TTL: u32 = 50;
/// The least work of a request, whatever the server announces: that is of gossip, and its floor of requests may be above it. Source:
/// status-go, whose clients have this floor for all they send.
pub const LEAST_WORK: Pow = match Pow::new(0.002) {
    Ok(pow) => pow,
    Err(_) => Pow::ZERO,
};
/// Most nonces tried: a second's work, thousands of times what deployed servers ask for.
const MAX_NONCES: u64 = 1 << 22;

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealRequestError {
    /// It names too many topics.
    #[error(transparent)]
    Payload(#[from] SealError),
    /// The clock is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The server asks for too much work.
    #[error("no nonce was found that has the work that the server asks for")]
    Work,
}

/// Encrypts a request to a server that announces this floor of work, signs it, and searches for that work, or [`LEAST_WORK`]. Its hash is the
/// name of the request.
///
/// # Errors
/// [`SealRequestError`].
pub fn seal_request(
    request: &Request,
    to: SealTo<'_>,
    sign: &NodeKey,
    now_secs: u64,
    floor: Pow,
    rng: &mut impl Rng,
) -> Result<Envelope, SealRequestError> {
    let data = seal(&Content::from(request.encode(Form::Deployed)), to, Some(sign), rng)?;
    let expiry = u32::try_from(now_secs).unwrap_or(u32::MAX).saturating_add(REQUEST_TTL);
    let unsealed = Unsealed::new(expiry, REQUEST_TTL, REQUEST_TOPIC, data)?;
    let bits = unsealed.required_bits(floor.max(LEAST_WORK));
    let nonce = unsealed.search(0, 0, MAX_NONCES, bits).ok_or(SealRequestError::Work)?;
    Ok(unsealed.seal(nonce))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        bloom::Bloom,
        payload::{Key, SymKey, open},
        topic::Topic,
    };

    #[test]
    fn a_server_opens_what_was_sealed_for_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let request = Request {
            lower: 1,
            upper: 2,
            bloom: Some(Bloom::FULL),
            topics: vec![Topic([1, 2, 3, 4])],
            limit: 9,
            cursor: Some([5; 36]),
            batch: true,
        };
        let (client, server) = (NodeKey::generate(&mut rng), NodeKey::generate(&mut rng));
        let shared = SymKey::generate(&mut rng);
        let (own, low, high) = (server.public(), Pow::new(0.000_002).unwrap(), Pow::new(0.02).unwrap());
        for (to, key, floor, work) in [
            (SealTo::Symmetric(&shared), Key::Symmetric(shared.clone()), low, LEAST_WORK),
            (SealTo::Public(&own), Key::Private(server), high, high),
        ] {
            let sealed = seal_request(&request, to, &client, 1_700_000_000, floor, &mut rng).unwrap();
            assert!(sealed.pow() >= work && sealed.topic() == REQUEST_TOPIC && sealed.sent() == 1_700_000_000);
            let opened = open(sealed.data(), &key).unwrap();
            assert_eq!(opened.signer(), Some(client.public()));
            assert_eq!(Request::decode(&opened.payload), Ok((request.clone(), Form::Deployed)));
        }
        let unreachable = Pow::new(1e30).unwrap();
        let refused = seal_request(&request, SealTo::Symmetric(&shared), &client, 5, unreachable, &mut rng);
        assert_eq!(refused, Err(SealRequestError::Work));
    }
}
